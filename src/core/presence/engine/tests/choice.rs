//! What the user chose and says, and what a hidden user shows: nothing.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::core::presence::{MatrixState, Wish, Words};

#[test]
fn p2_a_status_message_is_kept_set_and_cleared() {
    let mut w = World::online();
    w.choose_saying(Choice::Busy, set("in a call"));
    assert_eq!(w.changes(), [Change::Visible]);
    w.choose(Choice::Online);
    assert_eq!(w.view().status_msg.as_deref(), Some("in a call"));
    assert_eq!(w.changes(), [Change::Visible]);
    w.choose_saying(Choice::Online, StatusMsg::Clear);
    assert_eq!(w.view().status_msg, None);
    assert_eq!(w.changes(), [Change::Visible]);
    assert_eq!(w.record.status_msg, None);
}

#[test]
fn p3_the_choice_holds_for_all_devices_and_over_reconnects_and_restarts() {
    let mut w = World::online();
    w.choose_saying(Choice::Busy, set("exam"));
    w.connect(LAPTOP);
    assert_eq!(w.changes(), [Change::Visible]);
    assert_eq!((w.state(), w.own().choice), (State::Busy, Choice::Busy));
    w.disconnect(PHONE);
    w.disconnect(LAPTOP);
    w.pass(3_600);
    assert_eq!((w.state(), w.own().choice), (State::Offline, Choice::Busy));
    assert_eq!(w.changes(), [Change::Visible]);
    let mut w = w.restart(60);
    assert_eq!(w.state(), State::Offline);
    w.says(PHONE, SetPresence::Online);
    assert_eq!((w.state(), w.view().status_msg.as_deref()), (State::Busy, Some("exam")));
}

#[test]
fn p3_a_choice_of_unavailable_survives_the_users_own_next_sync() {
    let mut w = World::online();
    w.choose(Choice::Unavailable);
    w.disconnect(PHONE);
    w.says(PHONE, SetPresence::Online);
    assert_eq!(w.state(), State::Unavailable);
}

#[test]
fn p4_a_hidden_user_is_hidden_to_the_own_devices_only() {
    let mut w = World::online();
    w.choose(Choice::Hidden);
    assert_eq!(w.changes(), [Change::Visible]);
    assert_eq!((w.state(), w.own().state), (State::Offline, State::Hidden));
    assert_eq!(w.view().device_type, None);
}

/// Two users do the same until one hides and one logs out; whatever the hidden one goes on to do, others
/// cannot tell the two apart.
#[test]
fn p4_what_a_hidden_user_does_shows_nowhere() {
    let mut hidden = World::online();
    let mut gone = World::online();
    for w in [&mut hidden, &mut gone] {
        w.choose_saying(Choice::Online, set("hello"));
        w.send_message();
        w.pass(10);
    }
    hidden.choose(Choice::Hidden);
    gone.engine.handle_device_removed(gone.user, PHONE, gone.now);
    assert_eq!(hidden.view(), gone.view());
    let (seen, active) = (hidden.view().last_seen_ago, hidden.view().last_active_ago);
    assert_eq!((hidden.changes(), gone.changes()), (vec![Change::Visible], vec![Change::Visible]));

    let acts: [fn(&mut World); 9] = [
        World::send_message,
        |w| w.choose_saying(Choice::Hidden, set("still here")),
        |w| w.idle(PHONE, 200),
        |w| w.active(PHONE),
        |w| w.connect(LAPTOP),
        |w| {
            w.engine.handle_device_type(w.user, LAPTOP, Some(DeviceType::WEB));
        },
        |w| w.disconnect(PHONE),
        |w| w.disconnect(LAPTOP),
        |w| w.connect(PHONE),
    ];
    for act in acts {
        act(&mut hidden);
        assert!(hidden.changes().iter().all(|&change| change == Change::Own));
        assert_eq!(hidden.view(), gone.view());
        for w in [&mut hidden, &mut gone] {
            w.pass(400);
        }
        assert_eq!(hidden.view(), gone.view());
    }
    let passed = Duration::from_secs(9 * 400);
    assert_eq!(hidden.view().last_active_ago, active.map(|ago| ago + passed));
    assert_eq!(hidden.view().last_seen_ago, seen.map(|ago| ago + passed));

    hidden.choose(Choice::Online);
    assert_eq!(hidden.view().status_msg.as_deref(), Some("still here"));
    assert_eq!(hidden.view().last_active_ago, Some(Duration::ZERO));
}

#[test]
fn p4_the_own_devices_are_told_what_a_hidden_user_changes() {
    let mut w = World::online();
    w.choose(Choice::Hidden);
    assert_eq!(w.changes(), [Change::Visible]);
    w.choose_saying(Choice::Hidden, set("psst"));
    assert_eq!(w.changes(), [Change::Own]);
    assert_eq!(w.own().status_msg.as_deref(), Some("psst"));
    w.choose(Choice::Offline);
    assert_eq!(w.changes(), [Change::Own]);
    assert_eq!(w.own().state, State::Offline);
}

#[test]
fn p4_the_message_in_the_request_that_hides_is_not_shown() {
    for choice in [Choice::Hidden, Choice::Offline] {
        let mut w = World::online();
        w.choose_saying(Choice::Online, set("hello"));
        w.changes();
        w.choose_saying(choice, set("gone to the doctor"));
        assert_eq!(w.view().status_msg.as_deref(), Some("hello"), "{choice}");
        assert_eq!(w.own().status_msg.as_deref(), Some("gone to the doctor"));
        w.changes();
        assert_eq!(w.record.shown_status_msg.as_deref(), Some("hello"));
    }
}

#[test]
fn p3_what_a_device_with_matrixs_words_shows_ends_only_what_it_can_have_chosen() {
    for chosen in Choice::ALL {
        let mut w = World::online();
        w.choose_saying(Choice::Online, set("hello"));
        w.changes();
        w.choose_saying(chosen, set("said with it"));
        w.changes();
        let shown = w.view();
        for (word, signs_off) in [
            (Choice::Offline, true),
            (Choice::Offline, true),
            (Choice::Online, false),
            (Choice::Unavailable, false),
            (Choice::Offline, true),
            (Choice::Unavailable, false),
        ] {
            let decision = Wish::new(Words::Matrix, word).decision();
            w.engine.handle_decision(w.user, decision, StatusMsg::Keep, w.now);
            w.changes();
            for _ in 0..2 {
                let holds = if signs_off && chosen != Choice::Hidden { Choice::Offline } else { chosen };
                assert_eq!((w.own().choice, w.record.choice), (holds, chosen), "{chosen}, then {word}");
                assert_eq!(w.view().state, holds.state().outward(), "{chosen}, then {word}");
                assert_eq!(w.view().status_msg, shown.status_msg, "{chosen}, then {word}");
                w = w.restart(1);
                w.connect(PHONE);
                w.changes();
            }
        }
    }
}

#[test]
fn p11_what_matrix_has_no_word_for_is_told_in_its_words() {
    let mut w = World::online();
    for (choice, matrix) in [
        (Choice::FreeForChat, MatrixState::Online),
        (Choice::Busy, MatrixState::Unavailable),
        (Choice::Hidden, MatrixState::Offline),
    ] {
        w.choose(choice);
        assert_eq!(w.view().matrix_state(), matrix);
    }
}

#[test]
fn p4_a_hidden_user_is_hidden_through_a_restart() {
    let mut w = World::online();
    w.choose(Choice::Hidden);
    w.changes();
    let before = w.view();
    let mut w = w.restart(0);
    assert_eq!((w.view(), w.engine.poll_timeout()), (before, None));
    w.connect(PHONE);
    assert!(!w.changes().contains(&Change::Visible));
    assert_eq!((w.state(), w.own().state), (State::Offline, State::Hidden));
}
