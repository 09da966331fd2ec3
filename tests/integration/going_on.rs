//! What a reader has to be told who goes on in another form than they read before, or after a restart.

use serde_json::{Value, json};

use super::{
    event_stream::Follower,
    streamed::Held,
    support::{Client, TestServer},
    sync::{Reader, joined, room_of, same, send},
};

fn types(client: &Client, room: &str) {
    let path = format!("/_matrix/client/v3/rooms/{room}/typing/{}", client.user);
    client.put(&path, json!({ "typing": true, "timeout": 120_000 })).ok();
}

/// Who types, each time that it was told.
fn typing(events: &Value) -> Vec<Value> {
    let events = events.as_array().into_iter().flatten();
    events
        .filter(|event| event["type"] == "m.typing")
        .map(|event| event["content"]["user_ids"].clone())
        .collect()
}

#[test]
fn who_typed_when_the_server_ended_is_said_to_have_ceased_in_every_form_and_once() {
    let server = TestServer::driven();
    let [alice, bob] = ["alice", "bob"].map(|name| server.register(name));
    let (room, other) = (room_of(&alice, &[&bob]), room_of(&bob, &[&alice]));
    types(&alice, &room);
    let (bobs, followers, stays) = (Reader::new(&bob), Follower::new(&bob), Reader::new(&bob));
    let server = server.restart();
    let bob = same(&server, &bob);
    let mut bobs = Reader { client: bob.clone(), ..bobs };
    let answer = bobs.now();
    assert_eq!(typing(&joined(&answer, &room)["ephemeral"]["events"]), [json!([])]);
    assert!(joined(&answer, &other).is_null(), "nobody typed there");
    assert!(joined(&bobs.now(), &room).is_null(), "once");
    let mut follower = Follower { client: bob.clone(), ..followers };
    assert_eq!(typing(&json!(follower.now())), [json!([])]);
    let held = Held::open(&bob, &stays.since);
    // A reader from before a restart is told all at once.
    let told = held.until("who types", |told| told.name == "sync").pop().expect("it is told");
    assert_eq!(typing(&told.data["rooms"]["join"][&room]["ephemeral"]["events"]), [json!([])]);
    drop(held);
    // Who comes back only after the next restart is told so, too.
    let server = server.restart();
    let mut late = Reader { client: same(&server, &bob), ..stays };
    assert_eq!(typing(&joined(&late.now(), &room)["ephemeral"]["events"]), [json!([])]);
    let new = Reader { since: String::new(), client: late.client.clone(), with: String::new() }.now();
    assert_eq!(typing(&joined(&new, &room)["ephemeral"]["events"]), Vec::<Value>::new(), "nobody is no news");
}

#[test]
fn who_goes_on_from_a_stream_by_sync_is_told_how_much_they_have_not_read() {
    let server = TestServer::start();
    let [alice, bob] = ["alice", "bob"].map(|name| server.register(name));
    let room = room_of(&alice, &[&bob]);
    let held = Held::open(&bob, "");
    held.until("a place", |told| told.id.is_some());
    send(&alice, &room, "1", "hello");
    let id = held.until_body("hello").pop().and_then(|told| told.id).expect("a place");
    drop(held);
    let mut bobs = Reader { client: bob, since: id, with: String::new() };
    let answer = bobs.now();
    let news = joined(&answer, &room);
    assert_eq!(news["unread_notifications"]["notification_count"], 1, "{answer}");
    assert!(news["timeline"]["events"].as_array().is_none_or(Vec::is_empty), "the stream told it");
    assert!(joined(&bobs.now(), &room).is_null(), "once");
}
