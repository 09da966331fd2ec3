//! M5–M7: who comes into a room, by joining or by making it, is told it in the answer if they want to, instead of in the
//! stream of that device; and from where they scroll back.

use serde_json::{Value, json};

use super::{
    rooms_life::{bodies, say},
    support::{Client, TestServer},
    sync::{Reader, joined, room_of, send},
};

const FULL: &str = "org.pilotlight.answer=full";

/// Comes into a room and is told all of it.
fn enter(client: &Client, room: &str, with: &str) -> Value {
    client.post(&format!("/_matrix/client/v3/join/{room}?{FULL}{with}"), json!({})).ok()
}

/// As a query parameter.
fn encoded(text: &str) -> String {
    text.bytes()
        .map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}

/// What says in a `/sync` that the device has this answer.
fn having(entered: &Value) -> String {
    format!("&org.pilotlight.joined={}", encoded(entered["org.pilotlight.joined"].as_str().expect("a token")))
}

fn texts(room: &Value) -> Vec<&str> {
    let events = room["timeline"]["events"].as_array().expect("a list").iter();
    events.filter_map(|event| event["content"]["body"].as_str()).collect()
}

/// Whether the room is told from its beginning.
fn knows_all(room: &Value) -> bool {
    let events = |part: &str| room[part]["events"].as_array().cloned().unwrap_or_default();
    events("state").iter().chain(&events("timeline")).any(|event| event["type"] == "m.room.create")
}

#[test]
fn m6_who_joins_is_told_what_the_screen_shows() {
    let server = TestServer::driven();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    bob.put(&format!("/_matrix/client/v3/profile/{}/displayname", bob.user), json!({ "displayname": "Bob" }))
        .ok();
    let room = room_of(&alice, &[&bob]);
    let path = format!("/_matrix/client/v3/rooms/{room}");
    for (kind, content) in
        [("m.room.name", json!({ "name": "Kitchen" })), ("m.room.topic", json!({ "topic": "Food" }))]
    {
        alice.put(&format!("{path}/state/{kind}"), content).ok();
    }
    alice.put("/_matrix/client/v3/directory/room/%23here:localhost", json!({ "room_id": room })).ok();
    for n in 0..30 {
        send(&alice, &room, &n.to_string(), &n.to_string());
    }
    bob.put(&format!("{path}/typing/{}", bob.user), json!({ "typing": true, "timeout": 30_000 })).ok();
    bob.put(&format!("/_matrix/client/v3/presence/{}/status", bob.user), json!({ "presence": "busy" })).ok();
    let carol = server.register("carol");
    let ways = [format!("join/{room}"), "join/%23here:localhost".to_owned(), format!("rooms/{room}/join")];
    for way in ways {
        let answer = carol.post(&format!("/_matrix/client/v3/{way}?{FULL}"), json!({})).ok();
        let told = &answer["org.pilotlight.room"];
        assert_eq!(answer["room_id"], *room);
        assert_eq!((&told["name"], &told["topic"]), (&json!("Kitchen"), &json!("Food")));
        assert_eq!(told["aliases"], json!(["#here:localhost"]));
        assert_eq!(told["members_limited"], false);
        let members = told["members"].as_array().expect("a list");
        let ids: Vec<_> = members.iter().map(|member| &member["user_id"]).collect();
        assert_eq!(ids, [&carol.user, &alice.user, &bob.user]);
        assert_eq!((&members[2]["displayname"], &members[2]["typing"]), (&json!("Bob"), &json!(true)));
        assert_eq!(members[2]["presence"]["org.pilotlight.presence"]["state"], "busy");
        assert_eq!((&members[0]["typing"], &members[0]["power_level"]), (&json!(false), &json!(0)));
        assert!(members[1]["power_level"].as_i64().expect("a number") >= 100);
        // A screen full, and more before it.
        assert_eq!(told["timeline"]["events"].as_array().expect("a list").len(), 20);
        assert_eq!(told["timeline"]["limited"], true);
        let from = told["timeline"]["prev_batch"].as_str().expect("a token");
        let before = carol.get(&format!("{path}/messages?dir=b&limit=100&from={from}")).ok();
        let mut all = bodies(&before);
        all.reverse();
        all.extend(texts(told));
        assert_eq!(all, (0..30).map(|n| n.to_string()).collect::<Vec<_>>());
        let kinds = told["state"]["events"].as_array().expect("a list").iter();
        assert!(kinds.clone().any(|event| event["type"] == "m.room.create"));
        assert_eq!(told["summary"]["m.joined_member_count"], 3);
        // The answer without it is Matrix's.
        let plain = carol.post(&format!("/_matrix/client/v3/{way}"), json!({})).ok();
        assert_eq!(plain, json!({ "room_id": room }));
        carol.post(&format!("{path}/leave"), json!({})).ok();
    }
}

#[test]
fn m6_the_answer_is_filtered_as_a_sync_is() {
    let server = TestServer::start();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let room = room_of(&alice, &[]);
    for n in 0..5 {
        send(&alice, &room, &n.to_string(), &n.to_string());
    }
    let inline = json!({ "room": { "timeline": { "limit": 2, "types": ["m.room.message"] }, "state": { "types": [] },
        "account_data": { "types": [] } }, "presence": { "types": [] } });
    let path = format!("/_matrix/client/v3/user/{}/filter", bob.user);
    let stored = bob.post(&path, inline.clone()).ok()["filter_id"].as_str().expect("an ID").to_owned();
    for filter in [inline.to_string(), stored] {
        let answer = enter(&bob, &room, &format!("&org.pilotlight.filter={}", encoded(&filter)));
        let told = &answer["org.pilotlight.room"];
        assert_eq!((texts(told), &told["state"]["events"]), (vec!["3", "4"], &json!([])));
        assert!(
            told["members"].as_array().expect("a list").iter().all(|member| member.get("presence").is_none())
        );
        bob.post(&format!("/_matrix/client/v3/rooms/{room}/leave"), json!({})).ok();
    }
    // A filter that is none keeps nobody waiting in a room that they do not know of.
    for filter in ["{", "77", "%7B%22room%22:1%7D"] {
        bob.post(&format!("/_matrix/client/v3/join/{room}?{FULL}&org.pilotlight.filter={filter}"), json!({}))
            .refused(400, "M_INVALID_PARAM");
    }
    assert_eq!(bob.get("/_matrix/client/v3/joined_rooms").ok()["joined_rooms"], json!([]));
}

#[test]
fn m6_the_joining_device_has_the_room_in_the_answer_instead_of_in_its_stream() {
    let server = TestServer::driven();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let phone = server.log_in("bob");
    for lazy in [false, true] {
        let filter = json!({ "room": { "state": { "lazy_load_members": lazy } } }).to_string();
        let with = format!("&filter={}", encoded(&filter));
        let room = room_of(&alice, &[]);
        say(&alice, &format!("/_matrix/client/v3/rooms/{room}"), "1", "before");
        let mut reader = Reader::with(&bob, &with);
        let mut other = Reader::with(&phone, &with);
        let old = reader.since.clone();
        let entered = enter(&bob, &room, &format!("&org.pilotlight.filter={}", encoded(&filter)));
        assert_eq!(texts(&entered["org.pilotlight.room"]), ["before"]);
        // The other device has it in its stream.
        let told = other.now();
        assert_eq!(texts(joined(&told, &room)), ["before"]);
        assert!(knows_all(joined(&told, &room)));
        // This one has what came after the answer.
        let nothing =
            Reader { with: format!("{with}{}", having(&entered)), since: old.clone(), ..reader }.now();
        assert_eq!(*joined(&nothing, &room), Value::Null, "lazy: {lazy}");
        send(&alice, &room, "2", "after");
        reader =
            Reader { client: bob.clone(), with: format!("{with}{}", having(&entered)), since: old.clone() };
        let told = reader.now();
        assert_eq!(texts(joined(&told, &room)), ["after"]);
        assert_eq!(joined(&told, &room)["timeline"]["limited"], false);
        // At most who speaks is told again, with lazily loaded members.
        let state = joined(&told, &room)["state"]["events"].as_array().expect("a list");
        assert!(state.iter().all(|event| lazy && event["type"] == "m.room.member"), "{told}");
        assert_eq!(joined(&told, &room)["unread_notifications"]["notification_count"], 1);
        // From there on it goes on without the token.
        reader.with = with.clone();
        send(&alice, &room, "3", "later");
        assert_eq!(texts(joined(&reader.now(), &room)), ["later"]);
        // The answer was lost: the old token without it tells everything.
        let mut lost = Reader { client: bob.clone(), with: with.clone(), since: old };
        let told = lost.now();
        assert_eq!(texts(joined(&told, &room)), ["before", "after", "later"]);
        assert!(knows_all(joined(&told, &room)), "lazy: {lazy}");
        bob.post(&format!("/_matrix/client/v3/rooms/{room}/leave"), json!({})).ok();
    }
}

#[test]
fn m6_what_comes_after_the_answer_can_be_a_gap_and_a_change_of_state() {
    let server = TestServer::start_with(|config| config.rate_limits.enabled = false);
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let room = room_of(&alice, &[]);
    let reader = Reader::new(&bob);
    let entered = enter(&bob, &room, "");
    let path = format!("/_matrix/client/v3/rooms/{room}");
    alice.put(&format!("{path}/state/m.room.topic"), json!({ "topic": "new" })).ok();
    for n in 0..15 {
        send(&alice, &room, &n.to_string(), &n.to_string());
    }
    let told = Reader { with: having(&entered), ..reader }.now();
    let told = joined(&told, &room);
    assert_eq!(told["timeline"]["limited"], true);
    let state: Vec<_> =
        told["state"]["events"].as_array().expect("a list").iter().map(|e| &e["type"]).collect();
    assert_eq!(state, ["m.room.topic"], "and nothing that it knows");
}

#[test]
fn m6_a_token_of_an_answer_that_says_nothing_true_is_not_believed() {
    let server = TestServer::start();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let room = room_of(&alice, &[]);
    send(&alice, &room, "1", "before");
    let reader = Reader::new(&bob);
    let since = reader.since.clone();
    let position: u64 = since[1..].split('_').next().expect("a number").parse().expect("a number");
    enter(&bob, &room, "");
    let as_if = |token: &str| {
        let with = format!("&org.pilotlight.joined={}", encoded(token));
        Reader { client: bob.clone(), since: since.clone(), with }.now()
    };
    // Of the future, of the past, of before the join, of another room.
    for token in [
        format!("j{}_{room}", u32::MAX),
        format!("j1_{room}"),
        format!("j{position}_{room}"),
        format!("j{}_!other:localhost", position + 1),
    ] {
        assert_eq!(texts(joined(&as_if(&token), &room)), ["before"], "{token}");
    }
    for garbage in ["x", "p1_1", &format!("j_{room}")] {
        let path =
            format!("/_matrix/client/v3/sync?since={since}&org.pilotlight.joined={}", encoded(garbage));
        bob.get(&path).refused(400, "M_INVALID_PARAM");
    }
    let many = "&org.pilotlight.joined=j1_!r:x".repeat(51);
    bob.get(&format!("/_matrix/client/v3/sync?since={since}{many}")).refused(400, "M_INVALID_PARAM");
}

#[test]
fn m6_who_is_met_by_joining_shows_in_the_stream_all_the_same() {
    let server = TestServer::driven();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    alice
        .put(&format!("/_matrix/client/v3/presence/{}/status", alice.user), json!({ "presence": "busy" }))
        .ok();
    let room = room_of(&alice, &[]);
    let reader = Reader::new(&bob);
    let entered = enter(&bob, &room, "");
    let told = Reader { with: having(&entered), ..reader }.now();
    let present = told["presence"]["events"].as_array().expect("somebody came in sight");
    assert!(present.iter().any(|event| event["sender"] == *alice.user), "{told}");
    assert!(told["device_lists"]["changed"].as_array().expect("a list").contains(&json!(alice.user)));
}

#[test]
fn m5_a_room_that_one_makes_is_told_like_one_that_one_joins() {
    let server = TestServer::start();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let reader = Reader::new(&alice);
    let body = json!({ "preset": "public_chat", "name": "Kitchen", "topic": "Food", "room_alias_name": "here",
        "invite": [bob.user] });
    let path = format!("/_matrix/client/v3/createRoom?{FULL}&org.pilotlight.action=1");
    let made = alice.post(&path, body.clone()).ok();
    let (room, told) = (made["room_id"].as_str().expect("an ID"), &made["org.pilotlight.room"]);
    assert_eq!((&told["name"], &told["topic"]), (&json!("Kitchen"), &json!("Food")));
    assert_eq!(told["aliases"], json!(["#here:localhost"]));
    assert_eq!(told["members"][0]["user_id"], *alice.user);
    assert_eq!(told["timeline"]["limited"], false);
    let told = Reader { with: having(&made), ..reader }.now();
    assert_eq!(*joined(&told, room), Value::Null);
    // Sent again it is the same room.
    assert_eq!(alice.post(&path, body).ok()["room_id"], *room);
}

#[test]
fn m7_every_stream_that_asks_is_told_from_where_to_scroll_back_in_a_room_that_is_new_to_it() {
    let server = TestServer::driven();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let phone = server.log_in("bob");
    let room = room_of(&alice, &[]);
    for n in 0..15 {
        send(&alice, &room, &n.to_string(), &n.to_string());
    }
    let asks = json!({ "room": { "org.pilotlight.joined_events": true } });
    let path = format!("/_matrix/client/v3/user/{}/filter", bob.user);
    let stored = bob.post(&path, asks.clone()).ok()["filter_id"].as_str().expect("an ID").to_owned();
    let mut streams = [
        Reader::with(&bob, &format!("&filter={}", encoded(&asks.to_string()))),
        Reader::with(&phone, &format!("&filter={stored}")),
    ];
    let mut stock = Reader::new(&phone);
    bob.post(&format!("/_matrix/client/v3/join/{room}"), json!({})).ok();
    let of_joins = |told: &Value| -> Vec<Value> {
        let events = joined(told, &room)["ephemeral"]["events"].as_array().cloned().unwrap_or_default();
        events.into_iter().filter(|event| event["type"] == "org.pilotlight.joined").collect()
    };
    for stream in &mut streams {
        let told = stream.now();
        let events = of_joins(&told);
        assert_eq!(events.len(), 1, "{told}");
        let from = events[0]["content"]["prev_batch"].as_str().expect("a token");
        assert_eq!(joined(&told, &room)["timeline"]["prev_batch"], from);
        let before =
            bob.get(&format!("/_matrix/client/v3/rooms/{room}/messages?dir=b&limit=100&from={from}")).ok();
        let mut all = bodies(&before);
        all.reverse();
        all.extend(texts(joined(&told, &room)));
        assert_eq!(all, (0..15).map(|n| n.to_string()).collect::<Vec<_>>());
    }
    assert_eq!(of_joins(&stock.now()), [Value::Null; 0], "who did not ask is not told");
    send(&alice, &room, "next", "next");
    assert_eq!(of_joins(&streams[0].now()), [Value::Null; 0], "once");
    // Whoever comes without having seen the join begins there, too.
    let first = Reader { since: String::new(), ..Reader::with(&phone, &format!("&filter={stored}")) }.now();
    assert_eq!(of_joins(&first).len(), 1);
    // One who makes a room joins it.
    let made = bob.post("/_matrix/client/v3/createRoom", json!({})).ok();
    let told = streams[0].now();
    let made = joined(&told, made["room_id"].as_str().expect("an ID"));
    assert!(
        made["ephemeral"]["events"]
            .as_array()
            .expect("a list")
            .iter()
            .any(|e| e["type"] == "org.pilotlight.joined")
    );
}
