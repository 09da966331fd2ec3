//! Who may see whom (L6): the one question that every way out asks.

use ruma::UserId;

use crate::server::app::App;

impl App {
    /// Whether `observer` may see the presence of `observed`.
    pub fn may_see(&self, observer: &UserId, observed: &UserId) -> bool {
        observer == observed || self.rooms.members.shares_room(observer, observed)
    }

    /// Wakes everybody who may see `observed`, and their own devices.
    pub fn wake_observers(&self, observed: &UserId) {
        self.wakers.wake(observed);
        for room in self.rooms.members.joined_rooms(observed) {
            self.wake_room(&room);
        }
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
