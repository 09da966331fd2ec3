//! Who is typing where: in memory only, and it ends by itself.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ruma::{OwnedRoomId, OwnedUserId, RoomId, UserId};
use tokio::{sync::Notify, time::Instant};

use crate::server::change::position::{Live, LivePosition};

/// A typing notice lasts this long at most, whatever its sender asks for.
pub const MAX_TYPING: Duration = Duration::from_secs(120);

/// A typing notice lasts this long when its sender does not say.
pub const DEFAULT_TYPING: Duration = Duration::from_secs(30);

/// The typing notices of all rooms. Bounded by the rooms in which somebody typed since the start, and
/// one notice per member.
#[derive(Debug, Default)]
pub struct Typing {
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
}

impl Typing {
    /// `user` types in `room` until `until`. Returns whether anybody can see a difference.
    pub fn start(&self, room: &RoomId, user: &UserId, until: Instant, live: &Live) -> bool {
        let mut inner = self.lock();
        let first = inner.ends.first().map(|(end, ..)| *end);
        let previous = inner.room(room).typing.insert(user.to_owned(), until);
        if let Some(end) = previous {
            inner.ends.remove(&(end, room.to_owned(), user.to_owned()));
        } else {
            inner.change(room, live);
        }
        inner.ends.insert((until, room.to_owned(), user.to_owned()));
        if first.is_none_or(|first| until < first) {
            self.earlier.notify_one();
        }
        previous.is_none()
    }

    /// `user` no longer types in `room`. Returns whether anybody can see a difference.
    pub fn stop(&self, room: &RoomId, user: &UserId, live: &Live) -> bool {
        let mut inner = self.lock();
        let Some(end) = inner.rooms.get_mut(room).and_then(|r| r.typing.remove(user)) else {
            return false;
        };
        inner.ends.remove(&(end, room.to_owned(), user.to_owned()));
        inner.change(room, live);
        true
    }

    /// `user` no longer types anywhere. Returns the rooms where that makes a difference.
    pub fn stop_everywhere(&self, user: &UserId, live: &Live) -> Vec<OwnedRoomId> {
        let rooms: Vec<_> =
            self.lock().ends.iter().filter(|(_, _, u)| u == user).map(|(_, r, _)| r.clone()).collect();
        rooms.into_iter().filter(|room| self.stop(room, user, live)).collect()
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

    /// Waits until a notice has ended, and returns the rooms where one has.
    pub async fn ended(&self, live: &Live) -> Vec<OwnedRoomId> {
        loop {
            let ended = self.end_due(Instant::now(), live);
            if !ended.is_empty() {
                return ended;
            }
            let next = self.lock().ends.first().map(|(end, ..)| *end);
            match next {
                Some(end) => tokio::select! {
                    () = tokio::time::sleep_until(end) => {}
                    () = self.earlier.notified() => {}
                },
                None => self.earlier.notified().await,
            }
        }
    }

    fn end_due(&self, now: Instant, live: &Live) -> Vec<OwnedRoomId> {
        let mut inner = self.lock();
        let mut rooms = Vec::new();
        while inner.ends.first().is_some_and(|(end, ..)| *end <= now) {
            let Some((_, room, user)) = inner.ends.pop_first() else { break };
            inner.room(&room).typing.remove(&user);
            inner.change(&room, live);
            rooms.push(room);
        }
        rooms.dedup();
        rooms
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
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

    fn changes(typing: &Typing, live: &Live, since: LivePosition) -> Vec<(String, Vec<OwnedUserId>)> {
        let rooms = typing.changed(since, live.position());
        rooms.into_iter().map(|room| (room.to_string(), typing.in_room(&room))).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_notice_ends_by_itself_and_readers_see_each_room_once() {
        let (typing, live) = (Typing::default(), Live::new(0));
        let (room, a, b) = (room_id!("!r:x"), user_id!("@a:x"), user_id!("@b:x"));
        let begin = Instant::now();
        assert!(typing.start(room, a, begin + Duration::from_secs(5), &live));
        assert!(!typing.start(room, a, begin + Duration::from_secs(9), &live), "prolonged: nothing to see");
        assert!(typing.start(room, b, begin + Duration::from_secs(3), &live));
        assert_eq!(
            changes(&typing, &live, LivePosition::new(0)),
            [(room.to_string(), vec![a.to_owned(), b.to_owned()])]
        );
        let before = live.position();
        assert_eq!(typing.ended(&live).await, [room]);
        assert_eq!(begin.elapsed().as_secs(), 3);
        assert_eq!(changes(&typing, &live, before), [(room.to_string(), vec![a.to_owned()])]);
        assert_eq!(typing.ended(&live).await, [room]);
        assert_eq!(begin.elapsed().as_secs(), 9);
        assert_eq!(typing.in_room(room), Vec::<OwnedUserId>::new());
        assert_eq!(changes(&typing, &live, live.position()), []);
    }

    #[tokio::test(start_paused = true)]
    async fn an_earlier_end_wakes_the_one_who_waits() {
        let (typing, live) = (Typing::default(), Live::new(0));
        let (far, near, a) = (room_id!("!far:x"), room_id!("!near:x"), user_id!("@a:x"));
        let begin = Instant::now();
        typing.start(far, a, begin + Duration::from_secs(60), &live);
        let (ended, ()) = tokio::join!(typing.ended(&live), async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            typing.start(near, a, begin + Duration::from_secs(2), &live);
        });
        assert_eq!((ended, begin.elapsed().as_secs()), (vec![near.to_owned()], 2));
        assert_eq!(typing.stop_everywhere(a, &live), [far]);
        assert!(!typing.stop(far, a, &live));
    }
}
