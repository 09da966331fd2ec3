//! Servers that forge, lie, repeat themselves without end, or never answer: what they send changes nothing, costs little,
//! and keeps nobody else waiting.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ruma::{OwnedEventId, OwnedRoomId, RoomVersionId};
use serde_json::{Value, json, value::to_raw_value};

use super::{
    peer::Peer,
    shared_room::{Scene, V3},
    support::runtime,
};

const V1: &str = "/_matrix/federation/v1";

#[test]
fn a_past_without_end_is_given_up_after_some_rounds() {
    let scene = Scene::new(RoomVersionId::V11);
    let seen = scene.seen();
    // A chain of which the beginning is never shown: whatever is asked for, there is something before it.
    let (mut prev, mut chain, mut ids) =
        (vec![OwnedEventId::try_from("$nothing").expect("an ID")], Vec::new(), Vec::new());
    for n in 0..300 {
        let (id, event) = scene.message(&prev, &n.to_string());
        prev = vec![id.clone()];
        chain.push(event);
        ids.push(id);
    }
    scene.peer.answers_with(&format!("{V1}/get_missing_events/"), move |asked| {
        let latest = asked["latest_events"][0].as_str().expect("an ID");
        let at = ids.iter().position(|id| *id == *latest).unwrap_or(ids.len());
        (200, json!({ "events": chain[at.saturating_sub(20)..at].to_vec() }))
    });
    scene.peer.says(&format!("{V1}/state_ids/"), 404, json!({ "errcode": "M_NOT_FOUND" }));
    let (id, last) = scene.message(&prev, "the last");
    scene.taken(&[last], &[id]);
    let asked = scene.peer.heard().iter().filter(|heard| heard.path.contains("get_missing_events")).count();
    assert_eq!(asked, 10);
    assert_eq!(scene.seen(), seen, "nothing of it is shown");
}

#[test]
fn a_state_that_is_made_up_makes_nobody_powerful() {
    let scene = Scene::new(RoomVersionId::V11);
    let create = scene.state("m.room.create", "").expect("is there");
    let me = scene.state("m.room.member", &scene.rita).expect("is there");
    let event = |kind: &str,
                 key: Option<&str>,
                 content: Value,
                 auth: Vec<OwnedEventId>,
                 prev: Vec<OwnedEventId>| {
        let mut event = json!({ "type": kind, "room_id": scene.room, "sender": scene.rita, "content": content,
            "origin_server_ts": 1_700_000_000_000_u64, "depth": 60, "prev_events": prev, "auth_events": auth });
        if let Some(key) = key {
            event["state_key"] = key.into();
        }
        scene.peer.event(&scene.rules, event)
    };
    let own = scene.state("m.room.power_levels", "").expect("is there");
    let (levels, levels_event) = event(
        "m.room.power_levels",
        Some(""),
        json!({ "users": { &scene.rita: 100 } }),
        vec![create.clone(), me.clone(), own],
        scene.ends(),
    );
    let missing =
        event("m.room.message", None, json!({}), vec![create.clone(), me.clone()], vec![levels.clone()]);
    let (ban, ban_event) = event(
        "m.room.member",
        Some(&*scene.alice.user),
        json!({ "membership": "ban" }),
        vec![create.clone(), me.clone(), levels.clone()],
        vec![missing.0.clone()],
    );
    let store = &scene.server.app().store;
    let mut state = runtime().block_on(store.current_state_ids(&scene.room)).expect("reads");
    state.insert(("m.room.power_levels".to_owned(), String::new()), levels.clone());
    let pdu_ids: Vec<_> = state.values().cloned().collect();
    let events = [(levels.clone(), levels_event), missing.clone()];
    scene.peer.says(&format!("{V1}/get_missing_events/"), 200, json!({ "events": [] }));
    scene.peer.says(
        &format!("{V1}/state_ids/"),
        200,
        json!({ "pdu_ids": pdu_ids, "auth_chain_ids": pdu_ids }),
    );
    scene.peer.says(&format!("{V1}/event_auth/"), 404, json!({ "errcode": "M_NOT_FOUND" }));
    scene.peer.answers_with_path(&format!("{V1}/event/"), move |path, _| {
        let wanted = path.rsplit('/').next().expect("a path").replace("%24", "$");
        match events.iter().find(|(id, _)| *id == *wanted) {
            Some((_, event)) => (200, json!({ "pdus": [event] })),
            None => (404, json!({ "errcode": "M_NOT_FOUND" })),
        }
    });
    scene.taken(&[ban_event], &[ban]);
    let members = scene.alice.get(&format!("{V3}/rooms/{}/joined_members", scene.room)).ok();
    assert!(members["joined"][&*scene.alice.user].is_object(), "{members}");
    assert_ne!(scene.state("m.room.power_levels", ""), Some(levels));
}

#[test]
fn a_state_that_is_no_state_of_the_room_is_not_believed() {
    let scene = Scene::new(RoomVersionId::V11);
    let (seen, ends) = (scene.seen(), scene.ends());
    let state: Vec<OwnedEventId> = {
        let store = &scene.server.app().store;
        let state = runtime().block_on(store.current_state_ids(&scene.room)).expect("reads");
        state.into_values().collect()
    };
    let (twice, twice_event) = scene.next(
        "m.room.member",
        Some(&scene.rita),
        json!({ "membership": "join", "displayname": "again" }),
    );
    let without_create: Vec<_> =
        state.iter().filter(|id| Some(*id) != scene.state("m.room.create", "").as_ref()).cloned().collect();
    let with_two = [state.clone(), vec![twice.clone()]].concat();
    let unknown = vec![OwnedEventId::try_from("$unknown").expect("an ID"); 300];
    scene.peer.says(&format!("{V1}/get_missing_events/"), 200, json!({ "events": [{}, 1, "x"] }));
    scene.peer.says(&format!("{V1}/event/"), 200, json!({ "pdus": [twice_event] }));
    scene.peer.says(&format!("{V1}/state/"), 200, json!({ "pdus": [{}], "auth_chain": [1] }));
    for (n, wrong) in [json!(without_create), json!(with_two), json!(unknown), json!([1]), json!({})]
        .into_iter()
        .enumerate()
    {
        scene.peer.says(&format!("{V1}/state_ids/"), 200, json!({ "pdu_ids": wrong, "auth_chain_ids": [] }));
        let far = OwnedEventId::try_from(format!("$far{n}")).expect("an ID");
        let (id, event) = scene.message(&[far], "believe me");
        scene.taken(&[event], &[id]);
    }
    assert_eq!((scene.seen(), scene.ends()), (seen, ends));
}

#[test]
fn an_event_that_names_events_of_another_room_is_no_event_of_its_own() {
    let scene = Scene::new(RoomVersionId::V11);
    let made = scene.alice.post(&format!("{V3}/createRoom"), json!({ "preset": "public_chat" })).ok();
    let other: OwnedRoomId = serde_json::from_value(made["room_id"].clone()).expect("an ID");
    let store = &scene.server.app().store;
    let of_other = runtime().block_on(store.extremities(&other)).expect("reads")[0].event_id.clone();
    let (seen, ends) = (scene.seen(), scene.ends());
    for prev in [vec![of_other.clone()], [ends.clone(), vec![of_other.clone()]].concat()] {
        let (id, event) = scene.message(&prev, "across");
        let answer = scene.send(&[event]);
        assert!(answer[id.as_str()]["error"].is_string(), "{answer}");
    }
    let mut event = scene.message(&ends, "allowed by another room").1;
    event["auth_events"].as_array_mut().expect("a list").push(of_other.as_str().into());
    for key in ["hashes", "signatures"] {
        event.as_object_mut().expect("an object").remove(key);
    }
    let (id, event) = scene.peer.event(&scene.rules, event);
    let answer = scene.send(&[event]);
    assert!(answer[id.as_str()]["error"].is_string(), "{answer}");
    assert_eq!((scene.seen(), scene.ends()), (seen, ends));
}

#[test]
fn what_follows_something_that_nobody_tells_is_here_by_the_state_before_it() {
    let scene = Scene::new(RoomVersionId::V11);
    let state: Vec<OwnedEventId> = {
        let store = &scene.server.app().store;
        let state = runtime().block_on(store.current_state_ids(&scene.room)).expect("reads");
        state.into_values().collect()
    };
    let lost = OwnedEventId::try_from("$lost").expect("an ID");
    let (first, first_event) = scene.message(&[lost], "after what is lost");
    let (second, second_event) = scene.message(std::slice::from_ref(&first), "after that");
    scene.peer.says(&format!("{V1}/get_missing_events/"), 200, json!({ "events": [first_event] }));
    let (known, before) = (format!("event_id={}", first.as_str().replace('$', "%24")), state.clone());
    scene.peer.answers_with_path(&format!("{V1}/state_ids/"), move |path, _| match path.contains(&known) {
        true => (200, json!({ "pdu_ids": before, "auth_chain_ids": [] })),
        false => (404, json!({ "errcode": "M_NOT_FOUND" })),
    });
    scene.peer.says(&format!("{V1}/event/"), 404, json!({ "errcode": "M_NOT_FOUND" }));
    scene.taken(&[second_event], std::slice::from_ref(&second));
    assert_eq!(scene.seen()[..2], [second.to_string(), first.to_string()]);
}

#[test]
fn who_never_answers_keeps_nobody_else_waiting() {
    let scene = Scene::new(RoomVersionId::V11);
    let other = Peer::start(&scene.ca, Duration::ZERO);
    // A second server's user comes in, by an event that follows the end of the room.
    let rosa = format!("@rosa:{}", other.name);
    let auth: Vec<_> = ["m.room.create", "m.room.power_levels", "m.room.join_rules"]
        .map(|kind| scene.state(kind, ""))
        .into();
    let event = |kind: &str, auth: &[Option<OwnedEventId>], content: Value| {
        let mut event = json!({ "type": kind, "room_id": scene.room, "sender": rosa, "content": content,
            "origin_server_ts": 1_700_000_000_000_u64, "depth": 60, "prev_events": scene.ends(), "auth_events": auth });
        if kind == "m.room.member" {
            event["state_key"] = rosa.as_str().into();
        }
        other.event(&scene.rules, event)
    };
    let send = |id: &str, event: &Value| {
        let request = other.pdus(&scene.name, id, std::slice::from_ref(event));
        other.send(&scene.name, &request).ok()["pdus"].clone()
    };
    let (join, joining) = event("m.room.member", &auth, json!({ "membership": "join" }));
    assert_eq!(send("1", &joining), json!({ (join.to_string()): {} }));
    scene.peer.says(&format!("{V1}/get_missing_events/"), 0, Value::Null);
    let far = OwnedEventId::try_from("$far").expect("an ID");
    let (_, stuck) = scene.message(&[far], "stuck");
    let app = Arc::clone(scene.server.app());
    let text = to_raw_value(&stuck).expect("JSON");
    let taken =
        runtime().block_on(app.take_events(&scene.peer.name, &[&text], |_| None)).expect("room for it");
    let begun = Instant::now();
    let auth = [auth[0].clone(), auth[1].clone(), Some(join)];
    let (said, saying) = event("m.room.message", &auth, json!({ "body": "I am heard" }));
    assert_eq!(send("2", &saying), json!({ (said.to_string()): {} }));
    assert_eq!(scene.seen()[0], said.as_str());
    let path = format!("{V3}/rooms/{}/send/m.room.message/1", scene.room);
    scene.alice.put(&path, json!({ "msgtype": "m.text", "body": "so am I" })).ok();
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    drop(taken);
}

#[test]
fn what_is_too_large_or_wrongly_made_is_dropped_and_the_rest_of_the_transaction_counts() {
    let scene = Scene::new(RoomVersionId::V11);
    let (id, good) = scene.message(&scene.ends(), "good");
    let mut huge = good.clone();
    huge["content"]["body"] = "x".repeat(70_000).into();
    let mut many = good.clone();
    many["prev_events"] = (0..21).map(|n| format!("$e{n}")).collect::<Vec<_>>().into();
    let mut stranger = good.clone();
    stranger["sender"] = "@somebody:elsewhere.example".into();
    let answer = scene.send(&[huge, many, stranger, good.clone(), good]);
    assert_eq!(answer[id.as_str()], json!({}), "{answer}");
    assert_eq!(scene.seen()[0], id.as_str());
}
