//! What waits to be sent to other servers: one queue for each destination, one transaction in flight.
//!
//! Events wait by their position in the log, in its order, and EDUs by [`Key`]: of what has the same key only the latest
//! waits, so a destination that was away gets the last state, once. A destination for which nothing waits costs a few
//! counters: no task, no timer, no buffer.
//! Source: Matrix server-server API, "Transactions"; a transaction is never repeated as it was, but made
//! anew, with an ID of its own, from what is to be said by then.

mod destination;
mod due;
mod owed;
mod refused;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use parking_lot::{Mutex, MutexGuard};
use ruma::{OwnedServerName, ServerName};
use tokio::sync::Notify;

pub(super) use self::due::{Due, Look, MAX_EDUS, MAX_PDUS, Transaction};
use self::{destination::Destination, owed::Owed};
pub use self::{destination::Peer, due::Outgoing};
use super::edu::{Edu, Key};
use crate::{
    core::{rng::Rng, time::Instant},
    server::{
        change::position::LogPosition,
        store::{Progress, ProgressStep},
    },
};

/// The EDUs that wait for one destination at most; beyond, [`Queue::push`] says [`Full`].
pub const MAX_WAITING: usize = 10_000;

/// The destinations that are remembered at most. Beyond, those for which nothing waits are forgotten,
/// and with them their counters.
const MAX_DESTINATIONS: usize = 10_000;

/// Transactions in flight to all destinations together.
const MAX_IN_FLIGHT: usize = 200;

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

/// All destinations.
#[derive(Debug)]
pub struct Queue {
    /// The name of this server.
    own: OwnedServerName,
    inner: Mutex<Inner>,
    /// Events that were not given to their destinations yet; whoever adds one waits for nobody.
    arrived: Mutex<VecDeque<Outgoing>>,
    /// There may be something to do, or an earlier time to do it.
    changed: Notify,
    /// A transaction came to an end.
    ended: Notify,
    /// Something may be different from what is on the disk.
    pub(super) progressed: Notify,
}

#[derive(Debug)]
struct Inner {
    destinations: BTreeMap<OwnedServerName, Destination>,
    /// Whose turn it is, each once.
    ready: VecDeque<OwnedServerName>,
    /// Whose pause ends when, and whose receipts wait until when. An entry counts only while the destination says the same.
    pauses: BTreeSet<(Instant, OwnedServerName)>,
    in_flight: usize,
    /// The first and the longest pause after a failure.
    pauses_between: (Duration, Duration),
    rng: Rng,
    /// The last event that its destinations were given.
    latest: LogPosition,
    /// What is on the disk.
    noted: Progress,
}

impl Queue {
    /// Nothing waits at the server `own`. After a failure the first of `pauses`, doubling up to the second, varied by `seed`.
    pub fn new(own: &ServerName, seed: u64, pauses: (Duration, Duration)) -> Self {
        let inner = Inner {
            destinations: BTreeMap::new(),
            ready: VecDeque::new(),
            pauses: BTreeSet::new(),
            in_flight: 0,
            pauses_between: pauses,
            rng: Rng::new(seed),
            latest: LogPosition::START,
            noted: Progress::default(),
        };
        Self {
            own: own.to_owned(),
            inner: Mutex::new(inner),
            arrived: Mutex::default(),
            changed: Notify::new(),
            ended: Notify::new(),
            progressed: Notify::new(),
        }
    }

    /// Takes up where an earlier run of the server ended: how far everybody was told by what it noted, and what was to be
    /// sent after `known_after`, in the order of the log. Who has less than everything up to there is left behind.
    pub fn resume(
        &self,
        noted: Progress,
        known_after: LogPosition,
        events: impl IntoIterator<Item = Outgoing>,
    ) {
        let mut inner = self.lock();
        for (server, upto) in &noted.lagging {
            let entry = inner.destinations.entry(server.clone()).or_default();
            if *upto < known_after {
                entry.owed = Owed::since(*upto);
            }
        }
        inner.latest = inner.latest.max(noted.upto);
        for event in events {
            let has = |server: &ServerName| {
                let upto = noted.lagging.get(server).copied().unwrap_or(noted.upto);
                event.position <= upto
            };
            inner.spread(&self.own, &event, |server| !has(server));
        }
        for server in noted.lagging.keys() {
            inner.arm(server, false);
        }
        inner.noted = noted;
        drop(inner);
        self.changed.notify_one();
    }

    /// An event is on the disk, after all before it, that this server has to send. Waits for nobody.
    pub fn append(&self, event: Outgoing) {
        self.arrived.lock().push_back(event);
        self.changed.notify_one();
    }

    /// Queues `edu`, in place of what waits under the same key. Sent at once, unless a transaction is in
    /// flight or the destination could not be reached; a presence EDU is tried even then, since its sender
    /// keeps pauses of the same kind.
    ///
    /// # Errors
    /// [`Full`] when [`MAX_WAITING`] EDUs wait, or for too many destinations; `edu` is dropped.
    pub fn push(&self, destination: &ServerName, edu: Edu) -> Result<(), Full> {
        self.put(destination, edu, Rank::Latest, None)
    }

    /// Queues `edu`, a receipt, like [`Self::push`]; it waits for others `until` then, or for anything else that is said.
    ///
    /// # Errors
    /// [`Full`] like [`Self::push`].
    pub fn push_receipt(&self, destination: &ServerName, edu: Edu, until: Instant) -> Result<(), Full> {
        self.put(destination, edu, Rank::Latest, Some(until))
    }

    /// Receipts wait no longer.
    pub(super) fn hurry(&self) {
        let mut inner = self.lock();
        let waiting: Vec<_> =
            inner.destinations.iter_mut().filter(|(_, entry)| entry.receipts_wait.is_some()).collect();
        let names: Vec<OwnedServerName> = waiting
            .into_iter()
            .map(|(name, entry)| {
                entry.receipts_wait = None;
                name.clone()
            })
            .collect();
        names.iter().for_each(|name| inner.arm(name, false));
        self.changed.notify_one();
    }

    /// Queues `edu` like [`Self::push`], unless something waits under the same key: that is later.
    ///
    /// # Errors
    /// [`Full`] like [`Self::push`].
    pub fn push_again(&self, destination: &ServerName, edu: Edu) -> Result<(), Full> {
        self.put(destination, edu, Rank::Earlier, None)
    }

    fn put(
        &self,
        destination: &ServerName,
        edu: Edu,
        rank: Rank,
        receipts_wait: Option<Instant>,
    ) -> Result<(), Full> {
        let mut inner = self.lock();
        let urgent = edu.key == Key::Presence;
        let entry = inner.destination(destination)?;
        if !entry.takes(&edu.key) {
            return Ok(());
        }
        let waits = entry.waiting.contains_key(&edu.key);
        if entry.waiting.len() >= MAX_WAITING && !waits {
            return Err(Full);
        }
        // One that failed already, or is due, waits for nothing more.
        if let Some(until) = receipts_wait.filter(|_| !entry.has_receipts()) {
            entry.receipts_wait = Some(until);
            inner.pauses.insert((until, destination.to_owned()));
        }
        let entry = inner.destination(destination)?;
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
        let mut inner = self.lock();
        self.spread_arrived(&mut inner);
        let peers = inner.destinations.iter();
        peers.map(|(name, destination)| (name.clone(), destination.view())).collect()
    }

    /// Takes what is due next; `Err`: nothing is, until that instant if there is one.
    pub(super) fn next(&self, now: Instant) -> Result<Due, Option<Instant>> {
        let mut inner = self.lock();
        self.spread_arrived(&mut inner);
        inner.end_pauses(now);
        while inner.in_flight < MAX_IN_FLIGHT {
            let Some(destination) = inner.ready.pop_front() else { break };
            let latest = inner.latest;
            let Some(entry) = inner.destinations.get_mut(&destination) else { continue };
            entry.is_ready = false;
            if !entry.is_due() {
                continue;
            }
            entry.peer.in_flight = true;
            let due = match entry.owed.look() {
                Some(since) => Due::Look(Look { destination, since, upto: latest }),
                None => {
                    let most = entry.most();
                    let events = entry.owed.take(most.min(MAX_PDUS));
                    let edus = entry.take_edus(most - events.len());
                    Due::Send(Transaction { destination, events, edus, most })
                }
            };
            inner.in_flight += 1;
            return Ok(due);
        }
        Err(inner.pauses.first().map(|(until, _)| *until))
    }

    /// The transaction that is due next, where nobody was away for long.
    #[cfg(test)]
    pub(super) fn next_transaction(&self, now: Instant) -> Result<Transaction, Option<Instant>> {
        match self.next(now)? {
            Due::Send(transaction) => Ok(transaction),
            Due::Look(look) => panic!("somebody is behind: {look:?}"),
        }
    }

    /// A transaction was acknowledged; its body had `bytes`.
    pub(super) fn handle_delivered(&self, transaction: &Transaction, bytes: usize) -> bool {
        let Transaction { destination, events, edus, .. } = transaction;
        let mut was_away = false;
        self.handle_end(destination, |entry, _, _| {
            was_away = std::mem::take(&mut entry.is_away);
            entry.handle_delivered((events.len(), edus.len(), bytes));
        });
        was_away
    }

    /// A transaction failed: what is to be kept waits again, unless something later is there already. Whether the
    /// destination could be reached until then.
    pub(super) fn handle_failed(&self, now: Instant, transaction: &Transaction, error: String) -> bool {
        let mut was_away = true;
        self.handle_end(&transaction.destination, |entry, pauses, rng| {
            was_away = std::mem::replace(&mut entry.is_away, true);
            entry.handle_failed(now, &transaction.edus, (pauses, rng), error);
        });
        !was_away
    }

    /// Whether a transaction of so many things is given up if it is refused as a whole.
    pub(super) fn gives_up(&self, transaction: &Transaction, things: usize) -> bool {
        let inner = self.lock();
        let entry = inner.destinations.get(&transaction.destination);
        entry.is_some_and(|entry| entry.gives_up(transaction, things))
    }

    /// A transaction of so many things was refused as a whole by a destination that answers: what it does not take is
    /// looked for by halves.
    pub(super) fn handle_refused(
        &self,
        now: Instant,
        transaction: &Transaction,
        things: usize,
        error: String,
    ) {
        self.handle_end(&transaction.destination, |entry, pauses, rng| {
            entry.handle_refused(now, (transaction, things), (pauses, rng), error);
        });
    }

    /// What was found of what a destination is owed: the newest of each of its rooms, in the order of the log; or why nothing
    /// could be.
    pub(super) fn handle_found(&self, now: Instant, look: &Look, found: Result<Vec<LogPosition>, String>) {
        self.handle_end(&look.destination, |entry, pauses, rng| match found {
            Ok(found) => entry.owed.handle_found(Some(found)),
            Err(error) => {
                entry.owed.handle_found(None);
                entry.handle_failed(now, &[], (pauses, rng), error);
            }
        });
    }

    /// What is different from what was noted on the disk, if anything is.
    pub(super) fn progress(&self) -> Option<ProgressStep> {
        self.lock().step()
    }

    /// That is on the disk.
    pub(super) fn handle_noted(&self, step: ProgressStep) {
        self.lock().noted.follow(step);
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
                let mut inner = self.lock();
                self.spread_arrived(&mut inner);
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
        self.progressed.notify_one();
        self.ended.notify_waiters();
    }

    /// Gives the events that arrived to their destinations.
    fn spread_arrived(&self, inner: &mut Inner) {
        let arrived = std::mem::take(&mut *self.arrived.lock());
        for event in &arrived {
            inner.spread(&self.own, event, |_| true);
        }
        if !arrived.is_empty() {
            self.progressed.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }
}

impl Inner {
    /// Gives an event to those of its destinations that are to have it.
    fn spread(&mut self, own: &ServerName, event: &Outgoing, is_for: impl Fn(&ServerName) -> bool) {
        let also = event.also.iter().filter(|also| !event.servers.contains_key(*also));
        for server in event.servers.keys().chain(also) {
            if server == own || Some(server) == event.except.as_ref() || !is_for(server) {
                continue;
            }
            // Not refused, whatever else waits: their number is that of the servers in rooms of this one.
            self.destinations.entry(server.clone()).or_default().owe(event.position);
            self.arm(server, false);
        }
        self.latest = self.latest.max(event.position);
    }

    /// Who fails, or has been behind of what is noted, lags from there; the others keep back what is noted for all.
    fn step(&self) -> Option<ProgressStep> {
        let mut now = Progress { upto: self.latest, ..Progress::default() };
        for (server, entry) in &self.destinations {
            let Some(upto) = entry.owed.complete_upto() else { continue };
            if upto < self.noted.upto || entry.owed.is_behind() || entry.backoff.failures() > 0 {
                now.lagging.insert(server.clone(), upto);
            } else {
                now.upto = now.upto.min(upto);
            }
        }
        self.noted.step_to(now)
    }

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
        if entry.is_ready || entry.peer.in_flight || !entry.is_due() {
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
            let entry = self.destinations.get_mut(&name);
            let ends = entry.map_or([false; 2], |entry| {
                [entry.backoff.until() == Some(until), entry.receipts_wait == Some(until)]
            });
            if ends != [false; 2] && until > now {
                break;
            }
            self.pauses.pop_first();
            let [is_pause, is_of_receipts] = ends;
            if let Some(entry) = self.destinations.get_mut(&name).filter(|_| is_of_receipts) {
                entry.receipts_wait = None;
            }
            if is_pause || is_of_receipts {
                self.arm(&name, is_pause);
            }
        }
    }
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
