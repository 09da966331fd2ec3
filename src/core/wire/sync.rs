//! The answer to `GET /_matrix/client/v3/sync`, and the other answers that carry events.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::event::EventList;
use super::text::Text;

/// The answer to `/sync`.
#[derive(Debug, Deserialize)]
pub struct SyncBody<'a> {
    /// The token to go on from.
    #[serde(borrow)]
    pub next_batch: Text<'a>,
    /// Rooms by membership.
    #[serde(borrow, default)]
    pub rooms: Rooms<'a>,
    /// `m.presence` events.
    #[serde(borrow, default)]
    pub presence: EventList<'a>,
    /// The user's own data.
    #[serde(borrow, default)]
    pub account_data: EventList<'a>,
}

/// Rooms by membership.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Rooms<'a> {
    /// Joined.
    #[serde(borrow)]
    pub join: BTreeMap<Text<'a>, JoinedRoom<'a>>,
    /// Invited to.
    #[serde(borrow)]
    pub invite: BTreeMap<Text<'a>, InvitedRoom<'a>>,
    /// Asked to join.
    #[serde(borrow)]
    pub knock: BTreeMap<Text<'a>, KnockedRoom<'a>>,
    /// Left, kicked or banned from.
    #[serde(borrow)]
    pub leave: BTreeMap<Text<'a>, LeftRoom<'a>>,
}

/// What is new in a joined room.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct JoinedRoom<'a> {
    /// What a name is computed from.
    #[serde(borrow)]
    pub summary: Summary<'a>,
    /// State before the timeline.
    #[serde(borrow)]
    pub state: EventList<'a>,
    /// New events, oldest first.
    #[serde(borrow)]
    pub timeline: Timeline<'a>,
    /// Typing and receipts.
    #[serde(borrow)]
    pub ephemeral: EventList<'a>,
    /// Counts of what the user has not read.
    pub unread_notifications: UnreadCounts,
}

/// What a room's name is computed from when it has none.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Summary<'a> {
    /// Up to five members to name the room after.
    #[serde(borrow, rename = "m.heroes")]
    pub heroes: Option<Vec<Text<'a>>>,
    /// Number of joined members.
    #[serde(rename = "m.joined_member_count")]
    pub joined: Option<u64>,
    /// Number of invited members.
    #[serde(rename = "m.invited_member_count")]
    pub invited: Option<u64>,
}

/// New events of one room.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Timeline<'a> {
    /// Oldest first.
    #[serde(borrow)]
    pub events: Vec<&'a RawValue>,
    /// There are events between the last answer and these.
    pub limited: bool,
    /// The token from which to scroll back past the first of these.
    #[serde(borrow)]
    pub prev_batch: Option<Text<'a>>,
}

/// Counts of what the user has not read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct UnreadCounts {
    /// Events that ask for attention.
    pub notification_count: Option<u64>,
    /// Events that name the user.
    pub highlight_count: Option<u64>,
}

/// A room the user is invited to.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct InvitedRoom<'a> {
    /// Stripped state.
    #[serde(borrow)]
    pub invite_state: EventList<'a>,
}

/// A room the user asked to join.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct KnockedRoom<'a> {
    /// Stripped state.
    #[serde(borrow)]
    pub knock_state: EventList<'a>,
}

/// A room the user is out of.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct LeftRoom<'a> {
    /// State before the timeline.
    #[serde(borrow)]
    pub state: EventList<'a>,
    /// The last events the user may see.
    #[serde(borrow)]
    pub timeline: Timeline<'a>,
}

/// The answer to `GET /rooms/{roomId}/messages`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct MessagesBody<'a> {
    /// Newest first (`dir=b`).
    #[serde(borrow)]
    pub chunk: Vec<&'a RawValue>,
    /// State that the events need: lazily loaded members.
    #[serde(borrow)]
    pub state: Vec<&'a RawValue>,
    /// The token to go on from; absent at the beginning of the room.
    #[serde(borrow)]
    pub end: Option<Text<'a>>,
}

/// The answer to `GET /rooms/{roomId}/members`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct MembersBody<'a> {
    /// `m.room.member` events.
    #[serde(borrow)]
    pub chunk: Vec<&'a RawValue>,
}
