//! When a device, and with it its user, is idle: by what it reports and by what its polls say.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::core::presence::MatrixState;

#[test]
fn p5_a_user_is_unavailable_only_when_every_device_is_idle() {
    let mut w = World::online();
    w.connect(LAPTOP);
    w.idle(PHONE, 180);
    assert_eq!(w.changes(), []);
    w.idle(LAPTOP, 180);
    assert_eq!((w.changes(), w.state()), (vec![Change::Visible], State::Unavailable));
    w.active(PHONE);
    assert_eq!((w.changes(), w.state()), (vec![Change::Visible], State::Online));
}

#[test]
fn p5_p6_busy_stays_busy_when_idle_and_others_see_for_how_long() {
    let mut w = World::online();
    w.choose(Choice::Busy);
    assert_eq!((w.changes(), w.view().idle_for), (vec![Change::Visible], None));
    w.idle(PHONE, 180);
    assert_eq!((w.state(), w.view().matrix_state()), (State::Busy, MatrixState::Unavailable));
    assert_eq!((w.changes(), w.view().idle_for), (vec![Change::Visible], Some(Duration::from_secs(180))));
    w.active(PHONE);
    assert_eq!((w.changes(), w.view().idle_for), (vec![Change::Visible], None));
}

#[test]
fn p6_others_see_how_long_every_device_is_idle_and_nothing_of_the_kind_of_anybody_else() {
    let idle_for = |w: &World| w.view().idle_for.map(|idle| idle.as_secs());
    let mut w = World::online();
    w.connect(LAPTOP);
    w.idle(LAPTOP, 600);
    assert_eq!(idle_for(&w), None, "somebody is at the phone");
    w.idle(PHONE, 180);
    assert_eq!((w.changes(), idle_for(&w)), (vec![Change::Visible], Some(180)));
    w.pass(60);
    assert_eq!((w.changes(), idle_for(&w)), (vec![], Some(240)), "it goes on by itself");
    w.disconnect(PHONE);
    w.pass(30);
    assert_eq!((w.changes(), idle_for(&w)), (vec![Change::Times], Some(690)), "the laptop's, for who asks");
    for (choice, shown) in [
        (Choice::Hidden, None),
        (Choice::Offline, None),
        (Choice::Unavailable, Some(690)),
        (Choice::Busy, Some(690)),
        (Choice::FreeForChat, Some(690)),
    ] {
        w.choose(choice);
        assert_eq!(idle_for(&w), shown, "{choice}");
    }
    w.disconnect(LAPTOP);
    w.pass(30);
    assert_eq!(idle_for(&w), None, "offline");
}

#[test]
fn p6_who_is_away_by_choice_is_not_idle() {
    let mut w = World::online();
    w.choose(Choice::Unavailable);
    assert_eq!((w.state(), w.view().idle_for), (State::Unavailable, None));
}

#[test]
fn p6_idle_time_goes_on_from_one_report() {
    let mut w = World::online();
    w.idle(PHONE, 180);
    w.pass(3_600);
    assert_eq!(w.own().idle_for, Some(Duration::from_secs(3_780)));
    assert_eq!(w.state(), State::Unavailable);
}

#[test]
fn p6_polls_that_say_nothing_or_unavailable_again_leave_an_idle_device_as_it_is() {
    let mut w = World::online();
    w.idle(PHONE, 180);
    w.changes();
    for says in [SetPresence::Absent, SetPresence::Unavailable, SetPresence::Absent] {
        w.disconnect(PHONE);
        w.says(PHONE, says);
        w.pass(30);
    }
    assert_eq!((w.changes(), w.state()), (vec![], State::Unavailable));
    assert_eq!(w.own().idle_for, Some(Duration::from_secs(270)));
    w.disconnect(PHONE);
    w.says(PHONE, SetPresence::Online);
    assert_eq!((w.changes(), w.state()), (vec![Change::Visible], State::Online));
}

/// What a device says in its polls, and what it reports, one after the other, and whether it counts as idle then.
#[test]
fn p3_set_presence_holds_as_long_as_it_is_said_and_takes_back_only_itself() {
    use SetPresence::{Absent, Online, Unavailable};
    type Say = Result<SetPresence, bool>;
    let (active, idle): (Say, Say) = (Err(false), Err(true));
    for (says, is_idle) in [
        (vec![Ok(Absent)], false),
        (vec![Ok(Unavailable)], true),
        (vec![Ok(Unavailable), Ok(Unavailable)], true),
        (vec![Ok(Unavailable), Ok(Absent)], false),
        (vec![Ok(Unavailable), Ok(Online)], false),
        (vec![Ok(Unavailable), active], false),
        (vec![Ok(Unavailable), active, Ok(Unavailable)], true),
        (vec![Ok(Unavailable), idle, Ok(Absent)], true),
        (vec![idle, Ok(Absent)], true),
        (vec![idle, Ok(Absent), Ok(Absent)], true),
        (vec![idle, Ok(Unavailable), Ok(Absent)], true),
        (vec![idle, Ok(Online)], false),
        (vec![idle, Ok(Online), Ok(Absent)], true),
        (vec![idle, active, Ok(Absent)], false),
        (vec![Ok(Online), idle], true),
        (vec![Ok(Online), idle, Ok(Absent)], true),
        (vec![Ok(Online), idle, Ok(Online)], false),
        (vec![active, Ok(Unavailable), Ok(Absent)], false),
    ] {
        let mut w = World::online();
        for say in &says {
            match say {
                Ok(says) => {
                    w.says(PHONE, *says);
                    w.disconnect(PHONE);
                }
                Err(true) => w.idle(PHONE, 0),
                Err(false) => w.active(PHONE),
            }
            w.pass(1);
        }
        let state = if is_idle { State::Unavailable } else { State::Online };
        assert_eq!(w.state(), state, "{says:?}");
    }
}

#[test]
fn p3_other_requests_of_a_device_leave_what_its_polls_say() {
    let mut w = World::online();
    w.says(PHONE, SetPresence::Unavailable);
    w.engine.handle_touch(w.user, PHONE, w.now);
    assert_eq!(w.state(), State::Unavailable);
}

#[test]
fn p6_a_device_that_was_idle_when_it_left_is_idle_when_it_comes_back_also_after_a_restart() {
    for (left_saying, idle) in
        [(SetPresence::Absent, true), (SetPresence::Unavailable, true), (SetPresence::Online, false)]
    {
        let mut w = World::online();
        w.idle(PHONE, 180);
        w.disconnect(PHONE);
        w.says(PHONE, left_saying);
        w.disconnect(PHONE);
        w.pass(3_600);
        assert_eq!(w.state(), State::Offline);
        w.changes();
        let mut restarted = World::restored(w.record.clone(), START + 5_000);
        for w in [&mut w, &mut restarted] {
            w.connect(PHONE);
            let state = if idle { State::Unavailable } else { State::Online };
            assert_eq!((w.state(), w.view().idle_for.is_some()), (state, idle), "{left_saying:?}");
            w.active(PHONE);
            assert_eq!(w.state(), State::Online);
        }
    }
}

#[test]
fn p6_a_device_that_logs_out_or_is_active_again_is_not_kept_as_idle() {
    let forget: [fn(&mut World); 2] =
        [|w| w.engine.handle_device_removed(w.user, PHONE, w.now), |w| w.active(PHONE)];
    for forget in forget {
        let mut w = World::online();
        w.idle(PHONE, 180);
        w.changes();
        assert_eq!(w.record.idle.len(), 1);
        forget(&mut w);
        w.changes();
        assert_eq!(w.record.idle, []);
    }
}

#[test]
fn p6_late_and_repeated_reports_with_numbers_change_nothing() {
    let mut w = World::online();
    let (user, idle_for) = (w.user, Duration::from_secs(180));
    w.engine.handle_idle(user, PHONE, Some(1), idle_for, w.now);
    w.engine.handle_active(user, PHONE, Some(2), w.now);
    assert_eq!(w.state(), State::Online);
    w.engine.handle_idle(user, PHONE, Some(1), idle_for, w.now);
    assert_eq!(w.state(), State::Online, "the first report, retransmitted");
    w.engine.handle_idle(user, PHONE, Some(3), idle_for, w.now);
    w.pass(60);
    w.engine.handle_idle(user, PHONE, Some(3), idle_for, w.now);
    assert_eq!(w.own().idle_for, Some(Duration::from_secs(240)), "repeated, it is no later idleness");
}

#[test]
fn p6_an_absurd_duration_is_cut() {
    let mut w = World::online();
    w.engine.handle_idle(w.user, PHONE, None, Duration::MAX, w.now);
    assert_eq!(w.own().idle_for, Some(Settings::default().longest_idle));
}

#[test]
fn p6_reports_of_devices_that_are_not_connected_are_dropped() {
    let mut w = World::online();
    w.idle(LAPTOP, 180);
    w.active(LAPTOP);
    w.disconnect(LAPTOP);
    assert_eq!((w.changes(), w.state()), (vec![], State::Online));
}

#[test]
fn p6_who_was_away_by_choice_is_not_idle_after_a_restart_and_who_was_idle_still_is() {
    for by_choice in [true, false] {
        let mut w = World::online();
        if by_choice {
            w.choose(Choice::Unavailable);
        } else {
            w.idle(PHONE, 180);
        }
        w.changes();
        let w = w.restart(20);
        assert_eq!(w.state(), State::Unavailable);
        let idle = (!by_choice).then_some(Duration::from_secs(200));
        assert_eq!(w.view().idle_for, idle, "by choice: {by_choice}");
    }
}
