//! Events that come late (M4): new in the log, old in the timeline of their room.

use pilotlight::server::store::{NewEvent, RoomChange, RoomCommit};
use ruma::RoomVersionId;
use serde_json::{Value, json};

use super::{
    event_stream::{Follower, bodies},
    shared_room::Scene,
    support::{Client, TestServer, runtime},
    sync::{Reader, joined, room_of, same, send},
};

const ASKS: &str =
    "&filter=%7B%22room%22%3A%7B%22timeline%22%3A%7B%22org.pilotlight.out_of_order%22%3Atrue%7D%7D%7D";

/// Puts a message between two of a room, as one that is fetched from another server long after it was sent.
fn insert(server: &TestServer, room: &str, sender: &Client, body: &str, after: Option<&str>) -> String {
    let id = format!("$late-{body}");
    let pdu = json!({
        "content": { "body": body, "msgtype": "m.text" }, "depth": 1, "origin_server_ts": 1, "room_id": room,
        "sender": sender.user, "type": "m.room.message",
    });
    let event = NewEvent {
        room: room.try_into().expect("a room ID"),
        event_id: id.as_str().try_into().expect("an event ID"),
        kind: "m.room.message".into(),
        state_key: None,
        sender: sender.user.as_str().try_into().expect("a user ID"),
        origin_server_ts: 1,
        depth: 1,
        pdu: pdu.to_string(),
        prev_events: Vec::new(),
        auth_events: Vec::new(),
        relates_to: None,
        transaction: None,
        membership: None,
        unasked: false,
        hidden: false,
        on_behalf: false,
    };
    let after = after.map(|id| id.try_into().expect("an event ID"));
    let changes = vec![RoomChange::Insert { event: Box::new(event), after }];
    let commit = RoomCommit { changes, ..RoomCommit::default() };
    let store = &server.app().store;
    runtime().block_on(async {
        let written = store.commit_rooms(commit).await.expect("the store is open");
        written.await.expect("is written");
    });
    id
}

fn after(event: &Value) -> &Value {
    &event["unsigned"]["org.pilotlight.after"]
}

#[test]
fn m4_what_comes_late_is_told_to_who_asks_with_what_it_comes_after() {
    for restarts in [false, true] {
        let mut server = TestServer::driven();
        let (alice, bob) = (server.register("alice"), server.register("bob"));
        let room = room_of(&alice, &[&bob]);
        let first = send(&alice, &room, "1", "first");
        let second = send(&alice, &room, "2", "second");
        let (mut asks, mut plain) = (Reader::with(&bob, ASKS), Reader::new(&bob));
        let (mut asks_events, mut plain_events) = (Follower::with(&bob, ASKS), Follower::new(&bob));
        let late = insert(&server, &room, &alice, "late", Some(&first));
        let later = insert(&server, &room, &alice, "later", Some(&late));
        let third = send(&alice, &room, "3", "third");
        if restarts {
            server = server.restart();
            let bob = same(&server, &bob);
            [&mut asks, &mut plain].into_iter().for_each(|reader| reader.client = bob.clone());
            [&mut asks_events, &mut plain_events].into_iter().for_each(|f| f.client = bob.clone());
        }
        // By default, as Matrix says.
        let answer = plain.now();
        let timeline = &joined(&answer, &room)["timeline"];
        assert_eq!(
            (bodies(timeline["events"].as_array().expect("events")), &timeline["limited"]),
            (vec!["third"], &json!(false))
        );
        assert_eq!(joined(&answer, &room)["unread_notifications"]["notification_count"], 3);
        assert_eq!(bodies(&plain_events.now()), ["third"]);
        // To who asks.
        let answer = asks.now();
        let by_sync = joined(&answer, &room)["timeline"]["events"].as_array().expect("events").clone();
        assert_eq!(bodies(&by_sync), ["late", "later", "third"]);
        assert_eq!((after(&by_sync[0]), after(&by_sync[1])), (&json!(first), &json!(late)));
        assert!(by_sync[2]["unsigned"].get("org.pilotlight.after").is_none());
        let by_events: Vec<_> =
            asks_events.now().into_iter().filter(|event| event["type"] == "m.room.message").collect();
        assert_eq!(bodies(&by_events), ["third", "late", "later"]);
        assert_eq!((after(&by_events[1]), after(&by_events[2])), (&json!(first), &json!(late)));
        assert_eq!(by_events[1]["room_id"], room.as_str());
        // Once.
        assert_eq!((asks.now()["rooms"].clone(), asks_events.now()), (Value::Null, Vec::new()));
        // Everybody finds it by scrolling back, where it belongs.
        let path = format!("/_matrix/client/v3/rooms/{room}/messages?dir=b&limit=5");
        let page = plain.client.get(&path).ok();
        let ids: Vec<&str> =
            page["chunk"].as_array().expect("chunk").iter().filter_map(|e| e["event_id"].as_str()).collect();
        assert_eq!(ids, [&third, &second, &later, &late, &first].map(String::as_str));
    }
}

#[test]
fn m4_what_comes_before_all_of_a_room_says_so() {
    let server = TestServer::driven();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let room = room_of(&alice, &[&bob]);
    let (mut reader, mut follower) = (Reader::with(&bob, ASKS), Follower::with(&bob, ASKS));
    insert(&server, &room, &alice, "ancient", None);
    let answer = reader.now();
    let by_sync = joined(&answer, &room)["timeline"]["events"][0].clone();
    let by_events = follower.now().into_iter().find(|e| e["content"]["body"] == "ancient").expect("is told");
    for event in [by_sync, by_events] {
        assert_eq!(event["content"]["body"], "ancient");
        assert_eq!(event["unsigned"].get("org.pilotlight.after"), Some(&Value::Null));
    }
}

#[test]
fn m4_what_comes_late_wakes_who_asks_and_nobody_else() {
    let server = TestServer::driven();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let room = room_of(&alice, &[&bob]);
    let first = send(&alice, &room, "1", "first");
    let (mut asks, mut plain) = (Follower::with(&bob, ASKS), Follower::new(&bob));
    // What the device itself shows is told.
    [&mut asks, &mut plain].into_iter().for_each(|follower| drop(follower.now()));
    let (woken, sleeps) = (asks.poll(), plain.poll());
    server.settle();
    insert(&server, &room, &alice, "late", Some(&first));
    assert_eq!(bodies(&asks.take(&woken.answer())), ["late"]);
    server.settle();
    send(&alice, &room, "2", "second");
    assert_eq!(bodies(&plain.take(&sleeps.answer())), ["second"]);
}

#[test]
fn m4_the_event_that_is_named_is_one_that_the_reader_is_told() {
    let server = TestServer::driven();
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| server.register(name));
    let room = room_of(&alice, &[&bob, &carol]);
    let path = format!("/_matrix/client/v3/user/{}/account_data/m.ignored_user_list", bob.user);
    bob.put(&path, json!({ "ignored_users": { &carol.user: {} } })).ok();
    let heard = send(&alice, &room, "1", "heard");
    let unheard = send(&carol, &room, "2", "unheard");
    let mut follower = Follower::with(&bob, ASKS);
    insert(&server, &room, &carol, "ignored", Some(&unheard));
    insert(&server, &room, &alice, "late", Some(&unheard));
    let events = follower.now();
    let late = events.iter().find(|event| event["content"]["body"] == "late").expect("is told");
    assert_eq!(after(late), &json!(heard));
    assert_eq!(bodies(&events), ["late"]);
}

#[test]
fn m4_what_another_server_tells_late_is_told_to_who_asks_with_what_it_comes_after() {
    let scene = Scene::new(RoomVersionId::V11);
    let (first, event) = scene.next("m.room.message", None, json!({ "msgtype": "m.text", "body": "first" }));
    scene.taken(&[event], std::slice::from_ref(&first));
    let (mut asks, mut plain) = (Reader::with(&scene.alice, ASKS), Reader::new(&scene.alice));
    let (mut asks_events, mut plain_events) =
        (Follower::with(&scene.alice, ASKS), Follower::new(&scene.alice));
    // What is between did not come, and nobody tells it.
    let (late, late_event) = scene.message(std::slice::from_ref(&first), "late");
    let (last, event) = scene.message(&[first.clone(), late.clone()], "last");
    let v1 = "/_matrix/federation/v1";
    let state = runtime().block_on(scene.server.app().store.current_state_ids(&scene.room)).expect("reads");
    let ids: Vec<_> = state.values().collect();
    scene.peer.says(&format!("{v1}/get_missing_events/"), 200, json!({ "events": [] }));
    scene.peer.says(&format!("{v1}/event/"), 404, json!({ "errcode": "M_NOT_FOUND" }));
    scene.peer.says(&format!("{v1}/state_ids/"), 200, json!({ "pdu_ids": ids, "auth_chain_ids": ids }));
    scene.taken(&[event], std::slice::from_ref(&last));
    let told = |reader: &mut Reader| {
        let answer = reader.now();
        joined(&answer, scene.room.as_str())["timeline"]["events"].as_array().cloned().unwrap_or_default()
    };
    assert_eq!((bodies(&told(&mut asks)), bodies(&told(&mut plain))), (vec!["last"], vec!["last"]));
    assert_eq!((bodies(&asks_events.now()), bodies(&plain_events.now())), (vec!["last"], vec!["last"]));
    // It comes after all.
    scene.taken(&[late_event], std::slice::from_ref(&late));
    let by_sync = told(&mut asks);
    assert_eq!((bodies(&by_sync), after(&by_sync[0])), (vec!["late"], &json!(first)));
    let by_events: Vec<_> =
        asks_events.now().into_iter().filter(|event| event["type"] == "m.room.message").collect();
    assert_eq!((bodies(&by_events), after(&by_events[0])), (vec!["late"], &json!(first)));
    assert_eq!((told(&mut plain), bodies(&plain_events.now())), (Vec::new(), Vec::<&str>::new()));
    assert_eq!(scene.seen()[..3], [&last, &late, &first].map(ToString::to_string));
}
