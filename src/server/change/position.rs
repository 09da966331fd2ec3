//! Positions: in the durable log, and among what lives in memory only.

use std::sync::atomic::{AtomicU64, Ordering};

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
    pub fn advance(&self) -> u64 {
        self.last.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// The last position that was handed out.
    pub fn position(&self) -> u64 {
        self.last.load(Ordering::Acquire)
    }

    /// Whether `position` was handed out by this run of the server.
    pub fn knows(&self, position: u64) -> bool {
        (self.epoch..=self.position()).contains(&position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_of_another_run_are_not_known() {
        let live = Live::new(1000);
        let first = live.advance();
        assert!(live.knows(1000) && live.knows(first));
        assert!(!live.knows(999) && !live.knows(first + 1));
    }
}
