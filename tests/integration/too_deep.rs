//! What others say that is so deep that some clients could not read an answer with it: it is not in any, and everything else is.

use ruma::RoomVersionId;
use serde_json::{Value, json};

use super::shared_room::{Scene, V3};

/// Objects within each other, this one counted.
fn deep(depth: usize) -> Value {
    (0..depth).fold(json!({}), |inner, _| json!({ "a": inner }))
}

/// How deep a value is.
fn depth(value: &Value) -> usize {
    match value {
        Value::Object(object) => 1 + object.values().map(depth).max().unwrap_or(0),
        Value::Array(list) => 1 + list.iter().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

#[test]
fn an_event_that_is_too_deep_is_taken_and_shown_without_its_content() {
    let scene = Scene::new(RoomVersionId::V11);
    let (id, message) = scene.next("m.room.message", None, json!({ "body": "x", "a": deep(115) }));
    scene.taken(&[message], std::slice::from_ref(&id));
    let member = json!({ "membership": "join", "a": deep(115) });
    let (member_id, member) = scene.next("m.room.member", Some(&scene.rita), member);
    scene.taken(&[member], std::slice::from_ref(&member_id));
    let (good, message) = scene.next("m.room.message", None, json!({ "body": "x", "a": deep(90) }));
    scene.taken(&[message], std::slice::from_ref(&good));
    assert_eq!(
        scene.state("m.room.member", &scene.rita),
        Some(member_id.clone()),
        "it is state all the same"
    );
    // Every answer is read by a parser that goes no deeper than 127.
    let sync = scene.alice.get(&format!("{V3}/sync")).ok();
    let events = sync["rooms"]["join"][scene.room.as_str()]["timeline"]["events"].clone();
    let shown = |id: &str| {
        let found = events.as_array().expect("a list").iter().find(|event| event["event_id"] == id);
        found.expect("is told")["content"].clone()
    };
    assert_eq!((shown(id.as_str()), shown(member_id.as_str())), (json!({}), json!({})));
    assert_eq!(depth(&shown(good.as_str())), 92);
    let (name, after) = scene.next("m.room.member", Some(&scene.rita), json!({ "membership": "join" }));
    scene.taken(&[after], std::slice::from_ref(&name));
    let event = scene.alice.get(&format!("{V3}/rooms/{}/event/{name}", scene.room)).ok();
    assert_eq!(event["unsigned"]["prev_content"], json!({}));
    assert_eq!(scene.seen()[0], name.as_str());
    for path in ["state", "members", "messages?dir=b"] {
        scene.alice.get(&format!("{V3}/rooms/{}/{path}", scene.room)).ok();
    }
}

#[test]
fn a_message_to_a_device_that_is_too_deep_is_dropped_and_the_next_one_comes() {
    let scene = Scene::new(RoomVersionId::V11);
    let edu = |id: &str, content: Value| {
        let messages = json!({ &scene.alice.user: { "*": content } });
        let content = json!({ "sender": scene.rita, "type": "m.x", "message_id": id, "messages": messages });
        json!({ "edu_type": "m.direct_to_device", "content": content })
    };
    let wrong = [
        json!({ "edu_type": "m.direct_to_device", "content": [scene.rita, "m.x", "list", {}] }),
        json!(["m.typing", { "room_id": scene.room, "user_id": scene.rita, "typing": true }]),
    ];
    let edus = [&wrong[..], &[edu("1", deep(110)), edu("2", deep(99))]].concat();
    scene.peer.send(&scene.name, &scene.peer.transaction(&scene.name, "edus", &edus)).ok();
    let sync = scene.alice.get(&format!("{V3}/sync")).ok();
    let told = sync["to_device"]["events"].as_array().expect("a list").clone();
    assert_eq!(told.iter().map(|event| depth(&event["content"])).collect::<Vec<_>>(), [100]);
    let room = &sync["rooms"]["join"][scene.room.as_str()];
    assert_eq!(room["ephemeral"]["events"].as_array().map_or(0, Vec::len), 0, "a list is no EDU");
}

#[test]
fn what_stands_in_an_event_as_redacts_and_names_no_event_is_as_good_as_any_other_key() {
    for version in [RoomVersionId::V10, RoomVersionId::V11, RoomVersionId::V12] {
        let scene = Scene::new(version);
        for (kind, redacts) in [
            ("m.room.message", json!({ "a": 1 })),
            ("m.room.message", json!(7)),
            ("m.room.redaction", json!([])),
            ("m.room.redaction", json!("nothing")),
        ] {
            let (_, mut event) = scene.next(kind, None, json!({ "body": "x" }));
            event["redacts"] = redacts;
            for key in ["hashes", "signatures"] {
                event.as_object_mut().expect("an object").remove(key);
            }
            let (id, event) = scene.peer.event(&scene.rules, event);
            scene.taken(&[event], std::slice::from_ref(&id));
            assert_eq!(scene.seen()[0], id.as_str());
        }
    }
}
