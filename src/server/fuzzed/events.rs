//! Events: what clients send becomes a PDU, what other servers send has a name, and both are shown.

use ruma::{CanonicalJsonObject, CanonicalJsonValue, EventId, RoomId, event_id, room_id, user_id};
use serde_json::Value;

use crate::server::{
    api::federation::transaction::event_id as id_of,
    change::position::{LogPosition, TimelinePosition},
    event::{
        client::{ClientFormat, client_event, stripped_event},
        stored::{Columns, StoredEvent},
    },
    rooms::{VERSIONS, parse_content, receive::check::read},
    session::Session,
};

/// The type in the first line, then JSON: a client's content, and another server's PDU.
pub(super) fn event(data: &[u8]) {
    let Some((kind, json)) = str::from_utf8(data).ok().and_then(|text| text.split_once('\n')) else { return };
    if let Ok(content) = parse_content(json) {
        let written = canonical(&content);
        assert_eq!(parse_content(&written).expect("is canonical JSON"), content);
        shown(kind, &content);
    }
    if let Some(id) = id_of(json) {
        named(json, &id);
    }
    received(json);
}

/// What was taken for an event of a room reads the same when it is read again.
fn received(json: &str) {
    let object = serde_json::from_str::<Value>(json).ok();
    let named = object.as_ref().and_then(|object| object.get("room_id")?.as_str());
    let Some(room) = named.and_then(|id| RoomId::parse(id).ok()) else { return };
    for version in VERSIONS {
        let rules = version.rules().expect("is known");
        if let Ok(event) = read(&rules, &room, json) {
            let again = read(&rules, &room, event.json()).expect("was taken before");
            assert_eq!((again.event_id(), again.json()), (event.event_id(), event.json()));
            assert!(event.needs(&rules).len() <= 2, "the sender's server, and who let them in");
        }
    }
}

fn canonical(object: &CanonicalJsonObject) -> String {
    serde_json::to_string(object).expect("canonical JSON can be written")
}

/// What clients are shown is JSON, and has the content that was sent.
fn shown(kind: &str, content: &CanonicalJsonObject) {
    let (sender, room) = (user_id!("@alice:a.example"), room_id!("!room:a.example"));
    let pdu = CanonicalJsonObject::from([
        ("content".to_owned(), CanonicalJsonValue::Object(content.clone())),
        ("origin_server_ts".to_owned(), CanonicalJsonValue::Integer(1.into())),
        ("sender".to_owned(), sender.as_str().into()),
        ("state_key".to_owned(), "".into()),
        ("type".to_owned(), kind.into()),
    ]);
    let event = StoredEvent::from(Columns {
        position: LogPosition::new(1),
        timeline: TimelinePosition::live(LogPosition::new(1)),
        event_id: event_id!("$event").to_owned(),
        room_id: room.to_owned(),
        kind: kind.to_owned(),
        state_key: Some(String::new()),
        sender: sender.to_owned(),
        origin_server_ts: 1,
        depth: 1,
        pdu: canonical(&pdu).into(),
        replaces: None,
        redacted_because: None,
        transaction: None,
        ours: false,
        unasked: false,
        hidden: false,
        lacks: false,
    });
    let viewer = Session { user: sender.to_owned(), device: "D".into() };
    for format in [ClientFormat::Full, ClientFormat::InRoom] {
        let json = client_event(
            &event,
            &viewer,
            2,
            format,
            event.membership().map(|(_, membership)| membership),
            None,
        );
        let json: Value = serde_json::from_str(json.get()).expect("is JSON");
        assert_eq!(json["content"], serde_json::to_value(content).expect("is JSON"));
        assert_eq!(json["type"], kind);
    }
    let stripped: Value = serde_json::from_str(stripped_event(&event).get()).expect("is JSON");
    assert_eq!(stripped["content"], serde_json::to_value(content).expect("is JSON"));
}

/// The ID of a PDU is one that an answer can name, and does not depend on what no hash covers.
fn named(json: &str, id: &str) {
    assert!(id.len() <= 255, "{} bytes", id.len());
    let mut pdu: CanonicalJsonObject = serde_json::from_str(json).expect("it was read before");
    assert_eq!(id_of(&canonical(&pdu)).as_deref(), Some(id), "another layout");
    for uncovered in ["unsigned", "signatures"] {
        pdu.insert(uncovered.to_owned(), CanonicalJsonValue::Object(CanonicalJsonObject::new()));
    }
    assert_eq!(id_of(&canonical(&pdu)).as_deref(), Some(id), "other signatures");
    assert!(pdu.contains_key("event_id") || EventId::parse(id).is_ok(), "{id}");
}
