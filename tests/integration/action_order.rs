//! M9: a device's actions take effect once, and in the order of their IDs where that is asked for.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::{
        Barrier,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{JoinHandle, sleep, spawn},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use serde_json::{Value, json};

use super::{
    cli::Serve,
    rooms_life::{bodies, create, say},
    support::{Answer, Client, TempDir, TestServer, until},
    sync::same,
};

const GAP: Duration = Duration::from_secs(2);
const MS: Duration = Duration::from_millis(1);

/// How many actions one device sends over how many connections.
const MANY: usize = 2_000;
const CONNECTIONS: usize = 50;

/// Sends a message with its ID as its text, after another action.
fn send(client: &Client, room: &str, id: u64, after: u64) -> Answer {
    let path = format!("{room}/send/m.room.message/{id}?org.pilotlight.after={after}");
    client.put(&path, json!({ "msgtype": "m.text", "body": id.to_string() }))
}

/// Sends one that waits.
fn send_waiting(server: &TestServer, client: &Client, room: &str, id: u64, after: u64) -> JoinHandle<Answer> {
    let waiting = server.app().rooms.actions_waiting();
    let (client, room) = (client.clone(), room.to_owned());
    let sent = spawn(move || send(&client, &room, id, after));
    until("it waits", || server.app().rooms.actions_waiting() == waiting + 1);
    server.settle();
    sent
}

fn said(client: &Client, room: &str) -> Vec<String> {
    let page = client.get(&format!("{room}/messages?dir=f&limit=1000")).ok();
    bodies(&page).into_iter().map(str::to_owned).collect()
}

#[track_caller]
fn all_ok(sent: Vec<JoinHandle<Answer>>) -> Vec<Value> {
    sent.into_iter().map(|sent| sent.join().expect("is answered").ok()["event_id"].clone()).collect()
}

#[test]
fn m9_actions_take_effect_in_the_order_of_their_ids_however_they_arrive() {
    let server = TestServer::driven();
    let alice = server.register("alice");
    let room = create(&alice, json!({}));
    let chain = [(12, 9), (9, 7), (7, 4), (30, 12), (4, 2)];
    let waiting =
        chain.map(|(id, after)| send_waiting(&server, &alice, &room, id, after)).into_iter().collect();
    assert_eq!(said(&alice, &room), [""; 0]);
    send(&alice, &room, 2, 0).ok();
    all_ok(waiting);
    assert_eq!(said(&alice, &room), ["2", "4", "7", "9", "12", "30"]);
    assert_eq!(server.app().rooms.actions_waiting(), 0);
}

#[test]
fn m9_a_lost_action_holds_up_all_that_come_after_it_by_two_seconds_in_all() {
    let server = TestServer::driven();
    let alice = server.register("alice");
    let room = create(&alice, json!({}));
    // 1 and 4 are lost, and 3 comes before 2 does.
    let mut waiting = vec![send_waiting(&server, &alice, &room, 3, 2)];
    server.pass(Duration::from_secs(1));
    waiting.push(send_waiting(&server, &alice, &room, 2, 1));
    waiting.push(send_waiting(&server, &alice, &room, 5, 4));
    waiting.push(send_waiting(&server, &alice, &room, 6, 5));
    server.pass(Duration::from_secs(1) - MS);
    assert_eq!(said(&alice, &room), [""; 0]);
    server.pass(MS);
    until("those before the second gap", || said(&alice, &room) == ["2", "3"]);
    server.pass(Duration::from_secs(1) - MS);
    assert_eq!(said(&alice, &room), ["2", "3"]);
    server.pass(MS);
    all_ok(waiting);
    assert_eq!(said(&alice, &room), ["2", "3", "5", "6"]);
    // What comes late is done then, at once.
    send(&alice, &room, 1, 0).ok();
    send(&alice, &room, 4, 3).ok();
    assert_eq!(said(&alice, &room), ["2", "3", "5", "6", "1", "4"]);
}

#[test]
fn m9_as_long_as_others_are_answered_what_is_missing_is_not_given_up() {
    let server = TestServer::driven();
    let alice = server.register("alice");
    let room = create(&alice, json!({}));
    let waiting = vec![send_waiting(&server, &alice, &room, 9, 8)];
    // As over connections on which one request waits for the answer to another.
    for id in 1..=8 {
        server.pass(GAP - MS);
        assert_eq!(said(&alice, &room).len() as u64, id - 1);
        send(&alice, &room, id, id - 1).ok();
    }
    all_ok(waiting);
    assert_eq!(said(&alice, &room), ["1", "2", "3", "4", "5", "6", "7", "8", "9"]);
    // From when nothing goes on, it is.
    let waiting = vec![send_waiting(&server, &alice, &room, 20, 19)];
    server.pass(Duration::from_secs(1));
    send(&alice, &room, 10, 9).ok();
    server.pass(GAP - MS);
    assert_eq!(said(&alice, &room).len(), 10);
    server.pass(MS);
    all_ok(waiting);
}

#[test]
fn m9_who_did_not_ask_for_order_is_never_delayed() {
    let server = TestServer::driven();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let other_device = server.log_in("alice");
    let room = create(&alice, json!({ "preset": "public_chat" }));
    let other_room = create(&alice, json!({}));
    bob.post(&format!("{room}/join"), json!({})).ok();
    let waiting = vec![send_waiting(&server, &alice, &room, 9, 8)];
    say(&alice, &room, "10", "no order asked");
    say(&alice, &room, "m1234", "no number");
    alice.put(&format!("{room}/state/m.room.topic?org.pilotlight.action=11"), json!({ "topic": "x" })).ok();
    send(&other_device, &room, 10, 0).ok();
    send(&bob, &room, 10, 0).ok();
    send(&alice, &other_room, 12, 0).ok();
    assert_eq!(said(&alice, &room), ["no order asked", "no number", "10", "10"]);
    // Nor does it hold up: who names it is told when it is done, though it asked for nothing.
    say(&alice, &room, "8", "8");
    all_ok(waiting);
    assert_eq!(said(&alice, &room)[4..], ["8", "9"]);
}

#[test]
fn m9_what_was_done_before_is_known_after_a_restart() {
    let server = TestServer::driven();
    let alice = server.register("alice");
    let room = create(&alice, json!({}));
    let first = send(&alice, &room, 3, 0).ok();
    send(&alice, &room, 5, 3).ok();
    let server = server.restart();
    let alice = same(&server, &alice);
    // No time passes: whoever waited would not be answered.
    send(&alice, &room, 8, 5).ok();
    assert_eq!(send(&alice, &room, 3, 0).ok(), first);
    assert_eq!(send(&alice, &room, 3, 2).ok(), first, "what is sent again waits for nothing");
    assert_eq!(said(&alice, &room), ["3", "5", "8"]);
}

#[test]
fn m9_an_action_that_was_refused_is_not_waited_for() {
    let server = TestServer::driven();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let room = create(&alice, json!({}));
    let kick = |id: u64| {
        let path = format!("{room}/kick?org.pilotlight.action={id}&org.pilotlight.after={}", id - 1);
        alice.post(&path, json!({ "user_id": bob.user }))
    };
    send(&alice, &room, 1, 0).ok();
    let waiting = vec![send_waiting(&server, &alice, &room, 3, 2)];
    kick(2).refused(403, "M_FORBIDDEN");
    all_ok(waiting);
    kick(4).refused(403, "M_FORBIDDEN");
    send(&alice, &room, 5, 4).ok();
    assert_eq!(said(&alice, &room), ["1", "3", "5"]);
}

#[test]
fn m9_an_action_that_is_sent_again_while_it_waits_is_done_once() {
    let server = TestServer::driven();
    let alice = server.register("alice");
    let room = create(&alice, json!({}));
    let waiting = (0..3).map(|_| send_waiting(&server, &alice, &room, 2, 1)).collect();
    send(&alice, &room, 1, 0).ok();
    let ids = all_ok(waiting);
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(said(&alice, &room), ["1", "2"]);
}

#[test]
fn m9_a_client_that_goes_away_holds_nobody_up() {
    let server = TestServer::driven();
    let alice = server.register("alice");
    let room = create(&alice, json!({}));
    let mut gone = TcpStream::connect(server.url().trim_start_matches("http://")).expect("connects");
    let token = alice.token.as_deref().expect("logged in");
    let body = r#"{"msgtype":"m.text","body":"2"}"#;
    write!(
        gone,
        "PUT {room}/send/m.room.message/2?org.pilotlight.after=1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \
         {token}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .expect("writes");
    until("it waits", || server.app().rooms.actions_waiting() == 1);
    drop(gone);
    let waiting = vec![send_waiting(&server, &alice, &room, 3, 2)];
    send(&alice, &room, 1, 0).ok();
    all_ok(waiting);
    assert_eq!(said(&alice, &room), ["1", "2", "3"], "what came in whole is done in its turn");
}

#[test]
fn m9_a_device_that_is_logged_out_while_its_action_waits_does_nothing() {
    let server = TestServer::driven();
    let alice = server.register("alice");
    let phone = server.log_in("alice");
    let room = create(&alice, json!({}));
    let waiting = send_waiting(&server, &phone, &room, 2, 1);
    phone.post("/_matrix/client/v3/logout", json!({})).ok();
    server.pass(GAP);
    waiting.join().expect("is answered").refused(401, "M_UNKNOWN_TOKEN");
    assert_eq!(said(&alice, &room), [""; 0]);
}

#[test]
fn m9_an_order_that_makes_no_sense_is_refused() {
    let server = TestServer::start();
    let alice = server.register("alice");
    let room = create(&alice, json!({}));
    for (id, after) in [
        ("5", "5"),
        ("5", "6"),
        ("5", "x"),
        ("5", "-1"),
        ("5", "1.5"),
        ("5", "007"),
        ("m5", "1"),
        ("05", "1"),
        ("9007199254740992", "1"),
        ("5", "9007199254740992"),
    ] {
        let path = format!("{room}/send/m.room.message/{id}?org.pilotlight.after={after}");
        alice.put(&path, json!({ "body": "x" })).refused(400, "M_INVALID_PARAM");
    }
    for query in ["org.pilotlight.after=1", "org.pilotlight.action=x", "org.pilotlight.action=0"] {
        alice.post(&format!("{room}/leave?{query}"), json!({})).refused(400, "M_INVALID_PARAM");
    }
    assert_eq!(said(&alice, &room), [""; 0]);
    let path = format!("{room}/send/m.room.message/5?org.pilotlight.after=");
    alice.put(&path, json!({ "body": "the first" })).ok();
}

/// A request that undoes what another one did.
type Undo = Option<(&'static str, String, Value)>;

/// Every action without a transaction ID in its path is done once by its ID: the same answer again, and nothing more in
/// the room, even if what it did was undone meanwhile.
#[test]
fn m9_every_action_with_an_id_is_done_once_also_after_a_restart() {
    let server = TestServer::start();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let mut carol = server.register("carol");
    let room = create(&alice, json!({ "preset": "public_chat", "room_alias_name": "here" }));
    let (user, post) = (json!({ "user_id": bob.user }), "POST");
    let alias = "/_matrix/client/v3/join/%23here:localhost".to_owned();
    // Who, what, and what undoes it.
    let rows: Vec<(&str, &str, String, Value, Undo)> = vec![
        (
            "alice",
            post,
            format!("{room}/invite"),
            user.clone(),
            Some((post, format!("{room}/kick"), user.clone())),
        ),
        ("bob", post, format!("{room}/join"), json!({}), Some((post, format!("{room}/leave"), json!({})))),
        ("bob", post, alias.clone(), json!({}), Some((post, format!("{room}/leave"), json!({})))),
        ("bob", post, format!("{room}/join"), json!({}), None),
        ("alice", post, format!("{room}/kick"), user.clone(), None),
        ("alice", post, format!("{room}/ban"), user.clone(), None),
        ("alice", post, format!("{room}/unban"), user.clone(), None),
        ("bob", post, alias, json!({}), None),
        ("bob", post, format!("{room}/leave"), json!({}), None),
        ("alice", "PUT", format!("{room}/state/m.room.topic"), json!({ "topic": "a" }), None),
        (
            "alice",
            "PUT",
            format!("{room}/state/m.room.topic"),
            json!({ "topic": "a" }),
            Some(("PUT", format!("{room}/state/m.room.topic"), json!({ "topic": "b" }))),
        ),
        (
            "alice",
            post,
            "/_matrix/client/v3/createRoom".to_owned(),
            json!({ "room_alias_name": "new" }),
            None,
        ),
    ];
    let mut answers = Vec::new();
    let events = || said_and_done(&alice, &room);
    for (id, (who, method, path, body, undo)) in (1_u64..).zip(&rows) {
        let client = if *who == "alice" { &alice } else { &bob };
        let path = format!("{path}?org.pilotlight.action={id}");
        let send = || client.send(method, &path, Some(body.to_string().as_bytes())).ok();
        let first = send();
        if let Some((method, path, body)) = undo {
            let undoes = if path.ends_with("kick") { &alice } else { client };
            undoes.send(method, path, Some(body.to_string().as_bytes())).ok();
        }
        let before = events();
        assert_eq!(send(), first, "{path}");
        assert_eq!(events(), before, "{path}");
        answers.push((id, *who, *method, path, body.clone(), first));
    }
    // The IDs of one device are nothing to another one.
    carol.post(&format!("{room}/join?org.pilotlight.action=2"), json!({})).ok();
    let before = events();
    let server = server.restart();
    let (alice, bob) = (same(&server, &alice), same(&server, &bob));
    carol = same(&server, &carol);
    for (_, who, method, path, body, first) in answers {
        let client = if who == "alice" { &alice } else { &bob };
        assert_eq!(client.send(method, &path, Some(body.to_string().as_bytes())).ok(), first, "{path}");
    }
    assert_eq!(said_and_done(&carol, &room), before);
    assert_eq!(
        alice.get("/_matrix/client/v3/joined_rooms").ok()["joined_rooms"].as_array().expect("a list").len(),
        2
    );
}

/// The IDs of all events of a room, as one who is in it sees them.
fn said_and_done(client: &Client, room: &str) -> Vec<String> {
    let page = client.get(&format!("{room}/messages?dir=f&limit=1000")).ok();
    let events = page["chunk"].as_array().expect("a list").iter();
    events.map(|event| event["event_id"].as_str().expect("an ID").to_owned()).collect()
}

#[test]
fn m9_the_id_of_an_action_comes_back_to_the_device_that_used_it_only() {
    let server = TestServer::start();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let room = create(&alice, json!({ "preset": "public_chat" }));
    bob.post(&format!("{room}/join?org.pilotlight.action=17"), json!({})).ok();
    let member = |client: &Client| {
        let page = client.get(&format!("{room}/messages?dir=b&limit=1")).ok();
        page["chunk"][0]["unsigned"]["transaction_id"].clone()
    };
    assert_eq!(
        (member(&bob), member(&alice), member(&server.log_in("bob"))),
        (json!("17"), Value::Null, Value::Null)
    );
}

/// IDs, dealt out to connections at random; each connection sends its own in their order.
fn deal(seed: u64) -> Vec<Vec<u64>> {
    let mut hands = vec![Vec::new(); CONNECTIONS];
    let mut state = seed;
    for id in 1..=MANY as u64 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        hands[(state >> 33) as usize % CONNECTIONS].push(id);
    }
    // The connections begin in any order.
    hands.sort_by_key(|hand| hand.iter().sum::<u64>().wrapping_mul(seed) % 1_009);
    hands
}

/// All messages of the room in the order of its timeline, as numbers.
fn numbers(client: &Client, room: &str) -> Vec<u64> {
    let (mut found, mut from) = (Vec::new(), String::new());
    loop {
        let page = client.get(&format!("{room}/messages?dir=f&limit=1000{from}")).ok();
        found.extend(bodies(&page).into_iter().map(|body| body.parse::<u64>().expect("a number")));
        match page["end"].as_str() {
            Some(end) if page["chunk"] != json!([]) => from = format!("&from={end}"),
            _ => return found,
        }
    }
}

/// All are there, once, and in order.
#[track_caller]
fn check_all(found: &[u64]) {
    let all: Vec<u64> = (1..=MANY as u64).collect();
    let first = found.iter().zip(&all).position(|(found, expected)| found != expected);
    let around = first.map(|n| &found[n.saturating_sub(3)..found.len().min(n + 10)]);
    assert!(found.len() == MANY && first.is_none(), "{} of them, {around:?}", found.len());
}

#[test]
fn m9_two_thousand_parallel_sends_over_fifty_connections_are_all_there_once_and_in_order() {
    let server = TestServer::start_with(|config| config.rate_limits.enabled = false);
    let alice = server.register("alice");
    let room = create(&alice, json!({}));
    let ready = Barrier::new(CONNECTIONS);
    std::thread::scope(|scope| {
        for hand in deal(1) {
            // A connection of its own.
            let client = server.anonymous().with_token(&json!(alice.token));
            let (room, ready) = (&room, &ready);
            scope.spawn(move || {
                ready.wait();
                for id in hand {
                    send(&client, room, id, id - 1).ok();
                }
            });
        }
    });
    check_all(&numbers(&alice, &room));
}

#[test]
fn m9_the_same_with_the_server_killed_in_the_middle() {
    let data = TempDir::new();
    let unlimited = ["--set", "rate_limits.enabled=false"];
    let server = Serve::start(data.path(), &unlimited);
    let alice = server.client.clone().register("alice");
    let room = create(&alice, json!({}));
    let (base, is_down) = (Mutex::new(server.client.base.clone()), AtomicBool::new(false));
    let answered = AtomicUsize::new(0);
    // A request that got no answer is sent again, once the server is back.
    let insist = |id: u64| {
        let begun = Instant::now();
        loop {
            let url = base.lock().clone();
            if !is_down.load(Ordering::Acquire) && try_send(&url, &alice, &room, id) {
                answered.fetch_add(1, Ordering::AcqRel);
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "{id} is not answered");
            sleep(Duration::from_millis(5));
        }
    };
    let server = std::thread::scope(|scope| {
        for hand in deal(2) {
            let insist = &insist;
            scope.spawn(move || hand.into_iter().for_each(insist));
        }
        until("a part of it is done", || answered.load(Ordering::Acquire) > MANY / 3);
        is_down.store(true, Ordering::Release);
        server.end("-KILL");
        let server = Serve::start(data.path(), &unlimited);
        *base.lock() = server.client.base.clone();
        is_down.store(false, Ordering::Release);
        server
    });
    let alice = Client { base: server.client.base.clone(), ..alice };
    check_all(&numbers(&alice, &room));
}

#[test]
fn m9_a_server_that_is_told_to_stop_waits_for_no_action_that_does_not_come() {
    let data = TempDir::new();
    let server = Serve::start(data.path(), &[]);
    let alice = server.client.clone().register("alice");
    let room = create(&alice, json!({}));
    let waiting = spawn({
        let (alice, room) = (alice.clone(), room.clone());
        move || try_send(&alice.base, &alice, &room, 7)
    });
    // One more of the same device and room: it is done once the server knows of the other, or without it.
    assert!(try_send(&alice.base, &alice, &room, 1));
    let begun = Instant::now();
    let (code, log) = server.end("-TERM");
    assert_eq!(code, Some(0), "{log}");
    assert!(begun.elapsed() < Duration::from_secs(5));
    let is_done = waiting.join().expect("no panic");
    let server = Serve::start(data.path(), &[]);
    let alice = Client { base: server.client.base.clone(), ..alice };
    let there = numbers(&alice, &room);
    assert!(there.starts_with(&[1]) && (!is_done || there == [1, 7]), "{is_done} {there:?}");
}

/// Sends a message on a connection of its own; whether it was done.
fn try_send(base: &str, client: &Client, room: &str, id: u64) -> bool {
    let address = base.trim_start_matches("http://");
    let token = client.token.as_deref().expect("logged in");
    let body = format!(r#"{{"msgtype":"m.text","body":"{id}"}}"#);
    let head = format!(
        "PUT {room}/send/m.room.message/{id}?org.pilotlight.after={} HTTP/1.1\r\nHost: x\r\nConnection: \
         close\r\nAuthorization: Bearer {token}\r\nContent-Length: {}\r\n\r\n",
        id - 1,
        body.len()
    );
    let mut answer = String::new();
    let mut exchange = || -> std::io::Result<()> {
        let mut connection = TcpStream::connect(address)?;
        connection.write_all(format!("{head}{body}").as_bytes())?;
        connection.read_to_string(&mut answer).map(drop)
    };
    exchange().is_ok() && answer.starts_with("HTTP/1.1 200")
}
