//! Invites of users here that another server only says: they are events of the room, and invite nobody (L7).

use std::collections::BTreeMap;

use ruma::RoomVersionId;
use serde_json::{Value, json};

use super::{
    shared_room::{Scene, V3},
    support::{Client, TestServer},
    sync::Reader,
};

/// What the user is told of invites, now and by everything that tells rooms anew.
fn invites(user: &Client, room: &str) -> BTreeMap<&'static str, bool> {
    let has = |rooms: &Value| rooms.as_object().is_some_and(|rooms| rooms.contains_key(room));
    let sync = user.get(&format!("{V3}/sync")).ok();
    let initial = user.get(&format!("{V3}/initialSync")).ok()["rooms"].clone();
    let initial = initial.as_array().expect("a list").iter().any(|told| told["room_id"] == room);
    let list =
        json!({ "lists": { "all": { "ranges": [[0, 9]], "timeline_limit": 1, "required_state": [] } } });
    let sliding = user.post("/_matrix/client/unstable/org.matrix.simplified_msc3575/sync", list).ok();
    [("sync", has(&sync["rooms"]["invite"])), ("initialSync", initial), ("sliding", has(&sliding["rooms"]))]
        .into()
}

#[track_caller]
fn is_told_everywhere(user: &Client, room: &str, expected: bool) {
    let told = invites(user, room);
    assert!(told.values().all(|told| *told == expected), "{told:?}");
}

fn ask(scene: &Scene, room: &str, (id, event): (&str, &Value)) -> super::support::Answer {
    let path = format!("/_matrix/federation/v2/invite/{room}/{id}");
    let body = json!({ "room_version": scene.version, "event": event, "invite_room_state": [] });
    let request = scene.peer.signed(&scene.name, "PUT", &path, body.to_string().as_bytes());
    scene.peer.send(&scene.name, &request)
}

#[test]
fn l7_no_event_of_a_shared_room_invites_somebody_whose_server_was_not_asked() {
    for version in [RoomVersionId::V6, RoomVersionId::V11, RoomVersionId::V12] {
        let scene = Scene::new(version);
        let bob = scene.server.register("bob");
        let room = scene.room.to_string();
        let path = format!("{V3}/user/{}/account_data/m.invite_permission_config", bob.user);
        bob.put(&path, json!({ "default_action": "block" })).ok();
        let levels = format!("{V3}/rooms/{room}/state/m.room.power_levels");
        let mut anybody = scene.alice.get(&levels).ok();
        anybody["invite"] = 0.into();
        scene.alice.put(&levels, anybody).ok();
        let mut stream = Reader::new(&bob);
        let invite = |reason: &str| {
            let content = json!({ "membership": "invite", "is_direct": true, "reason": reason });
            scene.next("m.room.member", Some(&bob.user), content)
        };
        let (id, event) = invite("said");
        ask(&scene, &room, (id.as_str(), &event)).refused(403, "M_INVITE_BLOCKED");
        scene.taken(&[event], std::slice::from_ref(&id));
        assert!(scene.seen().contains(&id.to_string()), "who is in the room sees it");
        // A signature that is none is nobody's word.
        let (id, mut event) = invite("forged");
        event["signatures"][scene.name.as_str()] = json!({ "ed25519:1": "A".repeat(86) });
        scene.taken(&[event], std::slice::from_ref(&id));
        is_told_everywhere(&bob, &room, false);
        assert!(stream.now()["rooms"].is_null(), "nobody is told");
        // Nor when it becomes state where sides of the room meet.
        let before = scene.ends();
        let (side, event) = scene.after(
            &before,
            "m.room.member",
            Some(&bob.user),
            json!({ "membership": "invite", "reason": "from the side" }),
        );
        let (other, message) = scene.message(&before, "another side");
        scene.taken(&[message, event], &[other.clone(), side.clone()]);
        let (meet, message) = scene.message(&[other, side], "both");
        scene.taken(&[message], &[meet]);
        assert!(scene.ends().len() == 1);
        is_told_everywhere(&bob, &room, false);
        // Whom they let in is shown, and one of the others does not take it back.
        bob.put(&path, json!({})).ok();
        let (id, event) = invite("asked");
        let signed = ask(&scene, &room, (id.as_str(), &event)).ok()["event"].clone();
        scene.taken(&[signed], &[id]);
        is_told_everywhere(&bob, &room, true);
        assert!(stream.now()["rooms"]["invite"][&room].is_object());
        let (id, event) = invite("said again");
        scene.taken(&[event], &[id]);
        is_told_everywhere(&bob, &room, true);
        bob.post(&format!("{V3}/rooms/{room}/leave"), json!({})).ok();
        let (id, event) = invite("and again");
        scene.taken(&[event], &[id]);
        is_told_everywhere(&bob, &room, false);
        let server: TestServer = scene.server.restart_with(|config| config.server_name = scene.name.clone());
        is_told_everywhere(&server.log_in("bob"), &room, false);
    }
}

#[test]
fn who_is_invited_and_put_out_over_and_over_can_be_invited_there_no_more() {
    let scene = Scene::new(RoomVersionId::V11);
    let bob = scene.server.register("bob");
    let invite = |room: &str, n: usize| {
        let event = json!({ "type": "m.room.member", "room_id": room, "sender": scene.rita, "state_key": bob.user,
            "content": { "membership": "invite", "n": n }, "origin_server_ts": 1, "depth": 5,
            "prev_events": ["$a"], "auth_events": ["$b"] });
        let (id, event) = scene.peer.event(&scene.rules, event);
        ask(&scene, room, (id.as_str(), &event))
    };
    let take_back = |room: &str, n: usize| {
        let event = json!({ "type": "m.room.member", "room_id": room, "sender": scene.rita, "state_key": bob.user,
            "content": { "membership": "leave", "n": n }, "origin_server_ts": 1, "depth": 6,
            "prev_events": ["$a"], "auth_events": ["$b"] });
        let (id, event) = scene.peer.event(&scene.rules, event);
        assert_eq!(scene.send(&[event]), json!({ id.as_str(): {} }));
    };
    let elsewhere = |name: &str| format!("!{name}:{}", scene.peer.name);
    let (often, other) = (elsewhere("often"), elsewhere("other"));
    for n in 0..50 {
        invite(&often, n).ok();
        take_back(&often, n);
    }
    invite(&often, 50).refused(403, "M_FORBIDDEN");
    is_told_everywhere(&bob, &often, false);
    invite(&other, 0).ok();
    is_told_everywhere(&bob, &other, true);
}
