//! The pause after failures to reach a peer.

use std::time::Duration;

use crate::core::rng::Rng;
use crate::core::time::Instant;

/// The longest that a peer which is heard of all the time waits for an attempt: one that can be reached again is not to
/// wait for the end of an hour.
const LONGEST_PATIENCE: Duration = Duration::from_secs(1_800);

/// How often in a row it counts as failed, at most, where messages arrive and only their acknowledgements are lost: so
/// they are repeated within every promise.
const FAILURES_THAT_ARRIVED: u32 = 4;

/// Doubles with each failure in a row, varied by a fifth so that the peers of a dead server do not
/// return in step.
#[derive(Clone, Debug, Default)]
pub struct Backoff {
    failures: u32,
    until: Option<Instant>,
    /// How often a pause was cut short since the last acknowledgement, and until when none is again.
    hurries: u32,
    patient_until: Option<Instant>,
}

impl Backoff {
    /// Until when nothing is to be sent.
    pub const fn until(&self) -> Option<Instant> {
        self.until
    }

    /// How often in a row it failed.
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// The peer could not be reached; `first` and `longest` bound the pause.
    pub fn handle_failure(&mut self, now: Instant, (first, longest): (Duration, Duration), rng: &mut Rng) {
        let pause = first.saturating_mul(1 << self.failures.min(20)).min(longest);
        self.failures = self.failures.saturating_add(1);
        self.until = Some(now + rng.jitter(pause, 0.2));
    }

    /// The peer acknowledged something.
    pub const fn handle_success(&mut self) {
        *self = Self { failures: 0, until: None, hurries: 0, patient_until: None };
    }

    /// The peer was heard of: the pause ends, for one attempt. That it can be reached is not known by it, so the pause
    /// after the next failure is as long as it would have been; and pauses are cut short less and less often while
    /// nothing is acknowledged. Else two servers that hear each other, but not their acknowledgements, would answer
    /// each other without a pause, and one that only hears would never try less often.
    pub fn handle_traffic(&mut self, now: Instant, (first, longest): (Duration, Duration)) {
        let Some(until) = self.until else { return };
        if let Some(patient_until) = self.patient_until.filter(|at| *at > now) {
            self.until = Some(until.min(patient_until));
            return;
        }
        let longest = longest.min(LONGEST_PATIENCE);
        let patience = first.saturating_mul(1 << self.hurries.min(20)).min(longest);
        self.hurries = self.hurries.saturating_add(1);
        (self.until, self.patient_until) = (None, Some(now + patience));
    }

    /// The peer was silent, and is heard of again: that it could not be reached before means nothing.
    pub const fn handle_return(&mut self) {
        (self.hurries, self.patient_until) = (0, None);
    }

    /// The peer says that what counts as failed has arrived: the pauses stay short.
    pub fn handle_arrival(&mut self, now: Instant, (first, longest): (Duration, Duration)) {
        self.failures = self.failures.min(FAILURES_THAT_ARRIVED);
        self.hurries = self.hurries.min(FAILURES_THAT_ARRIVED);
        let latest = now + first.saturating_mul(1 << FAILURES_THAT_ARRIVED).min(longest);
        self.until = self.until.map(|until| until.min(latest));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn pauses_double_up_to_the_longest_and_begin_anew_after_a_success() {
        let (first, longest) = (Duration::from_secs(5), Duration::from_secs(3_600));
        let (mut backoff, mut rng) = (Backoff::default(), Rng::new(1));
        for exponent in 0..40u32 {
            backoff.handle_failure(Instant::ZERO, (first, longest), &mut rng);
            let pause = backoff.until().expect("set").since(Instant::ZERO).as_secs_f64();
            let nominal = (5.0 * 2f64.powi(exponent.min(20).cast_signed())).min(3_600.0);
            assert!((0.79 * nominal..=1.21 * nominal).contains(&pause), "{exponent}: {pause}");
        }
        backoff.handle_success();
        assert_eq!((backoff.until(), backoff.failures()), (None, 0));
    }

    #[test]
    fn a_peer_that_is_heard_of_ends_a_pause_and_one_that_never_acknowledges_ever_later() {
        let pauses = (Duration::from_secs(5), Duration::from_secs(3_600));
        let (mut backoff, mut rng) = (Backoff::default(), Rng::new(1));
        let mut cut_short = Vec::new();
        for second in 0..100 {
            let now = Instant::from_millis(second * 1_000);
            if backoff.until().is_none_or(|until| until <= now) {
                backoff.handle_failure(now, pauses, &mut rng);
            }
            backoff.handle_traffic(now, pauses);
            cut_short.extend(backoff.until().is_none().then_some(second));
        }
        assert_eq!(cut_short, [0, 5, 15, 35, 75]);
        assert!(backoff.failures() > 4, "they count on");
        backoff.handle_success();
        backoff.handle_failure(Instant::from_millis(100_000), pauses, &mut rng);
        backoff.handle_traffic(Instant::from_millis(100_001), pauses);
        assert_eq!(backoff.until(), None, "what is acknowledged begins anew");
    }

    #[test]
    fn who_only_hears_its_peer_tries_ever_less_often_and_at_least_every_half_hour() {
        let pauses = (Duration::from_secs(5), Duration::from_secs(3_600));
        let (mut backoff, mut rng) = (Backoff::default(), Rng::new(1));
        let mut attempts = [0; 6];
        for second in 0..6 * 3_600_u64 {
            let now = Instant::from_millis(second * 1_000);
            if second % 20 == 0 {
                backoff.handle_traffic(now, pauses);
            }
            if backoff.until().is_none_or(|until| until <= now) {
                backoff.handle_failure(now, pauses, &mut rng);
                attempts[usize::try_from(second / 3_600).expect("small")] += 1;
            }
        }
        assert!(attempts[0] < 30 && attempts[1..].iter().all(|n| (1..=3).contains(n)), "{attempts:?}");
        let now = Instant::from_millis(6 * 3_600_000);
        backoff.handle_return();
        backoff.handle_traffic(now, pauses);
        assert_eq!(backoff.until(), None, "who was silent is tried at once");
    }
}
