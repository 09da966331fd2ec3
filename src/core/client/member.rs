//! Somebody in a room: as the stream tells it, and as a list shows it.

use crate::core::wire::write::{ToJson, Writer};

/// A member as a list shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// Whose membership.
    pub user_id: String,
    /// The name in this room.
    pub display_name: Option<String>,
    /// The picture in this room.
    pub avatar_url: Option<String>,
    /// `join`, `invite`, `leave`, `ban` or `knock`.
    pub membership: String,
    /// The power level; that of a creator beyond all others is 2^53 − 1.
    pub power_level: i64,
    /// Is typing now.
    pub typing: bool,
    /// The event up to which this member has read.
    pub read_up_to: Option<String>,
}

/// What is known of somebody in the room.
#[derive(Debug, Default)]
pub(super) struct MemberRecord {
    /// Empty for one whose membership is not loaded.
    pub membership: String,
    pub display_name: Option<String>,
    pub avatar_url: Option<String>,
    pub(super) event_id: Option<String>,
    pub(super) read_up_to: Option<String>,
    pub(super) stale: bool,
}

/// Whether the whole member list is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum MemberList {
    /// Nobody asked for it.
    #[default]
    Unwanted,
    /// Asked for; the request is under way.
    Loading,
    /// Known; syncs keep it current.
    Loaded,
}

impl ToJson for Member {
    fn write(&self, writer: &mut Writer) {
        writer.object(|fields| {
            fields.text("userId", &self.user_id);
            fields.optional("displayName", self.display_name.as_deref());
            fields.optional("avatarUrl", self.avatar_url.as_deref());
            fields.text("membership", &self.membership);
            fields.signed("powerLevel", self.power_level);
            fields.flag("typing", self.typing);
            fields.optional("readUpTo", self.read_up_to.as_deref());
        });
    }
}
