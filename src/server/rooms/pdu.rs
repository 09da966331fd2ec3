//! A PDU as the authorisation rules look at it.

use std::sync::Arc;

use ruma::{
    EventId, MilliSecondsSinceUnixEpoch, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, UserId,
    events::TimelineEventType, state_res,
};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::refusal::Refusal;
use crate::server::{
    event::{
        client::stripped,
        stored::{Membership, StoredEvent},
    },
    store::{EventStanding, GraphEvent},
};

/// A state event's type and key.
pub(super) type StateKey = (String, String);

/// A PDU with its ID, parsed as far as the authorisation rules need it.
#[derive(Clone, Debug)]
pub(super) struct Pdu {
    event_id: OwnedEventId,
    /// It was emptied.
    redacted: bool,
    /// It was not allowed.
    rejected: bool,
    fields: Fields,
}

#[derive(Clone, Debug, Deserialize)]
struct Fields {
    room_id: Option<OwnedRoomId>,
    sender: OwnedUserId,
    origin_server_ts: MilliSecondsSinceUnixEpoch,
    #[serde(rename = "type")]
    kind: TimelineEventType,
    content: Box<RawValue>,
    state_key: Option<String>,
    prev_events: Vec<OwnedEventId>,
    auth_events: Vec<OwnedEventId>,
    #[serde(default, deserialize_with = "an_event_id_or_nothing")]
    redacts: Option<OwnedEventId>,
}

/// An event ID; what is none is nothing. No rule of the versions that are here looks at it, and from version 11 on it is as good as
/// any other key that somebody puts into an event.
fn an_event_id_or_nothing<'de, D: Deserializer<'de>>(from: D) -> Result<Option<OwnedEventId>, D::Error> {
    let said = Box::<RawValue>::deserialize(from)?;
    Ok(serde_json::from_str(said.get()).ok())
}

impl Pdu {
    /// Parses canonical JSON whose reference hash is known.
    pub(super) fn parse(event_id: OwnedEventId, json: &str) -> Result<Self, Refusal> {
        let fields = serde_json::from_str(json).map_err(|e| Refusal::BadJson(e.to_string().into()))?;
        Ok(Self { event_id, redacted: false, rejected: false, fields })
    }

    /// Parses the redacted form of an event.
    pub(super) fn redacted(event_id: OwnedEventId, json: &str) -> Result<Self, Refusal> {
        Ok(Self { redacted: true, ..Self::parse(event_id, json)? })
    }

    /// The PDU of an event of the log.
    pub(super) fn of(event: &StoredEvent) -> Result<Arc<Self>, Refusal> {
        let pdu = Self::parse(event.event_id.clone(), &event.pdu)?;
        Ok(Arc::new(Self { redacted: event.redacted_because.is_some(), ..pdu }))
    }

    /// The PDU of an event in any standing.
    pub(super) fn of_graph(event: &GraphEvent) -> Result<Arc<Self>, Refusal> {
        let pdu = Self::parse(event.event_id.clone(), &event.pdu)?;
        let rejected = event.standing == EventStanding::Rejected;
        Ok(Arc::new(Self { redacted: event.redacted, rejected, ..pdu }))
    }

    /// The same as one that was not allowed.
    pub(super) fn as_rejected(&self) -> Arc<Self> {
        Arc::new(Self { rejected: true, ..self.clone() })
    }

    /// Its ID.
    pub(super) fn id(&self) -> &EventId {
        &self.event_id
    }

    /// Who sent it.
    pub(super) fn sent_by(&self) -> &UserId {
        &self.fields.sender
    }

    /// Whether it was emptied.
    pub(super) fn is_redacted(&self) -> bool {
        self.redacted
    }

    /// Its type and state key, if it is a state event.
    pub(super) fn state_key_pair(&self) -> Option<StateKey> {
        Some((self.fields.kind.to_string(), self.fields.state_key.clone()?))
    }

    /// Its content, as JSON.
    pub(super) fn raw(&self) -> &RawValue {
        &self.fields.content
    }

    /// The same as text.
    pub(super) fn json(&self) -> &str {
        self.raw().get()
    }

    /// Its content as a type of the caller; `None` when it does not have that shape.
    pub(super) fn content_as<'a, T: Deserialize<'a>>(&'a self) -> Option<T> {
        serde_json::from_str(self.json()).ok()
    }

    /// For a member event: what its user is by it.
    pub(super) fn membership(&self) -> Option<Membership> {
        #[derive(Deserialize)]
        struct Content<'a> {
            #[serde(borrow)]
            membership: std::borrow::Cow<'a, str>,
        }
        Membership::parse(&self.content_as::<Content<'_>>()?.membership)
    }

    /// As it shows among the stripped state of an invite.
    pub(super) fn stripped(&self) -> Box<RawValue> {
        let key = self.fields.state_key.as_deref().unwrap_or_default();
        let sent_ms = self.fields.origin_server_ts.get().into();
        stripped(
            &self.fields.content,
            self.fields.sender.as_str(),
            key,
            (&self.fields.kind.to_string(), sent_ms),
        )
    }
}

impl state_res::Event for Pdu {
    type Id = OwnedEventId;

    fn event_id(&self) -> &OwnedEventId {
        &self.event_id
    }

    fn room_id(&self) -> Option<&RoomId> {
        self.fields.room_id.as_deref()
    }

    fn sender(&self) -> &UserId {
        &self.fields.sender
    }

    fn origin_server_ts(&self) -> MilliSecondsSinceUnixEpoch {
        self.fields.origin_server_ts
    }

    fn event_type(&self) -> &TimelineEventType {
        &self.fields.kind
    }

    fn content(&self) -> &RawValue {
        &self.fields.content
    }

    fn state_key(&self) -> Option<&str> {
        self.fields.state_key.as_deref()
    }

    fn prev_events(&self) -> Box<dyn DoubleEndedIterator<Item = &OwnedEventId> + '_> {
        Box::new(self.fields.prev_events.iter())
    }

    fn auth_events(&self) -> Box<dyn DoubleEndedIterator<Item = &OwnedEventId> + '_> {
        Box::new(self.fields.auth_events.iter())
    }

    fn redacts(&self) -> Option<&OwnedEventId> {
        self.fields.redacts.as_ref()
    }

    /// Whether it was not allowed: what rests upon it is not either.
    fn rejected(&self) -> bool {
        self.rejected
    }
}
