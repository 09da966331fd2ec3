//! Other servers' signing keys: fetched from the server itself, verified, remembered.
//!
//! Source: Matrix server-server API, "Retrieving server keys".

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use http::Method;
use parking_lot::{Mutex, MutexGuard};
use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, OwnedServerName, ServerName,
    api::federation::discovery::ServerSigningKeys,
    serde::Base64,
    signatures::{PublicKeyMap, PublicKeySet, verify_json},
};

use super::client::{Client, RequestError};
use crate::{
    core::time::{Instant, UnixMillis},
    server::{
        clock::Clock,
        store::{Store, StoreError},
    },
};

/// Servers whose keys are held in memory; past that the memory starts anew (the store keeps all).
const REMEMBERED: usize = 10_000;

/// Keys are taken for valid this long at most, whatever their server says.
const LONGEST_VALIDITY: Duration = Duration::from_secs(7 * 24 * 3600);

/// A server is asked for its keys at most this often: a stranger's wrong key costs us no more.
const ASK_AGAIN: Duration = Duration::from_secs(60);

/// Keys in one answer that are read at most.
const MAX_KEYS: usize = 32;

/// Knows other servers' keys.
#[derive(Debug)]
pub struct Keyring {
    client: Client,
    store: Arc<Store>,
    clock: Clock,
    servers: Mutex<HashMap<OwnedServerName, Arc<Server>>>,
}

/// One server.
#[derive(Debug)]
struct Server {
    known: Mutex<Known>,
    /// Held while it is asked: who needs its keys meanwhile waits for the answer.
    asking: tokio::sync::Mutex<()>,
}

/// What is known of one server.
#[derive(Debug)]
struct Known {
    keys: Arc<PublicKeySet>,
    valid_until: UnixMillis,
    asked: Option<Instant>,
}

/// Why a server's key is not known.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The server could not be asked.
    #[error("the server's keys cannot be fetched: {0}")]
    Request(RequestError),
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

impl Keyring {
    /// A keyring that asks with `client`.
    pub fn new(client: Client, store: Arc<Store>, clock: Clock) -> Self {
        Self { client, store, clock, servers: Mutex::default() }
    }

    /// The keys of `server` that are valid at this time, with `key_id` among them.
    ///
    /// # Errors
    /// [`KeyError`] when the server cannot be asked, or does not have the key.
    pub async fn keys(&self, server: &ServerName, key_id: &str) -> Result<PublicKeyMap, KeyError> {
        let now = self.clock.now();
        let entry = self.server(server).await?;
        let usable = || {
            let known = entry.known();
            let usable = now.to_unix() < known.valid_until && known.keys.contains_key(key_id);
            usable.then(|| BTreeMap::from([(server.to_string(), PublicKeySet::clone(&known.keys))]))
        };
        if let Some(keys) = usable() {
            return Ok(keys);
        }
        let _turn = entry.asking.lock().await;
        if let Some(keys) = usable() {
            return Ok(keys);
        }
        let asked = entry.known().asked;
        if asked.is_some_and(|asked| now.since(asked) < ASK_AGAIN) {
            return Err(KeyError::Unknown);
        }
        entry.known().asked = Some(now);
        let answer = self.ask(server, now).await?;
        *entry.known() = answer;
        usable().ok_or(KeyError::Unknown)
    }

    async fn ask(&self, server: &ServerName, now: Instant) -> Result<Known, KeyError> {
        let answer = self
            .client
            .request(server, Method::GET, "/_matrix/key/v2/server", None)
            .await
            .map_err(KeyError::Request)?;
        let (keys, valid_until) = verified(server, answer.get())?;
        let valid_until = valid_until.min((now + LONGEST_VALIDITY).to_unix());
        let rows = keys.iter().map(|(id, key)| (id.clone(), key.as_bytes().to_vec())).collect();
        self.store.put_server_keys(server.to_owned(), rows, valid_until).await.map_err(KeyError::Store)?;
        Ok(Known { keys: Arc::new(keys), valid_until, asked: Some(now) })
    }

    async fn server(&self, server: &ServerName) -> Result<Arc<Server>, KeyError> {
        let remembered = || self.servers.lock();
        if let Some(known) = remembered().get(server) {
            return Ok(Arc::clone(known));
        }
        let known = Mutex::new(self.restore(server).await?);
        let mut all = remembered();
        if all.len() >= REMEMBERED {
            all.clear();
        }
        let entry = || Arc::new(Server { known, asking: tokio::sync::Mutex::default() });
        Ok(Arc::clone(all.entry(server.to_owned()).or_insert_with(entry)))
    }

    async fn restore(&self, server: &ServerName) -> Result<Known, KeyError> {
        let (rows, valid_until) = self.store.server_keys(server).await.map_err(KeyError::Store)?;
        let keys = rows.into_iter().map(|(id, key)| (id, Base64::new(key))).collect();
        Ok(Known { keys: Arc::new(keys), valid_until, asked: None })
    }
}

impl Server {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock()
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
