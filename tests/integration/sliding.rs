//! Sliding sync on the wire (MSC4186): what a room is told as, in both forms, and what a request may say.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    support::{Client, TestServer},
    sync::{create_room, room_of, send},
};

pub const V4: &str = "/_matrix/client/v4/sync";
pub const BEFORE: &str = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync";

/// A connection of a client, by the form that clients in the field use.
#[derive(Clone)]
pub struct Connection {
    pub client: Client,
    /// What each request says.
    pub body: Value,
    pub pos: Option<String>,
}

impl Connection {
    /// One that has asked for nothing yet.
    pub fn new(client: &Client, body: Value) -> Self {
        Self { client: client.clone(), body, pos: None }
    }

    /// One that asks for `limit` events and all state of every room.
    pub fn of_all(client: &Client, limit: usize) -> Self {
        let all = json!({ "ranges": [[0, 99]], "timeline_limit": limit, "required_state": [["*", "*"]] });
        Self::new(client, json!({ "lists": { "all": all } }))
    }

    /// What is new, without waiting.
    #[track_caller]
    pub fn now(&mut self) -> Value {
        let answer = self.client.post(&self.path(Duration::ZERO), self.body.clone()).ok();
        self.pos = Some(answer["pos"].as_str().expect("pos").to_owned());
        answer
    }

    /// Where a request goes that waits so long.
    pub fn path(&self, timeout: Duration) -> String {
        let pos = self.pos.as_ref().map(|pos| format!("&pos={pos}")).unwrap_or_default();
        format!("{BEFORE}?timeout={}{pos}", timeout.as_millis())
    }
}

/// The bodies of the messages in a room's timeline.
pub fn bodies(answer: &Value, room: &str) -> Vec<String> {
    let events = answer["rooms"][room]["timeline"].as_array().cloned().unwrap_or_default();
    events.iter().filter_map(|e| e["content"]["body"].as_str().map(str::to_owned)).collect()
}

/// Types and keys of the state that is told of a room, in order.
pub fn state(answer: &Value, room: &str) -> Vec<String> {
    let events = answer["rooms"][room]["required_state"].as_array().cloned().unwrap_or_default();
    let name = |e: &Value| {
        format!("{}|{}", e["type"].as_str().expect("type"), e["state_key"].as_str().expect("key"))
    };
    let mut names: Vec<_> = events.iter().map(name).collect();
    names.sort();
    names
}

/// The rooms of an answer.
pub fn rooms(answer: &Value) -> Vec<String> {
    answer["rooms"].as_object().expect("rooms").keys().cloned().collect()
}

#[test]
fn a_room_is_told_in_full_and_then_what_is_new_of_it() {
    let server = TestServer::start();
    let [alice, bob] = ["alice", "bob"].map(|name| server.register(name));
    let room = create_room(&alice, json!({ "name": "Lobby", "preset": "public_chat" }));
    bob.post(&format!("/_matrix/client/v3/join/{room}"), json!({})).ok();
    send(&alice, &room, "1", "one");
    send(&alice, &room, "2", "two");
    let list = json!({ "ranges": [[0, 9]], "timeline_limit": 1, "required_state": [["m.room.create", ""], ["m.room.member", "$ME"]] });
    let mut reader = Connection::new(&bob, json!({ "lists": { "all": list } }));
    let first = reader.now();
    let told = &first["rooms"][&room];
    assert_eq!(first["lists"]["all"], json!({ "count": 1 }));
    assert_eq!(
        (&told["name"], &told["initial"], &told["limited"], &told["num_live"]),
        (&json!("Lobby"), &json!(true), &json!(true), &json!(0)),
        "{told}"
    );
    assert_eq!((&told["joined_count"], &told["invited_count"]), (&json!(2), &json!(0)));
    assert_eq!((&told["notification_count"], &told["highlight_count"]), (&json!(2), &json!(0)));
    assert_eq!((told.get("heroes"), told.get("is_dm"), told.get("avatar")), (None, None, None));
    assert_eq!(bodies(&first, &room), ["two"]);
    assert_eq!(state(&first, &room), ["m.room.create|", "m.room.member|@bob:localhost"]);
    let stamp = told["bump_stamp"].as_u64().expect("a number");
    let before = told["prev_batch"].as_str().expect("a token");
    let page = bob.get(&format!("/_matrix/client/v3/rooms/{room}/messages?dir=b&limit=1&from={before}")).ok();
    assert_eq!(page["chunk"][0]["content"]["body"], "one");
    // A position stands for the end of all that it told.
    let pos = reader.pos.clone().expect("pos");
    let page = bob.get(&format!("/_matrix/client/v3/rooms/{room}/messages?dir=b&limit=1&from={pos}")).ok();
    assert_eq!(page["chunk"][0]["content"]["body"], "two");
    assert_eq!(rooms(&reader.now()), [""; 0]);
    send(&alice, &room, "3", "three");
    let next = reader.now();
    let told = &next["rooms"][&room];
    assert_eq!(
        (bodies(&next, &room), &told["limited"], &told["num_live"]),
        (vec!["three".into()], &json!(false), &json!(1))
    );
    assert_eq!((told.get("initial"), told.get("name"), told.get("joined_count")), (None, None, None));
    assert!(told["bump_stamp"].as_u64().expect("a number") > stamp);
    for n in 4..8 {
        send(&alice, &room, &n.to_string(), &n.to_string());
    }
    let next = reader.now();
    assert_eq!((bodies(&next, &room), &next["rooms"][&room]["limited"]), (vec!["7".into()], &json!(true)));
}

#[test]
fn the_accepted_form_says_the_same_in_its_own_words() {
    let server = TestServer::start();
    let [alice, bob] = ["alice", "bob"].map(|name| server.register(name));
    let room = room_of(&alice, &[&bob]);
    let invite = create_room(&alice, json!({ "invite": [&bob.user], "name": "Secret" }));
    send(&alice, &room, "1", "one");
    let list = |range: Value, filters: Value| {
        json!({ "range": range, "timeline_limit": 10, "filters": filters,
        "required_state": { "include": [{ "type": "m.room.create" }], "lazy_members": true } })
    };
    let lists = json!({ "joined": list(json!([0, 0]), json!({ "is_invited": false })), "invites": list(Value::Null, json!({ "is_invited": true })) });
    let ask = |pos: Value| bob.post(V4, json!({ "conn_id": "main", "pos": pos, "lists": lists })).ok();
    let first = ask(Value::Null);
    assert_eq!(first["lists"], json!({ "joined": { "count": 1 }, "invites": { "count": 1 } }));
    let told = &first["rooms"][&room];
    assert_eq!(
        (&told["membership"], &told["lists"], &told["initial"]),
        (&json!("join"), &json!(["joined"]), &json!(true))
    );
    assert_eq!((&told["notification_count"], &told["highlight_count"]), (&json!(1), &json!(0)), "{told}");
    // By the proposal's table, and by its example.
    assert_eq!(
        told["timeline_events"].as_array().expect("a list").last().expect("an event")["content"]["body"],
        "one"
    );
    assert_eq!(told["timeline_events"], told["timeline"]);
    assert_eq!(told["heroes"], json!([{ "user_id": "@alice:localhost", "displayname": "alice" }]));
    assert_eq!(
        state(&first, &room),
        ["m.room.create|", "m.room.member|@alice:localhost", "m.room.member|@bob:localhost"]
    );
    let told = &first["rooms"][&invite];
    assert_eq!((&told["membership"], &told["lists"]), (&json!("invite"), &json!(["invites"])));
    let kinds: Vec<_> =
        told["stripped_state"].as_array().expect("a list").iter().map(|e| &e["type"]).collect();
    assert!(kinds.contains(&&json!("m.room.name")) && kinds.contains(&&json!("m.room.member")), "{kinds:?}");
    assert_eq!((told.get("name"), told.get("timeline"), told.get("invite_state")), (None, None, None));
    // A name that is taken away is told to be none, and then whom to call the room by.
    alice.put(&format!("/_matrix/client/v3/rooms/{room}/state/m.room.name"), json!({ "name": "Lobby" })).ok();
    let next = ask(first["pos"].clone());
    assert_eq!(next["rooms"][&room]["name"], "Lobby");
    alice.put(&format!("/_matrix/client/v3/rooms/{room}/state/m.room.name"), json!({})).ok();
    let next = ask(next["pos"].clone());
    let told = &next["rooms"][&room];
    assert_eq!(
        (told.get("name"), &told["heroes"][0]["user_id"]),
        (Some(&Value::Null), &json!("@alice:localhost"))
    );
    assert_eq!(told.get("membership"), None);
    bob.post(&format!("/_matrix/client/v3/rooms/{invite}/leave"), json!({})).ok();
    let next = ask(next["pos"].clone());
    assert_eq!(next["rooms"][&invite]["membership"], "leave", "{next}");
    assert_eq!(next["rooms"][&invite]["stripped_state"][0]["content"]["membership"], "leave");
    let next = ask(next["pos"].clone());
    assert_eq!((&next["rooms"], &next["lists"]["invites"]["count"]), (&json!({}), &json!(0)));
}

#[test]
fn what_a_request_may_not_say_is_refused() {
    let server = TestServer::start();
    let alice = server.register("alice");
    let room = json!({ "timeline_limit": 1, "required_state": {} });
    let before = json!({ "timeline_limit": 1, "required_state": [] });
    let many = |count: usize, room: &Value, id: &dyn Fn(usize) -> String| -> Value {
        (0..count).map(|n| (id(n), room.clone())).collect::<serde_json::Map<_, _>>().into()
    };
    let list = |n: usize| format!("list-{n}");
    let id = |n: usize| format!("!r{n}:localhost");
    let filtered = |by: &str, names: Value| json!({ "lists": { "a": { "timeline_limit": 1, "required_state": {}, "filters": { by: names } } } });
    let filtered_before = |by: &str, names: Value| json!({ "lists": { "a": { "timeline_limit": 1, "required_state": [], "filters": { by: names } } } });
    let typing =
        |by: &str, names: Value| json!({ "extensions": { "typing": { "enabled": true, by: names } } });
    let same = |count: usize| -> Value { vec!["!space:localhost"; count].into() };
    let long: Value = vec!["x".repeat(33 << 10), "y".repeat(33 << 10)].into();
    for (path, body, errcode) in [
        (V4, json!({ "lists": many(101, &room, &list) }), "M_INVALID_PARAM"),
        (V4, json!({ "room_subscriptions": many(101, &room, &id) }), "M_INVALID_PARAM"),
        (V4, json!({ "lists": { "a b": &room } }), "M_INVALID_PARAM"),
        (V4, json!({ "lists": { "": &room } }), "M_INVALID_PARAM"),
        (V4, json!({ "set_presence": "sleeping" }), "M_INVALID_PARAM"),
        (V4, json!({ "conn_id": "x".repeat(256) }), "M_INVALID_PARAM"),
        (V4, json!({ "lists": { "a": { "timeline_limit": 1 } } }), "M_BAD_JSON"),
        (V4, json!({ "lists": { "a": { "required_state": {} } } }), "M_BAD_JSON"),
        (V4, json!({ "lists": { "a": { "timeline_limit": -1, "required_state": {} } } }), "M_BAD_JSON"),
        (
            V4,
            json!({ "lists": { "a": { "timeline_limit": 1, "required_state": {}, "range": [1] } } }),
            "M_BAD_JSON",
        ),
        (
            V4,
            json!({ "lists": { "a": { "timeline_limit": 1, "required_state": {}, "range": [2, 1] } } }),
            "M_INVALID_PARAM",
        ),
        (V4, json!({ "lists": [] }), "M_BAD_JSON"),
        (V4, json!({ "timeout": "long" }), "M_BAD_JSON"),
        (V4, json!({ "pos": "s1_2_3" }), "M_UNKNOWN_POS"),
        (V4, json!({ "pos": "w1_p1_1" }), "M_UNKNOWN_POS"),
        (V4, json!({ "extensions": { "to_device": { "enabled": true, "since": "-1" } } }), "M_INVALID_PARAM"),
        (V4, json!({ "extensions": { "typing": { "enabled": "yes" } } }), "M_BAD_JSON"),
        (V4, json!([]), "M_BAD_JSON"),
        (V4, json!({ "lists": { "a": { "timeline_limit": 1, "required_state": [] } } }), "M_BAD_JSON"),
        (V4, json!({ "room_subscriptions": { "!r:x": [1, {}] } }), "M_BAD_JSON"),
        (V4, json!({ "extensions": { "e2ee": [true] } }), "M_BAD_JSON"),
        (BEFORE, json!({ "extensions": { "typing": [true] } }), "M_BAD_JSON"),
        (
            V4,
            json!({ "lists": { "a": { "timeline_limit": 1, "required_state": { "include": [["m.room.create", ""]] } } } }),
            "M_BAD_JSON",
        ),
        (V4, filtered("tags", same(101)), "M_INVALID_PARAM"),
        (V4, filtered("not_tags", same(101)), "M_INVALID_PARAM"),
        (V4, filtered("spaces", same(101)), "M_INVALID_PARAM"),
        (V4, filtered("room_types", same(101)), "M_INVALID_PARAM"),
        (V4, filtered("not_room_types", vec![Value::Null; 101].into()), "M_INVALID_PARAM"),
        (V4, filtered("tags", long.clone()), "M_INVALID_PARAM"),
        (V4, typing("lists", same(101)), "M_INVALID_PARAM"),
        (V4, typing("rooms", same(501)), "M_INVALID_PARAM"),
        (V4, typing("rooms", long.clone()), "M_INVALID_PARAM"),
        (
            V4,
            json!({ "lists": { "a": { "timeline_limit": 1, "required_state": { "include": [{ "type": &long[0], "state_key": &long[1] }] } } } }),
            "M_INVALID_PARAM",
        ),
        (BEFORE, filtered_before("tags", same(101)), "M_INVALID_PARAM"),
        (BEFORE, filtered_before("spaces", same(101)), "M_INVALID_PARAM"),
        (BEFORE, typing("rooms", same(501)), "M_INVALID_PARAM"),
        (BEFORE, json!({ "txn_id": "x".repeat(65 << 10) }), "M_INVALID_PARAM"),
        (BEFORE, json!({ "lists": many(101, &before, &list) }), "M_INVALID_PARAM"),
        (
            BEFORE,
            json!({ "lists": { "a": { "timeline_limit": 1, "required_state": [["m.room.name"]] } } }),
            "M_BAD_JSON",
        ),
        (BEFORE, json!({ "lists": { "a": { "required_state": [] } } }), "M_BAD_JSON"),
    ] {
        let answer = alice.post(path, body.clone());
        assert_eq!(
            (answer.status, &answer.body["errcode"]),
            (400, &json!(errcode)),
            "{path} {body}: {}",
            answer.text
        );
    }
    alice.send("POST", V4, Some(b"{")).refused(400, "M_NOT_JSON");
    alice.post(&format!("{BEFORE}?set_presence=sleeping"), json!({})).refused(400, "M_INVALID_PARAM");
    alice.post(&format!("{BEFORE}?pos=5"), json!({})).refused(400, "M_UNKNOWN_POS");
    alice.post(&format!("{BEFORE}?timeout=x"), json!({})).refused(400, "M_INVALID_PARAM");
    // What is asked for of many rooms alike counts once.
    let state: Vec<_> = (0..100).map(|n| json!([format!("org.pilotlight.{n}"), ""])).collect();
    let alike = json!({ "timeline_limit": 1, "required_state": state });
    alice.post(BEFORE, json!({ "room_subscriptions": many(200, &alike, &id) })).ok();
    alice.post(V4, filtered("tags", same(100))).ok();
    for path in [V4, BEFORE] {
        server.anonymous().post(path, json!({})).refused(401, "M_MISSING_TOKEN");
        server.anonymous().with_token(&json!("nobody")).post(path, json!({})).refused(401, "M_UNKNOWN_TOKEN");
        alice.get(path).refused(405, "M_UNRECOGNIZED");
        let empty = alice.post(path, json!({})).ok();
        assert_eq!(
            (empty["rooms"].as_object().map(|r| r.len()), empty["extensions"].as_object().map(|e| e.len())),
            (Some(0), Some(0))
        );
        // What no room can be called is no room.
        let body = json!({ "room_subscriptions": { "nonsense": if path == V4 { &room } else { &before } }, "lists": null });
        alice.post(path, body).ok();
    }
    let versions = alice.get("/_matrix/client/versions").ok();
    assert_eq!(versions["unstable_features"]["org.matrix.simplified_msc3575"], true);
}
