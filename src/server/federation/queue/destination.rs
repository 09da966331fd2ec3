//! What waits for one destination, and how it stands with it.

use std::{collections::BTreeMap, time::Duration};

use super::owed::Owed;
use crate::{
    core::{federation::Backoff, rng::Rng, time::Instant},
    server::{
        change::position::LogPosition,
        federation::edu::{Edu, Key, Use},
    },
};

/// For how long in a row a destination may fail before it counts as far behind.
const PATIENCE: Duration = Duration::from_secs(3_600);

/// How it stands with one destination.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Peer {
    /// EDUs that wait, and events.
    pub waiting: usize,
    /// Events that wait; of a destination that is far behind one, whatever is found for it.
    pub waiting_events: usize,
    /// It is far behind: it will be told the newest of each room.
    pub is_behind: bool,
    /// A transaction is on its way.
    pub in_flight: bool,
    /// Transactions that failed in a row.
    pub failures: u32,
    /// When the next one is tried, if not at once.
    pub next_attempt: Option<Instant>,
    /// Why the last one failed; `None`: it did not.
    pub last_error: Option<String>,
    /// Transactions that were acknowledged.
    pub sent: u64,
    /// Events in them.
    pub sent_events: u64,
    /// EDUs in them.
    pub sent_edus: u64,
    /// Bytes of their bodies.
    pub sent_bytes: u64,
    /// Transactions that failed.
    pub failed: u64,
}

#[derive(Debug, Default)]
pub(super) struct Destination {
    pub(super) waiting: BTreeMap<Key, Edu>,
    pub(super) owed: Owed,
    pub(super) backoff: Backoff,
    pub(super) is_ready: bool,
    /// When the first of the failures in a row was.
    failing_since: Option<Instant>,
    /// What waits is counted elsewhere.
    pub(super) peer: Peer,
}

impl Destination {
    /// Whether nothing waits, is on its way or has to be remembered.
    pub(super) fn is_at_rest(&self) -> bool {
        self.waiting.is_empty() && !self.peer.in_flight && self.owed.complete_upto().is_none()
    }

    /// Whether there is anything to be sent, or looked up.
    pub(super) fn is_due(&self) -> bool {
        !self.waiting.is_empty() || self.owed.is_due()
    }

    /// Whether to keep an EDU at all: what is of use at once only is not kept for who cannot be reached, and who is not told
    /// all that happens is not told who has read it.
    pub(super) fn takes(&self, key: &Key) -> bool {
        match key.lasts() {
            Use::Always => true,
            Use::WhileFollowing => !self.owed.is_behind(),
            Use::Once => *key == Key::Presence || self.backoff.failures() == 0,
        }
    }

    /// One more event.
    pub(super) fn owe(&mut self, position: LogPosition) {
        if self.owed.push(position) {
            self.forget_receipts();
        }
    }

    /// What is not worth to be kept while the destination cannot be reached.
    pub(super) fn handle_failed(
        &mut self,
        now: Instant,
        edus: &[Edu],
        (pauses, rng): ((Duration, Duration), &mut Rng),
        error: String,
    ) {
        self.owed.handle_failed();
        self.waiting.retain(|key, _| *key == Key::Presence || key.lasts() != Use::Once);
        for edu in edus.iter().filter(|edu| edu.key.lasts() != Use::Once) {
            self.waiting.entry(edu.key.clone()).or_insert_with(|| edu.clone());
        }
        let since = *self.failing_since.get_or_insert(now);
        if now.since(since) >= PATIENCE {
            self.owed.leave_behind();
        }
        if self.owed.is_behind() {
            self.forget_receipts();
        }
        self.backoff.handle_failure(now, pauses, rng);
        self.peer.failed += 1;
        self.peer.last_error = Some(error);
    }

    /// A transaction with so many events and EDUs, and a body of so many bytes, was acknowledged.
    pub(super) fn handle_delivered(&mut self, (events, edus, bytes): (usize, usize, usize)) {
        self.owed.handle_delivered();
        self.backoff.handle_success();
        self.failing_since = None;
        self.peer.sent += 1;
        self.peer.sent_events += events as u64;
        self.peer.sent_edus += edus as u64;
        self.peer.sent_bytes += bytes as u64;
        self.peer.last_error = None;
    }

    /// For a person to look at.
    pub(super) fn view(&self) -> Peer {
        let waiting_events = self.owed.len();
        Peer {
            waiting: self.waiting.len() + waiting_events,
            waiting_events,
            is_behind: self.owed.is_behind(),
            failures: self.backoff.failures(),
            next_attempt: self.backoff.until().filter(|_| self.is_due()),
            ..self.peer.clone()
        }
    }

    fn forget_receipts(&mut self) {
        self.waiting.retain(|key, _| key.lasts() != Use::WhileFollowing);
    }
}
