//! Who is there: connections and their grace, restarts, how many devices, what comes out and when.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

#[test]
fn p1_who_connects_is_online_and_who_never_did_is_offline_without_a_last_seen() {
    let mut w = World::new();
    assert_eq!((w.state(), w.view().last_seen_ago), (State::Offline, None));
    w.connect(PHONE);
    assert_eq!(w.changes(), [Change::Visible]);
    assert_eq!(w.state(), State::Online);
}

#[test]
fn p12_a_leave_and_a_return_within_the_grace_tell_nothing() {
    let mut w = World::online();
    w.disconnect(PHONE);
    w.pass(29);
    w.connect(PHONE);
    w.pass(300);
    assert_eq!((w.changes(), w.state()), (vec![], State::Online));
}

#[test]
fn p12_long_polls_follow_each_other_without_a_gap_and_the_last_one_is_counted_from() {
    let mut w = World::online();
    for _ in 0..20 {
        w.disconnect(PHONE);
        w.pass(7);
        w.connect(PHONE);
        w.pass(23);
        assert_eq!((w.changes(), w.state()), (vec![], State::Online));
    }
    w.disconnect(PHONE);
    w.pass(29);
    assert_eq!(w.state(), State::Online);
    w.pass(1);
    assert_eq!((w.changes(), w.state()), (vec![Change::Visible], State::Offline));
    assert_eq!(w.engine.poll_timeout(), None);
}

#[test]
fn p12_one_of_two_devices_that_drops_leaves_the_other_to_speak_after_the_grace() {
    let mut w = World::online();
    w.connect(LAPTOP);
    w.idle(LAPTOP, 180);
    w.disconnect(PHONE);
    w.pass(29);
    assert_eq!((w.changes(), w.state()), (vec![], State::Online));
    w.pass(1);
    assert_eq!((w.changes(), w.state()), (vec![Change::Visible], State::Unavailable));
}

#[test]
fn p12_each_of_two_devices_has_the_whole_grace() {
    let mut w = World::online();
    w.connect(LAPTOP);
    w.disconnect(PHONE);
    w.pass(20);
    w.disconnect(LAPTOP);
    w.changes();
    w.pass(29);
    assert_eq!(
        (w.state(), w.changes()),
        (State::Online, vec![]),
        "the phone's grace is over, the laptop's is not"
    );
    w.pass(1);
    assert_eq!((w.state(), w.changes()), (State::Offline, vec![Change::Visible]));
}

#[test]
fn overlapping_polls_of_one_device_are_counted() {
    let mut w = World::online();
    w.connect(PHONE);
    w.disconnect(PHONE);
    w.pass(300);
    assert_eq!(w.state(), State::Online);
    w.disconnect(PHONE);
    w.disconnect(PHONE);
    w.pass(30);
    assert_eq!(w.state(), State::Offline);
}

#[test]
fn a_device_that_logs_out_is_gone_at_once() {
    let mut w = World::online();
    w.engine.handle_device_removed(w.user, PHONE, w.now);
    assert_eq!((w.changes(), w.state()), (vec![Change::Visible], State::Offline));
    w.disconnect(PHONE);
    w.pass(300);
    assert_eq!((w.changes(), w.state()), (vec![], State::Offline));
}

#[test]
fn a_touch_shows_the_user_for_as_long_as_the_grace() {
    let mut w = World::new();
    w.engine.handle_touch(w.user, PHONE, w.now);
    w.choose_saying(Choice::Busy, set("scripted"));
    w.pass(29);
    assert_eq!((w.state(), w.view().status_msg.as_deref()), (State::Busy, Some("scripted")));
    w.pass(1);
    assert_eq!((w.state(), w.view().status_msg.as_deref()), (State::Offline, Some("scripted")));
}

#[test]
fn changes_undone_before_the_outputs_are_drained_are_none() {
    let mut w = World::online();
    w.idle(PHONE, 180);
    w.active(PHONE);
    w.choose(Choice::Busy);
    w.choose(Choice::Online);
    assert!(w.changes().iter().all(|&change| change == Change::Quiet));
    w.choose(Choice::Busy);
    w.choose(Choice::FreeForChat);
    w.choose_saying(Choice::Busy, set("a"));
    w.choose_saying(Choice::Busy, set("b"));
    assert_eq!(w.changes(), [Change::Visible], "one, however many inputs");
}

#[test]
fn the_record_comes_before_the_change_it_belongs_to() {
    let mut w = World::online();
    w.choose(Choice::Busy);
    assert!(matches!(w.engine.poll_output(w.now), Some(Output::Persist { .. })));
    assert!(matches!(w.engine.poll_output(w.now), Some(Output::Changed { .. })));
    assert_eq!(w.engine.poll_output(w.now), None);
}

#[test]
fn who_comes_back_soon_after_a_restart_was_never_seen_to_leave() {
    for idle in [false, true] {
        let mut w = World::online();
        w.choose(Choice::FreeForChat);
        if idle {
            w.idle(PHONE, 180);
        }
        w.changes();
        let state = w.state();
        let mut w = w.restart(20);
        assert_eq!(w.state(), state);
        w.pass(50);
        w.says(PHONE, if idle { SetPresence::Unavailable } else { SetPresence::Absent });
        w.pass(600);
        assert_eq!((w.changes(), w.state()), (vec![], state));
    }
}

#[test]
fn who_does_not_come_back_after_a_restart_is_offline_since_they_were_last_seen() {
    let mut w = World::online();
    w.choose(Choice::Busy);
    w.changes();
    let mut w = w.restart(7_200);
    w.pass(59);
    assert_eq!((w.changes(), w.state()), (vec![], State::Busy));
    w.pass(1);
    assert_eq!((w.changes(), w.state()), (vec![Change::Visible], State::Offline));
    assert_eq!(w.view().last_seen_ago, Some(Duration::from_secs(7_200)));
    let w = w.restart(60);
    assert_eq!((w.state(), w.engine.poll_timeout()), (State::Offline, None));
}

#[test]
fn a_device_beyond_the_bound_takes_the_place_of_the_one_that_left_first_or_none() {
    let mut w = World::online();
    for key in 2..=64 {
        w.connect(DeviceKey(key));
    }
    w.connect(DeviceKey(100));
    w.idle(DeviceKey(100), 0);
    w.disconnect(DeviceKey(100));
    assert_eq!(w.engine.users[0].devices.len(), 64);
    assert!(w.engine.users[0].devices.iter().all(|d| d.key != DeviceKey(100)));
    for left in [7, 8, 9] {
        w.disconnect(DeviceKey(left));
        w.pass(1);
    }
    let keys = |w: &World| w.engine.users[0].devices.iter().map(|d| d.key.0).collect::<Vec<_>>();
    for (new, left) in [(100, 7), (101, 8), (102, 9)] {
        w.connect(DeviceKey(new));
        assert_eq!(keys(&w).len(), 64);
        assert!(keys(&w).contains(&new) && !keys(&w).contains(&left), "{left} goes first");
    }
}

#[test]
fn a_device_that_is_only_remembered_makes_room_before_one_that_is_connected() {
    let mut w = World::online();
    w.idle(PHONE, 180);
    w.disconnect(PHONE);
    w.pass(30);
    for key in 2..=64 {
        w.connect(DeviceKey(key));
    }
    w.disconnect(DeviceKey(64));
    w.connect(DeviceKey(100));
    let keys: Vec<_> = w.engine.users[0].devices.iter().map(|d| d.key).collect();
    assert!(!keys.contains(&PHONE) && keys.contains(&DeviceKey(64)) && keys.contains(&DeviceKey(100)));
}

#[test]
fn a_user_with_a_device_takes_no_more_than_208_bytes() {
    let user = size_of::<User>();
    let device = size_of::<Device>();
    assert!(user <= 144, "{user}");
    assert!(device <= 64, "{device}");
    let mut w = World::online();
    assert_eq!(w.engine.users[0].devices.capacity(), 1);
    w.disconnect(PHONE);
    w.pass(30);
    assert_eq!(w.engine.users[0].devices.capacity(), 0, "who is offline keeps no room for devices");
}
