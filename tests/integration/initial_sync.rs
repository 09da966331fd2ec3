//! `/initialSync`, of all rooms and of one (M1).

use serde_json::{Value, json};

use super::{
    event_stream::{Follower, bodies},
    support::{Client, TestServer},
    sync::{Reader, create_room, joined, room_of, send},
};

const ALL: &str = "/_matrix/client/v3/initialSync";

fn entry<'a>(answer: &'a Value, room: &str) -> &'a Value {
    let rooms = answer["rooms"].as_array().expect("rooms");
    rooms.iter().find(|entry| entry["room_id"] == room).unwrap_or(&Value::Null)
}

fn state<'a>(entry: &'a Value, kind: &str, key: &str) -> &'a Value {
    let state = entry["state"].as_array().expect("state");
    let mut found = state.iter().filter(|event| event["type"] == kind && event["state_key"] == key);
    let first = found.next().unwrap_or(&Value::Null);
    assert!(found.next().is_none(), "{kind} {key} is there once");
    first
}

fn chunk(entry: &Value) -> Vec<Value> {
    entry["messages"]["chunk"].as_array().expect("chunk").clone()
}

fn set(client: &Client, room: &str, kind: &str, content: Value) {
    client.put(&format!("/_matrix/client/v3/rooms/{room}/state/{kind}/"), content).ok();
}

#[test]
fn m1_a_home_screen_has_of_each_room_its_name_topic_members_last_message_and_aliases() {
    let server = TestServer::driven();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let body = json!({ "preset": "public_chat", "visibility": "public", "name": "Lobby", "topic": "Old",
        "room_alias_name": "lobby" });
    let room = create_room(&alice, body);
    bob.post(&format!("/_matrix/client/v3/join/{room}"), json!({})).ok();
    let quiet = room_of(&alice, &[&bob]);
    for n in 0..4 {
        send(&alice, &room, &n.to_string(), &n.to_string());
    }
    set(&alice, &room, "m.room.topic", json!({ "topic": "New" }));
    let tag = format!("/_matrix/client/v3/user/{}/rooms/{room}/account_data/x", bob.user);
    bob.put(&tag, json!({ "n": 1 })).ok();
    bob.put(&format!("/_matrix/client/v3/user/{}/account_data/y", bob.user), json!({ "n": 2 })).ok();
    let status = format!("/_matrix/client/v3/presence/{}/status", alice.user);
    alice.put(&status, json!({ "presence": "online", "status_msg": "hi" })).ok();

    for version in ["v3", "r0", "api/v1"] {
        let answer = bob.get(&format!("/_matrix/client/{version}/initialSync?limit=2")).ok();
        let lobby = entry(&answer, &room);
        assert_eq!((&lobby["membership"], &lobby["visibility"]), (&json!("join"), &json!("public")));
        assert_eq!(entry(&answer, &quiet)["visibility"], "private");
        let events = chunk(lobby);
        assert_eq!((bodies(&events), &events[1]["type"]), (vec!["3"], &json!("m.room.topic")));
        assert!(events.iter().all(|event| event["room_id"] == room.as_str()));
        // The state is that of now, whatever the messages show.
        assert_eq!(state(lobby, "m.room.topic", "")["content"]["topic"], "New");
        assert_eq!(state(lobby, "m.room.name", "")["content"]["name"], "Lobby");
        assert_eq!(state(lobby, "m.room.canonical_alias", "")["content"]["alias"], "#lobby:localhost");
        for member in [&alice, &bob] {
            assert_eq!(state(lobby, "m.room.member", &member.user)["content"]["membership"], "join");
        }
        assert_eq!(lobby["account_data"][0]["type"], "x");
        assert!(lobby.get("org.pilotlight.summary").is_none(), "Matrix's answer, and nothing beside");
        let own = answer["account_data"].as_array().expect("account data");
        assert!(
            own.iter().any(|data| data["type"] == "y") && own.iter().any(|d| d["type"] == "m.push_rules")
        );
        let presence = answer["presence"].as_array().expect("presence");
        let of_alice = presence.iter().find(|event| event["sender"] == alice.user.as_str()).expect("Alice");
        assert_eq!(
            (&of_alice["content"]["status_msg"], &of_alice["content"]["user_id"]),
            (&json!("hi"), &json!(alice.user))
        );
        // From the beginning of what is told, further back.
        let start = lobby["messages"]["start"].as_str().expect("start");
        let page =
            bob.get(&format!("/_matrix/client/v3/rooms/{room}/messages?dir=b&limit=1&from={start}")).ok();
        assert_eq!(page["chunk"][0]["content"]["body"], "2");
    }
    let full = bob.get(&format!("{ALL}?limit=0&org.pilotlight.answer=full")).ok();
    let lobby = entry(&full, &room);
    assert_eq!(chunk(lobby), Vec::<Value>::new());
    let summary = &lobby["org.pilotlight.summary"];
    assert_eq!((&summary["name"], &summary["topic"]), (&json!("Lobby"), &json!("New")));
    assert_eq!(summary["aliases"], json!(["#lobby:localhost"]));
    assert_eq!((&summary["joined_member_count"], &summary["invited_member_count"]), (&json!(2), &json!(0)));
    assert_eq!(summary["last_message"]["content"]["body"], "3");
    let unnamed = &entry(&full, &quiet)["org.pilotlight.summary"];
    assert_eq!((&unnamed["heroes"], unnamed.get("name")), (&json!([alice.user]), None));
    let of_room = format!("/_matrix/client/v3/rooms/{quiet}/initialSync?org.pilotlight.answer=full");
    assert_eq!(&bob.get(&of_room).ok()["org.pilotlight.summary"], unnamed, "the same of one room");
}

#[test]
fn m1_the_position_of_an_initial_sync_goes_on_in_both_streams() {
    let server = TestServer::driven();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let room = room_of(&alice, &[&bob]);
    send(&alice, &room, "1", "before");
    let mut follower = Follower::new(&bob);
    let mut reader = Reader { client: bob.clone(), since: follower.from.clone(), with: String::new() };
    assert_eq!(follower.now().iter().filter(|e| e["event_id"].is_string()).count(), 0);
    assert_eq!(reader.now()["rooms"], Value::Null);
    send(&alice, &room, "2", "after");
    assert_eq!(bodies(&follower.now()), ["after"]);
    let answer = reader.now();
    let events = joined(&answer, &room)["timeline"]["events"].as_array().expect("events");
    assert_eq!(bodies(events), ["after"]);
    assert_eq!((bodies(&follower.now()), &reader.now()["rooms"]), (vec![], &Value::Null));
}

#[test]
fn m1_invites_come_and_what_was_left_comes_when_it_is_asked_for() {
    let server = TestServer::driven();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let invited = create_room(&alice, json!({ "name": "Den", "invite": [bob.user] }));
    let left = room_of(&alice, &[&bob]);
    set(&alice, &left, "m.room.name", json!({ "name": "Then" }));
    send(&alice, &left, "1", "seen");
    bob.post(&format!("/_matrix/client/v3/rooms/{left}/leave"), json!({})).ok();
    set(&alice, &left, "m.room.name", json!({ "name": "Later" }));
    send(&alice, &left, "2", "unseen");
    let answer = bob.get(ALL).ok();
    assert_eq!(entry(&answer, &left), &Value::Null);
    let den = entry(&answer, &invited);
    assert_eq!((&den["membership"], &den["inviter"]), (&json!("invite"), &json!(alice.user)));
    assert_eq!(den["invite"]["state_key"], bob.user.as_str());
    let shown = den["invite"]["unsigned"]["invite_room_state"].as_array().expect("state");
    assert!(shown.iter().any(|event| event["content"]["name"] == "Den"));
    assert!(den.get("state").is_none() && den.get("messages").is_none());
    let archived = bob.get(&format!("{ALL}?archived=true")).ok();
    let room = entry(&archived, &left);
    assert_eq!((&room["membership"], bodies(&chunk(room))), (&json!("leave"), vec!["seen"]));
    assert_eq!(state(room, "m.room.name", "")["content"]["name"], "Then");
    assert_eq!(state(room, "m.room.member", &bob.user)["content"]["membership"], "leave");
}

#[test]
fn m1_one_room_is_begun_with_for_who_is_in_it_was_in_it_or_looks_in() {
    let server = TestServer::driven();
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| server.register(name));
    let room = room_of(&alice, &[&bob]);
    let path = format!("/_matrix/client/v3/rooms/{room}/initialSync");
    let status = format!("/_matrix/client/v3/presence/{}/status", alice.user);
    alice.put(&status, json!({ "presence": "online" })).ok();
    let seen = send(&alice, &room, "1", "one");
    alice.post(&format!("/_matrix/client/v3/rooms/{room}/receipt/m.read/{seen}"), json!({})).ok();
    let tag = format!("/_matrix/client/v3/user/{}/rooms/{room}/account_data/x", bob.user);
    bob.put(&tag, json!({ "n": 1 })).ok();
    let inside = bob.get(&format!("{path}?limit=1")).ok();
    assert_eq!(
        (&inside["room_id"], &inside["membership"], &inside["visibility"]),
        (&json!(room), &json!("join"), &json!("private"))
    );
    assert_eq!(bodies(&chunk(&inside)), ["one"]);
    assert_eq!(state(&inside, "m.room.member", &alice.user)["content"]["membership"], "join");
    assert_eq!(inside["account_data"][0]["type"], "x");
    let receipt = &inside["receipts"][0];
    assert_eq!(receipt["room_id"], room.as_str());
    assert!(receipt["content"][&seen]["m.read"][&alice.user]["ts"].is_u64());
    assert!(
        inside["presence"]
            .as_array()
            .expect("presence")
            .iter()
            .any(|e| e["content"]["user_id"] == alice.user.as_str())
    );
    // Its end is a place in the stream.
    let end = inside["messages"]["end"].as_str().expect("end");
    send(&alice, &room, "2", "two");
    let next = bob.get(&format!("/_matrix/client/v3/events?timeout=0&from={end}&room_id={room}")).ok();
    assert_eq!(bodies(next["chunk"].as_array().expect("chunk")), ["two"]);
    carol.get(&path).refused(403, "M_FORBIDDEN");
    bob.post(&format!("/_matrix/client/v3/rooms/{room}/leave"), json!({})).ok();
    send(&alice, &room, "3", "three");
    let after = bob.get(&path).ok();
    assert_eq!((&after["membership"], after.get("presence")), (&json!("leave"), None));
    let told = chunk(&after);
    assert_eq!(bodies(&told).last(), Some(&"two"));
    set(&alice, &room, "m.room.history_visibility", json!({ "history_visibility": "world_readable" }));
    let outside = carol.get(&path).ok();
    assert_eq!(outside.get("membership"), None);
    assert_eq!(
        state(&outside, "m.room.history_visibility", "")["content"]["history_visibility"],
        "world_readable"
    );
}
