//! What gateways are told of rooms that are not here.

use ruma::RoomVersionId;
use serde_json::{Value, json};

use super::{
    push::{SET, pusher, with_gateways},
    push_gateway::{Gateway, Mood},
    room_visits::{Scene, V3},
    support::until,
};

#[test]
fn an_invite_to_a_room_that_is_not_here_is_pushed_with_what_it_shows_of_the_room() {
    let gateway = Gateway::start();
    let mut scene = Scene::configured(RoomVersionId::V11, json!({ "join_rule": "invite" }), with_gateways);
    let bob = scene.server.register("bob");
    for (client, key) in [(&scene.alice, "hers"), (&bob, "his")] {
        let mut whole = pusher(&gateway, key);
        whole["data"] = json!({ "url": gateway.url() });
        client.post(SET, whole).ok();
    }
    // Who wants to hear of no invites does not.
    let rule = format!("{V3}/pushrules/global/override/.m.rule.invite_for_me/enabled");
    bob.put(&rule, json!({ "enabled": false })).ok();
    scene.invite_user(&bob.user, |_| {}).1.ok();
    let rita = json!({ "type": "m.room.member", "state_key": scene.rita, "sender": scene.rita,
        "content": { "membership": "join", "displayname": "Rita" } });
    let show = |body: &mut Value| {
        body["invite_room_state"].as_array_mut().expect("a list").push(rita.clone());
    };
    let (id, answer) = scene.invite(show);
    answer.ok();
    let mut told = gateway.until_told(1).remove(0);
    let device = told.as_object_mut().and_then(|told| told.remove("devices")).expect("a device");
    assert_eq!((&device[0]["pushkey"], &device[0]["tweaks"]["sound"]), (&json!("hers"), &json!("default")));
    let expected = json!({
        "event_id": id, "room_id": scene.room, "type": "m.room.member", "sender": scene.rita, "prio": "high",
        "sender_display_name": "Rita", "room_name": "Rita's", "user_is_target": true,
        "content": { "membership": "invite" }, "counts": { "unread": 0 },
    });
    assert_eq!(told, expected);
    // Declined, and invited again while the gateway takes nothing: that is told after a restart, and the first not again.
    scene.lets("leave", "leave", &[]);
    scene.alice.post(&format!("{V3}/rooms/{}/leave", scene.room), json!({})).ok();
    gateway.set(Mood::Refuses(503));
    let asked = gateway.asked();
    scene.add("m.room.topic", "", json!({ "topic": "Plants" }), &[]);
    let (again, answer) = scene.invite(|_| {});
    answer.ok();
    until("the gateway is asked", || gateway.asked() > asked);
    let _server = scene.server.restart_with(|config| {
        config.server_name = scene.name.clone();
        with_gateways(config);
    });
    gateway.set(Mood::Takes);
    gateway.until_told(2);
    assert_eq!(gateway.events(), [id.as_str(), again.as_str()]);
}
