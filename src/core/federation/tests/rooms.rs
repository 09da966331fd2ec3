//! Rooms as ties between servers (F10), what they cost, and what their traffic spares (F9).

use std::collections::BTreeMap;

use super::net::{Net, secs, server, user};
use crate::core::federation::{Availability, Room, User};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// These are in a room, as each of their servers knows.
fn share(net: &mut Net, room: u32, users: &[User]) {
    for at in 0..net.engines.len() {
        if users.iter().any(|user| user.server == server(at)) {
            net.tell(at, |engine, now| engine.handle_room(now, Room(room), users.iter().copied()));
        }
    }
}

#[test]
fn f10_who_shares_a_room_sees_each_other_until_they_part() {
    let mut net = Net::new(2, 1);
    let (alice, bob, carol) = (user(0, 0), user(1, 0), user(1, 1));
    share(&mut net, 1, &[alice, bob]);
    [alice, bob, carol].into_iter().for_each(|user| net.appear(user));
    net.run(secs(30));
    assert_eq!(net.seen(0, bob), Some(Availability::Online));
    assert_eq!(net.seen(1, alice), Some(Availability::Online));
    assert_eq!(net.seen(0, carol), None, "shares no room");
    net.change(bob, Availability::Busy);
    net.run(secs(15));
    assert_eq!(net.seen(0, bob), Some(Availability::Busy));
    share(&mut net, 2, &[alice, bob, carol]);
    share(&mut net, 1, &[]);
    net.tell(0, |engine, now| engine.handle_room(now, Room(1), []));
    net.run(secs(30));
    assert_eq!(net.seen(0, bob), Some(Availability::Busy), "another room ties them");
    assert_eq!(net.seen(0, carol), Some(Availability::Online));
    for at in [0, 1] {
        net.tell(at, |engine, now| engine.handle_room(now, Room(2), []));
        net.tell(at, |engine, now| engine.handle_room(now, Room(1), []));
    }
    net.run(secs(30));
    assert_eq!((net.seen(0, bob), net.seen(0, carol), net.seen(1, alice)), (None, None, None));
}

#[test]
fn l6_who_shares_with_their_list_only_is_not_seen_by_a_room() {
    let mut net = Net::new(2, 1);
    let (alice, bob, carol) = (user(0, 0), user(1, 0), user(1, 1));
    share(&mut net, 1, &[alice, bob, carol]);
    [alice, bob, carol].into_iter().for_each(|user| net.appear(user));
    net.run(secs(30));
    net.tell(1, |engine, now| engine.handle_reserve(now, bob, true));
    net.run(secs(30));
    assert_eq!((net.seen(0, bob), net.seen(0, carol)), (None, Some(Availability::Online)));
    assert_eq!(net.seen(1, alice), Some(Availability::Online), "and sees others all the same");
    net.tell(1, |engine, now| engine.handle_reserve(now, bob, false));
    net.run(secs(30));
    assert_eq!(net.seen(0, bob), Some(Availability::Online));
}

#[test]
fn f10_a_change_before_a_thousand_room_mates_on_a_server_is_one_message() {
    let mut net = Net::new(2, 1);
    let alice = user(0, 0);
    let mates: Vec<_> = (0..999).map(|n| user(1, n)).collect();
    let all: Vec<_> = mates.iter().copied().chain([alice]).collect();
    share(&mut net, 1, &all);
    share(&mut net, 2, &all);
    net.appear(alice);
    mates.iter().for_each(|mate| net.appear(*mate));
    net.run(secs(300));
    assert!(mates.iter().all(|mate| net.seen(0, *mate) == Some(Availability::Online)));
    let mark = net.sent.len();
    net.change(alice, Availability::Busy);
    net.run(secs(12));
    let sent = net.sent_since(mark, 0, 1);
    assert_eq!(sent.len(), 1);
    assert_eq!((sent[0].edu.push.len(), sent[0].edu.poll.len()), (1, 0));
    assert_eq!(net.seen(1, alice), Some(Availability::Busy));
}

#[test]
fn f10_a_room_of_a_thousand_servers_costs_the_changes_of_a_window_one_message_for_each() {
    const SERVERS: usize = 1_000;
    let mut net = Net::new(SERVERS + 1, 1);
    net.stock.extend(1..=SERVERS);
    let ours = [user(0, 0), user(0, 1), user(0, 2)];
    let all: Vec<_> = (1..=SERVERS).map(|at| user(at, 0)).chain(ours).collect();
    net.tell(0, |engine, now| engine.handle_room(now, Room(1), all.iter().copied()));
    net.tell(0, |engine, now| engine.handle_room(now, Room(2), all.iter().copied()));
    ours.into_iter().for_each(|user| net.appear(user));
    net.run(secs(300));
    let mark = net.sent.len();
    ours.into_iter().for_each(|user| net.change(user, Availability::Busy));
    net.run(secs(12));
    let mut messages: BTreeMap<usize, usize> = BTreeMap::new();
    for sent in &net.sent[mark..] {
        assert_eq!((sent.from, sent.edu.push.len(), sent.edu.poll.len()), (0, 3, 0));
        *messages.entry(sent.to).or_default() += 1;
    }
    assert!(messages.len() == SERVERS && messages.values().all(|count| *count == 1));
}

#[test]
fn f10_a_server_that_may_be_a_stock_one_is_asked_for_a_few_and_not_for_all_of_a_large_room() {
    let mut net = Net::new(2, 1);
    net.stock.insert(1);
    let all: Vec<_> = (0..999).map(|n| user(1, n)).chain([user(0, 0)]).collect();
    net.tell(0, |engine, now| engine.handle_room(now, Room(1), all.iter().copied()));
    net.appear(user(0, 0));
    net.run(secs(600));
    let polled: usize = net.sent.iter().map(|sent| sent.edu.poll.len()).sum();
    assert!((1..=512).contains(&polled), "{polled}");
}

#[test]
fn f9_servers_that_talk_in_a_room_send_no_reminders() {
    let mut net = Net::new(2, 1);
    let (alice, bob) = (user(0, 0), user(1, 0));
    share(&mut net, 1, &[alice, bob]);
    [alice, bob].into_iter().for_each(|user| net.appear(user));
    net.run(secs(60));
    let mark = net.sent.len();
    // An event each way every 40 s, which is acknowledged.
    for _ in 0..60 {
        for (from, to) in [(0, 1), (1, 0)] {
            net.tell(to, |engine, now| engine.handle_traffic(now, server(from)));
            net.tell(from, |engine, now| engine.handle_acknowledged(now, server(to)));
        }
        net.run(secs(40));
    }
    assert_eq!(net.sent.len(), mark, "for forty minutes");
    assert_eq!(
        (net.seen(0, bob), net.seen(1, alice)),
        (Some(Availability::Online), Some(Availability::Online))
    );
    net.run(secs(300));
    assert!(net.sent.len() > mark, "silence is another thing");
}

#[test]
fn f10_a_server_that_starts_anew_is_told_of_who_shares_its_rooms() {
    let mut net = Net::new(2, 1);
    let (alice, bob) = (user(0, 0), user(1, 0));
    share(&mut net, 1, &[alice, bob]);
    [alice, bob].into_iter().for_each(|user| net.appear(user));
    net.run(secs(30));
    net.crash(1);
    net.run(secs(5));
    net.start(1);
    share(&mut net, 1, &[alice, bob]);
    net.appear(bob);
    net.run(secs(30));
    assert_eq!(
        (net.seen(0, bob), net.seen(1, alice)),
        (Some(Availability::Online), Some(Availability::Online))
    );
}
