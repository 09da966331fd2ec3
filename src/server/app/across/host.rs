//! What other servers bring to rooms here, with the servers that have to be asked about it.

use std::sync::Arc;

use ruma::{EventId, RoomId, ServerName};

use crate::server::{
    app::parts::App,
    rooms::{
        Entrance, Refusal,
        host::{Brought, Entered},
    },
};

impl App {
    /// Takes the member event by which a user of `server` comes into a room here, leaves it, or knocks.
    ///
    /// # Errors
    /// As for [`crate::server::rooms::Rooms::accept`].
    pub async fn let_in(
        self: &Arc<Self>,
        server: &ServerName,
        (room, event): (&RoomId, &EventId),
        entrance: Entrance,
        text: &str,
    ) -> Result<Entered, Refusal> {
        let peers = self.peers_or_refuse()?;
        self.rooms.accept(&peers, server, (room, event), entrance, text).await
    }

    /// Takes an invite of a user of this server by one of `server`; answers with the event as this server signed it.
    ///
    /// # Errors
    /// As for [`crate::server::rooms::Rooms::take_invite`].
    pub async fn take_invite(
        self: &Arc<Self>,
        server: &ServerName,
        (room, event): (&RoomId, &EventId),
        invite: Brought<'_>,
    ) -> Result<String, Refusal> {
        let peers = self.peers_or_refuse()?;
        self.rooms.take_invite(&peers, server, (room, event), invite).await
    }
}
