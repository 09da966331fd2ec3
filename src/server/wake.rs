//! Who waits for news: one waker per user, shared by all the user's long polls and streams.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use ruma::{OwnedUserId, UserId};
use tokio::sync::Notify;

/// Wakes the readers of users. Bounded by the number of users with a reader waiting.
#[derive(Debug, Default)]
pub struct Wakers {
    users: Mutex<HashMap<OwnedUserId, Arc<Notify>>>,
}

impl Wakers {
    /// A handle on which to wait for news of `user`.
    ///
    /// Create the `notified()` future and `enable()` it *before* looking for news: what happens
    /// in between then still wakes it.
    pub fn listen(self: &Self, user: &UserId) -> Arc<Notify> {
        let mut users = self.lock();
        // Entries without a listener are dropped here, when the map has doubled since they were made.
        if users.len() == users.capacity() {
            users.retain(|_, notify| Arc::strong_count(notify) > 1);
        }
        Arc::clone(users.entry(user.to_owned()).or_default())
    }

    /// Wakes every reader of `user`; nothing happens when there is none.
    pub fn wake(&self, user: &UserId) {
        if let Some(notify) = self.lock().get(user) {
            notify.notify_waiters();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<OwnedUserId, Arc<Notify>>> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
