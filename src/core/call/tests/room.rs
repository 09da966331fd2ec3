//! How calls go: what is said in the room, what the page is asked for, and what there is to show.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::core::call::one::Path;
use crate::core::call::role::Refused;

fn kinds(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.kind.as_str()).collect()
}

fn pair(one: &str, other: &str) -> (String, String) {
    (one.to_owned(), other.to_owned())
}

#[test]
fn m14_a_call_is_placed_answered_and_hung_up() {
    let mut two = Two::new();
    let call = two.ann.act(|calls, now| calls.place(now, ROOM, Some("@ben:hs"), true)).expect("free");
    assert_eq!(two.ann.asked(), [(call.clone(), Media::Offer { video: true })]);
    assert_eq!(two.ann.state(&call), "preparing");
    two.ann.describe(&call, DescriptionKind::Offer);
    let said = two.ann.post();
    assert_eq!(kinds(&said), ["m.call.invite"]);
    let content = &said[0].content;
    assert_eq!((&content["version"], &content["invitee"]), (&json!("1"), &json!("@ben:hs")));
    assert!(content["lifetime"].as_u64() >= Some(90_000), "what Matrix recommends at least");
    assert_eq!(content["sdp_stream_metadata"], json!({"s": {"purpose": "m.usermedia"}}));
    two.ben.hear(&said);
    assert_eq!(two.states(&call), pair("calling", "ringing"));
    assert!(two.ben.asked().is_empty(), "nobody's microphone is touched before they answer");

    two.ben.act(|calls, now| calls.accept(now, &call, false)).expect("rings");
    let asked = two.ben.asked();
    assert!(matches!(&asked[..], [(_, Media::Answer { video: false, instead_of: None, .. })]), "{asked:?}");
    two.ben.describe(&call, DescriptionKind::Answer);
    let said = two.ben.post();
    assert_eq!(kinds(&said), ["m.call.answer"]);
    two.ann.hear(&said);
    two.ann.asked().iter().find(|(_, media)| matches!(media, Media::Remote(_))).expect("the answer is taken");
    let chosen = two.ann.post();
    assert_eq!(kinds(&chosen), ["m.call.select_answer"]);
    assert_eq!(chosen[0].content["selected_party_id"], said[0].content["party_id"]);
    two.ben.hear(&chosen);
    assert_eq!(two.states(&call), pair("connecting", "connecting"));
    for phone in [&mut two.ann, &mut two.ben] {
        phone.act(|calls, now| calls.handle_path(now, &call, Path::Up)).expect("there");
        assert_eq!(phone.in_call, [true]);
    }
    assert_eq!(two.states(&call), pair("connected", "connected"));

    two.ben.pass(secs(3_600));
    two.ann.now = two.ben.now;
    two.ben.act(|calls, now| calls.hang_up(now, &call)).expect("there");
    let said = two.ben.post();
    assert_eq!((kinds(&said), &said[0].content["reason"]), (vec!["m.call.hangup"], &json!("user_hangup")));
    two.ann.hear(&said);
    assert_eq!(two.states(&call), pair("other_hung_up", "hung_up"));
    assert_eq!(two.ann.asked().last(), Some(&(call, Media::Close)));
    assert!(two.ann.post().is_empty(), "and says nothing more");
    assert_eq!((two.ann.calls.poll_timeout(), two.ann.in_call.last()), (None, Some(&false)));
}

#[test]
fn m14_who_declines_stops_every_client_and_the_caller_says_that_it_counts() {
    let (mut two, call) = Two::ringing();
    let mut tablet = Phone::new("@ben:hs", 3, START);
    let invited = [event("@ann:hs", "m.call.invite", invite(&call, "a"))];
    tablet.hear(&invited);
    two.ben.act(|calls, now| calls.hang_up(now, &call)).expect("rings");
    let said = two.ben.post();
    assert_eq!(kinds(&said), ["m.call.reject"]);
    tablet.hear(&said);
    two.ann.hear(&said);
    assert_eq!(two.states(&call), pair("rejected", "declined"));
    assert_eq!(tablet.state(&call), "declined_elsewhere");
    assert_eq!(kinds(&two.ann.post()), ["m.call.select_answer"]);
}

#[test]
fn m14_one_client_answers_and_the_others_stop() {
    let (mut two, call) = Two::ringing();
    let (mut tablet, mut laptop) = (Phone::new("@ben:hs", 3, START), Phone::new("@ben:hs", 4, START));
    // The caller's party is that of the real invitation.
    let party = two.ben.calls.parties()[0].2.clone().expect("a caller").id.expect("of version 1");
    let invited = [event("@ann:hs", "m.call.invite", invite(&call, &party))];
    for phone in [&mut tablet, &mut laptop] {
        phone.hear(&invited);
    }
    for phone in [&mut two.ben, &mut tablet] {
        phone.act(|calls, now| calls.accept(now, &call, false)).expect("rings");
        phone.describe(&call, DescriptionKind::Answer);
    }
    let (first, second) = (two.ben.post(), tablet.post());
    two.ann.hear(&first);
    two.ann.hear(&second);
    laptop.hear(&first);
    assert_eq!(laptop.state(&call), "answered_elsewhere");
    let chosen = two.ann.post();
    assert_eq!(kinds(&chosen), ["m.call.select_answer"], "the first answer counts, and is told once");
    for phone in [&mut two.ben, &mut tablet] {
        phone.hear(&[&first[..], &second, &chosen].concat());
    }
    assert_eq!((two.ben.state(&call), tablet.state(&call)), pair("connecting", "answered_elsewhere"));
    assert!(tablet.post().is_empty(), "who was not chosen says nothing");
}

#[test]
fn m14_a_call_that_nobody_answers_ends_on_both_sides() {
    let (mut two, call) = Two::ringing();
    two.ben.pass(secs(89));
    two.ann.pass(secs(89));
    assert_eq!(two.states(&call), pair("calling", "ringing"));
    two.ben.pass(secs(2));
    two.ann.pass(secs(2));
    assert_eq!(two.states(&call), pair("no_answer", "missed"));
    let said = two.ann.post();
    assert_eq!(said[0].content["reason"], json!("invite_timeout"));
    assert!(two.ben.post().is_empty());
}

#[test]
fn m14_an_invitation_that_is_too_old_when_it_comes_does_not_ring() {
    for (age, rings) in [(0, true), (56, true), (58, false), (61, false), (10_000, false)] {
        let mut ben = Phone::new("@ben:hs", 2, START + secs(age));
        ben.hear(&[event("@ann:hs", "m.call.invite", invite("c", "a"))]);
        assert_eq!(ben.state("c") == "ringing", rings, "{age} s");
    }
    // What is left of its lifetime it rings.
    let mut ben = Phone::new("@ben:hs", 2, START + secs(50));
    ben.hear(&[event("@ann:hs", "m.call.invite", invite("c", "a"))]);
    ben.pass(secs(9));
    assert_eq!(ben.state("c"), "ringing");
    ben.pass(secs(2));
    assert_eq!(ben.state("c"), "missed");
}

#[test]
fn m14_what_came_and_went_before_one_looked_is_never_shown() {
    let party = json!({"call_id": "c", "party_id": "a", "version": "1"});
    for (sender, kind) in
        [("@ann:hs", "m.call.hangup"), ("@ben:hs", "m.call.reject"), ("@ann:hs", "m.call.select_answer")]
    {
        let mut content = party.clone();
        content["selected_party_id"] = json!("elsewhere");
        content["party_id"] = json!(if sender == "@ann:hs" { "a" } else { "b" });
        let [invited, ended] =
            [event("@ann:hs", "m.call.invite", invite("c", "a")), event(sender, kind, content)];
        for order in [[invited.clone(), ended.clone()], [ended, invited]] {
            let mut ben = Phone::new("@ben:hs", 2, START);
            ben.hear(&order);
            assert!(ben.shown.is_empty(), "{kind}: {:?}", ben.shown);
        }
    }
}

#[test]
fn m14_candidates_are_collected_and_the_end_of_them_is_told_at_once() {
    let (mut two, call) = Two::ringing();
    let candidate = |n: u32| format!(r#"{{"candidate":"candidate:{n}","sdpMid":"0"}}"#);
    for n in 0..3 {
        two.ann.act(|calls, now| calls.handle_candidate(now, &call, Some(&candidate(n)))).expect("there");
        two.ann.pass(Duration::from_millis(400));
    }
    assert!(two.ann.post().is_empty());
    two.ann.pass(Duration::from_millis(900));
    let said = two.ann.post();
    assert_eq!(kinds(&said), ["m.call.candidates"]);
    assert_eq!(said[0].content["candidates"].as_array().map(Vec::len), Some(3));
    two.ann.act(|calls, now| calls.handle_candidate(now, &call, Some(&candidate(3)))).expect("there");
    two.ann.act(|calls, now| calls.handle_candidate(now, &call, None)).expect("there");
    let last = two.ann.post();
    assert_eq!(
        last[0].content["candidates"],
        json!([{"candidate": "candidate:3", "sdpMid": "0"}, {"candidate": ""}])
    );
    // Before the answer they wait for the page to have the offer.
    two.ben.hear(&[&said[..], &last].concat());
    assert!(two.ben.asked().is_empty());
    two.ben.act(|calls, now| calls.accept(now, &call, false)).expect("rings");
    let asked = two.ben.asked();
    assert!(
        matches!(&asked[..], [(_, Media::Answer { .. }), (_, Media::Candidates(all))] if all.len() == 5),
        "{asked:?}"
    );
}

#[test]
fn m14_candidates_of_the_answer_may_come_before_it_and_those_of_others_are_nobodys() {
    let (mut two, call) = Two::ringing();
    let of = |party: &str| {
        let list = json!([{"candidate": format!("candidate:{party}")}]);
        event(
            "@ben:hs",
            "m.call.candidates",
            json!({"call_id": call, "party_id": party, "version": "1", "candidates": list}),
        )
    };
    two.ann.asked();
    two.ann.hear(&[of("tablet"), of("laptop")]);
    assert!(two.ann.asked().is_empty());
    let answer = json!({"call_id": call, "party_id": "tablet", "version": "1", "answer": {"type": "answer", "sdp": "v=0"}});
    two.ann.hear(&[event("@ben:hs", "m.call.answer", answer), of("laptop"), of("tablet")]);
    let mine = vec![String::from(r#"{"candidate":"candidate:tablet"}"#)];
    let asked: Vec<Media> = two.ann.asked().into_iter().map(|(_, media)| media).collect();
    assert!(matches!(&asked[0], Media::Remote(_)), "{asked:?}");
    assert_eq!(asked[1..], [Media::Candidates(mine.clone()), Media::Candidates(mine)]);
}

#[test]
fn m14_glare_the_lesser_call_wins_on_both_sides() {
    let mut two = Two::new();
    let ours = two.ann.act(|calls, now| calls.place(now, ROOM, Some("@ben:hs"), true)).expect("free");
    let theirs = two.ben.act(|calls, now| calls.place(now, ROOM, Some("@ann:hs"), true)).expect("free");
    two.ann.describe(&ours, DescriptionKind::Offer);
    two.ben.describe(&theirs, DescriptionKind::Offer);
    let (by_ann, by_ben) = (two.ann.post(), two.ben.post());
    two.ann.hear(&by_ben);
    two.ben.hear(&by_ann);
    let (winner, loser) = if ours < theirs { (&ours, &theirs) } else { (&theirs, &ours) };
    let (caller, callee) =
        if ours < theirs { (&mut two.ann, &mut two.ben) } else { (&mut two.ben, &mut two.ann) };
    assert_eq!((caller.state(winner), callee.state(winner)), pair("calling", "answering"));
    assert_eq!(callee.state(loser), "replaced");
    assert_eq!(caller.state(loser), "unheard of", "the person who wins hears nothing of it");
    let asked = callee.asked();
    let handed = asked.iter().any(|(call, media)| {
        call == winner
            && matches!(media, Media::Answer { video: true, instead_of: Some(from), .. } if from == loser)
    });
    assert!(handed, "microphone and camera go over to the other call: {asked:?}");
    callee.describe(winner, DescriptionKind::Answer);
    let said = callee.post();
    let mut said_kinds = kinds(&said);
    said_kinds.sort_unstable();
    assert_eq!(said_kinds, ["m.call.answer", "m.call.hangup"]);
    caller.hear(&said);
    assert_eq!(caller.state(winner), "connecting");
}

#[test]
fn m14_who_is_about_to_call_takes_the_call_that_comes_in() {
    let (mut two, call) = Two::ringing();
    let own = two.ben.act(|calls, now| calls.place(now, ROOM, Some("@ann:hs"), true)).expect("free");
    assert_eq!(own, call, "calling back is answering");
    assert_eq!(two.ben.state(&call), "answering");
    let mut two = Two::new();
    let own = two.ben.act(|calls, now| calls.place(now, ROOM, Some("@ann:hs"), false)).expect("free");
    two.ben.hear(&[event("@ann:hs", "m.call.invite", invite("zzz", "a"))]);
    assert_eq!((two.ben.state("zzz"), two.ben.state(&own)), pair("answering", "replaced"));
    two.ben.describe("zzz", DescriptionKind::Answer);
    assert_eq!(kinds(&two.ben.post()), ["m.call.answer"], "of the call that nobody heard of nothing is said");
}

#[test]
fn m14_a_second_call_rings_and_taking_it_ends_the_first() {
    let (mut two, call) = Two::connected();
    two.ben.hear(&[event("@cy:hs", "m.call.invite", invite("c2", "c"))]);
    assert_eq!((two.ben.state("c2"), two.ben.state(&call)), pair("ringing", "connected"));
    assert_eq!(two.ben.act(|calls, now| calls.place(now, ROOM, None, false)), Err(Refused::Busy));
    two.ben.act(|calls, now| calls.accept(now, "c2", false)).expect("rings");
    assert_eq!((two.ben.state("c2"), two.ben.state(&call)), pair("answering", "hung_up"));
    assert_eq!(kinds(&two.ben.post()), ["m.call.hangup"]);
}

#[test]
fn m14_without_a_microphone_it_rings_on_and_can_be_taken_again() {
    let (mut two, call) = Two::ringing();
    for _ in 0..3 {
        two.ben.act(|calls, now| calls.accept(now, &call, true)).expect("rings");
        assert!(matches!(two.ben.asked()[0].1, Media::Answer { .. }));
        two.ben.act(|calls, now| calls.handle_media_failed(now, &call)).expect("there");
        assert_eq!(
            (two.ben.state(&call), two.ben.asked()),
            (String::from("ringing"), vec![(call.clone(), Media::Close)])
        );
    }
    assert!(two.ben.post().is_empty(), "the user's other clients go on ringing");
    two.ann.act(|calls, now| calls.handle_media_failed(now, &call)).expect("there");
    assert_eq!(two.ann.post()[0].content["reason"], json!("user_media_failed"));
}

#[test]
fn m14_a_lost_connection_is_made_anew_by_the_caller_and_given_up_in_the_end() {
    let (mut two, call) = Two::connected();
    two.ann.asked();
    two.ann.act(|calls, now| calls.handle_path(now, &call, Path::Lost)).expect("there");
    assert!(two.ann.shown.last().is_some_and(|view| view.reconnecting));
    two.ann.pass(Duration::from_millis(1_900));
    assert!(two.ann.asked().is_empty(), "it may come back by itself");
    two.ann.pass(Duration::from_millis(200));
    assert_eq!(two.ann.asked(), [(call.clone(), Media::Restart)]);
    assert_eq!(two.ann.act(|calls, now| calls.begin_change(now, &call)), Ok(true));
    two.ann.describe(&call, DescriptionKind::Offer);
    let said = two.ann.post();
    assert_eq!(kinds(&said), ["m.call.negotiate"]);
    two.ben.asked();
    two.ben.hear(&said);
    assert!(matches!(two.ben.asked()[..], [(_, Media::Remote(_))]));
    two.ben.describe(&call, DescriptionKind::Answer);
    let answered = two.ben.post();
    assert_eq!(kinds(&answered), ["m.call.negotiate"]);
    two.ann.hear(&answered);
    two.ann.act(|calls, now| calls.handle_path(now, &call, Path::Up)).expect("there");
    assert!(
        two.ann
            .shown
            .last()
            .is_some_and(|view| !view.reconnecting && view.phase == super::super::phase::Phase::Connected)
    );
    // The next time nobody comes back.
    two.ann.act(|calls, now| calls.handle_path(now, &call, Path::Failed)).expect("there");
    two.ann.pass(secs(29));
    assert_eq!(two.ann.state(&call), "connected");
    two.ann.pass(secs(2));
    assert_eq!(two.ann.state(&call), "path_lost");
    assert_eq!(two.ann.post().last().expect("a hangup").content["reason"], json!("ice_timeout"));
}

#[test]
fn m14_no_connection_within_its_time_ends_the_call_and_says_why() {
    let (mut two, call) = Two::connecting();
    two.ann.pass(secs(41));
    assert_eq!(two.ann.state(&call), "no_path");
    let said = two.ann.post();
    assert_eq!(said.last().expect("a hangup").content["reason"], json!("ice_failed"));
    two.ben.hear(&said);
    assert_eq!(two.ben.state(&call), "no_path");
}

#[test]
fn m14_of_two_offers_in_a_call_that_of_the_caller_goes_first() {
    let (mut two, call) = Two::connected();
    for phone in [&mut two.ann, &mut two.ben] {
        assert_eq!(phone.act(|calls, now| calls.begin_change(now, &call)), Ok(true));
        phone.describe(&call, DescriptionKind::Offer);
        assert_eq!(phone.act(|calls, now| calls.begin_change(now, &call)), Ok(false), "one at a time");
        phone.asked();
    }
    let (by_ann, by_ben) = (two.ann.post(), two.ben.post());
    two.ann.hear(&by_ben);
    assert!(two.ann.asked().is_empty(), "who calls insists");
    two.ben.hear(&by_ann);
    assert!(matches!(two.ben.asked()[..], [(_, Media::Remote(_))]), "who was called gives way");
    two.ben.describe(&call, DescriptionKind::Answer);
    let said = two.ben.post();
    two.ann.hear(&said);
    assert!(matches!(two.ann.asked()[..], [(_, Media::Remote(_))]));
    assert_eq!(two.ann.act(|calls, now| calls.begin_change(now, &call)), Ok(true));
}

#[test]
fn m14_an_offer_that_nobody_answers_is_taken_back() {
    let (mut two, call) = Two::connected();
    two.ann.asked();
    assert_eq!(two.ann.act(|calls, now| calls.begin_change(now, &call)), Ok(true));
    two.ann.pass(secs(31));
    assert_eq!(two.ann.asked(), [(call, Media::Rollback)]);
}

#[test]
fn m14_who_is_of_version_0_is_spoken_with_as_they_know() {
    let mut ben = Phone::new("@ben:hs", 2, START);
    let mut old = invite("c", "ignored");
    old["version"] = json!(0);
    ben.hear(&[event("@ann:hs", "m.call.invite", old.clone())]);
    ben.act(|calls, now| calls.hang_up(now, "c")).expect("rings");
    assert_eq!(kinds(&ben.post()), ["m.call.hangup"], "there was no refusal");
    old["call_id"] = json!("d");
    ben.hear(&[event("@ann:hs", "m.call.invite", old)]);
    ben.act(|calls, now| calls.accept(now, "d", false)).expect("rings");
    ben.describe("d", DescriptionKind::Answer);
    assert_eq!(kinds(&ben.post()), ["m.call.answer"]);
    assert_eq!(ben.act(|calls, now| calls.begin_change(now, "d")), Ok(false), "nor changes");
    ben.hear(&[event("@ann:hs", "m.call.hangup", json!({"call_id": "d", "version": 0}))]);
    assert_eq!(ben.state("d"), "other_hung_up");
    // And as callee: hanging up is refusing.
    let (mut two, call) = Two::ringing();
    two.ann.hear(&[event("@ben:hs", "m.call.hangup", json!({"call_id": call, "version": 0}))]);
    assert_eq!(two.ann.state(&call), "rejected");
}

#[test]
fn m14_what_is_lost_is_sent_again_as_the_same_event_and_in_order() {
    let mut ann = Phone::new("@ann:hs", 1, START);
    let call = ann.act(|calls, now| calls.place(now, ROOM, Some("@ben:hs"), false)).expect("free");
    ann.describe(&call, DescriptionKind::Offer);
    let first = ann.letters.remove(0);
    ann.act(|calls, now| calls.handle_candidate(now, &call, None)).expect("there");
    assert!(ann.letters.is_empty(), "one after the other");
    ann.act(|calls, now| calls.handle_sent(now, first.token, Delivery::Lost(secs(2))));
    ann.pass(secs(1));
    assert!(ann.letters.is_empty());
    ann.pass(secs(1));
    assert_eq!(ann.letters.len(), 1);
    assert_eq!((&ann.letters[0].transaction, &ann.letters[0].content), (&first.transaction, &first.content));
    assert_eq!(kinds(&ann.post()), ["m.call.invite", "m.call.candidates"]);
}

#[test]
fn m14_an_invitation_that_was_never_sent_needs_no_end_and_one_that_is_refused_is_the_end() {
    let mut ann = Phone::new("@ann:hs", 1, START);
    let call = ann.act(|calls, now| calls.place(now, ROOM, Some("@ben:hs"), false)).expect("free");
    ann.act(|calls, now| calls.hang_up(now, &call)).expect("there");
    assert!(ann.post().is_empty());
    let call = ann.act(|calls, now| calls.place(now, ROOM, Some("@ben:hs"), false)).expect("free");
    ann.describe(&call, DescriptionKind::Offer);
    let letter = ann.letters.remove(0);
    ann.act(|calls, now| calls.handle_sent(now, letter.token, Delivery::Refused));
    assert_eq!(ann.state(&call), "not_sent");
    assert!(ann.post().is_empty() && ann.calls.poll_timeout().is_none());
}

#[test]
fn m14_who_leaves_the_room_is_in_no_call_there() {
    for (left, expected) in [("@ann:hs", "left"), ("@ben:hs", "left"), ("@cy:hs", "connected")] {
        let (mut two, call) = Two::connected();
        two.ann.act(|calls, now| {
            calls.handle_left(now, ROOM, left);
            calls.handle_settled(now);
        });
        assert_eq!(two.ann.state(&call), expected, "{left}");
    }
}

#[test]
fn m14_a_page_that_goes_says_so_at_once_and_one_that_is_back_does_not_ring_for_what_it_answered() {
    let (mut two, call) = Two::connected();
    // Something is under way, and does not hold it up.
    two.ann.act(|calls, now| calls.handle_streams(now, &call, "{}")).expect("there");
    two.ann.letters.clear();
    two.ann.act(|calls, now| calls.stop(now));
    assert_eq!((two.ann.letters.len(), two.ann.letters[0].kind), (1, "m.call.hangup"));
    assert_eq!(two.ann.state(&call), "hung_up");

    let (mut two, call) = Two::ringing();
    let party = two.ben.calls.parties()[0].2.clone().expect("a caller").id.expect("of version 1");
    two.ben.act(|calls, now| calls.accept(now, &call, false)).expect("rings");
    two.ben.describe(&call, DescriptionKind::Answer);
    let history = [vec![event("@ann:hs", "m.call.invite", invite(&call, &party))], two.ben.post()].concat();
    let mut again = Phone::new("@ben:hs", 9, START + secs(5));
    again.hear(&history);
    assert!(again.shown.is_empty());
    // What was not answered goes on ringing, for the time that is left.
    let mut again = Phone::new("@ben:hs", 9, START + secs(5));
    again.hear(&history[..1]);
    assert_eq!(again.state(&call), "ringing");
}

#[test]
fn p13_a_call_that_may_not_be_heard_can_be_taken_and_one_that_is_ignored_is_not_there() {
    let invited = [event("@ann:hs", "m.call.invite", invite("c", "a"))];
    let mut ben = Phone::new("@ben:hs", 2, START);
    ben.hear_as(&invited, Admission::Muted);
    assert!(!ben.shown[0].rings);
    ben.act(|calls, now| calls.accept(now, "c", false)).expect("is there");
    let mut ben = Phone::new("@ben:hs", 2, START);
    ben.hear_as(&invited, Admission::Ignored);
    ben.hear(&invited);
    assert!(ben.shown.is_empty(), "nor when it is told again");
}
