//! The held stream: what is told on it, to whom, once; where it goes on, and how it ends.

use std::{
    io::{Read, Write},
    time::Duration,
};

use serde_json::{Value, json};

use super::{
    contacts::choose,
    poll::connect,
    streamed::{Held, STREAM, Told, bodies_of, last_id},
    support::{Client, PASSWORD, TestServer, until},
    sync::{Reader, bodies, room_of, send},
};

const RECEIVED: &str = "/_matrix/client/unstable/org.pilotlight/stream/received";

fn unlimited() -> TestServer {
    TestServer::start_with(|config| config.rate_limits.enabled = false)
}

fn said(told: &[Told]) -> Vec<String> {
    told.iter().flat_map(bodies_of).collect()
}

/// A stream of `client` that was told everything there is, and where it is.
fn following(client: &Client, query: &str) -> (Held, String) {
    let since = Reader::new(client).since;
    let held = Held::open_with(client, &since, query);
    (held, since)
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

fn write_to(from: &Client, to: &Client, transaction: &str, body: &str) {
    let path = format!("/_matrix/client/v3/sendToDevice/x.test/{transaction}");
    from.put(&path, json!({ "messages": { &to.user: { &to.device: { "body": body } } } })).ok();
}

#[test]
fn it_greets_at_once_and_each_write_ends_with_the_place_to_go_on_from() {
    let server = TestServer::start();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let room = room_of(&alice, &[&bob]);
    let held = Held::open(&bob, "");
    for line in ["HTTP/1.1 200 OK\r\n", "content-type: text/event-stream\r\n", "cache-control: no-store\r\n"]
    {
        assert!(held.head.contains(line), "{line} in {}", held.head);
    }
    assert!(held.head.contains("x-accel-buffering: no\r\n") && !held.head.contains("transfer-encoding"));
    assert!(held.head.contains("access-control-allow-origin: *\r\n"), "{}", held.head);
    let hello = held.next().expect("greets");
    assert_eq!(
        (hello.name.as_str(), &hello.data, &hello.id),
        ("hello", &json!({ "heartbeat_ms": 25000 }), &None)
    );
    let first = held.next().expect("the beginning");
    assert!(first.name == "sync" && first.id.is_some(), "{first:?}");
    assert!(first.data["rooms"]["join"].get(&room).is_some());
    send(&alice, &room, "1", "hi");
    let told = held.until_body("hi");
    let id = last_id(&told);
    // Where one is taken so is the other.
    let mut reader = Reader { client: bob.clone(), since: id, with: String::new() };
    assert!(bodies(&reader.now(), &room).is_empty());
    send(&alice, &room, "2", "more");
    assert_eq!(said(&Held::open(&bob, &reader.since).until_body("more")), ["more"]);
}

#[test]
fn what_comes_after_an_id_is_told_once_to_who_goes_on_from_it() {
    let server = unlimited();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let room = room_of(&alice, &[&bob]);
    let (held, since) = following(&bob, "");
    let (mut all, mut ids) = (Vec::new(), vec![(0, since)]);
    for n in 0..6 {
        send(&alice, &room, &n.to_string(), &n.to_string());
        let told = held.until_body(&n.to_string());
        all.extend(said(&told));
        ids.push((all.len(), last_id(&told)));
    }
    drop(held);
    let expected: Vec<_> = (0..6).map(|n| n.to_string()).collect();
    assert_eq!(all, expected);
    send(&alice, &room, "last", "6");
    for (count, id) in ids {
        let held = Held::open(&bob, &id);
        let told = said(&held.until_body("6"));
        let missed: Vec<_> = (count..7).map(|n| n.to_string()).collect();
        assert_eq!(told, missed, "from {id}");
    }
}

#[test]
fn how_much_is_unread_is_told_in_time_and_to_who_was_cut_off_before() {
    let server = TestServer::start();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let room = room_of(&alice, &[&bob]);
    let (held, _) = following(&bob, "");
    send(&alice, &room, "1", "hi");
    let told = held.until_body("hi");
    drop(held);
    let held = Held::open(&bob, &last_id(&told));
    let unread = held.until("what is unread", |told| told.name == "unread");
    let expected = json!({ "room_id": room, "notification_count": 1, "highlight_count": 0 });
    assert_eq!(unread.last().expect("is told").data, expected);
    send(&alice, &room, "2", "hi again");
    let unread =
        held.until("what is unread", |told| told.name == "unread" && told.data["notification_count"] == 2);
    assert_eq!(said(&unread), ["hi again"]);
}

#[test]
fn only_the_device_that_sent_an_event_is_told_its_transaction() {
    let server = TestServer::start();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let phone = server.log_in("alice");
    let room = room_of(&alice, &[&bob]);
    let streams = [&alice, &phone, &bob].map(|client| following(client, "").0);
    send(&alice, &room, "mine", "hi");
    let transaction = |held: &Held| {
        let told = held.until_body("hi");
        let event = told.into_iter().find(|told| told.name == "e").expect("is an event").data;
        assert_eq!(event["room_id"], room.as_str());
        event["unsigned"]["transaction_id"].clone()
    };
    assert_eq!(streams.each_ref().map(transaction), [json!("mine"), Value::Null, Value::Null]);
}

#[test]
fn nobody_is_told_of_whom_they_ignore() {
    let server = TestServer::start();
    let (alice, bob, carol) = (server.register("alice"), server.register("bob"), server.register("carol"));
    let room = room_of(&alice, &[&bob, &carol]);
    let (held, _) = following(&bob, "");
    let ignore = |users: Value| {
        let path = format!("/_matrix/client/v3/user/{}/account_data/m.ignored_user_list", bob.user);
        bob.put(&path, json!({ "ignored_users": users })).ok();
    };
    ignore(json!({ &carol.user: {} }));
    send(&carol, &room, "1", "ignored");
    choose(&carol, "unavailable");
    send(&alice, &room, "1", "heard");
    let told = held.until_body("heard");
    assert_eq!(said(&told), ["heard"]);
    let shows = |told: &Told| {
        told.name == "p" && told.data["u"] == carol.user.as_str() && told.data["s"] == "unavailable"
    };
    assert!(!told.iter().any(shows));
    ignore(json!({}));
    send(&carol, &room, "2", "back");
    let told = held.until_body("back");
    assert_eq!(said(&told), ["back"]);
}

#[test]
fn a_filter_holds_as_it_does_for_sync() {
    let server = TestServer::start();
    let (alice, bob, carol) = (server.register("alice"), server.register("bob"), server.register("carol"));
    let room = room_of(&alice, &[&bob, &carol]);
    let other = room_of(&alice, &[&bob]);
    let speak = |n: &str| {
        send(&carol, &room, n, &format!("carol {n}"));
        let path = format!("/_matrix/client/v3/rooms/{room}/send/x.other/{n}");
        alice.put(&path, json!({ "body": format!("other {n}") })).ok();
        send(&alice, &other, n, &format!("elsewhere {n}"));
        choose(&alice, if n == "1" { "busy" } else { "online" });
        send(&alice, &room, n, &format!("last {n}"));
    };
    for (filter, expected) in [
        (
            json!({ "room": { "timeline": { "not_senders": [carol.user] } } }),
            vec!["other 1", "elsewhere 1", "last 1"],
        ),
        (
            json!({ "room": { "timeline": { "types": ["m.room.message"] } } }),
            vec!["carol 1", "elsewhere 1", "last 1"],
        ),
        (json!({ "room": { "rooms": [room] } }), vec!["carol 1", "other 1", "last 1"]),
        (json!({ "presence": { "types": [] } }), vec!["carol 1", "other 1", "elsewhere 1", "last 1"]),
    ] {
        let (held, id) = following(&bob, &format!("filter={}", encoded(&filter.to_string())));
        let n = id.replace(['_', '.', '~'], "");
        let mut expected: Vec<_> = expected.into_iter().map(|said| said.replace('1', &n)).collect();
        speak(&n);
        let told = held.until_body(&format!("last {n}"));
        let mut said = said(&told);
        // Between rooms there is no order: what is told in one look is told room by room.
        said.sort();
        expected.sort();
        assert_eq!(said, expected, "{filter}");
        let shows_presence =
            told.iter().any(|told| told.name == "p" && told.data["u"] == alice.user.as_str());
        if filter.get("presence").is_some() {
            assert!(!shows_presence, "{told:?}");
        }
        drop(held);
    }
}

#[test]
fn events_have_the_form_and_the_fields_that_are_asked_for() {
    let server = TestServer::start();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let room = room_of(&alice, &[&bob]);
    let fields = encoded(&json!({ "event_fields": ["type", "content.body"] }).to_string());
    let (held, _) = following(&bob, &format!("filter={fields}"));
    send(&alice, &room, "1", "few");
    let told = held.until_body("few");
    let room_told = told.iter().find(|told| !bodies_of(told).is_empty()).expect("is told");
    let events = &room_told.data["join"][&room]["timeline"]["events"];
    assert_eq!(events, &json!([{ "type": "m.room.message", "content": { "body": "few" } }]), "{told:?}");
    let format = encoded(&json!({ "event_format": "federation" }).to_string());
    let (held, _) = following(&bob, &format!("filter={format}"));
    send(&alice, &room, "2", "whole");
    let told = held.until_body("whole");
    let event = told.iter().find(|told| told.name == "e").expect("is told");
    assert!(event.data["auth_events"].is_array() && event.data["room_id"] == room.as_str(), "{event:?}");
}

#[test]
fn a_stream_with_lazy_members_is_told_who_speaks() {
    let server = TestServer::start();
    let (alice, bob, carol) = (server.register("alice"), server.register("bob"), server.register("carol"));
    let room = room_of(&alice, &[&bob, &carol]);
    let lazy = format!(
        "filter={}",
        encoded(&json!({ "room": { "state": { "lazy_load_members": true } } }).to_string())
    );
    for n in 0..12 {
        send(&alice, &room, &n.to_string(), &n.to_string());
    }
    let held = Held::open_with(&bob, "", &lazy);
    let knows = |told: &Told| told.data.to_string().contains(&format!("\"state_key\":\"{}\"", carol.user));
    let first = held.until("the beginning", |told| told.name == "sync");
    assert!(!first.iter().any(knows));
    send(&carol, &room, "1", "hi");
    let told = held.until_body("hi");
    assert!(told.iter().any(knows), "{told:?}");
}

#[test]
fn messages_for_a_device_are_kept_until_it_has_them() {
    let server = TestServer::start();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let (held, since) = following(&bob, "");
    let is = |body: &'static str| {
        move |told: &Told| told.name == "to_device" && told.data["content"]["body"] == body
    };
    let direct = |told: &[Told]| -> Vec<String> {
        let direct = told.iter().filter(|told| told.name == "to_device");
        direct.filter_map(|told| told.data["content"]["body"].as_str().map(str::to_owned)).collect()
    };
    write_to(&alice, &bob, "1", "one");
    let mut told = held.until("a message", is("one"));
    while told.last().is_some_and(|told| told.id.is_none()) {
        told.push(held.next().expect("an id"));
    }
    let id = last_id(&told);
    write_to(&alice, &bob, "2", "two");
    held.until("a message", is("two"));
    drop(held);
    assert_eq!(direct(&Held::open(&bob, &since).until("both", is("two"))), ["one", "two"], "it has none yet");
    bob.post(RECEIVED, json!({ "id": id })).ok();
    assert_eq!(direct(&Held::open(&bob, &since).until("the other", is("two"))), ["two"]);
    let held = Held::open(&bob, "");
    write_to(&alice, &bob, "3", "three");
    let in_sync = |told: &[Told]| {
        told.iter()
            .filter(|told| told.name == "sync")
            .map(|told| told.data["to_device"].to_string())
            .collect::<String>()
    };
    let told = held.until("the third", is("three"));
    assert!(in_sync(&told).contains("two") && !in_sync(&told).contains("one"));
    bob.post(RECEIVED, json!({ "id": "nonsense" })).refused(400, "M_INVALID_PARAM");
    bob.post(RECEIVED, json!({})).refused(400, "M_BAD_JSON");
}

#[test]
fn what_cannot_be_understood_is_refused_in_matrixs_form() {
    let server = TestServer::start();
    let alice = server.register("alice");
    for query in
        ["since=x", "since=t5", "filter=%7B", "filter=77", "set_presence=gone", "org.pilotlight.joined=x"]
    {
        alice.get(&format!("{STREAM}?{query}")).refused(400, "M_INVALID_PARAM");
    }
    for id in ["x", "q1", "p1_2_", "\u{e4}"] {
        let answer = alice.send_with("GET", STREAM, &[("last-event-id", id)], None);
        answer.refused(400, "M_INVALID_PARAM");
    }
    server.anonymous().get(STREAM).refused(401, "M_MISSING_TOKEN");
    server.anonymous().with_token(&json!("x")).get(STREAM).refused(401, "M_UNKNOWN_TOKEN");
    alice.post(STREAM, json!({})).refused(405, "M_UNRECOGNIZED");
    let head = alice.send("HEAD", STREAM, None);
    assert_eq!((head.status, head.headers["content-type"].as_bytes()), (200, &b"text/event-stream"[..]));
    let asks = [
        ("origin", "https://app"),
        ("access-control-request-method", "GET"),
        ("access-control-request-headers", "authorization,last-event-id"),
    ];
    let preflight = server.anonymous().send_with("OPTIONS", STREAM, &asks, None);
    let allowed = preflight.headers["access-control-allow-headers"].to_str().expect("is text").to_lowercase();
    assert!(preflight.status < 300 && allowed.contains("last-event-id"), "{allowed}");
    assert!(
        server.anonymous().get("/_matrix/client/versions").ok()["unstable_features"]["org.pilotlight.stream"]
            == true
    );
}

#[test]
fn an_old_client_has_it_over_http_1_0_and_after_other_requests() {
    let server = TestServer::start();
    let alice = server.register("alice");
    let token = alice.token.as_deref().expect("a token");
    let old = format!("GET {STREAM} HTTP/1.0\r\nauthorization: Bearer {token}\r\n\r\n");
    assert_eq!(Held::on(connect(&alice), &old).next().expect("greets").name, "hello");
    let mut stream = connect(&alice);
    stream.write_all(b"GET /_matrix/client/versions HTTP/1.1\r\nhost: x\r\n\r\n").expect("is sent");
    super::peer::read_message(&mut stream).expect("is answered");
    // What is said on a connection on which there is nothing to say is passed over.
    let request = format!(
        "GET {STREAM} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\r\nGET / HTTP/1.1\r\n\r\n"
    );
    let held = Held::on(stream, &request);
    assert_eq!(held.next().expect("greets").name, "hello");
    assert_eq!(held.next().expect("begins").name, "sync");
}

#[test]
fn who_is_logged_out_is_told_so_and_told_nothing_else() {
    let server = TestServer::start();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let room = room_of(&alice, &[&bob]);
    let phone = server.log_in("bob");
    let (held, _) = following(&bob, "");
    let (other, _) = following(&phone, "");
    bob.post("/_matrix/client/v3/logout", json!({})).ok();
    let end = held.rest().pop().expect("an end");
    assert_eq!((end.name.as_str(), &end.data["errcode"]), ("end", &json!("M_UNKNOWN_TOKEN")), "{end:?}");
    send(&alice, &room, "1", "hi");
    other.until_body("hi");
}

#[test]
fn a_stream_ends_when_its_device_has_another_token() {
    let server = TestServer::start();
    let bob = server.register("bob");
    let (held, _) = following(&bob, "");
    let body = json!({ "type": "m.login.password", "identifier": { "type": "m.id.user", "user": "bob" },
        "password": PASSWORD, "device_id": bob.device });
    let again = server.anonymous().post("/_matrix/client/v3/login", body).ok();
    bob.get("/_matrix/client/v3/account/whoami").refused(401, "M_UNKNOWN_TOKEN");
    let end = held.rest().pop().expect("an end");
    assert_eq!((end.name.as_str(), &end.data["errcode"]), ("end", &json!("M_UNKNOWN_TOKEN")), "{end:?}");
    let again = bob.with_token(&again["access_token"]);
    assert_eq!(Held::open(&again, "").next().expect("greets").name, "hello");
}

#[test]
fn a_server_that_stops_says_so_and_stops_at_once() {
    let server = TestServer::start();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let room = room_of(&alice, &[&bob]);
    let (held, _) = following(&bob, "");
    send(&alice, &room, "1", "before");
    let id = last_id(&held.until_body("before"));
    let begun = std::time::Instant::now();
    let stopped = server.stop();
    let end = held.rest().pop().expect("an end");
    assert_eq!((end.name.as_str(), &end.data), ("end", &json!({ "reason": "stopping" })));
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    let server = stopped.start();
    let (alice, bob) = (super::sync::same(&server, &alice), super::sync::same(&server, &bob));
    let held = Held::open(&bob, &id);
    send(&alice, &room, "2", "after");
    assert_eq!(said(&held.until_body("after")), ["after"]);
}

#[test]
fn the_oldest_of_too_many_streams_of_a_device_ends_and_no_other_does() {
    let server = unlimited();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let room = room_of(&alice, &[&bob]);
    let tablet = server.log_in("bob");
    let since = Reader::new(&bob).since;
    let tablets = Held::open(&tablet, &since);
    let mut streams: Vec<_> = (0..16).map(|_| Held::open(&bob, &since)).collect();
    for _ in 0..2 {
        streams.push(Held::open(&bob, &since));
        let end = streams.remove(0).rest().pop().expect("an end");
        assert_eq!((end.name.as_str(), &end.data["reason"]), ("end", &json!("replaced")));
    }
    send(&alice, &room, "1", "hi");
    for held in streams.iter().chain([&tablets]) {
        held.until_body("hi");
    }
    drop((streams, tablets));
    until("all are gone", || server.app().hub.open_streams() == 0);
}

#[test]
fn a_device_is_connected_while_its_stream_is_open_and_for_the_grace_after_it() {
    let server = TestServer::driven();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    room_of(&alice, &[&bob]);
    let state = || {
        let path = format!("/_matrix/client/v3/presence/{}/status", bob.user);
        alice.get(&path).ok()["presence"].as_str().expect("a state").to_owned()
    };
    let held = Held::open_with(&bob, "", "org.pilotlight.device_type=web");
    held.until("the beginning", |told| told.name == "sync");
    server.settle();
    assert_eq!(state(), "online");
    server.pass(Duration::from_secs(200));
    assert_eq!(state(), "online", "a connection, however long");
    drop(held);
    until("it is gone", || server.app().hub.open_streams() == 0);
    server.settle();
    assert_eq!(state(), "online", "the grace");
    server.pass(Duration::from_secs(60));
    assert_eq!(state(), "offline");
    let held = Held::open_with(&bob, "", "set_presence=offline");
    held.until("the beginning", |told| told.name == "sync");
    server.settle();
    assert_eq!(state(), "offline");
}

#[test]
fn a_reader_who_takes_nothing_for_a_while_misses_nothing_and_is_not_waited_for() {
    let server = unlimited();
    let (alice, bob, carol) = (server.register("alice"), server.register("bob"), server.register("carol"));
    let room = room_of(&alice, &[&bob, &carol]);
    let (slow, since) = following(&bob, "");
    let (quick, _) = following(&carol, "");
    slow.until("a greeting", |told| told.name == "hello");
    slow.pause(true);
    let long = "x".repeat(20_000);
    let count = 600;
    for n in 0..count {
        send(&alice, &room, &n.to_string(), &format!("{n} {long}"));
    }
    quick.until("the last for others", |told| {
        bodies_of(told).iter().any(|said| said.starts_with(&format!("{} ", count - 1)))
    });
    slow.pause(false);
    send(&alice, &room, "last", "last");
    let told = slow.until_body("last");
    let mut seen = said(&told);
    assert_eq!(seen.pop().as_deref(), Some("last"));
    let numbers: Vec<usize> = seen.iter().filter_map(|said| said.split(' ').next()?.parse().ok()).collect();
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "in order, once: {numbers:?}");
    // What was more than a look tells has a gap that says so, as in `/sync`.
    let gaps = told.iter().filter(|told| told.data.to_string().contains(r#""limited":true"#)).count();
    assert!(gaps > 0 || numbers.len() == count, "{} of {count}, from {since}", numbers.len());
}

#[test]
fn readers_who_never_read_end_with_their_connections() {
    let server = unlimited();
    let alice = server.register("alice");
    let room = room_of(&alice, &[]);
    send(&alice, &room, "1", &"x".repeat(50_000));
    let token = alice.token.as_deref().expect("a token");
    let silent: Vec<_> = (0..50)
        .map(|_| {
            let mut stream = connect(&alice);
            let request =
                format!("GET {STREAM} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\r\n");
            stream.write_all(request.as_bytes()).expect("is sent");
            stream
        })
        .collect();
    until("no more than a device may have", || {
        let open = server.app().hub.open_streams();
        (1..=16).contains(&open)
    });
    for mut stream in silent {
        stream.set_read_timeout(Some(Duration::from_millis(1))).expect("a timeout");
        stream.read_to_end(&mut Vec::new()).ok();
    }
    until("all are gone", || server.app().hub.open_streams() == 0);
}
