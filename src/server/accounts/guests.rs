//! Who is a guest, and where guests are not welcome any longer.

use std::collections::{BTreeSet, HashSet};

use parking_lot::{Mutex, RwLock};
use ruma::{OwnedRoomId, OwnedUserId, RoomId, UserId};
use tokio::sync::Notify;

use crate::server::store::{Store, StoreError};

/// Guests at a time.
pub const MAX_GUESTS: usize = 10_000;

/// The guests of this server. At most [`MAX_GUESTS`].
#[derive(Debug, Default)]
pub struct Guests {
    all: RwLock<HashSet<OwnedUserId>>,
    /// Rooms that said something else of guests than before. Bounded by the rooms.
    closed: Mutex<BTreeSet<OwnedRoomId>>,
    changed: Notify,
}

impl Guests {
    /// Reads from the store who is one.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn load(store: &Store) -> Result<Self, StoreError> {
        let all = store.guests().await?.into_iter().collect();
        Ok(Self { all: RwLock::new(all), ..Self::default() })
    }

    /// Whether `user` is one.
    pub fn is_guest(&self, user: &UserId) -> bool {
        self.all.read().contains(user)
    }

    /// Whether there is no place for another one.
    pub fn is_full(&self) -> bool {
        self.all.read().len() >= MAX_GUESTS
    }

    /// There is another one.
    pub fn add(&self, user: OwnedUserId) {
        self.all.write().insert(user);
    }

    /// The account of one has ended.
    pub fn remove(&self, user: &UserId) {
        self.all.write().remove(user);
    }

    /// A room says something else of guests: those who are there are looked at.
    pub fn handle_access(&self, room: &RoomId) {
        if !self.all.read().is_empty() {
            self.closed.lock().insert(room.to_owned());
            self.changed.notify_one();
        }
    }

    /// The rooms of which that was said, once.
    pub fn poll_rooms(&self) -> BTreeSet<OwnedRoomId> {
        std::mem::take(&mut *self.closed.lock())
    }

    /// Waits until there are some.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }
}
