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
    queue.handle_failed(at(1), &lost, "no answer".to_owned());
    let pause = queue.next_transaction(at(1)).expect_err("a pause").expect("that ends").since(at(1));
    assert!((4_000..=6_000).contains(&pause.as_millis()), "{pause:?}");
    assert_eq!(seqs(&queue.next_transaction(at(8)).expect("is due")), [1, 2]);
    let peer = queue.peers().remove(b).expect("is known");
    assert_eq!((peer.failures, peer.failed, peer.last_error.as_deref()), (1, 1, Some("no answer")));
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
