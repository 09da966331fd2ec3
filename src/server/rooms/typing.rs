//! Who is typing where: in memory only, and it ends by itself.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use parking_lot::{Mutex, MutexGuard};
use ruma::{OwnedRoomId, OwnedUserId, RoomId, UserId};
use tokio::sync::Notify;

use crate::{
    core::time::{Instant, UnixMillis},
    server::{
        change::{
            feed::{Change, Feed},
            position::{Live, LivePosition},
        },
        clock::Clock,
        store::{Store, StoreError},
    },
};

/// A typing notice lasts this long at most, whatever its sender asks for.
pub const MAX_TYPING: Duration = Duration::from_secs(120);

/// For how long it is kept that somebody typed in a room: readers who come back after that are not told that it ended.
const MARKED: Duration = Duration::from_secs(7 * 24 * 3_600);

/// After this time it is kept anew, when somebody types again.
const MARKED_ANEW: Duration = Duration::from_secs(24 * 3_600);

/// A typing notice lasts this long when its sender does not say.
pub const DEFAULT_TYPING: Duration = Duration::from_secs(30);

/// The typing notices of all rooms. Bounded by the rooms in which somebody typed since the start, or in the week before
/// it, and one notice per member.
///
/// What ends with the server ends without a word: so the store has in which rooms anybody typed, before anybody is told,
/// and each of them is new, with nobody who types, to whoever comes from before the start.
#[derive(Debug)]
pub struct Typing {
    clock: Clock,
    live: Arc<Live>,
    feed: Arc<Feed>,
    /// Absent in tests of nothing else.
    store: Option<Arc<Store>>,
    inner: Mutex<Inner>,
    earlier: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    rooms: HashMap<OwnedRoomId, Room>,
    /// Each room at its last change only.
    changed: BTreeMap<LivePosition, OwnedRoomId>,
    ends: BTreeSet<(Instant, OwnedRoomId, OwnedUserId)>,
}

#[derive(Debug, Default)]
struct Room {
    position: LivePosition,
    typing: BTreeMap<OwnedUserId, Instant>,
    /// When the store was told of the room in this run.
    marked: Option<Instant>,
}

impl Typing {
    /// Nobody types any longer.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read who did.
    pub async fn load(
        clock: Clock,
        live: Arc<Live>,
        feed: Arc<Feed>,
        store: Arc<Store>,
    ) -> Result<Self, StoreError> {
        let since = clock.unix().0.saturating_sub(MARKED.as_millis() as u64);
        let rooms = store.typing_marks(UnixMillis(since)).await?;
        let typing = Self { store: Some(store), ..Self::new(clock, live, feed) };
        let mut inner = typing.lock();
        rooms.iter().for_each(|room| inner.change(room, &typing.live));
        drop(inner);
        Ok(typing)
    }

    /// Nobody types.
    fn new(clock: Clock, live: Arc<Live>, feed: Arc<Feed>) -> Self {
        Self { clock, live, feed, store: None, inner: Mutex::default(), earlier: Notify::new() }
    }

    /// Has the store know that somebody types in `room`, if it does not. To be asked before [`Self::start`].
    pub async fn mark(&self, room: &RoomId) {
        let now = self.clock.now();
        let marked = self.lock().rooms.get(room).and_then(|room| room.marked);
        let Some(store) = &self.store else { return };
        if marked.is_some_and(|marked| now.since(marked) < MARKED_ANEW) {
            return;
        }
        match store.mark_typing(room, self.clock.unix()).await {
            Ok(()) => self.lock().room(room).marked = Some(now),
            Err(error) => tracing::debug!(%error, "that somebody types is not kept"),
        }
    }

    /// `user` types in `room` for `duration`, at most [`MAX_TYPING`].
    pub fn start(&self, room: &RoomId, user: &UserId, duration: Duration) {
        let _telling = self.live.telling();
        let until = self.clock.now() + duration.min(MAX_TYPING);
        let is_new = {
            let mut inner = self.lock();
            let first = inner.ends.first().map(|(end, ..)| *end);
            let previous = inner.room(room).typing.insert(user.to_owned(), until);
            if let Some(end) = previous {
                inner.ends.remove(&(end, room.to_owned(), user.to_owned()));
            } else {
                inner.change(room, &self.live);
            }
            inner.ends.insert((until, room.to_owned(), user.to_owned()));
            if first.is_none_or(|first| until < first) {
                self.earlier.notify_one();
            }
            previous.is_none()
        };
        if is_new {
            self.tell([room.to_owned()]);
        }
    }

    /// `user` no longer types in `room`.
    pub fn stop(&self, room: &RoomId, user: &UserId) {
        let _telling = self.live.telling();
        {
            let mut inner = self.lock();
            let Some(end) = inner.rooms.get_mut(room).and_then(|r| r.typing.remove(user)) else { return };
            inner.ends.remove(&(end, room.to_owned(), user.to_owned()));
            inner.change(room, &self.live);
        }
        self.tell([room.to_owned()]);
    }

    /// `user` no longer types anywhere.
    pub fn stop_everywhere(&self, user: &UserId) {
        let rooms: Vec<_> =
            self.lock().ends.iter().filter(|(_, _, u)| u == user).map(|(_, r, _)| r.clone()).collect();
        for room in rooms {
            self.stop(&room, user);
        }
    }

    /// The rooms whose notices changed after the live position `since`, up to and including `upto`.
    pub fn changed(&self, since: LivePosition, upto: LivePosition) -> Vec<OwnedRoomId> {
        if since >= upto {
            return Vec::new();
        }
        self.lock().changed.range(since.next()..=upto).map(|(_, room)| room.clone()).collect()
    }

    /// Who types in `room`.
    pub fn in_room(&self, room: &RoomId) -> Vec<OwnedUserId> {
        self.lock().rooms.get(room).map_or_else(Vec::new, |r| r.typing.keys().cloned().collect())
    }

    /// The live position of the last change in `room`; 0 when there was none since the start.
    pub fn position(&self, room: &RoomId) -> LivePosition {
        self.lock().rooms.get(room).map_or(LivePosition::START, |r| r.position)
    }

    /// Ends notices when their time has come, until the task is dropped.
    pub async fn run(&self) {
        loop {
            self.end_due();
            let next = self.lock().ends.first().map(|(end, ..)| *end);
            match next {
                Some(end) => tokio::select! {
                    () = self.clock.sleep_until(end) => {}
                    () = self.earlier.notified() => {}
                },
                None => self.earlier.notified().await,
            }
        }
    }

    fn end_due(&self) {
        let _telling = self.live.telling();
        let (now, mut rooms) = (self.clock.now(), Vec::new());
        {
            let mut inner = self.lock();
            while inner.ends.first().is_some_and(|(end, ..)| *end <= now) {
                let Some((_, room, user)) = inner.ends.pop_first() else { break };
                inner.room(&room).typing.remove(&user);
                inner.change(&room, &self.live);
                rooms.push(room);
            }
        }
        rooms.dedup();
        self.tell(rooms);
    }

    fn tell(&self, rooms: impl IntoIterator<Item = OwnedRoomId>) {
        let changes: Vec<_> = rooms.into_iter().map(|room| Change::Typing { room }).collect();
        if !changes.is_empty() {
            self.feed.tell(&changes);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }
}

impl Inner {
    fn room(&mut self, room: &RoomId) -> &mut Room {
        if !self.rooms.contains_key(room) {
            self.rooms.insert(room.to_owned(), Room::default());
        }
        self.rooms.get_mut(room).expect("was inserted above")
    }

    fn change(&mut self, room: &RoomId, live: &Live) {
        let position = live.advance();
        let before = std::mem::replace(&mut self.room(room).position, position);
        self.changed.remove(&before);
        self.changed.insert(position, room.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use ruma::{room_id, user_id};

    use super::*;
    use crate::{core::time::UnixMillis, server::change::feed::Subscriber};

    /// The rooms in which something changed, as they were told.
    #[derive(Debug, Default)]
    struct Told(Mutex<Vec<OwnedRoomId>>);

    impl Subscriber for Told {
        fn follow(&self, _: &Change) {}

        fn tell(&self, changes: &[Change]) {
            for change in changes {
                let Change::Typing { room } = change else { panic!("only typing is told here") };
                self.0.lock().push(room.clone());
            }
        }
    }

    struct World {
        typing: Typing,
        told: Arc<Told>,
    }

    impl World {
        fn new() -> Self {
            let (feed, told) = (Arc::new(Feed::default()), Arc::new(Told::default()));
            feed.subscribe(Some(Arc::clone(&told) as Arc<dyn Subscriber>));
            let clock = Clock::driven(UnixMillis(1_000_000));
            Self { typing: Typing::new(clock, Arc::new(Live::new(0)), feed), told }
        }

        /// Lets some seconds pass.
        fn pass(&self, seconds: u64) {
            self.typing.clock.advance(Duration::from_secs(seconds));
            self.typing.end_due();
        }

        fn told(&self) -> Vec<String> {
            std::mem::take(&mut *self.told.0.lock()).into_iter().map(|room| room.to_string()).collect()
        }

        fn changes(&self, since: LivePosition) -> Vec<(String, Vec<OwnedUserId>)> {
            let rooms = self.typing.changed(since, self.typing.live.position());
            rooms.into_iter().map(|room| (room.to_string(), self.typing.in_room(&room))).collect()
        }
    }

    #[test]
    fn a_notice_ends_by_itself_and_readers_see_each_room_once() {
        let world = World::new();
        let (room, a, b) = (room_id!("!r:x"), user_id!("@a:x"), user_id!("@b:x"));
        let seconds = Duration::from_secs;
        world.typing.start(room, a, seconds(5));
        assert_eq!(world.told(), ["!r:x"]);
        world.typing.start(room, a, seconds(9));
        assert!(world.told().is_empty(), "prolonged: nothing to see");
        world.typing.start(room, b, seconds(3));
        let both = vec![a.to_owned(), b.to_owned()];
        assert_eq!(world.changes(LivePosition::START), [(room.to_string(), both)]);
        let before = world.typing.live.position();
        assert_eq!(world.told(), ["!r:x"]);
        world.pass(2);
        assert!(world.told().is_empty());
        world.pass(1);
        assert_eq!(world.told(), ["!r:x"]);
        assert_eq!(world.changes(before), [(room.to_string(), vec![a.to_owned()])]);
        world.pass(5);
        assert!(world.told().is_empty());
        world.pass(1);
        assert_eq!(world.told(), ["!r:x"]);
        assert_eq!(world.typing.in_room(room), Vec::<OwnedUserId>::new());
        assert_eq!(world.changes(world.typing.live.position()), []);
    }

    #[tokio::test]
    async fn an_earlier_end_wakes_the_one_who_waits() {
        let world = World::new();
        let (far, near, a) = (room_id!("!far:x"), room_id!("!near:x"), user_id!("@a:x"));
        world.typing.start(far, a, Duration::from_secs(60));
        world.told();
        let ended = async {
            while world.told.0.lock().len() < 2 {
                tokio::task::yield_now().await;
            }
        };
        let act = async {
            tokio::task::yield_now().await;
            world.typing.start(near, a, Duration::from_secs(2));
            tokio::task::yield_now().await;
            world.typing.clock.advance(Duration::from_secs(2));
            ended.await;
        };
        tokio::select! {
            () = world.typing.run() => {}
            () = act => {}
        }
        assert_eq!(world.told(), ["!near:x", "!near:x"]);
        world.typing.stop_everywhere(a);
        assert_eq!(world.told(), ["!far:x"]);
        world.typing.stop(far, a);
        assert!(world.told().is_empty());
    }

    #[test]
    fn a_notice_lasts_no_longer_than_it_may() {
        let world = World::new();
        let (room, a) = (room_id!("!r:x"), user_id!("@a:x"));
        world.typing.start(room, a, Duration::from_secs(1000));
        world.pass(MAX_TYPING.as_secs());
        assert!(world.typing.in_room(room).is_empty());
    }
}
