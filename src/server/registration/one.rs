//! One application service.

use std::fmt;

use ruma::{OwnedUserId, RoomAliasId, RoomId, UserId};

use super::namespaces::Namespaces;
use crate::server::{config::Secret, session::TokenHash};

/// One application service, as the operator registered it. Its `Debug` form shows no token.
#[derive(Clone)]
pub struct Registration {
    /// Its name, unlike any other's.
    pub id: String,
    /// Where it is answered, without a slash at the end; `None`: it takes nothing.
    pub url: Option<String>,
    /// What it shows to us.
    pub as_token: TokenHash,
    /// What we show to it.
    pub hs_token: Secret,
    /// The user that it acts as when it does not say another.
    pub sender: OwnedUserId,
    /// Whether its other users are limited in how often they may ask.
    pub is_rate_limited: bool,
    /// Its users, all of this server.
    pub users: Namespaces,
    /// Its aliases.
    pub aliases: Namespaces,
    /// Rooms of which it is told everything.
    pub rooms: Namespaces,
    /// Whether it is told who types, has read, and is there.
    pub receives_ephemeral: bool,
    /// The networks that it is a bridge to.
    pub protocols: Vec<String>,
}

impl Registration {
    /// Whether `user` is one of those that it acts as.
    pub fn has_user(&self, user: &UserId) -> bool {
        user == self.sender
            || (user.server_name() == self.sender.server_name() && self.users.have(user.as_str()))
    }

    /// Whether nobody else may be called `user`.
    pub fn has_user_exclusively(&self, user: &UserId) -> bool {
        user == self.sender
            || (user.server_name() == self.sender.server_name() && self.users.have_exclusively(user.as_str()))
    }

    /// Whether the alias is one of its own.
    pub fn has_alias(&self, alias: &RoomAliasId) -> bool {
        self.aliases.have(alias.as_str())
    }

    /// Whether it is told everything of the room by its ID.
    pub fn has_room(&self, room: &RoomId) -> bool {
        self.rooms.have(room.as_str())
    }

    /// Whether what it does as `user` is limited. Its own user is not.
    pub fn limits(&self, user: &UserId) -> bool {
        self.is_rate_limited && user != self.sender
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration").field("id", &self.id).field("url", &self.url).finish_non_exhaustive()
    }
}
