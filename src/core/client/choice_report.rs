//! Where the telling of the user's choice stands: one under way, at most one waiting behind it.

use super::output::Ticket;
use crate::core::presence::{Choice, StatusMsg};
use crate::core::time::Instant;

/// A choice that the server has not taken.
#[derive(Debug)]
pub(super) struct Wish {
    pub(super) choice: Choice,
    pub(super) words: StatusMsg,
    /// Whose promise ends with the server's answer; none after a restart.
    pub(super) ticket: Option<Ticket>,
}

/// Where the telling of the choice stands.
#[derive(Debug, Default)]
pub(super) struct ChoiceReport {
    pub(super) waiting: Option<Wish>,
    pub(super) under_way: Option<Wish>,
    /// What the server knows, while something else is shown.
    pub(super) taken: Option<(Choice, Option<String>)>,
    pub(super) resume_at: Option<Instant>,
    pub(super) failures: u32,
}

impl ChoiceReport {
    /// Whether the server does not know yet what the user chose.
    pub(super) fn is_open(&self) -> bool {
        self.waiting.is_some() || self.under_way.is_some()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.resume_at.filter(|_| self.under_way.is_none())
    }

    pub(super) fn resume_at_once(&mut self) {
        self.resume_at = None;
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.resume_at = self.resume_at.filter(|&at| at > now);
    }
}
