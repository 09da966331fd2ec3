//! What others get wrong: flicker, ghosts who stay online, messages that cannot be cleared, one item for each change.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{
    presence::{device, pair, put, server, state, status_path, told, until_state},
    support::{Client, TestServer},
    sync::{Reader, create_room, room_of, same},
};

fn states(answer: &Value, user: &Client) -> Vec<String> {
    told(answer, &user.user).iter().map(|content| state(content).to_owned()).collect()
}

/// A long poll that is never read: the connection it is made on.
fn poll_in_the_dark(server: &TestServer, client: &Client, since: &str) -> std::net::TcpStream {
    let address = server.url();
    let mut stream = std::net::TcpStream::connect(address.trim_start_matches("http://")).expect("connects");
    let token = client.token.as_deref().expect("a token");
    let request = format!(
        "GET /_matrix/client/v3/sync?timeout=60000&since={since} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\r\n"
    );
    std::io::Write::write_all(&mut stream, request.as_bytes()).expect("is sent");
    stream
}

#[test]
fn p12_a_client_that_crashes_in_a_long_poll_ends_offline() {
    let server = server();
    let (alice, bob, _) = pair(&server);
    let mut bobs = Reader::new(&bob);
    let alices = Reader::new(&alice);
    until_state(&mut bobs, &alice.user, "online");
    let poll = poll_in_the_dark(&server, &alice, &alices.since);
    // Longer than the grace: the open poll alone keeps her online.
    assert_eq!(states(&bobs.wait(Duration::from_millis(2500)), &alice), Vec::<String>::new());
    drop(poll);
    let crashed = Instant::now();
    let (way, _) = until_state(&mut bobs, &alice.user, "offline");
    assert_eq!(way, ["offline"]);
    assert!(crashed.elapsed() > Duration::from_millis(1400) && crashed.elapsed() < Duration::from_secs(5));
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
    let server = server.restart_with(|config| {
        config.presence.offline_grace = Duration::from_millis(1500);
        config.presence.restart_grace = Duration::from_millis(1500);
    });
    let alice = same(&server, &alice);
    bobs.client = same(&server, &bob);
    let mut alices = Reader::new(&alice);
    let (mut of_alice, mut of_carol) = (Vec::new(), Vec::new());
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_millis(3500) {
        alices.now();
        let answer = bobs.wait(Duration::from_millis(300));
        of_alice.extend(states(&answer, &alice));
        of_carol.extend(states(&answer, &carol));
    }
    assert_eq!(of_alice, ["online"], "she came back and never blinked");
    assert_eq!(of_carol, ["busy", "offline"], "she did not come back, and does not stay for ever");
    let last_seen = bobs.client.get(&status_path(&carol.user)).ok();
    assert_eq!(last_seen["org.pilotlight.presence"]["last_seen_ago"], 0);
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
        desk.now();
        phones.wait(Duration::from_millis(60));
        device(&phone, json!({ "idle_ms": 60_000 + n }));
        tab.wait(Duration::from_millis(60));
        let gone = poll_in_the_dark(&server, &phone, &phones.since);
        desk.wait(Duration::from_millis(60));
        drop(gone);
        told.extend(states(&bobs.now(), &alice));
    }
    // One tab is closed, the other stays: past the grace there is nothing to tell either.
    drop(tab);
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_millis(2000) {
        desk.wait(Duration::from_millis(200));
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
    let server = TestServer::start_with(|config| config.rate_limits.enabled = false);
    let alice = server.register("alice");
    let others: Vec<Client> = (0..N).map(|n| server.register(&format!("user{n}"))).collect();
    let room = room_of(&alice, &others.iter().collect::<Vec<_>>());
    // A second room with the same people does not double anything.
    let second = create_room(&alice, json!({ "preset": "public_chat" }));
    for other in &others {
        other.post(&format!("/_matrix/client/v3/join/{second}"), json!({})).ok();
    }
    let mut readers: Vec<Reader> = others.iter().map(Reader::new).collect();
    for reader in &mut readers {
        reader.now();
    }
    let waiting: Vec<_> = readers
        .into_iter()
        .map(|mut reader| {
            std::thread::spawn(move || {
                let first = reader.wait(Duration::from_secs(10));
                let second = reader.wait(Duration::from_millis(300));
                let count = |answer: &Value| answer["presence"]["events"].as_array().map_or(0, Vec::len);
                (count(&first), count(&second))
            })
        })
        .collect();
    std::thread::sleep(Duration::from_millis(300));
    let mut first = Reader { client: alice.clone(), since: String::new(), with: String::new() };
    let told_to_her = first.now()["presence"]["events"].as_array().map_or(0, Vec::len);
    assert_eq!(told_to_her, N + 1, "everybody once, and herself: {room}");
    for reader in waiting {
        assert_eq!(reader.join().expect("reads"), (1, 0), "one item, in one answer");
    }
}
