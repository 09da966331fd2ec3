//! When a user was last active (P8), and last seen (P9).

use std::time::Duration;

use super::state::{MatrixState, State};
use crate::core::time::Instant;
pub use crate::core::time::{coarse, coarse_at_least};

/// When a user last did something, and until when that counts as being active.
///
/// A pro-active event is a message sent or a change to a higher state; it moves `last_active`. Those that
/// a person does (and not a device that connects by itself) also open the window of `currently_active`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Activity {
    /// The origin stands for never: there are a million of these.
    last_active: Instant,
    /// The origin stands for a closed window.
    active_until: Instant,
}

impl Activity {
    /// The activity of a user who was active last at `last_active`, if ever.
    pub fn restored(last_active: Option<Instant>) -> Self {
        Self { last_active: last_active.unwrap_or_default(), active_until: Instant::ZERO }
    }

    /// The instant of the last pro-active event.
    pub fn last_active(&self) -> Option<Instant> {
        (self.last_active != Instant::ZERO).then_some(self.last_active)
    }

    /// The time since the last pro-active event.
    pub fn last_active_ago(&self, now: Instant) -> Option<Duration> {
        self.last_active().map(|at| now.since(at))
    }

    /// When the window closes, while it is open.
    pub fn open_until(&self, now: Instant) -> Option<Instant> {
        (now < self.active_until).then_some(self.active_until)
    }

    /// Matrix's `currently_active`: in the state `online`, and something was done within the window.
    pub fn is_current(&self, state: State, now: Instant) -> bool {
        state.matrix() == MatrixState::Online && self.open_until(now).is_some()
    }

    /// A pro-active event that a device caused by itself: it connected.
    pub fn handle_change(&mut self, now: Instant) {
        self.last_active = self.last_active.max(now);
    }

    /// A pro-active event that a person caused.
    pub fn handle_act(&mut self, now: Instant, window: Duration) {
        self.handle_change(now);
        self.active_until = self.active_until.max(now + window);
    }

    /// The user is gone.
    pub fn close_window(&mut self) {
        self.active_until = Instant::ZERO;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::testing;
    use proptest::prelude::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const WINDOW: Duration = Duration::from_secs(300);

    fn at(secs: u64) -> Instant {
        Instant::from_millis(secs * 1_000)
    }

    #[test]
    fn p8_an_act_counts_from_its_instant_and_opens_the_window() {
        let mut activity = Activity::default();
        assert_eq!(activity.last_active_ago(at(9)), None);
        activity.handle_act(at(10), WINDOW);
        assert_eq!(activity.last_active_ago(at(12)), Some(Duration::from_secs(2)));
        assert!(activity.is_current(State::Online, at(309)));
        assert!(!activity.is_current(State::Online, at(310)));
    }

    #[test]
    fn p8_a_device_that_connects_moves_last_active_and_makes_nobody_currently_active() {
        let mut activity = Activity::restored(Some(at(1)));
        activity.handle_change(at(10));
        assert_eq!(activity.last_active(), Some(at(10)));
        assert!(!activity.is_current(State::Online, at(10)));
    }

    #[test]
    fn p8_only_who_is_online_is_currently_active() {
        let mut activity = Activity::default();
        activity.handle_act(at(10), WINDOW);
        for state in State::ALL {
            let online = matches!(state, State::Online | State::FreeForChat);
            assert_eq!(activity.is_current(state, at(11)), online, "{state}");
        }
    }

    #[test]
    fn p8_a_clock_that_runs_backwards_moves_nothing_back() {
        let mut activity = Activity::default();
        activity.handle_act(at(100), WINDOW);
        activity.handle_act(at(50), WINDOW);
        assert_eq!(activity.last_active(), Some(at(100)));
        assert_eq!(activity.last_active_ago(at(50)), Some(Duration::ZERO));
        assert_eq!(activity.open_until(at(50)), Some(at(400)));
    }

    #[test]
    fn p9_last_seen_is_told_in_coarse_steps() {
        for (secs, shown) in [
            (0, 0),
            (59, 0),
            (60, 60),
            (3_599, 3_540),
            (3_600, 3_600),
            (7_199, 3_600),
            (86_399, 82_800),
            (86_400, 86_400),
            (172_799, 86_400),
            (31_536_001, 31_536_000),
        ] {
            assert_eq!(coarse(Duration::from_secs(secs)).as_secs(), shown, "{secs} s");
        }
        assert_eq!(coarse(Duration::from_millis(59_999)), Duration::ZERO);
    }

    #[test]
    fn p9_when_somebody_who_is_offline_was_active_is_told_in_coarse_steps_and_never_as_more_recent() {
        for (ms, shown_secs) in [
            (0, 0),
            (1, 60),
            (740, 60),
            (60_000, 60),
            (60_001, 120),
            (347_427, 360),
            (3_599_999, 3_600),
            (3_600_000, 3_600),
            (3_600_001, 7_200),
            (86_399_999, 86_400),
            (86_400_001, 172_800),
        ] {
            assert_eq!(coarse_at_least(Duration::from_millis(ms)).as_secs(), shown_secs, "{ms} ms");
        }
    }

    proptest! {
        #![proptest_config(testing::config())]

        #[test]
        fn p9_nobody_looks_more_recently_active_for_having_left_nor_later_on(a: u64, b: u64) {
            let (a, b) = (Duration::from_millis(a.min(b)), Duration::from_millis(a.max(b)));
            prop_assert!(coarse_at_least(a) >= a);
            prop_assert!(coarse_at_least(a) <= coarse_at_least(b));
            prop_assert_eq!(coarse_at_least(coarse_at_least(a)), coarse_at_least(a));
        }

        #[test]
        fn p9_coarse_never_exceeds_the_truth_and_never_decreases(a: u64, b: u64) {
            let (a, b) = (Duration::from_millis(a.min(b)), Duration::from_millis(a.max(b)));
            prop_assert!(coarse(a) <= a);
            prop_assert!(coarse(a) <= coarse(b));
            prop_assert_eq!(coarse(coarse(a)), coarse(a));
        }
    }
}
