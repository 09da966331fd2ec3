//! What waits for one destination, and how it stands with it.

use std::{collections::BTreeMap, time::Duration};

use super::{
    due::{MAX_EDUS, Transaction},
    owed::Owed,
    refused::{Refused, Verdict},
};
use crate::{
    core::{federation::Backoff, rng::Rng, time::Instant},
    server::{
        change::position::LogPosition,
        federation::edu::{Edu, Key, Use},
    },
};

/// For how long in a row a destination may fail before it counts as far behind.
const PATIENCE: Duration = Duration::from_secs(3_600);

/// Receipts in one transaction at most. They are one EDU together, but for those of one user in one room.
const MAX_RECEIPTS: usize = 200;

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
    /// Receipts wait for others until then, or for anything else that is said.
    pub(super) receipts_wait: Option<Instant>,
    refused: Refused,
    /// When the first of the failures in a row was.
    failing_since: Option<Instant>,
    /// It was said that it cannot be reached.
    pub(super) is_away: bool,
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
        let only_receipts = || {
            let ends = [self.waiting.first_key_value(), self.waiting.last_key_value()];
            ends.into_iter().flatten().all(|(key, _)| matches!(key, Key::Receipt { .. }))
        };
        let is_edu_due = !self.waiting.is_empty() && (self.receipts_wait.is_none() || !only_receipts());
        is_edu_due || self.owed.is_due()
    }

    /// Whether receipts wait.
    pub(super) fn has_receipts(&self) -> bool {
        let first = self.waiting.keys().find(|key| !matches!(key, Key::Presence | Key::Typing { .. }));
        matches!(first, Some(Key::Receipt { .. }))
    }

    /// The things that the next transaction holds at most.
    pub(super) fn most(&self) -> usize {
        self.refused.most()
    }

    /// Takes up to `most` of what waits beside events for one transaction: no more than [`MAX_EDUS`] when its receipts are
    /// put together.
    pub(super) fn take_edus(&mut self, most: usize) -> Vec<Edu> {
        let (mut edus, mut count, mut receipts): (Vec<Edu>, _, _) = (Vec::new(), 0, 0);
        while edus.len() < most
            && let Some(next) = self.waiting.first_entry()
        {
            let costs = match (next.key(), edus.last().map(|edu| &edu.key)) {
                (Key::Receipt { .. }, _) if receipts >= MAX_RECEIPTS => break,
                (Key::Receipt { room, user, .. }, Some(Key::Receipt { room: r, user: u, .. })) => {
                    usize::from(room == r && user == u)
                }
                _ => 1,
            };
            if count + costs > MAX_EDUS {
                break;
            }
            receipts += usize::from(matches!(next.key(), Key::Receipt { .. }));
            count += costs;
            edus.push(next.remove());
        }
        if receipts > 0 {
            self.receipts_wait = None;
        }
        edus
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

    /// A transaction of so many things was refused as a whole.
    pub(super) fn handle_refused(
        &mut self,
        now: Instant,
        (transaction, things): (&Transaction, usize),
        pauses: ((Duration, Duration), &mut Rng),
        error: String,
    ) {
        match self.refused.handle_refused(transaction, things) {
            Verdict::Halve => {
                self.put_back(&transaction.edus);
                self.owed.handle_failed();
                self.peer.failed += 1;
                self.peer.last_error = Some(error);
            }
            Verdict::Again => self.handle_failed(now, &transaction.edus, pauses, error),
            Verdict::GiveUp => {
                self.owed.handle_delivered();
                self.handle_failed(now, &[], pauses, error);
            }
        }
    }

    /// Whether a transaction of so many things is given up if it is refused as a whole.
    pub(super) fn gives_up(&self, transaction: &Transaction, things: usize) -> bool {
        self.refused.verdict(transaction, things) == Verdict::GiveUp
    }

    fn put_back(&mut self, edus: &[Edu]) {
        for edu in edus.iter().filter(|edu| edu.key.lasts() != Use::Once) {
            self.waiting.entry(edu.key.clone()).or_insert_with(|| edu.clone());
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
        self.put_back(edus);
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
        self.refused.handle_delivered();
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
            next_attempt: if self.is_due() { self.backoff.until() } else { self.receipts_wait },
            ..self.peer.clone()
        }
    }

    fn forget_receipts(&mut self) {
        self.waiting.retain(|key, _| key.lasts() != Use::WhileFollowing);
    }
}
