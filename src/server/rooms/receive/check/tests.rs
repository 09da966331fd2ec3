use ruma::{
    RoomVersionId,
    serde::Base64,
    signatures::{Ed25519KeyPair, hash_and_sign_event},
};
use serde_json::{Value, json};

use super::*;
use crate::server::keys::EventKey;

/// A server that signs.
struct Server {
    name: &'static str,
    key: Ed25519KeyPair,
}

impl Server {
    fn new(name: &'static str) -> Self {
        let key = Ed25519KeyPair::from_der(&Ed25519KeyPair::generate(), "1".to_owned()).expect("a key");
        Self { name, key }
    }

    fn sign(&self, rules: &RoomVersionRules, event: &Value) -> Value {
        let mut object: CanonicalJsonObject = serde_json::from_value(event.clone()).expect("canonical");
        hash_and_sign_event(self.name, &self.key, &mut object, &rules.redaction).expect("can be signed");
        serde_json::to_value(object).expect("JSON")
    }

    fn keys(&self, until: u64) -> EventKeys {
        let public = Base64::new(self.key.public_key().to_vec());
        let name = OwnedServerName::try_from(self.name).expect("a name");
        let mut keys = EventKeys::default();
        keys.put(&name, "ed25519:1".to_owned(), EventKey { public, valid_until: UnixMillis(until) });
        keys
    }
}

fn room_of(version: &RoomVersionId) -> &'static RoomId {
    match version {
        RoomVersionId::V12 => ruma::room_id!("!31hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH3ogLM"),
        _ => ruma::room_id!("!r:a.example"),
    }
}

fn message(version: &RoomVersionId) -> Value {
    json!({ "type": "m.room.message", "room_id": room_of(version), "sender": "@a:a.example",
        "content": { "body": "hello", "msgtype": "m.text" }, "origin_server_ts": 1_000, "depth": 5,
        "prev_events": ["$prev"], "auth_events": ["$auth"] })
}

fn versions() -> impl Iterator<Item = (RoomVersionId, RoomVersionRules)> {
    (3..=12).map(|n| {
        let version = RoomVersionId::try_from(n.to_string()).expect("a version");
        let rules = version.rules().expect("a known version");
        (version, rules)
    })
}

fn checked(
    rules: &RoomVersionRules,
    room: &RoomId,
    event: &Value,
    keys: &EventKeys,
) -> Result<Checked, Flaw> {
    read(rules, room, &event.to_string())?.prove(rules, keys)
}

#[test]
fn an_event_is_taken_as_it_was_signed_without_what_others_said_beside_it() {
    let server = Server::new("a.example");
    for (version, rules) in versions() {
        let mut event = server.sign(&rules, &message(&version));
        let expected = event.clone();
        event["unsigned"] = json!({ "age": 5, "redacted_because": { "x": 1.5e3 } });
        event["unsigned"]["redacted_because"] = json!({});
        let taken = checked(&rules, room_of(&version), &event, &server.keys(5_000)).expect("is right");
        assert_eq!(serde_json::from_str::<Value>(taken.json()).expect("JSON"), expected, "{version}");
        assert_eq!(taken.depth, 5);
        let hash =
            reference_hash(&serde_json::from_value(expected).expect("canonical"), &rules).expect("hash");
        assert_eq!(taken.event_id().as_str(), format!("${hash}"), "{version}");
    }
}

#[test]
fn what_was_changed_after_it_was_signed_is_emptied_or_dropped() {
    let server = Server::new("a.example");
    for (version, rules) in versions() {
        let signed = server.sign(&rules, &message(&version));
        let room = room_of(&version);
        let mut said_otherwise = signed.clone();
        said_otherwise["content"]["body"] = "goodbye".into();
        let taken = checked(&rules, room, &said_otherwise, &server.keys(5_000)).expect("its form is signed");
        let json: Value = serde_json::from_str(taken.json()).expect("JSON");
        assert_eq!(json["content"], json!({}), "{version}");
        let original = checked(&rules, room, &signed, &server.keys(5_000)).expect("is right");
        assert_eq!(taken.event_id(), original.event_id(), "{version}");
        for (key, value) in
            [("sender", json!("@b:a.example")), ("depth", json!(6)), ("prev_events", json!([]))]
        {
            let mut forged = signed.clone();
            forged[key] = value;
            let result = checked(&rules, room, &forged, &server.keys(5_000));
            assert!(matches!(result, Err(Flaw::Signature(_))), "{version} {key}: {result:?}");
        }
    }
}

#[test]
fn only_the_keys_of_who_has_to_sign_prove_an_event() {
    let (server, other) = (Server::new("a.example"), Server::new("b.example"));
    for (version, rules) in versions() {
        let (room, event) = (room_of(&version), server.sign(&rules, &message(&version)));
        let unsigned = {
            let mut event = event.clone();
            event["signatures"] = json!({});
            event
        };
        let by_other = {
            let mut event = other.sign(&rules, &message(&version));
            event["signatures"]["a.example"] = event["signatures"]["b.example"].clone();
            event
        };
        // From version 5 on a key proves what was sent while it was valid.
        let too_late = server.keys(999);
        let rows: [(&str, &Value, EventKeys, bool); 6] = [
            ("with its key", &event, server.keys(1_000), true),
            ("with another one's key", &event, Server::new("a.example").keys(5_000), false),
            ("with no key", &event, EventKeys::default(), false),
            ("with a key of before", &event, too_late, !rules.enforce_key_validity),
            ("not signed", &unsigned, server.keys(5_000), false),
            ("signed by another", &by_other, server.keys(5_000), false),
        ];
        for (what, event, keys, is_taken) in rows {
            let result = checked(&rules, room, event, &keys);
            assert_eq!(result.is_ok(), is_taken, "{version} {what}: {result:?}");
        }
        let needs = read(&rules, room, &event.to_string()).expect("is readable").needs(&rules);
        let at = if rules.enforce_key_validity { 1_000 } else { 0 };
        let of_a = BTreeMap::from([("ed25519:1".to_owned(), UnixMillis(at))]);
        let a = OwnedServerName::try_from("a.example").expect("a name");
        assert_eq!(needs, BTreeMap::from([(a, of_a)]), "{version}");
    }
}

#[test]
fn who_let_somebody_in_has_to_sign_their_join_and_nothing_else() {
    let (own, inviting) = (Server::new("a.example"), Server::new("b.example"));
    for (version, rules) in versions() {
        let has_restricted = rules.authorization.restricted_join_rule;
        for (membership, needs_both) in [("join", has_restricted), ("leave", false)] {
            let mut event = message(&version);
            event["type"] = "m.room.member".into();
            event["state_key"] = "@a:a.example".into();
            event["content"] =
                json!({ "membership": membership, "join_authorised_via_users_server": "@b:b.example" });
            let mut keys = own.keys(5_000);
            let public = Base64::new(inviting.key.public_key().to_vec());
            let key = EventKey { public, valid_until: UnixMillis(5_000) };
            keys.put(ruma::server_name!("b.example"), "ed25519:1".to_owned(), key);
            let by_one = own.sign(&rules, &event);
            let by_both = inviting.sign(&rules, &by_one);
            let room = room_of(&version);
            let needed = read(&rules, room, &by_both.to_string()).expect("is readable").needs(&rules).len();
            assert_eq!(needed, 1 + usize::from(needs_both), "{version}");
            assert!(checked(&rules, room, &by_both, &keys).is_ok(), "{version}");
            assert_eq!(checked(&rules, room, &by_one, &keys).is_ok(), !needs_both, "{version} {membership}");
        }
    }
}

#[test]
fn what_has_not_the_form_of_an_event_is_dropped() {
    let many = |n: usize| (0..n).map(|n| json!(format!("$e{n}"))).collect::<Vec<_>>();
    let long = || "x".repeat(300);
    let rows: Vec<(&str, &str, Value)> = vec![
        ("no type", "type", Value::Null),
        ("a long type", "type", long().into()),
        ("no sender", "sender", Value::Null),
        ("a sender without a server", "sender", "@a".into()),
        ("a sender that is none", "sender", "a:a.example".into()),
        ("a long sender", "sender", format!("@{}:a.example", long()).into()),
        ("a long state key", "state_key", long().into()),
        ("a state key that is a number", "state_key", 1.into()),
        ("another room", "room_id", "!other:a.example".into()),
        ("no room", "room_id", Value::Null),
        ("a content that is a list", "content", json!([])),
        ("no content", "content", Value::Null),
        ("no time", "origin_server_ts", Value::Null),
        ("a time before all", "origin_server_ts", (-1).into()),
        ("a time that is text", "origin_server_ts", "1".into()),
        ("no depth", "depth", Value::Null),
        ("a depth below nothing", "depth", (-1).into()),
        ("a depth past what JSON can say", "depth", json!(1_u64 << 60)),
        ("a depth with a fraction", "depth", json!(1.5)),
        ("no earlier events", "prev_events", Value::Null),
        ("too many earlier events", "prev_events", many(21).into()),
        ("earlier events that are none", "prev_events", json!([1])),
        ("earlier events as in version 1", "prev_events", json!([["$a:b", { "sha256": "x" }]])),
        ("too many that allow it", "auth_events", many(11).into()),
        ("signatures that are text", "signatures", "x".into()),
        ("no hash", "hashes", Value::Null),
        ("too much in it", "content", json!({ "body": "x".repeat(66_000) })),
        ("far too much in it", "content", json!({ "body": "x".repeat(MAX_TEXT) })),
    ];
    let server = Server::new("a.example");
    for (version, rules) in versions() {
        let (room, signed) = (room_of(&version), server.sign(&rules, &message(&version)));
        for (what, key, value) in &rows {
            let mut event = signed.clone();
            match value {
                Value::Null => drop(event.as_object_mut().expect("an object").remove(*key)),
                value => event[*key] = value.clone(),
            }
            let result = checked(&rules, room, &event, &server.keys(5_000));
            assert!(
                matches!(result, Err(Flaw::Form(_) | Flaw::Json(_) | Flaw::TooLarge | Flaw::OtherRoom)),
                "{version} {what}: {result:?}"
            );
        }
        // What nobody signed is not signed by whom it should be.
        let mut unsigned = signed;
        unsigned.as_object_mut().expect("an object").remove("signatures");
        let result = checked(&rules, room, &unsigned, &server.keys(5_000));
        assert!(matches!(result, Err(Flaw::Signature(_))), "{version}: {result:?}");
    }
    let rules = RoomVersionId::V11.rules().expect("a known version");
    let deep = format!(r#"{{"content":{}{}}}"#, r#"{"a":"#.repeat(200), "}".repeat(200));
    for text in ["", "null", "[]", "1", "{", r#"{"type":"#, &deep] {
        assert!(read(&rules, room_of(&RoomVersionId::V11), text).is_err(), "{text}");
    }
}

#[test]
fn a_type_and_a_state_key_have_so_many_bytes_from_version_11_on_and_so_many_characters_before() {
    let server = Server::new("a.example");
    for (version, rules) in versions() {
        for key in ["type", "state_key"] {
            // Of two bytes each.
            let before = !rules.authorization.use_room_create_sender;
            for (characters, is_taken) in [(127, true), (128, before), (255, before), (256, false)] {
                let mut event = message(&version);
                event[key] = "é".repeat(characters).into();
                let event = server.sign(&rules, &event);
                let result = checked(&rules, room_of(&version), &event, &server.keys(5_000));
                assert_eq!(result.is_ok(), is_taken, "{version} {key} {characters}: {result:?}");
            }
        }
    }
}

#[test]
fn a_first_event_names_its_room_by_its_hash_from_version_12_on() {
    let server = Server::new("a.example");
    let create = json!({ "type": "m.room.create", "state_key": "", "sender": "@a:a.example",
        "content": { "room_version": "12" }, "origin_server_ts": 1, "depth": 1, "prev_events": [], "auth_events": [] });
    let rules = RoomVersionId::V12.rules().expect("a known version");
    let event = server.sign(&rules, &create);
    let hash =
        reference_hash(&serde_json::from_value(event.clone()).expect("canonical"), &rules).expect("a hash");
    let room = RoomId::parse(format!("!{hash}")).expect("an ID");
    assert!(checked(&rules, &room, &event, &server.keys(5)).is_ok());
    let other = room_of(&RoomVersionId::V12);
    assert_eq!(checked(&rules, other, &event, &server.keys(5)).expect_err("of another"), Flaw::OtherRoom);
    let mut named = create.clone();
    named["room_id"] = room.as_str().into();
    let named = server.sign(&rules, &named);
    assert!(checked(&rules, &room, &named, &server.keys(5)).is_err());
    let rules = RoomVersionId::V11.rules().expect("a known version");
    let nameless = server.sign(&rules, &create);
    assert!(checked(&rules, room_of(&RoomVersionId::V11), &nameless, &server.keys(5)).is_err());
}
