//! Who may see whom (L6): the one question that every way out asks.

use ruma::UserId;

use crate::{
    core::{
        presence::State,
        visibility::{self, Share, Ties},
    },
    server::{app::App, change::position::LivePosition},
};

impl App {
    /// Whether `observer` may see the presence of `observed`. Of a user of another server: as far as that
    /// server tells, and while they are on the observer's list.
    pub fn may_see(&self, observer: &UserId, observed: &UserId) -> bool {
        if observed.server_name() != self.server_name() {
            return self.contacts.observes(observer, observed);
        }
        let (accepted, share) = self.contacts.standing(observer, observed);
        observer == observed || self.may_see_by(observer, observed, accepted, share)
    }

    /// Whether `observer` might see the presence of `observed`, if they shared with `share`.
    pub fn might_see(&self, observer: &UserId, observed: &UserId, share: Share) -> bool {
        if observed.server_name() != self.server_name() {
            return self.contacts.observes(observer, observed);
        }
        let (accepted, _) = self.contacts.standing(observer, observed);
        observer == observed || self.may_see_by(observer, observed, accepted, share)
    }

    fn may_see_by(&self, observer: &UserId, observed: &UserId, accepted: bool, share: Share) -> bool {
        let members = &self.rooms.members;
        let by_room = share == Share::SharedRooms && !accepted;
        let smallest_shared_room = by_room.then(|| members.shared_room(observer, observed)).flatten();
        visibility::may_see(Ties { accepted, smallest_shared_room }, share, members.limit())
    }

    /// Wakes everybody who may see `observed`, and their own devices.
    pub fn wake_observers(&self, observed: &UserId) {
        self.wake_observers_by(observed, self.contacts.share_of(observed));
    }

    /// Wakes everybody who may see `observed` if they share with `share`, and their own devices.
    pub fn wake_observers_by(&self, observed: &UserId, share: Share) {
        self.wakers.wake(observed);
        if share != Share::Nobody {
            for observer in self.contacts.observers(observed) {
                self.wakers.wake(&observer);
            }
        }
        if share == Share::SharedRooms {
            self.rooms.members.each_room_mate(observed, |user| self.wakers.wake(user));
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
            && let Some(own) = self.presence.own_event(user, LivePosition::START, now)
        {
            own.write_content(&mut out, now);
        } else if let Some(event) = self.presence.event(user) {
            event.write_content(&mut out, now);
        } else {
            let state =
                if user.server_name() == self.server_name() { State::Offline } else { State::Unknown };
            out.extend_from_slice(br#"{"presence":"offline","org.pilotlight.presence":{"state":""#);
            out.extend_from_slice(state.as_str().as_bytes());
            out.extend_from_slice(br#""}}"#);
        }
        out
    }
}
