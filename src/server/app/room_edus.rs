//! What servers tell each other of rooms beside events: who types, and who has read how far.

use std::{collections::BTreeSet, sync::Arc};

use ruma::{OwnedEventId, RoomId, ServerName, UserId};
use serde_json::value::RawValue;

use super::parts::App;
use crate::server::{
    event::stored::StoredEvent,
    federation::room_edus::{TYPES_FOR, Typing, read_receipts},
    store::StoreError,
};

impl App {
    /// Who of this server types in `room` is told to the other servers in it, if they do not know.
    pub fn say_typing(&self, room: &RoomId) {
        if let Some(federation) = &self.federation {
            let servers = self.rooms.members.servers_in(room);
            federation.room_edus.handle_typing(room, &self.typing.in_room(room), &servers);
        }
    }

    /// The server `origin` says that somebody types, in the content of an EDU. Only of those who are in the room.
    pub async fn handle_typing_edu(&self, origin: &ServerName, content: &RawValue) {
        match Typing::judged(origin, content) {
            Ok(Typing { room_id, user_id, typing }) if self.is_heard(&user_id, &room_id).await => {
                if typing {
                    self.typing.mark(&room_id).await;
                    self.typing.start(&room_id, &user_id, TYPES_FOR);
                } else {
                    self.typing.stop(&room_id, &user_id);
                }
            }
            Ok(_) => tracing::debug!(%origin, "who is said to type is not heard in the room"),
            Err(why) => tracing::debug!(%origin, why, "a typing notice was refused"),
        }
    }

    /// The server `origin` says how far its users have read, in the contents of EDUs. Only of those who are in the room.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be kept, so that it is said again.
    pub async fn handle_receipt_edus(
        &self,
        origin: &ServerName,
        contents: &[&RawValue],
    ) -> Result<(), StoreError> {
        let mut receipts = Vec::new();
        for content in contents {
            match read_receipts(origin, content) {
                Ok(read) => receipts.extend(read),
                Err(why) => tracing::debug!(%origin, why, "receipts were refused"),
            }
        }
        let mut heard = Vec::with_capacity(receipts.len());
        for receipt in receipts {
            if self.is_heard(&receipt.user, &receipt.room).await {
                heard.push(receipt);
            }
        }
        if heard.is_empty() {
            return Ok(());
        }
        let early = self.store.put_receipts(heard).await?;
        let awaited: BTreeSet<OwnedEventId> =
            early.iter().filter_map(|receipt| receipt.event.as_str().try_into().ok()).collect();
        self.early_receipts.keep(early);
        // What came while they were put away did not find them.
        for event in awaited {
            if self.store.event(&event).await?.is_some() {
                self.put_early_receipts(event.as_str()).await?;
            }
        }
        Ok(())
    }

    /// An event came: what was said of who has read it counts from here on.
    pub(super) fn note_read(self: &Arc<Self>, event: &StoredEvent) {
        if !self.early_receipts.has(event.event_id.as_str()) {
            return;
        }
        let (app, event) = (Arc::clone(self), event.event_id.clone());
        self.runtime.spawn(async move {
            if let Err(error) = app.put_early_receipts(event.as_str()).await {
                tracing::warn!(%error, "receipts are lost");
            }
        });
    }

    async fn put_early_receipts(&self, event: &str) -> Result<(), StoreError> {
        let receipts = self.early_receipts.take(event);
        if receipts.is_empty() { Ok(()) } else { self.store.put_receipts(receipts).await.map(drop) }
    }

    /// Whether `user`, of another server, is in `room`, and the room has not shut their server out.
    async fn is_heard(&self, user: &UserId, room: &RoomId) -> bool {
        self.rooms.members.is_joined(user, room)
            && self.rooms.admits(room, user.server_name()).await.unwrap_or_default()
    }
}
