//! Which servers meet in rooms.

use std::collections::BTreeSet;

use ruma::{OwnedServerName, ServerName, UserId};

use super::members::Members;

impl Members {
    /// The servers with somebody who shares a room with `user`.
    pub fn servers_met(&self, user: &UserId) -> BTreeSet<OwnedServerName> {
        let mut servers = BTreeSet::new();
        for room in self.joined_rooms(user) {
            servers.extend(self.servers_in(&room).keys().cloned());
        }
        servers
    }

    /// Whether somebody of `server` shares a room with `user`.
    pub fn meets(&self, user: &UserId, server: &ServerName) -> bool {
        self.joined_rooms(user).iter().any(|room| self.has_server(room, server))
    }
}
