//! Reading without a stream: asked for once, told once, and nothing promised (L8).

use super::net::{Net, online, secs, server, user};
use crate::core::federation::{
    Asked, Availability, Edu, Link, Permission, Push, Refused, Speech, Status, User,
};
use crate::core::time::Instant;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// Users 0 to 2 of both servers see one another; those of server 1 are online, and nobody has a client.
fn acquainted() -> Net {
    let mut net = Net::new(2, 1);
    for n in 0..3 {
        net.befriend(user(0, n), user(1, n));
        net.befriend(user(0, 0), user(1, n));
        net.change(user(1, n), Availability::Online);
    }
    // As they do not know each other yet, the statuses are pushed, and declined.
    net.run(secs(300));
    net
}

/// Somebody at server 0 reads these statuses.
fn read(net: &mut Net, users: &[User]) -> Vec<(User, Instant)> {
    let mut awaited = Vec::new();
    net.tell(0, |engine, now| awaited = engine.handle_enquiries(now, users.iter().copied()));
    awaited
}

fn all() -> [User; 3] {
    [user(1, 0), user(1, 1), user(1, 2)]
}

#[test]
fn l8_who_reads_without_a_client_is_told_at_once_by_one_message_and_one_answer() {
    let mut net = acquainted();
    let mark = net.sent.len();
    assert_eq!(read(&mut net, &all()).len(), 3);
    net.run(secs(1));
    all().iter().for_each(|&who| assert_eq!(net.seen(0, who), Some(Availability::Online)));
    let (asked, told) = (net.sent_since(mark, 0, 1), net.sent_since(mark, 1, 0));
    assert_eq!((asked.len(), told.len()), (1, 1));
    assert!(asked[0].edu.poll.is_empty() && asked[0].edu.once.len() == 3);
    assert!(told[0].edu.push.is_empty() && told[0].edu.told.len() == 3);
}

#[test]
fn l8_an_answer_holds_for_a_short_watchdog_and_promises_nothing() {
    let mut net = acquainted();
    let before = net.changes.len();
    read(&mut net, &all()[..1]);
    net.run(secs(1));
    let views = |net: &Net| [0, 1].map(|at| net.engines[at].as_ref().expect("up").peers()[0].clone());
    assert!(views(&net).iter().all(|view| (view.given, view.asked, view.held) == (0, 0, 0)));
    let mark = net.sent.len();
    net.change(user(1, 0), Availability::Busy);
    net.run(secs(58));
    assert_eq!(net.seen(0, user(1, 0)), Some(Availability::Online), "nobody promised changes");
    net.run(secs(2));
    assert_eq!(net.seen(0, user(1, 0)), None);
    let told: Vec<_> = net.changes[before..]
        .iter()
        .filter(|change| change.0 == 0)
        .map(|change| change.2.is_some())
        .collect();
    assert_eq!(told, [true, false], "readers are told both");
    net.run(secs(3_600));
    assert_eq!(net.sent.len(), mark, "and no reminder follows");
    read(&mut net, &all()[..1]);
    net.run(secs(1));
    assert_eq!(net.seen(0, user(1, 0)), Some(Availability::Busy));
}

#[test]
fn l8_reading_all_the_time_asks_once_in_a_short_watchdog() {
    let mut net = acquainted();
    let mark = net.sent.len();
    for _ in 0..600 {
        read(&mut net, &all());
        net.run(secs(1));
    }
    let asked = net.sent_since(mark, 0, 1).len();
    assert!((9..=11).contains(&asked), "{asked}");
}

#[test]
fn who_may_not_be_seen_is_not_told_and_nothing_is_kept() {
    let mut net = acquainted();
    net.tell(1, |engine, now| engine.handle_permission(now, server(0), user(1, 0), Permission::Denied));
    net.run(secs(30));
    let mark = net.sent.len();
    assert_eq!(read(&mut net, &all()).len(), 3);
    net.run(secs(1));
    assert_eq!(net.seen(0, user(1, 0)), None);
    assert_eq!(net.seen(0, user(1, 1)), Some(Availability::Online));
    assert_eq!(net.sent.len() - mark, 2);
    net.tell(1, |engine, now| engine.handle_permission(now, server(0), user(1, 0), Permission::Allowed));
    net.run(secs(600));
    assert_eq!(net.sent.len() - mark, 2, "a later permission is not told to whom nobody reads");
}

#[test]
fn a_client_that_comes_after_an_enquiry_is_promised_changes_and_sees_no_gap() {
    let mut net = acquainted();
    read(&mut net, &all());
    net.run(secs(10));
    let mark = net.changes.len();
    net.appear(user(0, 0));
    net.run(secs(300));
    let told = net.changes[mark..].iter().filter(|change| change.0 == 0).count();
    assert_eq!(told, 0, "nothing is different");
    net.change(user(1, 1), Availability::Busy);
    net.run(secs(15));
    assert_eq!(net.seen(0, user(1, 1)), Some(Availability::Busy));
}

#[test]
fn a_server_that_knows_no_enquiries_is_asked_once_and_one_that_is_stock_never_again() {
    let mut net = Net::new(2, 1);
    net.stock.insert(1);
    net.befriend(user(0, 0), user(1, 0));
    for _ in 0..30 {
        read(&mut net, &all()[..1]);
        net.run(secs(10));
    }
    let asked = net.sent.iter().filter(|sent| !sent.edu.once.is_empty()).count();
    assert!(asked <= 2, "{asked}");
    assert_eq!(net.engines[0].as_ref().expect("up").speech_of(server(1)), Speech::Stock);
}

#[test]
fn a_server_of_an_earlier_version_gets_nothing_that_it_does_not_read() {
    let mut net = acquainted();
    // As one of the first version says it: without a version, after a restart.
    let link = |seq| Some(Link { epoch: 1 << 50, seq, promise: None });
    let hello = Edu { link: link(1), poll: vec![Asked::Known(user(0, 0))], ..Edu::default() };
    net.tell(0, |engine, now| engine.handle_edu(now, server(1), hello).expect("taken"));
    net.cuts.insert((1, 0));
    net.run(secs(1));
    let mark = net.sent.len();
    assert_eq!(read(&mut net, &all()[1..]), []);
    let mut status: Status = online();
    status.shown.profile = crate::core::federation::ProfileMark::of(Some("Ann"), None);
    net.tell(0, |engine, now| engine.handle_local_change(now, user(0, 0), status));
    net.run(secs(15));
    let sent = net.sent_since(mark, 0, 1);
    assert!(sent.iter().all(|sent| sent.edu.once.is_empty()));
    assert!(sent.iter().flat_map(|sent| &sent.edu.push).all(|push| !push.tells_profile));
}

#[test]
fn nobody_waits_for_a_server_that_cannot_be_reached() {
    let mut net = acquainted();
    net.crash(1);
    net.run(secs(60));
    assert_eq!(read(&mut net, &all()).len(), 3);
    net.run(secs(11));
    assert_eq!(read(&mut net, &all()), [], "it is in backoff");
    net.run(secs(600));
    net.start(1);
    net.befriend(user(0, 0), user(1, 0));
    net.run(secs(3_600));
    assert_eq!(read(&mut net, &all()[..1]).len(), 1);
    net.run(secs(1));
    assert_eq!(net.seen(0, user(1, 0)), Some(Availability::Offline));
}

#[test]
fn answers_that_nobody_asked_for_and_those_about_others_users_are_not_taken() {
    let mut net = Net::new(3, 1);
    net.befriend(user(0, 0), user(1, 0));
    net.befriend(user(0, 0), user(2, 0));
    let told = |who| Push { shown: online().shown, ..Push::offline(who) };
    let link = |seq| Some(Link { epoch: 1 << 50, seq, promise: None });
    let mut results = Vec::new();
    for (seq, who) in [(1, user(1, 0)), (2, user(2, 0))] {
        let edu = Edu { link: link(seq), told: vec![told(who)], ..Edu::default() };
        net.tell(0, |engine, now| results.push(engine.handle_edu(now, server(1), edu)));
        assert_eq!(net.seen(0, who), None);
    }
    assert_eq!(results, [Ok(()), Err(Refused::NotItsUser(user(2, 0)))]);
}
