//! Who is in which room, in memory: asked for every event that is delivered.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
};

use ruma::{OwnedRoomId, OwnedUserId, RoomId, UserId};

use super::{Membership, StoredEvent};
use crate::{
    core::visibility::RoomLimit,
    server::store::{Store, StoreError},
};

/// The current members of every room: exact after each commit, before its position can be seen.
/// Bounded by the number of members that are joined, invited or knocking.
#[derive(Debug, Default)]
pub struct Members {
    index: RwLock<Index>,
    /// Up to which size a room makes its members visible to each other (L6).
    limit: RoomLimit,
}

#[derive(Debug, Default)]
struct Index {
    /// By user: the rooms that they are joined to, invited to or knocking at.
    users: HashMap<OwnedUserId, BTreeMap<OwnedRoomId, Membership>>,
    rooms: HashMap<OwnedRoomId, Present>,
}

#[derive(Debug, Default)]
struct Present {
    joined: BTreeSet<OwnedUserId>,
    invited: usize,
    /// Where in the log the room grew beyond the limit, or shrank to it, the last time and the time before;
    /// 0: not in this run.
    crossed: [u64; 2],
}

impl Members {
    pub(super) fn load(store: &Store, limit: RoomLimit) -> Result<Self, StoreError> {
        let mut index = Index::default();
        store.present_members(|user, room, membership| index.set(&user, &room, membership))?;
        Ok(Self { index: RwLock::new(index), limit })
    }

    /// Up to which size a room makes its members visible to each other.
    pub fn limit(&self) -> RoomLimit {
        self.limit
    }

    /// Whether the members of `room` were visible to each other at the position `since` of the log. If the
    /// size crossed the limit more than twice after it, the answer is yes.
    pub fn counted_at(&self, room: &RoomId, since: u64) -> bool {
        let index = self.read();
        let Some(present) = index.rooms.get(room) else { return true };
        let counts = self.limit.counts(present.joined.len());
        let [last, before] = present.crossed;
        if since >= last { counts } else { !counts || since < before }
    }

    /// Everybody joined to `room`, if its size crossed the limit after the position `since` of the log.
    pub fn crossed_since(&self, room: &RoomId, since: u64) -> Vec<OwnedUserId> {
        let index = self.read();
        let crossed = index.rooms.get(room).filter(|p| p.crossed[0] > since);
        crossed.map_or_else(Vec::new, |p| p.joined.iter().cloned().collect())
    }

    /// Runs `each` for everybody who may see `user` by a room, once for each such room, under a lock: it
    /// must be quick.
    pub fn each_room_mate(&self, user: &UserId, mut each: impl FnMut(&OwnedUserId)) {
        let index = self.read();
        let rooms = index.users.get(user).into_iter().flatten().filter(|(_, m)| **m == Membership::Join);
        for (room, _) in rooms {
            if let Some(present) = index.rooms.get(room).filter(|p| self.limit.counts(p.joined.len())) {
                present.joined.iter().for_each(&mut each);
            }
        }
    }

    /// The size of a room that both users are joined to: of one that is small enough to make them visible
    /// to each other, if there is one. Costs a look at each of the rooms of whoever is in fewer.
    pub fn shared_room(&self, a: &UserId, b: &UserId) -> Option<usize> {
        let index = self.read();
        let (of_a, of_b) = (index.users.get(a)?, index.users.get(b)?);
        let (few, many) = if of_a.len() <= of_b.len() { (of_a, of_b) } else { (of_b, of_a) };
        let mut too_large = None;
        for (room, m) in few {
            if *m == Membership::Join && many.get(room) == Some(&Membership::Join) {
                let size = index.rooms.get(room).map_or(0, |p| p.joined.len());
                if self.limit.counts(size) {
                    return Some(size);
                }
                too_large = Some(size);
            }
        }
        too_large
    }

    /// The rooms that `user` is joined to, in order of their IDs.
    pub fn joined_rooms(&self, user: &UserId) -> Vec<OwnedRoomId> {
        let index = self.read();
        let rooms = index.users.get(user).into_iter().flatten();
        rooms.filter(|(_, m)| **m == Membership::Join).map(|(room, _)| room.clone()).collect()
    }

    /// What `user` is in `room`, if joined, invited or knocking.
    pub fn membership(&self, user: &UserId, room: &RoomId) -> Option<Membership> {
        self.read().users.get(user)?.get(room).copied()
    }

    /// Whether `user` is joined to `room`.
    pub fn is_joined(&self, user: &UserId, room: &RoomId) -> bool {
        self.membership(user, room) == Some(Membership::Join)
    }

    /// Everybody who is joined to `room`, in order of their IDs.
    pub fn joined(&self, room: &RoomId) -> Vec<OwnedUserId> {
        self.read().rooms.get(room).map_or_else(Vec::new, |p| p.joined.iter().cloned().collect())
    }

    /// How many users are joined to and invited to `room`.
    pub fn counts(&self, room: &RoomId) -> (usize, usize) {
        self.read().rooms.get(room).map_or((0, 0), |p| (p.joined.len(), p.invited))
    }

    /// Runs `each` for everybody who is joined to `room`, under a lock: it must be quick.
    pub fn each_joined(&self, room: &RoomId, each: impl FnMut(&OwnedUserId)) {
        if let Some(present) = self.read().rooms.get(room) {
            present.joined.iter().for_each(each);
        }
    }

    /// Whether two users are joined to one room. A user shares rooms with themselves.
    pub fn shares_room(&self, a: &UserId, b: &UserId) -> bool {
        if a == b {
            return true;
        }
        let index = self.read();
        let (Some(of_a), Some(of_b)) = (index.users.get(a), index.users.get(b)) else { return false };
        let (few, many) = if of_a.len() <= of_b.len() { (of_a, of_b) } else { (of_b, of_a) };
        few.iter().any(|(room, m)| *m == Membership::Join && many.get(room) == Some(&Membership::Join))
    }

    /// Everybody who is joined to a room with `user`, themselves included if they are in a room.
    pub fn sharing_rooms_with(&self, user: &UserId) -> BTreeSet<OwnedUserId> {
        let index = self.read();
        let rooms = index.users.get(user).into_iter().flatten().filter(|(_, m)| **m == Membership::Join);
        rooms.filter_map(|(room, _)| index.rooms.get(room)).flat_map(|p| p.joined.iter().cloned()).collect()
    }

    /// Takes over what committed events say.
    pub(super) fn apply(&self, committed: &[Arc<StoredEvent>]) {
        for event in committed {
            if let Some((user, membership)) = event.membership()
                && let Ok(user) = <&UserId>::try_from(user)
            {
                let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
                let before = index.size(&event.room_id);
                index.set(user, &event.room_id, membership);
                let after = index.size(&event.room_id);
                if self.limit.counts(before) != self.limit.counts(after)
                    && let Some(present) = index.rooms.get_mut(&event.room_id)
                {
                    present.crossed = [event.position, present.crossed[0]];
                }
            }
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Index {
    fn size(&self, room: &RoomId) -> usize {
        self.rooms.get(room).map_or(0, |p| p.joined.len())
    }

    fn set(&mut self, user: &UserId, room: &RoomId, membership: Membership) {
        let present = self.rooms.entry(room.to_owned()).or_default();
        let rooms = self.users.entry(user.to_owned()).or_default();
        let before = match membership {
            Membership::Invite | Membership::Join | Membership::Knock => {
                rooms.insert(room.to_owned(), membership)
            }
            Membership::Leave | Membership::Ban => rooms.remove(room),
        };
        if before == Some(Membership::Invite) {
            present.invited -= 1;
        }
        if membership == Membership::Invite {
            present.invited += 1;
        }
        if membership == Membership::Join {
            present.joined.insert(user.to_owned());
        } else {
            present.joined.remove(user);
        }
        if rooms.is_empty() {
            self.users.remove(user);
        }
        if present.joined.is_empty() && present.invited == 0 {
            self.rooms.remove(room);
        }
    }
}

#[cfg(test)]
mod tests {
    use ruma::{room_id, user_id};

    use super::*;

    #[test]
    fn l6_a_room_beyond_the_limit_ties_nobody() {
        let users = ["@a:x", "@b:x", "@c:x"].map(|u| <&UserId>::try_from(u).expect("a user"));
        let (small, large) = (room_id!("!small:x"), room_id!("!large:x"));
        let members = Members { limit: RoomLimit::Members(2), ..Members::default() };
        let set = |user: &UserId, room: &RoomId, m| members.index.write().expect("whole").set(user, room, m);
        let mates = |of: &UserId| {
            let mut mates = BTreeSet::new();
            members.each_room_mate(of, |mate| {
                mates.insert(mate.to_string());
            });
            mates.into_iter().collect::<Vec<_>>()
        };
        for user in users {
            set(user, large, Membership::Join);
        }
        let [a, b, c] = users;
        assert_eq!((members.shared_room(a, b), mates(a)), (Some(3), Vec::new()));
        assert!(!members.counted_at(large, 5));
        set(a, small, Membership::Join);
        set(b, small, Membership::Join);
        assert_eq!((members.shared_room(a, b), mates(a)), (Some(2), vec![a.to_string(), b.to_string()]));
        assert_eq!((members.shared_room(a, c), mates(c)), (Some(3), Vec::new()));
        set(c, large, Membership::Leave);
        assert_eq!((members.shared_room(a, c), members.counted_at(large, 5)), (None, true));
    }

    #[test]
    fn the_index_follows_every_change_and_forgets_what_is_over() {
        let (alice, bob) = (user_id!("@alice:x"), user_id!("@bob:x"));
        let (one, two) = (room_id!("!one:x"), room_id!("!two:x"));
        let members = Members::default();
        let set = |user: &UserId, room: &RoomId, m| members.index.write().expect("whole").set(user, room, m);
        set(alice, one, Membership::Join);
        set(bob, one, Membership::Invite);
        assert_eq!(members.counts(one), (1, 1));
        assert!(!members.shares_room(alice, bob));
        set(bob, one, Membership::Join);
        set(bob, one, Membership::Join);
        assert_eq!(members.counts(one), (2, 0));
        assert!(members.shares_room(alice, bob) && members.shares_room(bob, alice));
        set(bob, two, Membership::Join);
        assert_eq!(members.joined_rooms(bob), [one.to_owned(), two.to_owned()]);
        assert_eq!(members.sharing_rooms_with(alice).into_iter().collect::<Vec<_>>(), [alice, bob]);
        set(alice, one, Membership::Leave);
        assert!(!members.shares_room(alice, bob));
        set(bob, one, Membership::Ban);
        set(bob, two, Membership::Leave);
        let index = members.read();
        assert!(index.users.is_empty() && index.rooms.is_empty());
    }
}
