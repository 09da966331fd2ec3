//! Keys of devices: how many are left, and when the devices of each user changed.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::{Mutex, MutexGuard};
use ruma::{DeviceId, OwnedDeviceId, OwnedUserId, UserId};

use crate::server::{
    change::{feed::Change, position::LogPosition},
    session::Session,
    store::{KeyCounts, Store, StoreError},
};

/// Devices whose counts are kept, at most; when there would be more, all are read again.
const MAX_COUNTS: usize = 50_000;

/// What is held of keys in memory, so that a sync costs no query.
#[derive(Debug)]
pub struct Keys {
    store: Arc<Store>,
    counts: Mutex<HashMap<(OwnedUserId, OwnedDeviceId), Arc<KeyCounts>>>,
    /// Counts the changes: what was read before one may be outdated after it.
    epoch: AtomicU64,
    lists: Mutex<DeviceLists>,
    /// When what only they see of keys last changed for each user. Bounded by the number of users.
    own_views: Mutex<HashMap<OwnedUserId, LogPosition>>,
}

/// When the devices of each user changed last, as far as it was read: each stretch of the log is read
/// once and not by every reader. Bounded by the number of users.
#[derive(Debug, Default)]
struct DeviceLists {
    upto: LogPosition,
    by_position: BTreeMap<LogPosition, OwnedUserId>,
    position_of: HashMap<OwnedUserId, LogPosition>,
}

impl Keys {
    /// Reads from the store what is asked for by every reader.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn load(store: Arc<Store>) -> Result<Self, StoreError> {
        let own_views = Mutex::new(store.own_key_views().await?.into_iter().collect());
        let (counts, lists) = (Mutex::default(), Mutex::default());
        Ok(Self { store, counts, epoch: AtomicU64::new(0), lists, own_views })
    }

    /// How many keys the session's device has left.
    pub async fn counts(&self, session: &Session) -> Result<Arc<KeyCounts>, StoreError> {
        let key = (session.user.clone(), session.device.clone());
        let epoch = self.epoch.load(Ordering::Acquire);
        let known = self.lock().get(&key).cloned();
        if let Some(counts) = known {
            return Ok(counts);
        }
        let counts = Arc::new(self.store.key_counts(&session.user, &session.device).await?);
        let mut kept = self.lock();
        if self.epoch.load(Ordering::Acquire) == epoch {
            if kept.len() >= MAX_COUNTS {
                kept.clear();
            }
            kept.insert(key, Arc::clone(&counts));
        }
        Ok(counts)
    }

    /// Whether `user` has to look at keys again of which others see the same as at the position `since`.
    pub fn has_own_news(&self, user: &UserId, since: LogPosition, upto: LogPosition) -> bool {
        self.own_views.lock().get(user).is_some_and(|at| *at > since && *at <= upto)
    }

    /// Those whose devices or keys changed between two positions.
    pub async fn lists_changed(
        &self,
        since: LogPosition,
        upto: LogPosition,
    ) -> Result<Vec<OwnedUserId>, StoreError> {
        let read = || self.lists.lock();
        let from = read().upto;
        let news = if from < upto { self.store.device_lists_changed(from, upto).await? } else { Vec::new() };
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

    /// Forgets what is outdated.
    pub fn follow(&self, change: &Change) {
        match change {
            Change::KeysLeft { user, device } => self.forget(user, device),
            Change::OwnKeyView { user, position } => {
                self.own_views.lock().insert(user.clone(), *position);
            }
            Change::SessionsEnded { user, devices, .. } => {
                devices.iter().for_each(|device| self.forget(user, device));
            }
            _ => {}
        }
    }

    fn forget(&self, user: &UserId, device: &DeviceId) {
        let mut counts = self.lock();
        self.epoch.fetch_add(1, Ordering::AcqRel);
        counts.remove(&(user.to_owned(), device.to_owned()));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(OwnedUserId, OwnedDeviceId), Arc<KeyCounts>>> {
        self.counts.lock()
    }
}
