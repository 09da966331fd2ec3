//! How it stands with each peer, for a person to look at. Changes nothing.

use super::state::{Engine, Timer};
use crate::core::federation::peer::{Peer, Speech};
use crate::core::federation::status::Server;
use crate::core::time::Instant;

/// How it stands with one peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerView {
    /// Which.
    pub server: Server,
    /// What it is known to understand.
    pub speech: Speech,
    /// Users of this server whose changes it was promised.
    pub given: u32,
    /// Users of the peer's who are wanted here.
    pub asked: u32,
    /// Those of them whose status is known; the others are unknown.
    pub held: u32,
    /// Until when they are, without a further sign of life; `None`: no status is held.
    pub held_until: Option<Instant>,
    /// When the short watchdog expires; `None`: neither of the two runs.
    pub short_watchdog: Option<Instant>,
    /// When the long watchdog expires.
    pub long_watchdog: Option<Instant>,
    /// Users who changed, or are to be polled or unpolled, in the next message.
    pub batch: u32,
    /// When the next message is due, if one is.
    pub flush_at: Option<Instant>,
    /// Since when a message has been on its way, if one is.
    pub in_flight_since: Option<Instant>,
    /// Messages that failed in a row.
    pub failures: u32,
    /// Before this nothing is sent, after failures.
    pub paused_until: Option<Instant>,
    /// The last sign of life; `None`: there was none since this server started.
    pub alive: Option<Instant>,
}

impl Engine {
    /// How it stands with every peer, in the order in which they became known.
    pub fn peers(&self) -> Vec<PeerView> {
        let batch_due = self.timers.deadline(Timer::Batch);
        let mut views: Vec<_> = self.peers.iter().map(|peer| self.view(peer)).collect();
        // The changes of the current window are not listed with the peers yet.
        for &local in &self.changed {
            for &(slot, sub) in &self.locals[local as usize].subs {
                let peer = &self.peers[slot as usize];
                if peer.delivers(sub) && !peer.subs[sub as usize].dirty {
                    let view = &mut views[slot as usize];
                    view.batch += 1;
                    view.flush_at = view.flush_at.into_iter().chain(batch_due).min();
                }
            }
        }
        views
    }

    fn view(&self, peer: &Peer) -> PeerView {
        let watchdogs = peer.watches().then_some(&peer.watchdogs);
        let batch = peer.dirty.len() + peer.repoll.len();
        PeerView {
            server: peer.server,
            speech: peer.speech,
            given: peer.promised,
            asked: peer.asked,
            held: peer.held_count,
            held_until: (peer.held_count > 0).then(|| peer.watchdogs.promised_until(peer.promise)),
            short_watchdog: watchdogs.map(|watchdogs| watchdogs.short_deadline()),
            long_watchdog: watchdogs.map(|watchdogs| watchdogs.long_deadline()),
            batch: u32::try_from(batch).unwrap_or(u32::MAX),
            flush_at: peer.flush_at,
            in_flight_since: peer.in_flight.as_ref().map(|flight| flight.since),
            failures: peer.backoff.failures(),
            paused_until: peer.backoff.until(),
            alive: peer.watchdogs.alive(),
        }
    }
}
