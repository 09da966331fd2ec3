//! What a server says on and on, of users who are in a room, grows no further than its bound.

use ruma::RoomVersionId;
use serde_json::{Value, json};

use super::{shared_room::Scene, support::runtime};

#[test]
fn receipts_in_ever_other_threads_are_kept_of_a_thousand() {
    let scene = Scene::new(RoomVersionId::V11);
    let (id, message) = scene.message(&scene.ends(), "read");
    scene.taken(&[message], std::slice::from_ref(&id));
    let edu = |thread: String| {
        let data = json!({ "ts": 1, "thread_id": thread });
        let read = json!({ &scene.rita: { "data": data, "event_ids": [id] } });
        json!({ "edu_type": "m.receipt", "content": { scene.room.as_str(): { "m.read": read } } })
    };
    let threads = ["main".to_owned()].into_iter().chain((0..1_150).map(|n| format!("$thread{n}")));
    let edus: Vec<Value> = threads.map(edu).collect();
    for (n, some) in edus.chunks(100).enumerate() {
        let request = scene.peer.transaction(&scene.name, &format!("receipts{n}"), some);
        scene.peer.send(&scene.name, &request).ok();
    }
    let app = scene.server.app();
    let viewer = ruma::UserId::parse(&*scene.alice.user).expect("an ID");
    let kept = app.store.receipts(&scene.room, &viewer, Default::default(), app.store.log_position());
    let kept = runtime().block_on(kept).expect("reads");
    assert_eq!(kept.len(), 1_001);
    assert!(kept.iter().any(|receipt| receipt.thread == "main"));
    assert!(kept.iter().any(|receipt| receipt.thread == "$thread1149"), "the last stay");
}
