//! What happens because time passes.

use super::state::{Engine, Timer};
use crate::core::federation::digest::Fingerprint;
use crate::core::federation::digests::Digests;
use crate::core::federation::peer::Speech;
use crate::core::federation::status::{Availability, ProfileMark};
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
        self.end_enquiries(now, slot);
        let peer = &mut self.peers[slot as usize];
        if peer.judge_at.take_if(|at| *at <= now).is_some() && peer.speech == Speech::Unknown {
            peer.speech = Speech::Stock;
            peer.refresh_at = Some(now + self.config.stock_refresh);
        }
        if peer.refresh_at.is_some_and(|at| at <= now) {
            self.refresh(now, slot);
        }
        let peer = &mut self.peers[slot as usize];
        if peer.watches() && peer.in_flight.is_none() {
            if peer.watchdogs.is_to_look(now, &self.config) {
                self.look_again(now, slot);
            } else if peer.watchdogs.expired(now).is_some() {
                peer.remind = true;
                peer.flush_by(now);
            }
        }
        if self.peers[slot as usize].flush_at.is_some_and(|at| at <= now) {
            self.flush(now, slot);
        }
    }

    /// Trusts nothing that was counted: tells the peer how everybody is whom it wants, asks it how everybody is who
    /// is wanted here, and counts anew (F5). What a fault of ours lost is right again by it.
    fn look_again(&mut self, now: Instant, slot: u32) {
        self.count_anew(slot);
        let peer = &mut self.peers[slot as usize];
        peer.watchdogs.handle_looked(now, &self.config, &mut self.rng);
        peer.watchdogs.want_answer(now);
        peer.announced = false;
        for sub in 0..u32::try_from(peer.subs.len()).expect("fewer users than 2^32") {
            if peer.subs[sub as usize].promised {
                peer.subs[sub as usize].resend = true;
                peer.mark_dirty(sub);
            }
        }
        peer.poll_all |= peer.remotes.iter().any(|&remote| self.remotes[remote as usize].active > 0);
        peer.remind = true;
        peer.flush_by(now);
    }

    /// Counts the users who are asked for and promised, and sums up the digests, from the users themselves.
    fn count_anew(&mut self, slot: u32) {
        let peer = &mut self.peers[slot as usize];
        let (mut given, mut held) = (Digests::default(), Digests::default());
        let promised = peer.subs.iter().filter(|sub| sub.promised);
        for sub in promised.clone() {
            let user = self.locals[sub.local as usize].user;
            given.add(user.fingerprint, sub.sent, sub.profile);
        }
        peer.blind.iter().for_each(|&user| given.add(user, Fingerprint::UNKNOWN, ProfileMark::UNTOLD));
        let count = |users: usize| u32::try_from(users).expect("fewer users than 2^32");
        (peer.promised, peer.given) = (count(promised.count()), given);
        let remotes = peer.remotes.iter().map(|&remote| &self.remotes[remote as usize]);
        let asked = remotes.filter(|remote| remote.asked);
        for remote in asked.clone() {
            held.add(remote.user.fingerprint, remote.fingerprint(), remote.profile());
        }
        peer.held_count = count(asked.clone().filter(|remote| remote.is_known()).count());
        (peer.asked, peer.held) = (count(asked.count()), held);
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

#[cfg(test)]
mod tests {
    use super::super::Permission;
    use super::*;
    use crate::core::federation::config::Config;
    use crate::core::federation::edu::{Asked, Edu, Link, Push};
    use crate::core::federation::status::{Server, Status, User};
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn user(server: u32) -> User {
        let fingerprint = Fingerprint::of(&server.to_be_bytes());
        User { index: server, server: Server(server), fingerprint }
    }

    #[test]
    fn what_was_counted_wrong_is_counted_anew_when_the_state_is_looked_at_again() {
        let now = Instant::from_millis(1_000_000);
        let (ours, theirs, peer) = (user(0), user(1), Server(1));
        let mut engine = Engine::new(Server(0), 1, 1, Config::default());
        engine.handle_interest_added(now, ours, theirs);
        engine.handle_permission(now, peer, ours, Permission::Allowed);
        engine.handle_local_change(now, ours, Status::from(Availability::Online));
        engine.handle_client_attached(now, ours);
        let stranger = Asked::Stranger(Fingerprint(7));
        let edu = Edu {
            link: Some(Link { epoch: 1, seq: 1, promise: None }),
            push: vec![Push { shown: Status::from(Availability::Busy).shown, ..Push::offline(theirs) }],
            poll: vec![Asked::Known(ours), stranger],
            ..Edu::default()
        };
        engine.handle_edu(now, peer, edu).expect("taken");
        let counted = |engine: &Engine| {
            let view = engine.peers().remove(0);
            (engine.digests(peer), (view.given, view.asked, view.held))
        };
        let right = counted(&engine);
        assert_eq!(right.1, (1, 1, 1));
        let kept = &mut engine.peers[0];
        (kept.given, kept.held) = (Digests::default(), Digests::default());
        (kept.promised, kept.asked, kept.held_count) = (5, 6, 7);
        engine.look_again(now, 0);
        assert_eq!(counted(&engine), right);
    }
}
