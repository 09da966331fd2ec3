//! How it stands with other servers, put together from the engine of presence and the queue.

use std::collections::BTreeMap;

use ruma::ServerName;
use serde::{Deserialize, Serialize};

use crate::{
    core::{
        federation::{PeerView, Speech},
        time::Instant,
    },
    server::federation::{Federation, queue},
};

/// How it stands with other servers.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Peers {
    /// The name of the server that tells it.
    pub server_name: String,
    /// Whether it speaks with other servers at all.
    pub federates: bool,
    /// In the order of their names.
    pub peers: Vec<Peer>,
}

/// How it stands with one other server. Times are in seconds from the moment of asking.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Peer {
    /// Its name.
    pub server: String,
    /// What it is known to understand: `pilotlight`, `stock` or `unknown`.
    pub speech: String,
    /// Users of this server whose changes it was promised.
    pub given: u32,
    /// Its users who are wanted here.
    pub asked: u32,
    /// Those of them whose status is known.
    pub held: u32,
    /// How long they stay known without a further sign of life.
    pub held_for_s: Option<u64>,
    /// Until the short watchdog expires, if the watchdogs run.
    pub short_watchdog_s: Option<u64>,
    /// Until the long watchdog expires.
    pub long_watchdog_s: Option<u64>,
    /// Users in the next message.
    pub batch: u32,
    /// Until the next message is due.
    pub batch_due_s: Option<u64>,
    /// EDUs and events that wait to be sent.
    pub queue: usize,
    /// Events among them.
    #[serde(default)]
    pub queue_events: usize,
    /// It was away for so long that it will be told the newest of each room only.
    #[serde(default)]
    pub behind: bool,
    /// A transaction is on its way.
    pub in_flight: bool,
    /// Transactions that failed in a row.
    pub failures: u32,
    /// Until the next attempt, after failures.
    pub retry_s: Option<u64>,
    /// Why the last transaction failed, if it did.
    pub last_error: Option<String>,
    /// Since the last sign of life, if there was one since the start.
    pub alive_s: Option<u64>,
    /// Transactions that it acknowledged.
    pub sent: u64,
    /// Events in them.
    #[serde(default)]
    pub sent_events: u64,
    /// EDUs in them.
    pub sent_edus: u64,
    /// Bytes of their bodies.
    pub sent_bytes: u64,
    /// Transactions that failed.
    pub failed: u64,
}

impl Peers {
    /// How the server `own` stands with others.
    pub(super) fn read(own: &ServerName, federation: Option<&Federation>, now: Instant) -> Self {
        let mut peers: BTreeMap<String, Peer> = BTreeMap::new();
        if let Some(federation) = federation {
            for (server, view) in federation.presence.peers() {
                peers.entry(server).or_default().show_view(&view, now);
            }
            for (server, queue) in federation.queue.peers() {
                peers.entry(server.to_string()).or_default().show_queue(queue, now);
            }
        }
        let peers = peers.into_iter().map(|(server, peer)| Peer { server, ..peer }).collect();
        Self { server_name: own.to_string(), federates: federation.is_some(), peers }
    }
}

impl Peer {
    fn show_view(&mut self, view: &PeerView, now: Instant) {
        let until = |at: Option<Instant>| at.map(|at| at.since(now).as_secs());
        self.speech = match view.speech {
            Speech::Extended => "pilotlight",
            Speech::Stock => "stock",
            Speech::Unknown => "unknown",
        }
        .to_owned();
        (self.given, self.asked, self.held) = (view.given, view.asked, view.held);
        self.held_for_s = until(view.held_until);
        self.short_watchdog_s = until(view.short_watchdog);
        self.long_watchdog_s = until(view.long_watchdog);
        self.batch = view.batch;
        self.batch_due_s = until(view.flush_at);
        self.failures = view.failures;
        self.retry_s = until(view.paused_until);
        self.in_flight = view.in_flight_since.is_some();
        self.alive_s = view.alive.map(|at| now.since(at).as_secs());
    }

    fn show_queue(&mut self, queue: queue::Peer, now: Instant) {
        if self.speech.is_empty() {
            "unknown".clone_into(&mut self.speech);
        }
        self.queue = queue.waiting;
        self.queue_events = queue.waiting_events;
        self.behind = queue.is_behind;
        self.in_flight |= queue.in_flight;
        self.failures = self.failures.max(queue.failures);
        let retry = queue.next_attempt.map(|at| at.since(now).as_secs());
        self.retry_s = self.retry_s.into_iter().chain(retry).min();
        self.last_error = queue.last_error;
        self.sent = queue.sent;
        self.sent_events = queue.sent_events;
        self.sent_edus = queue.sent_edus;
        self.sent_bytes = queue.sent_bytes;
        self.failed = queue.failed;
    }
}
