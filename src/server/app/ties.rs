//! Rooms as ties of presence across servers: who shares one within the operator's limit sees each other (F10, L6).

use ruma::{RoomId, UserId};

use super::parts::App;
use crate::{core::visibility::Share, server::change::feed::Change};

impl App {
    /// Somebody came into a room or went out of it, perhaps: brings the presence between servers up to date with that.
    pub(super) fn note_ties(&self, change: &Change) {
        match change {
            Change::Appended(event) => {
                if let Some((user, _)) = event.membership()
                    && let Ok(user) = <&UserId>::try_from(user)
                {
                    self.tie_members(&event.room_id, [user]);
                }
            }
            Change::Resolved(resolved) if !resolved.members.is_empty() => {
                self.tie_members(&resolved.room_id, resolved.members.iter().map(|one| &*one.user));
            }
            _ => {}
        }
    }

    /// These members of a room may be others than before. What is told is how it is by now, and not what became of it, so
    /// nothing is lost and nothing counts twice.
    fn tie_members<'a>(&self, room: &RoomId, users: impl IntoIterator<Item = &'a UserId>) {
        let Some(federation) = &self.federation else { return };
        let members = &self.rooms.members;
        match (federation.presence.is_tied(room), members.ties_across(room, self.server_name())) {
            (false, false) => {}
            (true, true) => {
                for user in users {
                    let is_in = members.is_joined(user, room);
                    federation.presence.handle_member(room, user, is_in, |user| self.presence.status(user));
                }
            }
            (_, ties) => self.tie_room(room, ties),
        }
    }

    /// A room ties its members across servers as it is by now, or nobody.
    pub(super) fn tie_room(&self, room: &RoomId, ties: bool) {
        if let Some(federation) = &self.federation {
            let users = if ties { self.rooms.members.joined(room) } else { Vec::new() };
            federation.presence.handle_room(room, &users, |user| self.presence.status(user));
        }
    }

    /// Tells the presence between servers of all rooms, when this server starts.
    pub(super) fn load_ties(&self) {
        let Some(federation) = &self.federation else { return };
        for (user, share) in self.contacts.shares() {
            federation.presence.handle_reserve(&user, share != Share::SharedRooms);
        }
        for room in self.rooms.members.rooms_across(self.server_name()) {
            self.tie_room(&room, true);
        }
    }
}
