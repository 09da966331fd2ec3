//! What others get wrong: flicker, ghosts who stay online, messages that cannot be cleared, one item for each change.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    poll::Poll,
    presence::{GRACE, TICK, device, pair, put, server, state, status_path, told, until_state},
    support::{Client, TestServer},
    sync::{Reader, create_room, room_of, same, send},
};

/// How long after a restart those who were there are given to come back, unless a server is told otherwise.
const RESTART_GRACE: Duration = Duration::from_secs(60);

fn states(answer: &Value, user: &Client) -> Vec<String> {
    told(answer, &user.user).iter().map(|content| state(content).to_owned()).collect()
}

#[test]
fn p12_a_client_that_crashes_in_a_long_poll_ends_offline() {
    let server = server();
    let (alice, bob, _) = pair(&server);
    let mut bobs = Reader::new(&bob);
    let alices = Reader::new(&alice);
    until_state(&mut bobs, &alice.user, "online");
    // Bob's poll is there lest he goes, and Alice is told of it.
    let (poll, bobs_poll) = (Poll::open(&alice, &alices.since), Poll::open(&bob, &bobs.since));
    // Longer than the grace: the open poll alone keeps her online.
    server.pass(GRACE * 2);
    assert_eq!(states(&bobs.now(), &alice), Vec::<String>::new());
    drop(poll);
    server.pass(GRACE - TICK);
    assert_eq!(states(&bobs.now(), &alice), Vec::<String>::new());
    server.pass(TICK);
    assert_eq!(states(&bobs_poll.answer(), &alice), ["offline"]);
    assert_eq!(states(&bobs.now(), &alice), ["offline"]);
}

#[test]
fn p3_p12_after_a_restart_who_does_not_come_back_is_offline_and_who_does_never_was() {
    let server = server();
    let (alice, bob, room) = pair(&server);
    let carol = server.register("carol");
    carol.post(&format!("/_matrix/client/v3/join/{room}"), json!({})).ok();
    let mut bobs = Reader::new(&bob);
    let (_alices, _carols) = (Reader::new(&alice), Reader::new(&carol));
    put(&carol, json!({ "presence": "busy" }));
    until_state(&mut bobs, &carol.user, "busy");
    let server = server.restart();
    let alice = same(&server, &alice);
    bobs.client = same(&server, &bob);
    let mut alices = Reader::new(&alice);
    let mut both = || {
        alices.now();
        let answer = bobs.now();
        (states(&answer, &alice).join(" "), states(&answer, &carol).join(" "))
    };
    let told = |of_alice: &str, of_carol: &str| (of_alice.to_owned(), of_carol.to_owned());
    assert_eq!(both(), told("online", "busy"));
    // Those who were there are given a minute to come back.
    for passing in [RESTART_GRACE / 3, RESTART_GRACE / 3, RESTART_GRACE / 3 - TICK] {
        server.pass(passing);
        assert_eq!(both(), told("", ""), "she came back and never blinked");
    }
    server.pass(TICK);
    assert_eq!(both(), told("", "offline"), "she did not come back, and does not stay for ever");
    let last_seen = bobs.client.get(&status_path(&carol.user)).ok();
    assert_eq!(last_seen["org.pilotlight.presence"]["last_seen_ago"], 60_000, "in whole minutes");
}

#[test]
fn two_devices_and_two_tabs_of_one_user_never_make_them_flicker() {
    let server = server();
    let (alice, bob, _) = pair(&server);
    let phone = server.log_in("alice");
    let mut bobs = Reader::new(&bob);
    let mut desk = Reader::with(&alice, "&set_presence=online");
    // A second tab of the desk, and a phone that lies on the table.
    let mut tab = Reader::with(&alice, "&set_presence=online");
    let mut phones = Reader::with(&phone, "&set_presence=unavailable");
    until_state(&mut bobs, &alice.user, "online");
    bobs.now();
    let mut told = Vec::new();
    for n in 0..12 {
        let mut pass = |duration| {
            server.pass(duration);
            told.extend(states(&bobs.now(), &alice));
        };
        desk.now();
        pass(GRACE / 3);
        phones.now();
        device(&phone, json!({ "idle_ms": 60_000 + n }));
        pass(GRACE / 3);
        tab.now();
        let gone = Poll::open(&phone, &phones.since);
        pass(GRACE - TICK);
        desk.now();
        drop(gone);
        pass(TICK);
    }
    // One tab is closed, the other stays: past the grace there is nothing to tell either.
    drop(tab);
    for _ in 0..10 {
        server.pass(GRACE / 3);
        desk.now();
        phones.now();
        told.extend(states(&bobs.now(), &alice));
    }
    assert_eq!(told, Vec::<String>::new());
}

#[test]
fn p2_a_cleared_status_message_is_cleared_everywhere_and_for_good() {
    let server = server();
    let (alice, bob, _) = pair(&server);
    let phone = server.log_in("alice");
    let (mut alices, mut phones, mut bobs) = (Reader::new(&alice), Reader::new(&phone), Reader::new(&bob));
    for clear in [json!(null), json!("")] {
        put(&alice, json!({ "presence": "online", "status_msg": "at lunch" }));
        for reader in [&mut alices, &mut phones, &mut bobs] {
            let message = told(&reader.now(), &alice.user).pop().expect("is told")["status_msg"].clone();
            assert_eq!(message, "at lunch");
        }
        put(&alice, json!({ "presence": "online", "status_msg": clear }));
        for reader in [&mut alices, &mut phones, &mut bobs] {
            let content = told(&reader.now(), &alice.user).pop().expect("is told");
            assert_eq!(content.get("status_msg"), None, "{clear}");
        }
    }
    let server = server.restart();
    let bob = same(&server, &bob);
    let first = Reader { client: bob.clone(), since: String::new(), with: String::new() }.now();
    assert_eq!(told(&first, &alice.user).pop().expect("is told").get("status_msg"), None);
    assert_eq!(bob.get(&status_path(&alice.user)).ok().get("status_msg"), None);
}

#[test]
fn who_comes_online_in_a_room_of_n_is_one_item_for_each_of_them() {
    const N: usize = 12;
    let server = TestServer::driven_with(|config| config.rate_limits.enabled = false);
    let alice = server.register("alice");
    let others: Vec<Client> = (0..N).map(|n| server.register(&format!("user{n}"))).collect();
    let room = room_of(&alice, &others.iter().collect::<Vec<_>>());
    // A second room with the same people does not double anything. Rooms of one instant would be the same one.
    server.pass(TICK);
    let second = create_room(&alice, json!({ "preset": "public_chat" }));
    for other in &others {
        other.post(&format!("/_matrix/client/v3/join/{second}"), json!({})).ok();
    }
    let mut readers: Vec<Reader> = others.iter().map(Reader::new).collect();
    for reader in &mut readers {
        reader.now();
    }
    let waiting: Vec<_> = readers.iter().map(|reader| Poll::open(&reader.client, &reader.since)).collect();
    server.settle();
    let mut first = Reader { client: alice.clone(), since: String::new(), with: String::new() };
    let count = |answer: &Value| answer["presence"]["events"].as_array().map_or(0, Vec::len);
    assert_eq!(count(&first.now()), N + 1, "everybody once, and herself: {room}");
    let mut told = Vec::new();
    for (reader, poll) in readers.iter_mut().zip(waiting) {
        let answer = poll.answer();
        reader.since = answer["next_batch"].as_str().expect("next_batch").to_owned();
        told.push(count(&answer));
    }
    server.pass(GRACE - TICK);
    told.extend(readers.iter_mut().map(|reader| count(&reader.now())));
    assert_eq!(told, [[1; N], [0; N]].concat(), "one item, in one answer");
}

#[test]
fn p8_last_active_ago_counts_from_the_last_message_after_a_restart_too() {
    let server = server();
    let (alice, bob, room) = pair(&server);
    let _alices = Reader::new(&alice);
    put(&alice, json!({ "presence": "online" }));
    server.pass(Duration::from_secs(6));
    send(&alice, &room, "1", "hello");
    server.pass(Duration::from_secs(2));
    let ago = |bob: &Client| bob.get(&status_path(&alice.user)).ok()["last_active_ago"].clone();
    assert_eq!(ago(&bob), 2_000);
    let server = server.restart();
    let bob = same(&server, &bob);
    assert_eq!(ago(&bob), 3_000, "a restart takes a second");
    // Nor does it move when her device comes back.
    let _alices = Reader::new(&same(&server, &alice));
    server.pass(Duration::from_secs(1));
    assert_eq!(ago(&bob), 4_000);
}
