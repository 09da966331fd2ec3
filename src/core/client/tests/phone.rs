//! Calls by the client role: what rooms say, what is sent, and who may ring.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::core::call::output::View;
use crate::core::client::phone::PhoneError;
use crate::core::presence::{Choice, StatusMsg};

const BEN: &str = "@b:hs";

fn phone(f: &mut Fixture, word: &str, given: Value) -> Result<Value, String> {
    let answer = f.client.handle_phone(f.now, word, &given.to_string());
    f.drain();
    match answer {
        Ok(json) => Ok(serde_json::from_str(&json).expect("JSON")),
        Err(PhoneError::Failed(failure)) => Err(failure.code),
        Err(PhoneError::Bad(bad)) => Err(bad.to_string()),
    }
}

/// In a room with one other.
fn with_ben() -> Fixture {
    let mut f = Fixture::online();
    let summary = json!({"m.heroes": [BEN], "m.joined_member_count": 2, "m.invited_member_count": 0});
    f.sync(json!({"rooms": {"join": {ROOM: {"summary": summary, "timeline": {"events": []}}}}}));
    f
}

fn calling() -> (Fixture, String) {
    let mut f = with_ben();
    let id = phone(&mut f, "place", json!([ROOM, false])).expect("free");
    let id = id.as_str().expect("an ID").to_owned();
    assert_eq!(f.media, [json!({"callId": id, "op": "offer", "video": false})]);
    phone(&mut f, "described", json!([id, "offer", "v=0", {}])).expect("there");
    (f, id)
}

fn said(kind: &str, sender: &str, content: Value) -> Value {
    json!({"type": kind, "event_id": format!("${kind}{sender}"), "sender": sender, "origin_server_ts": 1_000_000,
        "unsigned": {"age": 10}, "content": content})
}

fn invite(id: &str) -> Value {
    json!({"call_id": id, "party_id": "p", "version": "1", "lifetime": 60_000, "offer": {"type": "offer", "sdp": "v=0"}})
}

fn shown(f: &Fixture) -> Vec<&View> {
    let views = f.changes.iter().filter_map(|change| match change {
        Change::Call(view) => Some(view),
        _ => None,
    });
    views.collect()
}

#[test]
fn m14_a_call_is_sent_beside_the_queue_and_lost_events_are_sent_again() {
    let (mut f, id) = calling();
    let request = f.take("PUT /send/m.call.invite/");
    assert!(!request.keepalive && f.client.waiting() == 0 && f.shown().is_empty());
    let content: Value = serde_json::from_str(request.body.as_deref().expect("a body")).expect("JSON");
    assert_eq!((&content["call_id"], &content["invitee"]), (&json!(id), &json!(BEN)));
    f.client.handle_failure(f.now, request.id, "NETWORK", "lost");
    f.drain();
    f.pass(Duration::from_secs(3));
    let again = f.take("PUT /send/m.call.invite/");
    assert_eq!(again.path, request.path, "the server knows it by its transaction");
    f.client.handle_response(f.now, again.id, 200, None, br#"{"event_id":"$i"}"#);
    f.drain();
    phone(&mut f, "hangUp", json!([id])).expect("there");
    let hangup = f.take("PUT /send/m.call.hangup/");
    assert!(hangup.keepalive, "it outlives the page");
    assert_eq!(shown(&f).last().map(|view| view.phase.as_str()), Some("ended"));
}

#[test]
fn m14_a_refused_invitation_ends_the_call_and_a_busy_server_is_asked_again() {
    let (mut f, _) = calling();
    f.respond("/send/m.call.invite/", 429, json!({"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 1000}));
    f.pass(Duration::from_secs(2));
    f.respond("/send/m.call.invite/", 403, json!({"errcode": "M_FORBIDDEN"}));
    let last = shown(&f).last().map(|view| serde_json::from_str::<Value>(&view.to_json()).expect("JSON"));
    assert_eq!(last.expect("shown")["reason"], "not_sent");
}

#[test]
fn m14_nobody_is_called_where_there_is_not_one_person_or_in_an_encrypted_room() {
    let mut f = Fixture::online();
    assert_eq!(phone(&mut f, "place", json!(["!other:hs", false])), Err("NOT_IN_ROOM".into()));
    let summary = json!({"m.heroes": [BEN, "@c:hs"], "m.joined_member_count": 3});
    f.sync(json!({"rooms": {"join": {ROOM: {"summary": summary, "timeline": {"events": []}}}}}));
    assert_eq!(phone(&mut f, "place", json!([ROOM, false])), Err("BAD_TARGET".into()));
    phone(&mut f, "place", json!([ROOM, false, BEN])).expect("one of them");
    assert_eq!(phone(&mut f, "place", json!([ROOM, false, BEN])), Err("BUSY".into()));
    phone(&mut f, "leave", json!([])).expect("always");
    f.events(json!([{"type": "m.room.encryption", "state_key": "", "sender": ME, "event_id": "$c",
        "content": {"algorithm": "m.megolm.v1.aes-sha2"}}]));
    assert_eq!(phone(&mut f, "place", json!([ROOM, false, BEN])), Err("ENCRYPTED_ROOM".into()));
}

#[test]
fn m14_what_makes_no_sense_is_refused() {
    let (mut f, id) = calling();
    for (word, given, expected) in [
        ("place", json!([]), "must be a string"),
        ("place", json!([ROOM, "yes"]), "must be true or false"),
        ("dance", json!([id]), "no such command"),
        ("accept", json!([id, true]), "NO_SUCH_CALL"),
        ("hangUp", json!(["nothing"]), "NO_SUCH_CALL"),
        ("hangUp", json!([5]), "must be a string"),
        ("described", json!([id, "offer"]), "must be a string"),
    ] {
        let refused = phone(&mut f, word, given).expect_err(word);
        assert!(refused.contains(expected), "{word}: {refused}");
    }
}

#[test]
fn m14_a_call_that_comes_in_rings_once_the_whole_answer_is_read() {
    let mut f = with_ben();
    f.events(json!([said("m.call.invite", BEN, invite("c"))]));
    let views = shown(&f);
    assert_eq!((views.len(), views[0].rings, views[0].phase.as_str()), (1, true, "ringing"));
    let hangup = json!({"call_id": "d", "party_id": "p", "version": "1"});
    f.events(json!([said("m.call.invite", BEN, invite("d")), said("m.call.hangup", BEN, hangup)]));
    assert_eq!(shown(&f).len(), 1);
    // The server's clock says how old it is, not this machine's.
    let mut old = said("m.call.invite", BEN, invite("e"));
    old["unsigned"]["age"] = json!(59_000);
    let mut new = said("m.call.invite", BEN, invite("g"));
    new["origin_server_ts"] = json!(5);
    f.events(json!([old, new]));
    let views: Vec<_> = shown(&f).iter().map(|view| (view.call.as_str(), view.phase.as_str())).collect();
    assert_eq!(
        views,
        [("c", "ringing"), ("c", "ended"), ("g", "ringing")],
        "who calls again means that call"
    );
}

/// Who may ring: by the room, by the sender, by what the user chose.
#[test]
fn p13_the_table_of_who_may_ring() {
    let public = json!({"type": "m.room.join_rules", "state_key": "", "sender": BEN, "event_id": "$j", "content": {"join_rule": "public"}});
    let ignored = json!({"account_data": {"events": [{"type": "m.ignored_user_list", "content": {"ignored_users": {BEN: {}}}}]}});
    let always = json!({"account_data": {"events": [
        {"type": "org.pilotlight.notify", "content": {"muted_in": ["busy"], "groups": {"Important": "always"}}},
        {"type": "org.pilotlight.presence_list", "content": {}},
    ]}});
    for (what, expected) in [
        ("nothing", Some(true)),
        ("busy", Some(false)),
        ("busy, and of a group that is told always", Some(true)),
        ("a public room", None),
        ("ignored", None),
    ] {
        let mut f = with_ben();
        match what {
            "a public room" => f.events(json!([public])),
            "ignored" => f.sync(ignored.clone()),
            "busy, and of a group that is told always" => {
                f.sync(always.clone());
                let entry = json!({"sender": BEN, "org.pilotlight.list": {"state": "accepted", "groups": ["Important"]}});
                f.respond("GET /presence/list/", 200, json!([entry]));
            }
            _ => (),
        }
        if what.starts_with("busy") {
            f.client.set_presence(f.now, Choice::Busy, StatusMsg::Keep);
            f.drain();
            f.respond("PUT status", 200, json!({}));
        }
        f.events(json!([said("m.call.invite", BEN, invite("c"))]));
        assert_eq!(shown(&f).first().map(|view| view.rings), expected, "{what}");
    }
}

#[test]
fn m14_a_client_that_stops_or_logs_out_hangs_up_first() {
    for end in ["stop", "logout", "leave"] {
        let (mut f, _) = calling();
        f.respond("/send/m.call.invite/", 200, json!({"event_id": "$i"}));
        match end {
            "stop" => {
                f.client.stop(f.now);
                f.drain();
            }
            "logout" => {
                f.client.call(f.now, "logout", "[]").expect("a command");
                f.drain();
            }
            _ => drop(phone(&mut f, "leave", json!([]))),
        }
        assert_eq!(f.count("/send/m.call.hangup/"), 1, "{end}");
        assert_eq!(f.media.last().map(|media| media["op"].clone()), Some(json!("close")), "{end}");
        assert!(f.client.calls().is_empty() && !f.client.is_in_call(), "{end}");
    }
}

#[test]
fn m14_who_is_out_of_the_room_is_out_of_the_call() {
    let (mut f, _) = calling();
    f.respond("/send/m.call.invite/", 200, json!({"event_id": "$i"}));
    f.events(json!([{"type": "m.room.member", "state_key": BEN, "sender": BEN, "event_id": "$l", "content": {"membership": "leave"}}]));
    assert!(f.client.calls().is_empty());
    let mut f = with_ben();
    f.events(json!([said("m.call.invite", BEN, invite("c"))]));
    f.sync(json!({"rooms": {"leave": {ROOM: {"timeline": {"events": []}}}}}));
    assert!(f.client.calls().is_empty());
}
