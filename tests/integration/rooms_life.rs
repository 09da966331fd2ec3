//! What people do in rooms, over HTTP: create, join, talk, redact, leave, read back.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::{Client, TestServer};

/// A room of `client`'s making; answers with its path.
pub fn create(client: &Client, body: Value) -> String {
    let created = client.post("/_matrix/client/v3/createRoom", body).ok();
    format!("/_matrix/client/v3/rooms/{}", created["room_id"].as_str().expect("is text"))
}

/// Sends a text and answers with the event ID.
pub fn say(client: &Client, room: &str, transaction: &str, text: &str) -> String {
    let body = json!({ "msgtype": "m.text", "body": text });
    let sent = client.put(&format!("{room}/send/m.room.message/{transaction}"), body).ok();
    sent["event_id"].as_str().expect("is text").to_owned()
}

/// The bodies of the messages on a page of the timeline.
pub fn bodies(page: &Value) -> Vec<&str> {
    let chunk = page["chunk"].as_array().expect("a list").iter();
    chunk.filter_map(|event| event["content"]["body"].as_str()).collect()
}

#[test]
fn a_room_begins_with_the_events_of_the_specification_in_their_order() {
    let server = TestServer::start();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let room = create(
        &alice,
        json!({
            "preset": "private_chat", "name": "Kitchen", "topic": "Food", "room_alias_name": "kitchen",
            "invite": [bob.user, bob.user, alice.user], "is_direct": true,
            "power_level_content_override": { "invite": 40 },
            "creation_content": { "m.federate": false, "type": "org.example.kitchen" },
            "initial_state": [
                { "type": "m.room.guest_access", "content": { "guest_access": "forbidden" } },
                { "type": "org.example.pan", "state_key": "big", "content": { "n": 1 } }
            ],
        }),
    );
    let page = alice.get(&format!("{room}/messages?dir=f&limit=50")).ok();
    let kinds: Vec<_> =
        page["chunk"].as_array().expect("a list").iter().map(|e| e["type"].as_str().expect("text")).collect();
    assert_eq!(
        kinds,
        [
            "m.room.create",
            "m.room.member",
            "m.room.power_levels",
            "m.room.canonical_alias",
            "m.room.join_rules",
            "m.room.history_visibility",
            "m.room.guest_access",
            "org.example.pan",
            "m.room.name",
            "m.room.topic",
            "m.room.member",
        ]
    );
    let state = |kind: &str| alice.get(&format!("{room}/state/{kind}")).ok();
    assert_eq!(state("m.room.create")["type"], "org.example.kitchen");
    assert_eq!(state("m.room.create")["m.federate"], false);
    assert_eq!(state("m.room.power_levels")["invite"], 40);
    assert_eq!(state("m.room.join_rules")["join_rule"], "invite");
    assert_eq!(state("m.room.guest_access")["guest_access"], "forbidden");
    assert_eq!(state("m.room.canonical_alias")["alias"], "#kitchen:localhost");
    let invite = state(&format!("m.room.member/{}", bob.user));
    assert_eq!(invite["membership"], "invite");
    assert_eq!(invite["is_direct"], true);
    assert_eq!(invite["displayname"], "bob");
    assert_eq!(state("org.example.pan/big")["n"], 1);
    let event = alice.get(&format!("{room}/state/m.room.name/?format=event")).ok();
    assert_eq!((&event["type"], &event["state_key"]), (&json!("m.room.name"), &json!("")));
    alice.get(&format!("{room}/state/m.room.avatar")).refused(404, "M_NOT_FOUND");
    // What is so without a word is not said.
    let public = create(&alice, json!({ "preset": "public_chat" }));
    alice.get(&format!("{public}/state/m.room.guest_access")).refused(404, "M_NOT_FOUND");
}

#[test]
fn rooms_that_one_user_makes_alike_in_one_millisecond_are_as_many_rooms() {
    let server = TestServer::driven();
    let alice = server.register("alice");
    let rooms: BTreeSet<_> = (0..3).map(|_| create(&alice, json!({}))).collect();
    assert_eq!(rooms.len(), 3);
}

#[test]
fn people_come_talk_and_go() {
    let server = TestServer::start();
    let (alice, bob, carol) = (server.register("alice"), server.register("bob"), server.register("carol"));
    let room = create(&alice, json!({ "preset": "private_chat" }));
    carol.post(&format!("{room}/join"), json!({})).refused(403, "M_FORBIDDEN");
    let invited = alice.post(&format!("{room}/invite"), json!({ "user_id": bob.user, "reason": "tea" })).ok();
    assert_eq!(invited, json!({}), "what Matrix does not have is not there unasked");
    let full = format!("{room}/invite?org.pilotlight.answer=full");
    let invited = alice.post(&full, json!({ "user_id": bob.user, "reason": "more tea" })).ok();
    assert_eq!(invited, json!({ "org.pilotlight.displayname": "bob" }));
    bob.post(&format!("{room}/join"), json!({})).ok();
    // Once more changes nothing.
    bob.post(&format!("{room}/join"), json!({})).ok();
    let first = say(&bob, &room, "1", "hello");
    let joined = alice.get(&format!("{room}/joined_members")).ok();
    assert_eq!(joined["joined"].as_object().expect("a map").len(), 2);
    assert_eq!(joined["joined"][&bob.user]["display_name"], "bob");
    assert_eq!(
        bob.get("/_matrix/client/v3/joined_rooms").ok()["joined_rooms"].as_array().map(Vec::len),
        Some(1)
    );
    let members = alice.get(&format!("{room}/members?membership=join")).ok();
    assert_eq!(members["chunk"].as_array().map(Vec::len), Some(2));

    bob.post(&format!("{room}/kick"), json!({ "user_id": alice.user })).refused(403, "M_FORBIDDEN");
    alice.post(&format!("{room}/kick"), json!({ "user_id": carol.user })).refused(403, "M_FORBIDDEN");
    alice.post(&format!("{room}/kick"), json!({ "user_id": bob.user, "reason": "rude" })).ok();
    bob.put(&format!("{room}/send/m.room.message/2"), json!({ "body": "no" })).refused(403, "M_FORBIDDEN");
    alice.post(&format!("{room}/ban"), json!({ "user_id": bob.user })).ok();
    bob.post(&format!("{room}/join"), json!({})).refused(403, "M_FORBIDDEN");
    alice.post(&format!("{room}/unban"), json!({ "user_id": bob.user })).ok();
    alice.post(&format!("{room}/unban"), json!({ "user_id": bob.user })).refused(403, "M_FORBIDDEN");
    say(&alice, &room, "3", "after bob");
    // Bob sees what was there until he was put out, and the state of then.
    let page = bob.get(&format!("{room}/messages?dir=b&limit=100")).ok();
    assert_eq!(bodies(&page), ["hello"]);
    assert_eq!(bob.get(&format!("{room}/event/{first}")).ok()["content"]["body"], "hello");
    alice.put(&format!("{room}/state/m.room.name"), json!({ "name": "New" })).ok();
    bob.get(&format!("{room}/state/m.room.name")).refused(404, "M_NOT_FOUND");
    bob.post(&format!("{room}/forget"), json!({})).ok();
    bob.get(&format!("{room}/messages?dir=b")).refused(403, "M_FORBIDDEN");
    alice.post(&format!("{room}/forget"), json!({})).refused(400, "M_INVALID_PARAM");
    alice.post(&format!("{room}/leave"), json!({})).ok();
    alice.post(&format!("{room}/leave"), json!({})).refused(403, "M_FORBIDDEN");
    alice.post(&format!("{room}/forget"), json!({})).ok();
    carol.post(&format!("{room}/forget"), json!({})).refused(404, "M_NOT_FOUND");
}

#[test]
fn timelines_are_read_in_both_directions_in_pages_that_meet() {
    let server = TestServer::start();
    let alice = server.register("alice");
    let room = create(&alice, json!({}));
    for n in 0..25 {
        say(&alice, &room, &n.to_string(), &n.to_string());
    }
    let filter = "filter=%7B%22types%22%3A%5B%22m.room.message%22%5D%7D";
    for (direction, expected) in [("b", (0..25).rev().collect::<Vec<_>>()), ("f", (0..25).collect())] {
        let (mut seen, mut from) = (Vec::new(), String::new());
        for _ in 0..10 {
            let page = alice.get(&format!("{room}/messages?dir={direction}&limit=7&{filter}{from}")).ok();
            seen.extend(bodies(&page).into_iter().map(|n| n.parse::<i32>().expect("a number")));
            let Some(end) = page["end"].as_str() else { break };
            from = format!("&from={end}");
        }
        assert_eq!(seen, expected);
    }
    // `to` ends a page early, and what lies on one side of a token does not lie on the other.
    let page = alice.get(&format!("{room}/messages?dir=b&limit=5")).ok();
    let end = page["end"].as_str().expect("there is more");
    let forward = alice.get(&format!("{room}/messages?dir=f&from={end}&limit=100")).ok();
    let mut back = bodies(&page);
    back.reverse();
    assert_eq!(bodies(&forward), back);
    let bounded = alice.get(&format!("{room}/messages?dir=b&to={end}&limit=100")).ok();
    assert_eq!(bodies(&bounded), bodies(&page));
    assert!(bounded.get("end").is_none());
    alice.get(&format!("{room}/messages?dir=x")).refused(400, "M_INVALID_PARAM");
    alice.get(&format!("{room}/messages?dir=b&from=s12")).refused(400, "M_INVALID_PARAM");
}

#[test]
fn context_shows_what_is_around_an_event_and_the_state_then() {
    let server = TestServer::start();
    let alice = server.register("alice");
    let room = create(&alice, json!({ "name": "old" }));
    let ids: Vec<_> = (0..9).map(|n| say(&alice, &room, &n.to_string(), &n.to_string())).collect();
    alice.put(&format!("{room}/state/m.room.name"), json!({ "name": "new" })).ok();
    let context = alice.get(&format!("{room}/context/{}?limit=4", ids[4])).ok();
    let texts = |key: &str| {
        let list = context[key].as_array().expect("a list").iter();
        list.map(|e| e["content"]["body"].as_str().unwrap_or("").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(context["event"]["content"]["body"], "4");
    assert_eq!(
        (texts("events_before"), texts("events_after")),
        (vec!["3".into(), "2".into()], vec!["5".into(), "6".into()])
    );
    let name = context["state"].as_array().expect("a list").iter().find(|e| e["type"] == "m.room.name");
    assert_eq!(name.expect("is there")["content"]["name"], "old");
    let (start, end) = (context["start"].as_str().expect("text"), context["end"].as_str().expect("text"));
    assert_eq!(bodies(&alice.get(&format!("{room}/messages?dir=b&from={start}&limit=2")).ok()), ["1", "0"]);
    assert_eq!(bodies(&alice.get(&format!("{room}/messages?dir=f&from={end}&limit=2")).ok()), ["7", "8"]);
    alice.get(&format!("{room}/context/$nothing")).refused(404, "M_NOT_FOUND");
}

#[test]
fn a_redaction_empties_the_event_for_everybody_and_for_ever() {
    for version in ["10", "11", "12"] {
        let server = TestServer::start();
        let (alice, bob) = (server.register("alice"), server.register("bob"));
        let room = create(&alice, json!({ "preset": "public_chat", "room_version": version }));
        bob.post(&format!("{room}/join"), json!({})).ok();
        let (of_alice, of_bob) = (say(&alice, &room, "1", "secret a"), say(&bob, &room, "1", "secret b"));
        let redact = |who: &Client, id: &str, n: u8| {
            who.put(&format!("{room}/redact/{id}/{n}"), json!({ "reason": "oops" }))
        };
        redact(&bob, &of_alice, 7).refused(403, "M_FORBIDDEN");
        redact(&bob, "$nothing", 8).refused(404, "M_NOT_FOUND");
        let redaction = redact(&bob, &of_bob, 9).ok()["event_id"].as_str().expect("text").to_owned();
        // Retransmitted: the same answer, and one event.
        assert_eq!(redact(&bob, &of_bob, 9).ok()["event_id"], redaction);
        redact(&alice, &of_alice, 9).ok();
        let server = server.restart();
        let alice = server.log_in("alice");
        let event = alice.get(&format!("{room}/event/{of_bob}")).ok();
        assert_eq!(event["content"], json!({}));
        assert_eq!(event["unsigned"]["redacted_because"]["event_id"], redaction);
        assert_eq!(event["unsigned"]["redacted_because"]["content"]["reason"], "oops");
        let event = alice.get(&format!("{room}/event/{redaction}")).ok();
        assert_eq!((&event["redacts"], &event["content"]["redacts"]), (&json!(of_bob), &json!(of_bob)));
        let all = alice.get(&format!("{room}/messages?dir=b&limit=100")).ok().to_string();
        assert!(!all.contains("secret"), "{all}");
        assert_eq!(all.matches("\"m.room.redaction\"").count(), 2 + 2, "{all}");
    }
}

#[test]
fn changed_state_says_what_it_was_before() {
    let server = TestServer::start();
    let alice = server.register("alice");
    let room = create(&alice, json!({ "name": "one" }));
    let set = |name: &str| alice.put(&format!("{room}/state/m.room.name"), json!({ "name": name })).ok();
    let two = set("two");
    // The same again is the same event.
    assert_eq!(set("two"), two);
    let event = alice.get(&format!("{room}/state/m.room.name?format=event")).ok();
    assert_eq!(event["event_id"], two["event_id"]);
    assert_eq!(event["unsigned"]["prev_content"], json!({ "name": "one" }));
    assert_eq!(event["unsigned"]["prev_sender"], alice.user);
    assert!(event["unsigned"]["replaces_state"].is_string());
    assert!(event["unsigned"]["age"].as_u64().is_some_and(|age| age < 60_000));
}

#[test]
fn a_changed_profile_is_in_every_room_and_member_events_always_have_one() {
    let server = TestServer::start();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let rooms: Vec<_> = (0..35).map(|_| create(&alice, json!({ "preset": "public_chat" }))).collect();
    let profile = format!("/_matrix/client/v3/profile/{}", alice.user);
    alice.put(&format!("{profile}/displayname"), json!({ "displayname": "Alice ✨" })).ok();
    alice.put(&format!("{profile}/avatar_url"), json!({ "avatar_url": "mxc://localhost/a" })).ok();
    for room in &rooms {
        let member = alice.get(&format!("{room}/state/m.room.member/{}", alice.user)).ok();
        assert_eq!(
            member,
            json!({ "membership": "join", "displayname": "Alice ✨", "avatar_url": "mxc://localhost/a" })
        );
    }
    // Also in an event that the client wrote itself, and in one that somebody else wrote.
    let path = format!("{}/state/m.room.member/{}", rooms[0], alice.user);
    alice.put(&path, json!({ "membership": "join", "org.example.x": 1 })).ok();
    assert_eq!(alice.get(&path).ok()["displayname"], "Alice ✨");
    bob.post(&format!("{}/join", rooms[0]), json!({})).ok();
    alice.post(&format!("{}/kick", rooms[0]), json!({ "user_id": bob.user })).ok();
    let kicked = alice.get(&format!("{}/state/m.room.member/{}", rooms[0], bob.user)).ok();
    assert_eq!((&kicked["membership"], &kicked["displayname"]), (&json!("leave"), &json!("bob")));
}

#[test]
fn relations_and_times_lead_to_events() {
    let server = TestServer::start();
    let alice = server.register("alice");
    let room = create(&alice, json!({}));
    let target = say(&alice, &room, "1", "target");
    for (n, (kind, how)) in
        [("m.room.message", "m.replace"), ("m.reaction", "m.annotation"), ("m.room.message", "m.thread")]
            .iter()
            .enumerate()
    {
        let body =
            json!({ "body": kind, "m.relates_to": { "rel_type": how, "event_id": target, "key": "+" } });
        alice.put(&format!("{room}/send/{kind}/r{n}"), body).ok();
    }
    let relations = room.replace("/v3/", "/v1/") + "/relations/" + &target;
    let count = |path: &str| alice.get(&format!("{relations}{path}")).ok()["chunk"].as_array().map(Vec::len);
    assert_eq!(count(""), Some(3));
    assert_eq!(count("/m.annotation"), Some(1));
    assert_eq!(count("/m.thread/m.room.message"), Some(1));
    assert_eq!(count("/m.thread/m.reaction"), Some(0));
    let first = alice.get(&format!("{relations}?limit=2")).ok();
    let next = first["next_batch"].as_str().expect("there is more");
    assert_eq!(count(&format!("?from={next}")), Some(1));
    let time = room.replace("/v3/", "/v1/") + "/timestamp_to_event";
    let sent =
        alice.get(&format!("{room}/event/{target}")).ok()["origin_server_ts"].as_u64().expect("a time");
    let early = alice.get(&format!("{time}?ts=0&dir=f")).ok();
    assert!(early["origin_server_ts"].as_u64().is_some_and(|ts| ts <= sent));
    alice.get(&format!("{time}?ts=0&dir=b")).refused(404, "M_NOT_FOUND");
}

#[test]
fn an_upgraded_room_leads_to_the_new_one_and_takes_its_name_along() {
    let server = TestServer::start();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    for (from, to) in [("10", "11"), ("11", "12"), ("12", "12")] {
        let alias = format!("a{from}");
        let body =
            json!({ "preset": "public_chat", "room_version": from, "name": "Old", "room_alias_name": alias });
        let old = create(&alice, body);
        bob.post(&format!("{old}/join"), json!({})).ok();
        bob.post(&format!("{old}/upgrade"), json!({ "new_version": to })).refused(403, "M_FORBIDDEN");
        alice
            .post(&format!("{old}/upgrade"), json!({ "new_version": "1" }))
            .refused(400, "M_UNSUPPORTED_ROOM_VERSION");
        let new = alice.post(&format!("{old}/upgrade"), json!({ "new_version": to })).ok();
        let new = new["replacement_room"].as_str().expect("text");
        assert_eq!(alice.get(&format!("{old}/state/m.room.tombstone")).ok()["replacement_room"], new);
        let state = |kind: &str| alice.get(&format!("/_matrix/client/v3/rooms/{new}/state/{kind}")).ok();
        assert_eq!(state("m.room.name")["name"], "Old");
        assert!(old.ends_with(state("m.room.create")["predecessor"]["room_id"].as_str().expect("text")));
        let found = alice.get(&format!("/_matrix/client/v3/directory/room/%23{alias}:localhost")).ok();
        assert_eq!(found["room_id"], new);
        bob.put(&format!("{old}/send/m.room.message/1"), json!({ "body": "?" })).refused(403, "M_FORBIDDEN");
        bob.post(&format!("/_matrix/client/v3/join/{new}"), json!({})).ok();
    }
}

#[test]
fn who_sends_is_told_where_in_the_stream_it_stands() {
    let server = TestServer::start();
    let alice = server.register("alice");
    let room = create(&alice, json!({}));
    let send = |n: &str| {
        let path = format!("{room}/send/m.room.message/{n}?org.pilotlight.answer=full");
        alice.put(&path, json!({ "msgtype": "m.text", "body": n })).ok()
    };
    let first = send("1");
    send("2");
    let position = first["org.pilotlight.position"].as_str().expect("text");
    assert_eq!(send("1"), first);
    let after = alice.get(&format!("{room}/messages?dir=f&from={position}")).ok();
    assert_eq!(bodies(&after), ["2"]);
    let before = alice.get(&format!("{room}/messages?dir=b&limit=1&from={position}")).ok();
    assert_eq!(bodies(&before), ["1"]);
}

#[test]
fn who_tells_no_transaction_sends_and_redacts_all_the_same_each_time_anew() {
    let server = TestServer::start();
    let alice = server.register("alice");
    let room = alice.post("/_matrix/client/v3/createRoom", json!({})).ok();
    let room = room["room_id"].as_str().expect("a room");
    for version in ["v3", "r0", "api/v1"] {
        let path = format!("/_matrix/client/{version}/rooms/{room}");
        let say = || {
            alice
                .post(&format!("{path}/send/m.room.message"), json!({ "msgtype": "m.text", "body": version }))
        };
        let (first, second) = (say().ok(), say().ok());
        assert_ne!(first["event_id"], second["event_id"]);
        let event = first["event_id"].as_str().expect("an event");
        let read = || alice.get(&format!("/_matrix/client/v3/rooms/{room}/event/{event}")).ok();
        assert_eq!(read()["content"]["body"], version);
        alice.post(&format!("{path}/redact/{event}"), json!({ "reason": "oops" })).ok();
        assert_eq!(
            (&read()["content"], &read()["unsigned"]["redacted_because"]["content"]["reason"]),
            (&json!({}), &json!("oops"))
        );
        alice.post(&format!("{path}/redact/{event}"), json!({ "reason": 5 })).refused(400, "M_BAD_JSON");
        alice.post(&format!("{path}/send/m.room.message"), json!([])).refused(400, "M_BAD_JSON");
        server
            .anonymous()
            .post(&format!("{path}/send/m.room.message"), json!({}))
            .refused(401, "M_MISSING_TOKEN");
    }
}
