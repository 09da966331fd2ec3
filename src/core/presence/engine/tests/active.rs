//! What others see of what somebody does: the device, when they were active last, when they were seen last.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

#[test]
fn p7_others_see_the_type_of_the_device_that_was_active_last() {
    let mut w = World::online();
    w.engine.handle_device_type(w.user, PHONE, Some(DeviceType::MOBILE));
    assert_eq!(w.changes(), [Change::Visible]);
    assert_eq!(w.view().device_type, Some(DeviceType::MOBILE));
    w.connect(LAPTOP);
    w.engine.handle_device_type(w.user, LAPTOP, Some(DeviceType::WEB));
    assert_eq!(w.view().device_type, Some(DeviceType::WEB));
    w.idle(LAPTOP, 180);
    assert_eq!(w.view().device_type, Some(DeviceType::MOBILE));
}

#[test]
fn p8_messages_and_changes_upwards_are_pro_active_and_changes_downwards_are_not() {
    let mut w = World::online();
    assert_eq!(w.view().last_active_ago, Some(Duration::from_secs(1_000)), "since the connection");
    for (choice, moves) in [
        (Choice::FreeForChat, true),
        (Choice::Online, false),
        (Choice::Busy, false),
        (Choice::Unavailable, false),
        (Choice::Busy, true),
        (Choice::Online, true),
        (Choice::Online, false),
    ] {
        w.pass(7);
        w.choose(choice);
        assert_eq!(w.view().last_active_ago == Some(Duration::ZERO), moves, "{choice}");
    }
    w.pass(7);
    w.send_message();
    assert_eq!(w.view().last_active_ago, Some(Duration::ZERO));
}

#[test]
fn p8_currently_active_is_told_when_it_begins_and_when_it_ends_and_not_between() {
    let mut w = World::online();
    assert!(!w.view().currently_active);
    w.send_message();
    assert_eq!((w.changes(), w.view().currently_active), (vec![Change::Quiet], true));
    for _ in 0..10 {
        w.pass(200);
        w.send_message();
        assert_eq!(w.changes(), [Change::Times], "for who is told anyway");
        assert_eq!(w.view().last_active_ago, Some(Duration::ZERO));
    }
    w.pass(299);
    assert!(w.view().currently_active);
    w.pass(1);
    assert_eq!((w.changes(), w.view().currently_active), (vec![Change::Quiet], false));
    assert_eq!(w.record.last_active, Some((w.now - Duration::from_secs(300)).to_unix()));
}

#[test]
fn p8_a_message_of_who_is_busy_is_told_once_a_window_though_nobody_is_shown_as_active() {
    let mut w = World::online();
    w.choose(Choice::Busy);
    w.changes();
    for change in [Change::Quiet, Change::Times, Change::Times] {
        w.pass(60);
        w.send_message();
        assert_eq!((w.changes(), w.view().currently_active), (vec![change], false));
        assert_eq!(w.view().last_active_ago, Some(Duration::ZERO));
    }
    w.pass(300);
    w.changes();
    w.send_message();
    assert_eq!(w.changes(), [Change::Quiet], "the next window");
}

#[test]
fn p9_an_offline_user_was_last_seen_when_their_last_device_left() {
    let mut w = World::online();
    w.disconnect(PHONE);
    assert_eq!(w.view().last_seen_ago, None, "still seen");
    w.pass(59);
    assert_eq!(w.view().last_seen_ago, Some(Duration::ZERO));
    w.pass(1);
    assert_eq!(w.view().last_seen_ago, Some(Duration::from_secs(60)));
    w.pass(3 * 3_600 + 59);
    assert_eq!(w.view().last_seen_ago, Some(Duration::from_secs(3 * 3_600)));
}

#[test]
fn p8_who_comes_back_from_offline_has_done_nothing_yet() {
    let mut w = World::online();
    w.send_message();
    assert!(w.view().currently_active);
    w.engine.handle_device_removed(w.user, PHONE, w.now);
    assert_eq!(w.state(), State::Offline);
    w.pass(1);
    w.connect(LAPTOP);
    assert_eq!((w.state(), w.view().currently_active), (State::Online, false));
}

#[test]
fn p8_when_somebody_was_active_is_kept_with_each_window_and_when_the_server_stops() {
    let mut w = World::online();
    w.choose(Choice::FreeForChat);
    w.changes();
    w.pass(6);
    w.send_message();
    w.changes();
    assert_eq!(w.record.last_active, Some((w.now - Duration::from_secs(6)).to_unix()), "not each act is");
    w.pass(294);
    w.changes();
    assert_eq!(w.record.last_active, Some((w.now - Duration::from_secs(294)).to_unix()), "it is by then");
    w.send_message();
    w.engine.handle_stop();
    w.changes();
    assert_eq!(w.record.last_active, Some(w.now.to_unix()));
    w.record = Record::default();
    w.engine.handle_stop();
    assert_eq!((w.changes(), w.record.last_active), (Vec::new(), None), "what is kept is not kept again");
    w.pass(300);
    w.changes();
    w.send_message();
    w.changes();
    assert_eq!(w.record.last_active, Some(w.now.to_unix()), "the first act of a window");
}
