//! What is looked at again, whatever was counted: statuses at the long watchdog, profiles, and peers that only hear.

use std::time::Duration;

use super::net::{Net, online, secs, server, user};
use crate::core::federation::{Availability, Edu, Link, ProfileMark, Push, Status, User};
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
    net.run(secs(30));
    net
}

fn named(name: &str, availability: Availability) -> Status {
    let mut status = Status::from(availability);
    status.shown.profile = ProfileMark::of(Some(name), None);
    status
}

fn profile(net: &Net, at: usize, who: User) -> ProfileMark {
    let status = net.engines[at].as_ref().expect("up").status_of(who);
    status.expect("known").shown.profile
}

fn rename(net: &mut Net, who: User, name: &str) {
    let at = usize::try_from(who.server.0).expect("small");
    net.tell(at, |engine, now| engine.handle_local_change(now, who, named(name, Availability::Online)));
}

#[test]
fn f5_once_a_long_watchdog_the_statuses_themselves_are_told_and_asked_for_in_a_silent_pair_too() {
    let mut net = acquainted();
    let mark = net.sent.len();
    net.run(secs(4 * 3_600));
    let (mut looks, mut told) = (0, 0);
    for sent in &net.sent[mark..] {
        looks += usize::from(sent.edu.poll_all);
        told += usize::from(sent.edu.push.len() == 3);
        assert!(!sent.edu.poll_all || (sent.edu.poll.len() == 3 && sent.edu.push.len() == 3));
    }
    assert!((3..=6).contains(&looks), "{looks} in four hours");
    assert_eq!(told, 2 * looks, "each is answered with all statuses");
    assert!(net.changes.iter().all(|change| change.2.is_some()), "and nobody was unknown meanwhile");
}

#[test]
fn p10_a_change_of_name_is_one_push_with_the_mark_and_a_change_of_presence_has_none() {
    let mut net = acquainted();
    assert_eq!(profile(&net, 1, user(0, 0)), ProfileMark::UNTOLD);
    let mark = net.sent.len();
    rename(&mut net, user(0, 0), "Ann");
    net.run(secs(11));
    assert_eq!(profile(&net, 1, user(0, 0)), ProfileMark::of(Some("Ann"), None));
    let sent = net.sent_since(mark, 0, 1);
    assert_eq!((sent.len(), sent[0].edu.push.len()), (1, 1));
    assert!(sent[0].edu.push[0].tells_profile);
    let mark = net.sent.len();
    net.tell(0, |engine, now| engine.handle_local_change(now, user(0, 0), named("Ann", Availability::Busy)));
    net.run(secs(11));
    let sent = net.sent_since(mark, 0, 1);
    assert!(sent.len() == 1 && !sent[0].edu.push[0].tells_profile);
    assert_eq!(profile(&net, 1, user(0, 0)), ProfileMark::of(Some("Ann"), None), "as it was");
    let mark = net.sent.len();
    net.run(secs(900));
    assert!(net.sent[mark..].iter().all(|sent| sent.edu.users() == 0), "the digests agree");
}

#[test]
fn p10_a_name_and_a_picture_at_both_sides_of_the_end_of_a_window_are_one_push() {
    let mut net = acquainted();
    rename(&mut net, user(0, 0), "An");
    net.run(secs(30));
    let mark = net.sent.len();
    // It opens the window.
    net.change(user(0, 1), Availability::Busy);
    net.run(secs(9));
    rename(&mut net, user(0, 0), "Ann");
    net.run(secs(1));
    net.run(Duration::from_millis(900));
    assert_eq!(net.seen(1, user(0, 1)), Some(Availability::Busy), "others do not wait");
    assert_eq!(profile(&net, 1, user(0, 0)), ProfileMark::of(Some("An"), None));
    rename(&mut net, user(0, 0), "Ann with a picture");
    net.run(secs(3));
    assert_eq!(profile(&net, 1, user(0, 0)), ProfileMark::of(Some("Ann with a picture"), None));
    let pushes =
        |net: &Net| -> usize { net.sent_since(mark, 0, 1).iter().map(|sent| sent.edu.push.len()).sum() };
    assert_eq!(pushes(&net), 2, "one of each");
    // Who changes it all the time does not wait for ever.
    let mark = net.sent.len();
    for n in 0..20 {
        rename(&mut net, user(0, 0), &format!("Ann {n}"));
        net.run(secs(1));
    }
    assert!(!net.sent_since(mark, 0, 1).is_empty());
}

#[test]
fn p10_a_mark_that_was_lost_is_found_by_the_next_reminder() {
    let mut net = acquainted();
    rename(&mut net, user(0, 0), "Ann");
    net.run(secs(30));
    // A fault of no engine's: another mark, in a message that server 0 did not send.
    let seq = net.sent_since(0, 0, 1).last().and_then(|sent| sent.edu.link).expect("a link");
    let shown = named("Eve", Availability::Online).shown;
    let push = Push { shown, tells_profile: true, ..Push::offline(user(0, 0)) };
    let edu = Edu { link: Some(seq_after(seq)), push: vec![push], ..Edu::default() };
    net.tell(1, |engine, now| engine.handle_edu(now, server(0), edu).expect("taken"));
    assert_eq!(profile(&net, 1, user(0, 0)), ProfileMark::of(Some("Eve"), None));
    net.run(secs(400));
    assert_eq!(profile(&net, 1, user(0, 0)), ProfileMark::of(Some("Ann"), None));
}

fn seq_after(link: Link) -> Link {
    Link { seq: link.seq + 1, ..link }
}

#[test]
fn p10_marks_survive_restarts_of_either_side_and_a_client_that_comes_late() {
    let mut net = acquainted();
    (0..3).for_each(|n| rename(&mut net, user(0, n), "Ann"));
    net.run(secs(30));
    net.start(1);
    for n in 0..3 {
        net.befriend(user(0, n), user(1, n));
        net.appear(user(1, n));
    }
    net.run(secs(120));
    (0..3).for_each(|n| assert_eq!(profile(&net, 1, user(0, n)), ProfileMark::of(Some("Ann"), None)));
    net.tell(1, |engine, now| engine.handle_client_detached(now, user(1, 0)));
    net.run(secs(60));
    assert_eq!(net.seen(1, user(0, 0)), None);
    net.tell(1, |engine, now| engine.handle_client_attached(now, user(1, 0)));
    net.run(secs(5));
    assert_eq!(profile(&net, 1, user(0, 0)), ProfileMark::of(Some("Ann"), None));
    let mark = net.sent.len();
    net.run(secs(900));
    assert!(net.sent[mark..].iter().all(|sent| sent.edu.users() == 0), "the digests agree");
}

#[test]
fn a_server_that_hears_but_does_not_reach_its_peer_tries_ever_less_often_and_recovers_soon() {
    let mut net = acquainted();
    net.cuts.insert((0, 1));
    let mut attempts = Vec::new();
    for hour in 0..6 {
        let mark = net.sent.len();
        for minute in 0..60 {
            let busy = (hour * 60 + minute) % 2 == 0;
            net.change(user(1, 0), if busy { Availability::Busy } else { Availability::Online });
            net.change(user(0, 0), if busy { Availability::Busy } else { Availability::Online });
            net.run(secs(60));
        }
        attempts.push(net.sent_since(mark, 0, 1).len());
    }
    assert!(attempts[0] < 20 && attempts[1] < 6 && attempts[2..].iter().all(|&n| n <= 3), "{attempts:?}");
    net.cuts.clear();
    net.change(user(0, 0), Availability::FreeForChat);
    // As long as it lasted, and half an hour at most.
    for _ in 0..31 {
        net.tell(0, |engine, now| engine.handle_traffic(now, server(1)));
        net.run(secs(60));
    }
    assert_eq!(net.seen(1, user(0, 0)), Some(Availability::FreeForChat));
}

#[test]
fn a_peer_that_was_away_for_long_is_spoken_to_as_soon_as_it_is_heard_of() {
    let mut net = acquainted();
    net.crash(1);
    net.run(secs(8 * 3_600));
    net.start(1);
    net.befriend(user(0, 0), user(1, 0));
    net.appear(user(1, 0));
    net.run(secs(5));
    assert_eq!(net.seen(1, user(0, 0)), Some(Availability::Online));
    assert_eq!(net.seen(0, user(1, 0)), Some(Availability::Online));
}

#[test]
fn f2_five_hundred_contacts_are_one_message_and_one_answer() {
    let mut net = Net::new(2, 1);
    for n in 0..500 {
        net.befriend(user(0, 0), user(1, n));
        let mut status = online();
        status.shown.status_msg = Some("in the garden".into());
        net.tell(1, |engine, now| engine.handle_local_change(now, user(1, n), status));
    }
    net.run(secs(120));
    let mark = net.sent.len();
    net.appear(user(0, 0));
    net.run(secs(5));
    assert!((0..500).all(|n| net.seen(0, user(1, n)) == Some(Availability::Online)));
    assert_eq!((net.sent_since(mark, 0, 1).len(), net.sent_since(mark, 1, 0).len()), (1, 1));
}

#[test]
fn a_message_with_the_number_of_the_last_one_changes_nothing() {
    let mut net = acquainted();
    let link = net.sent_since(0, 1, 0).last().and_then(|sent| sent.edu.link).expect("a link");
    let push = Push { shown: Status::from(Availability::Busy).shown, ..Push::offline(user(1, 0)) };
    for seq in [link.seq, link.seq - 1] {
        let edu = Edu { link: Some(Link { seq, ..link }), push: vec![push.clone()], ..Edu::default() };
        net.tell(0, |engine, now| engine.handle_edu(now, server(1), edu).expect("ignored"));
        assert_eq!(net.seen(0, user(1, 0)), Some(Availability::Online), "{seq}");
    }
}
