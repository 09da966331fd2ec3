//! What was said in a room of another server before a user here came into it: looked for by its ID, by its time, and around
//! an event.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use ruma::{OwnedEventId, RoomVersionId};
use serde_json::{Value, json};

use super::room_visits::{Scene, V3};

const V1: &str = "/_matrix/federation/v1";
const FIRST: u64 = 1_700_000_000_000;

/// A room whose past is two messages and a topic, with Alice in it, to whom none of that was told.
struct Past {
    scene: Scene,
    said: Vec<OwnedEventId>,
    /// Whether the other server cannot tell what was said just now.
    fails: Arc<AtomicBool>,
}

impl Past {
    fn new() -> Self {
        Self::told_after(Duration::ZERO)
    }

    /// The same, where it takes so long to tell what was said before an event.
    fn told_after(delay: Duration) -> Self {
        let mut scene = Scene::new(RoomVersionId::V11);
        let mut past = Vec::new();
        for (n, kind) in ["m.room.message", "m.room.message", "m.room.topic"].into_iter().enumerate() {
            let auth: Vec<_> = (0..3).map(|at| scene.id(at).clone()).collect();
            let prev =
                past.last().map_or_else(|| scene.id(4).clone(), |(id, _): &(OwnedEventId, Value)| id.clone());
            let mut event = json!({ "type": kind, "sender": scene.rita, "room_id": scene.room,
                "content": { "body": format!("said {n}"), "topic": "past" }, "depth": 6 + n,
                "origin_server_ts": FIRST + 1_000 * (n as u64 + 1), "prev_events": [prev], "auth_events": auth });
            if kind == "m.room.topic" {
                event["state_key"] = "".into();
            }
            past.push(scene.peer.event(&scene.rules, event));
        }
        let said: Vec<OwnedEventId> = past.iter().map(|(id, _)| id.clone()).collect();
        let before: Vec<_> = scene.state.iter().map(|(id, _)| id.clone()).collect();
        let all: Vec<_> = scene.state.iter().cloned().chain(past.clone()).collect();
        scene.state.push(past.remove(2));
        scene.lets("join", "join", &scene.all());
        scene.join().ok();
        let state_ids = json!({ "pdu_ids": before, "auth_chain_ids": before });
        scene.peer.says(&format!("{V1}/state_ids/"), 200, state_ids);
        let (history, fails) = (all.clone(), Arc::new(AtomicBool::new(false)));
        let fails_now = Arc::clone(&fails);
        scene.peer.answers_with_path(&format!("{V1}/event/"), move |path, _| {
            match history.iter().find(|(id, _)| is_named(path, id)) {
                Some((_, event)) => (200, json!({ "pdus": [event] })),
                None => (404, json!({ "errcode": "M_NOT_FOUND", "error": "no such event" })),
            }
        });
        scene.peer.answers_with_path(&format!("{V1}/backfill/"), move |path, _| {
            thread::sleep(delay);
            if fails_now.load(Ordering::Relaxed) {
                return (503, json!({ "errcode": "M_UNKNOWN", "error": "not just now" }));
            }
            let last = all.iter().rposition(|(id, _)| is_named(path, id)).expect("an event that there is");
            let pdus: Vec<_> = all[..=last].iter().rev().map(|(_, event)| event).collect();
            (200, json!({ "pdus": pdus }))
        });
        Self { scene, said, fails }
    }

    /// How often the other server was asked for this.
    fn asked(&self, path: &str) -> usize {
        self.scene.peer.heard().iter().filter(|heard| heard.path.starts_with(&format!("{V1}/{path}"))).count()
    }

    fn room(&self) -> String {
        format!("{V3}/rooms/{}", self.scene.room)
    }
}

/// Whether a path has an event's ID, encoded or not.
fn is_named(path: &str, id: &OwnedEventId) -> bool {
    path.contains(id.as_str().trim_start_matches('$'))
}

#[test]
fn an_event_from_before_ones_time_is_asked_for_by_its_id_by_who_is_in_the_room() {
    let past = Past::new();
    let path = format!("{}/event/{}", past.room(), past.said[0]);
    let bob = past.scene.server.register("bob");
    assert!(bob.get(&path).status >= 400, "he is not in the room");
    assert_eq!(past.asked("event/"), 0);
    let event = past.scene.alice.get(&path).ok().clone();
    assert_eq!(event["content"]["body"], "said 0");
    past.scene.alice.get(&path).ok();
    assert_eq!(past.asked("event/"), 1, "then it is here");
    let nothing = format!("{}/event/$nothing", past.room());
    for _ in 0..2 {
        past.scene.alice.get(&nothing).refused(404, "M_NOT_FOUND");
    }
    assert_eq!(past.asked("event/"), 2, "not twice within a minute");
}

#[test]
fn around_an_event_from_before_ones_time_stands_what_was_said_before_it_and_all_is_in_order() {
    let past = Past::new();
    let [first, second, topic] = [0, 1, 2].map(|n| past.said[n].to_string());
    let context = past.scene.alice.get(&format!("{}/context/{second}?limit=20", past.room())).ok();
    assert_eq!(context["event"]["event_id"], second.as_str());
    assert_eq!(context["events_before"][0]["event_id"], first.as_str());
    let page = past.scene.alice.get(&format!("{}/messages?dir=b&limit=20", past.room())).ok();
    let ids: Vec<&str> =
        page["chunk"].as_array().expect("a list").iter().filter_map(|e| e["event_id"].as_str()).collect();
    assert_eq!(ids[1..4], [&topic, &second, &first].map(String::as_str));
    assert_eq!(ids.len(), 9, "her coming, three events, and the five that made the room: {page}");
}

#[test]
fn what_was_said_at_a_time_before_ones_own_is_asked_of_the_others() {
    let past = Past::new();
    let near = |dir: &str, at: u64| {
        let path = past.room().replace("/v3/", "/v1/");
        past.scene.alice.get(&format!("{path}/timestamp_to_event?dir={dir}&ts={at}"))
    };
    let (first, second) = (past.said[0].clone(), past.said[1].clone());
    past.scene.peer.answers_with_path(&format!("{V1}/timestamp_to_event/"), move |path, _| {
        let (id, after) = if path.contains("dir=f") { (&second, 2) } else { (&first, 1) };
        (200, json!({ "event_id": id, "origin_server_ts": FIRST + 1_000 * after }))
    });
    let forward = near("f", FIRST + 1_500).ok().clone();
    assert_eq!(forward, json!({ "event_id": past.said[1], "origin_server_ts": FIRST + 2_000 }));
    let back = near("b", FIRST + 1_500).ok().clone();
    assert_eq!(back, json!({ "event_id": past.said[0], "origin_server_ts": FIRST + 1_000 }));
    let asked = past.asked("timestamp_to_event/");
    // After all that is here there is nothing that could be missing.
    near("f", 4_000_000_000_000).refused(404, "M_NOT_FOUND");
    near("b", 4_000_000_000_000).ok();
    assert_eq!((asked, past.asked("timestamp_to_event/")), (2, 2));
    // A server that says what is not true is not believed: what is here counts.
    past.scene.peer.says(
        &format!("{V1}/timestamp_to_event/"),
        200,
        json!({ "event_id": "$lie", "origin_server_ts": FIRST + 1_600 }),
    );
    let forward = near("f", FIRST + 1_500).ok().clone();
    assert_eq!(forward["event_id"], past.said[1].as_str());
}

impl Past {
    /// What is told to who scrolls back, page by page, the last first; how many pages it took.
    fn scrolled_back(&self, mut look_at: impl FnMut(usize)) -> (Vec<Value>, usize) {
        let (mut said, mut from, mut pages) = (Vec::new(), String::new(), 0);
        loop {
            let path = format!("{}/messages?dir=b&limit=20{from}", self.room());
            let page = self.scene.alice.get(&path).ok().clone();
            said.extend(page["chunk"].as_array().expect("a list").iter().map(|e| e["event_id"].clone()));
            pages += 1;
            look_at(pages);
            let Some(end) = page["end"].as_str() else { return (said, pages) };
            assert!(pages < 5, "it ends");
            from = format!("&from={end}");
        }
    }

    fn check_scrolled_back(&self, (said, pages): (Vec<Value>, usize)) {
        let expected: Vec<&str> = self.said.iter().rev().map(|id| id.as_str()).collect();
        assert_eq!(said[1..4], expected, "her coming, and what was said before it");
        assert_eq!((said.len(), pages), (9, 2));
    }
}

#[test]
fn a_page_ends_where_what_is_missing_comes_later_than_one_waits() {
    let past = Past::told_after(Duration::from_secs(11));
    past.check_scrolled_back(past.scrolled_back(|_| {}));
}

#[test]
fn a_room_does_not_begin_where_others_cannot_tell_just_now_what_was_before() {
    let past = Past::new();
    past.fails.store(true, Ordering::Relaxed);
    past.check_scrolled_back(past.scrolled_back(|_| past.fails.store(false, Ordering::Relaxed)));
    // Where they never can, it ends all the same.
    let past = Past::new();
    past.fails.store(true, Ordering::Relaxed);
    let (said, pages) = past.scrolled_back(|_| {});
    assert_eq!((said.len(), pages), (1, 2));
}
