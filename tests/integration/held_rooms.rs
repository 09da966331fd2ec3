//! What of rooms held streams are told beside events: who types, who has read, how much is unread; and a room that its
//! device has in the answer to a join.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{
    contacts::choose,
    streamed::{Held, STREAM, Told, bodies_of, last_id},
    support::{Client, TestServer},
    sync::{Reader, room_of, send},
};

const RECEIVED: &str = "/_matrix/client/unstable/org.pilotlight/stream/received";

/// A stream of `client` that was told everything there is.
fn following(client: &Client, query: &str) -> Held {
    let held = Held::open_with(client, &Reader::new(client).since, query);
    held.until("a greeting", |told| told.name == "hello");
    held
}

fn types(client: &Client, room: &str, is_typing: bool) {
    let path = format!("/_matrix/client/v3/rooms/{room}/typing/{}", client.user);
    client.put(&path, json!({ "typing": is_typing, "timeout": 30_000 })).ok();
}

fn reads(client: &Client, room: &str, kind: &str, event: &str, body: Value) {
    client.post(&format!("/_matrix/client/v3/rooms/{room}/receipt/{kind}/{event}"), body).ok();
}

fn ignore(client: &Client, whom: &[&Client]) {
    let users: serde_json::Map<_, _> = whom.iter().map(|other| (other.user.clone(), json!({}))).collect();
    let path = format!("/_matrix/client/v3/user/{}/account_data/m.ignored_user_list", client.user);
    client.put(&path, json!({ "ignored_users": users })).ok();
}

/// The data of the events with a name.
fn of(told: &[Told], name: &str) -> Vec<Value> {
    told.iter().filter(|told| told.name == name).map(|told| told.data.clone()).collect()
}

#[test]
fn who_types_is_told_to_each_without_whom_they_ignore_and_as_their_filter_has_it() {
    let server = TestServer::start();
    let [alice, bob, carol, dora] = ["alice", "bob", "carol", "dora"].map(|name| server.register(name));
    let room = room_of(&alice, &[&bob, &carol, &dora]);
    ignore(&carol, &[&alice]);
    let filter = json!({ "room": { "ephemeral": { "not_types": ["m.typing"] } } }).to_string();
    let filter: String = filter.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let streams = [following(&bob, ""), following(&carol, ""), following(&dora, &format!("filter={filter}"))];
    types(&alice, &room, true);
    types(&dora, &room, true);
    types(&alice, &room, false);
    send(&bob, &room, "1", "last");
    let lists = streams.each_ref().map(|held| -> Vec<Value> {
        let typing = of(&held.until_body("last"), "typing");
        typing.into_iter().inspect(|data| assert_eq!(data["room_id"], room.as_str())).collect()
    });
    let last = |n: usize| lists[n].last().map(|data| data["user_ids"].clone());
    assert_eq!([last(0), last(1), last(2)], [Some(json!([dora.user])), Some(json!([dora.user])), None]);
    assert!(!format!("{:?}", lists[1]).contains(&alice.user), "{:?}", lists[1]);
    // Nobody who is out is told, and nobody of another room.
    bob.post(&format!("/_matrix/client/v3/rooms/{room}/leave"), json!({})).ok();
    types(&dora, &room, false);
    let other = room_of(&alice, &[&bob]);
    let told = streams[0].until("the other room", |told| told.data.to_string().contains(&other));
    assert_eq!(of(&told, "typing"), Vec::<Value>::new());
}

#[test]
fn what_is_read_is_told_to_the_room_and_what_is_read_in_private_to_own_devices() {
    let server = TestServer::start();
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| server.register(name));
    let phone = server.log_in("bob");
    let room = room_of(&alice, &[&bob, &carol]);
    let event = send(&alice, &room, "1", "read this");
    ignore(&carol, &[&bob]);
    let [alices, phones, carols] = [&alice, &phone, &carol].map(|client| following(client, ""));
    reads(&bob, &room, "m.read", &event, json!({ "thread_id": "main" }));
    reads(&bob, &room, "m.read.private", &event, json!({}));
    let receipts = |told: &[Told]| -> Vec<String> {
        let receipts = of(told, "receipt").into_iter();
        let receipts = receipts.inspect(|data| assert_eq!(data["room_id"], room.as_str()));
        let kinds = receipts.flat_map(|data| {
            let kinds = data["content"][&event].as_object().expect("of the event").clone();
            kinds.into_iter().map(|(kind, users)| format!("{kind} {}", users[&bob.user]["thread_id"]))
        });
        kinds.collect()
    };
    let own =
        phones.until("what is unread", |told| told.name == "unread" && told.data["notification_count"] == 0);
    let mut own = receipts(&own);
    while own.len() < 2 {
        own.extend(receipts(&phones.until("a receipt", |told| told.name == "receipt")));
    }
    own.sort();
    assert_eq!(own, ["m.read \"main\"", "m.read.private null"]);
    send(&alice, &room, "2", "last");
    assert_eq!(receipts(&alices.until_body("last")), ["m.read \"main\""]);
    assert_eq!(receipts(&carols.until_body("last")), Vec::<String>::new());
    // A hidden user's reading shows to their own devices only.
    choose(&bob, "hidden");
    let last = send(&alice, &room, "3", "read this too");
    reads(&bob, &room, "m.read", &last, json!({}));
    let shows = |told: &Told| told.name == "receipt" && told.data["content"].get(&last).is_some();
    phones.until("the receipt", shows);
    send(&alice, &room, "4", "the end");
    assert!(!alices.until_body("the end").iter().any(shows));
}

#[test]
fn who_goes_on_from_an_id_is_told_what_was_read_and_typed_after_it() {
    let server = TestServer::start();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let room = room_of(&alice, &[&bob]);
    let held = following(&alice, "");
    let event = send(&alice, &room, "1", "hi");
    let mut ids = vec![last_id(&held.until_body("hi"))];
    let typing = |told: &Told| told.name == "typing" && told.id.is_some();
    let receipt = |told: &Told| told.name == "receipt" && told.id.is_some();
    types(&bob, &room, true);
    ids.push(last_id(&held.until("typing", typing)));
    reads(&bob, &room, "m.read", &event, json!({}));
    ids.push(last_id(&held.until("a receipt", receipt)));
    send(&alice, &room, "2", "end");
    for (n, id) in ids.iter().enumerate() {
        let told = Held::open(&alice, id).until_body("end");
        let counts = (of(&told, "typing").len(), of(&told, "receipt").len());
        assert_eq!(counts, [(1, 1), (0, 1), (0, 0)][n], "from {id}: {told:?}");
    }
}

#[test]
fn how_much_is_unread_is_told_when_it_differs_from_what_was_told_last() {
    let server = TestServer::start();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let room = room_of(&alice, &[&bob]);
    let held = following(&alice, "");
    let event = send(&alice, &room, "1", "hi");
    let mut told = held.until("what is unread", |told| told.name == "unread");
    for kind in ["m.read", "m.read.private"] {
        // Of one's own reading, and of others', there is as little unread as before.
        for reader in [&alice, &bob] {
            reads(reader, &room, kind, &event, json!({}));
        }
        send(&alice, &room, kind, kind);
        told.extend(held.until_body(kind));
    }
    send(&bob, &room, "1", "unread");
    told.extend(held.until("what is unread", |told| told.data["notification_count"] == 1));
    let counts: Vec<_> = of(&told, "unread").iter().map(|data| data["notification_count"].clone()).collect();
    assert_eq!(counts, [0, 1], "{told:?}");
}

/// Other rules than before count what was told already, in every room: more of them than are told at once.
#[test]
fn how_much_is_unread_is_told_when_a_room_is_muted_and_when_somebody_is_ignored() {
    let server = TestServer::start_with(|config| config.rate_limits.enabled = false);
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let rooms: Vec<_> = (0..20).map(|_| room_of(&alice, &[&bob])).collect();
    rooms.iter().for_each(|room| drop(send(&alice, room, "1", "hi")));
    let held = following(&bob, "");
    let told = |room: &str, count: u64| {
        held.until("what is unread", |told| {
            told.name == "unread" && told.data["room_id"] == room && told.data["notification_count"] == count
        });
    };
    send(&alice, &rooms[0], "2", "hi again");
    told(&rooms[0], 2);
    let rule = |kind: &str, id: &str| format!("/_matrix/client/v3/pushrules/global/{kind}/{id}");
    let of_room = json!([{ "kind": "event_match", "key": "room_id", "pattern": rooms[0] }]);
    for (path, rule) in [
        (rule("room", &rooms[0]), json!({ "actions": [] })),
        (rule("override", "mute"), json!({ "actions": [], "conditions": of_room })),
    ] {
        bob.put(&path, rule).ok();
        told(&rooms[0], 0);
        bob.delete(&path, json!({})).ok();
        told(&rooms[0], 2);
    }
    for (whom, count) in [(&[&alice][..], 0), (&[], 1)] {
        ignore(&bob, whom);
        let mut rest: std::collections::BTreeSet<_> = rooms[1..].iter().map(String::as_str).collect();
        while !rest.is_empty() {
            let unread = held.until("what is unread", |told| told.name == "unread");
            let data = &unread.last().expect("is told").data;
            if data["notification_count"] == count {
                rest.remove(data["room_id"].as_str().expect("an ID"));
            }
        }
    }
}

fn enter(client: &Client, room: &str, with: &str) -> Value {
    let path = format!("/_matrix/client/v3/join/{room}?org.pilotlight.answer=full{with}");
    client.post(&path, json!({})).ok()
}

#[test]
fn m6_an_open_stream_of_the_device_that_joined_tells_what_came_after_the_answer() {
    let server = TestServer::start();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let phone = server.log_in("bob");
    let room = room_of(&alice, &[]);
    let before = Reader::new(&bob).since;
    let (held, phones) = (following(&bob, ""), following(&phone, ""));
    send(&alice, &room, "1", "before");
    let entered = enter(&bob, &room, "&org.pilotlight.confirm=true");
    send(&alice, &room, "2", "after");
    // Other devices are told the room whole, at once.
    let told = phones.until_body("before");
    assert!(told.iter().any(|told| told.data.to_string().contains("m.room.create")));
    bob.post(RECEIVED, json!({ "joined": [entered["org.pilotlight.joined"]] })).ok();
    let told = held.until_body("after");
    let said: Vec<_> = told.iter().flat_map(bodies_of).collect();
    assert_eq!(said, ["after"]);
    assert!(!told.iter().any(|told| told.data.to_string().contains("m.room.create")), "{told:?}");
    // Who is met by it shows all the same.
    assert!(told.iter().any(|told| told.data.to_string().contains("changed")), "{told:?}");
    send(&alice, &room, "3", "later");
    assert_eq!(held.until_body("later").iter().flat_map(bodies_of).collect::<Vec<_>>(), ["later"]);
    // The answer may be lost all the same: from before it the room is told.
    let again = Held::open(&bob, &before).until_body("before");
    assert!(again.iter().any(|told| told.data.to_string().contains("m.room.create")));
}

#[test]
fn m6_a_stream_tells_the_room_whole_when_the_answer_is_not_confirmed_and_at_once_when_it_need_not_be() {
    let server = TestServer::start();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let held = following(&bob, "");
    let mut open = Vec::new();
    for (n, (with, waits)) in [("", false), ("&org.pilotlight.confirm=true", true)].into_iter().enumerate() {
        let room = room_of(&alice, &[]);
        send(&alice, &room, "1", &format!("in {n}"));
        let begun = Instant::now();
        enter(&bob, &room, with);
        open.push(room);
        let told = held.until_body(&format!("in {n}"));
        assert!(told.iter().any(|told| told.data.to_string().contains("m.room.create")));
        assert_eq!(begun.elapsed() >= Duration::from_secs(4), waits, "{:?}", begun.elapsed());
    }
    // A join that is refused keeps nobody waiting, nor does an answer that nobody was given.
    let begun = Instant::now();
    let path =
        "/_matrix/client/v3/join/!none:localhost?org.pilotlight.answer=full&org.pilotlight.confirm=true";
    assert_ne!(bob.post(path, json!({})).status, 200);
    send(&alice, &open[0], "2", "goes on");
    held.until_body("goes on");
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    // Nor does a join into a room that one is in.
    for n in 0..3 {
        let begun = Instant::now();
        enter(&bob, &open[0], "&org.pilotlight.confirm=true");
        bob.put(&format!("/_matrix/client/v3/user/{}/account_data/x.{n}", bob.user), json!({})).ok();
        held.until("own data", |told| told.data["type"] == format!("x.{n}"));
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    }
    // A stream that waits ends when it has to.
    let phone = server.log_in("bob");
    let phones = following(&phone, "");
    let begun = Instant::now();
    enter(&phone, &room_of(&alice, &[]), "&org.pilotlight.confirm=true");
    phone.post("/_matrix/client/v3/logout", json!({})).ok();
    assert_eq!(phones.rest().last().expect("is told why").name, "end");
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    for (body, code) in [
        (json!({}), "M_BAD_JSON"),
        (json!({ "joined": [] }), "M_BAD_JSON"),
        (json!({ "joined": ["x"] }), "M_INVALID_PARAM"),
        (json!({ "joined": vec!["j1_!r:x"; 51] }), "M_INVALID_PARAM"),
    ] {
        bob.post(RECEIVED, body).refused(400, code);
    }
    bob.get(&format!("{STREAM}?since=x")).refused(400, "M_INVALID_PARAM");
    let new = room_of(&alice, &[]);
    let path = format!(
        "/_matrix/client/v3/rooms/{new}/join?org.pilotlight.answer=full&org.pilotlight.confirm=perhaps"
    );
    bob.post(&path, json!({})).refused(400, "M_INVALID_PARAM");
    let joined = bob.get("/_matrix/client/v3/joined_rooms").ok();
    assert!(!joined.to_string().contains(&new), "what is refused changes nothing");
}
