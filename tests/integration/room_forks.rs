//! What readers make of a room whose sides meet: state that no event of the timeline says is told all the same.

use pilotlight::server::store::{
    CurrentAfter, EventStanding, NewEvent, Place, Received, RoomChange, RoomCommit, StateBefore, StateIds,
};
use ruma::{OwnedEventId, RoomId};
use serde_json::{Value, json};

use super::{
    event_stream::bodies,
    support::{Client, TestServer, runtime},
    sync::{Reader, joined, room_of, send},
};

fn state_of(server: &TestServer, room: &str) -> StateIds {
    let room = <&RoomId>::try_from(room).expect("a room");
    runtime().block_on(server.app().store.current_state_ids(room)).expect("is read")
}

fn key(kind: &str, key: &str) -> (String, String) {
    (kind.to_owned(), key.to_owned())
}

/// A message comes from elsewhere, on the side of `before`; by it the room's state becomes that.
fn merge(
    server: &TestServer,
    room: &str,
    sender: &Client,
    body: &str,
    (before, state): (OwnedEventId, StateIds),
) {
    let pdu = json!({
        "content": { "body": body, "msgtype": "m.text" }, "depth": 9, "origin_server_ts": 1, "room_id": room,
        "sender": sender.user, "type": "m.room.message",
    });
    let event = NewEvent {
        room: room.try_into().expect("a room ID"),
        event_id: format!("$merge-{body}").try_into().expect("an event ID"),
        kind: "m.room.message".into(),
        state_key: None,
        sender: sender.user.as_str().try_into().expect("a user ID"),
        origin_server_ts: 1,
        depth: 9,
        pdu: pdu.to_string(),
        prev_events: vec![before.clone()],
        auth_events: Vec::new(),
        relates_to: None,
        transaction: None,
        membership: None,
        unasked: false,
        hidden: false,
        on_behalf: false,
    };
    let takes = event.prev_events.iter().cloned().collect();
    let received = Received {
        event,
        standing: EventStanding::Accepted,
        before: StateBefore::After(before),
        current: CurrentAfter::Whole(state),
        place: Place::End,
        takes,
    };
    let commit =
        RoomCommit { changes: vec![RoomChange::Receive(Box::new(received))], ..RoomCommit::default() };
    let store = &server.app().store;
    runtime().block_on(async {
        store.commit_rooms(commit).await.expect("the store is open").await.expect("is written");
    });
}

fn set_name(who: &Client, room: &str, name: &str) -> OwnedEventId {
    let path = format!("/_matrix/client/v3/rooms/{room}/state/m.room.name");
    who.put(&path, json!({ "name": name })).ok()["event_id"]
        .as_str()
        .and_then(|id| id.try_into().ok())
        .expect("an event ID")
}

fn names(events: &Value) -> Vec<&str> {
    let events = events.as_array().into_iter().flatten();
    events.filter(|e| e["type"] == "m.room.name").filter_map(|e| e["content"]["name"].as_str()).collect()
}

#[test]
fn what_becomes_state_again_is_told_to_who_knows_the_room_and_to_who_comes_anew() {
    for also in 0..3 {
        let server = TestServer::driven();
        let (alice, bob) = (server.register("alice"), server.register("bob"));
        let room = room_of(&alice, &[&bob]);
        set_name(&alice, &room, "first");
        let old = state_of(&server, &room);
        let second = set_name(&alice, &room, "second");
        let mut reader = Reader::new(&bob);
        if also == 1 {
            // Many messages more than a timeline has.
            (0..30).for_each(|n| drop(send(&alice, &room, &format!("b{n}"), "before")));
        }
        merge(&server, &room, &alice, "merge", (second.clone(), old));
        if also == 2 {
            (0..30).for_each(|n| drop(send(&alice, &room, &format!("a{n}"), "after")));
        }
        let answer = reader.now();
        let told = joined(&answer, &room);
        assert_eq!(names(&told["state"]["events"]), ["first"], "{also}: {told}");
        // It begins with what is told of where the sides met.
        assert_eq!(told["timeline"]["limited"], also > 0);
        let said = bodies(told["timeline"]["events"].as_array().expect("events"));
        assert_eq!(said[..], if also == 2 { vec!["after"; 10] } else { vec!["merge"] }[..]);
        let anew = Reader::new(&bob).client.get("/_matrix/client/v3/sync").ok();
        let told = joined(&anew, &room);
        let all = [names(&told["state"]["events"]), names(&told["timeline"]["events"])].concat();
        assert_eq!(all.last(), Some(&"first"), "{also}: {told}");
        let name = alice.get(&format!("/_matrix/client/v3/rooms/{room}/state/m.room.name")).ok();
        assert_eq!(name["name"], "first");
        assert!(reader.now()["rooms"].is_null(), "once");
    }
}

#[test]
fn who_is_put_out_or_comes_back_where_sides_meet_is_told_so_and_seen_so() {
    let server = TestServer::driven();
    let (alice, bob, carol) = (server.register("alice"), server.register("bob"), server.register("carol"));
    let room = room_of(&alice, &[&bob, &carol]);
    let (here, end) = (state_of(&server, &room), send(&alice, &room, "1", "one"));
    let end = OwnedEventId::try_from(end).expect("an event ID");
    alice.post(&format!("/_matrix/client/v3/rooms/{room}/ban"), json!({ "user_id": bob.user })).ok();
    let banned = state_of(&server, &room);
    let (mut of_bob, mut of_carol) = (Reader::new(&bob), Reader::new(&carol));
    let state_path = format!("/_matrix/client/v3/rooms/{room}/state");
    merge(&server, &room, &alice, "back", (end.clone(), here));
    let answer = of_bob.now();
    assert!(joined(&answer, &room)["timeline"]["events"].is_array(), "{answer}");
    bob.get(&state_path).ok();
    let answer = of_carol.now();
    let members = &joined(&answer, &room)["state"]["events"];
    assert_eq!(members[0]["state_key"], bob.user.as_str(), "{answer}");
    assert_eq!(members[0]["content"]["membership"], "join");
    assert_eq!(answer["device_lists"]["changed"], json!([bob.user]));
    merge(&server, &room, &alice, "out", (end, banned.clone()));
    assert_eq!(
        banned.get(&key("m.room.member", &bob.user)),
        state_of(&server, &room).get(&key("m.room.member", &bob.user))
    );
    let answer = of_bob.now();
    assert!(answer["rooms"]["leave"][&room].is_object(), "{answer}");
    let answer = of_carol.now();
    assert_eq!(joined(&answer, &room)["state"]["events"][0]["content"]["membership"], "ban", "{answer}");
    assert_eq!(answer["device_lists"]["left"], json!([bob.user]));
    bob.put(&format!("/_matrix/client/v3/rooms/{room}/send/m.room.message/9"), json!({ "body": "x" }))
        .refused(403, "M_FORBIDDEN");
}
