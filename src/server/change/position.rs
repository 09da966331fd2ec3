//! Positions: in the durable log, and among what lives in memory only.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

/// A place in the append-only log of everything durable that a reader can be told of. Grows in the order of
/// the commits: who has seen one misses nothing at or below it.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct LogPosition(u64);

/// A place among the changes of what lives in memory only: presence, typing. Begins anew, higher, with every
/// start of the server.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct LivePosition(u64);

impl LogPosition {
    /// Before everything.
    pub const START: Self = Self(0);

    /// After everything that will ever be written; SQLite counts to 2^63 - 1.
    pub const END: Self = Self(i64::MAX.cast_unsigned());

    /// The place with this number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Its number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Right before this: everything at or below it is before what stands here.
    pub const fn before(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// The place after this one.
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl LivePosition {
    /// Before everything of every run.
    pub const START: Self = Self(0);

    /// The place with this number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Its number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The place after this one.
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for LogPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for LivePosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Hands out the positions of what lives in memory only: presence, typing.
///
/// It begins at the time of the server's start in µs, so that positions of an earlier run are always
/// lower, and whoever held one is told everything live again.
#[derive(Debug)]
pub struct Live {
    epoch: u64,
    last: AtomicU64,
}

impl Live {
    /// A counter that begins at `started_us`, µs since the Unix epoch.
    pub fn new(started_us: u64) -> Self {
        Self { epoch: started_us, last: AtomicU64::new(started_us) }
    }

    /// The next position. Taken *inside* the lock of what it is for, so that a reader that saw a
    /// position and then takes the lock finds everything up to it.
    pub fn advance(&self) -> LivePosition {
        LivePosition(self.last.fetch_add(1, Ordering::AcqRel) + 1)
    }

    /// The last position that was handed out.
    pub fn position(&self) -> LivePosition {
        LivePosition(self.last.load(Ordering::Acquire))
    }

    /// Whether `position` was handed out by this run of the server.
    pub fn knows(&self, position: LivePosition) -> bool {
        (LivePosition(self.epoch)..=self.position()).contains(&position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_of_another_run_are_not_known() {
        let live = Live::new(1000);
        let first = live.advance();
        assert!(live.knows(LivePosition(1000)) && live.knows(first));
        assert!(!live.knows(LivePosition(999)) && !live.knows(LivePosition(first.0 + 1)));
    }
}
