//! How far somebody has read in a room.

use ruma::{OwnedRoomId, OwnedUserId};

/// One receipt, as it is kept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Receipt {
    /// Where.
    pub room: OwnedRoomId,
    /// Who has read.
    pub user: OwnedUserId,
    /// `m.read` or `m.read.private`.
    pub kind: String,
    /// Empty, `main`, or the event ID of the thread's root.
    pub thread: String,
    /// Up to and including this event.
    pub event: String,
    /// When, in milliseconds since the Unix epoch.
    pub ts_ms: u64,
    /// Whether others may see it.
    pub shown: bool,
}
