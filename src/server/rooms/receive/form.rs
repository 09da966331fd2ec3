//! A PDU that was checked, as the tables know it.

use ruma::{EventId, OwnedEventId, OwnedRoomId, room_version_rules::RoomVersionRules, state_res::Event};
use serde::Deserialize;

use super::check::Checked;
use crate::server::{event::stored::Membership, store::NewEvent};

/// What else stands in an event.
#[derive(Deserialize)]
struct Said {
    #[serde(rename = "type")]
    kind: String,
    redacts: Option<OwnedEventId>,
}

#[derive(Deserialize)]
struct Relation {
    event_id: String,
    rel_type: Option<String>,
}

#[derive(Deserialize)]
struct Relates {
    #[serde(rename = "m.relates_to")]
    relation: Option<Relation>,
}

#[derive(Deserialize)]
struct Redacts {
    redacts: OwnedEventId,
}

impl Checked {
    /// The row that it becomes. `invite_state`: what whoever is invited by it is shown of the room.
    pub(in crate::server::rooms) fn row(
        &self,
        room: &OwnedRoomId,
        on_behalf: bool,
        invite_state: Option<String>,
    ) -> NewEvent {
        let pdu = &*self.pdu;
        let kind = self.kind();
        let relates = pdu.content_as::<Relates>().and_then(|said| said.relation);
        let membership = self.membership().filter(|_| !self.unasked);
        let membership = membership.map(|membership| (membership, invite_state));
        NewEvent {
            room: room.clone(),
            event_id: pdu.id().to_owned(),
            kind,
            state_key: pdu.state_key().map(str::to_owned),
            sender: pdu.sent_by().to_owned(),
            origin_server_ts: pdu.origin_server_ts().get().into(),
            depth: self.depth,
            pdu: self.json.clone(),
            prev_events: pdu.prev_events().cloned().collect(),
            auth_events: pdu.auth_events().cloned().collect(),
            relates_to: relates.map(|relation| (relation.event_id, relation.rel_type)),
            transaction: None,
            membership,
            unasked: self.unasked,
            hidden: false,
            on_behalf,
        }
    }

    /// Its type, as it was written.
    pub(super) fn kind(&self) -> String {
        match serde_json::from_str::<Said>(&self.json) {
            Ok(said) => said.kind,
            Err(_) => self.pdu.event_type().to_string(),
        }
    }

    /// For an event about a member: what its user is by it.
    pub(super) fn membership(&self) -> Option<Membership> {
        let is_member = self
            .pdu
            .state_key_pair()
            .is_some_and(|(kind, key)| kind == "m.room.member" && ruma::UserId::parse(&*key).is_ok());
        self.pdu.membership().filter(|_| is_member)
    }

    /// The event that it redacts, if it is a redaction.
    pub(super) fn redacts(&self, rules: &RoomVersionRules) -> Option<OwnedEventId> {
        if self.pdu.state_key().is_some() || self.kind() != "m.room.redaction" {
            return None;
        }
        if rules.redaction.content_field_redacts {
            return Some(self.pdu.content_as::<Redacts>()?.redacts);
        }
        serde_json::from_str::<Said>(&self.json).ok()?.redacts
    }

    /// Whether it is the room's first event.
    pub(super) fn is_create(&self) -> bool {
        self.pdu.state_key() == Some("") && self.kind() == "m.room.create"
    }
}

/// The first event of a room that is named after it (version 12).
pub(super) fn named_create(rules: &RoomVersionRules, room: &OwnedRoomId) -> Option<OwnedEventId> {
    let named = rules.authorization.room_create_event_id_as_room_id;
    named.then(|| EventId::parse(format!("${}", room.strip_sigil())).ok()).flatten()
}
