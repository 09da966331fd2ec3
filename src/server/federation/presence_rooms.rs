//! Rooms as ties of presence between servers: who shares a room within the operator's limit sees each other, across servers
//! as here (F10, L6).

use ruma::{OwnedRoomId, OwnedUserId, RoomId, UserId};

use super::presence::{Inner, Presence, is_ours};
use crate::{
    core::{
        federation::{Room, Status},
        time::Instant,
    },
    server::change::position::LivePosition,
};

impl Presence {
    /// Exactly these are in `room`, and it ties them; nobody: it ties none, or has nobody of another server. `status` is
    /// what a user of this server shows, and since when; it is asked for while no lock is held.
    pub fn handle_room(
        &self,
        room: &RoomId,
        users: &[OwnedUserId],
        status: impl Fn(&UserId) -> (LivePosition, Status),
    ) {
        let users: Vec<&OwnedUserId> = users.iter().filter(|user| self.is_shared_with(user)).collect();
        let ours = self.input(|inner, now| inner.handle_room(room, &users, &self.own, now));
        self.show(&ours, status);
    }

    /// `user` is in `room` from here on, or not any more, and the room ties its members. `is_in` is asked while nobody else
    /// says so, so that what is said last is how it is.
    pub fn handle_member(
        &self,
        room: &RoomId,
        user: &UserId,
        is_in: impl FnOnce() -> bool,
        status: impl Fn(&UserId) -> (LivePosition, Status),
    ) {
        if self.is_shared_with(user) {
            let ours = self.input(|inner, now| inner.handle_member(room, (user, is_in()), &self.own, now));
            self.show(&ours, status);
        }
    }

    /// Whether `room` is known to tie its members.
    pub fn is_tied(&self, room: &RoomId) -> bool {
        self.lock().rooms.contains_key(room)
    }

    /// The rooms that are.
    pub fn tied_rooms(&self) -> Vec<OwnedRoomId> {
        self.lock().rooms.keys().cloned().collect()
    }

    /// Whether `user`, of this server, shows what they are to who only shares a room with them; they do, unless it is said
    /// here.
    pub fn handle_reserve(&self, user: &UserId, is_reserved: bool) {
        self.input(|inner, now| is_ours(inner.role.handle_reserve(now, user.as_str(), is_reserved)));
    }

    fn is_shared_with(&self, user: &UserId) -> bool {
        user.server_name() == self.own || self.policy.shares_presence_with(user.server_name())
    }

    /// Others may see these users from here on. What they come to show while this asks is later than what it finds.
    fn show(&self, ours: &[OwnedUserId], status: impl Fn(&UserId) -> (LivePosition, Status)) {
        for user in ours {
            let (position, status) = status(user);
            self.handle_status(user, position, &status);
        }
    }
}

impl Inner {
    /// Answers with those of this server whom others may see from here on.
    fn handle_room(
        &mut self,
        room: &RoomId,
        users: &[&OwnedUserId],
        own: &ruma::ServerName,
        now: Instant,
    ) -> Vec<OwnedUserId> {
        let before = self.members_of(room);
        if users.is_empty() && before.is_none() {
            return Vec::new();
        }
        let name = self.name_of(room);
        self.role.handle_room(now, name, users.iter().map(|user| user.as_str()));
        if users.is_empty() {
            self.rooms.remove(room);
        }
        before.into_iter().flatten().for_each(|user| self.forget_unseen(&user));
        let ours = users.iter().filter(|user| user.server_name() == own);
        let seen: Vec<_> =
            ours.filter(|user| self.is_newly_seen(user, now)).map(|user| (*user).clone()).collect();
        seen
    }

    fn handle_member(
        &mut self,
        room: &RoomId,
        (user, is_in): (&UserId, bool),
        own: &ruma::ServerName,
        now: Instant,
    ) -> Vec<OwnedUserId> {
        let name = self.name_of(room);
        if is_in {
            is_ours(self.role.handle_room_entered(now, name, user.as_str()));
        } else {
            self.role.handle_room_left(now, name, user.as_str());
        }
        if user.server_name() != own {
            return Vec::new();
        }
        if !is_in {
            self.forget_unseen(user);
        }
        if is_in && self.is_newly_seen(user, now) { vec![user.to_owned()] } else { Vec::new() }
    }

    /// Follows what a user of this server shows, and asks for whom they see, if they read; whether the first was not done yet.
    fn is_newly_seen(&mut self, user: &UserId, now: Instant) -> bool {
        self.attach_if_reading(user, now);
        let is_new = !self.shown.contains_key(user);
        if is_new {
            self.shown.insert(user.to_owned(), LivePosition::START);
        }
        is_new
    }

    /// Those of this server who are tied by a room that the engine knows.
    fn members_of(&self, room: &RoomId) -> Option<Vec<OwnedUserId>> {
        let name = self.rooms.get(room)?;
        let members = self.role.locals_in(*name);
        Some(members.into_iter().filter_map(|user| UserId::parse(user).ok()).collect())
    }

    fn name_of(&mut self, room: &RoomId) -> Room {
        if let Some(name) = self.rooms.get(room) {
            return *name;
        }
        let name = Room(self.rooms_named);
        self.rooms_named += 1;
        self.rooms.insert(room.to_owned(), name);
        name
    }
}
