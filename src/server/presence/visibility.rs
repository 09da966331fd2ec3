//! Who may see whom (L6): the one question that every way out asks.

use ruma::UserId;

use crate::{
    core::{
        presence::State,
        visibility::{self, RoomLimit, Share, Ties},
    },
    server::app::App,
};

impl App {
    /// Whether `observer` may see the presence of `observed`.
    pub fn may_see(&self, observer: &UserId, observed: &UserId) -> bool {
        if observer == observed {
            return true;
        }
        let (accepted, share) = self.contacts.standing(observer, observed);
        // Every shared room counts, so that how many are in it need not be looked up.
        let shares_room = share == Share::SharedRooms && self.rooms.members.shares_room(observer, observed);
        let ties = Ties { accepted, smallest_shared_room: shares_room.then_some(2) };
        visibility::may_see(ties, share, RoomLimit::None)
    }

    /// Wakes everybody who may see `observed`, and their own devices.
    pub fn wake_observers(&self, observed: &UserId) {
        self.wakers.wake(observed);
        let share = self.contacts.settings(observed).share;
        if share != Share::Nobody {
            for observer in self.contacts.observers(observed) {
                self.wakers.wake(&observer);
            }
        }
        if share == Share::SharedRooms {
            for room in self.rooms.members.joined_rooms(observed) {
                self.wake_room(&room);
            }
        }
    }

    /// Whether `inviter` may begin a private chat with `target` (L7). A hidden user answers as an
    /// offline one.
    pub fn may_begin_chat(&self, inviter: &UserId, target: &UserId) -> bool {
        let shown = self.presence.event(target).map_or(State::Offline, |event| event.state());
        self.contacts.may_invite(inviter, target, shown)
    }

    /// Whether the user wants to look offline: nothing they do may show (P4).
    pub fn is_hidden(&self, user: &UserId) -> bool {
        self.presence.is_hidden(user, self.now())
    }

    /// The content of the presence event of `user`, as `observer` (who may see it) gets it.
    pub fn presence_content(&self, observer: &UserId, user: &UserId) -> Vec<u8> {
        let now = self.now();
        let mut out = Vec::new();
        if observer == user
            && let Some(own) = self.presence.own_event(user, 0, now)
        {
            own.write_content(&mut out, now);
        } else if let Some(event) = self.presence.event(user) {
            event.write_content(&mut out, now);
        } else {
            out.extend_from_slice(br#"{"presence":"offline","org.pilotlight.presence":{"state":"offline"}}"#);
        }
        out
    }
}
