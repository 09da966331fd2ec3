//! What events say.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use std::time::Duration;

use serde_json::{Value, json};

use crate::core::call::signal::{HangupReason, Said, Signal};
use crate::core::wire::object::Object;

fn read(kind: &str, content: &Value) -> Option<Signal> {
    let text = content.to_string();
    Signal::read(kind, "@ann:hs", &Object::parse(&text)?)
}

fn with(more: Value) -> Value {
    let mut content = json!({"call_id": "c", "party_id": "p", "version": "1"});
    let fields = more.as_object().expect("an object").clone();
    content.as_object_mut().expect("an object").extend(fields);
    content
}

/// The examples of the specification, in short.
#[test]
fn m14_events_of_the_specification_are_read() {
    let sdp = |kind: &str| json!({"type": kind, "sdp": "v=0"});
    let streams = json!({"271828182845": {"purpose": "m.screenshare"}});
    for (kind, content) in [
        ("m.call.invite", json!({"lifetime": 60000, "offer": sdp("offer"), "sdp_stream_metadata": streams})),
        ("m.call.answer", json!({"answer": sdp("answer"), "sdp_stream_metadata": streams})),
        (
            "m.call.candidates",
            json!({"candidates": [{"sdpMid": "audio", "sdpMLineIndex": 0, "candidate": "candidate:863018703 1 udp"}]}),
        ),
        ("m.call.select_answer", json!({"selected_party_id": "6336"})),
        ("m.call.reject", json!({})),
        ("m.call.hangup", json!({"reason": "user_hangup"})),
        (
            "m.call.negotiate",
            json!({"lifetime": 10000, "description": sdp("offer"), "sdp_stream_metadata": streams}),
        ),
        ("m.call.sdp_stream_metadata_changed", json!({"sdp_stream_metadata": streams})),
    ] {
        let signal = read(kind, &with(content)).expect(kind);
        assert_eq!((signal.call.as_str(), signal.from.id.as_deref()), ("c", Some("p")), "{kind}");
    }
}

#[test]
fn m14_what_makes_no_sense_says_nothing() {
    let offer = json!({"type": "offer", "sdp": "v=0"});
    let long = "x".repeat(70_000);
    for (kind, content) in [
        ("m.call.invite", json!({"party_id": "p", "offer": offer})),
        ("m.call.invite", json!({"call_id": 5, "offer": offer})),
        ("m.call.invite", json!({"call_id": "", "offer": offer})),
        ("m.call.invite", json!({"call_id": "c".repeat(256), "offer": offer})),
        ("m.call.invite", with(json!({}))),
        ("m.call.invite", with(json!({"offer": "v=0"}))),
        ("m.call.invite", with(json!({"offer": {"type": "offer"}}))),
        ("m.call.invite", with(json!({"offer": {"sdp": ""}}))),
        ("m.call.invite", with(json!({"offer": {"sdp": long}}))),
        ("m.call.invite", with(json!({"offer": offer, "invitee": 5}))),
        ("m.call.answer", with(json!({"offer": offer}))),
        ("m.call.select_answer", with(json!({"selected_party_id": null}))),
        ("m.call.negotiate", with(json!({"description": {"type": "pranswer", "sdp": "v=0"}}))),
        ("m.call.sdp_stream_metadata_changed", with(json!({"sdp_stream_metadata": []}))),
        ("m.call.unheard_of", with(json!({}))),
        ("m.call", with(json!({}))),
    ] {
        assert_eq!(read(kind, &content), None, "{kind}");
    }
}

#[test]
fn m14_of_version_0_a_party_is_a_user_and_any_other_version_is_1() {
    for (version, party) in [
        (json!(0), None),
        (json!("0"), Some("p")),
        (json!("1"), Some("p")),
        (json!(1), Some("p")),
        (json!("2"), Some("p")),
        (json!(null), Some("p")),
    ] {
        let signal = read("m.call.reject", &json!({"call_id": "c", "party_id": "p", "version": version}));
        assert_eq!(signal.expect("a refusal").from.id.as_deref(), party, "{version}");
    }
}

#[test]
fn m14_lifetimes_and_candidates_are_bounded() {
    let lifetime = |given: Value| {
        let signal = read("m.call.invite", &with(json!({"offer": {"sdp": "v=0"}, "lifetime": given})));
        match signal.expect("an invitation").said {
            Said::Invite(invite) => invite.lifetime,
            said => panic!("{said:?}"),
        }
    };
    assert_eq!(lifetime(json!(90_000)), Duration::from_secs(90));
    assert_eq!(lifetime(json!(1u64 << 52)), Duration::from_secs(300));
    assert_eq!(lifetime(json!(-1)), Duration::ZERO);
    for odd in [json!("60000"), json!(null), json!(1.5)] {
        assert_eq!(lifetime(odd.clone()), Duration::from_secs(60), "{odd}");
    }
    let good = json!({"candidate": "candidate:1", "sdpMid": "0"});
    let mut many = vec![json!("no object"), json!({"candidate": "x".repeat(2_000)})];
    many.extend(std::iter::repeat_n(good, 1_000));
    let signal = read("m.call.candidates", &with(json!({"candidates": many}))).expect("candidates");
    assert!(matches!(signal.said, Said::Candidates(taken) if taken.len() == 62));
    let signal = read("m.call.candidates", &with(json!({"candidates": "none"}))).expect("none");
    assert_eq!(signal.said, Said::Candidates(Vec::new()));
}

#[test]
fn m14_a_hangup_without_a_reason_is_the_users_wish() {
    for (reason, expected) in [
        (json!(null), HangupReason::User),
        (json!("user_hangup"), HangupReason::User),
        (json!("invite_timeout"), HangupReason::InviteTimeout),
        (json!("replaced"), HangupReason::Unknown),
        (json!(7), HangupReason::User),
    ] {
        let signal = read("m.call.hangup", &with(json!({"reason": reason}))).expect("a hangup");
        assert_eq!(signal.said, Said::Hangup(expected), "{reason}");
    }
}
