//! Events as clients see them: "client event format", with `unsigned` made for the reader.
//!
//! Everything that is the same for all readers is encoded once per event and kept with it.

use ruma::EventId;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::{
    prefix::shown,
    stored::{Membership, StoredEvent},
};
use crate::server::{json::append_string, session::Session};

/// Which keys the place where the event stands makes superfluous.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ClientFormat {
    /// With `room_id`: in answers that can hold events of several rooms, or one event alone.
    Full,
    /// Without `room_id`: inside a room of `/sync`.
    InRoom,
    /// The whole event as it goes between servers, with its ID and what is made for the reader.
    Federation,
}

/// What is told with an event that is not the event's own.
#[derive(Clone, Copy, Debug, Default)]
pub struct Beside<'a> {
    /// What the viewer was at the time of the event, when the caller knows.
    pub membership: Option<Membership>,
    /// What is gathered of the events that relate to it.
    pub relations: Option<&'a RawValue>,
    /// Of one that came late: the event that it comes after in the timeline; `Some(None)`: it comes before all.
    pub after: Option<Option<&'a EventId>>,
    /// Of an invite or a knock: the stripped state of the room, a JSON list.
    pub room_state: Option<(Membership, &'a RawValue)>,
}

#[derive(Serialize)]
struct Unsigned<'a> {
    age: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    membership: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prev_content: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prev_sender: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replaces_state: Option<&'a EventId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    redacted_because: Option<&'a RawValue>,
    #[serde(rename = "org.pilotlight.edits", skip_serializing_if = "Option::is_none")]
    edited: Option<&'a EventId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transaction_id: Option<&'a str>,
    #[serde(rename = "m.relations", skip_serializing_if = "Option::is_none")]
    relations: Option<&'a RawValue>,
    #[serde(rename = "org.pilotlight.after", skip_serializing_if = "Option::is_none")]
    after: Option<Option<&'a EventId>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    invite_room_state: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    knock_room_state: Option<&'a RawValue>,
}

/// The event for `viewer` at `now_ms` (Unix time), see [`append_client_event`].
pub fn client_event(
    event: &StoredEvent,
    viewer: &Session,
    now_ms: u64,
    format: ClientFormat,
    membership: Option<Membership>,
    relations: Option<&RawValue>,
) -> Box<RawValue> {
    let mut json = Vec::with_capacity(event.client_prefix().len() + 192);
    append_client_event(&mut json, event, viewer, now_ms, format, membership, relations);
    let json = String::from_utf8(json).expect("is put together from strings");
    RawValue::from_string(json).expect("is made of whole JSON values")
}

/// Appends the event for `viewer` at `now_ms` (Unix time).
///
/// `transaction_id` only goes to the device that sent the event. `membership` is what the viewer was
/// at the time of the event, when the caller knows; `relations` what is gathered of the events that relate to it.
pub fn append_client_event(
    out: &mut Vec<u8>,
    event: &StoredEvent,
    viewer: &Session,
    now_ms: u64,
    format: ClientFormat,
    membership: Option<Membership>,
    relations: Option<&RawValue>,
) {
    append_with(out, event, (viewer, now_ms), format, Beside { membership, relations, ..Beside::default() });
}

/// The same with whatever is told beside it.
pub fn append_with(
    out: &mut Vec<u8>,
    event: &StoredEvent,
    (viewer, now_ms): (&Session, u64),
    format: ClientFormat,
    beside: Beside<'_>,
) {
    let Beside { membership, relations, after, room_state } = beside;
    let room_state_of = |of| room_state.filter(|(membership, _)| *membership == of).map(|(_, state)| state);
    let transaction_id = event
        .transaction
        .as_ref()
        .filter(|(device, _)| event.sender == viewer.user && *device == viewer.device)
        .map(|(_, transaction)| transaction.as_str());
    let replaced = event.replaces.as_ref();
    let redacted = event.redacted_because.as_ref();
    let unsigned = Unsigned {
        age: now_ms.saturating_sub(event.origin_server_ts),
        membership: membership.map(Membership::as_str),
        prev_content: replaced.map(|r| shown(&r.content)),
        prev_sender: replaced.map(|r| r.sender.as_str()),
        replaces_state: replaced.map(|r| &*r.event_id),
        redacted_because: redacted.map(|redacted| &*redacted.because),
        edited: redacted.and_then(|redacted| redacted.edited.as_deref()),
        transaction_id,
        relations,
        after,
        invite_room_state: room_state_of(Membership::Invite),
        knock_room_state: room_state_of(Membership::Knock),
    };
    match format {
        ClientFormat::Full => {
            out.extend_from_slice(event.client_prefix().as_bytes());
            out.extend_from_slice(br#","room_id":"#);
            append_string(out, event.room_id.as_str());
        }
        ClientFormat::InRoom => out.extend_from_slice(event.client_prefix().as_bytes()),
        ClientFormat::Federation => {
            let open = event.pdu.strip_suffix('}').expect("a stored PDU is an object in canonical JSON");
            out.extend_from_slice(open.as_bytes());
            out.extend_from_slice(br#","event_id":"#);
            append_string(out, event.event_id.as_str());
        }
    }
    out.extend_from_slice(br#","unsigned":"#);
    serde_json::to_writer(&mut *out, &unsigned).expect("strings, numbers and JSON can be written as JSON");
    out.push(b'}');
}

/// The event as it shows among the stripped state of an invite.
pub fn stripped_event(event: &StoredEvent) -> Box<RawValue> {
    let key = event.state_key.as_deref().unwrap_or_default();
    stripped(event.content(), event.sender.as_str(), key, (&event.kind, event.origin_server_ts))
}

/// A state event as it shows among the stripped state of an invite: no ID, and a time only of the room's first event, so
/// that clients know how old the room is (MSC4311).
pub fn stripped(
    content: &RawValue,
    sender: &str,
    state_key: &str,
    (kind, origin_server_ts): (&str, u64),
) -> Box<RawValue> {
    #[derive(Serialize)]
    struct Stripped<'a> {
        content: &'a RawValue,
        #[serde(skip_serializing_if = "Option::is_none")]
        origin_server_ts: Option<u64>,
        sender: &'a str,
        state_key: &'a str,
        #[serde(rename = "type")]
        kind: &'a str,
    }
    let origin_server_ts = (kind == "m.room.create").then_some(origin_server_ts);
    to_raw_value(&Stripped { content: shown(content), origin_server_ts, sender, state_key, kind })
        .expect("strings and JSON can be written as JSON")
}

#[cfg(test)]
mod tests {
    use ruma::{OwnedDeviceId, event_id, room_id, user_id};
    use serde_json::{Value, json};

    use super::*;
    use crate::server::change::position::{LogPosition, TimelinePosition};
    use crate::server::event::stored::{Columns, Redacted, Replaced};

    fn stored(pdu: &Value, change: impl FnOnce(&mut Columns)) -> StoredEvent {
        let mut columns = Columns {
            position: LogPosition::new(7),
            timeline: TimelinePosition::live(LogPosition::new(7)),
            event_id: event_id!("$e").to_owned(),
            room_id: room_id!("!r:x").to_owned(),
            kind: pdu["type"].as_str().expect("text").to_owned(),
            state_key: pdu["state_key"].as_str().map(str::to_owned),
            sender: user_id!("@a:x").to_owned(),
            origin_server_ts: 1000,
            depth: 3,
            pdu: pdu.to_string().into(),
            replaces: None,
            redacted_because: None,
            transaction: None,
            ours: false,
            unasked: false,
            hidden: false,
            lacks: false,
        };
        change(&mut columns);
        columns.into()
    }

    fn pdu(kind: &str) -> Value {
        json!({ "type": kind, "sender": "@a:x", "origin_server_ts": 1000, "content": { "k": [1] }, "depth": 3,
                "hashes": {}, "signatures": {}, "auth_events": [], "prev_events": [], "room_id": "!r:x" })
    }

    fn session(user: &str, device: &str) -> Session {
        Session { user: user.try_into().expect("an ID"), device: device.into() }
    }

    fn seen(event: &StoredEvent, by: &Session, format: ClientFormat) -> Value {
        let json = client_event(event, by, 1500, format, Some(Membership::Join), None);
        serde_json::from_str(json.get()).expect("is JSON")
    }

    #[test]
    fn the_client_format_has_what_the_specification_lists_and_nothing_of_the_pdu() {
        let event = stored(&pdu("m.room.message"), |_| {});
        let expected = json!({
            "type": "m.room.message", "sender": "@a:x", "origin_server_ts": 1000, "content": { "k": [1] },
            "event_id": "$e", "room_id": "!r:x", "unsigned": { "age": 500, "membership": "join" },
        });
        let viewer = session("@b:x", "D");
        assert_eq!(seen(&event, &viewer, ClientFormat::Full), expected);
        let inside = seen(&event, &viewer, ClientFormat::InRoom);
        assert!(inside.get("room_id").is_none());
        assert_eq!(inside["event_id"], "$e");
    }

    #[test]
    fn the_federation_format_is_the_whole_pdu_with_what_is_made_for_the_reader() {
        let pdu = pdu("m.room.message");
        let mut expected = pdu.clone();
        expected["event_id"] = "$e".into();
        expected["unsigned"] = json!({ "age": 500, "membership": "join" });
        let event = stored(&pdu, |_| {});
        assert_eq!(seen(&event, &session("@b:x", "D"), ClientFormat::Federation), expected);
    }

    #[test]
    fn the_transaction_id_goes_to_the_sending_device_of_the_sender_only() {
        let device = OwnedDeviceId::from("D1");
        let event = stored(&pdu("m.room.message"), |c| c.transaction = Some((device, "42".into())));
        let rows = [("@a:x", "D1", Some("42")), ("@a:x", "D2", None), ("@b:x", "D1", None)];
        for (user, device, expected) in rows {
            let seen = seen(&event, &session(user, device), ClientFormat::InRoom);
            assert_eq!(seen["unsigned"]["transaction_id"].as_str(), expected, "{user} {device}");
        }
    }

    #[test]
    fn what_was_emptied_says_why_and_what_it_was_an_edit_of() {
        for edited in [None, Some(event_id!("$o").to_owned())] {
            let because = to_raw_value(&json!({ "type": "m.room.redaction" })).expect("is JSON");
            let event = stored(&pdu("m.room.message"), |c| {
                c.redacted_because = Some(Redacted { because, edited: edited.clone() });
            });
            let unsigned = &seen(&event, &session("@b:x", "D"), ClientFormat::InRoom)["unsigned"];
            assert_eq!(unsigned["redacted_because"], json!({ "type": "m.room.redaction" }));
            assert_eq!(unsigned.get("org.pilotlight.edits"), edited.map(|id| json!(id)).as_ref());
        }
    }

    #[test]
    fn state_says_what_it_replaced() {
        let mut pdu = pdu("m.room.name");
        pdu["state_key"] = "".into();
        let event = stored(&pdu, |c| {
            c.replaces = Some(Replaced {
                event_id: event_id!("$before").to_owned(),
                sender: user_id!("@b:x").to_owned(),
                content: to_raw_value(&json!({ "name": "old" })).expect("is JSON"),
            });
        });
        let seen = seen(&event, &session("@c:x", "D"), ClientFormat::InRoom);
        assert_eq!(seen["state_key"], "");
        let expected = json!({ "age": 500, "membership": "join", "prev_content": { "name": "old" },
            "prev_sender": "@b:x", "replaces_state": "$before" });
        assert_eq!(seen["unsigned"], expected);
    }

    #[test]
    fn redactions_name_their_target_where_old_and_new_clients_look() {
        let mut old = pdu("m.room.redaction");
        old["redacts"] = "$target".into();
        let mut new = pdu("m.room.redaction");
        new["content"]["redacts"] = "$target".into();
        for pdu in [old, new] {
            let seen = seen(&stored(&pdu, |_| {}), &session("@c:x", "D"), ClientFormat::InRoom);
            assert_eq!(
                (&seen["redacts"], &seen["content"]["redacts"]),
                (&json!("$target"), &json!("$target"))
            );
        }
    }
}
