//! The pause after failures to reach a peer.

use std::time::Duration;

use crate::core::rng::Rng;
use crate::core::time::Instant;

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

    /// The peer was heard of: the pause ends. But pauses are cut short less and less often while nothing is
    /// acknowledged: else two servers that hear each other, but not their acknowledgements, would answer
    /// each other without a pause.
    pub fn handle_traffic(&mut self, now: Instant, (first, longest): (Duration, Duration)) {
        let Some(until) = self.until else { return };
        if let Some(patient_until) = self.patient_until.filter(|at| *at > now) {
            self.until = Some(until.min(patient_until));
            return;
        }
        let patience = first.saturating_mul(1 << self.hurries.min(20)).min(longest);
        let hurries = self.hurries.saturating_add(1);
        *self = Self { failures: 0, until: None, hurries, patient_until: Some(now + patience) };
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
        backoff.handle_success();
        backoff.handle_failure(Instant::from_millis(100_000), pauses, &mut rng);
        backoff.handle_traffic(Instant::from_millis(100_001), pauses);
        assert_eq!(backoff.until(), None, "what is acknowledged begins anew");
    }
}
