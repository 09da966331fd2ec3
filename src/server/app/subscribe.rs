//! Who hears of which change.

use std::{collections::BTreeSet, sync::Weak};

use ruma::{OwnedUserId, RoomId, UserId};

use super::parts::App;
use crate::{
    core::{federation::Status, presence, visibility::Share},
    server::{
        change::{
            feed::{Change, Subscriber},
            position::LivePosition,
        },
        event::stored::{Membership, StoredEvent},
        list::ListRow,
    },
};

/// Everybody who keeps something in memory, and everybody who waits.
#[derive(Debug)]
pub(super) struct Subscribers(pub(super) Weak<App>);

impl Subscriber for Subscribers {
    fn follow(&self, change: &Change) {
        let Some(app) = self.0.upgrade() else { return };
        match change {
            Change::Appended(_) | Change::Resolved(_) => {
                app.rooms.members.follow(change);
                // Here, where the room is as the event left it: what follows may take a server away.
                if let (Change::Appended(event), Some(federation)) = (change, &app.federation) {
                    federation.outbox.handle_event(event, |room| app.rooms.members.servers_in(room));
                }
                app.stream.sliding.known.follow(change);
            }
            Change::Receipt { .. } => {
                app.receipts.follow(change);
                app.stream.unread.follow(change);
            }
            Change::ToDevice { .. } | Change::ToDeviceDropped { .. } | Change::ToDeviceTaken { .. } => {
                app.inboxes.follow(change);
            }
            Change::AccountData { .. } => app.own_data.follow(change),
            Change::KeysLeft { .. } | Change::OwnKeyView { .. } => app.keys.follow(change),
            Change::SessionsEnded { .. } => {
                app.accounts.follow(change);
                app.keys.follow(change);
                app.inboxes.follow(change);
                app.presence.follow(change);
                app.stream.sliding.connections.follow(change);
            }
            Change::Forgotten { .. } => app.stream.sliding.connections.follow(change),
            Change::PresenceDelivery { .. } => app.presence.follow(change),
            Change::RemotePresence { .. } => app.board.follow(change),
            Change::PresenceList { .. } | Change::PresenceSettings { .. } => {
                app.sight.expect(change);
                app.contacts.follow(change);
                app.sight.follow(change);
            }
            Change::Ignored { .. } => {
                app.contacts.follow(change);
                app.sight.follow(change);
                app.stream.unread.follow(change);
            }
            Change::Rewritten(_) => app.stream.unread.follow(change),
            Change::Inserted(_)
            | Change::DeviceList { .. }
            | Change::ToDeviceAcross { .. }
            | Change::Profile { .. }
            | Change::Presence { .. }
            | Change::Hidden { .. }
            | Change::Pushers { .. }
            | Change::Typing { .. } => {}
        }
    }

    fn tell(&self, changes: &[Change]) {
        let Some(app) = self.0.upgrade() else { return };
        for change in changes {
            app.app_services.handle_change(change);
            if let Change::Receipt { receipt, .. } = change {
                app.push.handle_receipt(receipt);
            }
            match change {
                Change::Pushers { user } => app.push.handle_pushers(user),
                Change::Appended(event) => {
                    app.note_activity(event);
                    app.note_read(event);
                    app.note_end(event);
                    app.note_parting(change);
                    app.note_ties(change);
                    app.wake_for(event);
                    app.push.handle_event(event);
                    if event.is_state("m.room.guest_access", "") {
                        app.guests.handle_access(&event.room_id);
                    }
                }
                Change::Inserted(event) => {
                    app.note_read(event);
                    app.wake_room(&event.room_id);
                }
                Change::Resolved(resolved) => {
                    // Who is not in the room, and is invited to it or no longer, hears of it too.
                    app.wakers.wake_all(resolved.members.iter().map(|is| &*is.user));
                    let invited = resolved.members.iter().filter(|is| is.membership == Membership::Invite);
                    invited.for_each(|is| app.push.handle_invite(&is.user));
                    app.wake_room(&resolved.room_id);
                    app.note_parting(change);
                    app.note_ties(change);
                }
                Change::Receipt { receipt, .. } if receipt.shown => {
                    app.wake_polls_of(&receipt.room);
                    if let Some(federation) = &app.federation {
                        let servers = app.rooms.members.servers_in(&receipt.room);
                        federation.room_edus.handle_receipt(receipt, &servers);
                    }
                }
                Change::Receipt { receipt, .. } => {
                    app.live.bell().arm();
                    app.wakers.wake_polls(|wake| wake(&receipt.user));
                }
                Change::Typing { room } => {
                    app.wake_polls_of(room);
                    app.say_typing(room);
                }
                Change::DeviceList { user, .. } => {
                    app.wake_sharers(user);
                    app.show_devices(change);
                }
                Change::ToDeviceAcross { .. } => app.show_devices(change),
                Change::SessionsEnded { user, devices, none_left, .. } => {
                    for device in devices {
                        app.presence.handle_device_removed(user, device);
                    }
                    if *none_left {
                        app.typing.stop_everywhere(user);
                    }
                    // A long poll of a device that is gone ends.
                    app.wakers.wake(user);
                }
                Change::Profile { user, profile } => app.presence.handle_profile(user, profile.clone()),
                Change::ToDevice { user, .. }
                | Change::AccountData { user, .. }
                | Change::OwnKeyView { user, .. }
                | Change::KeysLeft { user, .. } => app.wakers.wake(user),
                Change::PresenceList { rows, .. } => {
                    if let Some(federation) = &app.federation {
                        federation.lists.handle_change(change);
                    }
                    app.show_lists(rows);
                }
                Change::PresenceSettings { owner, settings, shared_before } => {
                    app.show_share(owner, *shared_before, settings.share);
                }
                Change::Ignored { user, before, now } => {
                    app.refresh_across(user);
                    app.wakers
                        .wake_all(before.symmetric_difference(now).map(|other| &**other).chain([&**user]));
                }
                Change::PresenceDelivery { session, wanted } => {
                    // An explicit start counts as a stream that ends at once: others are asked for, for as long.
                    if *wanted && let Some(federation) = &app.federation {
                        drop(federation.presence.attach(&session.user));
                    }
                    app.wakers.wake(&session.user);
                }
                Change::Presence { user, change, position, status } => {
                    app.tell_presence(user, *change, *position, status);
                }
                Change::Hidden { user } => app.typing.stop_everywhere(user),
                // Streams, too, look for themselves: who observes users of other servers is not known by those users.
                Change::RemotePresence { user, observers, .. } => {
                    app.wakers.wake_all(observers.iter().map(|observer| &**observer));
                    app.live.bell().arm();
                    app.wakers.wake_polls(|wake| app.sight.each_observer(user, wake));
                }
                Change::Rewritten(_)
                | Change::ToDeviceDropped { .. }
                | Change::ToDeviceTaken { .. }
                | Change::Forgotten { .. } => {}
            }
        }
    }
}

impl App {
    /// Lists are different: the servers of those on them are to know, and the readers of whoever came to see
    /// somebody by it, or ceased to.
    fn show_lists(&self, rows: &[ListRow]) {
        let elsewhere = rows.iter().filter(|row| row.contact.server_name() != self.server_name());
        let owners: BTreeSet<&OwnedUserId> = elsewhere.map(|row| &row.owner).collect();
        owners.into_iter().for_each(|owner| self.refresh_across(owner));
        self.wakers.wake_each(|wake| self.sight.each_affected(rows, wake));
    }

    /// A user shares with others than before: everybody is to know who could see them or can.
    fn show_share(&self, owner: &UserId, before: Share, after: Share) {
        if before != after {
            self.refresh_across(owner);
            self.wakers.wake_each(|wake| self.sight.each_observer_by(owner, before.max(after), wake));
        }
    }

    /// Brings federation up to date with the list of `owner`, and with whom they share. Of one user this is
    /// called in the order of the changes: they are told in it.
    pub(super) fn refresh_across(&self, owner: &UserId) {
        if owner.server_name() != self.server_name() {
            return;
        }
        if let Some(federation) = &self.federation {
            let across = self.sight.across(owner);
            federation.presence.handle_lists(owner, across, || self.presence.status(owner));
            federation.presence.handle_reserve(owner, self.contacts.share_of(owner) != Share::SharedRooms);
        }
    }

    /// Tells federation of everybody's lists, when the server starts.
    pub(super) fn load_across(&self) {
        for owner in self.contacts.owners() {
            self.refresh_across(&owner);
        }
        self.load_ties();
    }

    /// A user of this server shows something else.
    fn tell_presence(
        &self,
        user: &UserId,
        change: presence::Change,
        position: LivePosition,
        status: &Status,
    ) {
        match change {
            presence::Change::Own => return self.wakers.wake(user),
            presence::Change::Times | presence::Change::Quiet => {}
            presence::Change::Visible => {
                self.metrics.presence_changes.add(1);
                self.live.bell().arm();
                self.wakers.wake_polls(|wake| self.sight.each_observer(user, wake));
                // What their own devices are told is not what others are.
                self.wakers.wake(user);
            }
        }
        if let Some(federation) = &self.federation {
            federation.presence.handle_status(user, position, status);
        }
    }

    /// Who sends a message was active (P8): before its readers are woken, so that the answer that takes it to them
    /// takes that too.
    fn note_activity(&self, event: &StoredEvent) {
        let is_message = event.state_key.is_none() && event.kind != "m.room.redaction";
        if is_message && event.sender.server_name() == self.server_name() {
            self.presence.handle_pro_active(&event.sender);
        }
    }

    /// Who is no longer in a room types there no longer.
    fn note_end(&self, event: &StoredEvent) {
        if let Some((user, Membership::Leave | Membership::Ban)) = event.membership()
            && let Ok(user) = <&UserId>::try_from(user)
        {
            self.typing.stop(&event.room_id, user);
        }
    }

    /// Wakes the readers of everybody of this server whom an event concerns.
    fn wake_for(&self, event: &StoredEvent) {
        if event.state_key.is_none() {
            return self.wake_polls_of(&event.room_id);
        }
        if let Some((user, _)) = event.membership()
            && let Ok(user) = <&UserId>::try_from(user)
        {
            self.wakers.wake(user);
        }
        self.wake_room(&event.room_id);
    }

    /// Of something in `room` that streams follow: wakes who polls and is in it or looks into it, and who tells streams.
    fn wake_polls_of(&self, room: &RoomId) {
        self.live.bell().arm();
        self.wakers.wake_at(room);
        self.wakers.wake_polls(|wake| self.each_in(room, wake));
    }

    /// Wakes everybody of this server who is in `room`, and who looks into it.
    fn wake_room(&self, room: &RoomId) {
        self.wakers.wake_at(room);
        self.wakers.wake_each(|wake| self.each_in(room, wake));
    }

    /// Names everybody of this server who is in `room` and has a reader, and perhaps others who are in it.
    fn each_in(&self, room: &RoomId, name: &mut dyn FnMut(&UserId)) {
        let members = &self.rooms.members;
        match self.wakers.far_fewer_than(members.count_ours(room)) {
            Some(readers) => {
                readers.iter().filter(|user| members.is_joined(user, room)).for_each(|user| name(user))
            }
            None => members.each_of_ours(room, |user| name(user)),
        }
    }

    /// Wakes everybody who shares a room with `user`, and the user.
    fn wake_sharers(&self, user: &UserId) {
        let sharers = self.rooms.members.sharing_rooms_with(user);
        self.wakers.wake_all(sharers.iter().map(|user: &OwnedUserId| &**user).chain([user]));
    }
}
