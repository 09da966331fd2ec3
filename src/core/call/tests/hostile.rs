//! What others say who have no business in a call, or say too much.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use proptest::prelude::*;

use super::*;
use crate::core::call::phase::Phase;

/// Everything that ends or changes a call, said by whoever.
fn everything(call: &str, party: Option<&str>) -> Vec<Event> {
    let sdp = json!({"type": "answer", "sdp": "v=0"});
    let all = [
        ("m.call.invite", json!({"offer": {"type": "offer", "sdp": "v=0"}, "lifetime": 60_000})),
        ("m.call.answer", json!({"answer": sdp})),
        ("m.call.candidates", json!({"candidates": [{"candidate": "candidate:1"}]})),
        ("m.call.select_answer", json!({"selected_party_id": "me"})),
        ("m.call.reject", json!({})),
        ("m.call.hangup", json!({"reason": "user_hangup"})),
        ("m.call.hangup", json!({"reason": "user_busy"})),
        ("m.call.negotiate", json!({"description": {"type": "offer", "sdp": "v=0"}, "lifetime": 60_000})),
        ("m.call.negotiate", json!({"description": sdp, "lifetime": 60_000})),
        ("m.call.sdp_stream_metadata_changed", json!({"sdp_stream_metadata": {}})),
    ];
    let with = |(kind, mut content): (&str, Value)| {
        content["call_id"] = json!(call);
        content["version"] = if party.is_some() { json!("1") } else { json!(0) };
        content["party_id"] = json!(party.unwrap_or("x"));
        event("", kind, content)
    };
    all.into_iter().map(with).collect()
}

#[test]
fn m14_a_third_person_in_the_room_cannot_touch_a_call() {
    for make in [Two::ringing, Two::connecting, Two::connected] {
        let (mut two, call) = make();
        for phone in [&mut two.ann, &mut two.ben] {
            let before = phone.state(&call);
            phone.asked();
            for party in [Some("x"), None] {
                for mut said in everything(&call, party) {
                    said.sender = String::from("@mallory:hs");
                    phone.hear(std::slice::from_ref(&said));
                    assert_eq!(phone.state(&call), before, "{said:?}");
                }
            }
            assert!(phone.asked().is_empty() && phone.post().is_empty());
        }
    }
}

#[test]
fn m14_another_client_of_the_partners_cannot_touch_a_call_that_was_answered() {
    let (mut two, call) = Two::connected();
    two.ann.asked();
    for party in [Some("tablet"), None] {
        for mut said in everything(&call, party) {
            said.sender = String::from("@ben:hs");
            two.ann.hear(std::slice::from_ref(&said));
            assert_eq!(two.ann.state(&call), "connected", "{said:?}");
        }
    }
    assert!(two.ann.asked().is_empty() && two.ann.post().is_empty());
}

#[test]
fn m14_what_is_said_of_a_call_that_is_over_is_not_heard() {
    let (mut two, call) = Two::connected();
    let partner = two.ann.calls.parties()[0].2.clone().expect("a partner");
    two.ann.act(|calls, now| calls.hang_up(now, &call)).expect("there");
    two.ann.post();
    two.ann.asked();
    let shown = two.ann.shown.len();
    for mut said in everything(&call, partner.id.as_deref()) {
        said.sender = partner.user.clone();
        two.ann.hear(&[said]);
    }
    assert_eq!((two.ann.shown.len(), two.ann.asked(), two.ann.post().len()), (shown, vec![], 0));
}

#[test]
fn m14_a_flood_of_invitations_rings_once_for_each_caller_and_a_few_times_at_most() {
    let mut ben = Phone::new("@ben:hs", 2, START);
    let calls = |sender: &str, count: usize| -> Vec<Event> {
        let named = |n| format!("{}{n}", &sender[1..4]);
        (0..count).map(|n| event(sender, "m.call.invite", invite(&named(n), "a"))).collect()
    };
    ben.hear(&calls("@ann:hs", 500));
    let ringing = |phone: &Phone| phone.calls.views().filter(|call| call.phase.as_str() == "ringing").count();
    assert_eq!((ringing(&ben), ben.state("ann499").as_str()), (1, "ringing"), "the last one");
    // Another one is heard all the same, as long as they are few.
    for sender in ["@cyd:hs", "@dan:hs", "@eve:hs", "@fay:hs", "@gil:hs"] {
        ben.hear(&calls(sender, 3));
    }
    assert_eq!((ringing(&ben), ben.state("cyd2").as_str()), (4, "ringing"));
    ben.pass(secs(61));
    assert_eq!((ben.calls.views().count(), ben.calls.poll_timeout()), (0, None));
}

#[test]
fn m14_candidates_before_an_answer_are_bounded_and_a_call_of_the_same_name_elsewhere_is_not_this_one() {
    let (mut two, call) = Two::ringing();
    let list: Vec<Value> = (0..64).map(|n| json!({"candidate": format!("candidate:{n}")})).collect();
    let said = json!({"call_id": call, "party_id": "b", "version": "1", "candidates": list});
    let flood = vec![event("@ben:hs", "m.call.candidates", said); 100];
    two.ann.hear(&flood);
    let answer =
        json!({"call_id": call, "party_id": "b", "version": "1", "answer": {"type": "answer", "sdp": "v=0"}});
    two.ann.asked();
    // In another room.
    let text = answer.to_string();
    let content = Object::parse(&text).expect("an object");
    let signal = Signal::read("m.call.answer", "@ben:hs", &content).expect("an answer");
    two.ann.act(|calls, now| {
        calls.handle_event(now, "!other:hs", signal, Duration::ZERO, Admission::Rings);
        calls.handle_settled(now);
    });
    assert_eq!(two.ann.state(&call), "calling");
    two.ann.hear(&[event("@ben:hs", "m.call.answer", answer)]);
    let asked = two.ann.asked();
    assert!(matches!(&asked[1].1, Media::Candidates(held) if held.len() == 128), "{asked:?}");
}

#[test]
fn m14_a_call_of_the_same_name_in_another_room_rings_as_well_and_each_is_told_apart() {
    let mut ben = Phone::new("@ben:hs", 2, START);
    let ring = |ben: &mut Phone, room: &str, sender: &str| {
        let text = invite("c", "a").to_string();
        let content = Object::parse(&text).expect("an object");
        let signal = Signal::read("m.call.invite", sender, &content).expect("an invitation");
        ben.act(|calls, now| {
            calls.handle_event(now, room, signal, Duration::ZERO, Admission::Rings);
            calls.handle_settled(now);
        });
    };
    ring(&mut ben, "!mallory:hs", "@mal:hs");
    ring(&mut ben, "!cat:hs", "@cat:hs");
    let of = |ben: &Phone, room: &str| ben.calls.views().find(|call| call.room == room).expect("it rings");
    let (first, second) = (of(&ben, "!mallory:hs"), of(&ben, "!cat:hs"));
    assert_ne!(first.call, second.call);
    assert_eq!((first.phase.as_str(), second.phase.as_str()), ("ringing", "ringing"));
    ben.act(|calls, now| calls.hang_up(now, &first.call)).expect("there");
    assert_eq!(ben.state(&second.call), "ringing");
    ben.act(|calls, now| calls.accept(now, &second.call, false)).expect("there");
    assert_eq!(ben.state(&second.call), "answering");
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let senders = proptest::sample::select(&["@ann:hs", "@ben:hs", "@cy:hs"]);
    let parties = proptest::sample::select(&["a", "b", ""]);
    let calls = proptest::sample::select(&["c", "d", "e"]);
    let one = (senders, parties, calls, 0..10usize).prop_map(|(sender, party, call, which)| {
        let mut said = everything(call, Some(party).filter(|party| !party.is_empty())).swap_remove(which);
        said.sender = sender.to_owned();
        said
    });
    proptest::collection::vec(one, 0..40)
}

proptest! {
    #![proptest_config(crate::core::testing::config())]

    #[test]
    fn m14_whatever_is_said_in_whatever_order_a_client_has_one_live_call_and_comes_to_rest(
        said in events(), acts in proptest::collection::vec(0..6u8, 0..20),
    ) {
        let mut ben = Phone::new("@ben:hs", 2, START);
        let mut said = said.into_iter();
        for act in acts {
            let call = ben.calls.views().next().map(|view| view.call);
            match (act, call) {
                (0, _) => drop(ben.act(|calls, now| calls.place(now, ROOM, Some("@ann:hs"), true))),
                (1, Some(call)) => drop(ben.act(|calls, now| calls.accept(now, &call, true))),
                (2, Some(call)) => drop(ben.act(|calls, now| calls.hang_up(now, &call))),
                (3, Some(call)) => {
                    for kind in [DescriptionKind::Offer, DescriptionKind::Answer] {
                        let own = description(kind);
                        ben.act(|calls, now| calls.handle_described(now, &call, &own)).ok();
                    }
                }
                (4, _) => ben.pass(secs(7)),
                _ => (),
            }
            let batch: Vec<Event> = said.by_ref().take(3).collect();
            ben.hear(&batch);
            ben.post();
            prop_assert!(ben.calls.views().filter(|view| view.phase.is_live()).count() <= 1);
        }
        ben.act(|calls, now| calls.stop(now));
        ben.post();
        prop_assert!(ben.calls.views().all(|view| view.phase == Phase::Ringing) && ben.calls.poll_timeout().is_none());
        for (_, media) in ben.asked() {
            let json = media.to_json("c");
            prop_assert!(serde_json::from_str::<Value>(&json).is_ok(), "{json}");
        }
    }
}
