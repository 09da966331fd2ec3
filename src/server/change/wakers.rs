//! Who waits for news: one waker per user, shared by all the user's long polls and streams.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::{Mutex, MutexGuard};
use ruma::{OwnedRoomId, OwnedUserId, RoomId, UserId};
use tokio::{runtime::Handle, sync::Notify};

/// Wakes the readers of users. Bounded by the number of users with a reader waiting.
#[derive(Debug, Default)]
pub struct Wakers {
    users: Mutex<HashMap<OwnedUserId, Arc<Notify>>>,
    /// Of those who look into rooms without being in them. Bounded by the number of such readers.
    rooms: Mutex<HashMap<OwnedRoomId, Arc<Notify>>>,
    closed: AtomicBool,
    /// Where readers run; `None`: where the waking is done.
    runtime: Option<Handle>,
}

impl Wakers {
    /// For readers that run in `runtime`.
    pub fn of(runtime: Handle) -> Self {
        Self { runtime: Some(runtime), ..Self::default() }
    }

    /// A handle on which to wait for news of `user`.
    ///
    /// Create the `notified()` future and `enable()` it *before* looking for news: what happens
    /// in between then still wakes it.
    pub fn listen(&self, user: &UserId) -> Arc<Notify> {
        let mut users = self.lock();
        if let Some(notify) = users.get(user) {
            return Arc::clone(notify);
        }
        // Entries without a listener are dropped here, when the map is about to grow.
        if users.len() == users.capacity() {
            users.retain(|_, notify| Arc::strong_count(notify) > 1);
        }
        Arc::clone(users.entry(user.to_owned()).or_default())
    }

    /// A handle on which to wait for news of a room that the reader is not in.
    pub fn listen_at(&self, room: &RoomId) -> Arc<Notify> {
        let mut rooms = self.rooms.lock();
        if let Some(notify) = rooms.get(room) {
            return Arc::clone(notify);
        }
        if rooms.len() == rooms.capacity() {
            rooms.retain(|_, notify| Arc::strong_count(notify) > 1);
        }
        Arc::clone(rooms.entry(room.to_owned()).or_default())
    }

    /// Wakes those who look into `room` without being in it.
    pub fn wake_at(&self, room: &RoomId) {
        if let Some(notify) = self.rooms.lock().get(room) {
            notify.notify_waiters();
        }
    }

    /// Wakes every reader of `user`; nothing happens when there is none.
    pub fn wake(&self, user: &UserId) {
        if let Some(notify) = self.lock().get(user) {
            notify.notify_waiters();
        }
    }

    /// Wakes every reader of each of `users`, each once.
    pub fn wake_all<'a>(&self, users: impl IntoIterator<Item = &'a UserId>) {
        self.wake_each(|add| users.into_iter().for_each(add));
    }

    /// The same for users whom `name` names, one after the other.
    ///
    /// From a thread outside the runtime each waking is a way into it; so they are done there, all of them in one
    /// task.
    pub fn wake_each(&self, name: impl FnOnce(&mut dyn FnMut(&UserId))) {
        let mut waiting = Vec::new();
        name(&mut |user| waiting.extend(self.lock().get(user).map(Arc::clone)));
        let wake = move || waiting.iter().for_each(|notify| notify.notify_waiters());
        match &self.runtime {
            Some(runtime) if Handle::try_current().is_err() => drop(runtime.spawn(async move { wake() })),
            _ => wake(),
        }
    }

    /// The server stops: wakes everybody, and nobody waits any longer.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        let wake = |notify: &Notify| {
            notify.notify_waiters();
            true
        };
        self.rooms.lock().retain(|_, notify| wake(notify));
        self.lock().retain(|_, notify| wake(notify));
    }

    /// Whether the server stops: readers answer with what there is instead of waiting.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<OwnedUserId, Arc<Notify>>> {
        self.users.lock()
    }
}

#[cfg(test)]
mod tests {
    use ruma::user_id;

    use super::*;

    #[tokio::test]
    async fn a_thread_outside_the_runtime_wakes_as_well() {
        let wakers = Wakers::of(Handle::current());
        let notify = wakers.listen(user_id!("@a:x"));
        let mut news = std::pin::pin!(notify.notified());
        news.as_mut().enable();
        std::thread::scope(|scope| {
            scope.spawn(|| wakers.wake_all([user_id!("@b:x"), user_id!("@a:x")]));
        });
        news.await;
    }

    #[tokio::test]
    async fn what_happens_between_registering_and_waiting_still_wakes() {
        let wakers = Wakers::default();
        let notify = wakers.listen(user_id!("@a:x"));
        let mut news = std::pin::pin!(notify.notified());
        news.as_mut().enable();
        wakers.wake_all([user_id!("@b:x"), user_id!("@a:x")]);
        news.await;
    }

    #[tokio::test]
    async fn closing_wakes_everybody() {
        let wakers = Wakers::default();
        let notify = wakers.listen(user_id!("@a:x"));
        let mut news = std::pin::pin!(notify.notified());
        news.as_mut().enable();
        wakers.close();
        news.await;
        assert!(wakers.is_closed());
    }

    #[test]
    fn users_without_readers_are_forgotten() {
        let wakers = Wakers::default();
        for n in 0..10_000 {
            let user = UserId::parse(format!("@u{n}:x")).expect("is a user ID");
            drop(wakers.listen(&user));
        }
        assert!(wakers.lock().len() < 100);
    }
}
