//! Who hears of which change.

use std::sync::Weak;

use ruma::{OwnedUserId, RoomId, UserId};

use super::parts::App;
use crate::{
    core::presence,
    server::{
        change::feed::{Change, Subscriber},
        event::stored::StoredEvent,
    },
};

/// Everybody who keeps something in memory, and everybody who waits.
#[derive(Debug)]
pub(super) struct Subscribers(pub(super) Weak<App>);

impl Subscriber for Subscribers {
    fn follow(&self, change: &Change) {
        let Some(app) = self.0.upgrade() else { return };
        match change {
            Change::Appended(_) => app.rooms.members.follow(change),
            Change::Receipt { .. } => {
                app.receipts.follow(change);
                app.unread.follow(change);
            }
            Change::ToDevice { .. } => app.inboxes.follow(change),
            Change::AccountData { .. } => app.own_data.follow(change),
            Change::KeysLeft { .. } => app.keys.follow(change),
            Change::SessionsEnded { .. } => {
                app.accounts.follow(change);
                app.keys.follow(change);
                app.inboxes.follow(change);
                app.presence.deliveries.follow(change, &app.live);
            }
            Change::PresenceDelivery { .. } => app.presence.deliveries.follow(change, &app.live),
            Change::Rewritten(_)
            | Change::DeviceList { .. }
            | Change::Profile { .. }
            | Change::Presence { .. }
            | Change::Typing { .. } => {}
        }
    }

    fn tell(&self, changes: &[Change]) {
        let Some(app) = self.0.upgrade() else { return };
        for change in changes {
            match change {
                Change::Appended(event) => app.wake_for(event),
                Change::Receipt { room, shown: true, .. } | Change::Typing { room } => app.wake_room(room),
                Change::DeviceList { user, .. } => app.wake_sharers(user),
                Change::SessionsEnded { user, devices, none_left, .. } => {
                    for device in devices {
                        app.presence_device_removed(user, device);
                    }
                    if *none_left {
                        app.typing.stop_everywhere(user);
                    }
                    // A long poll of a device that is gone ends.
                    app.wakers.wake(user);
                }
                Change::Profile { user, profile } => app.handle_profile(user, profile.clone()),
                Change::Receipt { user, shown: false, .. }
                | Change::ToDevice { user, .. }
                | Change::AccountData { user, .. }
                | Change::KeysLeft { user, .. } => app.wakers.wake(user),
                Change::PresenceDelivery { session, .. } => app.wakers.wake(&session.user),
                Change::Presence { user, change } => {
                    match change {
                        presence::Change::Quiet => {}
                        presence::Change::Own => app.wakers.wake(user),
                        presence::Change::Visible => {
                            app.metrics.presence_changes.add(1);
                            app.wake_observers(user);
                        }
                    }
                    app.show_across(user, *change);
                }
                Change::Rewritten(_) => {}
            }
        }
    }
}

impl App {
    /// Wakes the readers of everybody of this server whom an event concerns.
    fn wake_for(&self, event: &StoredEvent) {
        if let Some((user, _)) = event.membership()
            && let Ok(user) = <&UserId>::try_from(user)
        {
            self.wakers.wake(user);
        }
        self.wake_room(&event.room_id);
    }

    /// Wakes everybody of this server who is in `room`.
    fn wake_room(&self, room: &RoomId) {
        let ours = self.server_name();
        self.rooms.members.each_joined(room, |user| {
            if user.server_name() == ours {
                self.wakers.wake(user);
            }
        });
    }

    /// Wakes everybody who shares a room with `user`, and the user.
    fn wake_sharers(&self, user: &UserId) {
        let sharers = self.rooms.members.sharing_rooms_with(user);
        self.wakers.wake_all(sharers.iter().map(|user: &OwnedUserId| &**user).chain([user]));
    }
}
