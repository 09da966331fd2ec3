//! An event as it lies in the log, with what readers need beside the PDU itself.

use std::sync::OnceLock;

use ruma::{OwnedDeviceId, OwnedEventId, OwnedRoomId, OwnedTransactionId, OwnedUserId};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::prefix;
use crate::server::change::position::{LogPosition, TimelinePosition};

/// A user's relation to a room.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Membership {
    /// Asked to join, and did not answer yet.
    Invite,
    /// In the room.
    Join,
    /// Asks to be let in.
    Knock,
    /// Was in the room or invited, and left, declined or was kicked.
    Leave,
    /// May not come in.
    Ban,
}

impl Membership {
    /// The word in `m.room.member` events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Invite => "invite",
            Self::Join => "join",
            Self::Knock => "knock",
            Self::Leave => "leave",
            Self::Ban => "ban",
        }
    }

    /// The membership that a word in an `m.room.member` event means.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Invite, Self::Join, Self::Knock, Self::Leave, Self::Ban]
            .into_iter()
            .find(|membership| membership.as_str() == word)
    }
}

/// An event of the log. Immutable: a redaction makes a new one in its place.
#[derive(Debug)]
pub struct StoredEvent {
    /// Where in the log.
    pub position: LogPosition,
    /// Where in the timeline of its room.
    pub timeline: TimelinePosition,
    /// The reference hash of the PDU, with a `$`.
    pub event_id: OwnedEventId,
    /// The room.
    pub room_id: OwnedRoomId,
    /// The event type.
    pub kind: String,
    /// `None`: not a state event.
    pub state_key: Option<String>,
    /// Who sent it.
    pub sender: OwnedUserId,
    /// When the sender's server says it was sent, in ms since the Unix epoch.
    pub origin_server_ts: u64,
    /// The PDU's depth.
    pub depth: u64,
    /// The PDU as canonical JSON; the redacted form once it is redacted.
    pub pdu: Box<str>,
    /// The state event of the same type and key that this one replaced.
    pub replaces: Option<Replaced>,
    /// What emptied it.
    pub redacted_because: Option<Redacted>,
    /// The device of ours that sent it, and the transaction ID it used.
    pub transaction: Option<(OwnedDeviceId, OwnedTransactionId)>,
    /// Whether this server has to send it to others: its users sent it, or it came in through this server.
    pub ours: bool,
    /// It invites a user of this server that was not asked: it makes nobody anything here.
    unasked: bool,
    hidden: bool,
    lacks: bool,
    client: OnceLock<Box<str>>,
    plain: OnceLock<Option<Box<str>>>,
}

/// What is to be told of an event that was emptied.
#[derive(Debug)]
pub struct Redacted {
    /// The redaction, in client format.
    pub because: Box<RawValue>,
    /// The event that it was an edit of: a client that has not seen it before has nothing else to know that by.
    pub edited: Option<OwnedEventId>,
}

/// A state event that another one replaced.
#[derive(Debug)]
pub struct Replaced {
    /// Its ID.
    pub event_id: OwnedEventId,
    /// Who had sent it.
    pub sender: OwnedUserId,
    /// Its content.
    pub content: Box<RawValue>,
}

/// The columns of an event that are not parsed further.
#[derive(Debug)]
pub(in crate::server) struct Columns {
    pub position: LogPosition,
    pub timeline: TimelinePosition,
    pub event_id: OwnedEventId,
    pub room_id: OwnedRoomId,
    pub kind: String,
    pub state_key: Option<String>,
    pub sender: OwnedUserId,
    pub origin_server_ts: u64,
    pub depth: u64,
    pub pdu: Box<str>,
    pub replaces: Option<Replaced>,
    pub redacted_because: Option<Redacted>,
    pub transaction: Option<(OwnedDeviceId, OwnedTransactionId)>,
    pub ours: bool,
    pub unasked: bool,
    /// See [`StoredEvent::is_hidden`].
    pub hidden: bool,
    /// See [`StoredEvent::lacks_something`].
    pub lacks: bool,
}

impl From<Columns> for StoredEvent {
    fn from(c: Columns) -> Self {
        Self {
            position: c.position,
            timeline: c.timeline,
            event_id: c.event_id,
            room_id: c.room_id,
            kind: c.kind,
            state_key: c.state_key,
            sender: c.sender,
            origin_server_ts: c.origin_server_ts,
            depth: c.depth,
            pdu: c.pdu,
            replaces: c.replaces,
            redacted_because: c.redacted_because,
            transaction: c.transaction,
            ours: c.ours,
            unasked: c.unasked,
            hidden: c.hidden,
            lacks: c.lacks,
            client: OnceLock::new(),
            plain: OnceLock::new(),
        }
    }
}

impl StoredEvent {
    /// The event's content.
    pub fn content(&self) -> &RawValue {
        content_of(&self.pdu).unwrap_or(RawValue::NULL)
    }

    /// The content as a type of the caller; `None` when it does not have that shape.
    pub fn content_as<'a, T: Deserialize<'a>>(&'a self) -> Option<T> {
        serde_json::from_str(self.content().get()).ok()
    }

    /// Whether it is the state event of this type and key.
    pub fn is_state(&self, kind: &str, state_key: &str) -> bool {
        self.kind == kind && self.state_key.as_deref() == Some(state_key)
    }

    /// The event that it relates to, and how; `None` also for what says no `rel_type`, as a reply does.
    pub fn relation(&self) -> Option<(OwnedEventId, String)> {
        #[derive(Deserialize)]
        struct Relation {
            event_id: OwnedEventId,
            rel_type: String,
        }
        #[derive(Deserialize)]
        struct Content {
            #[serde(rename = "m.relates_to")]
            relation: Relation,
        }
        if !self.pdu.contains("m.relates_to") {
            return None;
        }
        let Content { relation } = self.content_as()?;
        Some((relation.event_id, relation.rel_type))
    }

    /// Of a plain message, which is no notice and no edit and says of nobody that it mentions them: its words, in
    /// lower case; none where it says that it mentions nobody. Of anything else `None`.
    pub fn plain_words(&self) -> Option<&str> {
        self.plain.get_or_init(|| self.find_plain_words()).as_deref()
    }

    fn find_plain_words(&self) -> Option<Box<str>> {
        #[derive(Deserialize)]
        struct Message<'a> {
            #[serde(borrow)]
            msgtype: Option<&'a RawValue>,
            body: Option<Value>,
            #[serde(borrow, rename = "m.mentions")]
            mentions: Option<&'a RawValue>,
        }
        if self.state_key.is_some() || self.kind != "m.room.message" || self.pdu.contains("m.replace") {
            return None;
        }
        let Message { msgtype, body, mentions } = self.content_as()?;
        let is_notice = msgtype.is_some_and(|kind| kind.get().eq_ignore_ascii_case("\"m.notice\""));
        match mentions.map(RawValue::get) {
            _ if is_notice => None,
            Some("{}") => Some(Box::default()),
            Some(_) => None,
            None => Some(body.as_ref().and_then(Value::as_str).unwrap_or_default().to_lowercase().into()),
        }
    }

    /// For a member event: whose, and what they are by it; `None` also for an invite that this server was not asked for.
    pub fn membership(&self) -> Option<(&str, Membership)> {
        if self.kind != "m.room.member" || self.unasked {
            return None;
        }
        Some((self.state_key.as_deref()?, membership_of(self.content())?))
    }

    /// Whether it is a redaction of which it is not known that its sender may empty what it names: clients are not shown it, as
    /// they would empty that. Room version 3, "Handling redactions".
    pub fn is_hidden(&self) -> bool {
        self.hidden
    }

    /// Whether it followed something, when it was read, that is not here: there is a gap in the timeline before it.
    pub fn lacks_something(&self) -> bool {
        self.lacks
    }

    /// Whether it invites a user of this server, and this server was not asked: nobody is anything by it.
    pub fn is_unasked(&self) -> bool {
        self.unasked
    }

    /// For a member event: what they were before it, if anything.
    pub fn membership_before(&self) -> Option<Membership> {
        membership_of(&self.replaces.as_ref()?.content)
    }

    /// Whether it came late: it is new in the log and old in the timeline of its room (M4).
    pub fn comes_late(&self) -> bool {
        self.timeline != TimelinePosition::live(self.position)
    }

    /// About how many bytes it takes in memory.
    pub(in crate::server) fn weight(&self) -> usize {
        2 * self.pdu.len() + self.replaces.as_ref().map_or(0, |r| r.content.get().len()) + 512
    }

    /// The part of the client format that is the same for every reader, encoded once:
    /// `{"content":…,…,"type":…` without `room_id`, `unsigned` and the closing brace.
    pub(super) fn client_prefix(&self) -> &str {
        self.client.get_or_init(|| prefix::prefix(&self.event_id, &self.pdu).into())
    }
}

/// The membership that the content of a member event says.
fn membership_of(content: &RawValue) -> Option<Membership> {
    #[derive(Deserialize)]
    struct Content<'a> {
        #[serde(borrow)]
        membership: std::borrow::Cow<'a, str>,
    }
    Membership::parse(&serde_json::from_str::<Content<'_>>(content.get()).ok()?.membership)
}

/// The `content` of a PDU.
pub(in crate::server) fn content_of(pdu: &str) -> Option<&RawValue> {
    #[derive(Deserialize)]
    struct Content<'a> {
        #[serde(borrow)]
        content: &'a RawValue,
    }
    serde_json::from_str::<Content<'_>>(pdu).ok().map(|pdu| pdu.content)
}
