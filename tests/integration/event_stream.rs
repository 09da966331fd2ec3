//! `/events`: the stream in one list, page by page, without a gap.

use serde_json::{Value, json};

use super::{
    poll::{LONGEST, Poll},
    support::{Client, TestServer},
    sync::{Reader, create_room, joined, room_of, same, send},
};

/// A client that follows `/events`.
pub struct Follower {
    pub client: Client,
    pub from: String,
    /// Further query parameters of each request, as `&key=value`.
    pub with: String,
}

impl Follower {
    /// Begins with everything that there is.
    pub fn new(client: &Client) -> Self {
        let first = client.get("/_matrix/client/v3/initialSync").ok();
        let from = first["end"].as_str().expect("end").to_owned();
        Self { client: client.clone(), from, with: String::new() }
    }

    pub fn with(client: &Client, with: &str) -> Self {
        Self { with: with.to_owned(), ..Self::new(client) }
    }

    /// One answer, without waiting.
    pub fn once(&mut self) -> Vec<Value> {
        let answer = self.client.get(&self.path(0)).ok();
        self.take(&answer)
    }

    /// Everything that is new, without waiting.
    pub fn now(&mut self) -> Vec<Value> {
        let mut all = Vec::new();
        loop {
            let before = self.from.clone();
            let events = self.once();
            if events.is_empty() && self.from == before {
                return all;
            }
            all.extend(events);
        }
    }

    /// Holds a poll open from where it is.
    pub fn poll(&self) -> Poll {
        Poll::open_at(&self.client, &self.path(LONGEST.as_millis()))
    }

    /// The events of an answer, after which it goes on.
    pub fn take(&mut self, answer: &Value) -> Vec<Value> {
        assert_eq!(answer["start"], self.from.as_str());
        self.from = answer["end"].as_str().expect("end").to_owned();
        answer["chunk"].as_array().expect("chunk").clone()
    }

    fn path(&self, timeout_ms: u128) -> String {
        let Self { from, with, .. } = self;
        format!("/_matrix/client/v3/events?from={from}&timeout={timeout_ms}{with}")
    }
}

pub fn bodies(events: &[Value]) -> Vec<&str> {
    events.iter().filter_map(|event| event["content"]["body"].as_str()).collect()
}

fn of_type<'a>(events: &'a [Value], kind: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["type"] == kind).collect()
}

fn unlimited() -> TestServer {
    TestServer::driven_with(|config| config.rate_limits.enabled = false)
}

#[test]
fn m2_pages_of_the_stream_tell_everything_once_in_the_order_in_which_it_happened() {
    for restarts in [false, true] {
        let mut server = unlimited();
        let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| server.register(name));
        let rooms = [room_of(&alice, &[&bob]), room_of(&alice, &[&bob])];
        // Somebody whom Bob meets on the way.
        let third = create_room(&carol, json!({ "preset": "public_chat" }));
        let status = format!("/_matrix/client/v3/presence/{}/status", carol.user);
        carol.put(&status, json!({ "presence": "online", "status_msg": "here" })).ok();
        let mut follower = Follower::with(&bob, "&limit=7");
        let mut expected: Vec<String> = Vec::new();
        for n in 0..60 {
            let body = format!("{n}");
            expected.push(send(&alice, &rooms[n % 2], &body, &body));
            if n == 20 {
                bob.post(&format!("/_matrix/client/v3/join/{third}"), json!({})).ok();
            }
            if n == 40 {
                expected.push(send(&carol, &third, "x", "in the third"));
            }
        }
        let tag = format!("/_matrix/client/v3/user/{}/rooms/{}/account_data/x", bob.user, rooms[0]);
        bob.put(&tag, json!({ "n": 1 })).ok();
        bob.put(&format!("/_matrix/client/v3/user/{}/account_data/y", bob.user), json!({ "n": 2 })).ok();
        let last = &expected[expected.len() - 1];
        let receipt = format!("/_matrix/client/v3/rooms/{}/receipt/m.read/{last}", rooms[1]);
        alice.post(&receipt, json!({})).ok();
        if restarts {
            server = server.restart();
            follower.client = same(&server, &bob);
        } else {
            let typing = format!("/_matrix/client/v3/rooms/{}/typing/{}", rooms[0], alice.user);
            alice.put(&typing, json!({ "typing": true })).ok();
        }
        let mut told = Vec::new();
        loop {
            let events = follower.once();
            if events.is_empty() {
                break;
            }
            let of_rooms = events.iter().filter(|event| event["event_id"].is_string());
            assert!(of_rooms.count() <= 7);
            told.extend(events);
        }
        let messages: Vec<&str> =
            of_type(&told, "m.room.message").iter().filter_map(|event| event["event_id"].as_str()).collect();
        assert_eq!(messages, expected, "restarts: {restarts}");
        let own: Vec<_> = of_type(&told, "m.room.member");
        assert_eq!(own.len(), 1);
        assert_eq!((&own[0]["state_key"], &own[0]["room_id"]), (&json!(bob.user), &json!(third)));
        for (kind, room) in [("x", Some(&rooms[0])), ("y", None), ("m.receipt", Some(&rooms[1]))] {
            let found = of_type(&told, kind);
            assert_eq!(found.len(), 1, "{kind}");
            assert_eq!(found[0]["room_id"].as_str(), room.map(String::as_str), "{kind}");
        }
        let of_carol =
            of_type(&told, "m.presence").into_iter().filter(|e| e["sender"] == carol.user.as_str());
        assert_eq!(of_carol.count(), 1, "restarts: {restarts}");
        assert_eq!(of_type(&told, "m.typing").len(), usize::from(!restarts));
        assert_eq!(follower.now(), Vec::<Value>::new());
    }
}

#[test]
fn m2_any_history_is_told_once_whatever_is_asked_for_at_once_and_whichever_answers_are_lost() {
    for seed in 1..=4_u64 {
        let server = unlimited();
        let (alice, bob) = (server.register("alice"), server.register("bob"));
        let rooms: Vec<_> = (0..3).map(|_| room_of(&alice, &[])).collect();
        let mut follower = Follower::new(&bob);
        let mut random = seed;
        let mut chance = |sides: u64| {
            // Knuth's MMIX generator; the high bits are the good ones.
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % sides
        };
        let mut is_in = [false; 3];
        let (mut expected, mut told) = (Vec::new(), Vec::new());
        let say = |event: &Value| {
            let word = event["content"]["body"].as_str().or_else(|| event["content"]["membership"].as_str());
            word.map(|word| format!("{word} {}", event["room_id"].as_str().unwrap_or_default()))
        };
        for step in 0..120 {
            let at = usize::try_from(chance(3)).expect("is small");
            let room = &rooms[at];
            match chance(8) {
                0 | 1 => {
                    let (act, becomes) = if is_in[at] { ("leave", "leave") } else { ("join", "join") };
                    bob.post(&format!("/_matrix/client/v3/rooms/{room}/{act}"), json!({})).ok();
                    is_in[at] = !is_in[at];
                    expected.push(format!("{becomes} {room}"));
                }
                2 => {
                    follower.with = format!("&limit={}", 1 + chance(5));
                    let (before, events) = (follower.from.clone(), follower.once());
                    match chance(3) {
                        // The answer is lost, and asked for again.
                        0 => follower.from = before,
                        _ => told.extend(events.iter().filter_map(say)),
                    }
                }
                _ => {
                    let body = format!("m{step}");
                    send(&alice, room, &body, &body);
                    if is_in[at] {
                        expected.push(format!("{body} {room}"));
                    }
                }
            }
        }
        told.extend(follower.now().iter().filter_map(say));
        assert_eq!(told, expected, "seed {seed}");
    }
}

#[test]
fn m2_what_happens_while_somebody_is_away_is_not_told_and_how_they_went_and_came_is() {
    for restarts in [false, true] {
        let mut server = unlimited();
        let (alice, bob) = (server.register("alice"), server.register("bob"));
        let room = room_of(&alice, &[&bob]);
        let mut follower = Follower::with(&bob, "&limit=3");
        let act =
            |what: &str| drop(bob.post(&format!("/_matrix/client/v3/rooms/{room}/{what}"), json!({})).ok());
        let say = |body: &str| drop(send(&alice, &room, body, body));
        say("before");
        act("leave");
        say("away");
        act("join");
        say("between");
        act("leave");
        say("gone");
        if restarts {
            server = server.restart();
            follower.client = same(&server, &bob);
        }
        let events = follower.now();
        let told: Vec<&str> = events
            .iter()
            .filter(|event| event["room_id"] == room.as_str())
            .filter_map(|event| {
                let content = &event["content"];
                content["body"].as_str().or_else(|| content["membership"].as_str())
            })
            .collect();
        assert_eq!(told, ["before", "leave", "join", "between", "leave"], "restarts: {restarts}");
    }
}

#[test]
fn m2_one_position_serves_sync_and_events_in_turns() {
    let server = TestServer::driven();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let room = room_of(&alice, &[&bob]);
    let message = |id: &str| {
        let path = format!("/_matrix/client/v3/sendToDevice/m.x/{id}");
        alice.put(&path, json!({ "messages": { &bob.user: { &bob.device: { "id": id } } } })).ok();
    };
    let mut follower = Follower::new(&bob);
    message("1");
    send(&alice, &room, "1", "one");
    assert_eq!(bodies(&follower.now()), ["one"]);
    // What only /sync has is kept for it, from the very beginning.
    let mut reader = Reader { client: bob.clone(), since: follower.from.clone(), with: String::new() };
    let told = reader.now();
    assert_eq!(told["to_device"]["events"][0]["content"]["id"], "1");
    assert_eq!((&told["rooms"], &told["presence"]), (&Value::Null, &Value::Null));
    send(&alice, &room, "2", "two");
    let answer = reader.now();
    assert_eq!(joined(&answer, &room)["timeline"]["events"][0]["content"]["body"], "two");
    message("2");
    send(&alice, &room, "3", "three");
    follower.from = reader.since.clone();
    assert_eq!(bodies(&follower.now()), ["three"]);
    send(&alice, &room, "4", "four");
    reader.since = follower.from.clone();
    let answer = reader.now();
    assert_eq!(answer["to_device"]["events"][0]["content"]["id"], "2");
    let events = joined(&answer, &room)["timeline"]["events"].as_array().expect("events");
    assert_eq!(bodies(events), ["four"]);
    // A page of messages begins where the stream is, too.
    let page = format!("/_matrix/client/v3/rooms/{room}/messages?dir=b&limit=1&from={}", follower.from);
    assert_eq!(bob.get(&page).ok()["chunk"][0]["content"]["body"], "three");
}

#[test]
fn m2_a_filter_says_which_types_rooms_and_whose_presence() {
    let server = TestServer::driven();
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| server.register(name));
    let (one, other) = (room_of(&alice, &[&bob, &carol]), room_of(&alice, &[&bob]));
    let filter = json!({
        "room": { "rooms": [one], "timeline": { "types": ["m.room.message"] } },
        "presence": { "senders": [carol.user] },
    });
    let encoded = serde_html_form::to_string([("filter", filter.to_string())]).expect("a query");
    let mut follower = Follower::with(&bob, &format!("&{encoded}"));
    follower.now();
    send(&alice, &one, "1", "wanted");
    send(&alice, &other, "2", "of another room");
    alice.put(&format!("/_matrix/client/v3/rooms/{one}/state/m.room.name/"), json!({ "name": "x" })).ok();
    for client in [&alice, &carol] {
        let status = format!("/_matrix/client/v3/presence/{}/status", client.user);
        client.put(&status, json!({ "presence": "online", "status_msg": "hi" })).ok();
    }
    let events = follower.now();
    assert_eq!(bodies(&events), ["wanted"]);
    assert_eq!(of_type(&events, "m.room.name").len(), 0);
    let presence = of_type(&events, "m.presence");
    assert!(!presence.is_empty() && presence.iter().all(|event| event["sender"] == carol.user.as_str()));
    // The same filter by its ID; of other rooms nothing wakes.
    let path = format!("/_matrix/client/v3/user/{}/filter", bob.user);
    let id = bob.post(&path, filter).ok();
    follower.with = format!("&filter={}", id["filter_id"].as_str().expect("an ID"));
    let poll = follower.poll();
    server.settle();
    send(&alice, &other, "3", "of another room");
    server.settle();
    send(&alice, &one, "4", "wakes");
    assert_eq!(bodies(&follower.take(&poll.answer())), ["wakes"]);
}

#[test]
fn m7_from_where_to_scroll_back_comes_with_the_own_join_to_who_asks() {
    let server = TestServer::driven();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let phone = server.log_in("bob");
    let room = create_room(&alice, json!({ "preset": "public_chat" }));
    send(&alice, &room, "1", "before");
    let asks = "&filter=%7B%22room%22%3A%7B%22org.pilotlight.joined_events%22%3Atrue%7D%7D";
    let (mut follower, mut plain) = (Follower::with(&bob, asks), Follower::new(&bob));
    phone.post(&format!("/_matrix/client/v3/join/{room}"), json!({})).ok();
    let events = follower.now();
    let at = events.iter().position(|event| event["type"] == "org.pilotlight.joined").expect("is told");
    assert_eq!((&events[at - 1]["state_key"], &events[at]["room_id"]), (&json!(bob.user), &json!(room)));
    let from = events[at]["content"]["prev_batch"].as_str().expect("a token");
    let page = bob.get(&format!("/_matrix/client/v3/rooms/{room}/messages?dir=b&limit=1&from={from}")).ok();
    assert_eq!(page["chunk"][0]["content"]["body"], "before");
    assert_eq!(of_type(&plain.now(), "org.pilotlight.joined").len(), 0);
}

#[test]
fn m2_who_is_ignored_is_not_told_of() {
    let server = TestServer::driven();
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| server.register(name));
    let room = room_of(&alice, &[&bob, &carol]);
    let path = format!("/_matrix/client/v3/user/{}/account_data/m.ignored_user_list", bob.user);
    bob.put(&path, json!({ "ignored_users": { &carol.user: {} } })).ok();
    let mut follower = Follower::new(&bob);
    send(&carol, &room, "1", "unheard");
    send(&alice, &room, "2", "heard");
    create_room(&carol, json!({ "invite": [bob.user] }));
    let name = format!("/_matrix/client/v3/rooms/{room}/state/m.room.topic/");
    carol.put(&name, json!({ "topic": "state is told" })).status.to_string();
    let events = follower.now();
    assert_eq!(bodies(&events), ["heard"]);
    assert!(events.iter().all(|event| event["content"]["membership"] != "invite"), "{events:?}");
}

#[test]
fn m2_anybody_looks_into_a_room_that_is_for_everybody_to_read() {
    let server = TestServer::driven();
    let (alice, carol) = (server.register("alice"), server.register("carol"));
    let room = create_room(&alice, json!({ "preset": "public_chat" }));
    let peek = |from: &str, timeout: u128| {
        format!("/_matrix/client/v3/events?room_id={room}&timeout={timeout}&from={from}")
    };
    carol.get(&peek("", 0)).refused(403, "M_FORBIDDEN");
    carol.get("/_matrix/client/v3/events?room_id=!nowhere:localhost&timeout=0").refused(403, "M_FORBIDDEN");
    let visibility = format!("/_matrix/client/v3/rooms/{room}/state/m.room.history_visibility/");
    let show = |to: &str| drop(alice.put(&visibility, json!({ "history_visibility": to })).ok());
    send(&alice, &room, "0", "hidden");
    show("world_readable");
    let first = carol.get(&format!("/_matrix/client/v3/rooms/{room}/initialSync")).ok();
    let mut from = first["messages"]["end"].as_str().expect("end").to_owned();
    let poll = Poll::open_at(&carol, &peek(&from, LONGEST.as_millis()));
    server.settle();
    send(&alice, &room, "1", "shown");
    let answer = poll.answer();
    assert_eq!(bodies(answer["chunk"].as_array().expect("chunk")), ["shown"]);
    assert_eq!(answer["chunk"][0]["room_id"], room.as_str());
    from = answer["end"].as_str().expect("end").to_owned();
    send(&alice, &room, "2", "shown too");
    show("joined");
    send(&alice, &room, "3", "hidden again");
    carol.get(&peek(&from, 0)).refused(403, "M_FORBIDDEN");
    show("world_readable");
    let answer = carol.get(&peek(&from, 0)).ok();
    assert_eq!(bodies(answer["chunk"].as_array().expect("chunk")), ["shown too"]);
}

#[test]
fn m2_a_stream_of_one_room_tells_of_that_room_only() {
    let server = TestServer::driven();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let (one, other) = (room_of(&alice, &[&bob]), room_of(&alice, &[&bob]));
    let mut follower = Follower::with(&bob, &format!("&room_id={one}"));
    let typing = |room: &str| {
        let path = format!("/_matrix/client/v3/rooms/{room}/typing/{}", alice.user);
        alice.put(&path, json!({ "typing": true })).ok();
    };
    [&one, &other].into_iter().for_each(|room| typing(room));
    send(&alice, &other, "1", "elsewhere");
    send(&alice, &one, "2", "here");
    let status = format!("/_matrix/client/v3/presence/{}/status", alice.user);
    alice.put(&status, json!({ "presence": "unavailable" })).ok();
    let events = follower.now();
    assert!(events.iter().all(|event| event["room_id"] == one.as_str()), "{events:?}");
    assert_eq!((bodies(&events), of_type(&events, "m.typing").len()), (vec!["here"], 1));
    // Presence waits for whoever wants it.
    follower.with.clear();
    assert!(of_type(&follower.now(), "m.presence").iter().any(|e| e["sender"] == alice.user.as_str()));
}

#[test]
fn m2_a_single_event_is_for_those_who_may_see_it() {
    let server = TestServer::driven();
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| server.register(name));
    let room = room_of(&alice, &[&bob]);
    let id = send(&alice, &room, "1", "one");
    for version in ["r0", "v3", "api/v1"] {
        let path = format!("/_matrix/client/{version}/events/{id}");
        let event = bob.get(&path).ok();
        assert_eq!((&event["room_id"], &event["content"]["body"]), (&json!(room), &json!("one")));
        carol.get(&path).refused(404, "M_NOT_FOUND");
    }
    bob.get("/_matrix/client/v3/events/$nothing").refused(404, "M_NOT_FOUND");
}

#[test]
fn m2_what_cannot_be_asked_is_refused_in_matrix_words() {
    let server = TestServer::driven();
    let alice = server.register("alice");
    for bad in [
        "from=x",
        "from=p1_1_",
        "from=p999999_1",
        "timeout=-1",
        "timeout=x",
        "limit=-1",
        "filter=%7B%5D",
        "room_id=x",
    ] {
        alice.get(&format!("/_matrix/client/v3/events?{bad}")).refused(400, "M_INVALID_PARAM");
    }
    for bad in ["limit=-1", "limit=x", "archived=x", "org.pilotlight.answer=x"] {
        alice.get(&format!("/_matrix/client/v3/initialSync?{bad}")).refused(400, "M_INVALID_PARAM");
    }
    for path in ["events", "initialSync", "events/$x"] {
        let path = format!("/_matrix/client/v3/{path}");
        server.anonymous().get(&path).refused(401, "M_MISSING_TOKEN");
        let answer = alice.get(&format!("{path}?timeout=0"));
        assert_eq!(answer.headers["cache-control"], "no-store", "{path}");
    }
    // Here and now, in both ways to say it.
    for from in ["", "END"] {
        let answer = alice.get(&format!("/_matrix/client/r0/events?timeout=0&from={from}")).ok();
        assert_eq!(answer["start"], answer["end"]);
        assert_eq!(answer["chunk"], json!([]));
    }
}

#[test]
fn m2_a_poll_ends_when_its_device_is_logged_out() {
    let server = TestServer::driven();
    let bob = server.register("bob");
    let phone = server.log_in("bob");
    let mut follower = Follower::new(&bob);
    // What the device itself shows is told.
    follower.now();
    let client = bob.clone();
    let held = bob.polls.hold();
    let path = format!("/_matrix/client/v3/events?timeout=60000&from={}", follower.from);
    let waits = std::thread::spawn(move || {
        let answer = client.get(&path);
        drop(held);
        answer
    });
    server.settle();
    let devices = json!({ "devices": [bob.device], "auth": {
        "type": "m.login.password", "password": super::support::PASSWORD,
        "identifier": { "type": "m.id.user", "user": "bob" },
    } });
    phone.post("/_matrix/client/v3/delete_devices", devices).ok();
    waits.join().expect("is answered").refused(401, "M_UNKNOWN_TOKEN");
}
