//! Who is in which room, in memory: asked for every event that is delivered.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::{RwLock, RwLockReadGuard};
use ruma::{OwnedRoomId, OwnedServerName, OwnedUserId, RoomId, ServerName, UserId};

use super::member_index::{Index, Present, Standing};
use crate::{
    core::visibility::RoomLimit,
    server::{
        change::{feed::Change, position::LogPosition},
        event::stored::Membership,
        store::{Store, StoreError},
    },
};

/// The current members of every room: exact after each commit, before its position can be seen.
/// Bounded by the number of members that are joined, invited or knocking.
#[derive(Debug)]
pub struct Members {
    index: RwLock<Index>,
    /// Up to which size a room makes its members visible to each other (L6).
    limit: RoomLimit,
    /// Where in the log the last membership was said that was followed.
    latest: AtomicU64,
}

impl Members {
    /// Of the server `own`.
    pub(super) async fn load(store: &Store, own: &ServerName, limit: RoomLimit) -> Result<Self, StoreError> {
        let mut index = Index::new(own);
        let each =
            |user: OwnedUserId, room: OwnedRoomId, is, by: OwnedUserId| index.set(&user, &room, is, &by);
        store.present_members(each).await?;
        Ok(Self { index: RwLock::new(index), limit, latest: AtomicU64::new(0) })
    }

    /// Nobody is anywhere.
    #[cfg(test)]
    pub fn nowhere(own: &ServerName, limit: RoomLimit) -> Self {
        Self { index: RwLock::new(Index::new(own)), limit, latest: AtomicU64::new(0) }
    }

    /// Up to which size a room makes its members visible to each other.
    pub fn limit(&self) -> RoomLimit {
        self.limit
    }

    /// Whether the members of `room` were visible to each other at the position `since` of the log. If the
    /// size crossed the limit more than twice after it, the answer is yes.
    pub fn counted_at(&self, room: &RoomId, since: LogPosition) -> bool {
        let index = self.read();
        let Some(present) = index.rooms.get(room) else { return true };
        let counts = self.limit.counts(present.joined.len());
        let [last, before] = present.crossed;
        if since >= last { counts } else { !counts || since < before }
    }

    /// Everybody joined to `room`, if its size crossed the limit after the position `since` of the log.
    pub fn crossed_since(&self, room: &RoomId, since: LogPosition) -> Vec<OwnedUserId> {
        let index = self.read();
        let crossed = index.rooms.get(room).filter(|p| p.crossed[0] > since);
        crossed.map_or_else(Vec::new, |p| p.joined.iter().cloned().collect())
    }

    /// Runs `each` for everybody who may see `user` by a room, once for each such room, under a lock: it
    /// must be quick.
    pub fn each_room_mate(&self, user: &UserId, mut each: impl FnMut(&OwnedUserId)) {
        let index = self.read();
        for room in index.joined_by(user) {
            if let Some(present) = index.rooms.get(room).filter(|p| self.limit.counts(p.joined.len())) {
                present.joined.iter().for_each(&mut each);
            }
        }
    }

    /// The size of a room that both users are joined to: of one that is small enough to make them visible
    /// to each other, if there is one. Costs a comparison of two numbers for each of their rooms, at most.
    pub fn shared_room(&self, a: &UserId, b: &UserId) -> Option<usize> {
        let index = self.read();
        let mut too_large = None;
        for number in index.shared(a, b) {
            let size = index.sizes[number as usize];
            if self.limit.counts(size) {
                return Some(size);
            }
            too_large = Some(size);
        }
        too_large
    }

    /// The size of a room in which both users were at the position `upto` of the log, and have been since: of one that
    /// was small enough to make them visible to each other all the time.
    pub fn shared_room_since(&self, a: &UserId, b: &UserId, upto: LogPosition) -> Option<usize> {
        let index = self.read();
        let (of_a, of_b) = (index.users.get(a)?, index.users.get(b)?);
        let was_there = |standing: &Standing| standing.is == Membership::Join && standing.since <= upto;
        let rooms = of_a.all.iter().filter(|(_, standing)| was_there(standing)).map(|(room, _)| room);
        let both = rooms.filter(|room| of_b.all.get(*room).is_some_and(was_there));
        let present = both.filter_map(|room| index.rooms.get(room)).filter(|p| p.crossed[0] <= upto);
        present.map(|p| p.joined.len()).find(|size| self.limit.counts(*size))
    }

    /// Where in the log the last membership was said that stands here, or is just about to.
    pub fn latest(&self) -> LogPosition {
        LogPosition::new(self.latest.load(Ordering::Acquire))
    }

    /// The rooms that `user` is joined to, in order of their IDs.
    pub fn joined_rooms(&self, user: &UserId) -> Vec<OwnedRoomId> {
        self.read().joined_by(user).cloned().collect()
    }

    /// How many rooms `user` is joined to, and how many they are invited to or knock at.
    pub fn rooms_of(&self, user: &UserId) -> (usize, usize) {
        let index = self.read();
        let of_user = index.users.get(user);
        of_user.map_or((0, 0), |of| (of.joined.len(), of.all.len() - of.joined.len()))
    }

    /// To how many rooms `user` is invited by `inviter`. Looks at every invite of the user.
    pub fn invites_by(&self, inviter: &UserId, user: &UserId) -> usize {
        let index = self.read();
        let invited_by = index.users.get(user).map(|of| of.invited_by.values());
        invited_by.map_or(0, |by| by.filter(|by| *by == inviter).count())
    }

    /// What `user` is in `room`, if joined, invited or knocking.
    pub fn membership(&self, user: &UserId, room: &RoomId) -> Option<Membership> {
        self.read().users.get(user)?.all.get(room).map(|standing| standing.is)
    }

    /// Where in the log it was said last that `user` is joined to `room`; `None`: they are not.
    pub fn joined_at(&self, user: &UserId, room: &RoomId) -> Option<LogPosition> {
        let index = self.read();
        let standing = index.users.get(user)?.all.get(room)?;
        (standing.is == Membership::Join).then_some(standing.said_at)
    }

    /// Whether `user` is joined to `room`.
    pub fn is_joined(&self, user: &UserId, room: &RoomId) -> bool {
        self.membership(user, room) == Some(Membership::Join)
    }

    /// Everybody who is joined to `room`, in order of their IDs.
    pub fn joined(&self, room: &RoomId) -> Vec<OwnedUserId> {
        self.read().rooms.get(room).map_or_else(Vec::new, |p| p.joined.iter().cloned().collect())
    }

    /// Those of them who are of this server.
    pub fn ours(&self, room: &RoomId) -> Vec<OwnedUserId> {
        self.read().rooms.get(room).map_or_else(Vec::new, |p| p.ours.iter().cloned().collect())
    }

    /// Whether somebody of `server` is joined to `room`.
    pub fn has_server(&self, room: &RoomId, server: &ServerName) -> bool {
        let index = self.read();
        index.rooms.get(room).is_some_and(|p| p.servers.contains_key(server))
    }

    /// The servers of which somebody is joined to `room`, those with the most users first.
    pub fn servers(&self, room: &RoomId) -> Vec<OwnedServerName> {
        let counts = self.servers_in(room);
        let mut servers: Vec<_> = counts.iter().collect();
        servers.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        servers.into_iter().map(|(server, _)| server.clone()).collect()
    }

    /// How many users are joined to and invited to `room`.
    pub fn counts(&self, room: &RoomId) -> (usize, usize) {
        self.read().rooms.get(room).map_or((0, 0), |p| (p.joined.len(), p.invited))
    }

    /// The servers of which somebody is joined to `room`, and how many users of each.
    pub fn servers_in(&self, room: &RoomId) -> Arc<BTreeMap<OwnedServerName, usize>> {
        self.read().rooms.get(room).map_or_else(Arc::default, |p| Arc::clone(&p.servers))
    }

    /// Whether `room` makes its members visible to each other, and has some of this server, `own`, and of others.
    pub fn ties_across(&self, room: &RoomId, own: &ServerName) -> bool {
        self.read().rooms.get(room).is_some_and(|p| self.is_tie_across(p, own))
    }

    /// The rooms that do. Looks at every room.
    pub fn rooms_across(&self, own: &ServerName) -> Vec<OwnedRoomId> {
        let index = self.read();
        #[expect(clippy::disallowed_methods, reason = "whoever asks puts them in order")]
        let rooms = index.rooms.iter();
        rooms.filter(|(_, p)| self.is_tie_across(p, own)).map(|(room, _)| room.clone()).collect()
    }

    fn is_tie_across(&self, present: &Present, own: &ServerName) -> bool {
        present.servers.len() > 1
            && present.servers.contains_key(own)
            && self.limit.counts(present.joined.len())
    }

    /// The rooms to which somebody of `server` is joined. Looks at every room.
    pub fn rooms_with(&self, server: &ServerName) -> Vec<OwnedRoomId> {
        let index = self.read();
        #[expect(clippy::disallowed_methods, reason = "whoever asks puts them in order")]
        let rooms = index.rooms.iter();
        rooms.filter(|(_, p)| p.servers.contains_key(server)).map(|(room, _)| room.clone()).collect()
    }

    /// Runs `each` for everybody who is joined to `room`, under a lock: it must be quick.
    pub fn each_joined(&self, room: &RoomId, each: impl FnMut(&OwnedUserId)) {
        if let Some(present) = self.read().rooms.get(room) {
            present.joined.iter().for_each(each);
        }
    }

    /// The same for those of this server alone.
    pub fn each_of_ours(&self, room: &RoomId, each: impl FnMut(&OwnedUserId)) {
        if let Some(present) = self.read().rooms.get(room) {
            present.ours.iter().for_each(each);
        }
    }

    /// Of how many this runs.
    pub fn count_ours(&self, room: &RoomId) -> usize {
        self.read().rooms.get(room).map_or(0, |p| p.ours.len())
    }

    /// Runs `each` for everybody who is joined to any room, under a lock: it must be quick.
    pub fn each_membership(&self, mut each: impl FnMut(&OwnedRoomId, &OwnedUserId)) {
        let index = self.read();
        #[expect(clippy::disallowed_methods, reason = "whoever asks puts them in order")]
        let rooms = index.rooms.iter();
        rooms.for_each(|(room, present)| present.joined.iter().for_each(|user| each(room, user)));
    }

    /// Whether two users are joined to one room. A user shares rooms with themselves.
    pub fn shares_room(&self, a: &UserId, b: &UserId) -> bool {
        a == b || self.read().shared(a, b).next().is_some()
    }

    /// Everybody who is joined to a room with `user`, themselves included if they are in a room.
    pub fn sharing_rooms_with(&self, user: &UserId) -> BTreeSet<OwnedUserId> {
        let mut users = BTreeSet::new();
        self.each_sharing_a_room(user, |other| {
            if !users.contains(other) {
                users.insert(other.clone());
            }
        });
        users
    }

    /// Runs `each` for them, for some more than once, under the lock: it must be quick.
    pub fn each_sharing_a_room(&self, user: &UserId, each: impl FnMut(&OwnedUserId)) {
        let index = self.read();
        let rooms = index.joined_by(user).filter_map(|room| index.rooms.get(room));
        rooms.flat_map(|p| p.joined.iter()).for_each(each);
    }

    /// For how many that is.
    pub fn count_sharing_a_room(&self, user: &UserId) -> usize {
        let index = self.read();
        index.joined_by(user).filter_map(|room| index.rooms.get(room)).map(|p| p.joined.len()).sum()
    }

    /// Takes over what a committed event says, or what the state came to have beside it.
    pub fn follow(&self, change: &Change) {
        match change {
            Change::Appended(event) => {
                if let Some((user, membership)) = event.membership()
                    && let Ok(user) = <&UserId>::try_from(user)
                {
                    self.set(
                        &event.room_id,
                        event.position,
                        [(user, (membership, event.position), &*event.sender)],
                    );
                }
            }
            Change::Resolved(resolved) => {
                let members = resolved.members.iter();
                let members = members.map(|is| (&*is.user, (is.membership, is.position), &*is.by));
                self.set(&resolved.room_id, resolved.position, members);
            }
            _ => {}
        }
    }

    /// Sets what some users are in a room, which was said last at a position.
    fn set<'a>(
        &self,
        room: &RoomId,
        position: LogPosition,
        members: impl IntoIterator<Item = (&'a UserId, (Membership, LogPosition), &'a UserId)>,
    ) {
        let mut index = self.index.write();
        self.latest.fetch_max(position.get(), Ordering::AcqRel);
        let before = index.size(room);
        for (user, is, by) in members {
            index.set(user, room, is, by);
        }
        let after = index.size(room);
        if self.limit.counts(before) != self.limit.counts(after)
            && let Some(present) = index.rooms.get_mut(room)
        {
            present.crossed = [position, present.crossed[0]];
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ruma::{room_id, server_name, user_id};

    use super::*;

    #[test]
    fn l6_a_room_beyond_the_limit_ties_nobody() {
        let users = ["@a:x", "@b:x", "@c:x"].map(|u| <&UserId>::try_from(u).expect("a user"));
        let (small, large) = (room_id!("!small:x"), room_id!("!large:x"));
        let members = Members::nowhere(server_name!("x"), RoomLimit::Members(2));
        let set = |user: &UserId, room: &RoomId, m| {
            members.index.write().set(user, room, (m, LogPosition::START), user)
        };
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
        assert!(!members.counted_at(large, LogPosition::new(5)));
        set(a, small, Membership::Join);
        set(b, small, Membership::Join);
        assert_eq!((members.shared_room(a, b), mates(a)), (Some(2), vec![a.to_string(), b.to_string()]));
        assert_eq!((members.shared_room(a, c), mates(c)), (Some(3), Vec::new()));
        set(c, large, Membership::Leave);
        assert_eq!((members.shared_room(a, c), members.counted_at(large, LogPosition::new(5))), (None, true));
    }

    #[test]
    fn the_index_follows_every_change_and_forgets_what_is_over() {
        let (alice, bob) = (user_id!("@alice:x"), user_id!("@bob:x"));
        let (one, two) = (room_id!("!one:x"), room_id!("!two:x"));
        let members = Members::nowhere(server_name!("x"), RoomLimit::default());
        let set = |user: &UserId, room: &RoomId, m| {
            members.index.write().set(user, room, (m, LogPosition::START), user)
        };
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
        assert_eq!((members.rooms_of(alice), members.rooms_of(bob)), ((1, 0), (2, 0)));
        set(alice, one, Membership::Leave);
        set(alice, two, Membership::Invite);
        assert_eq!(members.rooms_of(alice), (0, 1));
        set(alice, two, Membership::Leave);
        assert!(!members.shares_room(alice, bob));
        set(bob, one, Membership::Ban);
        set(bob, two, Membership::Leave);
        let index = members.read();
        assert!(index.users.is_empty() && index.rooms.is_empty());
        assert_eq!(index.free.len(), index.sizes.len(), "numbers are used again");
    }

    proptest! {
        /// Whatever happens, in whatever order: what two users share is what both are joined to.
        #[test]
        fn shared_rooms_are_those_that_both_are_joined_to(
            steps in prop::collection::vec((0..3_usize, 0..6_usize, 0..5_usize), 0..60),
        ) {
            let users = ["@a:x", "@b:x", "@c:y"].map(|u| <&UserId>::try_from(u).expect("a user"));
            let rooms: Vec<_> =
                (0..6).map(|n| RoomId::parse(format!("!r{n}:x")).expect("a room")).collect();
            let all = [
                Membership::Join, Membership::Invite, Membership::Knock, Membership::Leave, Membership::Ban,
            ];
            let members = Members::nowhere(server_name!("x"), RoomLimit::Members(2));
            let mut expected: BTreeMap<(usize, usize), Membership> = BTreeMap::new();
            for (user, room, membership) in steps {
                let membership = all[membership];
                let is = (membership, LogPosition::START);
                members.index.write().set(users[user], &rooms[room], is, users[user]);
                expected.insert((user, room), membership);
                let joined = |user, room| expected.get(&(user, room)) == Some(&Membership::Join);
                let size = |room| (0..3).filter(|user| joined(*user, room)).count();
                for (a, b) in [(0, 1), (1, 2), (2, 0)] {
                    let both: Vec<usize> = (0..6).filter(|r| joined(a, *r) && joined(b, *r)).collect();
                    let smallest = both.iter().map(|room| size(*room)).min();
                    prop_assert_eq!(members.shared_room(users[a], users[b]), smallest);
                    prop_assert_eq!(members.shares_room(users[a], users[b]), !both.is_empty());
                }
                for (n, room) in rooms.iter().enumerate() {
                    prop_assert_eq!(members.counts(room).0, size(n));
                    let ours: Vec<_> = (0..2).filter(|user| joined(*user, n)).map(|user| users[user]).collect();
                    prop_assert_eq!(members.ours(room), ours.clone());
                    prop_assert_eq!(members.count_ours(room), ours.len());
                }
            }
        }
    }
}
