//! Keys of devices: stored, counted in memory, and told to those who share a room.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use ruma::{DeviceId, OwnedDeviceId, OwnedUserId, UserId};

use crate::server::{
    api::error::ApiResult,
    app::App,
    change::position::LogPosition,
    finish::finish,
    session::Session,
    store::{KeyCounts, KeySignature, KeyUpload, Store, StoreError},
};

/// Devices whose counts are kept, at most; when there would be more, all are read again.
const MAX_COUNTS: usize = 50_000;

/// How many keys the devices in use have left, so that a sync costs no query.
#[derive(Debug, Default)]
pub struct DeviceKeyCounts {
    counts: Mutex<HashMap<(OwnedUserId, OwnedDeviceId), Arc<KeyCounts>>>,
    /// Counts the changes: what was read before one may be outdated after it.
    epoch: AtomicU64,
    lists: Mutex<DeviceLists>,
}

/// When the devices of each user changed last, as far as it was read: each stretch of the log is read
/// once and not by every reader. Bounded by the number of users.
#[derive(Debug, Default)]
struct DeviceLists {
    upto: LogPosition,
    by_position: BTreeMap<LogPosition, OwnedUserId>,
    position_of: HashMap<OwnedUserId, LogPosition>,
}

impl DeviceKeyCounts {
    async fn lists_changed(
        &self,
        store: &Store,
        since: LogPosition,
        upto: LogPosition,
    ) -> Result<Vec<OwnedUserId>, StoreError> {
        let read = || self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        let from = read().upto;
        let news = if from < upto { store.device_lists_changed(from, upto).await? } else { Vec::new() };
        let mut lists = read();
        // Whoever read the same stretch meanwhile took the same from it, and perhaps more.
        if lists.upto < upto {
            for (position, user) in news {
                if let Some(before) = lists.position_of.insert(user.clone(), position) {
                    lists.by_position.remove(&before);
                }
                lists.by_position.insert(position, user);
            }
            lists.upto = upto;
        }
        let range = since.next()..=upto.max(since.next());
        Ok(lists.by_position.range(range).map(|(_, user)| user.clone()).collect())
    }

    fn forget(&self, user: &UserId, device: &str) {
        let mut counts = self.lock();
        self.epoch.fetch_add(1, Ordering::AcqRel);
        counts.remove(&(user.to_owned(), device.into()));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(OwnedUserId, OwnedDeviceId), Arc<KeyCounts>>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl App {
    /// How many keys the session's device has left.
    pub async fn key_counts(&self, session: &Session) -> Result<Arc<KeyCounts>, StoreError> {
        let key = (session.user.clone(), session.device.clone());
        let epoch = self.device_keys.epoch.load(Ordering::Acquire);
        let known = self.device_keys.lock().get(&key).cloned();
        if let Some(counts) = known {
            return Ok(counts);
        }
        let counts = Arc::new(self.store.key_counts(&session.user, &session.device).await?);
        let mut kept = self.device_keys.lock();
        if self.device_keys.epoch.load(Ordering::Acquire) == epoch {
            if kept.len() >= MAX_COUNTS {
                kept.clear();
            }
            kept.insert(key, Arc::clone(&counts));
        }
        Ok(counts)
    }

    /// Stores what a device uploads, and tells those who share a room when its own keys are new.
    pub async fn upload_keys(self: &Arc<Self>, session: &Session, upload: KeyUpload) -> ApiResult<()> {
        let (app, session) = (Arc::clone(self), session.clone());
        finish(async move {
            let changed = app.store.upload_keys(session.clone(), upload).await?;
            app.device_keys.forget(&session.user, session.device.as_str());
            app.wakers.wake(&session.user);
            if changed {
                app.wake_sharers(&session.user);
            }
            Ok(())
        })
        .await
    }

    /// Takes one key of a device for good.
    pub async fn claim_key(
        self: &Arc<Self>,
        user: &UserId,
        device: &str,
        algorithm: String,
    ) -> ApiResult<Option<(String, String)>> {
        let (app, user, device) = (Arc::clone(self), user.to_owned(), device.to_owned());
        finish(async move {
            let claimed = app.store.claim_key(user.clone(), device.clone(), algorithm).await?;
            if claimed.is_some() {
                app.device_keys.forget(&user, &device);
                app.wakers.wake(&user);
            }
            Ok(claimed)
        })
        .await
    }

    /// Replaces cross-signing keys, and tells those who share a room.
    pub async fn set_cross_signing_keys(
        self: &Arc<Self>,
        user: &UserId,
        keys: Vec<(&'static str, String)>,
    ) -> ApiResult<()> {
        let (app, user) = (Arc::clone(self), user.to_owned());
        finish(async move {
            app.store.set_cross_signing_keys(user.clone(), keys).await?;
            app.wake_sharers(&user);
            Ok(())
        })
        .await
    }

    /// Adds the user's signatures to keys, and tells those who share a room.
    pub async fn add_key_signatures(
        self: &Arc<Self>,
        user: &UserId,
        signatures: Vec<KeySignature>,
    ) -> ApiResult<()> {
        let (app, user) = (Arc::clone(self), user.to_owned());
        finish(async move {
            app.store.add_key_signatures(signatures).await?;
            app.wake_sharers(&user);
            Ok(())
        })
        .await
    }

    /// Those whose devices or keys changed between two positions, as far as it concerns `reader`: the
    /// reader, and whoever shares a room.
    pub async fn device_lists_changed(
        &self,
        reader: &UserId,
        since: LogPosition,
        upto: LogPosition,
    ) -> Result<Vec<OwnedUserId>, StoreError> {
        let mut changed = self.device_keys.lists_changed(&self.store, since, upto).await?;
        changed.retain(|user| user == reader || self.rooms.members.shares_room(reader, user));
        Ok(changed)
    }

    /// A device is gone, and its keys with it.
    pub fn device_keys_gone(&self, user: &UserId, device: &DeviceId) {
        self.device_keys.forget(user, device.as_str());
        self.wake_sharers(user);
    }

    fn wake_sharers(&self, user: &UserId) {
        let sharers: BTreeSet<OwnedUserId> = self.rooms.members.sharing_rooms_with(user);
        self.wakers.wake_all(sharers.iter().map(|user| &**user).chain([user]));
    }
}
