//! What a peer is found to understand, and what it is then sent (F10).

use super::net::{Net, online, secs, server, user};
use crate::core::federation::{Availability, Edu, Push, Shown, Speech};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

fn with_stock_server() -> Net {
    let mut net = Net::new(2, 1);
    net.stock.insert(1);
    for n in 0..3 {
        net.befriend(user(0, n), user(1, n));
    }
    net
}

#[test]
fn a_stock_server_is_polled_once_and_pushed_to_ever_after() {
    let mut net = with_stock_server();
    (0..2).for_each(|n| net.appear(user(0, n)));
    net.run(secs(300));
    assert_eq!(net.engines[0].as_ref().expect("up").speech_of(server(1)), Speech::Stock);
    let mark = net.sent.len();
    net.appear(user(0, 2));
    net.change(user(0, 0), Availability::Busy);
    net.run(secs(8 * 3_600));
    let sent = net.sent_since(mark, 0, 1);
    assert!(sent.iter().all(|sent| sent.edu.poll.is_empty() && sent.edu.reminder.is_none()));
    assert_eq!(sent[0].edu.push.len(), 2, "pushed without having been asked");
    assert!((18..=21).contains(&sent.len()), "and every 25 minutes, lest it forget: {}", sent.len());
    let polls = net.sent.iter().filter(|sent| !sent.edu.poll.is_empty()).count();
    assert_eq!(polls, 1);
}

#[test]
fn a_message_in_matrixs_own_form_is_that_of_a_stock_server() {
    let mut net = Net::new(2, 1);
    net.befriend(user(0, 0), user(1, 0));
    net.appear(user(0, 0));
    let push = Push { shown: online().shown, ..Push::offline(user(1, 0)) };
    net.cuts.insert((0, 1));
    net.tell(0, |e, now| {
        let edu = Edu { push: vec![push], ..Edu::default() };
        assert_eq!(e.handle_edu(now, server(1), edu), Ok(()));
    });
    let views = net.engines[0].as_ref().expect("is up").peers();
    assert_eq!((views[0].speech, views[0].held), (Speech::Stock, 1));
    assert_eq!(views[0].held_until, Some(net.now + net.config.stock_promise), "it promises nothing itself");
}

#[test]
fn the_pushes_of_a_stock_server_are_believed_for_half_an_hour() {
    let mut net = with_stock_server();
    net.appear(user(0, 0));
    net.run(secs(120));
    let shown = Shown { availability: Availability::Online, currently_active: true, ..Shown::default() };
    let push = Push { shown, ..Push::offline(user(1, 0)) };
    let edu = Edu { push: vec![push], ..Edu::default() };
    net.tell(0, |engine, now| engine.handle_edu(now, server(1), edu).expect("taken"));
    net.run(secs(20 * 60));
    assert_eq!(net.seen(0, user(1, 0)), Some(Availability::Online));
    net.stock.clear();
    net.crash(1);
    net.run(secs(40 * 60));
    assert_eq!(net.seen(0, user(1, 0)), None);
}

#[test]
fn a_stock_server_that_is_exchanged_for_a_better_one_is_polled_again() {
    let mut net = with_stock_server();
    net.appear(user(0, 0));
    net.run(secs(300));
    net.stock.clear();
    net.start(1);
    net.befriend(user(0, 0), user(1, 0));
    net.appear(user(1, 0));
    net.run(secs(30));
    assert_eq!(net.engines[0].as_ref().expect("up").speech_of(server(1)), Speech::Extended);
    assert_eq!(net.seen(0, user(1, 0)), Some(Availability::Online));
    assert_eq!(net.seen(1, user(0, 0)), Some(Availability::Online));
}

#[test]
fn a_server_that_cannot_be_reached_does_not_count_as_stock() {
    let mut net = Net::new(2, 1);
    net.befriend(user(0, 0), user(1, 0));
    net.crash(1);
    net.appear(user(0, 0));
    net.run(secs(1_800));
    assert_eq!(net.engines[0].as_ref().expect("up").speech_of(server(1)), Speech::Unknown);
    assert!(net.sent.last().is_some_and(|sent| !sent.edu.poll.is_empty()), "the poll is repeated");
}

#[test]
fn a_peer_that_turns_out_to_be_stock_is_told_nothing_more_before_it_has_to_be_refreshed() {
    let mut net = Net::new(2, 1);
    net.stock.insert(1);
    net.befriend(user(0, 0), user(1, 0));
    net.appear(user(0, 0));
    net.run(secs(90));
    let mark = net.sent.len();
    net.run(secs(24 * 60));
    assert_eq!(net.sent_since(mark, 0, 1).len(), 0);
    net.run(secs(120));
    assert_eq!(net.sent_since(mark, 0, 1).len(), 1);
}
