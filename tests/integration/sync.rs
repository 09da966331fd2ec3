//! `/sync`: what comes when, to whom, and only once.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{
    poll::Poll,
    support::{Client, TestServer},
};

/// A client that follows its stream.
pub struct Reader {
    pub client: Client,
    pub since: String,
    /// Further query parameters of each request.
    pub with: String,
}

impl Reader {
    /// Makes the first sync.
    pub fn new(client: &Client) -> Self {
        Self::with(client, "")
    }

    /// The same with further query parameters, as `&key=value`.
    pub fn with(client: &Client, with: &str) -> Self {
        let mut reader = Self { client: client.clone(), since: String::new(), with: with.to_owned() };
        reader.now();
        reader
    }

    /// What is new, without waiting.
    pub fn now(&mut self) -> Value {
        self.wait(Duration::ZERO)
    }

    /// What is new, waiting for it.
    pub fn wait(&mut self, timeout: Duration) -> Value {
        let since = if self.since.is_empty() { String::new() } else { format!("&since={}", self.since) };
        let path = format!("/_matrix/client/v3/sync?timeout={}{since}{}", timeout.as_millis(), self.with);
        let answer = self.client.get(&path).ok();
        self.since = answer["next_batch"].as_str().expect("next_batch").to_owned();
        answer
    }

    /// Waits until `found` finds something, for 10 seconds at most. On a driven clock no time passes meanwhile.
    #[track_caller]
    pub fn until<T>(&mut self, mut found: impl FnMut(&Value) -> Option<T>) -> T {
        let begin = Instant::now();
        let longest = if self.client.is_driven { Duration::ZERO } else { Duration::from_secs(2) };
        while begin.elapsed() < Duration::from_secs(10) {
            if let Some(value) = found(&self.wait(longest)) {
                return value;
            }
            // Paces those who ask without waiting.
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("it did not come within 10 s");
    }
}

/// The same device, at a server that started anew.
pub fn same(server: &TestServer, client: &Client) -> Client {
    Client {
        user: client.user.clone(),
        device: client.device.clone(),
        ..server.anonymous().with_token(&json!(client.token))
    }
}

pub fn create_room(client: &Client, body: Value) -> String {
    let answer = client.post("/_matrix/client/v3/createRoom", body).ok();
    answer["room_id"].as_str().expect("room_id").to_owned()
}

/// A public room of `first` that the others have joined.
pub fn room_of(first: &Client, others: &[&Client]) -> String {
    let room = create_room(first, json!({ "preset": "public_chat" }));
    for client in others {
        client.post(&format!("/_matrix/client/v3/join/{room}"), json!({})).ok();
    }
    room
}

pub fn send(client: &Client, room: &str, transaction: &str, body: &str) -> String {
    let path = format!("/_matrix/client/v3/rooms/{room}/send/m.room.message/{transaction}");
    let answer = client.put(&path, json!({ "msgtype": "m.text", "body": body })).ok();
    answer["event_id"].as_str().expect("event_id").to_owned()
}

pub fn joined<'a>(answer: &'a Value, room: &str) -> &'a Value {
    &answer["rooms"]["join"][room]
}

pub fn bodies(answer: &Value, room: &str) -> Vec<String> {
    let events = joined(answer, room)["timeline"]["events"].as_array().cloned().unwrap_or_default();
    events.iter().filter_map(|e| e["content"]["body"].as_str().map(str::to_owned)).collect()
}

fn state_types(answer: &Value, room: &str) -> Vec<String> {
    let events = joined(answer, room)["state"]["events"].as_array().cloned().unwrap_or_default();
    events.iter().map(|e| e["type"].as_str().expect("type").to_owned()).collect()
}

#[test]
fn a_first_sync_has_the_rooms_and_a_second_one_nothing() {
    let server = TestServer::start();
    let alice = server.register("alice");
    let room = create_room(&alice, json!({ "name": "Lobby" }));
    send(&alice, &room, "1", "hello");
    let mut reader = Reader { client: alice.clone(), since: String::new(), with: String::new() };
    let first = reader.now();
    assert_eq!(bodies(&first, &room), ["hello"]);
    assert_eq!(joined(&first, &room)["summary"]["m.joined_member_count"], 1);
    let push_rules = &first["account_data"]["events"][0];
    assert_eq!(push_rules["type"], "m.push_rules");
    assert!(push_rules["content"]["global"]["override"].as_array().is_some_and(|rules| !rules.is_empty()));
    let second = reader.now();
    assert_eq!(second["rooms"], Value::Null);
    assert_eq!(second["presence"], Value::Null);
    assert_eq!(second["device_one_time_keys_count"], json!({}));
}

#[test]
fn a_message_wakes_a_waiting_sync_and_comes_once() {
    let server = TestServer::driven();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let room = room_of(&alice, &[&bob]);
    let mut reader = Reader::new(&bob);
    reader.now();
    let poll = Poll::open(&bob, &reader.since);
    server.settle();
    send(&alice, &room, "1", "wake up");
    // No time has passed.
    let answer = poll.answer();
    assert_eq!(bodies(&answer, &room), ["wake up"]);
    reader.since = answer["next_batch"].as_str().expect("next_batch").to_owned();
    assert_eq!(bodies(&reader.now(), &room), Vec::<String>::new());
}

#[test]
fn m10_the_transaction_id_comes_back_to_the_sending_device_only() {
    let server = TestServer::start();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let alice_2 = server.log_in("alice");
    let room = room_of(&alice, &[&bob]);
    let mut readers: Vec<_> = [&alice, &alice_2, &bob].into_iter().map(Reader::new).collect();
    send(&alice, &room, "17", "x");
    let seen: Vec<Value> = readers
        .iter_mut()
        .map(|r| joined(&r.now(), &room)["timeline"]["events"][0]["unsigned"]["transaction_id"].clone())
        .collect();
    assert_eq!(seen, [json!("17"), Value::Null, Value::Null]);
}

#[test]
fn a_room_that_is_joined_comes_whole_and_a_gap_is_limited() {
    let server = TestServer::start();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let room = create_room(&alice, json!({ "preset": "public_chat", "name": "Lobby" }));
    for n in 0..15 {
        send(&alice, &room, &n.to_string(), &format!("m{n}"));
    }
    let mut reader = Reader::new(&bob);
    bob.post(&format!("/_matrix/client/v3/join/{room}"), json!({})).ok();
    let answer = reader.now();
    let state = state_types(&answer, &room);
    for kind in ["m.room.create", "m.room.name", "m.room.power_levels", "m.room.member"] {
        assert!(state.iter().any(|k| k == kind), "{kind} in {state:?}");
    }
    let timeline = &joined(&answer, &room)["timeline"];
    assert_eq!(timeline["limited"], true);
    assert_eq!(timeline["events"].as_array().map(Vec::len), Some(10));
    assert_eq!(timeline["events"][9]["state_key"], bob.user.as_str());

    for n in 15..40 {
        send(&alice, &room, &n.to_string(), &format!("m{n}"));
    }
    let name = format!("/_matrix/client/v3/profile/{}/displayname", alice.user);
    alice.put(&name, json!({ "displayname": "Alice" })).ok();
    for n in 40..52 {
        send(&alice, &room, &n.to_string(), &format!("m{n}"));
    }
    let answer = reader.now();
    assert_eq!(joined(&answer, &room)["timeline"]["limited"], true);
    assert_eq!(bodies(&answer, &room), (42..52).map(|n| format!("m{n}")).collect::<Vec<_>>());
    assert_eq!(state_types(&answer, &room), ["m.room.member"], "the state of the gap, and only that");
}

#[test]
fn invites_come_with_their_state_and_leaving_is_told() {
    let server = TestServer::start();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let mut reader = Reader::new(&bob);
    let room = create_room(&alice, json!({ "name": "Tea", "invite": [bob.user] }));
    let answer = reader.now();
    let invite = answer["rooms"]["invite"][&room]["invite_state"]["events"].as_array().expect("events");
    assert!(invite.iter().any(|e| e["type"] == "m.room.name" && e["content"]["name"] == "Tea"));
    assert!(
        invite.iter().any(|e| e["state_key"] == bob.user.as_str() && e["content"]["membership"] == "invite")
    );
    let first = Reader { client: bob.clone(), since: String::new(), with: String::new() }.now();
    assert!(first["rooms"]["invite"][&room].is_object());
    bob.post(&format!("/_matrix/client/v3/join/{room}"), json!({})).ok();
    assert!(joined(&reader.now(), &room).is_object());
    send(&alice, &room, "1", "before");
    bob.post(&format!("/_matrix/client/v3/rooms/{room}/leave"), json!({})).ok();
    send(&alice, &room, "2", "after");
    let answer = reader.now();
    let left = &answer["rooms"]["leave"][&room]["timeline"]["events"];
    assert_eq!(left[0]["content"]["body"], "before");
    assert_eq!(left[1]["content"]["membership"], "leave");
    assert_eq!(left.as_array().map(Vec::len), Some(2));
    assert_eq!(answer["rooms"]["join"], Value::Null);
    assert_eq!(reader.now()["rooms"], Value::Null);
}

#[test]
fn garbage_is_refused_and_an_old_token_is_not() {
    let server = TestServer::start();
    let alice = server.register("alice");
    for query in [
        "since=garbage",
        "since=p1",
        "since=p-1_2",
        "since=p99999999999999999999_1",
        "set_presence=busy",
        "timeout=soon",
        "timeout=-1",
        "filter=%7B",
        "filter=nosuch",
        "filter=%7B%22room%22%3A3%7D",
        "full_state=perhaps",
    ] {
        let answer = alice.get(&format!("/_matrix/client/v3/sync?{query}"));
        assert_eq!((answer.status, &answer.body["errcode"]), (400, &json!("M_INVALID_PARAM")), "{query}");
    }
    server.anonymous().get("/_matrix/client/v3/sync").refused(401, "M_MISSING_TOKEN");
    let room = create_room(&alice, json!({}));
    let mut reader = Reader::new(&alice);
    let server = server.restart();
    reader.client = same(&server, &alice);
    send(&reader.client, &room, "1", "after the restart");
    assert_eq!(bodies(&reader.now(), &room), ["after the restart"]);
    reader.since = "p999999_1".to_owned();
    assert!(joined(&reader.now(), &room).is_object(), "from another database: everything");
}

#[test]
fn typing_is_shown_and_ends_by_itself() {
    let server = TestServer::driven();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let room = room_of(&alice, &[&bob]);
    let mut reader = Reader::new(&bob);
    let path = format!("/_matrix/client/v3/rooms/{room}/typing/{}", alice.user);
    let typing = |answer: &Value| {
        let events = joined(answer, &room)["ephemeral"]["events"].as_array().cloned().unwrap_or_default();
        events.into_iter().find(|e| e["type"] == "m.typing").map(|e| e["content"]["user_ids"].clone())
    };
    alice.put(&path, json!({ "typing": true, "timeout": 30_000 })).ok();
    assert_eq!(typing(&reader.now()), Some(json!([alice.user])));
    server.pass(Duration::from_millis(29_999));
    assert_eq!(typing(&reader.now()), None);
    server.pass(Duration::from_millis(1));
    assert_eq!(typing(&reader.now()), Some(json!([])));
    alice.put(&path, json!({ "typing": true, "timeout": 60_000 })).ok();
    assert_eq!(typing(&reader.now()), Some(json!([alice.user])));
    send(&alice, &room, "1", "done");
    let answer = reader.now();
    assert_eq!((bodies(&answer, &room), typing(&answer)), (vec!["done".to_owned()], None), "and goes on");
    alice.put(&path, json!({ "typing": false })).ok();
    assert_eq!(typing(&reader.now()), Some(json!([])));
    alice.put(&path.replace("alice", "bob"), json!({ "typing": true })).refused(403, "M_FORBIDDEN");
    let other = create_room(&alice, json!({}));
    bob.put(&format!("/_matrix/client/v3/rooms/{other}/typing/{}", bob.user), json!({ "typing": true }))
        .refused(403, "M_FORBIDDEN");
}

#[test]
fn receipts_are_shown_private_ones_only_to_oneself_and_they_reset_the_counts() {
    let server = TestServer::start();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let room = room_of(&alice, &[&bob]);
    let (mut alices, mut bobs) = (Reader::new(&alice), Reader::new(&bob));
    let first = send(&alice, &room, "1", "plain");
    let path = format!("/_matrix/client/v3/rooms/{room}/send/m.room.message/2");
    let mention = json!({ "msgtype": "m.text", "body": "hey!", "m.mentions": { "user_ids": [bob.user] } });
    alice.put(&path, mention).ok();
    let counts = |answer: &Value| joined(answer, &room)["unread_notifications"].clone();
    assert_eq!(counts(&bobs.now()), json!({ "notification_count": 2, "highlight_count": 1 }));
    assert_eq!(counts(&alices.now()), json!({ "notification_count": 0, "highlight_count": 0 }));
    let receipt = |kind: &str, event: &str| {
        bob.post(&format!("/_matrix/client/v3/rooms/{room}/receipt/{kind}/{event}"), json!({})).ok();
    };
    receipt("m.read", &first);
    let seen = |answer: &Value, kind: &str| {
        joined(answer, &room)["ephemeral"]["events"][0]["content"][&first][kind][&bob.user]["ts"].is_number()
    };
    let answer = bobs.now();
    assert!(seen(&answer, "m.read"));
    assert_eq!(counts(&answer), json!({ "notification_count": 1, "highlight_count": 1 }));
    assert!(seen(&alices.now(), "m.read"));
    receipt("m.read.private", &first);
    assert!(seen(&bobs.now(), "m.read.private"));
    assert_eq!(alices.now()["rooms"], Value::Null);
    bob.post(&format!("/_matrix/client/v3/rooms/{room}/receipt/m.liked/{first}"), json!({}))
        .refused(400, "M_INVALID_PARAM");
}

#[test]
fn messages_to_devices_wait_until_they_are_acknowledged() {
    let server = TestServer::start();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let bob_2 = server.log_in("bob");
    let mut reader = Reader::new(&bob);
    let send = |transaction: &str, to: Value| {
        let path = format!("/_matrix/client/v3/sendToDevice/org.x.test/{transaction}");
        alice.put(&path, json!({ "messages": { &bob.user: to } })).ok();
    };
    send("1", json!({ &bob.device: { "n": 1 } }));
    send("1", json!({ &bob.device: { "n": "again" } }));
    send("2", json!({ "*": { "n": 2 } }));
    let events = |answer: &Value| -> Vec<Value> {
        let events = answer["to_device"]["events"].as_array().cloned().unwrap_or_default();
        events.iter().map(|e| e["content"]["n"].clone()).collect()
    };
    let before = reader.since.clone();
    let answer = reader.now();
    assert_eq!(events(&answer), [json!(1), json!(2)]);
    assert_eq!(answer["to_device"]["events"][0]["sender"], alice.user.as_str());
    let after = std::mem::replace(&mut reader.since, before);
    assert_eq!(events(&reader.now()), [json!(1), json!(2)], "the answer was lost: it comes again");
    reader.since = after;
    assert_eq!(events(&reader.now()), Vec::<Value>::new());
    let server = server.restart();
    let client = same(&server, &bob_2);
    let mut second = Reader { client, since: String::new(), with: String::new() };
    assert_eq!(events(&second.now()), [json!(2)], "kept over a restart");

    let many: Vec<i32> = (0..150).collect();
    let sender = same(&server, &alice);
    for n in &many {
        let path = format!("/_matrix/client/v3/sendToDevice/org.x.test/many{n}");
        sender.put(&path, json!({ "messages": { &bob.user: { &bob_2.device: { "n": n } } } })).ok();
    }
    let mut got = events(&second.now());
    assert_eq!(got.len(), 100);
    got.extend(events(&second.now()));
    assert_eq!(got, many.into_iter().map(Value::from).collect::<Vec<_>>());
}

#[test]
fn account_data_comes_when_it_changes_and_with_a_room_that_is_joined_again() {
    let server = TestServer::start();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let room = room_of(&alice, &[&bob]);
    let mut reader = Reader::new(&bob);
    let base = format!("/_matrix/client/v3/user/{}", bob.user);
    bob.put(&format!("{base}/account_data/m.direct"), json!({ "x": [room] })).ok();
    bob.put(&format!("{base}/rooms/{room}/tags/u.work"), json!({ "order": 0.5 })).ok();
    let event = send(&alice, &room, "1", "read me");
    bob.post(&format!("/_matrix/client/v3/rooms/{room}/read_markers"), json!({ "m.fully_read": event })).ok();
    let answer = reader.now();
    assert_eq!(answer["account_data"]["events"], json!([{ "type": "m.direct", "content": { "x": [room] } }]));
    let kinds = |answer: &Value| -> Vec<Value> {
        let events = joined(answer, &room)["account_data"]["events"].as_array().cloned().unwrap_or_default();
        events.iter().map(|e| e["type"].clone()).collect()
    };
    assert_eq!(kinds(&answer), ["m.tag", "m.fully_read"]);
    assert_eq!(reader.now()["account_data"], Value::Null);
    bob.post(&format!("/_matrix/client/v3/rooms/{room}/leave"), json!({})).ok();
    reader.now();
    bob.post(&format!("/_matrix/client/v3/join/{room}"), json!({})).ok();
    assert_eq!(kinds(&reader.now()), ["m.tag", "m.fully_read"]);
}

#[test]
fn own_push_rules_decide_what_is_counted() {
    let server = TestServer::start();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let room = room_of(&alice, &[&bob]);
    let mut reader = Reader::new(&bob);
    send(&alice, &room, "1", "cake");
    send(&alice, &room, "2", "tea");
    let counts = |answer: &Value| {
        let counts = &joined(answer, &room)["unread_notifications"];
        (counts["notification_count"].as_u64(), counts["highlight_count"].as_u64())
    };
    assert_eq!(counts(&reader.now()), (Some(2), Some(0)));
    let rule = json!({ "pattern": "cake", "actions": ["notify", { "set_tweak": "highlight" }] });
    bob.put("/_matrix/client/v3/pushrules/global/content/cake", rule).ok();
    assert_eq!(reader.now()["account_data"]["events"][0]["type"], "m.push_rules");
    send(&alice, &room, "3", "more tea");
    assert_eq!(counts(&reader.now()), (Some(3), Some(1)));
    bob.put(&format!("/_matrix/client/v3/pushrules/global/room/{room}"), json!({ "actions": [] })).ok();
    send(&alice, &room, "4", "last tea");
    assert_eq!(counts(&reader.now()), (Some(1), Some(1)));
}
