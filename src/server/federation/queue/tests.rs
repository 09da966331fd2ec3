//! What waits, what is in flight, and what comes of it.

use ruma::{OwnedUserId, server_name};
use serde_json::value::RawValue;

use super::*;

fn queue() -> Queue {
    Queue::new(server_name!("a"), 1, (Duration::from_secs(5), Duration::from_secs(3600)))
}

fn at(seconds: u64) -> Instant {
    Instant::from_millis(seconds * 1000)
}

fn presence(seq: u64) -> Edu {
    let content = RawValue::from_string(format!("{{\"n\":{seq}}}")).expect("JSON");
    Edu { kind: "m.presence", content, brief: None, key: Key::Presence, seq }
}

fn list(observer: usize, seq: u64) -> Edu {
    let user = |name: String| OwnedUserId::try_from(name).expect("a user ID");
    let key = Key::List { observer: user(format!("@u{observer}:a")), observed: user("@o:b".to_owned()) };
    Edu { kind: "m.presence_invite", key, ..presence(seq) }
}

fn seqs(transaction: &Transaction) -> Vec<u64> {
    transaction.edus.iter().map(|edu| edu.seq).collect()
}

#[test]
fn one_transaction_is_in_flight_and_the_latest_of_a_key_waits_for_its_end() {
    let (queue, b) = (queue(), server_name!("b"));
    queue.push(b, presence(1)).expect("room");
    let first = queue.next_transaction(at(0)).expect("is due");
    for seq in 2..=9 {
        queue.push(b, presence(seq)).expect("room");
    }
    assert_eq!(queue.next_transaction(at(0)).expect_err("one is in flight"), None);
    queue.handle_delivered(&first, 100);
    assert_eq!(seqs(&queue.next_transaction(at(0)).expect("is due")), [9]);
}

#[test]
fn a_transaction_holds_a_hundred_and_another_destination_does_not_wait() {
    let queue = queue();
    for n in 0..150 {
        queue.push(server_name!("b"), list(n, 1)).expect("room");
    }
    queue.push(server_name!("c"), list(0, 1)).expect("room");
    let first = queue.next_transaction(at(0)).expect("is due");
    assert_eq!(
        (first.edus.len(), queue.next_transaction(at(0)).expect("is due").destination.as_str()),
        (100, "c")
    );
    queue.handle_delivered(&first, 100);
    assert_eq!(queue.next_transaction(at(0)).expect("is due").edus.len(), 50);
}

#[test]
fn what_failed_is_tried_again_after_a_pause_unless_replaced_and_presence_is_left_to_its_engine() {
    let (queue, b) = (queue(), server_name!("b"));
    queue.push(b, presence(1)).expect("room");
    queue.push(b, list(1, 1)).expect("room");
    queue.push(b, list(2, 1)).expect("room");
    let lost = queue.next_transaction(at(0)).expect("is due");
    queue.push(b, list(2, 2)).expect("room");
    assert!(queue.handle_failed(at(1), &lost, "no answer".to_owned()));
    let pause = queue.next_transaction(at(1)).expect_err("a pause").expect("that ends").since(at(1));
    assert!((4_000..=6_000).contains(&pause.as_millis()), "{pause:?}");
    assert_eq!(seqs(&queue.next_transaction(at(8)).expect("is due")), [1, 2]);
    let peer = queue.peers().remove(b).expect("is known");
    assert_eq!((peer.failures, peer.failed, peer.last_error.as_deref()), (1, 1, Some("no answer")));
}

#[test]
fn that_a_destination_cannot_be_reached_and_that_it_is_again_is_told_once_each() {
    let (queue, b) = (queue(), server_name!("b"));
    queue.push(b, list(1, 1)).expect("room");
    for round in 0..2 {
        for attempt in 0..3 {
            let lost = queue.next_transaction(at(10_000 * (3 * round + attempt))).expect("is due");
            let now = at(10_000 * (3 * round + attempt));
            assert_eq!(queue.handle_failed(now, &lost, "no answer".to_owned()), attempt == 0, "{attempt}");
        }
        for attempt in 0..2 {
            let there = queue.next_transaction(at(10_000 * (3 * round + 3))).expect("is due");
            assert_eq!(queue.handle_delivered(&there, 100), attempt == 0, "{attempt}");
            queue.push(b, list(1, 1)).expect("room");
        }
    }
}

#[test]
fn traffic_of_the_peer_and_a_message_of_the_engine_end_a_pause() {
    let traffic = |queue: &Queue| queue.handle_traffic(at(0), server_name!("b"));
    let message = |queue: &Queue| queue.push(server_name!("b"), presence(2)).expect("room");
    for ends in [traffic as fn(&Queue), message] {
        let queue = queue();
        queue.push(server_name!("b"), list(1, 1)).expect("room");
        let lost = queue.next_transaction(at(0)).expect("is due");
        queue.handle_failed(at(0), &lost, "no answer".to_owned());
        queue.next_transaction(at(1)).expect_err("a pause");
        ends(&queue);
        assert_eq!(queue.next_transaction(at(1)).expect("is due").edus.last().map(|edu| edu.seq), Some(1));
    }
}

#[test]
fn a_destination_at_rest_has_no_timer_and_is_forgotten_when_there_are_too_many() {
    let queue = queue();
    for n in 0..=MAX_DESTINATIONS {
        let name: OwnedServerName = format!("s{n}").try_into().expect("a name");
        queue.push(&name, list(1, 1)).expect("room");
        let transaction = queue.next_transaction(at(0)).expect("is due");
        queue.handle_delivered(&transaction, 100);
        assert_eq!(queue.next_transaction(at(0)).expect_err("nothing waits"), None);
    }
    assert_eq!(queue.peers().len(), 1);
}

#[test]
fn too_much_for_one_destination_is_refused_but_what_waits_can_be_replaced() {
    let (queue, b) = (queue(), server_name!("b"));
    for n in 0..MAX_WAITING {
        queue.push(b, list(n, 1)).expect("room");
    }
    assert_eq!(queue.push(b, list(MAX_WAITING, 1)), Err(Full));
    assert_eq!(queue.push(b, list(0, 2)), Ok(()));
}

fn receipt(user: usize, thread: &str) -> Edu {
    let room = "!r:a".try_into().expect("a room ID");
    let user = OwnedUserId::try_from(format!("@u{user:03}:a")).expect("a user ID");
    Edu { kind: "m.receipt", key: Key::Receipt { room, user, thread: thread.to_owned() }, ..presence(0) }
}

#[test]
fn receipts_wait_for_each_other_and_go_with_whatever_else_is_said() {
    let (queue, b) = (queue(), server_name!("b"));
    queue.push_receipt(b, receipt(1, ""), at(2)).expect("room");
    assert_eq!(queue.next_transaction(at(0)).expect_err("waits"), Some(at(2)));
    queue.push_receipt(b, receipt(2, ""), at(3)).expect("room");
    assert_eq!(queue.next_transaction(at(1)).expect_err("waits"), Some(at(2)), "no longer than the first");
    let both = queue.next_transaction(at(2)).expect("is due");
    assert_eq!(both.edus.len(), 2);
    queue.push_receipt(b, receipt(1, ""), at(4)).expect("room");
    queue.handle_delivered(&both, 100);
    assert_eq!(queue.next_transaction(at(2)).expect_err("waits anew"), Some(at(4)));
    queue.push(b, list(1, 1)).expect("room");
    let all = queue.next_transaction(at(2)).expect("is due");
    assert_eq!(all.edus.len(), 2);
    queue.handle_failed(at(2), &all, "no answer".to_owned());
    queue.push_receipt(b, receipt(2, ""), at(99)).expect("room");
    let again = queue.next_transaction(at(9)).expect("what failed waits for the end of the pause only");
    assert_eq!(again.edus.len(), 3);
    queue.handle_delivered(&again, 100);
    queue.push_receipt(b, receipt(2, ""), at(99)).expect("room");
    queue.hurry();
    assert_eq!(queue.next_transaction(at(10)).expect("is due").edus.len(), 1);
}

#[test]
fn receipts_are_one_of_a_hundred_but_for_those_of_one_user_in_one_room() {
    let (queue, b) = (queue(), server_name!("b"));
    for user in 0..150 {
        queue.push(b, receipt(user, "")).expect("room");
    }
    for n in 0..99 {
        queue.push(b, list(n, 1)).expect("room");
    }
    let first = queue.next_transaction(at(0)).expect("is due");
    assert_eq!(first.edus.len(), 150 + 99);
    queue.handle_delivered(&first, 100);
    for thread in 0..150 {
        queue.push(b, receipt(1, &thread.to_string())).expect("room");
    }
    let second = queue.next_transaction(at(0)).expect("is due");
    assert_eq!(second.edus.len(), MAX_EDUS);
}

/// What is sent of what waits for a peer that refuses everything with one of these; how often it refused.
fn told_but(queue: &Queue, poison: &[u64], end: u64) -> (Vec<u64>, u32) {
    let (mut told, mut refused, mut now) = (Vec::new(), 0, at(0));
    while now < at(end) {
        match queue.next_transaction(now) {
            Ok(transaction) => {
                let positions = transaction.events.iter().map(|position| position.get());
                let things: Vec<u64> = positions.chain(transaction.edus.iter().map(|edu| edu.seq)).collect();
                if things.iter().any(|thing| poison.contains(thing)) {
                    refused += 1;
                    queue.handle_refused(now, &transaction, things.len(), "no good".to_owned());
                } else {
                    told.extend(things);
                    queue.handle_delivered(&transaction, 100);
                }
            }
            Err(Some(until)) => now = until,
            Err(None) => break,
        }
    }
    (told, refused)
}

#[test]
fn what_is_refused_again_and_again_is_given_up_and_all_else_arrives() {
    let (queue, b) = (queue(), server_name!("b"));
    let servers = std::sync::Arc::new(BTreeMap::from([(b.to_owned(), 1)]));
    for n in 1..=120 {
        let servers = std::sync::Arc::clone(&servers);
        queue.append(Outgoing { position: LogPosition::new(n), servers, also: None, except: None });
    }
    for n in 0..150 {
        queue.push(b, list(n, 1_000 + n as u64)).expect("room");
    }
    let (mut told, refused) = told_but(&queue, &[1, 77, 1_003, 1_149], 300);
    told.sort_unstable();
    let expected: Vec<u64> = (2..=120).chain(1_000..1_149).filter(|n| ![77, 1_003].contains(n)).collect();
    assert_eq!(told, expected);
    assert!(refused <= 4 * 20, "{refused}");
    let peer = queue.peers().remove(b).expect("is known");
    assert_eq!((peer.waiting, peer.waiting_events), (0, 0));
    queue.push(b, list(1, 2_000)).expect("room");
    assert_eq!(told_but(&queue, &[], 400).0, [2_000]);
}

#[test]
fn who_refuses_everything_is_asked_as_seldom_as_who_does_not_answer() {
    let (queue, b) = (queue(), server_name!("b"));
    let all: Vec<u64> = (1_000..1_100).collect();
    all.iter().for_each(|n| queue.push(b, list(*n as usize, *n)).expect("room"));
    let (told, refused) = told_but(&queue, &all, 6 * 3_600);
    assert!(told.is_empty() && refused < 30, "{refused}");
    assert!(queue.waiting(b) > 90, "little is given up: {}", queue.waiting(b));
}
