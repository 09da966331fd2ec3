//! Rooms as ties of presence across servers: who shares one within the operator's limit sees each other (F10, L6).

use std::sync::Arc;

use ruma::{OwnedRoomId, RoomId, UserId};

use super::parts::App;
use crate::{core::visibility::Share, server::change::feed::Change};

/// Members whom a room comes to tie in one go; of a larger one the others follow beside what else is done.
const PAGE: usize = 200;

impl App {
    /// Somebody came into a room or went out of it, perhaps: brings the presence between servers up to date with that.
    pub(super) fn note_ties(self: &Arc<Self>, change: &Change) {
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
    fn tie_members<'a>(self: &Arc<Self>, room: &RoomId, users: impl IntoIterator<Item = &'a UserId>) {
        let Some(federation) = &self.federation else { return };
        let members = &self.rooms.members;
        match (federation.presence.is_tied(room), members.ties_across(room, self.server_name())) {
            (false, false) => {}
            (true, true) => users.into_iter().for_each(|user| self.tie_member(room, user)),
            (false, true) if members.counts(room).0 > PAGE => {
                // From here on it is known to tie: who comes or goes meanwhile is told by themselves.
                users.into_iter().for_each(|user| self.tie_member(room, user));
                self.runtime.spawn(Arc::clone(self).tie_by_pages(room.to_owned()));
            }
            (_, ties) => self.tie_room(room, ties),
        }
    }

    fn tie_member(&self, room: &RoomId, user: &UserId) {
        let Some(federation) = &self.federation else { return };
        let members = &self.rooms.members;
        let is_in = || members.is_joined(user, room) && members.ties_across(room, self.server_name());
        federation.presence.handle_member(room, user, is_in, |user| self.presence.status(user));
    }

    /// The same for everybody in a room of many, who would hold up everybody else.
    async fn tie_by_pages(self: Arc<Self>, room: OwnedRoomId) {
        let members = &self.rooms.members;
        for page in members.joined(&room).chunks(PAGE) {
            page.iter().for_each(|user| self.tie_member(&room, user));
            tokio::task::yield_now().await;
        }
        // It ceased to tie anybody meanwhile.
        if !members.ties_across(&room, self.server_name()) {
            self.tie_room(&room, false);
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
