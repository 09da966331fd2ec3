//! What two servers hold of each other differs: when that is noticed, what it costs, and who is believed meanwhile.

use super::net::{Net, Sent, between, online, secs, server, user};
use crate::core::federation::{Availability, Digest, Edu, Link, Permission, Push, Reminder, User};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// Users 0 to 2 of both servers see one another and are there.
fn acquainted() -> Net {
    let mut net = Net::new(2, 1);
    for n in 0..3 {
        net.befriend(user(0, n), user(1, n));
        net.appear(user(0, n));
        net.appear(user(1, n));
    }
    net.run(secs(60));
    net
}

/// The number of the last message from one to the other.
fn last(net: &Net, from: usize, to: usize) -> Link {
    net.sent_since(0, from, to).iter().rev().find_map(|sent| sent.edu.link).expect("it said something")
}

/// Server 1, from which nothing else comes, says this to server 0 with its next number.
struct Voice(Link);

impl Voice {
    fn of(net: &mut Net) -> Self {
        net.cuts.insert((1, 0));
        Self(last(net, 1, 0))
    }

    fn says(&mut self, net: &mut Net, edu: Edu) {
        self.0.seq += 1;
        let edu = Edu { link: Some(self.0), ..edu };
        net.tell(0, |engine, now| engine.handle_edu(now, server(1), edu).expect("taken"));
    }

    /// A reminder that has seen all messages of server 0 but so many.
    fn reminds(&mut self, net: &mut Net, (mine, yours): (Digest, Digest), behind: u64, answer: bool) {
        let link = last(net, 0, 1);
        let seen = Some((link.epoch, link.seq - behind));
        let reminder = Some(Reminder { mine, yours, seen, answer });
        self.says(net, Edu { reminder, ..Edu::default() });
    }
}

/// What server 0 would be told by a peer that agrees: what it told, and what it was told.
fn agreeing(net: &Net) -> (Digest, Digest) {
    let (given, held) = net.engines[0].as_ref().expect("up").digests(server(1));
    (held, given)
}

fn wrong() -> Digest {
    "00000000deadbeef".parse().expect("a digest")
}

fn full_polls(net: &Net, mark: usize) -> Vec<&Sent> {
    net.sent_since(mark, 0, 1).into_iter().filter(|sent| sent.edu.poll_all).collect()
}

/// How often server 0 told its users that nothing is known of somebody.
fn lost(net: &Net, mark: usize, who: User) -> usize {
    let lost = |change: &&(usize, User, _)| (change.0, change.1) == (0, who);
    net.changes[mark..].iter().filter(lost).filter(|change| change.2.is_none()).count()
}

/// A reminder with these digests that tells, as an answer to whatever was asked, that everybody is online.
fn tells(net: &Net, (mine, yours): (Digest, Digest)) -> Edu {
    let link = last(net, 0, 1);
    let push = |n| Push { shown: online().shown, ..Push::offline(user(1, n)) };
    let reminder = Some(Reminder { mine, yours, seen: Some((link.epoch, link.seq)), answer: false });
    Edu { push: (0..3).map(push).collect(), reminder, ..Edu::default() }
}

#[test]
fn a_peer_that_contradicts_itself_without_end_is_believed_for_one_promise_and_no_longer() {
    let mut net = acquainted();
    let mut voice = Voice::of(&mut net);
    net.run(secs(30));
    for second in 0..=122 {
        assert_eq!(lost(&net, 0, user(1, 0)), usize::from(second >= 120), "after {second} s");
        let edu = tells(&net, (wrong(), wrong()));
        voice.says(&mut net, edu);
        net.run(secs(1));
    }
}

#[test]
fn a_difference_that_is_over_shortens_no_promise() {
    let mut net = acquainted();
    let mut voice = Voice::of(&mut net);
    net.run(secs(30));
    for second in 0..300 {
        let said = if second % 60 == 59 { agreeing(&net) } else { (wrong(), agreeing(&net).1) };
        let edu = tells(&net, said);
        voice.says(&mut net, edu);
        net.run(secs(1));
    }
    assert_eq!(lost(&net, 0, user(1, 0)), 0);
}

#[test]
fn a_difference_is_repaired_at_once_then_ever_later_and_at_once_again_after_an_agreement() {
    let mut net = acquainted();
    let mut voice = Voice::of(&mut net);
    net.run(secs(30));
    let mark = net.sent.len();
    let mut repaired = Vec::new();
    let mut count = 0;
    for second in 0..1_000 {
        voice.reminds(&mut net, (wrong(), wrong()), 0, false);
        net.run(secs(1));
        let polls = full_polls(&net, mark).len();
        if polls > count {
            repaired.push(second);
        }
        count = polls;
    }
    assert_eq!(repaired, [0, 60, 180, 420, 900]);
    let said = agreeing(&net);
    voice.reminds(&mut net, said, 0, false);
    net.run(secs(900));
    let mark = net.sent.len();
    let mut repaired = Vec::new();
    for second in 0..100 {
        voice.reminds(&mut net, (wrong(), wrong()), 0, false);
        net.run(secs(1));
        if full_polls(&net, mark).len() > repaired.len() {
            repaired.push(second);
        }
    }
    assert_eq!(repaired, [0, 60]);
}

#[test]
fn who_sees_that_the_other_holds_something_wrong_says_how_it_is_and_asks_for_nothing() {
    let mut net = acquainted();
    let mut voice = Voice::of(&mut net);
    net.run(secs(30));
    let mark = net.sent.len();
    let (mine, _) = agreeing(&net);
    voice.reminds(&mut net, (mine, wrong()), 0, false);
    net.run(secs(1));
    let sent = net.sent_since(mark, 0, 1);
    assert_eq!(sent.len(), 1);
    assert!(sent[0].edu.reminder.is_some() && !sent[0].edu.poll_all, "{:?}", sent[0].edu);
}

#[test]
fn two_that_differ_while_a_message_is_under_way_differ_lawfully() {
    let mut net = acquainted();
    let mut voice = Voice::of(&mut net);
    net.run(secs(30));
    let mark = net.sent.len();
    voice.reminds(&mut net, (wrong(), wrong()), 1, false);
    net.run(secs(1));
    assert_eq!(net.sent_since(mark, 0, 1).len(), 0, "it has not seen the last one");
    let reminder = Reminder { mine: wrong(), yours: wrong(), seen: None, answer: false };
    voice.says(&mut net, Edu { reminder: Some(reminder), ..Edu::default() });
    let reminder = Reminder { seen: Some((1, 1)), ..reminder };
    voice.says(&mut net, Edu { reminder: Some(reminder), ..Edu::default() });
    net.run(secs(1));
    assert_eq!(net.sent_since(mark, 0, 1).len(), 0, "nor has one that saw another run, or nothing");
    voice.reminds(&mut net, (wrong(), wrong()), 0, false);
    net.run(secs(1));
    assert_eq!(full_polls(&net, mark).len(), 1, "the last one it has seen");
}

#[test]
fn a_reminder_is_answered_at_once_if_it_asks_for_that_and_else_not() {
    let mut net = acquainted();
    let mut voice = Voice::of(&mut net);
    net.run(secs(30));
    for answer in [false, true] {
        let (mark, said) = (net.sent.len(), agreeing(&net));
        voice.reminds(&mut net, said, 0, answer);
        net.run(secs(1));
        let sent = net.sent_since(mark, 0, 1);
        assert_eq!(sent.len(), usize::from(answer), "{answer}");
        assert!(sent.iter().all(|sent| sent.edu.reminder.is_some() && sent.edu.users() == 0));
    }
}

#[test]
fn whom_the_answer_to_a_full_poll_leaves_out_is_unknown_and_the_others_stay_as_they_are() {
    let mut net = acquainted();
    net.crash(1);
    net.start(1);
    // The first is not permitted any more, and of what was before nothing is left that could be withdrawn.
    for n in 1..3 {
        net.befriend(user(0, n), user(1, n));
        net.appear(user(1, n));
    }
    let mark = net.changes.len();
    net.tell(1, |engine, now| engine.handle_interest_added(now, user(1, 0), user(0, 0)));
    net.run(secs(20));
    assert_eq!([0, 1, 2].map(|n| net.seen(0, user(1, n)).is_some()), [false, true, true]);
    assert_eq!([0, 1, 2].map(|n| lost(&net, mark, user(1, n))), [1, 0, 0], "without flicker");
}

#[test]
fn an_answer_to_an_earlier_message_is_none_to_a_full_poll() {
    let mut net = acquainted();
    let mut voice = Voice::of(&mut net);
    net.run(secs(30));
    let said = (wrong(), agreeing(&net).1);
    voice.reminds(&mut net, said, 0, false);
    net.run(secs(1));
    let said = agreeing(&net);
    voice.reminds(&mut net, said, 1, false);
    assert_eq!(net.seen(0, user(1, 0)), Some(Availability::Online), "it was said before the poll");
    voice.reminds(&mut net, said, 0, false);
    assert_eq!(net.seen(0, user(1, 0)), None, "it answers, and says nobody's status");
}

#[test]
fn whoever_is_not_wanted_any_more_when_everybody_is_asked_for_is_unknown_once_and_not_asked_for() {
    let mut net = acquainted();
    let (mark, changed) = (net.sent.len(), net.changes.len());
    net.tell(0, |engine, now| engine.handle_client_detached(now, user(0, 0)));
    let mut voice = Voice::of(&mut net);
    voice.0.epoch += 1_000_000;
    voice.says(&mut net, Edu::default());
    net.run(secs(1));
    let polls = full_polls(&net, mark);
    assert_eq!(polls.len(), 1);
    assert_eq!((polls[0].edu.poll.len(), polls[0].edu.unpoll.len()), (2, 0));
    net.run(secs(30));
    assert_eq!((net.seen(0, user(1, 0)), lost(&net, changed, user(1, 0))), (None, 1));
    assert_eq!(net.seen(0, user(1, 1)), Some(Availability::Online));
}

#[test]
fn who_goes_and_comes_back_within_the_window_costs_no_message() {
    let mut net = acquainted();
    let mark = net.sent.len();
    net.tell(0, |engine, now| engine.handle_client_detached(now, user(0, 0)));
    net.run(secs(1));
    net.tell(0, |engine, now| engine.handle_client_attached(now, user(0, 0)));
    net.run(secs(30));
    assert!(net.sent_since(mark, 0, 1).iter().all(|sent| sent.edu.users() == 0 && !sent.edu.poll_all));
    assert_eq!(net.seen(0, user(1, 0)), Some(Availability::Online));
}

#[test]
fn a_full_poll_that_did_not_arrive_is_repeated_as_one() {
    let mut net = acquainted();
    let mut voice = Voice::of(&mut net);
    net.cuts.insert((0, 1));
    let mark = net.sent.len();
    voice.0.epoch += 1_000_000;
    voice.says(&mut net, Edu::default());
    net.run(secs(1));
    assert_eq!(full_polls(&net, mark).len(), 1, "it is lost");
    net.cuts.remove(&(0, 1));
    net.run(secs(60));
    assert_eq!(full_polls(&net, mark).len(), 2, "and repeated");
}

#[test]
fn a_full_poll_that_is_wanted_again_while_one_is_lost_is_one_more() {
    let mut net = acquainted();
    let mut voice = Voice::of(&mut net);
    net.cuts.insert((0, 1));
    let mark = net.sent.len();
    for _ in 0..2 {
        voice.0.epoch += 1_000_000;
        voice.says(&mut net, Edu::default());
        net.run(secs(1));
    }
    net.cuts.remove(&(0, 1));
    net.run(secs(60));
    assert_eq!(full_polls(&net, mark).len(), 2, "the one that was lost, and one for both");
}

#[test]
fn more_users_than_one_message_holds_go_in_several_each_within_its_bound() {
    let mut net = Net::new(2, 1);
    net.config.max_users_per_edu = 2;
    (0..2).for_each(|at| net.start(at));
    for n in 0..5 {
        net.befriend(user(0, 0), user(1, n));
        net.appear(user(1, n));
    }
    net.run(secs(300));
    net.appear(user(0, 0));
    net.run(secs(30));
    assert!((0..5).all(|n| net.seen(0, user(1, n)) == Some(Availability::Online)));
    // And when everybody is asked for at once.
    net.start(1);
    for n in 0..5 {
        net.befriend(user(0, 0), user(1, n));
        net.appear(user(1, n));
        net.change(user(1, n), Availability::Busy);
    }
    net.run(secs(120));
    assert!((0..5).all(|n| net.seen(0, user(1, n)) == Some(Availability::Busy)));
    assert!(net.sent.iter().all(|sent| sent.edu.users() <= 2));
}

#[test]
fn long_status_messages_go_in_several_messages_each_within_its_bytes() {
    let mut net = Net::new(2, 1);
    net.config.max_edu_bytes = 2_000;
    (0..2).for_each(|at| net.start(at));
    for n in 0..20 {
        net.befriend(user(0, 0), user(1, n));
        let mut status = online();
        status.shown.status_msg = Some("x".repeat(300).into());
        net.tell(1, |engine, now| engine.handle_local_change(now, user(1, n), status));
    }
    net.run(secs(300));
    net.appear(user(0, 0));
    net.run(secs(30));
    assert!((0..20).all(|n| net.seen(0, user(1, n)) == Some(Availability::Online)));
    assert!(net.sent.iter().all(|sent| sent.edu.push.len() <= 6), "300 bytes each, and what is around them");
}

#[test]
fn a_push_that_nobody_wants_is_declined_once() {
    let mut net = acquainted();
    net.tell(0, |engine, now| engine.handle_client_detached(now, user(0, 0)));
    net.run(secs(30));
    let mut voice = Voice::of(&mut net);
    let mark = net.sent.len();
    let push = Push { shown: online().shown, ..Push::offline(user(1, 0)) };
    for _ in 0..3 {
        voice.says(&mut net, Edu { push: vec![push.clone()], ..Edu::default() });
    }
    net.run(secs(11));
    let declined: usize = net.sent_since(mark, 0, 1).iter().map(|sent| sent.edu.unpoll.len()).sum();
    assert_eq!((declined, net.seen(0, user(1, 0))), (1, None));
}

#[test]
fn a_permission_that_comes_and_goes_leaves_nobody_promised_who_was_not_asked_for() {
    let mut net = acquainted();
    for permission in [Permission::Denied, Permission::Allowed] {
        net.tell(1, |engine, now| engine.handle_permission(now, server(0), user(1, 0), permission));
        net.run(secs(20));
        let seen = net.seen(0, user(1, 0));
        assert_eq!(seen.is_some(), permission == Permission::Allowed, "{permission:?}: {seen:?}");
    }
    let mark = net.sent.len();
    net.run(secs(900));
    assert!(net.sent[mark..].iter().all(|sent| sent.edu.users() == 0), "and both agree");
    assert!(between(net.sent[mark].at, net.now) > 60);
}

#[test]
fn what_is_repeated_after_a_failure_brings_the_digests_along() {
    let mut net = acquainted();
    net.cuts.insert((0, 1));
    net.change(user(0, 0), Availability::Busy);
    net.run(secs(15));
    net.cuts.clear();
    let mark = net.sent.len();
    net.run(secs(60));
    let sent = net.sent_since(mark, 0, 1);
    assert_eq!(sent[0].edu.push.len(), 1);
    assert!(sent[0].edu.reminder.is_some(), "the peer may have been away, and have forgotten all");
}

#[test]
fn a_message_of_an_earlier_run_is_late_until_the_later_run_was_silent_for_two_promises() {
    for (silent, taken) in [(100, false), (200, false), (239, false), (241, true)] {
        let mut net = acquainted();
        let mut voice = Voice::of(&mut net);
        let push = |availability| {
            let mut push = Push::offline(user(1, 0));
            push.shown.availability = availability;
            Edu { push: vec![push], ..Edu::default() }
        };
        voice.says(&mut net, push(Availability::Online));
        net.run(secs(silent));
        voice.0.epoch -= 1_000;
        voice.says(&mut net, push(Availability::Busy));
        assert_eq!(net.seen(0, user(1, 0)) == Some(Availability::Busy), taken, "{silent} s");
    }
}
