//! `/sync` for a client that asks for the state after the timeline: what it is told there is all that it needs.

use std::collections::{BTreeMap, BTreeSet};

use pilotlight::core::rng::Rng;
use serde_json::{Value, json};

use super::{
    support::{Client, TestServer, times},
    sync::{Reader, create_room, joined, room_of, same, send},
};

const NAMES: [(&str, &str); 2] = [
    ("use_state_after", "state_after"),
    ("org.matrix.msc4222.use_state_after", "org.matrix.msc4222.state_after"),
];

/// Type and key of state → the event.
type State = BTreeMap<(String, String), String>;

fn fold(state: &mut State, events: &Value) {
    for event in events.as_array().into_iter().flatten().filter(|event| event["state_key"].is_string()) {
        let text = |key: &str| event[key].as_str().expect("is a string").to_owned();
        state.insert((text("type"), text("state_key")), text("event_id"));
    }
}

fn state_of(client: &Client, room: &str) -> State {
    let mut state = State::new();
    fold(&mut state, &client.get(&format!("/_matrix/client/v3/rooms/{room}/state")).ok());
    state
}

fn set(client: &Client, room: &str, kind: &str, key: &str, content: Value) {
    client.put(&format!("/_matrix/client/v3/rooms/{room}/state/{kind}/{key}"), content).ok();
}

#[test]
fn the_state_after_a_timeline_stands_in_place_of_that_before_it_by_the_name_that_was_asked_for() {
    let server = TestServer::driven();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let room = room_of(&alice, &[&bob]);
    for (asked, key) in NAMES {
        let mut reader = Reader { client: bob.clone(), since: String::new(), with: format!("&{asked}=true") };
        let first = joined(&reader.now(), &room).clone();
        let mut told = State::new();
        fold(&mut told, &first[key]["events"]);
        assert_eq!(told, state_of(&bob, &room), "all of it, whatever the timeline has");
        assert_eq!(first["state"], Value::Null);

        send(&alice, &room, &format!("{key}1"), "no state");
        let next = joined(&reader.now(), &room).clone();
        assert_eq!(
            (&next[key], &next["state"]),
            (&json!({ "events": [] }), &Value::Null),
            "it is there, and empty"
        );
        set(&alice, &room, "m.room.topic", "", json!({ "topic": key }));
        let next = joined(&reader.now(), &room).clone();
        let (after, timeline) = (&next[key]["events"], &next["timeline"]["events"]);
        assert_eq!((after, after.as_array().map(Vec::len)), (timeline, Some(1)));
        // Told of the room that they leave, too, and nothing that came after it.
        bob.post(&format!("/_matrix/client/v3/rooms/{room}/leave"), json!({})).ok();
        set(&alice, &room, "m.room.topic", "", json!({ "topic": "not for Bob" }));
        let left = reader.now()["rooms"]["leave"][&room].clone();
        let last = left[key]["events"].as_array().expect("a list").clone();
        assert_eq!((last.len(), &last[0]["content"]["membership"]), (1, &json!("leave")));
        bob.post(&format!("/_matrix/client/v3/join/{room}"), json!({})).ok();
    }
    bob.get("/_matrix/client/v3/sync?use_state_after=perhaps").refused(400, "M_INVALID_PARAM");
    let mut plain = Reader { client: bob, since: String::new(), with: "&use_state_after=false".to_owned() };
    let answer = plain.now();
    let entry = joined(&answer, &room);
    assert!(entry["state"].is_object() && NAMES.iter().all(|(_, key)| entry[*key].is_null()), "{entry}");
}

/// Whatever happens between two looks, with timelines that have gaps, filters that keep state out of them, and over
/// restarts: who reads the state after only has it as the room has it.
#[test]
fn who_reads_only_the_state_after_has_it_as_the_room_has_it() {
    let filters = [
        json!({}),
        json!({ "room": { "timeline": { "limit": 2 } } }),
        json!({ "room": { "timeline": { "limit": 0 } } }),
        json!({ "room": { "timeline": { "types": ["m.room.message"] } } }),
    ];
    for seed in 0..(3 * times() as u64) {
        let mut rng = Rng::new(seed);
        let mut server = TestServer::driven();
        let mut people = ["alice", "bob", "carol"].map(|name| server.register(name));
        let room = room_of(&people[0], &[&people[1], &people[2]]);
        let levels = json!({ "state_default": 0, "events_default": 0 });
        set(&people[0], &room, "m.room.power_levels", "", levels);
        let mut readers: Vec<(Reader, State)> = filters
            .iter()
            .map(|filter| {
                let with = format!("&use_state_after=true&filter={}", encoded(filter));
                (Reader { client: people[0].clone(), since: String::new(), with }, State::new())
            })
            .collect();
        for step in 0..60_u32 {
            let who = rng.range(0..3) as usize;
            let kind = ["m.room.topic", "org.example.a", "org.example.b"][rng.range(0..3) as usize];
            match rng.range(0..8) {
                0..3 => drop(send(&people[0], &room, &step.to_string(), "words")),
                3..5 => {
                    set(&people[0], &room, kind, ["", "k"][rng.range(0..2) as usize], json!({ "n": step }))
                }
                5 if who > 0 => {
                    // Refused to who is out already: nothing comes of it.
                    people[who].post(&format!("/_matrix/client/v3/rooms/{room}/leave"), json!({}));
                }
                6 if who > 0 => {
                    people[who].post(&format!("/_matrix/client/v3/join/{room}"), json!({})).ok();
                }
                7 if step % 20 == 7 => {
                    server = server.restart();
                    people = people.map(|client| same(&server, &client));
                    readers.iter_mut().for_each(|(reader, _)| reader.client = same(&server, &reader.client));
                }
                _ => {
                    let (reader, state) = &mut readers[rng.range(0..4) as usize];
                    fold(state, &joined(&reader.now(), &room)["state_after"]["events"]);
                }
            }
        }
        for (n, (reader, mut state)) in readers.into_iter().enumerate() {
            let mut reader = reader;
            fold(&mut state, &joined(&reader.now(), &room)["state_after"]["events"]);
            assert_eq!(state, state_of(&people[0], &room), "seed {seed}, filter {n}");
        }
    }
}

#[test]
fn with_lazy_members_who_speaks_is_told_and_who_changed_too() {
    let server = TestServer::driven();
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| server.register(name));
    let room = create_room(&alice, json!({ "preset": "public_chat" }));
    for who in [&bob, &carol] {
        who.post(&format!("/_matrix/client/v3/join/{room}"), json!({})).ok();
    }
    for n in 0..25 {
        send(&alice, &room, &n.to_string(), "x");
    }
    let lazy = json!({ "room": { "state": { "lazy_load_members": true }, "timeline": { "limit": 3 } } });
    let with = format!("&use_state_after=true&filter={}", encoded(&lazy));
    let mut reader = Reader { client: alice.clone(), since: String::new(), with };
    let members = |answer: &Value| {
        let events = joined(answer, &room)["state_after"]["events"].as_array().expect("a list").clone();
        let of_members = events.into_iter().filter(|event| event["type"] == "m.room.member");
        of_members
            .map(|event| event["state_key"].as_str().expect("a key").to_owned())
            .collect::<BTreeSet<_>>()
    };
    let told = |users: &[&Client]| users.iter().map(|user| user.user.clone()).collect::<BTreeSet<_>>();
    assert_eq!(members(&reader.now()), told(&[&alice]));
    send(&bob, &room, "b", "x");
    assert_eq!(members(&reader.now()), told(&[&bob]));
    send(&bob, &room, "b2", "x");
    assert_eq!(members(&reader.now()), told(&[]));
    carol.post(&format!("/_matrix/client/v3/rooms/{room}/leave"), json!({})).ok();
    assert_eq!(members(&reader.now()), told(&[&carol]));
}

fn encoded(filter: &Value) -> String {
    filter.to_string().bytes().map(|byte| format!("%{byte:02X}")).collect()
}
