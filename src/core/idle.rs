//! The idle timeout of one device (W2): when nobody has been there for long enough.
//!
//! The shell tells of activity (pointer, key, wheel, touch, scroll, focus, a page shown) and gets two
//! words back: became idle, became active, each exactly once. Activity only stores its instant; the
//! timer is set again when it fires, so that a moving pointer costs next to nothing.
//!
//! The shell's clock must go on while the machine sleeps (`Date.now`; in many browsers
//! `performance.now` does not). Then the time asleep counts as idle by itself, whether the timer or
//! the user comes first on waking. Such a clock can be set back, which leaves the idle time as it is; set
//! forward, it looks like sleep, and the next activity mends it.

use std::fmt;
use std::time::Duration;

use super::time::Instant;

/// How long nothing has to happen until a device is idle: 1 to 5 minutes, by default 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct IdleTimeout(Duration);

impl IdleTimeout {
    /// The shortest: below it, who reads a long message is idle.
    pub const MIN: Duration = Duration::from_secs(60);

    /// The longest: above it, who has left for lunch is still shown as there.
    pub const MAX: Duration = Duration::from_secs(5 * 60);

    /// A timeout from [`MIN`](Self::MIN) to [`MAX`](Self::MAX).
    pub fn new(timeout: Duration) -> Result<Self, IdleTimeoutOutOfRange> {
        if (Self::MIN..=Self::MAX).contains(&timeout) {
            Ok(Self(timeout))
        } else {
            Err(IdleTimeoutOutOfRange { timeout })
        }
    }

    /// Its length.
    pub const fn duration(self) -> Duration {
        self.0
    }
}

impl Default for IdleTimeout {
    fn default() -> Self {
        Self(Duration::from_secs(3 * 60))
    }
}

/// The idle timeout is shorter than a minute or longer than five.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdleTimeoutOutOfRange {
    /// What was asked for.
    pub timeout: Duration,
}

impl fmt::Display for IdleTimeoutOutOfRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an idle timeout is 1 to 5 minutes, not {:?}", self.timeout)
    }
}

impl std::error::Error for IdleTimeoutOutOfRange {}

/// What became of the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Nobody has been at it for this long.
    BecameIdle {
        /// Since the last activity.
        idle_for: Duration,
    },
    /// Somebody is at it again.
    BecameActive,
}

/// What the system knows beyond the page: the `IdleDetector` of browsers, where it is granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    /// Somebody uses the machine, this page or another program; until told otherwise.
    Active,
    /// Nobody has used the machine for so long.
    Idle {
        /// Since the last use.
        idle_for: Duration,
    },
    /// The screen is locked: idle at once.
    Locked,
}

/// The idle state of one device.
#[derive(Clone, Debug)]
pub struct IdleTimer {
    timeout: IdleTimeout,
    last_activity: Instant,
    /// The latest input, to notice a clock that was set back.
    last_now: Instant,
    /// When to look again; never while idle or while the system vouches for somebody.
    wake_at: Option<Instant>,
    idle: bool,
    /// What the outputs said last.
    told_idle: bool,
    in_use: bool,
}

impl IdleTimer {
    /// A timer of a device that somebody has just begun to use.
    pub fn new(timeout: IdleTimeout, now: Instant) -> Self {
        Self {
            timeout,
            last_activity: now,
            last_now: now,
            wake_at: Some(now + timeout.duration()),
            idle: false,
            told_idle: false,
            in_use: false,
        }
    }

    /// Whether nobody is at the device.
    pub const fn is_idle(&self) -> bool {
        self.idle
    }

    /// The time since the last activity.
    pub const fn idle_for(&self, now: Instant) -> Duration {
        now.since(self.last_activity)
    }

    /// Takes another timeout, which counts from the last activity. Somebody idle stays so.
    pub fn set_timeout(&mut self, timeout: IdleTimeout, now: Instant) {
        self.timeout = timeout;
        self.look(now);
    }

    /// Somebody did something.
    pub fn handle_activity(&mut self, now: Instant) {
        self.notice_clock(now);
        self.last_activity = now;
        if self.idle {
            self.idle = false;
            self.wake_at = Some(now + self.timeout.duration());
        }
    }

    /// The page was hidden. No activity: a screen that locks hides it as well. Events cease now, so the
    /// timeout runs from the last one.
    pub fn handle_hidden(&mut self, now: Instant) {
        self.look(now);
    }

    /// The page was shown: somebody came back to it.
    pub fn handle_shown(&mut self, now: Instant) {
        self.handle_activity(now);
    }

    /// The system told what it knows.
    pub fn handle_system(&mut self, system: System, now: Instant) {
        match system {
            System::Active => {
                self.handle_activity(now);
                self.in_use = true;
                self.wake_at = None;
            }
            System::Idle { idle_for } => {
                self.notice_clock(now);
                self.in_use = false;
                self.last_activity = self.last_activity.max(now - idle_for);
                self.look(now);
            }
            System::Locked => {
                self.notice_clock(now);
                if self.in_use {
                    self.last_activity = now;
                }
                self.in_use = false;
                self.become_idle();
            }
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called.
    pub const fn poll_timeout(&self) -> Option<Instant> {
        self.wake_at
    }

    /// Looks whether the timeout has passed, on time, early or (after sleep) much too late.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.look(now);
    }

    /// What became of the device since the last call. Idleness that ended before it was told, as when
    /// somebody wakes the machine by moving the pointer, is never told.
    pub fn poll_output(&mut self, now: Instant) -> Option<Output> {
        if self.told_idle == self.idle {
            return None;
        }
        self.told_idle = self.idle;
        Some(match self.idle {
            true => Output::BecameIdle { idle_for: self.idle_for(now) },
            false => Output::BecameActive,
        })
    }

    fn look(&mut self, now: Instant) {
        self.notice_clock(now);
        if self.idle || self.in_use {
            return;
        }
        let deadline = self.last_activity + self.timeout.duration();
        if deadline <= now {
            self.become_idle();
        } else {
            self.wake_at = Some(deadline);
        }
    }

    fn become_idle(&mut self) {
        self.idle = true;
        self.wake_at = None;
    }

    /// Moves what is remembered along with a clock that was set back.
    fn notice_clock(&mut self, now: Instant) {
        if now < self.last_now {
            let back = self.last_now.since(now);
            self.last_activity = self.last_activity - back;
            self.wake_at = self.wake_at.map(|at| at - back);
        }
        self.last_now = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::testing;
    use proptest::prelude::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const TIMEOUT: u64 = 180;

    fn at(secs: u64) -> Instant {
        Instant::from_millis(1_000_000_000 + secs * 1_000)
    }

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn timer() -> IdleTimer {
        IdleTimer::new(IdleTimeout::default(), at(0))
    }

    fn idle_for(seconds: u64) -> Option<Output> {
        Some(Output::BecameIdle { idle_for: secs(seconds) })
    }

    #[test]
    fn w2_a_timeout_is_one_to_five_minutes_and_three_by_default() {
        assert_eq!(IdleTimeout::default().duration(), secs(TIMEOUT));
        for (seconds, allowed) in
            [(0, false), (59, false), (60, true), (180, true), (300, true), (301, false)]
        {
            assert_eq!(IdleTimeout::new(secs(seconds)).is_ok(), allowed, "{seconds} s");
        }
        assert!(IdleTimeout::new(Duration::from_millis(300_001)).is_err());
        assert!(IdleTimeout::new(Duration::MAX).is_err());
    }

    #[test]
    fn w2_idle_and_active_are_told_once_each() {
        let mut t = timer();
        t.handle_timeout(at(179));
        assert_eq!((t.poll_output(at(179)), t.poll_timeout()), (None, Some(at(180))));
        t.handle_timeout(at(180));
        assert_eq!(t.poll_output(at(180)), idle_for(180));
        assert_eq!((t.poll_output(at(180)), t.poll_timeout()), (None, None));
        t.handle_activity(at(400));
        t.handle_activity(at(401));
        assert_eq!(t.poll_output(at(401)), Some(Output::BecameActive));
        assert_eq!(t.poll_output(at(401)), None);
    }

    #[test]
    fn w2_activity_does_not_set_the_timer_which_looks_again_when_it_fires() {
        let mut t = timer();
        for second in 1..=150 {
            t.handle_activity(at(second));
            assert_eq!(t.poll_timeout(), Some(at(180)));
        }
        t.handle_timeout(at(180));
        assert_eq!((t.poll_output(at(180)), t.poll_timeout()), (None, Some(at(330))));
    }

    #[test]
    fn w2_the_time_asleep_counts_as_idle_when_the_timer_wakes_first() {
        let mut t = timer();
        t.handle_activity(at(100));
        t.handle_timeout(at(8 * 3_600));
        assert_eq!(t.poll_output(at(8 * 3_600)), idle_for(8 * 3_600 - 100));
    }

    #[test]
    fn w2_who_wakes_the_machine_was_not_told_to_be_idle_and_is_not_told_to_be_active() {
        let mut t = timer();
        t.handle_activity(at(8 * 3_600));
        t.handle_timeout(at(8 * 3_600));
        assert_eq!(t.poll_output(at(8 * 3_600)), None);
        assert_eq!(t.poll_timeout(), Some(at(8 * 3_600 + TIMEOUT)));
    }

    #[test]
    fn w2_a_nap_shorter_than_the_timeout_is_counted_in() {
        let mut t = timer();
        t.handle_activity(at(60));
        t.handle_timeout(at(200));
        assert_eq!(t.poll_output(at(200)), None);
        assert_eq!(t.poll_timeout(), Some(at(240)));
    }

    #[test]
    fn w2_a_clock_set_back_leaves_the_idle_time_as_it_is() {
        let mut t = timer();
        t.handle_activity(at(10_000));
        t.handle_timeout(at(10_100));
        t.handle_timeout(at(1_000));
        assert_eq!(t.poll_timeout(), Some(at(1_080)));
        t.handle_timeout(at(1_080));
        assert_eq!(t.poll_output(at(1_080)), idle_for(180));
    }

    #[test]
    fn w2_showing_the_page_is_activity_and_hiding_it_is_not() {
        let mut t = timer();
        t.handle_hidden(at(170));
        t.handle_timeout(at(180));
        assert_eq!(t.poll_output(at(180)), idle_for(180));
        t.handle_hidden(at(190));
        assert_eq!(t.poll_output(at(190)), None);
        t.handle_shown(at(200));
        assert_eq!(t.poll_output(at(200)), Some(Output::BecameActive));
    }

    #[test]
    fn w2_another_timeout_counts_from_the_last_activity() {
        let mut t = timer();
        t.set_timeout(IdleTimeout::new(secs(60)).expect("in range"), at(30));
        assert_eq!(t.poll_timeout(), Some(at(60)));
        t.set_timeout(IdleTimeout::new(secs(300)).expect("in range"), at(59));
        t.handle_timeout(at(60));
        assert_eq!((t.poll_output(at(60)), t.poll_timeout()), (None, Some(at(300))));
        t.set_timeout(IdleTimeout::new(secs(60)).expect("in range"), at(90));
        assert_eq!(t.poll_output(at(90)), idle_for(90));
    }

    #[test]
    fn w2_the_system_knows_of_other_programs() {
        let mut t = timer();
        t.handle_system(System::Active, at(100));
        assert_eq!(t.poll_timeout(), None);
        t.handle_timeout(at(5_000));
        assert_eq!(t.poll_output(at(5_000)), None, "somebody types in another window");
        t.handle_system(System::Idle { idle_for: secs(60) }, at(6_000));
        assert_eq!((t.poll_output(at(6_000)), t.poll_timeout()), (None, Some(at(6_120))));
        t.handle_timeout(at(6_120));
        assert_eq!(t.poll_output(at(6_120)), idle_for(180));
        t.handle_system(System::Active, at(7_000));
        assert_eq!(t.poll_output(at(7_000)), Some(Output::BecameActive));
        t.handle_system(System::Locked, at(7_060));
        assert_eq!(t.poll_output(at(7_060)), idle_for(0));
    }

    proptest! {
        #![proptest_config(testing::config())]

        /// Against the definition: idle is who has done nothing for the timeout, and words alternate.
        #[test]
        fn w2_agrees_with_its_definition(steps in prop::collection::vec((0u8..3, 0u64..400), 1..60)) {
            let mut t = timer();
            let (mut now, mut last_activity, mut told_idle) = (0, 0, false);
            for (kind, pause) in steps {
                let end = now + pause;
                while let Some(wake) = t.poll_timeout().filter(|&wake| wake <= at(end)) {
                    prop_assert!(wake > at(now) || wake <= at(last_activity + TIMEOUT));
                    t.handle_timeout(wake);
                    match t.poll_output(wake) {
                        Some(output) => {
                            prop_assert!(!told_idle);
                            prop_assert_eq!(Some(output), idle_for(TIMEOUT));
                            prop_assert_eq!(wake, at(last_activity + TIMEOUT));
                            told_idle = true;
                        }
                        None => prop_assert!(wake < at(last_activity + TIMEOUT)),
                    }
                }
                now = end;
                prop_assert_eq!(t.is_idle(), now >= last_activity + TIMEOUT);
                match kind {
                    0 => {
                        t.handle_activity(at(now));
                        last_activity = now;
                        let expected = told_idle.then_some(Output::BecameActive);
                        told_idle = false;
                        prop_assert_eq!(t.poll_output(at(now)), expected);
                    }
                    1 => t.handle_hidden(at(now)),
                    _ => t.handle_timeout(at(now)),
                }
                prop_assert_eq!(t.poll_output(at(now)), None);
            }
        }
    }
}
