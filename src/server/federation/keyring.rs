//! Other servers' signing keys: fetched from the server itself, verified, remembered.
//!
//! A request is verified with the keys that its server signs with now, an event with those that it signed with then
//! (`event_keys`). Source: Matrix server-server API, "Retrieving server keys".

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use http::Method;
use parking_lot::Mutex;
use ruma::{
    OwnedServerName, ServerName,
    serde::Base64,
    signatures::{PublicKeyMap, PublicKeySet},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{client::Client, key_document::KeyDocument, key_error::KeyError};
use crate::{
    core::time::{Instant, UnixMillis},
    server::{clock::Clock, config::servers::Policy, keys::Signer, limits::Origin, store::Store},
};

/// Servers whose keys are held in memory; past that the memory starts anew (the store keeps all).
const REMEMBERED: usize = 10_000;

/// After an answer a server is asked again no sooner than this: a stranger's wrong key costs us no more. It may have
/// replaced its key since.
const ASK_AGAIN: Duration = Duration::from_secs(10);

/// The same after a failure.
const TRY_AGAIN: Duration = Duration::from_secs(60);

/// The same once after a failure, when a request comes from there: who sends one has come back, it seems. That can be a lie, so
/// another failure makes the whole pause.
const TRY_EARLY: Duration = Duration::from_secs(5);

/// Servers that are asked for their keys at the same time, at most: each is a connection.
const ASKED_AT_ONCE: usize = 64;

/// How many of them may be servers that never showed a key: who names such servers takes no place of those we know.
const STRANGERS_AT_ONCE: usize = 48;

/// How many of those one address may have had us ask: nobody takes all the places alone.
const STRANGERS_FOR_ONE: usize = 8;

/// Servers that are asked at the same time because of events that they signed, beside those above.
const ASKED_FOR_EVENTS: usize = 32;

/// How long asking one server may take, with finding it.
const ASKING: Duration = Duration::from_secs(40);

/// Knows other servers' keys. Clones know the same.
#[derive(Clone, Debug)]
pub struct Keyring(pub(super) Arc<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) client: Client,
    pub(super) store: Arc<Store>,
    pub(super) clock: Clock,
    servers: Mutex<HashMap<OwnedServerName, Arc<Server>>>,
    places: Arc<Semaphore>,
    strangers: Arc<Semaphore>,
    for_events: Arc<Semaphore>,
    pub(super) signer: Arc<Signer>,
    pub(super) policy: Arc<Policy>,
    /// Who is believed what they say of the keys of others.
    pub(super) notaries: Vec<OwnedServerName>,
    /// How many strangers are being asked for each address. Bounded by [`STRANGERS_AT_ONCE`].
    for_one: Mutex<HashMap<Origin, usize>>,
}

/// One server.
#[derive(Debug)]
pub(super) struct Server {
    known: Mutex<Known>,
    /// Held by the task that asks: who needs its keys meanwhile waits for the answer.
    asking: Arc<tokio::sync::Mutex<()>>,
}

/// What is known of one server.
#[derive(Clone, Debug)]
struct Known {
    keys: Arc<PublicKeySet>,
    valid_until: UnixMillis,
    /// How asking it ended.
    asked: Option<Asked>,
}

/// How asking a server for its keys ended.
#[derive(Clone, Debug)]
struct Asked {
    at: Instant,
    failure: Option<Arc<KeyError>>,
    /// It was asked before the pause after another failure was over.
    early: bool,
}

impl Asked {
    /// How long it is asked no more, when it is asked because of a request.
    fn pause(&self, is_for_request: bool) -> Duration {
        match &self.failure {
            None => ASK_AGAIN,
            Some(_) if is_for_request && !self.early => TRY_EARLY,
            Some(_) => TRY_AGAIN,
        }
    }
}

/// Why a server is asked.
pub(super) enum Asker {
    /// For a request that came from there. When too many are asked, it is told so.
    Request(Option<Origin>),
    /// For events that it signed, from a place that was waited for.
    Events(Place),
}

/// A place among the servers that are asked, until dropped.
pub(super) struct Place {
    inner: Arc<Inner>,
    permits: Vec<OwnedSemaphorePermit>,
    /// For whom a stranger is asked.
    origin: Option<Origin>,
}

impl Keyring {
    /// A keyring that asks with `client` whom `policy` lets be asked, and believes `notaries`.
    pub fn new(
        (client, signer): (Client, Arc<Signer>),
        store: Arc<Store>,
        clock: Clock,
        policy: Arc<Policy>,
        notaries: Vec<OwnedServerName>,
    ) -> Self {
        let places = |count| Arc::new(Semaphore::new(count));
        Self(Arc::new(Inner {
            client,
            store,
            clock,
            servers: Mutex::default(),
            places: places(ASKED_AT_ONCE),
            strangers: places(STRANGERS_AT_ONCE),
            for_events: places(ASKED_FOR_EVENTS),
            signer,
            policy,
            notaries,
            for_one: Mutex::default(),
        }))
    }

    /// The keys of `server` that are valid at this time, with `key_id` among them, for a request that came from
    /// `origin`.
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
        let asked = self.0.refresh(&entry, server, Asker::Request(origin)).await;
        // What is known holds on when asking failed; and somebody else may have asked meanwhile.
        self.0.usable(&entry, server, key_id).ok_or_else(|| match asked {
            Ok(()) => Arc::new(KeyError::Unknown),
            Err(e) => e,
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

    /// Has a server asked for its keys, unless that was a moment ago. A task does that, whatever becomes of the caller,
    /// and everybody who waits shares its answer: a caller that goes away takes nothing from the others.
    pub(super) async fn refresh(
        self: &Arc<Self>,
        entry: &Arc<Server>,
        server: &ServerName,
        asker: Asker,
    ) -> Result<(), Arc<KeyError>> {
        // Else somebody else has it asked.
        if let Ok(turn) = Arc::clone(&entry.asking).try_lock_owned() {
            let mut early = false;
            if let Some(asked) = entry.asked() {
                let passed = self.clock.now().since(asked.at);
                if passed < asked.pause(matches!(asker, Asker::Request(_))) {
                    return asked.failure.map_or(Ok(()), Err);
                }
                early = asked.failure.is_some() && passed < TRY_AGAIN;
            }
            let place = match asker {
                Asker::Request(origin) => self.place(entry, origin)?,
                Asker::Events(place) => place,
            };
            let (inner, entry, server) = (Arc::clone(self), Arc::clone(entry), server.to_owned());
            tokio::spawn(async move {
                let outcome = tokio::time::timeout(ASKING, inner.ask(&server)).await;
                entry.learn((inner.clock.now(), early), outcome.unwrap_or(Err(KeyError::TooSlow)));
                drop((turn, place));
            });
        }
        drop(entry.asking.lock().await);
        entry.asked().and_then(|asked| asked.failure).map_or(Ok(()), Err)
    }

    /// A place to ask a server from that signed events, as soon as there is one.
    pub(super) async fn place_for_events(self: &Arc<Self>) -> Place {
        // Never closed.
        let permit = Arc::clone(&self.for_events).acquire_owned().await.ok();
        Place { inner: Arc::clone(self), permits: permit.into_iter().collect(), origin: None }
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
        let said = KeyDocument::verified(server, answer.get())?;
        let kept = said.to_keep(self.clock.unix(), answer.get());
        let valid_until = kept.valid_until;
        self.store.put_server_keys(server.to_owned(), kept).await.map_err(KeyError::Store)?;
        Ok((said.keys, valid_until))
    }

    pub(super) async fn server(&self, server: &ServerName) -> Result<Arc<Server>, KeyError> {
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

    /// How asking it ended the last time.
    fn asked(&self) -> Option<Asked> {
        self.known.lock().asked.clone()
    }

    /// Takes what came of asking. What is known holds on when that failed.
    fn learn(&self, (at, early): (Instant, bool), outcome: Result<(PublicKeySet, UnixMillis), KeyError>) {
        let mut known = self.known.lock();
        match outcome {
            Ok((keys, valid_until)) => {
                let asked = Some(Asked { at, failure: None, early: false });
                *known = Known { keys: Arc::new(keys), valid_until, asked };
            }
            Err(e) => known.asked = Some(Asked { at, failure: Some(Arc::new(e)), early }),
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
