//! L2, L6: who loses sight of a user is told so once, whatever the user is doing; who gains it is told the state.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    contacts::{OURS, add, answer, choose, told},
    poll::Poll,
    support::{Client, TestServer},
    sync::{Reader, room_of, same},
};

fn share(who: &Client, with: &str) {
    who.put(&format!("{OURS}/settings/{}", who.user), json!({ "share": with })).ok();
}

fn room_action(who: &Client, room: &str, action: &str, body: Value) {
    who.post(&format!("/_matrix/client/v3/rooms/{room}/{action}"), body).ok();
}

fn join(who: &Client, room: &str) {
    who.post(&format!("/_matrix/client/v3/join/{room}"), json!({})).ok();
}

/// Alice and Bob, who sees her by his list and has a reader that has been told everything.
fn observed_and_observer(server: &TestServer) -> (Client, Client, Reader) {
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    add(&bob, &alice);
    answer(&alice, &bob, "accept");
    Reader::new(&alice);
    let mut bobs = Reader::new(&bob);
    bobs.now();
    (alice, bob, bobs)
}

/// What an observer is told of `user` from here on, until nothing comes any longer: not within a second either.
fn rest(server: &TestServer, reader: &mut Reader, user: &Client) -> Vec<String> {
    let mut all = told(&reader.now(), user);
    all.extend(told(&reader.now(), user));
    server.pass(Duration::from_secs(1));
    all.extend(told(&reader.now(), user));
    all
}

#[test]
fn l2_who_loses_sight_is_told_so_at_once_and_only_once() {
    type Loss = fn(&Client, &Client);
    let losses: [(&str, Loss); 5] = [
        ("revoked", |alice, bob| answer(alice, bob, "revoke")),
        ("denied", |alice, bob| answer(alice, bob, "deny")),
        ("dropped", |alice, bob| {
            let path = format!("/_matrix/client/v3/presence/list/{}", bob.user);
            bob.post(&path, json!({ "drop": [alice.user] })).ok();
        }),
        ("shared with nobody", |alice, _| share(alice, "nobody")),
        ("left for good", |alice, _| {
            share(alice, "nobody");
            share(alice, "list");
            share(alice, "nobody");
        }),
    ];
    for (how, lose) in losses {
        let server = TestServer::driven();
        let (alice, bob, mut bobs) = observed_and_observer(&server);
        choose(&alice, "busy");
        assert_eq!(told(&bobs.now(), &alice), ["busy"], "{how}");
        let poll = Poll::open(&bob, &bobs.since);
        server.settle();
        lose(&alice, &bob);
        // No time has passed.
        let answer = poll.answer();
        assert_eq!(told(&answer, &alice).pop().as_deref(), Some("unknown"), "{how}");
        bobs.since = answer["next_batch"].as_str().expect("next_batch").to_owned();
        assert_eq!(rest(&server, &mut bobs, &alice), Vec::<String>::new(), "{how}: once");
        choose(&alice, "online");
        assert_eq!(rest(&server, &mut bobs, &alice), Vec::<String>::new(), "{how}: and nothing more");
    }
}

#[test]
fn l2_what_is_told_then_is_the_same_whatever_the_user_is_doing() {
    let mut events = Vec::new();
    for state in ["online", "hidden", "offline", "busy"] {
        let server = TestServer::driven();
        let (alice, bob, mut bobs) = observed_and_observer(&server);
        let path = format!("/_matrix/client/v3/presence/{}/status", alice.user);
        alice.put(&path, json!({ "presence": state, "status_msg": "secret" })).ok();
        bobs.now();
        answer(&alice, &bob, "revoke");
        events.push(bobs.now()["presence"]["events"].to_string());
    }
    let content = json!({ "presence": "offline", "org.pilotlight.presence": { "state": "unknown" } });
    let expected = json!([{ "type": "m.presence", "sender": "@alice:localhost", "content": content }]);
    for event in events {
        assert_eq!(serde_json::from_str::<Value>(&event).expect("is JSON"), expected);
    }
}

#[test]
fn l2_who_never_saw_a_user_is_told_nothing_of_them() {
    let server = TestServer::driven();
    let (alice, bob, carol) = (server.register("alice"), server.register("bob"), server.register("carol"));
    let room = room_of(&alice, &[&carol]);
    Reader::new(&alice);
    share(&alice, "list");
    let (mut bobs, mut carols) = (Reader::new(&bob), Reader::new(&carol));
    add(&bob, &alice);
    answer(&alice, &bob, "deny");
    assert_eq!(rest(&server, &mut bobs, &alice), Vec::<String>::new(), "denied without ever having seen");
    share(&alice, "nobody");
    room_action(&alice, &room, "leave", json!({}));
    assert_eq!(rest(&server, &mut carols, &alice), Vec::<String>::new(), "she shared with her list only");
}

#[test]
fn l2_who_leaves_the_last_shared_room_or_is_left_there_is_told_so() {
    let server = TestServer::driven();
    let (alice, bob, carol) = (server.register("alice"), server.register("bob"), server.register("carol"));
    let one = room_of(&alice, &[&bob, &carol]);
    // Rooms of one instant would be the same one.
    server.pass(Duration::from_millis(1));
    let two = room_of(&alice, &[&carol]);
    let mut alices = Reader::new(&alice);
    let (mut bobs, mut carols) = (Reader::new(&bob), Reader::new(&carol));
    for reader in [&mut alices, &mut bobs, &mut carols] {
        reader.now();
    }
    room_action(&alice, &one, "kick", json!({ "user_id": bob.user }));
    let last = bobs.now();
    assert_eq!((told(&last, &alice), told(&last, &carol)), (vec!["unknown".into()], vec!["unknown".into()]));
    assert_eq!(last["device_lists"], json!({ "changed": [], "left": [alice.user, carol.user] }));
    for (reader, name) in [(&mut alices, "alice"), (&mut carols, "carol")] {
        let answer = reader.now();
        assert_eq!(told(&answer, &bob), ["unknown"], "{name}");
        assert_eq!(answer["device_lists"]["left"], json!([bob.user]), "{name}");
        assert_eq!(rest(&server, reader, &bob), Vec::<String>::new(), "{name}: once");
    }
    assert_eq!(rest(&server, &mut bobs, &alice), Vec::<String>::new(), "once");
    // Alice and Carol still share a room when one of two is left.
    room_action(&carol, &one, "leave", json!({}));
    assert_eq!(
        (rest(&server, &mut alices, &carol), rest(&server, &mut carols, &alice)),
        (Vec::new(), Vec::new())
    );
    // A filter that keeps the room out does not keep the loss out.
    let mut filtered = Reader::with(&carol, "&filter=%7B%22room%22%3A%7B%22rooms%22%3A%5B%5D%7D%7D");
    room_action(&carol, &two, "leave", json!({}));
    assert_eq!(
        (told(&alices.now(), &carol), told(&filtered.now(), &alice)),
        (vec!["unknown".into()], vec!["unknown".into()])
    );
}

#[test]
fn l2_a_reader_from_before_a_restart_is_told_whom_they_cannot_see_any_longer() {
    let server = TestServer::driven();
    let (alice, bob, bobs) = observed_and_observer(&server);
    let carol = server.register("carol");
    let room = room_of(&carol, &[&bob]);
    let mut bobs = Reader { client: bob.clone(), ..bobs };
    bobs.now();
    answer(&alice, &bob, "revoke");
    share(&carol, "list");
    let server = server.restart();
    bobs.client = same(&server, &bob);
    let answer = bobs.now();
    assert_eq!(
        (told(&answer, &alice), told(&answer, &carol)),
        (vec!["unknown".into()], vec!["unknown".into()])
    );
    assert_eq!(
        (rest(&server, &mut bobs, &alice), rest(&server, &mut bobs, &carol)),
        (Vec::new(), Vec::new())
    );
    let first = Reader { client: bobs.client.clone(), since: String::new(), with: String::new() }.now();
    assert_eq!(told(&first, &alice), Vec::<String>::new(), "a first sync has nothing to take back: {room}");
}

#[test]
fn l6_who_shares_with_more_is_seen_at_once() {
    let server = TestServer::driven();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    room_of(&alice, &[&bob]);
    Reader::new(&alice);
    share(&alice, "nobody");
    let mut bobs = Reader::new(&bob);
    assert_eq!(rest(&server, &mut bobs, &alice), Vec::<String>::new());
    share(&alice, "shared_rooms");
    assert_eq!(rest(&server, &mut bobs, &alice), ["online"]);
    share(&alice, "list");
    assert_eq!(rest(&server, &mut bobs, &alice), ["unknown"]);
}

#[test]
fn l6_the_members_of_a_room_that_outgrows_the_limit_lose_sight_and_appear_when_it_shrinks() {
    let server = TestServer::driven_with(|config| config.presence.max_room_members = 2);
    let (alice, bob, carol) = (server.register("alice"), server.register("bob"), server.register("carol"));
    let room = room_of(&alice, &[&bob]);
    let (mut alices, mut bobs) = (Reader::new(&alice), Reader::new(&bob));
    let mut carols = Reader::new(&carol);
    alices.now();
    bobs.now();
    join(&carol, &room);
    assert_eq!(
        (rest(&server, &mut alices, &bob), rest(&server, &mut bobs, &alice)),
        (vec!["unknown".into()], vec!["unknown".into()])
    );
    for reader in [&mut alices, &mut bobs] {
        assert_eq!(rest(&server, reader, &carol), Vec::<String>::new(), "nobody saw her");
    }
    assert_eq!(rest(&server, &mut carols, &alice), Vec::<String>::new());
    choose(&alice, "busy");
    assert_eq!(rest(&server, &mut bobs, &alice), Vec::<String>::new());
    room_action(&carol, &room, "leave", json!({}));
    assert_eq!(
        (rest(&server, &mut alices, &bob), rest(&server, &mut bobs, &alice)),
        (vec!["online".into()], vec!["busy".into()])
    );
    assert_eq!(rest(&server, &mut carols, &alice), Vec::<String>::new(), "she never saw anybody there");
}

#[test]
fn l8_delivery_is_stopped_and_started_for_one_device_and_nothing_is_missed() {
    let server = TestServer::driven();
    let (alice, bob, mut bobs) = observed_and_observer(&server);
    let mut phones = Reader::new(&server.log_in("bob"));
    let path = format!("{OURS}/{}/delivery", bob.user);
    assert_eq!(bob.get(&path).ok(), json!({ "enabled": true }));
    bob.put(&path, json!({ "enabled": false })).ok();
    bob.put(&format!("/_matrix/client/v3/presence/{}/status", bob.user), json!({ "presence": "busy" })).ok();
    for state in ["busy", "online"] {
        choose(&alice, state);
        assert_eq!(bobs.now()["presence"], Value::Null);
        assert_eq!(told(&phones.now(), &alice), [state], "another device");
    }
    let server = server.restart();
    let (alice, bob) = (same(&server, &alice), same(&server, &bob));
    bobs.client = bob.clone();
    assert_eq!(bob.get(&path).ok(), json!({ "enabled": false }));
    assert_eq!(bobs.now()["presence"], Value::Null, "also after a restart");
    assert_eq!(Reader { since: String::new(), ..Reader::new(&bob) }.now()["presence"], Value::Null);
    choose(&alice, "busy");

    let poll = Poll::open(&bob, &bobs.since);
    server.settle();
    bob.put(&path, json!({ "enabled": true })).ok();
    let answer = poll.answer();
    let state = told(&answer, &alice).pop().expect("is told");
    assert_eq!(state, "busy", "what was missed comes at once");
    assert_eq!(told(&answer, &bob), ["busy"]);
    for body in [json!({}), json!({ "enabled": "yes" })] {
        bob.put(&path, body).refused(400, "M_BAD_JSON");
    }
    bob.put(&format!("{OURS}/@alice:localhost/delivery"), json!({ "enabled": false }))
        .refused(403, "M_FORBIDDEN");
}

#[test]
fn l8_who_was_lost_while_delivery_was_stopped_is_told_when_it_starts() {
    let server = TestServer::driven();
    let (alice, bob, mut bobs) = observed_and_observer(&server);
    let path = format!("{OURS}/{}/delivery", bob.user);
    bob.put(&path, json!({ "enabled": false })).ok();
    answer(&alice, &bob, "revoke");
    assert_eq!(bobs.now()["presence"], Value::Null);
    bob.put(&path, json!({ "enabled": true })).ok();
    assert_eq!(rest(&server, &mut bobs, &alice), ["unknown"]);
}
