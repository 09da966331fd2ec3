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
fn after_a_gap_only_what_may_lie_in_it_is_taken_for_sent() {
    // Interrupted before the gap: the server may have it. Not transmitted before it: the stream will bring it.
    for (interrupted, gone) in [(true, 1), (false, 0)] {
        let mut queue = with(&[1]);
        if interrupted {
            transmitted(&mut queue, NOW);
            queue.handle_interrupted(ActionId(1), "lost", NOW);
        }
        queue.handle_gap(ROOM);
        assert_eq!(transmitted(&mut queue, NOW), Some(1));
        queue.handle_answered(ActionId(1), "$event", 7);
        assert_eq!(queue.handle_synced(7).len(), 0, "this sync may have begun before the event");
        assert_eq!(queue.handle_synced(8).len(), gone, "interrupted: {interrupted}");
    }
}
