//! What is told another server beside events, and what that is about.

use ruma::{OwnedRoomId, OwnedUserId};
use serde_json::value::RawValue;

/// Something to tell another server.
#[derive(Clone, Debug)]
pub struct Edu {
    /// `edu_type`.
    pub kind: &'static str,
    /// `content`.
    pub content: Box<RawValue>,
    /// The same in the form of [`crate::core::federation::encode_brief`], if the destination reads it; sent
    /// in place of a transaction when there is nothing else to say.
    pub brief: Option<String>,
    /// What it is about; replaces what waits under the same key.
    pub key: Key,
    /// The sender's number for it, given back with the outcome.
    pub seq: u64,
}

/// What an EDU is about.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Key {
    /// Everything the presence engine has to say. When it fails, the engine says again what matters by
    /// then, at a time of its choice: it is not kept here.
    Presence,
    /// Whether somebody types in a room. Of no use to who was away: not kept.
    Typing {
        /// The room.
        room: OwnedRoomId,
        /// Who.
        user: OwnedUserId,
    },
    /// How far somebody has read. Kept, unless the destination is left behind.
    Receipt {
        /// The room.
        room: OwnedRoomId,
        /// Who.
        user: OwnedUserId,
        /// In which thread.
        thread: String,
    },
    /// Whether one user may observe another. Kept and tried again until it is acknowledged.
    List {
        /// Who observes, or wants to.
        observer: OwnedUserId,
        /// Who is observed.
        observed: OwnedUserId,
    },
    /// There is something to be said of devices. What it is, is read when it is said.
    Devices,
}

/// How long an EDU is of use.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Use {
    /// Only at the first attempt.
    Once,
    /// As long as the destination is told all that happens.
    WhileFollowing,
    /// Until it is acknowledged.
    Always,
}

impl Key {
    /// How long what is said under this key is of use.
    pub(super) const fn lasts(&self) -> Use {
        match self {
            Self::Presence | Self::Typing { .. } => Use::Once,
            Self::Receipt { .. } => Use::WhileFollowing,
            Self::List { .. } | Self::Devices => Use::Always,
        }
    }
}
