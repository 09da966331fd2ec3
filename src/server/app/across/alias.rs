//! Aliases of other servers.

use ruma::{OwnedRoomId, OwnedServerName, RoomAliasId};

use super::candidates::refusal;
use crate::server::{app::parts::App, rooms::Refusal};

/// Servers of a room that are taken from an answer, at most.
const MAX_SERVERS: usize = 50;

impl App {
    /// Where an alias of another server leads, and servers that are in the room; the alias's own first.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::Unreachable`].
    pub async fn find_alias(
        &self,
        alias: &RoomAliasId,
    ) -> Result<(OwnedRoomId, Vec<OwnedServerName>), Refusal> {
        let Some(federation) = &self.federation else {
            return Err(Refusal::NotFound(
                "there is no such alias here, and no other server is asked".into(),
            ));
        };
        let server = alias.server_name();
        let found = federation.find_alias(alias).await.map_err(|e| refusal(server, &e))?;
        let mut servers = found.servers;
        servers.retain(|named| named != server);
        servers.insert(0, server.to_owned());
        servers.truncate(MAX_SERVERS);
        Ok((found.room_id, servers))
    }
}
