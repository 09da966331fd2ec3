//! Inputs from rooms that users of this server share with those of others: each is one more tie between them.
//!
//! What ties is counted by room, not by pair of users: a room of many costs one entry for each member, and a change of
//! one member looks at the servers in it, or at this server's users in it, and not at both.

use std::collections::BTreeSet;

use super::local::Permission;
use super::state::Engine;
use super::ties::Room;
use crate::core::federation::peer::Speech;
use crate::core::federation::status::{Server, User};
use crate::core::time::Instant;

impl Engine {
    /// `user`, of this server or another, is in `room` from here on. Said twice, it holds once.
    pub fn handle_room_entered(&mut self, now: Instant, room: Room, user: User) {
        if user.server == self.server {
            let local = self.local_slot(user);
            self.enter_local(now, room, local);
        } else {
            let remote = self.remote_slot(now, user);
            self.enter_remote(now, room, remote);
        }
    }

    /// `user` is not in `room` any more, or the room ties nobody.
    pub fn handle_room_left(&mut self, now: Instant, room: Room, user: User) {
        if user.server == self.server {
            if let Some(local) = self.slots.find(user) {
                self.leave_local(now, room, local);
            }
        } else if let Some(remote) = self.find_remote(user) {
            self.leave_remote(now, room, remote);
        }
        if self.rooms.get(&room).is_some_and(|ties| ties.locals.is_empty() && ties.remotes.is_empty()) {
            self.rooms.remove(&room);
        }
    }

    /// Exactly these are in `room` from here on; nobody: it ties none.
    pub fn handle_room(&mut self, now: Instant, room: Room, users: impl IntoIterator<Item = User>) {
        let users: BTreeSet<User> = users.into_iter().collect();
        let before = self.rooms.get(&room).map_or_else(Vec::new, |ties| {
            let locals = ties.locals.iter().map(|&local| self.locals[local as usize].user);
            locals.chain(ties.remotes.iter().map(|&remote| self.remotes[remote as usize].user)).collect()
        });
        for user in before.into_iter().filter(|user| !users.contains(user)) {
            self.handle_room_left(now, room, user);
        }
        for user in users {
            self.handle_room_entered(now, room, user);
        }
    }

    /// Whether `user`, of this server, shows what they are to who only shares a room with them (L6); they do, unless it is
    /// said here.
    pub fn handle_reserve(&mut self, now: Instant, user: User, is_reserved: bool) {
        let local = self.local_slot(user);
        if std::mem::replace(&mut self.of_locals[local as usize].is_reserved, is_reserved) == is_reserved {
            return;
        }
        for index in 0..self.locals[local as usize].subs.len() {
            let (slot, sub) = self.locals[local as usize].subs[index];
            self.permit(now, slot, sub);
        }
    }

    /// The users of this server who are in `room`, if it ties its members.
    pub fn locals_in(&self, room: Room) -> Vec<User> {
        let locals = self.rooms.get(&room).map_or(&[][..], |ties| &ties.locals);
        locals.iter().map(|&local| self.locals[local as usize].user).collect()
    }

    /// Whether some room ties `user`, of this server.
    pub fn is_tied_by_room(&self, user: User) -> bool {
        let local = self.slots.find(user).filter(|_| user.server == self.server);
        local.is_some_and(|local| !self.of_locals[local as usize].rooms.is_empty())
    }

    fn enter_local(&mut self, now: Instant, room: Room, local: u32) {
        let ties = self.rooms.entry(room).or_default();
        let Err(place) = ties.locals.binary_search(&local) else { return };
        ties.locals.insert(place, local);
        let rooms = &mut self.of_locals[local as usize].rooms;
        if let Err(place) = rooms.binary_search(&room) {
            rooms.insert(place, room);
        }
        let peers: Vec<u32> = ties.peers.keys().copied().collect();
        for slot in peers {
            self.count_room(now, slot, local, |rooms| rooms + 1);
        }
        if self.locals[local as usize].attached {
            self.read_room(now, room, local);
        }
    }

    fn leave_local(&mut self, now: Instant, room: Room, local: u32) {
        let Some(ties) = self.rooms.get_mut(&room) else { return };
        let Ok(place) = ties.locals.binary_search(&local) else { return };
        ties.locals.remove(place);
        self.of_locals[local as usize].rooms.retain(|other| *other != room);
        let peers: Vec<u32> = ties.peers.keys().copied().collect();
        if self.locals[local as usize].attached {
            self.cease_to_read(now, room);
        }
        for slot in peers {
            self.count_room(now, slot, local, |rooms| rooms.saturating_sub(1));
        }
    }

    fn enter_remote(&mut self, now: Instant, room: Room, remote: u32) {
        let slot = self.remotes[remote as usize].peer;
        let ties = self.rooms.entry(room).or_default();
        let Err(place) = ties.remotes.binary_search(&remote) else { return };
        ties.remotes.insert(place, remote);
        *self.rooms_of_remotes.entry(remote).or_default() += 1;
        let count = ties.peers.entry(slot).or_default();
        *count += 1;
        let (is_first, is_read) = (*count == 1, ties.readers > 0);
        let locals = if is_first { ties.locals.clone() } else { Vec::new() };
        for &local in &locals {
            self.count_room(now, slot, local, |rooms| rooms + 1);
        }
        if is_read {
            self.want(now, remote);
            for local in locals {
                if self.locals[local as usize].attached {
                    self.announce(now, slot, local);
                }
            }
        }
    }

    fn leave_remote(&mut self, now: Instant, room: Room, remote: u32) {
        let slot = self.remotes[remote as usize].peer;
        let Some(ties) = self.rooms.get_mut(&room) else { return };
        let Ok(place) = ties.remotes.binary_search(&remote) else { return };
        ties.remotes.remove(place);
        let (mut is_last, is_read) = (false, ties.readers > 0);
        if let Some(count) = ties.peers.get_mut(&slot) {
            *count -= 1;
            is_last = *count == 0;
        }
        if is_last {
            ties.peers.remove(&slot);
            for local in ties.locals.clone() {
                self.count_room(now, slot, local, |rooms| rooms.saturating_sub(1));
            }
        }
        if is_read {
            self.want_no_longer(now, remote);
        }
        if let Some(count) = self.rooms_of_remotes.get_mut(&remote) {
            *count -= 1;
            if *count == 0 {
                self.rooms_of_remotes.remove(&remote);
                // A stock server says no more of them, and cannot be asked to.
                if self.remotes[remote as usize].active == 0
                    && self.peers[slot as usize].speech == Speech::Stock
                {
                    self.forget(remote);
                }
            }
        }
    }

    /// A user who is in rooms has a client that wants to see others.
    pub(super) fn read_rooms(&mut self, now: Instant, local: u32) {
        for room in self.of_locals[local as usize].rooms.clone() {
            self.read_room(now, room, local);
        }
    }

    /// They have none any more.
    pub(super) fn cease_to_read_rooms(&mut self, now: Instant, local: u32) {
        for room in self.of_locals[local as usize].rooms.clone() {
            self.cease_to_read(now, room);
        }
    }

    fn read_room(&mut self, now: Instant, room: Room, local: u32) {
        let Some(ties) = self.rooms.get_mut(&room) else { return };
        ties.readers += 1;
        let peers: Vec<u32> = ties.peers.keys().copied().collect();
        if ties.readers == 1 {
            for remote in ties.remotes.clone() {
                self.want(now, remote);
            }
        }
        for slot in peers {
            self.announce(now, slot, local);
        }
    }

    fn cease_to_read(&mut self, now: Instant, room: Room) {
        let Some(ties) = self.rooms.get_mut(&room) else { return };
        ties.readers -= 1;
        if ties.readers == 0 {
            for remote in ties.remotes.clone() {
                self.want_no_longer(now, remote);
            }
        }
    }

    /// Counts the rooms that a local user shares with somebody of a peer.
    fn count_room(&mut self, now: Instant, slot: u32, local: u32, change: impl FnOnce(u32) -> u32) {
        let sub = self.sub_slot(slot, local);
        let entry = &mut self.peers[slot as usize].subs[sub as usize];
        entry.rooms = change(entry.rooms);
        self.permit(now, slot, sub);
    }

    /// Whether anybody on `peer` may see `observed` by a list; see [`Engine::handle_permission`].
    pub(super) fn permit_by_list(
        &mut self,
        now: Instant,
        peer: Server,
        observed: User,
        permission: Permission,
    ) {
        let slot = self.peer_slot(now, peer);
        let local = self.local_slot(observed);
        let sub = self.sub_slot(slot, local);
        self.peers[slot as usize].subs[sub as usize].listed = permission == Permission::Allowed;
        self.permit(now, slot, sub);
    }

    /// What ties a local user to a peer may be different: tells it of them from here on, or no longer.
    fn permit(&mut self, now: Instant, slot: u32, sub: u32) {
        let due = now + self.config.batch_window;
        let soon = now + self.config.settle;
        let peer = &mut self.peers[slot as usize];
        let entry = &mut peer.subs[sub as usize];
        let observed = self.locals[entry.local as usize].user;
        let is_reserved = self.of_locals[entry.local as usize].is_reserved;
        let permitted = entry.listed || entry.rooms > 0 && !is_reserved;
        if std::mem::replace(&mut entry.permitted, permitted) == permitted {
            return;
        }
        if permitted && peer.remove_blind(observed.fingerprint) {
            peer.set_promised(sub, observed.fingerprint, true);
        }
        // Said to have been seen before and taken back, or polled before and given only here.
        let answers = peer.subs[sub as usize].promised;
        if answers || peer.speech != Speech::Extended {
            peer.mark_dirty(sub);
            peer.flush_by(if answers { soon } else { due });
            self.rearm(slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::federation::config::Config;
    use crate::core::federation::digest::Fingerprint;
    use crate::core::rng::Rng;
    use crate::core::testing::seeds;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const OURS: u32 = 3;
    const SERVERS: u32 = 3;
    const USERS: u32 = 9;

    /// Three of each server; the first is this one's.
    fn user(n: u32) -> User {
        User { index: n, server: Server(n / OURS), fingerprint: Fingerprint::of(&n.to_be_bytes()) }
    }

    /// What ties whom, kept in the plainest way.
    #[derive(Default)]
    struct Reference {
        rooms: BTreeSet<(u32, u32)>,
        lists: BTreeSet<(u32, u32)>,
        listed: BTreeSet<(u32, u32)>,
        reserved: BTreeSet<u32>,
        attached: BTreeSet<u32>,
    }

    impl Reference {
        fn members(&self, room: u32) -> impl Iterator<Item = u32> {
            self.rooms.range((room, 0)..(room + 1, 0)).map(|(_, user)| *user)
        }

        fn check(&self, engine: &Engine) {
            for remote in OURS..USERS {
                let by_list = self
                    .lists
                    .iter()
                    .filter(|(observer, observed)| *observed == remote && self.attached.contains(observer));
                let by_room = (0..3).filter(|room| {
                    self.rooms.contains(&(*room, remote))
                        && self.members(*room).any(|user| self.attached.contains(&user))
                });
                let wanted = by_list.count() + by_room.count();
                let active =
                    engine.find_remote(user(remote)).map_or(0, |at| engine.remotes[at as usize].active);
                assert_eq!(active as usize, wanted, "{remote}");
            }
            for server in 1..SERVERS {
                for local in 0..OURS {
                    let by_room = (0..3).any(|room| {
                        self.rooms.contains(&(room, local))
                            && self.members(room).any(|other| user(other).server == Server(server))
                    });
                    let allowed =
                        self.listed.contains(&(server, local)) || by_room && !self.reserved.contains(&local);
                    let sub = || {
                        let peer = &engine.peers[*engine.peer_of.get(&Server(server))? as usize];
                        let sub = peer.sub_of.get(&engine.slots.find(user(local))?)?;
                        Some(peer.subs[*sub as usize].permitted)
                    };
                    assert_eq!(sub().unwrap_or_default(), allowed, "{local} at {server}");
                }
            }
        }
    }

    #[test]
    fn whatever_happens_in_any_order_who_is_wanted_and_who_may_be_seen_is_what_ties_them() {
        for seed in 0..seeds(64) {
            let (mut rng, mut reference) = (Rng::new(seed), Reference::default());
            let mut engine = Engine::new(Server(0), 1, 1, Config::default());
            for step in 0..150 {
                let now = Instant::from_millis(1_000_000 + step);
                let (room, any) = (rng.range(0..3), rng.range(0..u64::from(USERS)));
                let [room, any] = [room, any].map(|n| u32::try_from(n).expect("small"));
                let (ours, theirs) = (any % OURS, OURS + any % (USERS - OURS));
                let at = 1 + any % (SERVERS - 1);
                match rng.range(0..9) {
                    0 | 1 => {
                        reference.rooms.insert((room, any));
                        engine.handle_room_entered(now, Room(room), user(any));
                    }
                    2 => {
                        reference.rooms.remove(&(room, any));
                        engine.handle_room_left(now, Room(room), user(any));
                    }
                    3 => {
                        let users: Vec<u32> = (0..USERS).filter(|_| rng.chance(1, 3)).collect();
                        reference.rooms.retain(|(other, _)| *other != room);
                        reference.rooms.extend(users.iter().map(|user| (room, *user)));
                        engine.handle_room(now, Room(room), users.into_iter().map(user));
                    }
                    4 => {
                        reference.attached.insert(ours);
                        engine.handle_client_attached(now, user(ours));
                    }
                    5 => {
                        reference.attached.remove(&ours);
                        engine.handle_client_detached(now, user(ours));
                    }
                    6 => {
                        let is_reserved = rng.chance(1, 2);
                        if is_reserved {
                            reference.reserved.insert(ours)
                        } else {
                            reference.reserved.remove(&ours)
                        };
                        engine.handle_reserve(now, user(ours), is_reserved);
                    }
                    7 if rng.chance(1, 2) => {
                        reference.lists.insert((ours, theirs));
                        engine.handle_interest_added(now, user(ours), user(theirs));
                    }
                    7 => {
                        reference.lists.remove(&(ours, theirs));
                        engine.handle_interest_removed(now, user(ours), user(theirs));
                    }
                    _ => {
                        let is_allowed = rng.chance(1, 2);
                        let (key, permission) = ((at, ours), [Permission::Denied, Permission::Allowed]);
                        if is_allowed {
                            reference.listed.insert(key)
                        } else {
                            reference.listed.remove(&key)
                        };
                        engine.handle_permission(
                            now,
                            Server(at),
                            user(ours),
                            permission[usize::from(is_allowed)],
                        );
                    }
                }
                while engine.poll_output().is_some() {}
                reference.check(&engine);
            }
        }
    }
}
