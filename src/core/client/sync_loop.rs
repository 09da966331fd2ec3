//! Where the following of the server stands, by `/sync` or by the held stream: its position, its failures, when it
//! goes on.

use crate::core::time::Instant;

/// Where it stands.
#[derive(Debug, Default)]
pub(super) struct SyncLoop {
    pub(super) since: Option<String>,
    /// Syncs begun. The writes of a stream count as well: each ends one, and begins the next.
    pub(super) begun: u64,
    pub(super) failures: u32,
    pub(super) resume_at: Option<Instant>,
    /// Before this the server does not want to be asked again.
    pub(super) not_before: Option<Instant>,
    /// When the stream counts as lost, unless an answer comes before.
    pub(super) lost_at: Option<Instant>,
    /// When the stream broke off, until it is back.
    pub(super) broken_at: Option<Instant>,
}

impl SyncLoop {
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        [self.resume_at, self.lost_at].into_iter().flatten().min()
    }

    pub(super) fn begun(&self) -> u64 {
        self.begun
    }

    pub(super) fn stop(&mut self) {
        self.resume_at = None;
        self.lost_at = None;
        self.broken_at = None;
        self.failures = 0;
    }

    pub(super) fn resume_at_once(&mut self, now: Instant) {
        if self.resume_at.is_some() {
            self.resume_at = self.not_before.max(Some(now));
        }
    }
}
