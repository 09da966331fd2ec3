//! Which servers take part in a room, and which may.

use ruma::{OwnedServerName, RoomId, ServerName};

use crate::server::{
    rooms::{parts::Rooms, refusal::Refusal},
    store::RoomRow,
};

impl Rooms {
    /// Whether somebody of this server is in `room`.
    pub fn takes_part(&self, room: &RoomId) -> bool {
        self.members.has_server(room, &self.server_name)
    }

    /// The servers that somebody can come into a room by: this one first, `max` at most.
    pub fn servers_to_join_by(&self, room: &RoomId, max: usize) -> Vec<OwnedServerName> {
        let mut servers = self.members.servers(room);
        if let Some(own) = servers.iter().position(|server| *server == self.server_name) {
            servers[..=own].rotate_right(1);
        }
        servers.truncate(max);
        servers
    }

    /// A room that this server takes part in, to `server`, which may do so too by the room's list of servers.
    ///
    /// # Errors
    /// [`Refusal::NotFound`]: this server does not; [`Refusal::Forbidden`]: `server` may not.
    pub(super) async fn open_to(&self, server: &ServerName, room: &RoomId) -> Result<RoomRow, Refusal> {
        let row = self.store.room(room).await?.filter(|_| self.takes_part(room));
        let row = row.ok_or_else(|| Refusal::NotFound("this server is not in this room".into()))?;
        self.check_server(server, room).await?;
        Ok(row)
    }

    /// A room that both this server and `server` take part in.
    ///
    /// # Errors
    /// Those of [`Self::open_to`]; [`Refusal::Forbidden`]: `server` does not take part.
    pub(super) async fn shared_with(&self, server: &ServerName, room: &RoomId) -> Result<RoomRow, Refusal> {
        let row = self.store.room(room).await?;
        let is_in = self.members.has_server(room, server) && self.takes_part(room);
        let row = row.filter(|_| is_in);
        // The same for a room that does not exist: who is not in it learns nothing of it.
        let row = row.ok_or_else(|| Refusal::Forbidden("your server is not in this room".into()))?;
        self.check_server(server, room).await?;
        Ok(row)
    }

    /// Whether users of `server` may be invited to a room here.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`]: the room's list of servers keeps it out.
    pub async fn check_server_of(&self, server: &ServerName, room: &RoomId) -> Result<(), Refusal> {
        let kept_out = |_| Refusal::Forbidden("the user's server is kept out of this room".into());
        self.check_server(server, room).await.map_err(kept_out)
    }

    /// Whether a room's list of servers (`m.room.server_acl`) lets `server` take part.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`].
    pub async fn check_server(&self, server: &ServerName, room: &RoomId) -> Result<(), Refusal> {
        match self.admits(room, server).await? {
            true => Ok(()),
            false => Err(Refusal::Forbidden("your server is kept out of this room".into())),
        }
    }
}
