//! A PDU as the authorisation rules look at it.

use std::sync::Arc;

use ruma::{
    MilliSecondsSinceUnixEpoch, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, UserId,
    events::TimelineEventType, state_res,
};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::refusal::Refusal;
use crate::server::event::stored::StoredEvent;

/// A PDU with its ID, parsed as far as the authorisation rules need it.
#[derive(Debug)]
pub(super) struct Pdu {
    event_id: OwnedEventId,
    fields: Fields,
}

#[derive(Debug, Deserialize)]
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
    redacts: Option<OwnedEventId>,
}

impl Pdu {
    /// Parses canonical JSON whose reference hash is known.
    pub(super) fn parse(event_id: OwnedEventId, json: &str) -> Result<Self, Refusal> {
        let fields = serde_json::from_str(json).map_err(|e| Refusal::BadJson(e.to_string().into()))?;
        Ok(Self { event_id, fields })
    }

    /// The PDU of an event of the log.
    pub(super) fn of(event: &StoredEvent) -> Result<Arc<Self>, Refusal> {
        Self::parse(event.event_id.clone(), &event.pdu).map(Arc::new)
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

    /// Only accepted events are parsed: a rejected one never becomes state or an auth event here.
    fn rejected(&self) -> bool {
        false
    }
}
