//! A member who forks a room over and over: it keeps few ends, loses nothing, and the next event follows them all.

use ruma::{OwnedEventId, RoomVersionId};
use serde_json::{Value, json};

use super::shared_room::{Scene, V3};

/// The ends that one event can follow.
const MAX_ENDS: usize = 20;

fn message(scene: &Scene, transaction: &str) -> String {
    let path = format!("{V3}/rooms/{}/send/m.room.message/{transaction}", scene.room);
    let sent = scene.alice.put(&path, json!({ "msgtype": "m.text", "body": transaction })).ok();
    sent["event_id"].as_str().expect("an ID").to_owned()
}

/// Sends events by fifties; after each there are few ends.
fn fan_out(scene: &Scene, events: Vec<(OwnedEventId, Value)>) {
    for some in events.chunks(50) {
        let (ids, pdus): (Vec<_>, Vec<_>) = some.iter().cloned().unzip();
        scene.taken(&pdus, &ids);
        let ends = scene.ends().len();
        assert!(ends <= MAX_ENDS, "{ends}");
    }
}

#[test]
fn many_events_that_follow_the_same_one_leave_few_ends_and_others_hear_of_it_when_they_have_to() {
    let scene = Scene::new(RoomVersionId::V11);
    let before = scene.ends();
    let events: Vec<_> = (0..150).map(|n| scene.message(&before, &format!("m{n}"))).collect();
    let ids: Vec<String> = events.iter().map(|(id, _)| id.to_string()).collect();
    fan_out(&scene, events);
    let path = format!("{V3}/rooms/{}/messages?dir=b&limit=300", scene.room);
    let chunk = scene.alice.get(&path).ok()["chunk"].clone();
    let seen: Vec<&str> =
        chunk.as_array().expect("a list").iter().filter_map(|e| e["event_id"].as_str()).collect();
    assert!(ids.iter().all(|id| seen.contains(&&**id)), "all are shown");
    let ends = scene.ends();
    let said = message(&scene, "after");
    assert_eq!(scene.ends(), [&*said], "it follows all that there was");
    super::support::until("it is told", || {
        scene.peer.events().iter().any(|pdu| pdu["content"]["body"] == "after")
    });
    let told = scene.peer.events();
    let kinds: Vec<_> = told.iter().map(|pdu| pdu["type"].as_str().expect("a type")).collect();
    assert!(!kinds.contains(&"org.matrix.dummy_event"), "{kinds:?}");
    let follows =
        &told.iter().find(|pdu| pdu["content"]["body"] == "after").expect("is there")["prev_events"];
    assert_eq!(follows.as_array().expect("a list").len(), ends.len());
    // Whoever asks what is between is told.
    let body = json!({ "earliest_events": before, "latest_events": [said], "limit": 20, "min_depth": 0 });
    let path = format!("/_matrix/federation/v1/get_missing_events/{}", scene.room);
    let request = scene.peer.signed(&scene.name, "POST", &path, body.to_string().as_bytes());
    let missing = scene.peer.send(&scene.name, &request).ok()["events"].clone();
    let missing = missing.as_array().expect("a list");
    assert!(missing.iter().any(|pdu| pdu["type"] == "org.matrix.dummy_event"), "{missing:?}");
}

#[test]
fn many_states_that_differ_are_drawn_together_wherever_somebody_here_is_in_the_room() {
    for (version, is_silent) in
        [(RoomVersionId::V11, false), (RoomVersionId::V12, false), (RoomVersionId::V11, true)]
    {
        let scene = Scene::new(version.clone());
        if is_silent {
            // Nobody may say anything from here on, nor take that back.
            let levels =
                json!({ "events_default": 100, "state_default": 100, "users_default": 0, "users": {} });
            let path = format!("{V3}/rooms/{}/state/m.room.power_levels", scene.room);
            scene.alice.put(&path, levels).ok();
        }
        let before = scene.ends();
        let named = |n: usize| json!({ "membership": "join", "displayname": format!("Rita {n}") });
        let events: Vec<_> =
            (0..100).map(|n| scene.after(&before, "m.room.member", Some(&scene.rita), named(n))).collect();
        let ids: Vec<String> = events.iter().map(|(id, _)| id.to_string()).collect();
        fan_out(&scene, events);
        let state = scene.state("m.room.member", &scene.rita).expect("is there").to_string();
        assert!(ids.contains(&state), "{version}: one of them is state");
        let joined = scene.alice.get(&format!("{V3}/rooms/{}/joined_members", scene.room)).ok();
        assert_eq!(joined["joined"].as_object().expect("members").len(), 2, "{version}: {joined}");
        if !is_silent {
            let said = message(&scene, "after");
            assert_eq!(scene.ends(), [&*said], "{version}");
        }
    }
}
