//! From the operator's settings to those of the engine of presence between homeservers.

use std::time::Duration;

use super::settings::Presence;
use crate::core::federation;

/// The least patience with a first poll: a busy peer takes this long to answer though all else is shortened.
const LEAST_PATIENCE: Duration = Duration::from_secs(5);

impl Presence {
    /// How the engine runs with these settings.
    ///
    /// What is not settable follows the short watchdog in the proportions of the defaults, so that a test
    /// shortens everything with it; only what the defaults make shorter than that stays.
    pub fn engine(&self) -> federation::Config {
        let default = federation::Config::default();
        let short = self.short_watchdog;
        // Shorter than by default with a shorter watchdog, never longer.
        let scaled = |time: Duration| time.mul_f64((short.as_secs_f64() / 60.0).min(1.0));
        let promise = short * 2;
        federation::Config {
            batch_window: self.batch_window,
            settle: default.settle.min(self.batch_window),
            short_watchdog: short,
            long_watchdog: self.long_watchdog,
            promise,
            promise_bounds: (scaled(default.promise_bounds.0), default.promise_bounds.1),
            poll_patience: scaled(default.poll_patience).max(LEAST_PATIENCE),
            backoff: (scaled(default.backoff.0), default.backoff.1.min(self.long_watchdog)),
            ..default
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(short: u64, long: u64) -> federation::Config {
        let (short_watchdog, long_watchdog) = (Duration::from_secs(short), Duration::from_secs(long));
        Presence { short_watchdog, long_watchdog, ..Presence::default() }.engine()
    }

    #[test]
    fn the_defaults_are_those_of_the_engine() {
        assert_eq!(Presence::default().engine(), federation::Config::default());
    }

    #[test]
    fn times_shrink_with_the_short_watchdog_and_stay_in_their_order() {
        for (short, long) in [(1, 1), (1, 5), (10, 60), (60, 3_600), (600, 86_400)] {
            let config = with(short, long);
            assert!(config.promise > config.short_watchdog, "{short}");
            assert!(config.promise_bounds.0 <= config.promise, "a peer with our own settings is believed");
            assert!(config.promise <= config.promise_bounds.1, "{short}");
            assert!(
                config.backoff.0 < config.short_watchdog && config.backoff.0 <= config.backoff.1,
                "{short}"
            );
            assert!(config.settle <= config.batch_window, "{short}");
        }
        assert_eq!(with(1, 5).promise, Duration::from_secs(2));
        assert_eq!(with(1, 5).backoff.1, Duration::from_secs(5));
    }
}
