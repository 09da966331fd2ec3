//! Instants and wall-clock times as the core sees them: numbers that come in with every call.
//!
//! The shells own the clocks. The browser counts from the page's start. The homeserver takes the
//! Unix time once, when it starts, and goes on from there with the monotonic clock: its instants
//! never run backwards, and are Unix times as long as nobody sets the system's clock.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A point in time, in milliseconds since an origin that the shell chose; all arithmetic saturates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Instant(u64);

impl Instant {
    /// The origin.
    pub const ZERO: Self = Self(0);

    /// The latest instant there is: a deadline that never comes.
    pub const MAX: Self = Self(u64::MAX);

    /// The instant `millis` milliseconds after the origin.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the origin.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// The time that has passed since `earlier`; zero if `earlier` is the later one.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// The instant of a wall-clock time, where the origin is the Unix epoch (see the module).
    pub const fn from_unix(time: UnixMillis) -> Self {
        Self(time.0)
    }

    /// The wall-clock time of an instant, where the origin is the Unix epoch (see the module).
    pub const fn to_unix(self) -> UnixMillis {
        UnixMillis(self.0)
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(millis(rhs)))
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;

    fn sub(self, rhs: Duration) -> Self {
        Self(self.0.saturating_sub(millis(rhs)))
    }
}

/// A wall-clock time in milliseconds since the Unix epoch, as Matrix writes them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixMillis(pub u64);

impl fmt::Display for UnixMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Whole milliseconds of a duration; `u64::MAX` for the centuries that do not fit.
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A time since somebody was there, in the coarse steps that others are told it in (P6, P9): whole minutes within the hour, whole hours
/// within the day, whole days beyond.
pub fn coarse(ago: Duration) -> Duration {
    let secs = ago.as_secs();
    Duration::from_secs(secs - secs % step(ago))
}

/// A time since somebody who is offline was active last, in the same steps: the first that is not below it. Nobody looks more
/// recently active for having left.
pub fn coarse_at_least(ago: Duration) -> Duration {
    let below = coarse(ago);
    if below == ago { ago } else { below.saturating_add(Duration::from_secs(step(ago))) }
}

/// The step in which so long a time is told, in seconds.
const fn step(ago: Duration) -> u64 {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    match ago.as_secs() {
        0..HOUR => MINUTE,
        HOUR..DAY => HOUR,
        DAY.. => DAY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn instants_add_and_subtract_durations() {
        let t = Instant::from_millis(5_000);
        assert_eq!(t + SECOND, Instant::from_millis(6_000));
        assert_eq!(t - SECOND, Instant::from_millis(4_000));
        assert_eq!((t + SECOND).since(t), SECOND);
    }

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        assert_eq!(Instant::ZERO - SECOND, Instant::ZERO);
        assert_eq!(Instant::MAX + SECOND, Instant::MAX);
        assert_eq!(Instant::ZERO + Duration::MAX, Instant::MAX);
        assert_eq!(Instant::ZERO.since(Instant::MAX), Duration::ZERO);
    }

    #[test]
    fn instants_with_the_unix_origin_convert_to_wall_clock_times() {
        let t = UnixMillis(1_700_000_000_000);
        assert_eq!(Instant::from_unix(t).to_unix(), t);
        assert_eq!(serde_json::to_string(&t).expect("a number"), "1700000000000");
    }
}
