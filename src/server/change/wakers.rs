//! Who waits for news: one waker per user, shared by all the user's long polls, and a place for each of their streams.
//!
//! A poll is woken by whatever there is. A stream is told the changes that come most by whoever tells all streams at
//! once (it *follows*); it is woken, to look for itself, by all others.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use ruma::{OwnedRoomId, OwnedUserId, RoomId, UserId};
use tokio::{runtime::Handle, sync::Notify};

use super::position::{LivePosition, LogPosition};

/// To look for one user among many takes so many times as long as to come to the next.
const FAR_FEWER: usize = 8;

/// A place in both orders.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Place {
    /// In the log.
    pub log: LogPosition,
    /// Among what lives.
    pub live: LivePosition,
}

/// One stream's place among those who are woken.
#[derive(Debug, Default)]
pub struct Slot {
    is_woken: AtomicBool,
    woken_at: Mutex<Option<Place>>,
    notify: Notify,
}

/// Wakes the readers of users. Bounded by the number of users with a reader waiting.
#[derive(Debug, Default)]
pub struct Wakers {
    polls: Mutex<HashMap<OwnedUserId, Arc<Notify>>>,
    /// Of those who look into rooms without being in them. Bounded by the number of such readers.
    rooms: Mutex<HashMap<OwnedRoomId, Arc<Notify>>>,
    streams: Mutex<HashMap<OwnedUserId, Vec<Arc<Slot>>>>,
    followed_log: AtomicU64,
    followed_live: AtomicU64,
    closed: AtomicBool,
    /// Where readers run; `None`: where the waking is done.
    runtime: Option<Handle>,
}

impl Place {
    /// The later of both, in each order.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self { log: self.log.max(other.log), live: self.live.max(other.live) }
    }
}

impl Slot {
    /// Whether there is something to look at.
    pub fn is_woken(&self) -> bool {
        self.is_woken.load(Ordering::Acquire)
    }

    /// Takes note that the stream looks; answers up to where those were told who follow when it was woken: what it was
    /// woken for comes after it. `None`: it was not woken. Called *before* it looks.
    pub fn begin_look(&self) -> Option<Place> {
        let mut woken_at = self.woken_at.lock();
        self.is_woken.store(false, Ordering::Release);
        woken_at.take()
    }

    /// Waits until the slot is woken, or [`Self::call`]ed. Wakes for one call before it, too.
    pub async fn called(&self) {
        self.notify.notified().await;
    }

    /// Has the stream look around, though nothing woke it.
    pub fn call(&self) {
        self.notify.notify_one();
    }

    /// There is something for the stream that comes after `followed`.
    fn mark(&self, followed: Place) {
        let mut woken_at = self.woken_at.lock();
        woken_at.get_or_insert(followed);
        self.is_woken.store(true, Ordering::Release);
    }
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
        let mut polls = self.polls.lock();
        if let Some(notify) = polls.get(user) {
            return Arc::clone(notify);
        }
        // Entries without a listener are dropped here, when the map is about to grow.
        if polls.len() == polls.capacity() {
            polls.retain(|_, notify| Arc::strong_count(notify) > 1);
        }
        Arc::clone(polls.entry(user.to_owned()).or_default())
    }

    /// A place for a stream of `user`, until [`Self::leave`].
    pub fn enter(&self, user: &UserId) -> Arc<Slot> {
        let slot = Arc::new(Slot::default());
        self.streams.lock().entry(user.to_owned()).or_default().push(Arc::clone(&slot));
        slot
    }

    /// The stream is gone.
    pub fn leave(&self, user: &UserId, slot: &Arc<Slot>) {
        let mut streams = self.streams.lock();
        if let Some(slots) = streams.get_mut(user) {
            slots.retain(|other| !Arc::ptr_eq(other, slot));
            if slots.is_empty() {
                streams.remove(user);
            }
        }
    }

    /// Those who follow were told everything up to `place`. Noted by whoever tells them, who is one.
    pub fn note_followed(&self, place: Place) {
        self.followed_log.store(place.log.get(), Ordering::Release);
        self.followed_live.store(place.live.get(), Ordering::Release);
    }

    /// Up to where those were told who follow.
    pub fn followed(&self) -> Place {
        Place {
            log: LogPosition::new(self.followed_log.load(Ordering::Acquire)),
            live: LivePosition::new(self.followed_live.load(Ordering::Acquire)),
        }
    }

    /// Those who have a reader, or had one a while ago, if they are far fewer than `others`.
    #[expect(clippy::disallowed_methods, reason = "they are put in order")]
    pub fn far_fewer_than(&self, others: usize) -> Option<Vec<OwnedUserId>> {
        let (polls, streams) = (self.polls.lock().len(), self.streams.lock().len());
        if (polls + streams) * FAR_FEWER > others {
            return None;
        }
        let mut users: BTreeSet<OwnedUserId> = self.polls.lock().keys().cloned().collect();
        users.extend(self.streams.lock().keys().cloned());
        Some(users.into_iter().collect())
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
        self.wake_all([user]);
    }

    /// Wakes every reader of each of `users`, each once.
    pub fn wake_all<'a>(&self, users: impl IntoIterator<Item = &'a UserId>) {
        self.wake_each(|add| users.into_iter().for_each(add));
    }

    /// The same for users whom `name` names, one after the other.
    pub fn wake_each(&self, name: impl FnOnce(&mut dyn FnMut(&UserId))) {
        let (mut polls, mut slots) = (Vec::new(), Vec::new());
        // What this is for was not told yet, so that nobody follows beyond it.
        let followed = self.followed();
        name(&mut |user| {
            polls.extend(self.polls.lock().get(user).map(Arc::clone));
            if let Some(of_user) = self.streams.lock().get(user) {
                of_user.iter().for_each(|slot| slot.mark(followed));
                slots.extend(of_user.iter().map(Arc::clone));
            }
        });
        self.notify(polls, slots);
    }

    /// Wakes only the long polls of the users whom `name` names: for a change that streams follow.
    pub fn wake_polls(&self, name: impl FnOnce(&mut dyn FnMut(&UserId))) {
        if self.polls.lock().is_empty() {
            return;
        }
        let mut polls = Vec::new();
        name(&mut |user| polls.extend(self.polls.lock().get(user).map(Arc::clone)));
        self.notify(polls, Vec::new());
    }

    /// From a thread outside the runtime each waking is a way into it; so they are done there, all of them in one
    /// task.
    fn notify(&self, polls: Vec<Arc<Notify>>, slots: Vec<Arc<Slot>>) {
        if polls.is_empty() && slots.is_empty() {
            return;
        }
        let wake = move || {
            polls.iter().for_each(|notify| notify.notify_waiters());
            slots.iter().for_each(|slot| slot.call());
        };
        match &self.runtime {
            Some(runtime) if Handle::try_current().is_err() => drop(runtime.spawn(async move { wake() })),
            _ => wake(),
        }
    }

    /// The server stops: wakes everybody, and nobody waits any longer.
    #[expect(clippy::disallowed_methods, reason = "in any order")]
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.polls.lock().values().for_each(|notify| notify.notify_waiters());
        self.rooms.lock().values().for_each(|notify| notify.notify_waiters());
        self.streams.lock().values().flatten().for_each(|slot| slot.call());
    }

    /// Whether the server stops: readers answer with what there is instead of waiting.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
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
    fn those_who_read_are_named_where_others_are_far_more() {
        let (wakers, [a, b]) = (Wakers::default(), [user_id!("@a:x"), user_id!("@b:x")]);
        assert_eq!(wakers.far_fewer_than(0), Some(Vec::new()));
        let polls = wakers.listen(b);
        let slots = [a, b].map(|user| wakers.enter(user));
        assert_eq!(wakers.far_fewer_than(3 * FAR_FEWER - 1), None, "two streams and a poll");
        assert_eq!(wakers.far_fewer_than(3 * FAR_FEWER), Some(vec![a.to_owned(), b.to_owned()]));
        [a, b].iter().zip(&slots).for_each(|(user, slot)| wakers.leave(user, slot));
        drop(polls);
        assert_eq!(wakers.far_fewer_than(1000), Some(vec![b.to_owned()]), "it may still wait");
    }

    #[test]
    fn users_without_readers_are_forgotten() {
        let wakers = Wakers::default();
        for n in 0..10_000 {
            let user = UserId::parse(format!("@u{n}:x")).expect("is a user ID");
            drop(wakers.listen(&user));
        }
        assert!(wakers.polls.lock().len() < 100);
    }
}
