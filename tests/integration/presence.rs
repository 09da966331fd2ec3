//! Presence over HTTP: what one user does, and what another one sees of it.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    poll::Poll,
    support::{Client, TestServer},
    sync::{Reader, room_of, same, send},
};

/// How long after their last poll users are offline, unless a server is told otherwise.
pub const GRACE: Duration = Duration::from_secs(30);

/// A millisecond: what is due after [`GRACE`] has not happened this much earlier.
pub const TICK: Duration = Duration::from_millis(1);

/// A server on which time passes as the test lets it.
pub fn server() -> TestServer {
    TestServer::driven()
}

pub fn status_path(user: &str) -> String {
    format!("/_matrix/client/v3/presence/{user}/status")
}

pub fn put(client: &Client, body: Value) {
    client.put(&status_path(&client.user), body).ok();
}

pub fn device(client: &Client, body: Value) {
    let path = format!("/_matrix/client/unstable/org.pilotlight/presence/{}/device", client.user);
    client.put(&path, body).ok();
}

/// The contents of the presence events of `user` in an answer.
pub fn told(answer: &Value, user: &str) -> Vec<Value> {
    let events = answer["presence"]["events"].as_array().cloned().unwrap_or_default();
    events.into_iter().filter(|e| e["sender"] == user).map(|e| e["content"].clone()).collect()
}

pub fn state(content: &Value) -> &str {
    content["org.pilotlight.presence"]["state"].as_str().expect("the full state")
}

/// Waits until `user` is told to be in `wanted`; returns the states told on the way, and the last content.
pub fn until_state(reader: &mut Reader, user: &str, wanted: &str) -> (Vec<String>, Value) {
    let mut way = Vec::new();
    let last = reader.until(|answer| {
        let contents = told(answer, user);
        way.extend(contents.iter().map(|c| state(c).to_owned()));
        contents.into_iter().find(|c| state(c) == wanted)
    });
    (way, last)
}

pub fn pair(server: &TestServer) -> (Client, Client, String) {
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let room = room_of(&alice, &[&bob]);
    (alice, bob, room)
}

#[test]
fn p1_p2_p11_a_choice_is_told_in_matrix_words_with_the_full_state_beside() {
    let server = server();
    let (alice, bob, _) = pair(&server);
    let mut alices = Reader::new(&alice);
    let mut bobs = Reader::new(&bob);
    let rows = [
        ("free_for_chat", "online"),
        ("online", "online"),
        ("busy", "unavailable"),
        ("unavailable", "unavailable"),
        ("offline", "offline"),
    ];
    for (word, matrix) in rows {
        put(&alice, json!({ "presence": word, "status_msg": word }));
        alices.now();
        let (_, content) = until_state(&mut bobs, &alice.user, word);
        assert_eq!(content["presence"], matrix);
        let got = bob.get(&status_path(&alice.user)).ok();
        assert_eq!((&got["presence"], state(&got)), (&json!(matrix), word));
    }
}

#[test]
fn p2_keeping_and_clearing_a_status_message_differ() {
    let server = server();
    let (alice, bob, _) = pair(&server);
    let _alices = Reader::new(&alice);
    let message = || bob.get(&status_path(&alice.user)).ok()["status_msg"].clone();
    put(&alice, json!({ "presence": "online", "status_msg": "at lunch" }));
    assert_eq!(message(), "at lunch");
    put(&alice, json!({ "presence": "busy" }));
    assert_eq!(message(), "at lunch");
    for clear in [json!(null), json!("")] {
        put(&alice, json!({ "presence": "online", "status_msg": "back" }));
        assert_eq!(message(), "back");
        put(&alice, json!({ "presence": "online", "status_msg": clear }));
        assert_eq!(message(), Value::Null);
    }
}

#[test]
fn a_status_message_is_not_erased_by_set_presence() {
    let server = server();
    let (alice, bob, _) = pair(&server);
    put(&alice, json!({ "presence": "online", "status_msg": "here" }));
    for word in ["online", "unavailable", "offline"] {
        Reader::with(&alice, &format!("&set_presence={word}"));
        assert_eq!(bob.get(&status_path(&alice.user)).ok()["status_msg"], "here", "{word}");
    }
}

#[test]
fn nonsense_is_refused_and_changes_nothing() {
    let server = server();
    let (alice, bob, _) = pair(&server);
    put(&alice, json!({ "presence": "busy", "status_msg": "x" }));
    let own = status_path(&alice.user);
    let device = format!("/_matrix/client/unstable/org.pilotlight/presence/{}/device", alice.user);
    let long = "x".repeat(10_000);
    let rows = [
        (&own, json!({ "presence": "lunch" }), "M_INVALID_PARAM"),
        (&own, json!({ "presence": "unknown" }), "M_INVALID_PARAM"),
        (&own, json!({ "presence": "Online" }), "M_INVALID_PARAM"),
        (&own, json!({ "presence": 3 }), "M_BAD_JSON"),
        (&own, json!({}), "M_MISSING_PARAM"),
        (&own, json!({ "presence": "online", "status_msg": 3 }), "M_BAD_JSON"),
        (&own, json!({ "presence": "online", "status_msg": long }), "M_INVALID_PARAM"),
        (&own, json!({ "presence": "online", "status_msg": "x".repeat(513) }), "M_INVALID_PARAM"),
        (&device, json!({}), "M_MISSING_PARAM"),
        (&device, json!({ "idle_ms": -1 }), "M_BAD_JSON"),
        (&device, json!({ "device_type": "A Toaster" }), "M_INVALID_PARAM"),
    ];
    for (path, body, errcode) in rows {
        let answer = alice.put(path, body.clone());
        assert_eq!((answer.status, &answer.body["errcode"]), (400, &json!(errcode)), "{body}");
    }
    let refused = alice.put(&own, json!({ "presence": "online", "status_msg": long }));
    assert_eq!(refused.body["error"], "a status message holds at most 512 bytes, not 10000");
    bob.put(&own, json!({ "presence": "online" })).refused(403, "M_FORBIDDEN");
    bob.put(&device, json!({ "idle_ms": 0 })).refused(403, "M_FORBIDDEN");
    alice.get("/_matrix/client/v3/presence/nobody/status").refused(400, "M_INVALID_PARAM");
    let own = alice.get(&own).ok();
    assert_eq!((state(&own), &own["status_msg"]), ("busy", &json!("x")));
}

#[test]
fn l6_a_stranger_sees_nothing() {
    let server = server();
    let (alice, bob, room) = pair(&server);
    let carol = server.register("carol");
    let mut carols = Reader::new(&carol);
    put(&alice, json!({ "presence": "busy" }));
    carol.get(&status_path(&alice.user)).refused(403, "M_FORBIDDEN");
    carol.get(&status_path("@nobody:localhost")).refused(403, "M_FORBIDDEN");
    assert_eq!(told(&carols.now(), &alice.user), Vec::<Value>::new());
    let mut bobs = Reader::new(&bob);
    bob.post(&format!("/_matrix/client/v3/rooms/{room}/leave"), json!({})).ok();
    put(&alice, json!({ "presence": "online" }));
    let last = told(&bobs.now(), &alice.user);
    assert_eq!(last.iter().map(state).collect::<Vec<_>>(), ["unknown"], "no longer in the room");
    bob.get(&status_path(&alice.user)).refused(403, "M_FORBIDDEN");
}

#[test]
fn who_joins_and_who_is_there_see_each_other_at_once() {
    let server = server();
    let (alice, bob, room) = pair(&server);
    let carol = server.register("carol");
    let (mut alices, mut carols) = (Reader::new(&alice), Reader::new(&carol));
    let _bobs = Reader::new(&bob);
    alices.now();
    carol.post(&format!("/_matrix/client/v3/join/{room}"), json!({})).ok();
    let answer = carols.now();
    for user in [&alice.user, &bob.user] {
        assert_eq!(told(&answer, user).iter().map(state).collect::<Vec<_>>(), ["online"]);
    }
    assert_eq!(told(&alices.now(), &carol.user).iter().map(state).collect::<Vec<_>>(), ["online"]);
}

#[test]
fn a_presence_change_wakes_a_waiting_sync_at_once() {
    let server = server();
    let (alice, bob, _) = pair(&server);
    let _alices = Reader::new(&alice);
    let mut bobs = Reader::new(&bob);
    bobs.now();
    let poll = Poll::open(&bob, &bobs.since);
    server.settle();
    let waiting = server.app().metrics.open_polls.value();
    put(&alice, json!({ "presence": "busy" }));
    // No time has passed.
    let contents = told(&poll.answer(), &alice.user);
    assert_eq!((waiting, contents.iter().map(state).collect::<Vec<_>>()), (1, vec!["busy"]));
}

#[test]
fn many_changes_before_a_reader_returns_are_one_item_with_the_last_state() {
    let server = server();
    let (alice, bob, _) = pair(&server);
    let _alices = Reader::new(&alice);
    let mut bobs = Reader::new(&bob);
    for n in 0..50 {
        put(
            &alice,
            json!({ "presence": if n % 2 == 0 { "busy" } else { "online" }, "status_msg": n.to_string() }),
        );
    }
    let contents = told(&bobs.now(), &alice.user);
    assert_eq!(contents.iter().map(|c| c["status_msg"].clone()).collect::<Vec<_>>(), ["49"]);
    assert_eq!(told(&bobs.now(), &alice.user), Vec::<Value>::new(), "and once");
}

#[test]
fn unavailable_by_put_survives_the_users_own_next_sync() {
    let server = server();
    let (alice, bob, _) = pair(&server);
    put(&alice, json!({ "presence": "unavailable" }));
    for with in ["", "&set_presence=unavailable", ""] {
        Reader::with(&alice, with);
        assert_eq!(bob.get(&status_path(&alice.user)).ok()["presence"], "unavailable", "{with}");
    }
}

#[test]
fn no_offline_blip_between_two_long_polls() {
    let server = server();
    let (alice, bob, _) = pair(&server);
    let mut bobs = Reader::new(&bob);
    let mut alices = Reader::new(&alice);
    until_state(&mut bobs, &alice.user, "online");
    for _ in 0..5 {
        // Bob's poll is there lest he goes, and Alice is told of it.
        let (poll, _bobs_poll) = (Poll::open(&alice, &alices.since), Poll::open(&bob, &bobs.since));
        server.pass(GRACE * 2);
        drop(poll);
        server.pass(GRACE - TICK);
        assert_eq!(told(&bobs.now(), &alice.user), Vec::<Value>::new());
        alices.now();
    }
}

#[test]
fn p12_a_user_whose_client_is_gone_is_offline_after_the_grace_and_was_seen_then() {
    let server = server();
    let (alice, bob, _) = pair(&server);
    let mut bobs = Reader::new(&bob);
    Reader::new(&alice);
    until_state(&mut bobs, &alice.user, "online");
    server.pass(GRACE - TICK);
    assert_eq!(told(&bobs.now(), &alice.user), Vec::<Value>::new());
    server.pass(TICK);
    let contents = told(&bobs.now(), &alice.user);
    assert_eq!(contents.iter().map(state).collect::<Vec<_>>(), ["offline"]);
    let content = &contents[0];
    assert_eq!(content["presence"], "offline");
    assert_eq!(content["org.pilotlight.presence"]["last_seen_ago"], 0);
    assert_eq!(content["last_active_ago"], 60_000, "in whole minutes, and not less than it is");
    assert_eq!(content["currently_active"], Value::Null);
}

#[test]
fn p9_who_leaves_never_looks_more_recently_active_for_it() {
    let server = server();
    let (alice, bob, _) = pair(&server);
    let mut bobs = Reader::new(&bob);
    let ago = |content: &Value| content["last_active_ago"].as_u64().expect("a time");
    for (ms, shown) in [(740, 60_000), (347_427, 360_000), (3_661_000, 7_200_000)] {
        put(&alice, json!({ "presence": "online" }));
        let mut alices = Reader::new(&alice);
        // Her client goes on reading.
        server.pass(Duration::from_millis(ms % 20_000));
        for _ in 0..ms / 20_000 {
            alices.now();
            server.pass(Duration::from_secs(20));
        }
        bobs.now();
        let before = ago(&bob.get(&status_path(&alice.user)).ok());
        put(&alice, json!({ "presence": "offline" }));
        let told = told(&bobs.now(), &alice.user);
        let seen = [bob.get(&status_path(&alice.user)).ok(), told.last().expect("is told").clone()];
        for after in seen {
            assert_eq!(state(&after), "offline");
            assert!(ago(&after) >= before, "{before} ms ago, and then {after}");
            assert_eq!(ago(&after), shown, "{before} ms ago, and then {after}");
        }
    }
}

#[test]
fn set_presence_offline_does_not_connect() {
    let server = server();
    let (alice, bob, _) = pair(&server);
    Reader::with(&alice, "&set_presence=offline");
    assert_eq!(bob.get(&status_path(&alice.user)).ok()["presence"], "offline");
}

#[test]
fn p5_p6_a_user_is_idle_when_every_device_is_and_not_before() {
    let server = server();
    let (alice, bob, _) = pair(&server);
    let phone = server.log_in("alice");
    let mut bobs = Reader::new(&bob);
    let (_desk, _phone) = (Reader::new(&alice), Reader::new(&phone));
    until_state(&mut bobs, &alice.user, "online");
    device(&alice, json!({ "idle_ms": 180_000, "device_type": "desktop" }));
    device(&phone, json!({ "device_type": "mobile" }));
    let seen = |client: &Client| client.get(&status_path(&alice.user)).ok();
    assert_eq!(state(&seen(&bob)), "online");
    assert_eq!(seen(&bob)["org.pilotlight.presence"]["device_type"], "mobile");
    device(&phone, json!({ "idle_ms": 60_000 }));
    assert_eq!((state(&seen(&bob)), &seen(&bob)["presence"]), ("unavailable", &json!("unavailable")));
    // A poll that says nothing about idleness does not undo the report.
    Reader::new(&phone);
    assert_eq!(state(&seen(&bob)), "unavailable");
    device(&alice, json!({ "idle_ms": 0 }));
    assert_eq!(state(&seen(&bob)), "online");
    assert_eq!(seen(&bob)["org.pilotlight.presence"]["device_type"], "desktop");
    // The idle phone comes back last: it does not win over the active desk.
    Reader::with(&phone, "&set_presence=unavailable");
    assert_eq!(state(&seen(&bob)), "online", "the last device to sync does not win over the active one");
}

#[test]
fn p7_a_device_tells_its_kind_with_the_poll_and_others_see_it() {
    let server = server();
    let (alice, bob, _) = pair(&server);
    let _alices = Reader::with(&alice, "&org.pilotlight.device_type=mobile");
    let seen = bob.get(&status_path(&alice.user)).ok();
    assert_eq!((state(&seen), &seen["org.pilotlight.presence"]["device_type"]), ("online", &json!("mobile")));
    let refused = alice.get("/_matrix/client/v3/sync?org.pilotlight.device_type=no%20word");
    refused.refused(400, "M_INVALID_PARAM");
}

#[test]
fn p8_last_active_ago_is_told_counts_from_the_last_message_and_ages() {
    let server = server();
    let (alice, bob, room) = pair(&server);
    let _alices = Reader::new(&alice);
    let ago = || bob.get(&status_path(&alice.user)).ok()["last_active_ago"].as_u64();
    assert_eq!(ago(), Some(0));
    server.pass(Duration::from_millis(10_400));
    assert_eq!(ago(), Some(10_400));
    send(&alice, &room, "1", "hello");
    assert_eq!(ago(), Some(0));
    assert_eq!(bob.get(&status_path(&alice.user)).ok()["currently_active"], true);
    server.pass(Duration::from_millis(150));
    assert_eq!(ago(), Some(150));
    put(&alice, json!({ "presence": "unavailable" }));
    assert_eq!(ago(), Some(150), "a change downwards is not activity");
    put(&alice, json!({ "presence": "online" }));
    assert_eq!(ago(), Some(0), "a change upwards is");
}

#[test]
fn p8_who_writes_message_after_message_was_active_with_the_last_of_them() {
    let server = server();
    let (alice, bob, room) = pair(&server);
    let _alices = Reader::new(&alice);
    let mut bobs = Reader::new(&bob);
    let ago = |contents: &[Value]| contents.last().map(|content| content["last_active_ago"].clone());
    send(&alice, &room, "1", "one");
    assert_eq!(ago(&told(&bobs.now(), &alice.user)), Some(json!(0)));
    server.pass(Duration::from_secs(5));
    send(&alice, &room, "2", "two");
    let answer = bobs.now();
    assert!(answer["rooms"]["join"][&room].is_object());
    assert_eq!(told(&answer, &alice.user), Vec::<Value>::new(), "not with every message");
    server.pass(Duration::from_secs(13));
    let poll = Poll::open(&bob, &bobs.since);
    server.settle();
    send(&alice, &room, "3", "three");
    let answer = poll.answer();
    assert_eq!(ago(&told(&answer, &alice.user)), Some(json!(0)), "with what is told anyway");
    server.pass(Duration::from_secs(2));
    let seen = bob.get(&status_path(&alice.user)).ok();
    assert_eq!((&seen["last_active_ago"], &seen["currently_active"]), (&json!(2_000), &json!(true)));
    send(&alice, &room, "4", "four");
    server.pass(Duration::from_secs(1));
    let first = Reader { since: String::new(), ..Reader::new(&bob) }.now();
    assert_eq!(ago(&told(&first, &alice.user)), Some(json!(1_000)), "a first sync");
}

#[test]
fn p10_name_and_picture_come_in_one_event_with_the_presence() {
    let server = server();
    let (alice, bob, room) = pair(&server);
    let _alices = Reader::new(&alice);
    let mut bobs = Reader::new(&bob);
    let path = format!("/_matrix/client/v3/profile/{}", alice.user);
    alice.put(&format!("{path}/displayname"), json!({ "displayname": "Alice L" })).ok();
    alice.put(&format!("{path}/avatar_url"), json!({ "avatar_url": "mxc://localhost/a" })).ok();
    let answer = bobs.now();
    let contents = told(&answer, &alice.user);
    assert_eq!(contents.len(), 1);
    assert_eq!(contents[0]["presence"], "online");
    assert_eq!(contents[0]["displayname"], "Alice L");
    assert_eq!(contents[0]["avatar_url"], "mxc://localhost/a");
    let member =
        answer["rooms"]["join"][&room]["timeline"]["events"].as_array().expect("events").last().cloned();
    assert_eq!(member.expect("a member event")["content"]["avatar_url"], "mxc://localhost/a");
}

#[test]
fn p3_a_choice_holds_for_every_device_and_over_a_restart_and_nobody_blinks() {
    let server = server();
    let (alice, bob, _) = pair(&server);
    let mut bobs = Reader::new(&bob);
    let (_alices, mut phones) = (Reader::new(&alice), Reader::new(&server.log_in("alice")));
    put(&alice, json!({ "presence": "busy", "status_msg": "writing" }));
    let own = told(&phones.now(), &alice.user);
    assert_eq!(own[0]["org.pilotlight.presence"]["choice"], "busy");
    until_state(&mut bobs, &alice.user, "busy");
    let server = server.restart();
    bobs.client = same(&server, &bob);
    let contents = told(&bobs.now(), &alice.user);
    assert_eq!(contents.iter().map(state).collect::<Vec<_>>(), ["busy"], "as if nothing had been");
    Reader::new(&same(&server, &alice));
    let seen = bob_sees(&bobs, &alice);
    assert_eq!((state(&seen), &seen["status_msg"]), ("busy", &json!("writing")));
}

fn bob_sees(bobs: &Reader, of: &Client) -> Value {
    bobs.client.get(&status_path(&of.user)).ok()
}

#[test]
fn p4_a_hidden_user_is_offline_to_everybody_else_and_hidden_to_themselves() {
    let server = server();
    let (alice, bob, room) = pair(&server);
    let phone = server.log_in("alice");
    let mut bobs = Reader::new(&bob);
    let (_alices, mut phones) = (Reader::new(&alice), Reader::new(&phone));
    until_state(&mut bobs, &alice.user, "online");
    phones.now();
    let typing = format!("/_matrix/client/v3/rooms/{room}/typing/{}", alice.user);
    alice.put(&typing, json!({ "typing": true, "timeout": 60_000 })).ok();
    put(&alice, json!({ "presence": "hidden" }));
    let (_, hidden) = until_state(&mut bobs, &alice.user, "offline");
    assert_eq!(state(&told(&phones.now(), &alice.user)[0]), "hidden");
    assert_eq!(state(&alice.get(&status_path(&alice.user)).ok()), "hidden");

    bobs.now();
    alice.put(&typing, json!({ "typing": true, "timeout": 60_000 })).ok();
    let event = send(&bob, &room, "1", "anybody there?");
    bobs.now();
    alice.post(&format!("/_matrix/client/v3/rooms/{room}/receipt/m.read/{event}"), json!({})).ok();
    put(&alice, json!({ "presence": "hidden", "status_msg": "secret" }));
    device(&alice, json!({ "idle_ms": 0, "device_type": "web" }));
    Reader::with(&alice, "&set_presence=online");
    let answer = bobs.now();
    assert_eq!(
        (&answer["presence"], &answer["rooms"]),
        (&Value::Null, &Value::Null),
        "nothing gives her away"
    );
    let seen = bob_sees(&bobs, &alice);
    assert_eq!(seen, hidden);
    assert_eq!(seen["status_msg"], Value::Null);
    send(&alice, &room, "2", "it is me");
    let answer = bobs.now();
    assert!(answer["rooms"]["join"][&room].is_object(), "a hidden user can speak");
    assert_eq!(answer["presence"], Value::Null);
    assert_eq!(bob_sees(&bobs, &alice), hidden);
}

#[test]
fn the_presence_part_of_a_filter_is_heard() {
    let server = server();
    let (alice, bob, _) = pair(&server);
    let none = "&filter=%7B%22presence%22%3A%7B%22types%22%3A%5B%5D%7D%7D";
    let mut bobs = Reader::with(&bob, none);
    put(&alice, json!({ "presence": "busy" }));
    Reader::new(&alice);
    assert_eq!(bobs.now()["presence"], Value::Null);
}

#[test]
fn presence_is_not_sent_again_while_nothing_changes() {
    let server = server();
    let (alice, bob, _) = pair(&server);
    let (mut alices, mut bobs) = (Reader::new(&alice), Reader::new(&bob));
    alices.now();
    bobs.now();
    for _ in 0..3 {
        server.pass(GRACE - TICK);
        alices.now();
        assert_eq!(bobs.now()["presence"], Value::Null);
    }
}

#[test]
fn who_chooses_to_be_there_is_at_once_though_the_device_was_idle() {
    let server = server();
    let (alice, bob, _) = pair(&server);
    let mut bobs = Reader::new(&bob);
    for _ in 0..3 {
        put(&alice, json!({ "presence": "unavailable" }));
        Reader::with(&alice, "&set_presence=unavailable");
        until_state(&mut bobs, &alice.user, "unavailable");
        put(&alice, json!({ "presence": "online" }));
        Reader::with(&alice, "&set_presence=online");
        let contents = told(&bobs.now(), &alice.user);
        assert_eq!(contents.iter().map(state).collect::<Vec<_>>(), ["online"]);
        server.pass(Duration::from_secs(1));
        assert_eq!(told(&bobs.now(), &alice.user), Vec::<Value>::new(), "one change");
    }
}
