//! The order of actions, without a server.

use proptest::prelude::*;

use super::*;

const NOW: Instant = Instant::from_millis(7);

fn session(device: &str) -> Session {
    let user = ruma::UserId::parse("@ann:localhost").expect("a user ID");
    Session { user, device: device.into() }
}

fn enter(lanes: &Arc<Lanes>, id: u64, after: u64) -> Place {
    lanes.enter(&session("A"), "!r", (id, after), 10).expect("there is room")
}

#[test]
fn an_action_goes_once_the_one_before_it_is_answered() {
    for (end, goes) in [(End::Done, true), (End::Refused, true), (End::Open, false)] {
        let lanes = Arc::default();
        let (mut third, mut second) = (enter(&lanes, 3, 2), enter(&lanes, 2, 1));
        assert!(!second.goes() && !third.goes());
        let mut first = enter(&lanes, 1, 0);
        assert!(first.goes() && !second.goes());
        first.end(end, NOW);
        assert_eq!((second.goes(), third.goes()), (goes, false), "{end:?}");
        if goes {
            second.end(end, NOW);
            assert!(third.goes());
        }
        drop(third);
    }
}

#[test]
fn whoever_has_waited_long_enough_gives_up_what_is_missing_before_it_and_nothing_that_is_here() {
    let lanes = Arc::default();
    // 1, 3 and 5 are lost.
    let mut waiting: Vec<_> = [(6, 5), (4, 3), (2, 1)].map(|(id, after)| enter(&lanes, id, after)).into();
    waiting[1].handle_timeout();
    let (mut second, mut fourth, mut sixth) =
        (waiting.pop().expect("2"), waiting.pop().expect("4"), waiting.pop().expect("6"));
    assert!(second.goes() && !fourth.goes() && !sixth.goes());
    second.end(End::Done, NOW);
    assert!(fourth.goes() && !sixth.goes());
    fourth.end(End::Done, NOW);
    assert!(!sixth.goes(), "its own time is not over");
    // It comes late, and goes before those that still wait.
    let mut third = enter(&lanes, 3, 2);
    assert!(!third.goes(), "2 is asked of whoever remembers");
    third.handle_done_before();
    assert!(third.goes());
    sixth.handle_timeout();
    assert!(!sixth.goes());
    third.end(End::Open, NOW);
    assert!(sixth.goes());
    drop(sixth);
    assert!(lanes.is_empty());
}

#[test]
fn what_is_missing_is_given_up_only_when_nothing_goes_on() {
    let at = Instant::from_millis;
    let lanes = Arc::default();
    let waits = enter(&lanes, 9, 8);
    assert_eq!(waits.progressed_at(), None);
    for (id, end, progressed) in [(1, End::Done, 1), (2, End::Refused, 2), (3, End::Open, 2)] {
        let mut place = enter(&lanes, id, 0);
        assert!(place.goes());
        place.end(end, at(id));
        assert_eq!(waits.progressed_at(), Some(at(progressed)), "{end:?}");
    }
    // Who gave up the one before is no sign that others come.
    let mut gives_up = enter(&lanes, 5, 4);
    gives_up.handle_timeout();
    assert!(gives_up.goes());
    gives_up.end(End::Done, at(5));
    assert_eq!(waits.progressed_at(), Some(at(2)));
    drop(waits);
    assert!(lanes.is_empty());
}

#[test]
fn a_request_that_goes_away_holds_nobody_up() {
    let lanes = Arc::default();
    let (mut second, mut third) = (enter(&lanes, 2, 1), enter(&lanes, 3, 2));
    third.handle_timeout();
    assert!(second.goes(), "with what it waits for");
    let mut again = enter(&lanes, 2, 1);
    assert!(again.goes(), "the same action");
    drop(second);
    assert!(!third.goes(), "it is asked for once more");
    drop(again);
    assert!(third.goes());
    drop(third);
    let (gone, mut other) = (enter(&lanes, 5, 4), enter(&lanes, 6, 0));
    assert!(!other.goes());
    drop(gone);
    assert!(other.goes());
    drop(other);
    assert!(lanes.is_empty());
}

#[test]
fn devices_and_rooms_do_not_wait_for_each_other_and_refusals_are_remembered() {
    let lanes: Arc<Lanes> = Arc::default();
    let place = |device: &str, room: &str, id, after| {
        lanes.enter(&session(device), room, (id, after), 10).expect("there is room")
    };
    let mut waits = place("A", "!r", 5, 4);
    assert!(place("A", "!s", 6, 0).goes() && place("B", "!r", 6, 0).goes() && !waits.goes());
    lanes.handle_end(&session("B"), 4, End::Refused);
    assert!(!waits.goes());
    lanes.handle_end(&session("A"), 4, End::Refused);
    assert!(waits.goes());
    assert!(place("A", "!s", 7, 4).goes() && place("B", "!s", 7, 4).goes());
    assert!(!place("C", "!s", 7, 4).goes());
}

#[test]
fn what_waits_is_bounded_in_number_and_in_bytes() {
    let lanes: Arc<Lanes> = Arc::default();
    let enter = |n: usize, bytes| {
        lanes.enter(&session("A"), &format!("!{}", n % 7), (n as u64 + 2, n as u64 + 1), bytes)
    };
    let many: Vec<_> = (0..MAX_OF_ONE.actions).map(|n| enter(n, 1).expect("there is room")).collect();
    assert_eq!(enter(MAX_OF_ONE.actions, 1).expect_err("is full"), Full);
    drop(many);
    assert!(lanes.is_empty());
    let much = enter(0, MAX_OF_ONE.bytes).expect("there is room");
    assert_eq!(enter(1, 1).expect_err("is full"), Full);
    assert_eq!(enter(1, usize::MAX).expect_err("is full"), Full);
    drop(much);
    assert!(lanes.is_empty());
    for n in 0..MAX_REFUSED as u64 + 10 {
        lanes.handle_end(&session("A"), n + 1, End::Refused);
    }
    let inner = lanes.0.lock();
    assert_eq!((inner.refused.order.len(), inner.refused.known.len()), (MAX_REFUSED, MAX_REFUSED));
}

proptest! {
    /// Whatever comes in whatever order, some of it twice: with nothing lost all is done, once, in the order of IDs.
    #[test]
    fn nothing_is_lost_doubled_or_out_of_order(
        mut arrivals in Just((1..=30_u64).chain([3, 3, 17]).collect::<Vec<_>>()).prop_shuffle(),
        mut picks in prop::collection::vec(0..4_usize, 200),
    ) {
        let lanes: Arc<Lanes> = Arc::default();
        let (mut here, mut done): (Vec<Place>, Vec<u64>) = (Vec::new(), Vec::new());
        while !arrivals.is_empty() || !here.is_empty() {
            let pick = picks.pop().unwrap_or(0);
            if pick > 0 && let Some(id) = arrivals.pop() {
                let place = enter(&lanes, id, id - 1);
                if done.contains(&(id - 1)) {
                    place.handle_done_before();
                }
                here.push(place);
            }
            if let Some(n) = here.iter_mut().position(Place::goes) {
                let place = here.swap_remove(n);
                if !done.contains(&place.id) {
                    done.push(place.id);
                }
                place.end(End::Done, NOW);
            } else if arrivals.is_empty() {
                prop_assert!(here.is_empty(), "stuck: {here:?}");
            }
        }
        prop_assert_eq!(done, (1..=30).collect::<Vec<_>>());
        prop_assert!(lanes.is_empty());
    }
}
