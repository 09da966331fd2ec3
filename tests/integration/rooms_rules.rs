//! Who may see and do what: history visibility, join rules, aliases and the directory, transaction
//! IDs, and input that is refused.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::support::runtime;
use crate::{
    rooms_life::{bodies, create, say},
    support::TestServer,
    sync::{create_room, send},
};
use pilotlight::server::{
    change::position::{LogPosition, TimelinePosition},
    store::{Kinds, Side, StateList},
};

#[test]
fn history_visibility_is_kept_on_every_way_of_reading() {
    let server = TestServer::start();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let stranger = server.register("stranger");
    // Setting; what bob sees of: before his invite, while invited, after his join; can a stranger read?
    let rows: [(&str, &[&str], bool); 4] = [
        ("world_readable", &["before", "invited", "joined"], true),
        ("shared", &["before", "invited", "joined"], false),
        ("invited", &["invited", "joined"], false),
        ("joined", &["joined"], false),
    ];
    for (setting, expected, open) in rows {
        let state =
            json!([{ "type": "m.room.history_visibility", "content": { "history_visibility": setting } }]);
        let room = create(&alice, json!({ "preset": "private_chat", "initial_state": state }));
        let before = say(&alice, &room, "1", "before");
        alice.post(&format!("{room}/invite"), json!({ "user_id": bob.user })).ok();
        say(&alice, &room, "2", "invited");
        bob.post(&format!("{room}/join"), json!({})).ok();
        let joined = say(&alice, &room, "3", "joined");
        let page = bob.get(&format!("{room}/messages?dir=f&limit=100")).ok();
        assert_eq!(bodies(&page), expected, "{setting}");
        let event = bob.get(&format!("{room}/event/{before}"));
        assert_eq!(event.status == 200, expected.contains(&"before"), "{setting}");
        let context = bob.get(&format!("{room}/context/{joined}?limit=20")).ok();
        let shown = context["events_before"].as_array().expect("a list").iter();
        let shown = shown.filter(|event| event["content"]["body"].is_string()).count();
        assert_eq!(shown, expected.len() - 1, "{setting}");
        for path in [
            "messages?dir=b",
            "state",
            "members",
            "state/m.room.create",
            &format!("context/{before}"),
            "initialSync",
        ] {
            let answer = stranger.get(&format!("{room}/{path}"));
            assert_eq!(answer.status, if open { 200 } else { 403 }, "{setting} {path}");
        }
        let event = stranger.get(&format!("{room}/event/{before}"));
        assert_eq!(event.status, if open { 200 } else { 404 }, "{setting}");
        // After leaving: what was seen before stays, what comes later does not show.
        bob.post(&format!("{room}/leave"), json!({})).ok();
        let later = say(&alice, &room, "4", "later");
        let page = bob.get(&format!("{room}/messages?dir=f&limit=100")).ok();
        let mut all = expected.to_vec();
        all.extend(open.then_some("later"));
        assert_eq!(bodies(&page), all, "{setting}");
        assert_eq!(bob.get(&format!("{room}/event/{later}")).status == 200, open, "{setting}");
        // Invited again: the same, and nothing of what comes then.
        alice.post(&format!("{room}/invite"), json!({ "user_id": bob.user })).ok();
        let again = say(&alice, &room, "5", "again");
        let page = bob.get(&format!("{room}/messages?dir=f&limit=100")).ok();
        all.extend(open.then_some("again"));
        assert_eq!(bodies(&page), all, "{setting}");
        for (event, is_seen) in [(&joined, true), (&later, open), (&again, open)] {
            assert_eq!(bob.get(&format!("{room}/event/{event}")).status == 200, is_seen, "{setting}");
        }
        let context = bob.get(&format!("{room}/context/{joined}?limit=0")).ok();
        assert_eq!(context["event"]["event_id"], joined.as_str(), "{setting}");
    }
}

#[test]
fn an_unknown_room_looks_like_one_that_one_is_not_in() {
    let server = TestServer::start();
    let (alice, eve) = (server.register("alice"), server.register("eve"));
    let real = create(&alice, json!({ "preset": "private_chat" }));
    let unreal = "/_matrix/client/v3/rooms/!nothing:localhost".to_owned();
    let user = json!({ "user_id": alice.user });
    let requests: Vec<(&str, &str, Value)> = vec![
        ("PUT", "send/m.room.message/1", json!({ "body": "x" })),
        ("PUT", "state/m.room.name", json!({ "name": "x" })),
        ("PUT", "redact/$x/1", json!({})),
        ("POST", "invite", user.clone()),
        ("POST", "kick", user.clone()),
        ("POST", "ban", user.clone()),
        ("POST", "unban", user),
        ("POST", "leave", json!({})),
        ("POST", "upgrade", json!({ "new_version": "11" })),
        ("GET", "state", Value::Null),
        ("GET", "state/m.room.create", Value::Null),
        ("GET", "messages?dir=b", Value::Null),
        ("GET", "members", Value::Null),
        ("GET", "joined_members", Value::Null),
        ("GET", "aliases", Value::Null),
        ("GET", "event/$x", Value::Null),
        ("GET", "context/$x", Value::Null),
    ];
    for (method, path, body) in requests {
        let body = body.to_string();
        let send = |room: &str| {
            let body = (method != "GET").then_some(body.as_bytes());
            let answer = eve.send(method, &format!("{room}/{path}"), body);
            (answer.status, answer.body["errcode"].clone())
        };
        let refused = send(&real);
        assert!(refused.0 == 403 || refused.0 == 404, "{path}: {refused:?}");
        assert_eq!(refused, send(&unreal), "{method} {path}");
    }
    eve.post(&format!("{unreal}/join"), json!({})).refused(404, "M_NOT_FOUND");
    assert_eq!(eve.get("/_matrix/client/v3/joined_rooms").ok(), json!({ "joined_rooms": [] }));
}

#[test]
fn m9_transactions_are_remembered_for_a_month_and_not_for_ever() {
    let server = TestServer::start();
    let alice = server.register("alice");
    let room = create_room(&alice, json!({}));
    let first = send(&alice, &room, "old", "hello");
    assert_eq!(send(&alice, &room, "old", "hello"), first);
    let database = server.data_dir().join("pilotlight.db");
    let sql = |text: &str| -> i64 {
        let connection = rusqlite::Connection::open(&database).expect("opens");
        if text.starts_with("UPDATE") {
            connection.execute(text, []).map_or(-1, |n| n as i64)
        } else {
            connection.query_row(text, [], |row| row.get(0)).expect("answers")
        }
    };
    let month_ms = 30_i64 * 24 * 60 * 60 * 1000;
    assert_eq!(sql(&format!("UPDATE transactions SET sent_ms = sent_ms - {}", month_ms - 60_000)), 1);
    let second = send(&alice, &room, "new", "hello");
    assert_eq!(
        (send(&alice, &room, "old", "hello"), send(&alice, &room, "new", "hello")),
        (first.clone(), second)
    );
    sql("UPDATE transactions SET sent_ms = sent_ms - 120000 WHERE transaction_id = 'old'");
    send(&alice, &room, "newer", "hello");
    assert_eq!(sql("SELECT count(*) FROM transactions"), 2);
    assert_ne!(send(&alice, &room, "old", "hello"), first, "forgotten");
}

#[test]
fn a_transaction_is_done_once_also_when_repeated_at_once_and_after_a_restart() {
    let server = TestServer::start();
    let alice = server.register("alice");
    let other_device = server.log_in("alice");
    let room = create(&alice, json!({}));
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let (client, room) = (alice.clone(), room.clone());
            std::thread::spawn(move || say(&client, &room, "42", "once"))
        })
        .collect();
    let ids: Vec<String> = threads.into_iter().map(|t| t.join().expect("no panic")).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    let elsewhere = say(&other_device, &room, "42", "another device's");
    assert_ne!(elsewhere, ids[0]);
    let reaction = alice.put(&format!("{room}/send/m.reaction/42"), json!({ "x": 1 })).ok();
    assert_ne!(reaction["event_id"], ids[0]);
    let token = json!(alice.token);
    let server = server.restart();
    let alice = server.anonymous().with_token(&token);
    assert_eq!(say(&alice, &room, "42", "once"), ids[0]);
    let page = alice.get(&format!("{room}/messages?dir=f&limit=100")).ok();
    assert_eq!(bodies(&page), ["once", "another device's"]);
    // The ID comes back to the device that used it, and to no other.
    let own = alice.get(&format!("{room}/event/{}", ids[0])).ok();
    assert_eq!(own["unsigned"]["transaction_id"], "42");
    let others = server.log_in("alice").get(&format!("{room}/event/{}", ids[0])).ok();
    assert!(others["unsigned"].get("transaction_id").is_none());
}

#[test]
fn events_of_a_room_are_in_one_order_whoever_sends_at_once() {
    let server = TestServer::start();
    let alice = server.register("alice");
    let room = create(&alice, json!({ "preset": "public_chat" }));
    let senders: Vec<_> = (0..6).map(|n| server.register(&format!("user{n}"))).collect();
    for sender in &senders {
        sender.post(&format!("{room}/join"), json!({})).ok();
    }
    let room = Arc::new(room);
    let threads: Vec<_> = senders
        .into_iter()
        .map(|client| {
            let room = Arc::clone(&room);
            std::thread::spawn(move || {
                for n in 0..10 {
                    say(&client, &room, &n.to_string(), "x");
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
    let room_id = ruma::RoomId::parse(room.rsplit('/').next().expect("an ID")).expect("an ID");
    let order = pilotlight::server::store::Order::OldestFirst;
    let events = runtime()
        .block_on(server.app().store.room_events(
            &room_id,
            TimelinePosition::START,
            TimelinePosition::END,
            order,
            1000,
        ))
        .expect("reads");
    assert!(events.len() > 70);
    for (n, pair) in events.windows(2).enumerate() {
        let pdu: Value = serde_json::from_str(&pair[1].pdu).expect("is JSON");
        assert_eq!(pdu["prev_events"], json!([pair[0].event_id]), "event {n}");
        assert_eq!(pair[1].depth, pair[0].depth + 1);
    }
}

#[test]
fn the_state_before_every_event_can_be_told() {
    let server = TestServer::start();
    let alice = server.register("alice");
    let room = create(&alice, json!({}));
    // Enough to close a chain of state groups and begin the next.
    for n in 0..230 {
        let path = format!("{room}/state/org.example.n/{}", n % 3);
        alice.put(&path, json!({ "n": n })).ok();
    }
    let room_id = ruma::RoomId::parse(room.rsplit('/').next().expect("an ID")).expect("an ID");
    let app = server.app();
    let order = pilotlight::server::store::Order::OldestFirst;
    let events = runtime()
        .block_on(app.store.room_events(
            &room_id,
            TimelinePosition::START,
            TimelinePosition::END,
            order,
            1000,
        ))
        .expect("reads");
    let read = |mut list: StateList| {
        let mut events = Vec::new();
        while !list.is_empty() {
            events.extend(runtime().block_on(app.store.next_page(&mut list)).expect("reads"));
        }
        events
    };
    let mut expected = std::collections::BTreeMap::new();
    for event in &events {
        let state = app.store.state_at(event.position, Side::Before, Kinds::All, |_| true);
        let state = read(runtime().block_on(state).expect("reads"));
        let found: std::collections::BTreeMap<_, _> =
            state.iter().map(|e| ((e.kind.clone(), e.state_key.clone()), e.event_id.clone())).collect();
        assert_eq!(found, expected, "before {}", event.position);
        assert_eq!(found.len(), state.len());
        if event.state_key.is_some() {
            expected.insert((event.kind.clone(), event.state_key.clone()), event.event_id.clone());
        }
    }
    let current = app.store.current_state(&room_id, Kinds::All, |_| true);
    let current = read(runtime().block_on(current).expect("reads"));
    assert_eq!(current.len(), expected.len());
    assert!(current.iter().all(|e| expected[&(e.kind.clone(), e.state_key.clone())] == e.event_id));
}

#[test]
fn restricted_rooms_let_members_of_the_other_room_in() {
    let server = TestServer::start();
    let (alice, bob, carol) = (server.register("alice"), server.register("bob"), server.register("carol"));
    let club = create(&alice, json!({ "preset": "public_chat" }));
    bob.post(&format!("{club}/join"), json!({})).ok();
    let club_id = club.rsplit('/').next().expect("an ID");
    for version in ["10", "11", "12"] {
        let rules = json!({ "join_rule": "restricted", "allow": [{ "type": "m.room_membership", "room_id": club_id }] });
        let state = json!([{ "type": "m.room.join_rules", "content": rules }]);
        let room = create(&alice, json!({ "room_version": version, "initial_state": state }));
        carol.post(&format!("{room}/join"), json!({})).refused(403, "M_FORBIDDEN");
        bob.post(&format!("{room}/join"), json!({})).ok();
        let member = alice.get(&format!("{room}/state/m.room.member/{}", bob.user)).ok();
        assert_eq!(member["join_authorised_via_users_server"], alice.user);
        // Nobody vouches for oneself.
        let claim = json!({ "membership": "join", "join_authorised_via_users_server": alice.user });
        let path = format!("{room}/state/m.room.member/{}", carol.user);
        carol.put(&path, claim).refused(403, "M_FORBIDDEN");
    }
}

#[test]
fn who_may_knock_is_let_in_by_an_invite() {
    let server = TestServer::start();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let private = create(&alice, json!({}));
    let knock = |room: &str| room.replace("/rooms/", "/knock/");
    bob.post(&knock(&private), json!({})).refused(403, "M_FORBIDDEN");
    let state = json!([{ "type": "m.room.join_rules", "content": { "join_rule": "knock" } }]);
    let room = create(&alice, json!({ "initial_state": state }));
    bob.post(&knock(&room), json!({ "reason": "please" })).ok();
    bob.post(&format!("{room}/join"), json!({})).refused(403, "M_FORBIDDEN");
    alice.post(&format!("{room}/invite"), json!({ "user_id": bob.user })).ok();
    bob.post(&format!("{room}/join"), json!({})).ok();
}

#[test]
fn aliases_belong_to_those_who_made_them_and_rooms_are_found_in_the_directory() {
    let server = TestServer::start();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let directory = "/_matrix/client/v3/directory/room/%23";
    let garden = create(
        &alice,
        json!({ "visibility": "public", "name": "The Garden", "topic": "flowers", "room_alias_name": "garden" }),
    );
    let room_id = garden.rsplit('/').next().expect("an ID");
    alice
        .post("/_matrix/client/v3/createRoom", json!({ "room_alias_name": "garden" }))
        .refused(400, "M_ROOM_IN_USE");
    alice
        .post("/_matrix/client/v3/createRoom", json!({ "room_alias_name": "a:b" }))
        .refused(400, "M_INVALID_PARAM");
    let name = json!({ "room_id": room_id });
    bob.put(&format!("{directory}bobs:localhost"), name.clone()).refused(403, "M_FORBIDDEN");
    let joined = bob.post("/_matrix/client/v3/join/%23garden:localhost", json!({})).ok();
    assert_eq!(joined["room_id"], room_id);
    bob.put(&format!("{directory}bobs:localhost"), name.clone()).ok();
    bob.put(&format!("{directory}bobs:localhost"), name.clone()).refused(409, "M_UNKNOWN");
    bob.put(&format!("{directory}x:elsewhere"), name).refused(400, "M_INVALID_PARAM");
    let found = server.anonymous().get(&format!("{directory}bobs:localhost")).ok();
    assert_eq!(found, json!({ "room_id": room_id, "servers": ["localhost"] }));
    let aliases = alice.get(&format!("{garden}/aliases")).ok();
    assert_eq!(aliases, json!({ "aliases": ["#bobs:localhost", "#garden:localhost"] }));
    bob.delete(&format!("{directory}garden:localhost"), json!({})).refused(403, "M_FORBIDDEN");
    let wrong = json!({ "alias": "#nowhere:localhost" });
    alice.put(&format!("{garden}/state/m.room.canonical_alias"), wrong).refused(400, "M_BAD_ALIAS");

    let cellar = create(&bob, json!({ "visibility": "public", "name": "Cellar" }));
    let listed = server.anonymous().get("/_matrix/client/v3/publicRooms").ok();
    let names = |page: &Value| {
        let chunk = page["chunk"].as_array().expect("a list").iter();
        chunk.map(|room| room["name"].as_str().unwrap_or("").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&listed), ["The Garden", "Cellar"]);
    let first = &listed["chunk"][0];
    assert_eq!(first["num_joined_members"], 2);
    assert_eq!(first["canonical_alias"], "#garden:localhost");
    // Absent means public.
    assert!(first.get("join_rule").is_none());
    let page = server.anonymous().get("/_matrix/client/v3/publicRooms?limit=1").ok();
    let next = page["next_batch"].as_str().expect("there is more");
    let page = server.anonymous().get(&format!("/_matrix/client/v3/publicRooms?limit=1&since={next}")).ok();
    assert_eq!(names(&page), ["Cellar"]);
    assert!(page.get("next_batch").is_none() && page["prev_batch"].is_string());
    let search = |term: &str| {
        let body = json!({ "filter": { "generic_search_term": term } });
        names(&bob.post("/_matrix/client/v3/publicRooms", body).ok())
    };
    assert_eq!(search("FLOWER"), ["The Garden"]);
    assert_eq!(search("nothing"), Vec::<String>::new());

    let listing = cellar.replace("/rooms/", "/directory/list/room/");
    alice.put(&listing, json!({ "visibility": "private" })).refused(403, "M_FORBIDDEN");
    bob.put(&listing, json!({ "visibility": "private" })).ok();
    assert_eq!(server.anonymous().get(&listing).ok()["visibility"], "private");
    assert_eq!(search("cellar"), Vec::<String>::new());
    alice.delete(&format!("{directory}garden:localhost"), json!({})).ok();
    server.anonymous().get(&format!("{directory}garden:localhost")).refused(404, "M_NOT_FOUND");
    assert!(alice.get(&format!("{garden}/state/m.room.canonical_alias")).ok().get("alias").is_none());
}

#[test]
fn input_that_no_event_can_have_is_refused_and_changes_nothing() {
    let server = TestServer::start();
    let alice = server.register("alice");
    let room = create(&alice, json!({ "preset": "private_chat" }));
    let before = alice.get(&format!("{room}/messages?dir=f&limit=100")).ok()["chunk"].clone();
    let long = "x".repeat(300);
    let send = format!("{room}/send/m.room.message/1");
    let big = format!("{{\"body\":\"{}\"}}", "y".repeat(66_000));
    let rows: Vec<(u16, &str, &str, String, &str)> = vec![
        (400, "M_BAD_JSON", "PUT", send.clone(), "[]"),
        (400, "M_BAD_JSON", "PUT", send.clone(), "\"text\""),
        (400, "M_NOT_JSON", "PUT", send.clone(), "{"),
        (400, "M_BAD_JSON", "PUT", send.clone(), r#"{"n":1.5}"#),
        (400, "M_BAD_JSON", "PUT", send.clone(), r#"{"n":9007199254740993}"#),
        (413, "M_TOO_LARGE", "PUT", send.clone(), &big),
        (413, "M_TOO_LARGE", "PUT", format!("{room}/send/{long}/1"), "{}"),
        (413, "M_TOO_LARGE", "PUT", format!("{room}/send/m.room.message/{long}"), "{}"),
        (413, "M_TOO_LARGE", "PUT", format!("{room}/state/a/{long}"), "{}"),
        (400, "M_BAD_JSON", "PUT", format!("{room}/state/m.room.member/nobody"), r#"{"membership":"join"}"#),
        (400, "M_UNKNOWN", "PUT", format!("{room}/state/m.room.create"), "{}"),
        (403, "M_FORBIDDEN", "PUT", format!("{room}/state/x/@bob:localhost"), "{}"),
        (
            400,
            "M_INVALID_PARAM",
            "PUT",
            format!("{room}/state/m.room.power_levels"),
            r#"{"users":{"@alice:localhost":1}}"#,
        ),
        (404, "M_NOT_FOUND", "POST", format!("{room}/invite"), r#"{"user_id":"@nobody:localhost"}"#),
        (
            404,
            "M_NOT_FOUND",
            "PUT",
            format!("{room}/state/m.room.member/@nobody:localhost"),
            r#"{"membership":"invite"}"#,
        ),
        (
            403,
            "M_FORBIDDEN",
            "PUT",
            format!("{room}/state/m.room.member/@x:elsewhere"),
            r#"{"membership":"invite"}"#,
        ),
        (403, "M_FORBIDDEN", "POST", format!("{room}/invite"), r#"{"user_id":"@bob:elsewhere"}"#),
        (400, "M_BAD_JSON", "POST", format!("{room}/invite"), r#"{"user_id":5}"#),
        (400, "M_BAD_JSON", "POST", "/_matrix/client/v3/createRoom".into(), r#"{"invite":"x"}"#),
        (
            400,
            "M_UNSUPPORTED_ROOM_VERSION",
            "POST",
            "/_matrix/client/v3/createRoom".into(),
            r#"{"room_version":"99"}"#,
        ),
        (400, "M_INVALID_PARAM", "POST", "/_matrix/client/v3/createRoom".into(), r#"{"preset":"x"}"#),
        (
            400,
            "M_INVALID_ROOM_STATE",
            "POST",
            "/_matrix/client/v3/createRoom".into(),
            r#"{"initial_state":[{"type":"m.room.power_levels","content":{"users":{"@a:b":"x"}}}]}"#,
        ),
        (404, "M_NOT_FOUND", "POST", "/_matrix/client/v3/join/%23nowhere:localhost".into(), "{}"),
        (400, "M_INVALID_PARAM", "POST", "/_matrix/client/v3/join/nonsense".into(), "{}"),
    ];
    for (status, errcode, method, path, body) in rows {
        let answer = alice.send(method, &path, Some(body.as_bytes()));
        let short: String = path.chars().take(90).collect();
        assert_eq!(
            (answer.status, answer.body["errcode"].as_str()),
            (status, Some(errcode)),
            "{method} {short}: {}",
            answer.text
        );
    }
    assert_eq!(
        alice.get("/_matrix/client/v3/joined_rooms").ok()["joined_rooms"].as_array().map(Vec::len),
        Some(1)
    );
    let after = alice.get(&format!("{room}/messages?dir=f&limit=100")).ok()["chunk"].clone();
    assert_eq!(before.as_array().map(Vec::len), after.as_array().map(Vec::len));
}

#[test]
fn a_room_is_made_once_and_who_made_it_has_no_level_from_version_12_on() {
    let server = TestServer::start();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    for (version, status) in [("11", 200), ("12", 400)] {
        let request = json!({ "preset": "public_chat", "room_version": version });
        let made = alice.post("/_matrix/client/v3/createRoom", request).ok();
        let state = |kind: &str| {
            let room = made["room_id"].as_str().expect("a room");
            format!("/_matrix/client/v3/rooms/{room}/state/{kind}/")
        };
        alice.put(&state("m.room.create"), json!({ "room_version": version })).refused(400, "M_UNKNOWN");
        bob.put(&state("m.room.create"), json!({ "room_version": version })).refused(403, "M_FORBIDDEN");
        let mut levels = alice.get(&state("m.room.power_levels")).ok();
        levels["users"][&alice.user] = 100.into();
        levels["users"][&bob.user] = 50.into();
        let answer = alice.put(&state("m.room.power_levels"), levels);
        assert_eq!(answer.status, status, "{version}: {}", answer.text);
        assert!(status == 200 || answer.body["errcode"] == "M_INVALID_PARAM", "{}", answer.text);
    }
}

#[test]
fn an_account_that_ends_leaves_its_rooms() {
    let server = TestServer::start();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let room = create(&alice, json!({ "preset": "public_chat" }));
    bob.post(&format!("{room}/join"), json!({})).ok();
    let auth = json!({ "type": "m.login.password", "password": crate::support::PASSWORD,
        "identifier": { "type": "m.id.user", "user": "bob" } });
    bob.post("/_matrix/client/v3/account/deactivate", json!({ "auth": auth })).ok();
    assert_eq!(alice.get(&format!("{room}/state/m.room.member/{}", bob.user)).ok()["membership"], "leave");
    alice.post(&format!("{room}/invite"), json!({ "user_id": bob.user })).refused(404, "M_NOT_FOUND");
}

#[test]
fn what_is_in_memory_is_what_is_on_the_disk() {
    let server = TestServer::start();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let room = create(&alice, json!({ "preset": "public_chat", "name": "one" }));
    let room_id = ruma::RoomId::parse(room.rsplit('/').next().expect("an ID")).expect("an ID");
    bob.post(&format!("{room}/join"), json!({})).ok();
    let secret = say(&bob, &room, "1", "secret");
    let name = alice.put(&format!("{room}/state/m.room.name"), json!({ "name": "two" })).ok();
    alice.put(&format!("{room}/state/m.room.name"), json!({ "name": "three" })).ok();
    for (n, id) in [&secret, name["event_id"].as_str().expect("text")].into_iter().enumerate() {
        alice.put(&format!("{room}/redact/{id}/{n}"), json!({})).ok();
    }
    let app = server.app();
    let order = pilotlight::server::store::Order::OldestFirst;
    let recent = app
        .store
        .recent_events(LogPosition::START, |event| event.room_id == room_id)
        .expect("the log is short");
    let stored = runtime()
        .block_on(app.store.room_events(
            &room_id,
            TimelinePosition::START,
            TimelinePosition::END,
            order,
            1000,
        ))
        .expect("reads");
    assert!(stored.len() > 10);
    assert_eq!(format!("{recent:?}"), format!("{stored:?}"));
    let (alice_id, bob_id) =
        (ruma::UserId::parse(&*alice.user).expect("an ID"), ruma::UserId::parse(&*bob.user).expect("an ID"));
    assert!(app.rooms.members.shares_room(&alice_id, &bob_id));
    let token = json!(bob.token);
    let server = server.restart();
    let members = &server.app().rooms.members;
    assert!(members.shares_room(&alice_id, &bob_id));
    assert_eq!(members.counts(&room_id), (2, 0));
    server.anonymous().with_token(&token).post(&format!("{room}/leave"), json!({})).ok();
    assert!(!members.shares_room(&alice_id, &bob_id));
    assert_eq!(members.joined(&room_id), [alice_id]);
}
