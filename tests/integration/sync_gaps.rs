//! `/sync` for a client that was away: the same from memory and, after a restart, from the disk.

use serde_json::{Value, json};

use super::{
    keys::CrossKey,
    support::{Client, PASSWORD, TestServer},
    sync::{Reader, create_room, joined, room_of, same, send},
};

const LAZY: &str = "&filter=%7B%22room%22%3A%7B%22state%22%3A%7B%22lazy_load_members%22%3Atrue%7D%2C%22timeline%22%3A%7B%22limit%22%3A3%7D%7D%7D";

/// Runs `check` twice: with what happened in memory, and after a restart.
fn twice(
    prepare: impl Fn(&TestServer) -> (String, Vec<Reader>, Vec<Client>),
    check: impl Fn(&str, &mut [Reader], &[Client]),
) {
    for restarts in [false, true] {
        let mut server = TestServer::start();
        let (room, mut readers, mut others) = prepare(&server);
        if restarts {
            server = server.restart();
            readers.iter_mut().for_each(|reader| reader.client = same(&server, &reader.client));
            others.iter_mut().for_each(|other| *other = same(&server, other));
        }
        check(&room, &mut readers, &others);
    }
}

fn membership(events: &Value, user: &Client) -> Value {
    let events = events["events"].as_array().cloned().unwrap_or_default();
    let of_user = events.into_iter().rev().find(|e| e["state_key"] == user.user.as_str());
    of_user.map_or(Value::Null, |e| e["content"]["membership"].clone())
}

fn act(client: &Client, room: &str, what: &str) {
    client.post(&format!("/_matrix/client/v3/rooms/{room}/{what}"), json!({})).ok();
}

#[test]
fn members_who_came_and_went_in_a_gap_are_told_to_a_client_with_lazy_members() {
    let prepare = |server: &TestServer| {
        let [alice, bob, carol, dave] = ["alice", "bob", "carol", "dave"].map(|name| server.register(name));
        let room = room_of(&alice, &[&bob, &carol]);
        for n in 0..4 {
            send(&alice, &room, &format!("before{n}"), "x");
        }
        let reader = Reader::with(&alice, LAZY);
        act(&carol, &room, "leave");
        act(&dave, &room, "join");
        for n in 0..5 {
            send(&bob, &room, &n.to_string(), "x");
        }
        (room, vec![reader], vec![carol, dave])
    };
    twice(prepare, |room, readers, others| {
        let answer = readers[0].now();
        let entry = joined(&answer, room);
        assert_eq!(entry["timeline"]["limited"], true);
        assert_eq!(membership(&entry["state"], &others[0]), "leave");
        assert_eq!(membership(&entry["state"], &others[1]), "join");
    });
}

#[test]
fn rooms_without_anything_to_tell_are_not_mentioned() {
    let filter = "&filter=%7B%22room%22%3A%7B%22timeline%22%3A%7B%22not_types%22%3A%5B%22m.room.message%22%5D%7D%7D%7D";
    let prepare = |server: &TestServer| {
        let (alice, bob) = (server.register("alice"), server.register("bob"));
        let room = room_of(&alice, &[&bob]);
        create_room(&bob, json!({ "name": "Quiet" }));
        let readers = vec![Reader::with(&bob, filter), Reader::new(&bob)];
        send(&alice, &room, "1", "not for the first reader");
        (room, readers, Vec::new())
    };
    twice(prepare, |room, readers, _| {
        assert_eq!(readers[0].now()["rooms"], Value::Null, "all of it is filtered out");
        let told = readers[1].now();
        assert_eq!(told["rooms"]["join"].as_object().map(serde_json::Map::len), Some(1));
        assert!(joined(&told, room).is_object());
        assert_eq!(readers[1].now()["rooms"], Value::Null);
    });
}

#[test]
fn who_returns_sees_nothing_of_the_time_away_but_the_state_that_came_of_it() {
    for tells_meanwhile in [false, true] {
        let prepare = |server: &TestServer| {
            let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| server.register(name));
            let room = room_of(&alice, &[&bob]);
            let path = format!("/_matrix/client/v3/rooms/{room}/state/m.room.history_visibility/");
            alice.put(&path, json!({ "history_visibility": "joined" })).ok();
            send(&bob, &room, "1", "seen before");
            let mut reader = Reader::new(&bob);
            act(&bob, &room, "leave");
            if tells_meanwhile {
                reader.now();
            }
            act(&carol, &room, "join");
            send(&alice, &room, "2", "secret");
            act(&bob, &room, "join");
            send(&alice, &room, "3", "welcome back");
            (room, vec![reader], vec![carol])
        };
        twice(prepare, |room, readers, others| {
            let answer = readers[0].now();
            let entry = joined(&answer, room);
            let bodies: Vec<&str> = entry["timeline"]["events"]
                .as_array()
                .expect("events")
                .iter()
                .filter_map(|e| e["content"]["body"].as_str())
                .collect();
            assert_eq!((bodies, &entry["timeline"]["limited"]), (vec!["welcome back"], &json!(true)));
            assert_eq!(membership(&entry["state"], &others[0]), "join");
            assert_eq!(membership(&entry["timeline"], &readers[0].client), "join");
        });
    }
}

#[test]
fn who_came_and_went_is_told_the_state_of_then() {
    let prepare = |server: &TestServer| {
        let (alice, bob) = (server.register("alice"), server.register("bob"));
        let room = create_room(&alice, json!({ "preset": "public_chat", "name": "Then" }));
        for n in 0..12 {
            send(&alice, &room, &n.to_string(), "x");
        }
        let reader = Reader::new(&bob);
        act(&bob, &room, "join");
        act(&bob, &room, "leave");
        let path = format!("/_matrix/client/v3/rooms/{room}/state/m.room.name/");
        alice.put(&path, json!({ "name": "Later" })).ok();
        (room, vec![reader], vec![alice])
    };
    twice(prepare, |room, readers, others| {
        let answer = readers[0].now();
        let left = &answer["rooms"]["leave"][room];
        let state = left["state"]["events"].as_array().expect("state");
        let name = state.iter().find(|e| e["type"] == "m.room.name").map(|e| &e["content"]["name"]);
        assert_eq!(name, Some(&json!("Then")));
        assert_eq!(membership(&left["state"], &others[0]), "join");
        assert_eq!(membership(&left["timeline"], &readers[0].client), "leave");
        assert_eq!(answer["rooms"]["join"], Value::Null);
    });
}

#[test]
fn newcomers_leavers_and_what_one_alone_sees_of_keys_are_told_after_a_restart_too() {
    let prepare = |server: &TestServer| {
        let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| server.register(name));
        let room = room_of(&alice, &[&bob]);
        let master = CrossKey::new();
        let cross = "/_matrix/client/v3/keys/device_signing/upload";
        alice.post(cross, json!({ "master_key": master.plain(&alice, "master") })).ok();
        let readers = vec![Reader::new(&alice), Reader::new(&bob)];
        let auth = json!({ "type": "m.login.password", "user": "alice", "password": PASSWORD });
        let user_signing = master.sign(&alice, &CrossKey::new().plain(&alice, "user_signing"));
        let challenge = alice.post(cross, json!({ "user_signing_key": user_signing }));
        let auth = match challenge.body["session"].as_str() {
            Some(session) => {
                let mut auth = auth;
                auth["session"] = json!(session);
                auth["identifier"] = json!({ "type": "m.id.user", "user": "alice" });
                auth
            }
            None => auth,
        };
        alice.post(cross, json!({ "user_signing_key": user_signing, "auth": auth })).ok();
        act(&carol, &room, "join");
        act(&bob, &room, "leave");
        (room, readers, vec![carol])
    };
    twice(prepare, |_, readers, others| {
        let (alice, bob, carol) =
            (readers[0].client.user.clone(), readers[1].client.user.clone(), &others[0].user);
        for (reader, changed, left) in [
            (0, json!([alice, carol]), json!([bob])),
            // Alice's user-signing key is not for Bob; Carol came and is with him nowhere.
            (1, json!([]), json!([alice, carol])),
        ] {
            let reader = &mut readers[reader];
            let from = reader.since.clone();
            let told = reader.now();
            let path = format!("/_matrix/client/v3/keys/changes?from={from}&to={}", reader.since);
            let between = reader.client.get(&path).ok();
            let sorted = |mut users: Value| {
                users.as_array_mut().expect("a list").sort_by_key(Value::to_string);
                users
            };
            for lists in [&told["device_lists"], &between] {
                let user = &reader.client.user;
                assert_eq!(sorted(lists["changed"].clone()), changed, "{user}");
                assert_eq!(sorted(lists["left"].clone()), left, "{user}");
            }
        }
    });
}

#[test]
fn who_comes_back_is_told_which_members_changed_while_they_were_away() {
    for tells_meanwhile in [false, true] {
        let prepare = |server: &TestServer| {
            let [alice, bob, carol, dave] =
                ["alice", "bob", "carol", "dave"].map(|name| server.register(name));
            let room = room_of(&alice, &[&bob, &carol, &dave]);
            [&carol, &dave].into_iter().for_each(|who| drop(send(who, &room, "1", "here")));
            let mut reader = Reader::with(&bob, LAZY);
            act(&bob, &room, "leave");
            if tells_meanwhile {
                reader.now();
            }
            act(&carol, &room, "leave");
            let name = format!("/_matrix/client/v3/profile/{}/displayname", dave.user);
            dave.put(&name, json!({ "displayname": "David" })).ok();
            act(&bob, &room, "join");
            for n in 0..5 {
                send(&alice, &room, &format!("after{n}"), "x");
            }
            (room, vec![reader], vec![carol, dave])
        };
        twice(prepare, |room, readers, others| {
            let answer = readers[0].now();
            let state = &joined(&answer, room)["state"];
            assert_eq!(membership(state, &others[0]), "leave", "told meanwhile: {tells_meanwhile}");
            let events = state["events"].as_array().expect("events");
            let dave = events.iter().find(|e| e["state_key"] == others[1].user.as_str()).expect("is told");
            assert_eq!(dave["content"]["displayname"], "David");
        });
    }
}

#[test]
fn that_a_room_was_left_is_told_though_another_device_has_it_forgotten() {
    let prepare = |server: &TestServer| {
        let (alice, bob) = (server.register("alice"), server.register("bob"));
        let room = room_of(&alice, &[&bob]);
        let readers = ["", "&full_state=true"].map(|with| Reader::with(&bob, with));
        act(&bob, &room, "leave");
        act(&bob, &room, "forget");
        (room, readers.into(), Vec::new())
    };
    twice(prepare, |room, readers, _| {
        for reader in readers {
            let told = reader.now();
            let left = &told["rooms"]["leave"][room];
            assert_eq!(membership(&left["timeline"], &reader.client), "leave", "{}: {told}", reader.with);
        }
    });
}

#[test]
fn who_declines_an_invite_is_told_so() {
    let prepare = |server: &TestServer| {
        let (alice, bob) = (server.register("alice"), server.register("bob"));
        let room = create_room(&alice, json!({ "invite": [bob.user] }));
        let reader = Reader::new(&bob);
        act(&bob, &room, "leave");
        (room, vec![reader], Vec::new())
    };
    twice(prepare, |room, readers, _| {
        let told = readers[0].now();
        let left = &told["rooms"]["leave"][room];
        assert_eq!(membership(&left["timeline"], &readers[0].client), "leave", "{told}");
        assert_eq!(left["timeline"]["events"].as_array().map(Vec::len), Some(1), "and of the room nothing");
    });
}

#[test]
fn a_room_without_a_name_is_called_by_those_who_came_first() {
    let server = TestServer::start_with(|config| config.rate_limits.enabled = false);
    let users: Vec<Client> = ["g", "f", "e", "d", "c", "b", "a"].map(|name| server.register(name)).into();
    let room = room_of(&users[0], &users[1..6].iter().collect::<Vec<_>>());
    users[0]
        .post(&format!("/_matrix/client/v3/rooms/{room}/invite"), json!({ "user_id": users[6].user }))
        .ok();
    let heroes = |who: &Client| {
        let mut reader = Reader { client: who.clone(), since: String::new(), with: String::new() };
        joined(&reader.now(), &room)["summary"]["m.heroes"].clone()
    };
    let named =
        |range: std::ops::Range<usize>| json!(users[range].iter().map(|u| &u.user).collect::<Vec<_>>());
    assert_eq!(heroes(&users[0]), named(1..6));
    assert_eq!(heroes(&users[5]), named(0..5));
    let name = format!("/_matrix/client/v3/rooms/{room}/state/m.room.name/");
    users[0].put(&name, json!({ "name": "Named" })).ok();
    assert_eq!(heroes(&users[5]), Value::Null);
    users[0].put(&name, json!({ "name": "" })).ok();
    assert_eq!(heroes(&users[5]), named(0..5), "an empty name is none");
    users[1..6].iter().for_each(|user| act(user, &room, "leave"));
    assert_eq!(heroes(&users[0]), json!([users[6].user]), "who is invited counts");
    act(&users[6], &room, "leave");
    assert_eq!(heroes(&users[0]).as_array().map(Vec::len), Some(5), "then those who left");
}
