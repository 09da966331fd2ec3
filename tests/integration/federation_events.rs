//! Events of other servers' users in a room here, as the other server sends them: what is shown, what is not, and what
//! is asked for when something is missing.

use std::{sync::Arc, time::Duration};

use ruma::{OwnedEventId, RoomVersionId};
use serde_json::{Value, json};

use super::{
    shared_room::{Scene, V3},
    support::{Client, runtime, until},
};

#[test]
fn what_a_user_of_another_server_says_in_a_room_is_shown_here_in_rooms_of_every_version() {
    for version in 3..=12 {
        let version = RoomVersionId::try_from(version.to_string()).expect("a version");
        let scene = Scene::new(version.clone());
        let since = scene.alice.get(&format!("{V3}/sync")).ok()["next_batch"].clone();
        let (one, first) = scene.message(&scene.ends(), "one");
        let (two, second) = scene.message(std::slice::from_ref(&one), "two");
        // In whatever order they come.
        scene.taken(&[second, first], &[one.clone(), two.clone()]);
        let since = since.as_str().expect("a token").to_owned();
        let sync = scene.alice.get(&format!("{V3}/sync?since={since}")).ok();
        let timeline = &sync["rooms"]["join"][scene.room.as_str()]["timeline"]["events"];
        let told: Vec<_> =
            timeline.as_array().expect("a list").iter().map(|e| e["content"]["body"].clone()).collect();
        assert_eq!(told, ["one", "two"], "{version}");
        assert_eq!(timeline[0]["sender"], scene.rita.as_str(), "{version}");
        assert_eq!(scene.ends(), [two], "{version}");
        let members = scene.alice.get(&format!("{V3}/rooms/{}/joined_members", scene.room)).ok();
        assert!(members["joined"][&scene.rita].is_object(), "{version}: {members}");
        // What is said here follows.
        let said = scene.alice.put(
            &format!("{V3}/rooms/{}/send/m.room.message/1", scene.room),
            json!({ "msgtype": "m.text", "body": "three" }),
        );
        assert_eq!(scene.seen()[0], said.ok()["event_id"].as_str().expect("an ID"), "{version}");
    }
}

#[test]
fn an_event_counts_once_and_what_is_wrong_with_one_is_said_of_that_one() {
    let scene = Scene::new(RoomVersionId::V11);
    let (id, event) = scene.message(&scene.ends(), "once");
    let mut forged = scene.message(std::slice::from_ref(&id), "forged").1;
    forged["sender"] = "@alice:elsewhere.example".into();
    let mut other = event.clone();
    other["room_id"] = "!other:x".into();
    let answer = scene.send(&[
        event.clone(),
        event.clone(),
        forged,
        other,
        json!({ "room_id": scene.room }),
        json!(1),
    ]);
    assert_eq!(answer[id.as_str()], json!({}), "{answer}");
    let wrong: Vec<_> =
        answer.as_object().expect("an object").values().filter(|a| a["error"].is_string()).collect();
    assert_eq!(wrong.len(), 2, "{answer}");
    scene.taken(&[event], std::slice::from_ref(&id));
    assert_eq!(scene.seen().iter().filter(|seen| **seen == *id.as_str()).count(), 1);
}

#[test]
fn what_the_rules_do_not_allow_is_neither_shown_nor_followed() {
    let scene = Scene::new(RoomVersionId::V10);
    let ends = scene.ends();
    let (id, event) = scene.next("m.room.name", Some(""), json!({ "name": "mine" }));
    scene.taken(&[event], std::slice::from_ref(&id));
    assert!(!scene.seen().contains(&id.to_string()));
    assert_eq!((scene.ends(), scene.state("m.room.name", "")), (ends.clone(), None));
    // What follows it is judged on the state before it.
    let (after, event) = scene.message(&[id], "after");
    scene.taken(&[event], std::slice::from_ref(&after));
    assert_eq!(scene.seen()[0], after.as_str());
}

#[test]
fn what_rests_on_an_event_that_was_not_allowed_is_not_allowed_either() {
    let scene = Scene::new(RoomVersionId::V11);
    let (levels, event) =
        scene.next("m.room.power_levels", Some(""), json!({ "users": { &scene.rita: 100 } }));
    scene.taken(&[event], std::slice::from_ref(&levels));
    let auth = [scene.state("m.room.create", ""), scene.state("m.room.member", &scene.rita), Some(levels)];
    let (topic, event) = scene.peer.event(
        &scene.rules,
        json!({ "type": "m.room.topic", "state_key": "", "room_id": scene.room, "sender": scene.rita,
            "content": { "topic": "mine" }, "origin_server_ts": 1_700_000_000_000_u64, "depth": 60,
            "prev_events": scene.ends(), "auth_events": auth }),
    );
    scene.taken(&[event], &[topic]);
    assert_eq!(scene.state("m.room.topic", ""), None);
}

#[test]
fn who_was_banned_meanwhile_is_not_heard_though_they_forked_the_room_before() {
    let scene = Scene::new(RoomVersionId::V11);
    let before = scene.ends();
    let (id, event) = scene.message(&before, "evading");
    scene.alice.post(&format!("{V3}/rooms/{}/ban", scene.room), json!({ "user_id": scene.rita })).ok();
    let ends = scene.ends();
    scene.taken(&[event], std::slice::from_ref(&id));
    assert!(!scene.seen().contains(&id.to_string()));
    assert_eq!(scene.ends(), ends);
}

#[test]
fn what_an_event_leads_back_to_through_events_that_nobody_is_shown_ends_the_room_no_longer() {
    let scene = Scene::new(RoomVersionId::V11);
    let (first, event) = scene.message(&scene.ends(), "first");
    scene.taken(&[event], std::slice::from_ref(&first));
    let (mut prev, mut ids) = (first.clone(), Vec::new());
    for name in ["mine", "mine too"] {
        let (id, event) = scene.peer.event(
            &scene.rules,
            json!({ "type": "m.room.name", "state_key": "", "room_id": scene.room, "sender": scene.rita,
                "content": { "name": name }, "origin_server_ts": 1_700_000_000_000_u64, "depth": 60,
                "prev_events": [prev], "auth_events": [scene.state("m.room.create", ""),
                    scene.state("m.room.member", &scene.rita), scene.state("m.room.power_levels", "")] }),
        );
        scene.taken(&[event], std::slice::from_ref(&id));
        (prev, ids) = (id.clone(), [ids, vec![id]].concat());
    }
    assert_eq!(scene.ends(), [first]);
    let (last, event) = scene.message(&ids[1..], "last");
    scene.taken(&[event], std::slice::from_ref(&last));
    assert_eq!(scene.ends(), [last]);
}

#[test]
fn a_server_that_the_room_keeps_out_is_told_so() {
    let scene = Scene::new(RoomVersionId::V11);
    let path = format!("{V3}/rooms/{}/state/m.room.server_acl", scene.room);
    scene.alice.put(&path, json!({ "allow": ["*"], "deny": [scene.peer.name.host()] })).ok();
    let (id, event) = scene.message(&scene.ends(), "nevertheless");
    let answer = scene.send(&[event]);
    assert!(answer[id.as_str()]["error"].is_string(), "{answer}");
    assert!(!scene.seen().contains(&id.to_string()));
}

#[test]
fn what_is_missing_between_is_asked_for() {
    let scene = Scene::new(RoomVersionId::V11);
    let (mut prev, mut missing, mut ids) = (scene.ends(), Vec::new(), Vec::new());
    for n in 0..3 {
        let (id, event) = scene.message(&prev, &format!("missing {n}"));
        (prev, ids) = (vec![id.clone()], [ids, vec![id.to_string()]].concat());
        missing.push(event);
    }
    let path = "/_matrix/federation/v1/get_missing_events/";
    scene.peer.says(path, 200, json!({ "events": missing }));
    let ends = scene.ends();
    let (id, event) = scene.message(&prev, "last");
    scene.taken(&[event], std::slice::from_ref(&id));
    ids.push(id.to_string());
    ids.reverse();
    assert_eq!(scene.seen()[..4], ids);
    let asked = scene.peer.heard().into_iter().find(|heard| heard.path.starts_with(path)).expect("asked");
    assert_eq!(asked.body["latest_events"], json!([id]));
    assert_eq!(asked.body["earliest_events"], json!(ends));
}

#[test]
fn a_gap_that_nobody_fills_is_stepped_over_with_the_state_after_it() {
    let scene = Scene::new(RoomVersionId::V11);
    let (far, _) = scene.message(&scene.ends(), "far away");
    let (lost, lost_event) = scene.message(&[far], "lost");
    let (id, event) = scene.message(std::slice::from_ref(&lost), "here");
    let store = &scene.server.app().store;
    let state = runtime().block_on(store.current_state_ids(&scene.room)).expect("reads");
    let v1 = "/_matrix/federation/v1";
    let pdu_ids: Vec<_> = state.values().collect();
    scene.peer.says(&format!("{v1}/get_missing_events/"), 200, json!({ "events": [] }));
    scene.peer.says(
        &format!("{v1}/state_ids/"),
        200,
        json!({ "pdu_ids": pdu_ids, "auth_chain_ids": pdu_ids }),
    );
    scene.peer.says(&format!("{v1}/event/"), 404, json!({ "errcode": "M_NOT_FOUND" }));
    scene.taken(&[event], std::slice::from_ref(&id));
    assert_eq!(scene.seen()[0], id.as_str());
    assert!(!scene.seen().contains(&lost.to_string()));
    // It comes after all: its place is before what follows it.
    scene.taken(&[lost_event], std::slice::from_ref(&lost));
    assert_eq!(scene.seen()[..2], [id.to_string(), lost.to_string()]);
    assert!(scene.ends().contains(&id) && !scene.ends().contains(&lost), "what was followed ends nothing");
}

#[test]
fn what_cannot_be_looked_at_in_time_is_kept_and_looked_at_after_a_restart() {
    let mut scene = Scene::new(RoomVersionId::V11);
    let (lost, missing) = scene.message(&scene.ends(), "missing");
    let (id, event) = scene.message(std::slice::from_ref(&lost), "waits");
    let path = "/_matrix/federation/v1/get_missing_events/";
    scene.peer.says(path, 0, json!(null));
    let app = Arc::clone(scene.server.app());
    let text = serde_json::value::to_raw_value(&event).expect("JSON");
    let answers = runtime().block_on(async {
        let taken = app.take_events(&scene.peer.name, &[&text], |_| None).await.expect("room for it");
        app.answers(taken, Duration::ZERO).await.expect("are kept")
    });
    assert_eq!(answers.into_iter().collect::<Vec<_>>(), [(id.to_string(), None)]);
    drop(app);
    scene.peer.says(path, 200, json!({ "events": [missing] }));
    scene.server = scene.server.stop().start();
    scene.alice = scene.server.log_in("alice");
    until("both are there", || scene.seen()[..2] == [id.to_string(), lost.to_string()]);
    let store = &scene.server.app().store;
    until("nothing is kept", || {
        runtime().block_on(store.inbound(&scene.peer.name, 1)).expect("reads").is_empty()
    });
}

#[test]
fn an_invite_to_a_room_elsewhere_is_taken_back_by_who_sent_it_and_by_nobody_else() {
    let scene = Scene::new(RoomVersionId::V11);
    let room = format!("!far:{}", scene.peer.name);
    let member = |sender: &str, membership: &str| {
        scene.peer.event(
            &scene.rules,
            json!({ "type": "m.room.member", "room_id": room, "sender": sender, "state_key": scene.alice.user,
                "content": { "membership": membership }, "origin_server_ts": 1_700_000_000_000_u64, "depth": 9,
                "prev_events": ["$a"], "auth_events": ["$b"] }),
        )
    };
    let (id, invite) = member(&scene.rita, "invite");
    let path = format!("/_matrix/federation/v2/invite/{room}/{id}");
    let body = json!({ "room_version": "11", "event": invite, "invite_room_state": [
        { "type": "m.room.create", "state_key": "", "sender": scene.rita, "content": { "room_version": "11" } },
    ] });
    let request = scene.peer.signed(&scene.name, "PUT", &path, body.to_string().as_bytes());
    scene.peer.send(&scene.name, &request).ok();
    let invited = || {
        let sync = scene.alice.get(&format!("{V3}/sync")).ok();
        sync["rooms"]["invite"].as_object().is_some_and(|rooms| rooms.contains_key(&room))
    };
    assert!(invited());
    let (other, leave) = member(&format!("@somebody:{}", scene.peer.name), "leave");
    assert!(scene.send(&[leave])[other.as_str()]["error"].is_string());
    assert!(invited(), "somebody else takes nothing back");
    let (id, leave) = member(&scene.rita, "leave");
    scene.taken(&[leave], &[id]);
    assert!(!invited());
}

#[test]
fn a_redaction_empties_what_it_may_whichever_of_the_two_comes_first() {
    for version in [RoomVersionId::V10, RoomVersionId::V11] {
        let scene = Scene::new(version.clone());
        let (said, event) = scene.message(&scene.ends(), "regretted");
        let redaction = |target: &OwnedEventId, prev: &[OwnedEventId]| {
            let mut auth = vec![scene.state("m.room.create", ""), scene.state("m.room.power_levels", "")];
            auth.push(scene.state("m.room.member", &scene.rita));
            let mut event = json!({ "type": "m.room.redaction", "room_id": scene.room, "sender": scene.rita,
                "content": {}, "origin_server_ts": 1_700_000_000_001_u64, "depth": 51, "prev_events": prev,
                "auth_events": auth });
            match version {
                RoomVersionId::V11 => event["content"]["redacts"] = target.as_str().into(),
                _ => event["redacts"] = target.as_str().into(),
            }
            scene.peer.event(&scene.rules, event)
        };
        let body_of = |id: &OwnedEventId| {
            let path = format!("{V3}/rooms/{}/event/{id}", scene.room);
            scene.alice.get(&path).ok()["content"]["body"].clone()
        };
        let is_shown = |id: &OwnedEventId| scene.seen().contains(&id.to_string());
        let (by, redacting) = redaction(&said, std::slice::from_ref(&said));
        scene.taken(&[event, redacting], &[said.clone(), by.clone()]);
        assert!(is_shown(&by), "{version}");
        assert_eq!(body_of(&said), Value::Null, "{version}");
        // The redaction forks the room, and comes first.
        let (said, event) = scene.message(&scene.ends(), "regretted in advance");
        let (by, redacting) = redaction(&said, &scene.ends());
        scene.taken(&[redacting], std::slice::from_ref(&by));
        assert!(!is_shown(&by), "{version}: nobody knows whose message it empties");
        scene.taken(&[event], std::slice::from_ref(&said));
        assert_eq!(body_of(&said), Value::Null, "{version}");
        assert!(is_shown(&by), "{version}");
        // Nobody's server takes back what another's user said, without the power to.
        let path = format!("{V3}/rooms/{}/send/m.room.message/1", scene.room);
        let hers =
            scene.alice.put(&path, json!({ "msgtype": "m.text", "body": "mine" })).ok()["event_id"].clone();
        let hers: OwnedEventId = serde_json::from_value(hers).expect("an ID");
        let since = scene.alice.get(&format!("{V3}/sync")).ok()["next_batch"].clone();
        let (by, redacting) = redaction(&hers, std::slice::from_ref(&hers));
        scene.taken(&[redacting], std::slice::from_ref(&by));
        assert_eq!(body_of(&hers), "mine", "{version}");
        // Nor is it shown: clients would empty what it names.
        let news = scene.alice.get(&format!("{V3}/sync?since={}", since.as_str().expect("a token"))).ok();
        assert!(!is_shown(&by) && !news.to_string().contains(by.as_str()), "{version}");
        let path = format!("{V3}/rooms/{}/event/{by}", scene.room);
        scene.alice.get(&path).refused(404, "M_NOT_FOUND");
        // What follows it goes on.
        let (next, event) = scene.message(std::slice::from_ref(&by), "next");
        scene.taken(&[event], std::slice::from_ref(&next));
        assert_eq!(
            (scene.seen()[0].as_str(), scene.ends()),
            (next.as_str(), vec![next.clone()]),
            "{version}"
        );
    }
}

#[test]
fn a_receipt_that_comes_with_the_event_that_it_names_or_before_it_counts() {
    let scene = Scene::new(RoomVersionId::V11);
    let shown = || {
        let sync = scene.alice.get(&format!("{V3}/sync?timeout=0")).ok();
        let events = sync["rooms"]["join"][scene.room.as_str()]["ephemeral"]["events"].clone();
        let of = |event: &Value| event["type"] == "m.receipt";
        events.as_array().and_then(|events| events.iter().find(|e| of(e))).map(|e| e["content"].clone())
    };
    let receipt = |id: &OwnedEventId| {
        let read = json!({ &scene.rita: { "data": { "ts": 7 }, "event_ids": [id] } });
        json!({ "edu_type": "m.receipt", "content": { scene.room.as_str(): { "m.read": read } } })
    };
    let of = |id: &OwnedEventId| Some(json!({ id.as_str(): { "m.read": { &scene.rita: { "ts": 7 } } } }));
    let (with, event) = scene.message(&scene.ends(), "with");
    let body = json!({ "origin": scene.peer.name, "origin_server_ts": 1, "pdus": [event],
        "edus": [receipt(&with)] });
    let path = "/_matrix/federation/v1/send/with";
    let request = scene.peer.signed(&scene.name, "PUT", path, body.to_string().as_bytes());
    scene.peer.send(&scene.name, &request).ok();
    assert_eq!(shown(), of(&with));
    let (after, event) = scene.message(&scene.ends(), "after");
    let request = scene.peer.transaction(&scene.name, "before", &[receipt(&after)]);
    scene.peer.send(&scene.name, &request).ok();
    assert_eq!(shown(), of(&with));
    scene.taken(&[event], std::slice::from_ref(&after));
    until("the receipt is shown", || shown() == of(&after));
}

#[test]
fn what_is_not_here_yet_is_redacted_by_who_may_and_empty_when_it_comes() {
    for version in [RoomVersionId::V10, RoomVersionId::V11] {
        let scene = Scene::new(version.clone());
        let bob = scene.server.register("bob");
        bob.post(&format!("{V3}/join/{}", scene.room), json!({})).ok();
        let (said, event) = scene.message(&scene.ends(), "regretted");
        let redact = |who: &Client, room: &str, target: &str| {
            who.put(&format!("{V3}/rooms/{room}/redact/{target}/1"), json!({ "reason": "no" }))
        };
        redact(&bob, scene.room.as_str(), said.as_str()).refused(404, "M_NOT_FOUND");
        let by = redact(&scene.alice, scene.room.as_str(), said.as_str()).ok()["event_id"].clone();
        until("the other server is told", || {
            let told = scene.peer.events();
            told.iter().any(|e| e["redacts"] == said.as_str() || e["content"]["redacts"] == said.as_str())
        });
        scene.taken(&[event], std::slice::from_ref(&said));
        let path = format!("{V3}/rooms/{}/event/{said}", scene.room);
        let seen = bob.get(&path).ok().clone();
        assert_eq!(seen["content"], json!({}), "{version}");
        assert_eq!(seen["unsigned"]["redacted_because"]["event_id"], by, "{version}");
        // Nobody else can have what is not in a room of this server alone.
        let alone = scene.alice.post(&format!("{V3}/createRoom"), json!({ "room_version": version })).ok();
        redact(&scene.alice, alone["room_id"].as_str().expect("an ID"), "$nothing")
            .refused(404, "M_NOT_FOUND");
    }
}
