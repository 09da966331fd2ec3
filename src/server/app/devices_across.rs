//! Devices and other servers: telling them what changed here, and taking what they say.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use ruma::{OwnedServerName, OwnedUserId, RoomId, ServerName, UserId};
use serde_json::value::RawValue;

use super::parts::App;
use crate::server::{
    change::feed::{Change, Resolved},
    devices::across::DeviceEdu,
    event::stored::Membership,
    federation::Federation,
    store::{IsFull, ReceivedMessage, StoreError},
};

/// The pause after the disk did not take who is to be told.
const PAUSE: Duration = Duration::from_secs(5);

/// Messages that may wait for a device, one more for each 4 KiB of it; then those of other servers make room for each
/// other, or are dropped.
const MAX_WAITING: u32 = 20_000;

/// Messages of other servers that are written at once, about.
const PIECE: usize = 1_000;

/// Users of other servers that are forgotten in one write.
const FORGOTTEN_AT_ONCE: usize = 1_000;

impl App {
    /// Finds out which other servers are to be told of what changed of devices here, as it changes, until the task is dropped;
    /// with what earlier runs of the server left.
    pub async fn tell_of_devices(self: Arc<Self>) {
        let Some(federation) = self.federation.clone() else { return };
        if let Err(error) = self.resume_devices(&federation).await {
            tracing::error!(%error, "what other servers are to be told of devices cannot be read");
        }
        loop {
            let Some((users, upto)) = federation.devices.take_changed() else {
                federation.devices.changed().await;
                continue;
            };
            let told: Vec<_> = users.iter().map(|user| (user.clone(), self.servers_told_of(user))).collect();
            match self.store.spread_device_changes(told, upto).await {
                Ok(servers) => servers.iter().for_each(|server| federation.devices.wake(server)),
                Err(error) => {
                    tracing::warn!(%error, "other servers are not told yet that devices changed");
                    federation.devices.handle_untold(users, upto);
                    self.clock.sleep_until(self.now() + PAUSE).await;
                }
            }
        }
    }

    async fn resume_devices(&self, federation: &Federation) -> Result<(), StoreError> {
        for (user, position) in self.store.device_changes_to_spread().await? {
            federation.devices.handle_change(&user, position);
        }
        for server in self.store.device_outbox_servers().await? {
            federation.devices.wake(&server);
        }
        // Those whom everybody left while nothing was heard of it.
        let kept = self.store.remote_list_users().await?;
        self.forget_strangers(kept).await
    }

    /// The other servers with a user who shares a room with `user`.
    fn servers_told_of(&self, user: &UserId) -> Vec<OwnedServerName> {
        let mut servers = self.rooms.members.servers_met(user);
        servers.remove(self.server_name());
        servers.into_iter().collect()
    }

    /// Something changed of devices: other servers are to hear of it.
    pub(super) fn show_devices(&self, change: &Change) {
        let Some(federation) = &self.federation else { return };
        match change {
            Change::DeviceList { user, position } if user.server_name() == self.server_name() => {
                federation.devices.handle_change(user, *position);
            }
            Change::ToDeviceAcross { server } => federation.devices.wake(server),
            _ => {}
        }
    }

    /// Somebody left rooms, perhaps: of those with whom nobody here shares a room any longer, nothing is kept.
    pub(super) fn note_parting(self: &Arc<Self>, change: &Change) {
        if self.federation.is_none() {
            return;
        }
        match change {
            Change::Appended(event) => {
                if let Some((user, membership)) = event.membership()
                    && let Ok(user) = <&UserId>::try_from(user)
                {
                    self.note_membership(user, membership, &event.room_id);
                }
            }
            Change::Resolved(resolved) => {
                let Resolved { room_id, members, .. } = &**resolved;
                members.iter().for_each(|one| self.note_membership(&one.user, one.membership, room_id));
            }
            _ => {}
        }
    }

    fn note_membership(self: &Arc<Self>, user: &UserId, membership: Membership, room: &RoomId) {
        if !matches!(membership, Membership::Leave | Membership::Ban) {
            return;
        }
        let parted = if user.server_name() == self.server_name() {
            self.strangers_of(room)
        } else {
            vec![user.to_owned()]
        };
        let parted: Vec<_> = parted.into_iter().filter(|user| !self.is_met(user)).collect();
        if !parted.is_empty() {
            let app = Arc::clone(self);
            // Changes are told on a thread of the store's.
            self.runtime.spawn(async move {
                if let Err(error) = app.forget_strangers(parted).await {
                    tracing::warn!(%error, "devices of strangers are kept until the next start");
                }
            });
        }
    }

    /// Everybody in a room in which nobody of this server is any longer.
    fn strangers_of(&self, room: &RoomId) -> Vec<OwnedUserId> {
        match self.rooms.members.has_server(room, self.server_name()) {
            true => Vec::new(),
            false => self.rooms.members.joined(room),
        }
    }

    /// Forgets what is kept of those of `users` with whom nobody here shares a room.
    async fn forget_strangers(&self, mut users: Vec<OwnedUserId>) -> Result<(), StoreError> {
        users.retain(|user| !self.is_met(user));
        for some in users.chunks(FORGOTTEN_AT_ONCE) {
            self.store.forget_remote_lists(some.to_vec()).await?;
        }
        Ok(())
    }

    /// Takes what the server `origin` says of devices, in EDUs of these types. It is on the disk when this returns, and
    /// saying it again changes nothing. What is not for that server to say, or cannot be read, changes nothing either.
    ///
    /// # Errors
    /// Only when it cannot be stored, so that the server sends it again.
    pub async fn handle_device_edus(
        self: &Arc<Self>,
        origin: &ServerName,
        edus: &[(String, &RawValue)],
    ) -> Result<(), StoreError> {
        let (mut changes, mut messages) = (BTreeMap::<OwnedUserId, Vec<_>>::new(), Vec::new());
        for (edu_type, content) in edus {
            match DeviceEdu::judged(edu_type, content, origin, self.server_name()) {
                // Of those with whom nobody here shares a room, nothing is kept.
                Ok(DeviceEdu::Changed(user, _)) if !self.is_met(&user) => {}
                Ok(DeviceEdu::Changed(user, change)) => {
                    self.asking.handle_change(&user);
                    changes.entry(user).or_default().push(change);
                }
                Ok(DeviceEdu::Messages(message)) => messages.push(message),
                Err(why) => tracing::debug!(%origin, edu_type, why, "an EDU was refused"),
            }
        }
        if !changes.is_empty() {
            let outdated = self.store.change_remote_lists(changes.into_iter().collect()).await?;
            self.refresh_lists(outdated).await?;
        }
        if messages.is_empty() {
            return Ok(());
        }
        self.take_messages(origin, messages).await
    }

    /// Queues messages of another server for devices here, as far as there is room. In pieces, so that what others write
    /// does not wait for all of them.
    async fn take_messages(
        &self,
        origin: &ServerName,
        messages: Vec<ReceivedMessage>,
    ) -> Result<(), StoreError> {
        let inboxes = Arc::clone(&self.inboxes);
        let is_full = IsFull::new(move |user, device| inboxes.waiting(user, device) >= MAX_WAITING);
        let (mut piece, mut size) = (Vec::new(), 0);
        for message in messages {
            size += message.to.len() + 1;
            piece.push(message);
            if size >= PIECE {
                let piece = std::mem::take(&mut piece);
                self.store.receive_to_device(origin.to_owned(), piece, is_full.clone()).await?;
                size = 0;
            }
        }
        if piece.is_empty() {
            return Ok(());
        }
        self.store.receive_to_device(origin.to_owned(), piece, is_full).await
    }
}
