//! Sliding sync: which rooms are told, how much of them, and where a connection goes on.

use serde_json::{Value, json};

use super::{
    sliding::{BEFORE, Connection, V4, bodies, rooms, state},
    support::TestServer,
    sync::{create_room, room_of, same, send},
};

/// The rooms of an answer by the names that they have, in order.
fn named(answer: &Value) -> Vec<String> {
    let rooms = answer["rooms"].as_object().expect("rooms");
    let mut names: Vec<_> = rooms.values().map(|r| r["name"].as_str().unwrap_or("?").to_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_window_is_on_the_rooms_in_which_something_happened_last() {
    let server = TestServer::start();
    let alice = server.register("alice");
    create_room(&alice, json!({ "name": "old" }));
    let ids: Vec<_> = (0..5).map(|n| create_room(&alice, json!({ "name": format!("r{n}") }))).collect();
    send(&alice, &ids[1], "1", "x");
    let mut reader = Connection::of_all(&alice, 1);
    reader.body["lists"]["all"]["ranges"] = json!([[0, 1]]);
    let first = reader.now();
    assert_eq!((named(&first), &first["lists"]["all"]["count"]), (vec!["r1".into(), "r4".into()], &json!(6)));
    // What happens outside comes into the window by that.
    send(&alice, &ids[0], "2", "here");
    let next = reader.now();
    assert_eq!(
        (named(&next), &next["rooms"][&ids[0]]["initial"], &next["rooms"][&ids[0]]["num_live"]),
        (vec!["r0".into()], &json!(true), &json!(1))
    );
    // What is pushed out of it comes back with what it missed, and not anew.
    send(&alice, &ids[2], "3", "three");
    assert_eq!(named(&reader.now()), ["r2"]);
    alice
        .put(&format!("/_matrix/client/v3/rooms/{}/state/m.room.topic", ids[3]), json!({ "topic": "t" }))
        .ok();
    assert_eq!(named(&reader.now()), ["r3"]);
    alice
        .put(&format!("/_matrix/client/v3/rooms/{}/state/m.room.topic", ids[1]), json!({ "topic": "t" }))
        .ok();
    send(&alice, &ids[1], "4", "four");
    let next = reader.now();
    let told = &next["rooms"][&ids[1]];
    assert_eq!(
        (told.get("initial"), bodies(&next, &ids[1]), &told["limited"]),
        (None, vec!["four".to_owned()], &json!(true))
    );
    assert_eq!(state(&next, &ids[1]), ["m.room.topic|"], "what changed before the timeline is told");
    // A wider window tells those that were not told, and of the others only what is new: nothing.
    reader.body["lists"]["all"]["ranges"] = json!([[0, 9]]);
    assert_eq!(named(&reader.now()), ["old"]);
    assert_eq!(reader.now()["rooms"], json!({}));
    reader.body["lists"]["all"]["ranges"] = json!([[0, 0], [4, 4]]);
    send(&alice, &ids[3], "5", "five");
    send(&alice, &ids[4], "6", "six");
    assert_eq!(rooms(&reader.now()), [ids[4].clone()]);
}

#[test]
fn a_room_that_is_subscribed_to_is_told_wherever_it_stands() {
    let server = TestServer::start();
    let [alice, bob] = ["alice", "bob"].map(|name| server.register(name));
    let ids: Vec<_> = (0..3).map(|n| create_room(&alice, json!({ "name": format!("r{n}") }))).collect();
    let others = create_room(&bob, json!({ "preset": "public_chat", "name": "others" }));
    let mut reader = Connection::of_all(&alice, 1);
    reader.body["lists"]["all"]["ranges"] = json!([[0, 0]]);
    reader.body["lists"]["all"]["required_state"] = json!([]);
    let both = json!({ "timeline_limit": 3, "required_state": [["m.room.create", ""]] });
    reader.body["room_subscriptions"] =
        json!({ &ids[0]: both, &ids[2]: both, &others: both, "!nowhere:localhost": both });
    let first = reader.now();
    assert_eq!(named(&first), ["r0", "r2"], "{first}");
    for room in [&ids[0], &ids[2]] {
        assert_eq!(
            (state(&first, room), first["rooms"][room]["timeline"].as_array().map(Vec::len)),
            (vec!["m.room.create|".to_owned()], Some(3))
        );
    }
    send(&alice, &ids[0], "1", "x");
    assert_eq!(rooms(&reader.now()), [ids[0].clone()]);
    // It is asked for anew with each request.
    reader.body["room_subscriptions"] = Value::Null;
    send(&alice, &ids[2], "2", "x");
    assert_eq!(rooms(&reader.now()), [ids[2].clone()]);
    send(&alice, &ids[2], "3", "x");
    send(&alice, &ids[0], "4", "x");
    send(&alice, &ids[1], "5", "x");
    assert_eq!(rooms(&reader.now()), [ids[1].clone()]);
}

#[test]
fn filters_choose_the_rooms_of_a_list() {
    let server = TestServer::start();
    let [alice, bob] = ["alice", "bob"].map(|name| server.register(name));
    let room = |name: &str, more: Value| {
        let mut body = json!({ "name": name });
        more.as_object().expect("an object").iter().for_each(|(k, v)| body[k] = v.clone());
        create_room(&alice, body)
    };
    let encryption = json!({ "type": "m.room.encryption", "state_key": "", "content": { "algorithm": "m.megolm.v1.aes-sha2" } });
    let plain = room("plain", json!({}));
    let secret = room("secret", json!({ "initial_state": [&encryption] }));
    let space = room("space", json!({ "creation_content": { "type": "m.space" } }));
    let other = room("other", json!({ "creation_content": { "type": "org.x" } }));
    let invited = [json!([]), json!([encryption])].map(|initial| {
        create_room(&bob, json!({ "invite": [&alice.user], "name": "invite", "initial_state": initial }))
    });
    for (child, via) in [(&plain, json!(["localhost"])), (&secret, json!([]))] {
        alice
            .put(
                &format!("/_matrix/client/v3/rooms/{space}/state/m.space.child/{child}"),
                json!({ "via": via }),
            )
            .ok();
    }
    let account = format!("/_matrix/client/v3/user/{}", alice.user);
    alice.put(&format!("{account}/account_data/m.direct"), json!({ &bob.user: [&secret, 7], "x": "y" })).ok();
    alice.put(&format!("{account}/rooms/{plain}/tags/u.a"), json!({})).ok();
    alice.put(&format!("{account}/rooms/{plain}/tags/u.b"), json!({ "order": 0.5 })).ok();
    alice.put(&format!("{account}/rooms/{other}/tags/u.b"), json!({})).ok();
    let [plain_invite, secret_invite] = &invited;
    let (p, s, sp, o, pi, si) = (&plain, &secret, &space, &other, plain_invite, secret_invite);
    for (filters, expected) in [
        (json!({}), vec![p, s, sp, o, pi, si]),
        (json!({ "is_dm": true }), vec![s]),
        (json!({ "is_dm": false }), vec![p, sp, o, pi, si]),
        (json!({ "is_encrypted": true }), vec![s, si]),
        (json!({ "is_encrypted": false }), vec![p, sp, o, pi]),
        (json!({ "is_invited": true }), vec![pi, si]),
        (json!({ "is_invited": false, "is_dm": false }), vec![p, sp, o]),
        (json!({ "room_types": ["m.space"] }), vec![sp]),
        (json!({ "room_types": [null, "org.x"] }), vec![p, s, o, pi, si]),
        (json!({ "not_room_types": [null] }), vec![sp, o]),
        (json!({ "room_types": ["m.space", "org.x"], "not_room_types": ["m.space"] }), vec![o]),
        (json!({ "room_types": [] }), vec![]),
        (json!({ "tags": ["u.a"] }), vec![p]),
        (json!({ "tags": ["u.a", "u.b"] }), vec![p, o]),
        (json!({ "tags": ["u.b"], "not_tags": ["u.a"] }), vec![o]),
        (json!({ "not_tags": ["u.b"] }), vec![s, sp, pi, si]),
        (json!({ "spaces": [&space] }), vec![p]),
        (json!({ "spaces": [&plain, "!nowhere:localhost", "nonsense"] }), vec![]),
    ] {
        let mut expected: Vec<_> = expected.into_iter().cloned().collect();
        expected.sort();
        let list = json!({ "timeline_limit": 1, "required_state": {}, "filters": filters });
        let answer = alice.post(V4, json!({ "conn_id": "f", "lists": { "l": list } })).ok();
        assert_eq!(
            (rooms(&answer), &answer["lists"]["l"]["count"]),
            (expected.clone(), &json!(expected.len())),
            "{filters}"
        );
        let mut filters = filters;
        if let Some(is_invited) = filters.as_object_mut().expect("an object").remove("is_invited") {
            filters["is_invite"] = is_invited;
        }
        let list =
            json!({ "timeline_limit": 1, "required_state": [], "filters": filters, "ranges": [[0, 9]] });
        let answer = alice.post(BEFORE, json!({ "lists": { "l": list } })).ok();
        assert_eq!(rooms(&answer), expected, "{filters}");
    }
}

#[test]
fn what_changes_by_which_a_list_chooses_is_noticed() {
    let server = TestServer::start();
    let alice = server.register("alice");
    let room = create_room(&alice, json!({ "name": "r" }));
    let list = |filters: Value| json!({ "ranges": [[0, 9]], "timeline_limit": 0, "required_state": [], "filters": filters });
    let lists = json!({ "dm": list(json!({ "is_dm": true })), "secret": list(json!({ "is_encrypted": true })),
        "tagged": list(json!({ "tags": ["u.a"] })), "all": list(json!({})) });
    let mut reader = Connection::new(&alice, json!({ "lists": lists }));
    let counts = |answer: &Value| {
        ["dm", "secret", "tagged", "all"]
            .map(|name| answer["lists"][name]["count"].as_u64().expect("a count"))
    };
    assert_eq!(counts(&reader.now()), [0, 0, 0, 1]);
    let account = format!("/_matrix/client/v3/user/{}", alice.user);
    alice.put(&format!("{account}/account_data/m.direct"), json!({ "@x:y": [&room] })).ok();
    let next = reader.now();
    assert_eq!((counts(&next), &next["rooms"][&room]["is_dm"]), ([1, 0, 0, 1], &json!(true)), "{next}");
    let state = format!("/_matrix/client/v3/rooms/{room}/state/m.room.encryption");
    alice.put(&state, json!({ "algorithm": "m.megolm.v1.aes-sha2" })).ok();
    assert_eq!(counts(&reader.now()), [1, 1, 0, 1]);
    alice.put(&format!("{account}/rooms/{room}/tags/u.a"), json!({})).ok();
    assert_eq!(counts(&reader.now()), [1, 1, 1, 1]);
    alice.put(&format!("{account}/account_data/m.direct"), json!({})).ok();
    let next = reader.now();
    assert_eq!((counts(&next), &next["rooms"][&room]["is_dm"]), ([0, 1, 1, 1], &json!(false)), "{next}");
    let more = create_room(&alice, json!({}));
    assert_eq!(counts(&reader.now()), [0, 1, 1, 2]);
    alice.post(&format!("/_matrix/client/v3/rooms/{more}/leave"), json!({})).ok();
    reader.now();
    assert_eq!(counts(&reader.now()), [0, 1, 1, 1]);
}

#[test]
fn more_of_a_timeline_is_told_when_more_is_asked_for() {
    let server = TestServer::start();
    let [alice, bob] = ["alice", "bob"].map(|name| server.register(name));
    let room = room_of(&alice, &[&bob]);
    for n in ["a", "b", "c", "d", "e"] {
        send(&alice, &room, n, n);
    }
    let mut reader = Connection::of_all(&bob, 1);
    let limit =
        |reader: &mut Connection, limit: usize| reader.body["lists"]["all"]["timeline_limit"] = json!(limit);
    assert_eq!(bodies(&reader.now(), &room), ["e"]);
    send(&alice, &room, "f", "f");
    send(&bob, &room, "g", "g");
    limit(&mut reader, 2);
    let next = reader.now();
    let told = &next["rooms"][&room];
    assert_eq!(
        (bodies(&next, &room), told.get("unstable_expanded_timeline"), &told["num_live"]),
        (vec!["f".into(), "g".into()], None, &json!(2))
    );
    // More is told at once, though nothing happened.
    limit(&mut reader, 4);
    let next = reader.now();
    let told = &next["rooms"][&room];
    assert_eq!(bodies(&next, &room), ["d", "e", "f", "g"]);
    assert_eq!(
        (&told["unstable_expanded_timeline"], &told["limited"], &told["num_live"], told.get("initial")),
        (&json!(true), &json!(true), &json!(0), None)
    );
    assert_eq!(rooms(&reader.now()), [""; 0]);
    // What the client has is not told again.
    for limit_of in [1, 3, 4] {
        limit(&mut reader, limit_of);
        assert_eq!(rooms(&reader.now()), [""; 0], "{limit_of}");
    }
    send(&alice, &room, "h", "h");
    limit(&mut reader, 1);
    assert_eq!(bodies(&reader.now(), &room), ["h"]);
    limit(&mut reader, 5);
    assert_eq!(rooms(&reader.now()), [""; 0], "the client has five");
    limit(&mut reader, 100);
    let next = reader.now();
    assert_eq!(
        (next["rooms"][&room]["timeline"].as_array().map(Vec::len), &next["rooms"][&room]["limited"]),
        (Some(14), &json!(false)),
        "{next}"
    );
    limit(&mut reader, 1);
    reader.now();
    limit(&mut reader, 100);
    assert_eq!(rooms(&reader.now()), [""; 0], "there is no more");
    let list = json!({ "timeline_limit": 1, "required_state": {} });
    let first = bob.post(V4, json!({ "lists": { "l": list } })).ok();
    let list = json!({ "timeline_limit": 2, "required_state": {} });
    let next = bob.post(V4, json!({ "lists": { "l": list }, "pos": first["pos"] })).ok();
    assert_eq!(next["rooms"][&room]["expanded_timeline"], true);
}

#[test]
fn more_state_is_told_when_more_is_asked_for() {
    let server = TestServer::start();
    let alice = server.register("alice");
    let room = create_room(&alice, json!({ "name": "r", "topic": "t" }));
    let mut reader = Connection::of_all(&alice, 1);
    let ask = |reader: &mut Connection, required: Value| {
        reader.body["lists"]["all"]["required_state"] = required;
        let answer = reader.now();
        state(&answer, &room)
    };
    assert_eq!(ask(&mut reader, json!([["m.room.name", ""]])), ["m.room.name|"]);
    assert_eq!(ask(&mut reader, json!([["m.room.name", ""], ["m.room.topic", ""]])), ["m.room.topic|"]);
    assert_eq!(ask(&mut reader, json!([["m.room.name", ""]])), [""; 0]);
    assert_eq!(
        ask(&mut reader, json!([["m.room.name", ""], ["m.room.member", "$ME"]])),
        ["m.room.member|@alice:localhost"]
    );
    let topic = format!("/_matrix/client/v3/rooms/{room}/state/m.room.topic");
    alice.put(&topic, json!({ "topic": "new" })).ok();
    assert_eq!(ask(&mut reader, json!([["m.room.name", ""]])), [""; 0]);
    assert_eq!(ask(&mut reader, json!([["m.room.name", ""], ["m.room.topic", ""]])), ["m.room.topic|"]);
    let all = ask(&mut reader, json!([["*", "*"]]));
    assert!(
        all.contains(&"m.room.create|".to_owned()) && !all.contains(&"m.room.topic|".to_owned()),
        "{all:?}"
    );
    alice.put(&topic, json!({ "topic": "newer" })).ok();
    assert_eq!(ask(&mut reader, json!([["*", "*"]])), ["m.room.topic|"]);
}

#[test]
fn members_come_with_the_first_thing_that_they_say() {
    let server = TestServer::start();
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| server.register(name));
    let room = room_of(&alice, &[&bob, &carol]);
    send(&bob, &room, "1", "one");
    let mut reader = Connection::of_all(&alice, 1);
    reader.body["lists"]["all"]["required_state"] = json!([["m.room.member", "$LAZY"]]);
    let told = |reader: &mut Connection| state(&reader.now(), &room);
    assert_eq!(told(&mut reader), ["m.room.member|@bob:localhost"]);
    send(&bob, &room, "2", "two");
    assert_eq!(told(&mut reader), [""; 0]);
    send(&carol, &room, "3", "three");
    assert_eq!(told(&mut reader), ["m.room.member|@carol:localhost"]);
    // Who changes is told of, known or not.
    carol
        .put(&format!("/_matrix/client/v3/profile/{}/displayname", carol.user), json!({ "displayname": "C" }))
        .ok();
    assert_eq!(told(&mut reader), ["m.room.member|@carol:localhost"]);
    // After a gap the client has forgotten whom it knew.
    send(&bob, &room, "4", "four");
    send(&carol, &room, "5", "five");
    assert_eq!(told(&mut reader), ["m.room.member|@carol:localhost"]);
    send(&bob, &room, "6", "six");
    assert_eq!(told(&mut reader), ["m.room.member|@bob:localhost"]);
}

#[test]
fn a_position_goes_on_once_and_the_last_answer_is_given_again() {
    let server = TestServer::start();
    let [alice, bob] = ["alice", "bob"].map(|name| server.register(name));
    let room = room_of(&alice, &[&bob]);
    let mut reader = Connection::of_all(&bob, 5);
    reader.now();
    let first = reader.clone();
    send(&alice, &room, "1", "one");
    // The answer is lost: it is given again, with what came meanwhile.
    assert_eq!(bodies(&reader.now(), &room), ["one"]);
    send(&alice, &room, "2", "two");
    reader.pos.clone_from(&first.pos);
    assert_eq!(bodies(&reader.now(), &room), ["one", "two"]);
    let second = reader.clone();
    send(&alice, &room, "3", "three");
    assert_eq!(bodies(&reader.now(), &room), ["three"]);
    // Who has gone on does not go back.
    bob.post(&first.path(std::time::Duration::ZERO), first.body.clone()).refused(400, "M_UNKNOWN_POS");
    // That this was asked changes nothing for who goes on.
    assert_eq!(reader.now()["rooms"], json!({}));
    bob.post(&second.path(std::time::Duration::ZERO), second.body.clone()).refused(400, "M_UNKNOWN_POS");
    // Nobody else goes on from there: not another connection, device, or user.
    let path = reader.path(std::time::Duration::ZERO);
    let mut body = reader.body.clone();
    body["conn_id"] = json!("other");
    bob.post(&path, body).refused(400, "M_UNKNOWN_POS");
    for other in [server.log_in("bob"), alice.clone()] {
        other.post(&path, reader.body.clone()).refused(400, "M_UNKNOWN_POS");
    }
    send(&alice, &room, "4", "four");
    assert_eq!(bodies(&reader.now(), &room), ["four"]);
    // Who begins anew has nothing.
    reader.pos = None;
    let anew = reader.now();
    assert_eq!(
        (&anew["rooms"][&room]["initial"], &anew["rooms"][&room]["num_live"]),
        (&json!(true), &json!(0))
    );
}

#[test]
fn connections_of_a_device_do_not_know_of_each_other_and_are_so_many() {
    let server = TestServer::start();
    let alice = server.register("alice");
    let room = create_room(&alice, json!({}));
    let connection = |n: usize| {
        let mut connection = Connection::of_all(&alice, 1);
        connection.body["conn_id"] = json!(n.to_string());
        connection
    };
    let mut all: Vec<_> = (0..17).map(connection).collect();
    for reader in &mut all {
        assert_eq!(reader.now()["rooms"][&room]["initial"], true);
    }
    let (oldest, others) = all.split_first_mut().expect("some");
    for reader in others {
        assert_eq!(reader.now()["rooms"], json!({}));
    }
    alice.post(&oldest.path(std::time::Duration::ZERO), oldest.body.clone()).refused(400, "M_UNKNOWN_POS");
}

#[test]
fn a_restart_ends_connections_and_nothing_is_lost_or_told_twice_as_new() {
    let mut server = TestServer::start();
    let [alice, bob] = ["alice", "bob"].map(|name| server.register(name));
    let room = room_of(&alice, &[&bob]);
    let mut reader = Connection::of_all(&bob, 5);
    reader.body["extensions"] = json!({ "to_device": { "enabled": true } });
    reader.now();
    send(&alice, &room, "1", "one");
    let messages = json!({ "messages": { &bob.user: { &bob.device: { "n": 1 } } } });
    alice.put("/_matrix/client/v3/sendToDevice/x/1", messages).ok();
    let told = reader.now();
    assert_eq!(
        (bodies(&told, &room), &told["extensions"]["to_device"]["events"][0]["content"]["n"]),
        (vec!["one".into()], &json!(1))
    );
    send(&alice, &room, "2", "two");
    server = server.restart();
    let mut reader = Connection { client: same(&server, &bob), ..reader };
    reader
        .client
        .post(&reader.path(std::time::Duration::ZERO), reader.body.clone())
        .refused(400, "M_UNKNOWN_POS");
    reader.pos = None;
    let anew = reader.now();
    assert_eq!(bodies(&anew, &room), ["one", "two"]);
    // The client had the first of them.
    assert_eq!(
        (&anew["rooms"][&room]["num_live"], &anew["rooms"][&room]["initial"]),
        (&json!(1), &json!(true))
    );
    // It had not said that it has the message.
    assert_eq!(anew["extensions"]["to_device"]["events"][0]["content"]["n"], 1);
}

#[test]
fn coming_going_and_being_put_out() {
    let server = TestServer::start();
    let [alice, bob] = ["alice", "bob"].map(|name| server.register(name));
    let mut reader = Connection::of_all(&bob, 20);
    reader.now();
    let room = create_room(&alice, json!({ "preset": "private_chat", "invite": [&bob.user], "name": "r" }));
    let at = format!("/_matrix/client/v3/rooms/{room}");
    let told = reader.now();
    let kinds: Vec<_> = told["rooms"][&room]["invite_state"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|e| e["type"].as_str().expect("type"))
        .collect();
    assert!(kinds.contains(&"m.room.name") && told["rooms"][&room].get("name").is_none(), "{told}");
    assert_eq!(rooms(&reader.now()), [""; 0]);
    bob.post(&format!("{at}/join"), json!({})).ok();
    let told = reader.now();
    assert_eq!(
        (&told["rooms"][&room]["initial"], &told["rooms"][&room]["name"]),
        (&json!(true), &json!("r"))
    );
    send(&alice, &room, "1", "one");
    alice.post(&format!("{at}/kick"), json!({ "user_id": bob.user })).ok();
    send(&alice, &room, "2", "not for bob");
    alice.put(&format!("{at}/state/m.room.name"), json!({ "name": "not for bob" })).ok();
    let told = reader.now();
    assert_eq!(
        (bodies(&told, &room), told["rooms"][&room].get("name")),
        (vec!["one".to_owned()], None),
        "{told}"
    );
    assert_eq!(state(&told, &room), ["m.room.member|@bob:localhost"]);
    assert!(!told.to_string().contains("not for bob"));
    send(&alice, &room, "3", "not for bob");
    assert_eq!(rooms(&reader.now()), [""; 0]);
    // A new connection is told of it as well, and of no more.
    let mut other = Connection::of_all(&bob, 20);
    other.body["conn_id"] = json!("other");
    let told = other.now();
    assert_eq!(
        (&told["rooms"][&room]["initial"], &told["rooms"][&room]["name"], bodies(&told, &room)),
        (&json!(true), &json!("r"), vec!["one".to_owned()])
    );
    assert!(!told.to_string().contains("not for bob"));
    // Who leaves by themselves is told so where the room was told, and nowhere else.
    alice.post(&format!("{at}/invite"), json!({ "user_id": bob.user })).ok();
    bob.post(&format!("{at}/join"), json!({})).ok();
    assert_eq!(reader.now()["rooms"][&room]["initial"], true);
    bob.post(&format!("{at}/leave"), json!({})).ok();
    let told = reader.now();
    assert_eq!(
        (state(&told, &room), &told["lists"]["all"]["count"]),
        (vec!["m.room.member|@bob:localhost".to_owned()], &json!(1))
    );
    let told = reader.now();
    assert_eq!((&told["rooms"], &told["lists"]["all"]["count"]), (&json!({}), &json!(0)));
    let mut other = Connection::of_all(&bob, 20);
    other.body["conn_id"] = json!("third");
    assert_eq!(other.now()["rooms"], json!({}));
}

#[test]
fn a_room_that_was_left_is_told_so_by_the_first_request_that_asks_for_it() {
    let server = TestServer::start();
    let [alice, bob] = ["alice", "bob"].map(|name| server.register(name));
    let joined = create_room(&alice, json!({ "preset": "public_chat", "name": "joined" }));
    let at = |room: &str, deed: &str| format!("/_matrix/client/v3/rooms/{room}/{deed}");
    bob.post(&at(&joined, "join"), json!({})).ok();
    let invite = create_room(&alice, json!({ "invite": [&bob.user], "name": "invite" }));
    let mut reader = Connection::of_all(&bob, 1);
    assert_eq!(rooms(&reader.now()).len(), 2);
    let all = reader.body["lists"].clone();
    for room in [&joined, &invite] {
        bob.post(&at(room, "leave"), json!({})).ok();
    }
    // Requests that ask for something else say nothing of them, and take nothing from them.
    let mut none = all["all"].clone();
    none["filters"] = json!({ "is_invite": true });
    for lists in [json!({}), json!({ "all": none }), json!({})] {
        reader.body["lists"] = lists;
        assert_eq!(reader.now()["rooms"], json!({}));
        send(&alice, &joined, reader.pos.as_deref().expect("pos"), "not for bob");
    }
    reader.body["lists"] = all;
    let told = reader.now();
    for room in [&joined, &invite] {
        assert_eq!(state(&told, room), ["m.room.member|@bob:localhost"], "{told}");
        assert_eq!(told["rooms"][room]["required_state"][0]["content"]["membership"], "leave");
    }
    assert!(!told.to_string().contains("not for bob"));
    assert_eq!(reader.now()["rooms"], json!({}));
}

/// What is told of `room`: who has a member event among its state, and the types of its timeline.
fn told_of(answer: &Value, room: &str) -> (Vec<String>, Vec<String>) {
    let kinds = |events: &Value| -> Vec<String> {
        let events = events.as_array().into_iter().flatten();
        events.map(|e| e["type"].as_str().expect("type").to_owned()).collect()
    };
    let of_room = &answer["rooms"][room];
    let members = of_room["required_state"].as_array().into_iter().flatten();
    let mut members: Vec<_> = members
        .filter(|e| e["type"] == "m.room.member")
        .map(|e| e["state_key"].as_str().expect("a key").to_owned())
        .collect();
    members.sort();
    (members, kinds(&of_room["timeline"]))
}

#[test]
fn who_is_put_out_of_a_room_knows_who_said_what_up_to_that_and_nothing_later() {
    let server = TestServer::start();
    let [alice, bob] = ["alice", "bob"].map(|name| server.register(name));
    let room = room_of(&alice, &[&bob]);
    let mut reader = Connection::of_all(&bob, 2);
    reader.body["lists"]["all"]["required_state"] = json!([["m.room.member", "$LAZY"]]);
    (0..3).for_each(|n| drop(send(&alice, &room, &n.to_string(), "x")));
    let both = vec![alice.user.clone(), bob.user.clone()];
    assert_eq!(told_of(&reader.now(), &room).0, both[..1]);
    (3..6).for_each(|n| drop(send(&alice, &room, &n.to_string(), "x")));
    let at = format!("/_matrix/client/v3/rooms/{room}");
    alice.post(&format!("{at}/kick"), json!({ "user_id": bob.user })).ok();
    let encryption = json!({ "algorithm": "m.megolm.v1.aes-sha2" });
    alice.put(&format!("{at}/state/m.room.encryption"), encryption).ok();
    let timeline = vec!["m.room.message".to_owned(), "m.room.member".to_owned()];
    assert_eq!(told_of(&reader.now(), &room), (both.clone(), timeline.clone()));
    let mut other = reader.clone();
    other.body["conn_id"] = json!("other");
    other.pos = None;
    assert_eq!(told_of(&other.now(), &room), (both, timeline));
    // By filters, too, the room is what it was.
    for (is_encrypted, count) in [(true, 0), (false, 1)] {
        other.body["lists"]["all"]["filters"] = json!({ "is_encrypted": is_encrypted });
        assert_eq!(other.now()["lists"]["all"]["count"], count, "{is_encrypted}");
    }
    // Who forgets the room has it on no list.
    bob.post(&format!("{at}/forget"), json!({})).ok();
    assert_eq!(other.now()["lists"]["all"]["count"], 0);
}

#[test]
fn who_never_was_in_a_room_is_told_of_it_what_became_of_themselves() {
    let server = TestServer::start();
    let [alice, bob] = ["alice", "bob"].map(|name| server.register(name));
    let visible = json!({ "type": "m.room.history_visibility", "state_key": "", "content": { "history_visibility": "invited" } });
    let room = create_room(&alice, json!({ "invite": [&bob.user], "initial_state": [visible] }));
    let mut reader = Connection::of_all(&bob, 20);
    assert!(reader.now()["rooms"][&room]["invite_state"].is_array());
    send(&alice, &room, "1", "while bob was invited");
    let kick = json!({ "user_id": bob.user });
    alice.post(&format!("/_matrix/client/v3/rooms/{room}/kick"), kick).ok();
    let told = reader.now();
    assert!(!told.to_string().contains("while bob was invited"), "{told}");
    let (members, timeline) = told_of(&told, &room);
    assert_eq!(members, std::slice::from_ref(&bob.user));
    assert!(timeline.iter().all(|kind| kind == "m.room.member"), "{told}");
}

#[test]
fn a_name_or_a_picture_that_is_emptied_is_told_to_be_none() {
    let server = TestServer::start();
    let [alice, bob] = ["alice", "bob"].map(|name| server.register(name));
    let room = room_of(&alice, &[&bob]);
    let at = format!("/_matrix/client/v3/rooms/{room}");
    let mut reader = Connection::of_all(&bob, 5);
    reader.now();
    for (n, (kind, key, content)) in [
        ("name", "name", json!({ "name": "n" })),
        ("avatar", "avatar", json!({ "url": "mxc://localhost/a" })),
    ]
    .into_iter()
    .enumerate()
    {
        let set = alice.put(&format!("{at}/state/m.room.{kind}"), content).ok();
        let told = reader.now();
        assert!(told["rooms"][&room][key].is_string(), "{told}");
        send(&alice, &room, &format!("a{n}"), "x");
        assert_eq!(reader.now()["rooms"][&room].get(key), None);
        let event = set["event_id"].as_str().expect("an ID");
        alice.put(&format!("{at}/redact/{event}/{n}"), json!({})).ok();
        let told = reader.now();
        assert_eq!(told["rooms"][&room].get(key), Some(&Value::Null), "{told}");
        assert_eq!(told["rooms"][&room].get("heroes").is_some(), key == "name");
    }
}
