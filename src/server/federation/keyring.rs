//! Other servers' signing keys: fetched from the server itself, verified, remembered.
//!
//! Source: Matrix server-server API, "Retrieving server keys".

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use http::Method;
use parking_lot::Mutex;
use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, OwnedServerName, ServerName,
    api::federation::discovery::ServerSigningKeys,
    serde::Base64,
    signatures::{PublicKeyMap, PublicKeySet, verify_json},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::client::{Client, RequestError};
use crate::{
    core::time::{Instant, UnixMillis, millis},
    server::{
        clock::Clock,
        limits::Origin,
        store::{Store, StoreError},
    },
};

/// Servers whose keys are held in memory; past that the memory starts anew (the store keeps all).
const REMEMBERED: usize = 10_000;

/// Keys are taken for valid this long at most, whatever their server says.
const LONGEST_VALIDITY: Duration = Duration::from_secs(7 * 24 * 3600);

/// After an answer, or a failure, a server is asked again no sooner than this: a stranger's wrong key costs us no more.
const ASK_AGAIN: Duration = Duration::from_secs(60);

/// Keys in one answer that are read at most.
const MAX_KEYS: usize = 32;

/// Servers that are asked for their keys at the same time, at most: each is a connection.
const ASKED_AT_ONCE: usize = 64;

/// How many of them may be servers that never showed a key: who names such servers takes no place of those we know.
const STRANGERS_AT_ONCE: usize = 48;

/// How many of those one address may have had us ask: nobody takes all the places alone.
const STRANGERS_FOR_ONE: usize = 8;

/// How long asking one server may take, with finding it.
const ASKING: Duration = Duration::from_secs(40);

/// Knows other servers' keys. Clones know the same.
#[derive(Clone, Debug)]
pub struct Keyring(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    client: Client,
    store: Arc<Store>,
    clock: Clock,
    servers: Mutex<HashMap<OwnedServerName, Arc<Server>>>,
    places: Arc<Semaphore>,
    strangers: Arc<Semaphore>,
    /// How many strangers are being asked for each address. Bounded by [`STRANGERS_AT_ONCE`].
    for_one: Mutex<HashMap<Origin, usize>>,
}

/// One server.
#[derive(Debug)]
struct Server {
    known: Mutex<Known>,
    /// Held by the task that asks: who needs its keys meanwhile waits for the answer.
    asking: Arc<tokio::sync::Mutex<()>>,
}

/// What is known of one server.
#[derive(Clone, Debug)]
struct Known {
    keys: Arc<PublicKeySet>,
    valid_until: UnixMillis,
    /// When asking it came to an end, with which error if it failed.
    asked: Option<(Instant, Option<Arc<KeyError>>)>,
}

/// Why a server's key is not known.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The server could not be asked.
    #[error("the server's keys cannot be fetched: {0}")]
    Request(RequestError),
    /// It did not answer in time.
    #[error("the server's keys cannot be fetched in time")]
    TooSlow,
    /// So many other servers are being asked that there is no place for one more.
    #[error("too many servers are being asked for their keys")]
    Busy,
    /// Its answer does not prove itself; says what is wrong.
    #[error("the server's keys do not prove themselves: {0}")]
    Unproven(String),
    /// It was asked a moment ago, and the key was not among its keys.
    #[error("the server has no such key")]
    Unknown,
    /// Our own database failed.
    #[error("{0}")]
    Store(StoreError),
}

/// A place among the servers that are asked, until dropped.
struct Place {
    inner: Arc<Inner>,
    permits: Vec<OwnedSemaphorePermit>,
    /// For whom a stranger is asked.
    origin: Option<Origin>,
}

impl Keyring {
    /// A keyring that asks with `client`.
    pub fn new(client: Client, store: Arc<Store>, clock: Clock) -> Self {
        let (places, strangers) = (Semaphore::new(ASKED_AT_ONCE), Semaphore::new(STRANGERS_AT_ONCE));
        Self(Arc::new(Inner {
            client,
            store,
            clock,
            servers: Mutex::default(),
            places: Arc::new(places),
            strangers: Arc::new(strangers),
            for_one: Mutex::default(),
        }))
    }

    /// The keys of `server` that are valid at this time, with `key_id` among them, for a request that came from
    /// `origin`.
    ///
    /// If the server has to be asked for them, a task does that, whatever becomes of the request, and everybody who
    /// waits shares its answer: a caller that goes away takes nothing from the others.
    ///
    /// # Errors
    /// [`KeyError`] when the server cannot be asked, or does not have the key.
    pub async fn keys(
        &self,
        server: &ServerName,
        key_id: &str,
        origin: Option<Origin>,
    ) -> Result<PublicKeyMap, Arc<KeyError>> {
        let entry = self.0.server(server).await?;
        if let Some(keys) = self.0.usable(&entry, server, key_id) {
            return Ok(keys);
        }
        // Else somebody else's request has it asked.
        if let Ok(turn) = Arc::clone(&entry.asking).try_lock_owned() {
            if let Some(keys) = self.0.usable(&entry, server, key_id) {
                return Ok(keys);
            }
            let asked = entry.known.lock().asked.clone();
            if let Some((at, failure)) = asked
                && self.0.clock.now().since(at) < ASK_AGAIN
            {
                return Err(failure.unwrap_or_else(|| Arc::new(KeyError::Unknown)));
            }
            let place = self.0.place(&entry, origin)?;
            let (inner, entry, server) = (Arc::clone(&self.0), Arc::clone(&entry), server.to_owned());
            tokio::spawn(async move {
                let outcome = tokio::time::timeout(ASKING, inner.ask(&server)).await;
                entry.learn(inner.clock.now(), outcome.unwrap_or(Err(KeyError::TooSlow)));
                drop((turn, place));
            });
        }
        drop(entry.asking.lock().await);
        self.0.usable(&entry, server, key_id).ok_or_else(|| {
            let asked = entry.known.lock().asked.clone();
            asked.and_then(|(_, failure)| failure).unwrap_or_else(|| Arc::new(KeyError::Unknown))
        })
    }
}

impl Inner {
    /// What is known of `server`, if it has `key_id` and is valid.
    fn usable(&self, entry: &Server, server: &ServerName, key_id: &str) -> Option<PublicKeyMap> {
        let known = entry.known.lock();
        let usable = self.clock.unix() < known.valid_until && known.keys.contains_key(key_id);
        usable.then(|| BTreeMap::from([(server.to_string(), PublicKeySet::clone(&known.keys))]))
    }

    /// A place to ask a server from, for a request from `origin`.
    fn place(self: &Arc<Self>, server: &Server, origin: Option<Origin>) -> Result<Place, KeyError> {
        let take =
            |places: &Arc<Semaphore>| Arc::clone(places).try_acquire_owned().map_err(|_| KeyError::Busy);
        let mut place = Place { inner: Arc::clone(self), permits: vec![take(&self.places)?], origin: None };
        if server.known.lock().keys.is_empty() {
            place.permits.push(take(&self.strangers)?);
            if let Some(origin) = origin {
                let mut for_one = self.for_one.lock();
                let count = for_one.entry(origin).or_default();
                if *count >= STRANGERS_FOR_ONE {
                    return Err(KeyError::Busy);
                }
                *count += 1;
                place.origin = Some(origin);
            }
        }
        Ok(place)
    }

    async fn ask(&self, server: &ServerName) -> Result<(PublicKeySet, UnixMillis), KeyError> {
        let answer = self
            .client
            .request(server, Method::GET, "/_matrix/key/v2/server", None)
            .await
            .map_err(KeyError::Request)?;
        let (keys, valid_until) = verified(server, answer.get())?;
        let longest = UnixMillis(self.clock.unix().0.saturating_add(millis(LONGEST_VALIDITY)));
        let valid_until = valid_until.min(longest);
        let rows = keys.iter().map(|(id, key)| (id.clone(), key.as_bytes().to_vec())).collect();
        self.store.put_server_keys(server.to_owned(), rows, valid_until).await.map_err(KeyError::Store)?;
        Ok((keys, valid_until))
    }

    async fn server(&self, server: &ServerName) -> Result<Arc<Server>, KeyError> {
        if let Some(known) = self.servers.lock().get(server) {
            return Ok(Arc::clone(known));
        }
        let known = self.restore(server).await?;
        let mut all = self.servers.lock();
        if all.len() >= REMEMBERED {
            // Who never showed a key goes first, and who is being asked stays: there may be requests that wait.
            all.retain(|_, server| server.is_being_asked() || !server.known.lock().keys.is_empty());
            if all.len() >= REMEMBERED {
                all.retain(|_, server| server.is_being_asked());
            }
        }
        let entry = || Arc::new(Server { known: Mutex::new(known), asking: Arc::default() });
        Ok(Arc::clone(all.entry(server.to_owned()).or_insert_with(entry)))
    }

    async fn restore(&self, server: &ServerName) -> Result<Known, KeyError> {
        let (rows, valid_until) = self.store.server_keys(server).await.map_err(KeyError::Store)?;
        let keys = rows.into_iter().map(|(id, key)| (id, Base64::new(key))).collect();
        Ok(Known { keys: Arc::new(keys), valid_until, asked: None })
    }
}

impl Server {
    fn is_being_asked(&self) -> bool {
        self.asking.try_lock().is_err()
    }

    /// Takes what came of asking. What is known holds on when that failed.
    fn learn(&self, now: Instant, outcome: Result<(PublicKeySet, UnixMillis), KeyError>) {
        let mut known = self.known.lock();
        match outcome {
            Ok((keys, valid_until)) => {
                *known = Known { keys: Arc::new(keys), valid_until, asked: Some((now, None)) };
            }
            Err(e) => known.asked = Some((now, Some(Arc::new(e)))),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(origin) = self.origin else { return };
        let mut for_one = self.inner.for_one.lock();
        if let Some(count) = for_one.get_mut(&origin) {
            *count -= 1;
            if *count == 0 {
                for_one.remove(&origin);
            }
        }
    }
}

/// The keys in `answer`, if they are those of `server` and sign themselves; and until when they hold.
pub(in crate::server) fn verified(
    server: &ServerName,
    answer: &str,
) -> Result<(PublicKeySet, UnixMillis), KeyError> {
    let unproven = |e: &dyn std::fmt::Display| KeyError::Unproven(e.to_string());
    let keys: ServerSigningKeys = serde_json::from_str(answer).map_err(|e| unproven(&e))?;
    if keys.server_name != server {
        return Err(unproven(&"the keys are another server's"));
    }
    if keys.verify_keys.is_empty() || keys.verify_keys.len() > MAX_KEYS {
        return Err(unproven(&"no keys, or too many"));
    }
    let valid_until = UnixMillis(keys.valid_until_ts.get().into());
    let set: PublicKeySet = keys.verify_keys.into_iter().map(|(id, key)| (id.to_string(), key.key)).collect();
    let mut object: CanonicalJsonObject = serde_json::from_str(answer).map_err(|e| unproven(&e))?;
    // Notaries sign too; what counts here is the server's own signature.
    if let Some(CanonicalJsonValue::Object(signatures)) = object.get_mut("signatures") {
        signatures.retain(|signer, _| signer == server.as_str());
        if signatures.is_empty() {
            return Err(unproven(&"the keys are not signed by their server"));
        }
    }
    verify_json(&BTreeMap::from([(server.to_string(), set.clone())]), &object).map_err(|e| unproven(&e))?;
    Ok((set, valid_until))
}

#[cfg(test)]
mod tests {
    use ruma::{
        server_name,
        signatures::{Ed25519KeyPair, sign_json},
    };
    use serde_json::json;

    use super::*;

    fn document(name: &str, signer: &str) -> String {
        let key = Ed25519KeyPair::from_der(&Ed25519KeyPair::generate(), "1".to_owned()).unwrap();
        let mut object: CanonicalJsonObject = serde_json::from_value(json!({
            "server_name": name,
            "verify_keys": { "ed25519:1": { "key": Base64::<ruma::serde::base64::Standard>::new(key.public_key().to_vec()).encode() } },
            "old_verify_keys": {},
            "valid_until_ts": 1_700_000_000_000_u64,
        }))
        .unwrap();
        sign_json(signer, &key, &mut object).unwrap();
        serde_json::to_string(&object).unwrap()
    }

    #[test]
    fn keys_that_sign_themselves_are_taken() {
        let (keys, until) = verified(server_name!("a.example"), &document("a.example", "a.example")).unwrap();
        assert_eq!(keys.keys().collect::<Vec<_>>(), ["ed25519:1"]);
        assert_eq!(until, UnixMillis(1_700_000_000_000));
    }

    #[test]
    fn keys_of_another_name_signer_or_content_are_refused() {
        let server = server_name!("a.example");
        let tampered = document("a.example", "a.example").replace("1700000000000", "1800000000000");
        for bad in [
            document("b.example", "a.example"),
            document("a.example", "b.example"),
            tampered,
            "{}".to_owned(),
        ] {
            assert!(matches!(verified(server, &bad), Err(KeyError::Unproven(_))), "{bad}");
        }
    }
}
