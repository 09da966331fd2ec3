//! The events that the server makes are events that any Matrix server accepts.

use std::collections::BTreeMap;

use pilotlight::server::{change::position::TimelinePosition, store::Order};
use ruma::{
    CanonicalJsonObject, OwnedRoomId, RoomVersionId,
    serde::Base64,
    signatures::{PublicKeyMap, Verified, reference_hash, verify_event},
    state_res::check_pdu_format,
};
use serde_json::json;

use crate::support::{TestServer, runtime};

/// Every PDU of a room: format, signature, content hash, reference hash, and the graph they form.
fn verify_room(server: &TestServer, room: &str, version: &RoomVersionId) {
    let app = server.app();
    let rules = version.rules().expect("is known");
    let key = Base64::new(app.rooms.signer.public_key().into_inner().to_vec());
    let keys: PublicKeyMap =
        BTreeMap::from([("localhost".to_owned(), BTreeMap::from([(app.rooms.signer.key_id(), key)]))]);
    let room = OwnedRoomId::try_from(room).expect("is a room ID");
    let events = runtime()
        .block_on(app.store.room_events(
            &room,
            TimelinePosition::START,
            TimelinePosition::END,
            Order::OldestFirst,
            1000,
        ))
        .expect("reads");
    assert!(events.len() > 8, "{}", events.len());
    let mut before: Option<(String, u64)> = None;
    for event in events {
        let pdu: CanonicalJsonObject = serde_json::from_str(&event.pdu).expect("is canonical JSON");
        assert_eq!(serde_json::to_string(&pdu).expect("is JSON"), *event.pdu);
        check_pdu_format(&pdu, &rules.event_format).expect("has the format");
        let verified = verify_event(&keys, &pdu, &rules).expect("is signed");
        let redacted = event.redacted_because.is_some();
        assert_eq!(verified, if redacted { Verified::Signatures } else { Verified::All }, "{}", event.pdu);
        assert_eq!(event.event_id, format!("${}", reference_hash(&pdu, &rules).expect("hashes")));
        let fields: serde_json::Value = serde_json::from_str(&event.pdu).expect("is JSON");
        match &before {
            None => {
                assert_eq!(event.kind, "m.room.create");
                assert_eq!(fields["prev_events"], json!([]));
                assert_eq!(event.depth, 1);
                let is_v12 = *version == RoomVersionId::V12;
                assert_eq!(fields.get("room_id").is_none(), is_v12);
                assert_eq!(event.event_id.as_str()[1..] == room.as_str()[1..], is_v12);
            }
            Some((event_id, depth)) => {
                assert_eq!(fields["prev_events"], json!([event_id]));
                assert_eq!(event.depth, depth + 1);
            }
        }
        before = Some((event.event_id.to_string(), event.depth));
    }
}

#[test]
fn every_event_verifies_in_each_room_version() {
    let server = TestServer::start();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    for version in [RoomVersionId::V10, RoomVersionId::V11, RoomVersionId::V12] {
        let created = alice
            .post(
                "/_matrix/client/v3/createRoom",
                json!({ "room_version": version, "preset": "trusted_private_chat", "name": "Ärger & Co",
                        "topic": "all", "invite": [bob.user], "room_alias_name": format!("v{version}") }),
            )
            .ok();
        let room = created["room_id"].as_str().expect("is text");
        bob.post(&format!("/_matrix/client/v3/join/{room}"), json!({})).ok();
        let send = format!("/_matrix/client/v3/rooms/{room}/send/m.room.message");
        let sent = bob.put(&format!("{send}/1"), json!({ "body": "hi", "msgtype": "m.text" })).ok();
        let target = sent["event_id"].as_str().expect("is text");
        bob.put(&format!("/_matrix/client/v3/rooms/{room}/redact/{target}/2"), json!({ "reason": "x" })).ok();
        alice.put(&format!("{send}/3"), json!({ "body": "more" })).ok();
        verify_room(&server, room, &version);
    }
}
