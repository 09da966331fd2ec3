//! What happens because time passes.

use super::state::{Engine, Timer};
use crate::core::federation::peer::Speech;
use crate::core::federation::status::Availability;
use crate::core::time::Instant;

impl Engine {
    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(timer) = self.timers.pop_due(now) {
            match timer {
                Timer::Batch => self.handle_batch(now),
                Timer::Peer(slot) => {
                    self.service(now, slot);
                    self.rearm(slot);
                }
            }
        }
    }

    fn service(&mut self, now: Instant, slot: u32) {
        let timeout = self.config.send_timeout;
        let peer = &mut self.peers[slot as usize];
        if let Some(flight) = peer.in_flight.take_if(|flight| flight.since + timeout <= now) {
            self.failed(now, slot, flight);
        }
        let peer = &mut self.peers[slot as usize];
        if peer.held_count > 0 && peer.watchdogs.promised_until(peer.promise) <= now {
            self.lapse(now, slot);
        }
        let peer = &mut self.peers[slot as usize];
        if peer.judge_at.take_if(|at| *at <= now).is_some() && peer.speech == Speech::Unknown {
            peer.speech = Speech::Stock;
            peer.refresh_at = Some(now + self.config.stock_refresh);
        }
        if peer.refresh_at.is_some_and(|at| at <= now) {
            self.refresh(now, slot);
        }
        let peer = &mut self.peers[slot as usize];
        if peer.watches() && peer.in_flight.is_none() && peer.watchdogs.expired(now).is_some() {
            peer.remind = true;
            peer.flush_by(now);
        }
        if peer.flush_at.is_some_and(|at| at <= now) {
            self.flush(now, slot);
        }
    }

    /// The peer's promise has run out: its users are unknown, and asked for again (F6).
    fn lapse(&mut self, now: Instant, slot: u32) {
        for index in 0..self.peers[slot as usize].remotes.len() {
            let remote = self.peers[slot as usize].remotes[index];
            self.forget(remote);
        }
        let peer = &mut self.peers[slot as usize];
        peer.watchdogs.handle_agreement();
        if peer.speech != Speech::Stock {
            peer.poll_all = true;
            peer.flush_by(now);
        }
    }

    /// A stock server forgets whom it does not hear of: it is told again who is there. And it may not be
    /// one: its answer to the one poll may have been lost, so it is greeted where that matters.
    fn refresh(&mut self, now: Instant, slot: u32) {
        let peer = &mut self.peers[slot as usize];
        peer.refresh_at = Some(now + self.config.stock_refresh);
        if peer.remotes.iter().any(|&remote| self.remotes[remote as usize].active > 0) {
            peer.greet = true;
            peer.flush_by(now);
        }
        for sub in 0..u32::try_from(peer.subs.len()).expect("fewer users than 2^32") {
            let local = &self.locals[peer.subs[sub as usize].local as usize];
            if local.status.shown.availability != Availability::Offline && peer.delivers(sub) {
                peer.subs[sub as usize].resend = true;
                peer.mark_dirty(sub);
                peer.flush_by(now);
            }
        }
    }
}
