//! The idle timer of this device, and where the telling of it stands.

use crate::core::idle::{IdleTimeout, IdleTimer};
use crate::core::time::Instant;

/// The idle timer, and what the server knows of it.
#[derive(Debug)]
pub(super) struct IdleReport {
    pub(super) timer: IdleTimer,
    /// What the application was told.
    pub(super) idle: bool,
    /// What the server was told last; `None` when an answer was lost.
    pub(super) told: Option<bool>,
    pub(super) in_flight: bool,
    pub(super) resume_at: Option<Instant>,
    pub(super) failures: u32,
}

impl IdleReport {
    pub(super) fn new(timeout: IdleTimeout, now: Instant) -> Self {
        Self {
            timer: IdleTimer::new(timeout, now),
            idle: false,
            told: Some(false),
            in_flight: false,
            resume_at: None,
            failures: 0,
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.idle
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        [self.timer.poll_timeout(), self.resume_at].into_iter().flatten().min()
    }

    pub(super) fn resume_at_once(&mut self, now: Instant) {
        if self.resume_at.is_some() {
            self.resume_at = Some(now);
        }
    }
}
