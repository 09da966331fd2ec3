//! What waits to be sent to other servers: one queue for each destination, one transaction in flight.
//!
//! Of what has the same [`Key`] only the latest waits, so a destination that was away gets the last
//! state, once. A destination for which nothing waits costs a few counters: no task, no timer, no buffer.
//! Source: Matrix server-server API, "Transactions"; a transaction is never repeated as it was, but made
//! anew, with an ID of its own, from what is to be said by then.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use parking_lot::{Mutex, MutexGuard};
use ruma::{OwnedServerName, OwnedUserId, ServerName};
use serde_json::value::RawValue;
use tokio::sync::Notify;

use crate::core::{federation::Backoff, rng::Rng, time::Instant};

/// The EDUs in one transaction at most, by the specification.
const MAX_EDUS: usize = 100;

/// The EDUs that wait for one destination at most; beyond, [`Queue::push`] says [`Full`].
pub const MAX_WAITING: usize = 10_000;

/// The destinations that are remembered at most. Beyond, those for which nothing waits are forgotten,
/// and with them their counters.
const MAX_DESTINATIONS: usize = 10_000;

/// Transactions in flight to all destinations together.
const MAX_IN_FLIGHT: usize = 200;

/// Something to tell another server.
#[derive(Clone, Debug)]
pub struct Edu {
    /// `edu_type`.
    pub kind: &'static str,
    /// `content`.
    pub content: Box<RawValue>,
    /// The same in the form of [`crate::core::federation::encode_brief`], if the destination reads it; sent
    /// in place of a transaction when there is nothing else to say.
    pub brief: Option<String>,
    /// What it is about; replaces what waits under the same key.
    pub key: Key,
    /// The sender's number for it, given back with the outcome.
    pub seq: u64,
}

/// What an EDU is about.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Key {
    /// Everything the presence engine has to say. When it fails, the engine says again what matters by
    /// then, at a time of its choice: it is not kept here.
    Presence,
    /// Whether one user may observe another. Kept and tried again until it is acknowledged.
    List {
        /// Who observes, or wants to.
        observer: OwnedUserId,
        /// Who is observed.
        observed: OwnedUserId,
    },
}

/// Whether an EDU is later than what waits under its key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Rank {
    Latest,
    Earlier,
}

/// There is no room for more.
#[derive(Clone, Copy, Debug, Eq, thiserror::Error, PartialEq)]
#[error("too much waits to be sent to other servers")]
pub struct Full;

/// EDUs to send to one destination, all of them or none.
#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) destination: OwnedServerName,
    pub(super) edus: Vec<Edu>,
}

/// How it stands with one destination.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Peer {
    /// EDUs that wait.
    pub waiting: usize,
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
    /// EDUs in them.
    pub sent_edus: u64,
    /// Bytes of their bodies.
    pub sent_bytes: u64,
    /// Transactions that failed.
    pub failed: u64,
}

/// All destinations.
#[derive(Debug)]
pub struct Queue {
    inner: Mutex<Inner>,
    /// There may be something to do, or an earlier time to do it.
    changed: Notify,
    /// A transaction came to an end.
    ended: Notify,
}

#[derive(Debug)]
struct Inner {
    destinations: BTreeMap<OwnedServerName, Destination>,
    /// Whose turn it is, each once.
    ready: VecDeque<OwnedServerName>,
    /// Whose pause ends when. An entry counts only while the destination's backoff says the same.
    pauses: BTreeSet<(Instant, OwnedServerName)>,
    in_flight: usize,
    /// The first and the longest pause after a failure.
    pauses_between: (Duration, Duration),
    rng: Rng,
}

#[derive(Debug, Default)]
struct Destination {
    waiting: BTreeMap<Key, Edu>,
    backoff: Backoff,
    is_ready: bool,
    /// `waiting` is counted elsewhere.
    peer: Peer,
}

impl Queue {
    /// Nothing waits. After a failure the first of `pauses`, doubling up to the second, varied by `seed`.
    pub fn new(seed: u64, pauses: (Duration, Duration)) -> Self {
        let inner = Inner {
            destinations: BTreeMap::new(),
            ready: VecDeque::new(),
            pauses: BTreeSet::new(),
            in_flight: 0,
            pauses_between: pauses,
            rng: Rng::new(seed),
        };
        Self { inner: Mutex::new(inner), changed: Notify::new(), ended: Notify::new() }
    }

    /// Queues `edu`, in place of what waits under the same key. Sent at once, unless a transaction is in
    /// flight or the destination could not be reached; a presence EDU is tried even then, since its sender
    /// keeps pauses of the same kind.
    ///
    /// # Errors
    /// [`Full`] when [`MAX_WAITING`] EDUs wait, or for too many destinations; `edu` is dropped.
    pub fn push(&self, destination: &ServerName, edu: Edu) -> Result<(), Full> {
        self.put(destination, edu, Rank::Latest)
    }

    /// Queues `edu` like [`Self::push`], unless something waits under the same key: that is later.
    ///
    /// # Errors
    /// [`Full`] like [`Self::push`].
    pub fn push_again(&self, destination: &ServerName, edu: Edu) -> Result<(), Full> {
        self.put(destination, edu, Rank::Earlier)
    }

    fn put(&self, destination: &ServerName, edu: Edu, rank: Rank) -> Result<(), Full> {
        let mut inner = self.lock();
        let urgent = edu.key == Key::Presence;
        let entry = inner.destination(destination)?;
        let waits = entry.waiting.contains_key(&edu.key);
        if entry.waiting.len() >= MAX_WAITING && !waits {
            return Err(Full);
        }
        if !waits || rank == Rank::Latest {
            entry.waiting.insert(edu.key.clone(), edu);
        }
        inner.arm(destination, urgent);
        self.changed.notify_one();
        Ok(())
    }

    /// Something that proved to come from `peer` arrived: it can be reached, most likely.
    pub fn handle_traffic(&self, now: Instant, peer: &ServerName) {
        let mut inner = self.lock();
        let Inner { destinations, pauses_between, .. } = &mut *inner;
        let Some(entry) = destinations.get_mut(peer) else { return };
        if entry.backoff.failures() > 0 {
            entry.backoff.handle_traffic(now, *pauses_between);
            inner.arm(peer, false);
            self.changed.notify_one();
        }
    }

    /// How many EDUs wait for one destination.
    pub fn waiting(&self, destination: &ServerName) -> usize {
        self.lock().destinations.get(destination).map_or(0, |entry| entry.waiting.len())
    }

    /// How it stands with every destination that something was sent to.
    pub fn peers(&self) -> BTreeMap<OwnedServerName, Peer> {
        let inner = self.lock();
        let peers = inner.destinations.iter();
        peers.map(|(name, destination)| (name.clone(), destination.view())).collect()
    }

    /// Takes the next transaction that is due; `Err`: none is, until that instant if there is one.
    pub(super) fn next(&self, now: Instant) -> Result<Transaction, Option<Instant>> {
        let mut inner = self.lock();
        inner.end_pauses(now);
        while inner.in_flight < MAX_IN_FLIGHT {
            let Some(destination) = inner.ready.pop_front() else { break };
            let Some(entry) = inner.destinations.get_mut(&destination) else { continue };
            entry.is_ready = false;
            let edus: Vec<Edu> =
                std::iter::from_fn(|| entry.waiting.pop_first()).take(MAX_EDUS).map(|(_, edu)| edu).collect();
            if edus.is_empty() {
                continue;
            }
            entry.peer.in_flight = true;
            inner.in_flight += 1;
            return Ok(Transaction { destination, edus });
        }
        Err(inner.pauses.first().map(|(until, _)| *until))
    }

    /// A transaction was acknowledged; its body had `bytes`.
    pub(super) fn handle_delivered(&self, transaction: &Transaction, bytes: usize) {
        self.handle_end(&transaction.destination, |entry, _, _| {
            entry.backoff.handle_success();
            entry.peer.sent += 1;
            entry.peer.sent_edus += transaction.edus.len() as u64;
            entry.peer.sent_bytes += bytes as u64;
            entry.peer.last_error = None;
        });
    }

    /// A transaction failed: what is to be kept waits again, unless something later is there already.
    pub(super) fn handle_failed(&self, now: Instant, transaction: &Transaction, error: String) {
        self.handle_end(&transaction.destination, |entry, pauses, rng| {
            for edu in transaction.edus.iter().filter(|edu| edu.key != Key::Presence) {
                entry.waiting.entry(edu.key.clone()).or_insert_with(|| edu.clone());
            }
            entry.backoff.handle_failure(now, pauses, rng);
            entry.peer.failed += 1;
            entry.peer.last_error = Some(error);
        });
    }

    /// Waits for something to happen that [`Self::next`] should know of.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Waits until nothing is in flight and nothing could be.
    pub(super) async fn settled(&self) {
        loop {
            let ended = self.ended.notified();
            {
                let inner = self.lock();
                if inner.in_flight == 0 && inner.ready.is_empty() {
                    return;
                }
            }
            ended.await;
        }
    }

    fn handle_end(
        &self,
        destination: &ServerName,
        end: impl FnOnce(&mut Destination, (Duration, Duration), &mut Rng),
    ) {
        let mut inner = self.lock();
        inner.in_flight -= 1;
        let Inner { destinations, pauses_between, rng, .. } = &mut *inner;
        let entry = destinations.get_mut(destination).expect("what is in flight is not forgotten");
        entry.peer.in_flight = false;
        end(entry, *pauses_between, rng);
        // What came in meanwhile, and is urgent, does not wait for the end of the pause.
        let urgent = entry.waiting.contains_key(&Key::Presence);
        inner.arm(destination, urgent);
        self.changed.notify_one();
        self.ended.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }
}

impl Inner {
    fn destination(&mut self, name: &ServerName) -> Result<&mut Destination, Full> {
        if !self.destinations.contains_key(name) {
            if self.destinations.len() >= MAX_DESTINATIONS {
                self.destinations.retain(|_, destination| !destination.is_at_rest());
            }
            if self.destinations.len() >= MAX_DESTINATIONS {
                return Err(Full);
            }
        }
        Ok(self.destinations.entry(name.to_owned()).or_default())
    }

    /// Lets the destination have its turn, at once or when its pause ends.
    fn arm(&mut self, name: &ServerName, urgent: bool) {
        let Some(entry) = self.destinations.get_mut(name) else { return };
        if entry.is_ready || entry.peer.in_flight || entry.waiting.is_empty() {
            return;
        }
        match entry.backoff.until() {
            Some(until) if !urgent => {
                self.pauses.insert((until, name.to_owned()));
            }
            _ => {
                entry.is_ready = true;
                self.ready.push_back(name.to_owned());
            }
        }
    }

    fn end_pauses(&mut self, now: Instant) {
        while let Some((until, name)) = self.pauses.first().cloned() {
            let entry = self.destinations.get(&name);
            let counts = entry.is_some_and(|entry| entry.backoff.until() == Some(until));
            if counts && until > now {
                break;
            }
            self.pauses.pop_first();
            if counts {
                self.arm(&name, true);
            }
        }
    }
}

impl Destination {
    fn is_at_rest(&self) -> bool {
        self.waiting.is_empty() && !self.peer.in_flight
    }

    fn view(&self) -> Peer {
        Peer {
            waiting: self.waiting.len(),
            failures: self.backoff.failures(),
            next_attempt: self.backoff.until().filter(|_| !self.waiting.is_empty()),
            ..self.peer.clone()
        }
    }
}

#[cfg(test)]
mod tests;
