//! What somebody becomes by an event that the server of a room takes from another one.

use crate::server::event::stored::Membership;

/// What a user wants to become in a room of another server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Entrance {
    /// In the room.
    Join,
    /// Out of it; or to decline an invite, or to take a knock back.
    Leave,
    /// Somebody who asks to be let in.
    Knock,
}

impl Entrance {
    /// What they are then.
    pub fn membership(self) -> Membership {
        match self {
            Self::Join => Membership::Join,
            Self::Leave => Membership::Leave,
            Self::Knock => Membership::Knock,
        }
    }
}
