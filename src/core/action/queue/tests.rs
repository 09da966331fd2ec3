//! Bounds, delays and gaps of the queue. What becomes of an echo is a table of its own.

use std::time::Duration;

use super::*;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const ROOM: &str = "!room:x";
const NOW: Instant = Instant::from_millis(1_000_000);
const LATER: Instant = Instant::from_millis(1_005_000);

fn push(queue: &mut Queue, id: u64) -> Result<(), PushError> {
    queue.push(ActionId(id), ROOM, "m.room.message", Arc::from("{}"), UnixMillis(1)).map(|_| ())
}

fn with(ids: &[u64]) -> Queue {
    let mut queue = Queue::default();
    ids.iter().for_each(|&id| push(&mut queue, id).expect("there is room"));
    queue
}

fn transmitted(queue: &mut Queue, now: Instant) -> Option<u64> {
    queue.poll_transmit(now, |_| true).map(|action| action.id.0)
}

#[test]
fn as_many_actions_as_allowed_are_held_each_of_them_once() {
    let mut queue = Queue::default();
    assert!(queue.is_empty());
    for id in 1..=MAX_ACTIONS as u64 {
        push(&mut queue, id).expect("there is room");
    }
    assert_eq!((queue.len(), queue.is_empty()), (MAX_ACTIONS, false));
    assert_eq!(push(&mut queue, 5_000), Err(PushError::Full));
    let kept = |queue: &Queue, id| queue.room(ROOM).nth(id).expect("is there").to_stored("D");
    let (first, other) = (kept(&queue, 0), kept(&queue, 1));
    assert!(queue.restore(StoredAction { id: 5_000, ..other }, "D").is_none(), "it is full");
    queue.cancel(ActionId(2));
    assert!(queue.restore(first, "D").is_none(), "it is there already");
    assert_eq!((queue.len(), queue.forget_room(ROOM).len()), (MAX_ACTIONS - 1, MAX_ACTIONS - 1));
    assert!(queue.is_empty());
}

#[test]
fn a_content_may_be_as_long_as_allowed() {
    for (bytes, taken) in [(MAX_CONTENT_BYTES, Ok(())), (MAX_CONTENT_BYTES + 1, Err(PushError::TooLarge))] {
        let content = Arc::from("x".repeat(bytes));
        let pushed = Queue::default().push(ActionId(1), ROOM, "m", content, UnixMillis(1)).map(|_| ());
        assert_eq!(pushed, taken, "{bytes} bytes");
    }
}

#[test]
fn what_was_interrupted_goes_again_when_its_time_comes_or_the_network_does() {
    for online in [false, true] {
        let mut queue = with(&[1, 2]);
        assert_eq!(transmitted(&mut queue, NOW), Some(1));
        assert_eq!(transmitted(&mut queue, NOW), None, "one after the other in a room");
        queue.handle_interrupted(ActionId(1), "lost", LATER);
        assert_eq!((queue.attempts(ActionId(1)), queue.attempts(ActionId(2))), (1, 0));
        assert_eq!(queue.poll_timeout(), Some(LATER));
        assert_eq!(transmitted(&mut queue, LATER - Duration::from_millis(1)), None);
        if online {
            queue.handle_online();
            assert_eq!(transmitted(&mut queue, NOW), Some(1));
        } else {
            assert_eq!(transmitted(&mut queue, LATER), Some(1), "at the very time");
        }
        queue.handle_interrupted(ActionId(1), "lost", LATER);
        assert_eq!(queue.attempts(ActionId(1)), 2);
        queue.retry(ActionId(1));
    }
}

#[test]
fn a_room_waits_for_its_own_request_and_for_no_other() {
    let mut queue = with(&[1, 2, 3]);
    assert_eq!(transmitted(&mut queue, NOW), Some(1));
    queue.cancel(ActionId(3));
    queue.retry(ActionId(1));
    assert_eq!(transmitted(&mut queue, NOW), None, "the first one is still under way");
    for id in 4..=7 {
        let room = format!("!{id}:x");
        queue.push(ActionId(id), &room, "m", Arc::from("{}"), UnixMillis(1)).expect("there is room");
    }
    for next in [Some(4), Some(5), Some(6), None] {
        assert_eq!(transmitted(&mut queue, NOW), next, "oldest first, and four rooms at a time");
    }
    queue.handle_answered(ActionId(5), "$event", 1);
    assert_eq!(transmitted(&mut queue, NOW), Some(7));
    queue.handle_refused(ActionId(1), "no");
    assert_eq!(transmitted(&mut queue, NOW), Some(2));
}

#[test]
fn after_a_gap_only_what_may_lie_in_it_is_taken_for_sent() {
    type Act = fn(&mut Queue);
    let gap: Act = |queue| queue.handle_gap(ROOM);
    let elsewhere: Act = |queue| queue.handle_gap("!other:x");
    let sends: Act = |queue| assert_eq!(transmitted(queue, NOW), Some(1));
    let fails: Act = |queue| drop(queue.handle_interrupted(ActionId(1), "lost", NOW));
    let answers: Act = |queue| drop(queue.handle_answered(ActionId(1), "$event", 7));
    let restarts: Act = |queue| {
        let stored = queue.forget_all().pop().expect("is there").to_stored("D");
        queue.restore(stored, "D").expect("there is room");
    };
    for (why, acts, gone) in [
        ("not transmitted before it: the stream brings it", &[gap, sends, answers][..], false),
        ("interrupted before it: the server may have it", &[sends, fails, gap, sends, answers], true),
        ("under way", &[sends, gap, answers], true),
        ("answered", &[sends, answers, gap], true),
        ("two gaps", &[sends, answers, gap, gap], true),
        ("an earlier run may have sent it", &[restarts, sends, answers], true),
        ("and a gap after that", &[restarts, gap, sends, answers], true),
        ("a gap elsewhere", &[sends, answers, elsewhere], false),
    ] {
        let mut queue = with(&[1]);
        acts.iter().for_each(|act| act(&mut queue));
        assert_eq!(queue.handle_synced(7).len(), 0, "{why}: this sync may have begun before the event");
        assert_eq!(queue.handle_synced(8).len(), usize::from(gone), "{why}");
    }
}

#[test]
fn actions_are_in_the_order_of_their_ids_and_leave_when_they_are_placed() {
    let mut queue = with(&[2, 4, 3, 1, 5]);
    let ids = |queue: &Queue| queue.room(ROOM).map(|action| action.id.0).collect::<Vec<_>>();
    assert_eq!(ids(&queue), [1, 2, 3, 4, 5]);
    assert!(queue.contains(ROOM, ActionId(3)) && !queue.contains("!other:x", ActionId(3)));
    assert!(matches!(queue.handle_streamed(ActionId(3)), Moved::Out(EchoStep::To(EchoState::Placed), _)));
    assert_eq!((ids(&queue), queue.len(), queue.unsent()), (vec![1, 2, 4, 5], 4, 4));
    transmitted(&mut queue, NOW);
    queue.handle_answered(ActionId(1), "$event", 1);
    assert_eq!((queue.find_event(ROOM, "$event"), queue.find_event(ROOM, "$no")), (Some(ActionId(1)), None));
    assert_eq!((queue.len(), queue.unsent()), (4, 3), "answered, and awaiting its place");
}

#[test]
fn only_a_refusal_is_stored_as_one() {
    let mut queue = with(&[1]);
    let error = |queue: &Queue| queue.room(ROOM).next().expect("is there").to_stored("D").error;
    transmitted(&mut queue, NOW);
    queue.handle_interrupted(ActionId(1), "lost", NOW);
    assert_eq!(error(&queue), None, "it goes again");
    queue.handle_refused(ActionId(1), "no");
    assert_eq!(error(&queue).as_deref(), Some("no"));
    queue.retry(ActionId(1));
    assert_eq!(error(&queue), None);
}

#[test]
fn what_another_device_stored_is_not_sent_by_itself() {
    for (device, sent) in [("D", Some(1)), ("another", None)] {
        let mut queue = with(&[1]);
        let stored = queue.forget_room(ROOM).pop().expect("is there").to_stored("D");
        queue.restore(stored, device).expect("there is room");
        assert_eq!(transmitted(&mut queue, NOW), sent, "restored by {device}");
    }
}

#[test]
fn m9_a_server_that_keeps_the_order_is_sent_several_of_a_room_each_naming_the_one_before_it() {
    let mut queue = with(&[1, 4, 6, 9]);
    queue.push(ActionId(10), "!other:x", "m", Arc::from("{}"), UnixMillis(1)).expect("there is room");
    queue.handle_order(true);
    let mut next = || queue.poll_transmit(NOW, |_| true).map(|action| (action.id.0, action.after));
    let first = [next(), next(), next(), next(), next()];
    assert_eq!(
        first,
        [Some((1, Some(0))), Some((4, Some(1))), Some((6, Some(4))), Some((10, Some(0))), None],
        "a busy room leaves the others a turn"
    );
    queue.handle_answered(ActionId(4), "$4", 1);
    let sent = queue.poll_transmit(NOW, |_| true).map(|action| (action.id.0, action.after));
    assert_eq!(sent, Some((9, Some(6))));
    queue.handle_interrupted(ActionId(1), "lost", LATER);
    assert_eq!((transmitted(&mut queue, NOW), queue.poll_timeout()), (None, Some(LATER)));
    let again = queue.poll_transmit(LATER, |_| true).map(|action| (action.id.0, action.after));
    assert_eq!(again, Some((1, Some(0))), "none before it is under way");
}
