//! The six steps of `presence-api-efficiency.rst`, and its batching.

use super::net::{Net, between, online, secs, server, user};
use crate::core::federation::{Asked, Availability, Permission, Shown, Status};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// Users 0 to 2 of server 0 and of server 1 all see one another; those of server 1 are there.
fn two_servers() -> Net {
    let mut net = Net::new(2, 1);
    for ours in 0..3 {
        for theirs in 0..3 {
            net.befriend(user(0, ours), user(1, theirs));
        }
    }
    (0..3).for_each(|n| net.appear(user(1, n)));
    net.run(secs(30));
    net
}

/// And those of server 0 as well.
fn acquainted() -> Net {
    let mut net = two_servers();
    (0..3).for_each(|n| net.appear(user(0, n)));
    net.run(secs(30));
    net
}

#[test]
fn step_1_a_first_appearance_is_one_message_with_status_and_poll() {
    let mut net = two_servers();
    let mark = net.sent.len();
    net.appear(user(0, 0));
    net.run(secs(5));
    let sent = net.sent_since(mark, 0, 1);
    assert_eq!(sent.len(), 1);
    let edu = &sent[0].edu;
    assert_eq!(edu.push.iter().map(|push| push.user).collect::<Vec<_>>(), [user(0, 0)]);
    assert_eq!(edu.push[0].shown, online().shown);
    let mut polled = edu.poll.clone();
    polled.sort_by_key(|asked| {
        matches!(asked, Asked::Known(user) if user.index > 0).then_some(format!("{asked:?}"))
    });
    assert_eq!(polled, (0..3).map(|n| Asked::Known(user(1, n))).collect::<Vec<_>>());
    assert_eq!(net.seen(1, user(0, 0)), Some(Availability::Online), "and server 1 believes it");
}

#[test]
fn step_2_the_answer_is_one_message_and_both_promise_to_push() {
    let mut net = two_servers();
    let mark = net.sent.len();
    net.appear(user(0, 0));
    net.run(secs(5));
    let answers = net.sent_since(mark, 1, 0);
    assert_eq!(answers.len(), 1);
    assert_eq!(answers[0].edu.push.len(), 3);
    assert!(answers[0].edu.poll.is_empty(), "the push of step 1 was a promise (F3)");
    (0..3).for_each(|n| assert_eq!(net.seen(0, user(1, n)), Some(Availability::Online)));
    net.change(user(0, 0), Availability::Busy);
    net.change(user(1, 2), Availability::Unavailable);
    net.run(secs(11));
    assert_eq!(net.seen(1, user(0, 0)), Some(Availability::Busy), "pushed without a further poll");
    assert_eq!(net.seen(0, user(1, 2)), Some(Availability::Unavailable));
}

#[test]
fn step_3_a_silent_pair_costs_one_reminder_a_minute() {
    let mut net = acquainted();
    let mark = net.sent.len();
    net.run(secs(3_600));
    let reminders = &net.sent[mark..];
    assert!((50..=66).contains(&reminders.len()), "{}", reminders.len());
    assert!(reminders.iter().all(|sent| sent.edu.reminder.is_some()));
    let looks = reminders.iter().filter(|sent| sent.edu.users() > 0).count();
    assert!(looks <= 4, "statuses themselves only at the long watchdog, and in the answer: {looks}");
    let from_one = net.sent_since(mark, 1, 0).len();
    assert!((20..=40).contains(&from_one), "they take turns: {from_one} of {}", reminders.len());
}

#[test]
fn a_server_that_is_only_watched_takes_its_turn_in_reminding() {
    let mut net = Net::new(2, 1);
    let (watched, watcher) = (user(0, 0), user(1, 0));
    net.tell(0, |e, now| e.handle_permission(now, server(1), watched, Permission::Allowed));
    net.tell(1, |e, now| e.handle_interest_added(now, watcher, watched));
    net.appear(watched);
    net.appear(watcher);
    net.run(secs(30));
    assert_eq!(net.seen(1, watched), Some(Availability::Online));
    let mark = net.sent.len();
    net.run(secs(3_600));
    let reminders = [net.sent_since(mark, 0, 1).len(), net.sent_since(mark, 1, 0).len()];
    assert!(reminders.iter().all(|count| (15..=45).contains(count)), "{reminders:?}");
}

#[test]
fn after_an_acknowledged_message_the_next_reminder_is_the_peers_turn() {
    let mut net = acquainted();
    while net.sent_since(0, 1, 0).last().is_none_or(|sent| between(sent.at, net.now) > 1) {
        net.run(secs(1));
    }
    let mark = net.sent.len();
    net.run(secs(20));
    net.change(user(0, 0), Availability::Busy);
    net.run(secs(60));
    let ours = net.sent_since(mark, 0, 1);
    assert_eq!(ours.iter().map(|sent| sent.edu.push.len()).collect::<Vec<_>>(), [1], "the change alone");
    net.run(secs(30));
    assert_eq!((net.sent_since(mark, 0, 1).len(), net.sent_since(mark, 1, 0).len()), (1, 1));
}

#[test]
fn step_4_any_traffic_resets_the_short_watchdog() {
    let mut net = acquainted();
    let mark = net.sent.len();
    for _ in 0..40 {
        net.tell(0, |engine, now| engine.handle_traffic(now, server(1)));
        net.tell(1, |engine, now| engine.handle_traffic(now, server(0)));
        net.run(secs(45));
    }
    assert_eq!(net.sent.len(), mark, "half an hour of talk in a room, and no reminder (F9)");
}

#[test]
fn step_5_an_expired_watchdog_reminds_and_asks_again() {
    let mut net = acquainted();
    let mark = net.sent.len();
    net.run(secs(70));
    let first = &net.sent[mark];
    let reminder = first.edu.reminder.expect("a reminder");
    let digests = |net: &Net, at: usize| net.engines[at].as_ref().expect("up").digests(server(1 - at));
    assert_eq!((reminder.mine, reminder.yours), digests(&net, first.from));
    assert_eq!(net.sent.len(), mark + 1, "nothing changed: no answer is needed");
}

#[test]
fn step_5_the_long_watchdog_reminds_a_chatty_peer_too() {
    let mut net = acquainted();
    let mark = net.sent.len();
    let started = net.now;
    for _ in 0..200 {
        net.run(secs(20));
        net.tell(0, |engine, now| engine.handle_traffic(now, server(1)));
        net.tell(1, |engine, now| engine.handle_traffic(now, server(0)));
    }
    let sent = &net.sent[mark..];
    assert_eq!(sent.len(), 2, "one asks, one answers, and both watchdogs are reset: {sent:?}");
    assert!(sent[0].edu.reminder.expect("a reminder").answer);
    assert!((2_600..=3_600).contains(&between(started, sent[0].at)));
}

#[test]
fn step_6_a_reminder_resets_both_watchdogs() {
    let mut net = acquainted();
    net.run(secs(1_800));
    let (one, other) = (net.engines[0].as_ref().expect("up"), net.engines[1].as_ref().expect("up"));
    for (engine, peer) in [(one, server(1)), (other, server(0))] {
        let deadline = engine.long_deadline(peer).expect("runs");
        assert!(between(net.now, deadline) >= 2_700 - 150, "reset within the last two turns");
    }
}

#[test]
fn a_lost_change_is_found_by_the_next_reminder() {
    let mut net = acquainted();
    // Server 0 loses, by a bug that no engine has, what it was told.
    net.crash(0);
    net.start(0);
    for ours in 0..3 {
        for theirs in 0..3 {
            net.befriend(user(0, ours), user(1, theirs));
        }
    }
    net.run(secs(70));
    assert_eq!(net.seen(1, user(0, 0)), Some(Availability::Offline), "server 1 asked again at the reminder");
}

#[test]
fn changes_are_batched_and_the_last_state_wins() {
    let mut net = acquainted();
    let mark = net.sent.len();
    net.change(user(0, 0), Availability::Busy);
    net.change(user(0, 1), Availability::Unavailable);
    net.run(secs(5));
    net.change(user(0, 0), Availability::FreeForChat);
    net.run(secs(6));
    let sent = net.sent_since(mark, 0, 1);
    assert_eq!(sent.len(), 1, "several users of one server share one message");
    assert_eq!(sent[0].edu.push.len(), 2);
    assert_eq!(net.seen(1, user(0, 0)), Some(Availability::FreeForChat));
}

#[test]
fn a_change_undone_within_the_window_sends_nothing() {
    let mut net = acquainted();
    let mark = net.sent.len();
    net.change(user(0, 0), Availability::Busy);
    net.run(secs(3));
    net.change(user(0, 0), Availability::Online);
    net.run(secs(20));
    assert_eq!(net.sent.len(), mark);
}

#[test]
fn nobody_is_polled_for_a_user_without_a_client() {
    let mut net = Net::new(2, 1);
    net.befriend(user(0, 0), user(1, 0));
    net.run(secs(600));
    assert!(net.sent.is_empty(), "nobody is there");
    net.appear(user(0, 0));
    net.run(secs(30));
    let polls = |net: &Net| net.sent.iter().filter(|sent| !sent.edu.poll.is_empty()).count();
    assert_eq!(polls(&net), 1);
    let mark = net.sent.len();
    net.tell(0, |engine, now| {
        engine.handle_local_change(now, user(0, 0), Status::default());
        engine.handle_client_detached(now, user(0, 0));
    });
    net.run(secs(3_600));
    assert_eq!(net.sent.len(), mark + 1, "one message ends it, and no reminders follow");
    assert_eq!(net.sent[mark].edu.unpoll, [Asked::Known(user(1, 0))]);
}

#[test]
fn a_status_that_nobody_wants_is_declined_once() {
    let mut net = Net::new(2, 1);
    net.befriend(user(0, 0), user(1, 0));
    net.appear(user(0, 0));
    net.run(secs(30));
    let mark = net.sent.len();
    for round in 0..10 {
        net.change(user(0, 0), if round % 2 == 0 { Availability::Busy } else { Availability::Online });
        net.run(secs(15));
    }
    let pushes = net.sent_since(mark, 0, 1).iter().filter(|sent| !sent.edu.push.is_empty()).count();
    assert_eq!(pushes, 0, "nobody at server 1 has a client");
}

#[test]
fn revoking_a_permission_takes_the_status_back() {
    let mut net = acquainted();
    net.tell(0, |engine, now| engine.handle_permission(now, server(1), user(0, 1), Permission::Denied));
    net.run(secs(1));
    assert_eq!(net.seen(1, user(0, 1)), None);
    net.change(user(0, 1), Availability::Busy);
    net.run(secs(200));
    assert_eq!(net.seen(1, user(0, 1)), None);
    net.tell(0, |engine, now| engine.handle_permission(now, server(1), user(0, 1), Permission::Allowed));
    net.run(secs(1));
    assert_eq!(net.seen(1, user(0, 1)), Some(Availability::Busy), "the old poll is answered");
}

#[test]
fn a_poll_before_the_permission_is_answered_when_it_comes() {
    let mut net = Net::new(2, 1);
    net.tell(0, |engine, now| engine.handle_interest_added(now, user(0, 0), user(1, 0)));
    net.tell(1, |engine, now| engine.handle_permission(now, server(0), user(1, 7), Permission::Allowed));
    net.appear(user(0, 0));
    net.change(user(1, 0), Availability::Busy);
    net.run(secs(30));
    assert_eq!(net.seen(0, user(1, 0)), None);
    net.tell(1, |engine, now| engine.handle_permission(now, server(0), user(1, 0), Permission::Allowed));
    net.run(secs(1));
    assert_eq!(net.seen(0, user(1, 0)), Some(Availability::Busy));
}

#[test]
fn a_large_list_is_split_into_bounded_messages() {
    let mut net = Net::new(2, 1);
    net.config.max_users_per_edu = 100;
    (0..2).for_each(|at| net.start(at));
    for n in 0..450 {
        net.befriend(user(0, 0), user(1, n));
        net.change(user(1, n), Availability::Online);
    }
    net.appear(user(0, 0));
    net.run(secs(20));
    assert!(net.sent.iter().all(|sent| sent.edu.users() <= 100));
    assert!((0..450).all(|n| net.seen(0, user(1, n)) == Some(Availability::Online)));
    let reminders = net.sent_since(0, 1, 0).iter().filter(|sent| sent.edu.reminder.is_some()).count();
    assert!(reminders >= 1);
}

#[test]
fn clocks_that_differ_do_not_matter_to_when_somebody_was_active() {
    let mut net = Net::new(2, 1);
    net.clocks[1].offset_ms = 86_400_000;
    net.befriend(user(0, 0), user(1, 0));
    net.appear(user(1, 0));
    net.tell(0, |engine, now| {
        let status = Status { last_active: Some(now - secs(300)), ..online() };
        engine.handle_local_change(now, user(0, 0), status);
        engine.handle_client_attached(now, user(0, 0));
    });
    net.run(secs(5));
    net.tell(1, |engine, now| {
        let status = engine.status_of(user(0, 0)).expect("known");
        let ago = now.since(status.last_active.expect("known")).as_secs();
        assert!((300..=306).contains(&ago), "{ago}");
    });
}

#[test]
fn what_is_hidden_cannot_be_said() {
    assert!(Availability::ALL.iter().all(|a| a.as_str() != "hidden" && a.as_str() != "unknown"));
    assert_eq!(Status::default().shown, Shown::default());
}
