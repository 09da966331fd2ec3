//! Application services whose users are invited to rooms of other servers, and are in such.

use ruma::{OwnedEventId, RoomVersionId, ServerName};
use serde_json::{Value, json};

use super::{
    app_services::{Registered, ghost},
    bridge::Bridge,
    room_visits::{Scene, V3},
    support::until,
};

const V1: &str = "/_matrix/federation/v1";

fn memberships(bridge: &Bridge, user: &str) -> Vec<Value> {
    let events = bridge.told("events").into_iter().filter(|event| event["state_key"] == user);
    events.map(|event| event["content"]["membership"].clone()).collect()
}

fn bodies(bridge: &Bridge) -> Vec<Value> {
    let events = bridge.told("events").into_iter().filter(|event| event["type"] == "m.room.message");
    events.map(|event| event["content"]["body"].clone()).collect()
}

fn send(scene: &Scene, number: &str, (id, event): &(OwnedEventId, Value)) {
    let name: &ServerName = &scene.name;
    let request = scene.peer.pdus(name, number, std::slice::from_ref(event));
    assert_eq!(scene.peer.send(name, &request).ok()["pdus"], json!({ id.to_string(): {} }));
}

#[test]
fn an_application_service_is_told_of_invites_to_rooms_elsewhere_and_of_all_that_is_said_there_from_then_on() {
    let bridge = Bridge::start();
    let irc = Registered::new("irc", Some(&bridge.url()), "");
    let path = irc.path();
    let scene = Scene::configured(RoomVersionId::V11, json!({ "join_rule": "public" }), |config| {
        config.application_services = vec![path];
    });
    let service = irc.client(&scene.server);
    let user = ghost(&service, "_irc_a");
    // What was said before there was anybody to hear it.
    let (before, said_before) = scene.message(&[scene.id(4)], 6, "before");
    scene.invite_user(&user, |_| {}).1.ok();
    until("it is told of the invite", || memberships(&bridge, &user) == ["invite"]);
    let invite =
        bridge.told("events").into_iter().find(|event| event["state_key"] == user).expect("the invite");
    assert_eq!(invite["room_id"], scene.room);
    assert_eq!(invite["unsigned"]["invite_room_state"][0]["content"]["name"], "Rita's");

    service.post(&format!("{V3}/rooms/{}/leave?user_id={user}", scene.room), json!({})).ok();
    until("it is told of the refusal", || memberships(&bridge, &user) == ["invite", "leave"]);

    scene.lets_user(&user, ("join", "join"), &scene.all());
    let path = format!("{V3}/join/{}?via={}&user_id={user}", scene.room, scene.peer.name);
    service.post(&path, json!({})).ok();
    until("it is told of the joining", || memberships(&bridge, &user) == ["invite", "leave", "join"]);
    let end = bridge.told("events").last().expect("the joining")["event_id"].clone();
    let end: OwnedEventId = serde_json::from_value(end).expect("an ID");
    let hello = scene.message(&[&end], 20, "hello");
    send(&scene, "1", &hello);
    until("it is told of a message", || bodies(&bridge) == ["hello"]);
    // What was before is for who scrolls back, and no news.
    let mut past: Vec<Value> = scene.all();
    past.push(said_before);
    past.reverse();
    scene.peer.says(&format!("{V1}/backfill/"), 200, json!({ "pdus": past }));
    scene.peer.says(&format!("{V1}/state_ids/"), 404, json!({ "errcode": "M_NOT_FOUND" }));
    let page = service.get(&format!("{V3}/rooms/{}/messages?dir=b&limit=20&user_id={user}", scene.room)).ok();
    let shown = page["chunk"].as_array().expect("a list").iter();
    assert!(shown.clone().any(|event| event["event_id"] == before.as_str()), "{page}");
    send(&scene, "2", &scene.message(&[&hello.0], 21, "again"));
    until("it is told of the next", || bodies(&bridge).contains(&json!("again")));
    assert_eq!(bodies(&bridge), ["hello", "again"]);
    // What comes late of a time when its user was there is news.
    let (late, after) = (scene.message(&[&hello.0], 21, "late"), scene.message(&[&hello.0], 21, "side"));
    let last = scene.message(&[&late.0, &after.0], 22, "last");
    send(&scene, "3", &after);
    scene.peer.says(&format!("{V1}/get_missing_events/"), 200, json!({ "events": [] }));
    scene.peer.says(&format!("{V1}/event/"), 404, json!({ "errcode": "M_NOT_FOUND" }));
    let state: Vec<_> = scene.state.iter().map(|(id, _)| id.clone()).collect();
    scene.peer.says(&format!("{V1}/state_ids/"), 200, json!({ "pdu_ids": state, "auth_chain_ids": state }));
    send(&scene, "4", &last);
    until("it is told of what follows", || bodies(&bridge).contains(&json!("last")));
    send(&scene, "5", &late);
    until("it is told of what came late", || bodies(&bridge).contains(&json!("late")));
}
