//! `/sync` of a client that asks for less: what its filter says is what comes.

use serde_json::{Value, json};

use super::{
    support::{Client, TestServer},
    sync::{Reader, bodies, joined, room_of, send},
};

#[test]
fn a_stored_filter_is_heard_and_members_are_lazy_when_asked_for() {
    let server = TestServer::start();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let carol = server.register("carol");
    let room = room_of(&alice, &[&bob, &carol]);
    for n in 0..5 {
        send(&alice, &room, &n.to_string(), &format!("m{n}"));
    }
    let filter = json!({
        "room": { "timeline": { "limit": 2 }, "state": { "lazy_load_members": true }, "ephemeral": { "types": [] } },
    });
    let answer = bob.post(&format!("/_matrix/client/v3/user/{}/filter", bob.user), filter).ok();
    let with = format!("&filter={}", answer["filter_id"].as_str().expect("filter_id"));
    let mut reader = Reader { client: bob.clone(), since: String::new(), with };
    let first = reader.now();
    assert_eq!(bodies(&first, &room), ["m3", "m4"]);
    let members: Vec<_> = joined(&first, &room)["state"]["events"]
        .as_array()
        .expect("events")
        .iter()
        .filter(|e| e["type"] == "m.room.member")
        .map(|e| e["state_key"].clone())
        .collect();
    assert_eq!(members, [json!(alice.user), json!(bob.user)], "who speaks, and oneself; not carol");
    let mut told = |who: &Client, transaction: &str| {
        send(who, &room, transaction, "again");
        joined(&reader.now(), &room)["state"]["events"].as_array().map(Vec::len)
    };
    assert_eq!(told(&alice, "a"), Some(0), "alice is known");
    assert_eq!(told(&carol, "c"), Some(1), "carol is not, yet");
    assert_eq!(told(&carol, "d"), Some(0));
    carol
        .put(&format!("/_matrix/client/v3/rooms/{room}/typing/{}", carol.user), json!({ "typing": true }))
        .ok();
    assert_eq!(reader.now()["rooms"], Value::Null, "who types is not wanted, and there is nothing else");
}

#[test]
fn events_have_the_fields_that_the_filter_names() {
    let server = TestServer::start();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let room = room_of(&alice, &[&bob]);
    let filter = |filter: &Value| {
        let path = format!("/_matrix/client/v3/user/{}/filter", bob.user);
        bob.post(&path, filter.clone())
    };
    let fields =
        json!(["type", "content.body", "content.m\\.mentions.user_ids", "signatures.localhost", "no.such"]);
    let follow = |format: &str| {
        let id = filter(&json!({ "event_fields": fields, "event_format": format })).ok()["filter_id"].clone();
        Reader::with(&bob, &format!("&filter={}", id.as_str().expect("an ID")))
    };
    let mut readers = ["client", "federation"].map(follow);
    let content =
        json!({ "msgtype": "m.text", "body": "hi", "m.mentions": { "user_ids": [], "room": true } });
    alice.put(&format!("/_matrix/client/v3/rooms/{room}/send/m.room.message/1"), content).ok();
    alice.put(&format!("/_matrix/client/v3/rooms/{room}/state/m.room.topic/"), json!({ "topic": "t" })).ok();
    let shown = json!([
        { "type": "m.room.message", "content": { "body": "hi", "m.mentions": { "user_ids": [] } } },
        { "type": "m.room.topic" },
    ]);
    let told = readers[0].now();
    assert_eq!(joined(&told, &room)["timeline"]["events"], shown);
    // The fields are those of the form that was asked for.
    let mut told = readers[1].now();
    let events = told["rooms"]["join"][&room]["timeline"]["events"].as_array_mut().expect("a list");
    for event in &mut *events {
        let signatures = event.as_object_mut().and_then(|event| event.remove("signatures"));
        assert!(signatures.is_some_and(|signatures| signatures["localhost"].is_object()));
    }
    assert_eq!(json!(events), shown);
    let first = Reader { since: String::new(), ..readers.into_iter().next().expect("the first") }.now();
    let state = joined(&first, &room)["state"]["events"].as_array().expect("a list").iter();
    let timeline = joined(&first, &room)["timeline"]["events"].as_array().expect("a list").iter();
    for event in state.chain(timeline) {
        let keys: Vec<_> = event.as_object().expect("an object").keys().collect();
        assert!(keys.iter().all(|key| ["type", "content"].contains(&key.as_str())), "{event}");
    }
    let many = vec!["x"; 101];
    for bad in [json!("type"), json!([1]), json!({}), json!(many), json!(["x".repeat(256)])] {
        let bad = json!({ "event_fields": bad });
        filter(&bad).refused(400, "M_BAD_JSON");
        let inline: String = bad.to_string().bytes().map(|byte| format!("%{byte:02X}")).collect();
        bob.get(&format!("/_matrix/client/v3/sync?filter={inline}")).refused(400, "M_INVALID_PARAM");
    }
}
