//! Sliding sync: what is told beside rooms, and when a request that waits is answered.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    contacts::OURS,
    poll::{Poll, ask_at, connect},
    presence::status_path,
    sliding::{Connection, V4, bodies, rooms},
    support::{Client, TestServer},
    sync::{create_room, room_of, send},
};

fn with(client: &Client, extensions: Value) -> Connection {
    let mut connection = Connection::of_all(client, 5);
    connection.body["extensions"] = extensions;
    connection
}

/// A request of the connection that waits as long as it may.
fn wait(connection: &Connection) -> Poll {
    Poll::open_with(
        &connection.client,
        &connection.path(Duration::from_secs(30)),
        Some(connection.body.clone()),
    )
}

/// Who is what, in the order of the answer.
fn presence(answer: &Value, key: &str) -> Vec<String> {
    let events = answer["extensions"][key]["events"].as_array().expect("events");
    let state =
        |e: &Value| e["content"]["org.pilotlight.presence"]["state"].as_str().expect("a state").to_owned();
    events.iter().map(|e| format!("{} {}", e["sender"].as_str().expect("whose"), state(e))).collect()
}

fn says(client: &Client, state: &str) {
    client.put(&status_path(&client.user), json!({ "presence": state })).ok();
}

#[test]
fn messages_for_the_device_come_until_it_says_that_it_has_them() {
    let server = TestServer::start();
    let [alice, bob] = ["alice", "bob"].map(|name| server.register(name));
    let put = |n: u64| {
        let messages = json!({ "messages": { &bob.user: { &bob.device: { "n": n } } } });
        alice.put(&format!("/_matrix/client/v3/sendToDevice/x/{n}"), messages).ok();
    };
    (0..5).for_each(put);
    let mut reader = with(&bob, json!({ "to_device": { "enabled": true, "limit": 3 } }));
    let told = |answer: &Value| -> Vec<u64> {
        let events = answer["extensions"]["to_device"]["events"].as_array().expect("events");
        events.iter().map(|e| e["content"]["n"].as_u64().expect("a number")).collect()
    };
    let first = reader.now();
    assert_eq!(told(&first), [0, 1, 2]);
    assert_eq!(told(&reader.now()), [0, 1, 2], "it did not say that it has them");
    let next = first["extensions"]["to_device"]["next_batch"].clone();
    reader.body["extensions"]["to_device"]["since"] = next;
    let second = reader.now();
    assert_eq!(told(&second), [3, 4]);
    // Those before are gone.
    reader.body["extensions"]["to_device"]["since"] = Value::Null;
    assert_eq!(told(&reader.now()), [3, 4]);
    reader.body["extensions"]["to_device"]["since"] = second["extensions"]["to_device"]["next_batch"].clone();
    assert_eq!(told(&reader.now()), [0; 0]);
    // A place in another database says nothing.
    put(5);
    reader.body["extensions"]["to_device"]["since"] = json!("99999999");
    assert_eq!(told(&reader.now()), [5]);
    reader.body["extensions"]["to_device"] = json!({ "enabled": false });
    assert_eq!(reader.now()["extensions"], json!({}));
}

#[test]
fn whose_keys_changed_is_told_and_which_are_left() {
    let server = TestServer::start();
    let [alice, bob] = ["alice", "bob"].map(|name| server.register(name));
    let room = room_of(&alice, &[&bob]);
    let mut reader = with(&bob, json!({ "e2ee": { "enabled": true } }));
    let first = reader.now();
    let e2ee = &first["extensions"]["e2ee"];
    assert_eq!((&e2ee["device_unused_fallback_key_types"], e2ee.get("device_lists")), (&json!([]), None));
    let keys = json!({ "device_keys": { "user_id": alice.user, "device_id": alice.device, "algorithms": [],
        "keys": { format!("ed25519:{}", alice.device): "x" }, "signatures": {} } });
    let lists = |answer: &Value| answer["extensions"]["e2ee"]["device_lists"].clone();
    if alice.post("/_matrix/client/v3/keys/upload", keys).status == 200 {
        assert_eq!(lists(&reader.now()), json!({ "changed": [&alice.user], "left": [] }));
    }
    assert_eq!(lists(&reader.now()), Value::Null);
    alice.post(&format!("/_matrix/client/v3/rooms/{room}/leave"), json!({})).ok();
    assert_eq!(lists(&reader.now()), json!({ "changed": [], "left": [&alice.user] }));
    // Also on a connection that is about no rooms.
    let mut other =
        Connection::new(&bob, json!({ "conn_id": "e2ee", "extensions": { "e2ee": { "enabled": true } } }));
    other.now();
    alice.post(&format!("/_matrix/client/v3/join/{room}"), json!({})).ok();
    let told = other.now();
    assert_eq!((lists(&told), rooms(&told)), (json!({ "changed": [&alice.user], "left": [] }), vec![]));
    // What was not asked for meanwhile comes when it is again, once; also to who asks for the first time.
    let mut later = with(&bob, json!({}));
    later.body["conn_id"] = json!("later");
    later.now();
    other.body["extensions"]["e2ee"]["enabled"] = json!(false);
    other.now();
    alice.post(&format!("/_matrix/client/v3/rooms/{room}/leave"), json!({})).ok();
    send(&bob, &room, "1", "x");
    other.now();
    later.now();
    for reader in [&mut other, &mut later] {
        reader.body["extensions"] = json!({ "e2ee": { "enabled": true } });
        assert_eq!(lists(&reader.now()), json!({ "changed": [], "left": [&alice.user] }));
        send(&bob, &room, reader.pos.as_deref().expect("pos"), "x");
        assert_eq!(lists(&reader.now()), Value::Null);
    }
}

#[test]
fn who_has_read_what_a_client_has_is_told_when_it_asks_for_that_later() {
    let server = TestServer::start();
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| server.register(name));
    let room = room_of(&alice, &[&bob, &carol]);
    let read = |client: &Client, event: &str| {
        client.post(&format!("/_matrix/client/v3/rooms/{room}/receipt/m.read/{event}"), json!({})).ok();
    };
    let events: Vec<_> = (0..6).map(|n| send(&alice, &room, &n.to_string(), "x")).collect();
    read(&carol, &events[1]);
    let mut reader = with(&bob, json!({}));
    reader.body["lists"]["all"]["timeline_limit"] = json!(2);
    reader.now();
    read(&alice, &events[4]);
    reader.now();
    reader.body["extensions"] = json!({ "receipts": { "enabled": true } });
    let told = reader.now()["extensions"]["receipts"]["rooms"][&room]["content"].clone();
    // Not what was read before that.
    assert_eq!(told.as_object().expect("an event").keys().collect::<Vec<_>>(), [&events[4]], "{told}");
    assert!(told[&events[4]]["m.read"][&alice.user].is_object());
    assert_eq!(reader.now()["extensions"]["receipts"]["rooms"], json!({}));
}

#[test]
fn what_the_user_keeps_comes_whole_and_then_as_it_changes() {
    let server = TestServer::start();
    let alice = server.register("alice");
    let room = create_room(&alice, json!({}));
    let account = format!("/_matrix/client/v3/user/{}", alice.user);
    let set = |at: &str, n: u64| alice.put(&format!("{account}{at}/account_data/x"), json!({ "n": n })).ok();
    let of_room = format!("/rooms/{room}");
    set("", 1);
    set(&of_room, 2);
    let mut reader = with(&alice, json!({ "account_data": { "enabled": true } }));
    let first = reader.now()["extensions"]["account_data"].clone();
    let kinds: Vec<_> = first["global"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|e| e["type"].as_str().expect("type"))
        .collect();
    assert_eq!(kinds, ["x", "m.push_rules"]);
    assert_eq!(first["rooms"], json!({ &room: [{ "type": "x", "content": { "n": 2 } }] }));
    assert_eq!(reader.now()["extensions"]["account_data"], json!({ "global": [], "rooms": {} }));
    set("", 3);
    set(&of_room, 4);
    let next = reader.now();
    let expected = json!({ "global": [{ "type": "x", "content": { "n": 3 } }], "rooms": { &room: [{ "type": "x", "content": { "n": 4 } }] } });
    assert_eq!((&next["extensions"]["account_data"], &next["rooms"]), (&expected, &json!({})));
    // What was not asked for meanwhile comes when it is again.
    reader.body["extensions"]["account_data"]["lists"] = json!([]);
    set(&of_room, 5);
    assert_eq!(reader.now()["extensions"]["account_data"]["rooms"], json!({}));
    reader.body["extensions"]["account_data"]["lists"] = json!(["all"]);
    assert_eq!(
        reader.now()["extensions"]["account_data"]["rooms"],
        json!({ &room: [{ "type": "x", "content": { "n": 5 } }] })
    );
    // So does what is for no room.
    reader.body["extensions"]["account_data"]["enabled"] = json!(false);
    reader.now();
    set("", 6);
    create_room(&alice, json!({}));
    reader.now();
    reader.body["extensions"]["account_data"]["enabled"] = json!(true);
    let global = &reader.now()["extensions"]["account_data"]["global"];
    assert_eq!(*global, json!([{ "type": "x", "content": { "n": 6 } }]));
    assert_eq!(reader.now()["extensions"]["account_data"]["global"], json!([]));
    // All of it comes to who asks for it later.
    let mut later = with(&alice, json!({}));
    later.body["conn_id"] = json!("later");
    later.now();
    later.body["extensions"] = json!({ "account_data": { "enabled": true } });
    let told = later.now()["extensions"]["account_data"].clone();
    assert_eq!(
        (told["global"].as_array().map(Vec::len), &told["rooms"][&room][0]["content"]["n"]),
        (Some(2), &json!(5))
    );
}

#[test]
fn who_types_and_who_has_read_is_told_of_the_rooms_that_are_asked_for() {
    let server = TestServer::start();
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| server.register(name));
    let [room, other] = [(); 2].map(|()| room_of(&alice, &[&bob, &carol]));
    let types = |room: &str, typing: bool| {
        alice
            .put(
                &format!("/_matrix/client/v3/rooms/{room}/typing/{}", alice.user),
                json!({ "typing": typing, "timeout": 60_000 }),
            )
            .ok();
    };
    let reads = |client: &Client, room: &str, event: &str| {
        client.post(&format!("/_matrix/client/v3/rooms/{room}/receipt/m.read/{event}"), json!({})).ok();
    };
    let old = send(&alice, &room, "0", "old");
    reads(&carol, &room, &old);
    (1..5).for_each(|n| drop(send(&alice, &room, &n.to_string(), "x")));
    let last = send(&alice, &room, "5", "last");
    reads(&alice, &room, &last);
    types(&room, true);
    let mut reader = with(&bob, json!({ "typing": { "enabled": true }, "receipts": { "enabled": true } }));
    reader.body["lists"]["all"]["ranges"] = json!([[0, 0]]);
    reader.body["room_subscriptions"] = json!({ &other: { "timeline_limit": 1 } });
    let first = reader.now()["extensions"].clone();
    assert_eq!(
        first["typing"]["rooms"],
        json!({ &room: { "type": "m.typing", "content": { "user_ids": [&alice.user] } } })
    );
    let receipt = &first["receipts"]["rooms"][&room];
    assert_eq!(receipt["type"], "m.receipt");
    let read: Vec<_> = receipt["content"].as_object().expect("events").keys().collect();
    assert_eq!(read, [&last], "of what is told");
    types(&room, false);
    reads(&carol, &room, &last);
    let next = reader.now();
    assert_eq!(next["extensions"]["typing"]["rooms"][&room]["content"]["user_ids"], json!([]));
    assert!(
        next["extensions"]["receipts"]["rooms"][&room]["content"][&last]["m.read"].get(&carol.user).is_some(),
        "{next}"
    );
    assert_eq!(next["rooms"], json!({}));
    for (lists, subscribed, told) in [
        (json!(["*"]), json!(["*"]), vec![&room, &other]),
        (json!([]), json!(["*"]), vec![&other]),
        (json!(["all"]), json!([]), vec![&room]),
        (json!(["nothing"]), json!([&room]), vec![&room]),
        (json!([]), json!([]), vec![]),
    ] {
        let scope = json!({ "enabled": true, "lists": lists, "rooms": subscribed });
        reader.body["extensions"]["typing"] = scope;
        for (room, typing) in [(&room, true), (&other, true)] {
            types(room, typing);
        }
        let answer = reader.now()["extensions"]["typing"]["rooms"].clone();
        let mut expected: Vec<_> = told.into_iter().cloned().collect();
        expected.sort();
        assert_eq!(
            answer.as_object().expect("rooms").keys().cloned().collect::<Vec<_>>(),
            expected,
            "{lists} {subscribed}"
        );
        for (room, typing) in [(&room, false), (&other, false)] {
            types(room, typing);
        }
        reader.now();
    }
    // Who ceased to type while the room was not looked at does not type on.
    reader.body["extensions"]["typing"] = json!({ "enabled": true });
    types(&other, true);
    assert_eq!(
        reader.now()["extensions"]["typing"]["rooms"][&other]["content"]["user_ids"],
        json!([&alice.user])
    );
    reader.body["room_subscriptions"] = json!({});
    send(&alice, &room, "6", "x");
    reader.now();
    types(&other, false);
    reader.now();
    reader.body["room_subscriptions"] = json!({ &other: { "timeline_limit": 1 } });
    assert_eq!(reader.now()["extensions"]["typing"]["rooms"][&other]["content"]["user_ids"], json!([]));
}

#[test]
fn what_is_unread_is_told_with_a_room_and_when_it_was_read_elsewhere() {
    let server = TestServer::start();
    let [alice, bob] = ["alice", "bob"].map(|name| server.register(name));
    let room = room_of(&alice, &[&bob]);
    let mut reader = with(&bob, json!({}));
    reader.now();
    let counts = |answer: &Value| {
        let told = &answer["rooms"][&room];
        (told["notification_count"].as_u64(), told["highlight_count"].as_u64())
    };
    send(&alice, &room, "1", "x");
    let calls = json!({ "msgtype": "m.text", "body": "x", "m.mentions": { "user_ids": [&bob.user] } });
    let last = alice.put(&format!("/_matrix/client/v3/rooms/{room}/send/m.room.message/2"), calls).ok();
    let last = last["event_id"].as_str().expect("event_id").to_owned();
    assert_eq!(counts(&reader.now()), (Some(2), Some(1)));
    bob.post(&format!("/_matrix/client/v3/rooms/{room}/receipt/m.read.private/{last}"), json!({})).ok();
    let next = reader.now();
    assert_eq!((counts(&next), next["rooms"][&room].get("timeline")), ((Some(0), Some(0)), None));
    assert_eq!(reader.now()["rooms"], json!({}));
}

#[test]
fn presence_is_told_under_the_key_that_it_is_asked_for_by() {
    let server = TestServer::driven();
    let [alice, bob] = ["alice", "bob"].map(|name| server.register(name));
    room_of(&alice, &[&bob]);
    says(&alice, "busy");
    const OWN: &str = "org.pilotlight.presence";
    for (key, conn_id) in [("presence", "a"), (OWN, "b")] {
        let mut reader = with(&bob, json!({ key: { "enabled": true } }));
        reader.body["conn_id"] = json!(conn_id);
        assert!(presence(&reader.now(), key).contains(&"@alice:localhost busy".to_owned()), "{key}");
        assert_eq!(reader.now()["extensions"], json!({ key: { "events": [] } }));
    }
    let told = bob
        .post(V4, json!({ "extensions": { OWN: { "enabled": true }, "presence": { "enabled": true } } }))
        .ok();
    let keys: Vec<_> = told["extensions"].as_object().expect("extensions").keys().collect();
    assert_eq!(keys, [OWN], "the other one has no proposal of its own yet");
    // What it may mean some day is no reason to refuse a request.
    bob.post(V4, json!({ "extensions": { "presence": ["*"] } })).ok();
}

#[test]
fn presence_wakes_who_waits_and_follows_all_rules_of_sight() {
    let server = TestServer::driven();
    let [alice, bob] = ["alice", "bob"].map(|name| server.register(name));
    let room = room_of(&alice, &[&bob]);
    let mut reader = with(&bob, json!({ "presence": { "enabled": true } }));
    reader.body["lists"] = json!({});
    reader.now();
    let told = |reader: &mut Connection| presence(&reader.now(), "presence");
    told(&mut reader);
    // No time passes on this clock: it is told at once.
    let mut woken = |act: &dyn Fn()| -> Vec<String> {
        let poll = wait(&reader);
        server.settle();
        act();
        let answer = poll.answer();
        reader.pos = Some(answer["pos"].as_str().expect("pos").to_owned());
        presence(&answer, "presence")
    };
    assert_eq!(woken(&|| says(&alice, "busy")), ["@alice:localhost busy"]);
    assert_eq!(woken(&|| says(&alice, "free_for_chat")), ["@alice:localhost free_for_chat"]);
    // Who hides looks offline to others, and as they are to themselves.
    assert_eq!(woken(&|| says(&alice, "hidden")), ["@alice:localhost offline"]);
    assert_eq!(woken(&|| says(&alice, "busy")), ["@alice:localhost busy"]);
    // Of who goes out of sight nothing is known, once.
    let share = |with: &str| {
        drop(alice.put(&format!("{OURS}/settings/{}", alice.user), json!({ "share": with })).ok())
    };
    assert_eq!(woken(&|| share("nobody")), ["@alice:localhost unknown"]);
    says(&alice, "unavailable");
    assert_eq!(told(&mut reader), [""; 0]);
    share("shared_rooms");
    assert_eq!(told(&mut reader), ["@alice:localhost unavailable"]);
    // Two changes are told as the last of them.
    says(&alice, "busy");
    says(&alice, "online");
    assert_eq!(told(&mut reader), ["@alice:localhost online"]);
    // What was not asked for for a while is caught up with.
    reader.body["extensions"] = json!({});
    says(&alice, "busy");
    assert_eq!(reader.now()["extensions"], json!({}));
    reader.body["extensions"] = json!({ "presence": { "enabled": true } });
    assert_eq!(told(&mut reader), ["@alice:localhost busy"]);
    alice.post(&format!("/_matrix/client/v3/rooms/{room}/leave"), json!({})).ok();
    assert_eq!(told(&mut reader), ["@alice:localhost unknown"]);
}

#[test]
fn a_device_that_wants_no_presence_gets_none_and_later_what_it_missed() {
    let server = TestServer::driven();
    let [alice, bob] = ["alice", "bob"].map(|name| server.register(name));
    room_of(&alice, &[&bob]);
    let mut reader = with(&bob, json!({ "presence": { "enabled": true } }));
    reader.now();
    reader.now();
    let delivery = |enabled: bool| {
        bob.put(&format!("{OURS}/{}/delivery", bob.user), json!({ "enabled": enabled })).ok();
    };
    delivery(false);
    says(&alice, "busy");
    assert_eq!(presence(&reader.now(), "presence"), [""; 0]);
    delivery(true);
    assert_eq!(presence(&reader.now(), "presence"), ["@alice:localhost busy"]);
}

#[test]
fn a_request_waits_for_what_concerns_it_and_no_longer_than_it_asks() {
    let server = TestServer::driven();
    let [alice, bob] = ["alice", "bob"].map(|name| server.register(name));
    let room = room_of(&alice, &[&bob]);
    let mut reader = with(&bob, json!({ "typing": { "enabled": true } }));
    reader.now();
    let poll = wait(&reader);
    server.settle();
    send(&alice, &room, "1", "one");
    let answer = poll.answer();
    assert_eq!(bodies(&answer, &room), ["one"]);
    reader.pos = Some(answer["pos"].as_str().expect("pos").to_owned());
    let poll = wait(&reader);
    server.settle();
    server.pass(Duration::from_secs(30));
    let answer = poll.answer();
    assert_eq!(
        (&answer["rooms"], &answer["extensions"]),
        (&json!({}), &json!({ "typing": { "rooms": {} } }))
    );
    reader.pos = Some(answer["pos"].as_str().expect("pos").to_owned());
    // Who asks for other rooms is answered at once.
    let mut body = reader.body.clone();
    body["lists"]["all"]["required_state"] = json!([]);
    body["lists"]["all"]["timeline_limit"] = json!(30);
    let poll = Poll::open_with(&bob, &reader.path(Duration::from_secs(30)), Some(body));
    assert_eq!(poll.answer()["rooms"][&room]["unstable_expanded_timeline"], true);
}

#[test]
fn one_connection_answers_request_after_request_while_each_waits_without_http() {
    let server = TestServer::driven();
    let [alice, bob] = ["alice", "bob"].map(|name| server.register(name));
    let room = room_of(&alice, &[&bob]);
    let mut reader = with(&bob, json!({}));
    reader.now();
    let mut stream = connect(&bob);
    for n in 0..4 {
        let held = bob.polls.hold();
        let (path, body) = (reader.path(Duration::from_secs(30)), reader.body.clone());
        let (mut own, client) = (stream.try_clone().expect("a handle"), bob.clone());
        let asked = std::thread::spawn(move || {
            let answer = ask_at(&mut own, &client, &path, Some(&body));
            drop(held);
            answer
        });
        server.settle();
        send(&alice, &room, &n.to_string(), &n.to_string());
        let answer = asked.join().expect("an answer").expect("the connection stays");
        assert_eq!(bodies(&answer, &room), [n.to_string()]);
        reader.pos = Some(answer["pos"].as_str().expect("pos").to_owned());
    }
    // The same connection takes any other request.
    let synced = super::poll::ask(&mut stream, &bob, "").expect("an answer");
    assert!(synced["next_batch"].is_string());
}
