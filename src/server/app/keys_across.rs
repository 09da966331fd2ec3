//! The keys of users of other servers: what is kept of them, and asking their servers for the rest.
//!
//! Of whom somebody here shares a room with, this server keeps up with the devices: their server tells it of changes.
//! Of everybody else it asks whenever somebody wants to know.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use ruma::{OwnedServerName, OwnedUserId, ServerName, UserId};
use tokio::task::JoinSet;

use super::parts::App;
use crate::server::{
    devices::{
        across::{Claimed, claimed, queried, snapshot},
        asking::{Held, Refreshing},
        published::{Asker, UserKeys},
    },
    federation::{Federation, client::RequestError, user_keys::AskError},
    store::{DeviceKeys, Snapshot, StoreError},
};

/// Users of one server that are asked for one by one, so that it says what it calls the version of each list; of more it is
/// asked at once.
const ONE_BY_ONE: usize = 10;

/// Users in one request.
const IN_ONE_REQUEST: usize = 100;

/// Bytes of keys that are found of others in one request, about.
const MAX_FOUND: usize = 16 << 20;

/// What was found of users of other servers.
#[derive(Debug, Default)]
pub struct FoundKeys {
    /// Of whom something is known.
    pub users: BTreeMap<OwnedUserId, UserKeys>,
    /// The servers that could not be asked, and why.
    pub failures: BTreeMap<OwnedServerName, String>,
}

/// Keys that were handed out, and the servers that could not be asked.
#[derive(Debug, Default)]
pub struct ClaimedKeys {
    /// By user.
    pub keys: Claimed,
    /// Why.
    pub failures: BTreeMap<OwnedServerName, String>,
}

/// Why a list of devices cannot be had.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("{0}")]
    Ask(AskError),
    #[error("{0}")]
    Store(StoreError),
    #[error("the server did not answer in time")]
    TooSlow,
}

impl App {
    /// Whether somebody of this server shares a room with `user`: then their server tells of changes.
    pub fn is_met(&self, user: &UserId) -> bool {
        self.rooms.members.meets(user, self.server_name())
    }

    /// The keys of users of other servers, for `asker`; of those whose server does not answer within `patience`, what was
    /// known.
    ///
    /// # Errors
    /// [`StoreError`] when what is kept cannot be read.
    pub async fn keys_of_others(
        self: &Arc<Self>,
        users: BTreeSet<OwnedUserId>,
        asker: &UserId,
        patience: Duration,
    ) -> Result<FoundKeys, StoreError> {
        let mut missing = BTreeMap::<OwnedServerName, Vec<OwnedUserId>>::new();
        for user in &users {
            if !self.keeps_up_with(user).await? {
                missing.entry(user.server_name().to_owned()).or_default().push(user.clone());
            }
        }
        let mut asking = JoinSet::new();
        for (server, users) in missing {
            let (app, asker) = (Arc::clone(self), asker.to_owned());
            asking.spawn(async move {
                let fetched = app.fetch_for(&asker, &server, &users, patience).await;
                (server, fetched)
            });
        }
        let (mut found, mut strangers) = (FoundKeys::default(), BTreeMap::new());
        while let Some(done) = asking.join_next().await {
            match done {
                Ok((_, Ok(snapshots))) => strangers.extend(snapshots),
                Ok((server, Err(error))) => {
                    tracing::debug!(%server, %error, "a server does not say which keys its users have");
                    found.failures.insert(server, error.to_string());
                }
                Err(error) => tracing::error!(%error, "asking for keys ended before its time"),
            }
        }
        let mut bytes = 0;
        for user in users {
            let known = match strangers.remove(&user) {
                Some(snapshot) => Some(of_snapshot(snapshot)),
                None => self.kept(&user).await?,
            };
            let Some((devices, cross_signing)) = known else { continue };
            bytes += devices.iter().map(|device| device.keys.len()).sum::<usize>();
            if bytes > MAX_FOUND {
                let why = "the keys of these are too many: ask for fewer at once";
                found.failures.insert(user.server_name().to_owned(), why.to_owned());
                continue;
            }
            let keys =
                UserKeys::signed(&self.store, &user, devices, cross_signing, Asker::User(asker)).await?;
            found.users.insert(user, keys);
        }
        Ok(found)
    }

    /// Claims keys of devices of users of other servers: by user, device, the algorithm.
    pub async fn claim_of_others(
        self: &Arc<Self>,
        wanted: BTreeMap<OwnedUserId, BTreeMap<String, String>>,
        asker: &UserId,
        patience: Duration,
    ) -> ClaimedKeys {
        let mut by_server =
            BTreeMap::<OwnedServerName, BTreeMap<OwnedUserId, BTreeMap<String, String>>>::new();
        for (user, devices) in wanted {
            by_server.entry(user.server_name().to_owned()).or_default().insert(user, devices);
        }
        let mut asking = JoinSet::new();
        for (server, wanted) in by_server {
            let (app, asker) = (Arc::clone(self), asker.to_owned());
            asking.spawn(async move {
                let claim = async {
                    let federation = app.federation.as_ref().ok_or(AskError::Refused)?;
                    let _place = app.asking.place_for(&asker).await;
                    let answer = federation.claim_keys(&server, &wanted, patience).await?;
                    claimed(&wanted, answer.json()).map_err(AskError::Answer)
                };
                let outcome = tokio::time::timeout(patience, claim).await;
                let outcome = outcome.map_err(|_| FetchError::TooSlow);
                (server, outcome.and_then(|claimed| claimed.map_err(FetchError::Ask)))
            });
        }
        let mut all = ClaimedKeys::default();
        while let Some(done) = asking.join_next().await {
            match done {
                Ok((_, Ok(keys))) => all.keys.extend(keys),
                Ok((server, Err(error))) => {
                    all.failures.insert(server, error.to_string());
                }
                Err(error) => tracing::error!(%error, "claiming keys ended before its time"),
            }
        }
        all
    }

    /// Asks anew for the devices of users of other servers of which something is missing, beside everything else. Readers
    /// are told when it is known, or when it is known that their server does not say.
    pub(super) async fn refresh_lists(self: &Arc<Self>, users: Vec<OwnedUserId>) -> Result<(), StoreError> {
        let mut too_many = Vec::new();
        for user in users {
            match self.asking.begin_refresh(&user) {
                Ok(true) => {
                    let refreshing = self.asking.refreshing();
                    drop(tokio::spawn(Arc::clone(self).refresh_list(user, refreshing)));
                }
                Ok(false) => {}
                Err(_) => too_many.push(user),
            }
        }
        if too_many.is_empty() { Ok(()) } else { self.store.note_remote_lists(too_many).await }
    }

    async fn refresh_list(self: Arc<Self>, user: OwnedUserId, _refreshing: Refreshing) {
        let _place = self.asking.place_to_refresh().await;
        self.asking.end_refresh(&user);
        let users = [user];
        let server = users[0].server_name();
        if let Err(error) = self.fetch_lists(server, &users, REFRESHING).await {
            tracing::debug!(%server, %error, "a server does not say what changed of its users' devices");
        }
        // If it does not, too: whoever asks will hear that.
        if let Err(error) = self.store.note_remote_lists(users.to_vec()).await {
            tracing::warn!(%error, "nobody is told that devices of another server changed");
        }
    }

    /// Whether what is kept of the devices of `user` is all there is.
    async fn keeps_up_with(&self, user: &UserId) -> Result<bool, StoreError> {
        Ok(self.is_met(user) && self.store.has_current_remote_list(user).await?)
    }

    async fn kept(&self, user: &UserId) -> Result<Option<Known>, StoreError> {
        let Some(list) = self.store.remote_list(user).await? else { return Ok(None) };
        Ok(Some((list.devices, self.store.cross_signing_keys(user).await?)))
    }

    async fn fetch_for(
        &self,
        asker: &UserId,
        server: &ServerName,
        users: &[OwnedUserId],
        patience: Duration,
    ) -> Result<BTreeMap<OwnedUserId, Snapshot>, FetchError> {
        let fetch = async {
            let _place = self.asking.place_for(asker).await;
            self.fetch_lists(server, users, patience).await
        };
        tokio::time::timeout(patience, fetch).await.unwrap_or(Err(FetchError::TooSlow))
    }

    /// Asks a server for the devices of these users. Those of whom this server keeps up with the devices are kept, the
    /// others are answered.
    async fn fetch_lists(
        &self,
        server: &ServerName,
        users: &[OwnedUserId],
        patience: Duration,
    ) -> Result<BTreeMap<OwnedUserId, Snapshot>, FetchError> {
        let federation = self.federation.as_ref().ok_or(FetchError::Ask(AskError::Refused))?;
        let (met, strangers): (Vec<_>, Vec<_>) = users.iter().cloned().partition(|user| self.is_met(user));
        // In the order of their IDs, as everybody takes them.
        let mut held = Vec::new();
        for user in met.into_iter().collect::<BTreeSet<_>>() {
            let turn = self.asking.hold(&user).await;
            // Somebody else may have asked meanwhile.
            if !self.keeps_up_with(&user).await.map_err(FetchError::Store)? {
                held.push((user, turn));
            }
        }
        if held.len() <= ONE_BY_ONE {
            let mut refused = Ok(());
            for (user, turn) in held {
                match federation.user_devices(&user, patience).await {
                    Ok(answer) => {
                        let list = snapshot(&user, answer.json())
                            .map_err(|why| FetchError::Ask(AskError::Answer(why)))?;
                        self.keep(vec![(user, turn, list)]).await?;
                    }
                    // Of others it may say more.
                    Err(e @ AskError::Request(RequestError::Status(..))) => refused = Err(FetchError::Ask(e)),
                    Err(e) => return Err(FetchError::Ask(e)),
                }
            }
            refused?;
        } else {
            let mut held = held.into_iter();
            loop {
                let some: BTreeMap<_, _> = held.by_ref().take(IN_ONE_REQUEST).collect();
                if some.is_empty() {
                    break;
                }
                let users: Vec<_> = some.keys().cloned().collect();
                let mut lists = ask_for_all(federation, server, &users, patience).await?;
                let lists = some.into_iter().filter_map(|(user, turn)| {
                    let list = lists.remove(&user)?;
                    Some((user, turn, list))
                });
                self.keep(lists.collect()).await?;
            }
        }
        let mut found = BTreeMap::new();
        for users in strangers.chunks(IN_ONE_REQUEST) {
            found.extend(ask_for_all(federation, server, users, patience).await?);
        }
        Ok(found)
    }

    /// Keeps lists as their server said them, as long as somebody shares a room with their users.
    async fn keep(&self, lists: Vec<(OwnedUserId, Held, Snapshot)>) -> Result<(), FetchError> {
        let (mut kept, mut turns) = (Vec::new(), Vec::new());
        for (user, turn, list) in lists {
            kept.push((user.clone(), list, !turn.is_outdated()));
            turns.push((user, turn));
        }
        self.store.put_remote_lists(kept).await.map_err(FetchError::Store)?;
        let parted: Vec<_> =
            turns.iter().map(|(user, _)| user).filter(|user| !self.is_met(user)).cloned().collect();
        if !parted.is_empty() {
            self.store.forget_remote_lists(parted).await.map_err(FetchError::Store)?;
        }
        let outdated = turns.into_iter().filter(|(_, turn)| turn.is_outdated()).map(|(user, _)| user);
        let outdated: Vec<_> = outdated.collect();
        if outdated.is_empty() {
            return Ok(());
        }
        self.store.outdate_remote_lists(outdated).await.map_err(FetchError::Store)
    }
}

/// How long asking for what changed may take.
const REFRESHING: Duration = Duration::from_secs(30);

/// The devices of a user, and their cross-signing keys by usage.
type Known = (Vec<DeviceKeys>, BTreeMap<String, String>);

fn of_snapshot(snapshot: Snapshot) -> Known {
    let devices = snapshot.devices.into_iter();
    let devices = devices.map(|(device, (keys, display_name))| DeviceKeys { device, keys, display_name });
    (devices.collect(), snapshot.cross_signing)
}

async fn ask_for_all(
    federation: &Federation,
    server: &ServerName,
    users: &[OwnedUserId],
    patience: Duration,
) -> Result<BTreeMap<OwnedUserId, Snapshot>, FetchError> {
    let answer = federation.users_keys(server, users, patience).await.map_err(FetchError::Ask)?;
    queried(users.iter(), answer.json()).map_err(|why| FetchError::Ask(AskError::Answer(why)))
}
