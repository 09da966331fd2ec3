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

    /// The peer is there.
    pub const fn handle_success(&mut self) {
        self.failures = 0;
        self.until = None;
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
}
