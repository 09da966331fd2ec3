//! What comes from a peer.

use std::cmp::Ordering;
use std::fmt;

use super::output::Output;
use super::state::Engine;
use crate::core::federation::digest::Fingerprint;
use crate::core::federation::edu::{Asked, Edu, Link, Push, Reminder};
use crate::core::federation::peer::Speech;
use crate::core::federation::status::{ProfileMark, Server, Shown, Status, User};
use crate::core::time::Instant;

/// Why a peer's message, or a part of it, was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// No user here watches anybody there, nobody there may watch anybody here, and it does not poll, or
    /// too many such servers did.
    Unrelated,
    /// It speaks for a user of another server's; nothing of it was taken.
    NotItsUser(User),
    /// It polls a user of another server's; nothing of it was taken.
    NotOurUser(User),
    /// It polls too many users it may not see; the rest of the message was taken.
    TooManyPolls,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unrelated => "the server has nobody to watch or to be watched",
            Self::NotItsUser(_) => "the server speaks for a user of another server",
            Self::NotOurUser(_) => "the server polls a user of another server",
            Self::TooManyPolls => "the server polls too many users it may not see",
        })
    }
}

impl std::error::Error for Refused {}

impl Engine {
    /// Anything else came from `peer`, such as an event of a room: it lives, and nobody's status there
    /// changed, or it would have said so (steps 4; F4, F9).
    pub fn handle_traffic(&mut self, now: Instant, peer: Server) {
        let Some(&slot) = self.peer_of.get(&peer) else { return };
        self.handle_life(now, slot);
        self.rearm(slot);
    }

    /// `peer` acknowledged something else than a presence message, such as an event of a room (F9).
    pub fn handle_acknowledged(&mut self, now: Instant, peer: Server) {
        let Some(&slot) = self.peer_of.get(&peer) else { return };
        let peer = &mut self.peers[slot as usize];
        peer.watchdogs.handle_acknowledged(now, &self.config, &mut self.rng);
        self.rearm(slot);
    }

    /// A presence message came from `peer`.
    ///
    /// A repeated or overtaken one is ignored: what mattered in it, its sender has said again since.
    pub fn handle_edu(&mut self, now: Instant, peer: Server, edu: Edu) -> Result<(), Refused> {
        self.check_names(peer, &edu)?;
        let slot = self.peer_or_stranger(now, peer, &edu)?;
        match edu.link {
            Some(link) => {
                if !self.take_link(now, slot, link) {
                    return Ok(());
                }
            }
            None => self.become_stock(now, slot),
        }
        if let Some(version) = edu.version.filter(|_| edu.link.is_some()) {
            self.peers[slot as usize].version = version;
        }
        self.handle_life(now, slot);
        let related = self.peers[slot as usize].related();
        self.expect_changes(&edu.push);
        for push in edu.push {
            self.take_push(now, slot, push);
        }
        for user in edu.withdrawn {
            if let Some(remote) = self.find_remote(user) {
                self.forget(remote);
            }
        }
        edu.told.into_iter().for_each(|told| self.take_told(now, slot, told));
        if edu.poll_all && edu.reminder.is_some_and(|reminder| reminder.answer) {
            // It looks at the state itself: what it tells and what it is answered is all there is.
            let peer = &mut self.peers[slot as usize];
            peer.watchdogs.handle_looked(now, &self.config, &mut self.rng);
        }
        let result = self.take_polls(now, slot, edu.poll_all, &edu.poll, &edu.unpoll);
        self.take_enquiries(now, slot, &edu.once);
        if edu.hello && edu.link.is_some() {
            let peer = &mut self.peers[slot as usize];
            peer.announced = false;
            peer.remind = true;
            peer.flush_by(now);
        }
        if let Some(reminder) = edu.reminder {
            self.take_reminder(now, slot, reminder);
        }
        let peer = &mut self.peers[slot as usize];
        if peer.related() && !related {
            peer.watchdogs.handle_reminder(now, &self.config, &mut self.rng);
        }
        if peer.flush_at.is_some_and(|at| at <= now) {
            self.flush(now, slot);
        }
        self.rearm(slot);
        result
    }

    /// A server that polls ahead of its permission is remembered, so that it learns to whom it talks and
    /// is answered when the permission comes.
    fn peer_or_stranger(&mut self, now: Instant, peer: Server, edu: &Edu) -> Result<u32, Refused> {
        if let Some(&slot) = self.peer_of.get(&peer) {
            return Ok(slot);
        }
        if edu.link.is_none() || edu.poll.is_empty() || self.strangers >= self.config.max_strangers {
            return Err(Refused::Unrelated);
        }
        self.strangers += 1;
        Ok(self.peer_slot(now, peer))
    }

    /// Who is not of `peer` is not spoken for, who is not of this server is not polled.
    fn check_names(&self, peer: Server, edu: &Edu) -> Result<(), Refused> {
        let pushed = edu.push.iter().chain(&edu.told).map(|push| push.user);
        let spoken_for = pushed.chain(edu.withdrawn.iter().copied());
        if let Some(user) = spoken_for.into_iter().find(|user| user.server != peer) {
            return Err(Refused::NotItsUser(user));
        }
        for asked in edu.poll.iter().chain(&edu.unpoll).chain(&edu.once) {
            if let Asked::Known(user) = asked
                && user.server != self.server
            {
                return Err(Refused::NotOurUser(*user));
            }
        }
        Ok(())
    }

    /// The peer lives: what waits for the end of a backoff can go at once.
    fn handle_life(&mut self, now: Instant, slot: u32) {
        let peer = &mut self.peers[slot as usize];
        if now.since(peer.watchdogs.heard()) > self.config.promise * 2 {
            peer.backoff.handle_return();
        }
        peer.watchdogs.handle_message(now, &self.config, &mut self.rng);
        peer.backoff.handle_traffic(now, self.config.backoff);
    }

    /// Notes where the message stands; false if it is an old one.
    fn take_link(&mut self, now: Instant, slot: u32, link: Link) -> bool {
        let peer = &mut self.peers[slot as usize];
        match peer.epoch.map(|epoch| link.epoch.cmp(&epoch)) {
            None => {}
            Some(Ordering::Equal) if link.seq > peer.in_seq => {}
            Some(Ordering::Equal) => return false,
            // Most likely a late message from before the peer's restart. But if the later epoch has
            // fallen silent, the peer's clock was set back.
            Some(Ordering::Less) if now.since(peer.spoke) < self.config.promise * 2 => return false,
            Some(Ordering::Less | Ordering::Greater) => self.handle_peer_restarted(now, slot),
        }
        let peer = &mut self.peers[slot as usize];
        if peer.epoch.is_some_and(|epoch| epoch != link.epoch) {
            // Whatever runs there may be older or newer than what ran before, and was told nothing yet.
            (peer.version, peer.announced) = (1, false);
        }
        peer.spoke = now;
        peer.epoch = Some(link.epoch);
        peer.in_seq = link.seq;
        let (shortest, longest) = self.config.promise_bounds;
        peer.promise = link.promise.unwrap_or(self.config.promise).clamp(shortest, longest);
        match std::mem::replace(&mut peer.speech, Speech::Extended) {
            Speech::Extended => {}
            Speech::Unknown => {
                peer.judge_at = None;
                if !peer.repoll.is_empty() {
                    peer.flush_by(now);
                }
            }
            Speech::Stock => {
                peer.refresh_at = None;
                self.handle_peer_restarted(now, slot);
            }
        }
        true
    }

    /// The peer remembers nothing: its polls are void, and ours are repeated.
    fn handle_peer_restarted(&mut self, now: Instant, slot: u32) {
        self.forget_polls(slot);
        let peer = &mut self.peers[slot as usize];
        peer.backoff.handle_return();
        for sub in 0..u32::try_from(peer.subs.len()).expect("fewer users than 2^32") {
            let user = self.locals[peer.subs[sub as usize].local as usize].user;
            peer.set_unsent(sub, user.fingerprint);
        }
        if peer.remotes.iter().any(|&remote| self.remotes[remote as usize].active > 0) {
            peer.poll_all = true;
            peer.flush_by(now);
        }
    }

    fn become_stock(&mut self, now: Instant, slot: u32) {
        let peer = &mut self.peers[slot as usize];
        if peer.speech != Speech::Stock {
            peer.speech = Speech::Stock;
            peer.judge_at = None;
            peer.promise = self.config.stock_promise;
            peer.refresh_at = Some(now + self.config.stock_refresh);
        }
    }

    /// Makes room for what may be told of `pushes`. Looks at all of them before the first is taken: so the
    /// processor waits for the memory once, and not for each.
    fn expect_changes(&mut self, pushes: &[Push]) {
        let wanted = |push: &&Push| {
            let remote = self.find_remote(push.user);
            remote.is_some_and(|remote| self.remotes[remote as usize].active > 0)
        };
        self.outputs.reserve(pushes.iter().filter(wanted).count());
    }

    fn take_push(&mut self, now: Instant, slot: u32, push: Push) {
        let Some(index) = self.find_remote(push.user) else { return };
        let remote = &mut self.remotes[index as usize];
        let peer = &mut self.peers[slot as usize];
        if remote.active == 0 && peer.speech == Speech::Extended {
            if !remote.listed {
                remote.unsure = true;
                peer.mark_repoll(index, remote);
                peer.flush_by(now + self.config.batch_window);
            }
            return;
        }
        // A push is a promise: who pushes need not be polled (F3).
        peer.set_asked(remote, true);
        remote.round = peer.round;
        let user = push.user;
        let status = status_at(now, push, remote.profile());
        let fingerprint = status.shown.fingerprint();
        let same = if remote.is_known() {
            remote.fingerprint() == fingerprint
                && remote.profile() == status.shown.profile
                && remote.is_idle() == status.is_idle()
        } else {
            peer.enquiries.told(index).is_some_and(|told| looks_like(told, &status))
        };
        peer.enquiries.forget(index);
        peer.set_held(remote, Some((&status, fingerprint)));
        if !same {
            self.outputs.push_back(Output::RemoteChanged { user, status: Some(status) });
        }
    }

    /// What the user shows is unknown from here on.
    pub(super) fn forget(&mut self, index: u32) {
        let remote = &mut self.remotes[index as usize];
        let peer = &mut self.peers[remote.peer as usize];
        let was_told = peer.enquiries.forget(index);
        if remote.is_known() || was_told {
            peer.set_held(remote, None);
            self.outputs.push_back(Output::RemoteChanged { user: remote.user, status: None });
        }
    }

    fn take_polls(
        &mut self,
        now: Instant,
        slot: u32,
        all: bool,
        poll: &[Asked],
        unpoll: &[Asked],
    ) -> Result<(), Refused> {
        if all {
            self.forget_polls(slot);
        }
        let mut result = Ok(());
        for &asked in poll {
            if !self.take_poll(slot, asked) {
                result = Err(Refused::TooManyPolls);
            }
        }
        for &asked in unpoll {
            let (user, sub) = self.asked_sub(slot, asked);
            let peer = &mut self.peers[slot as usize];
            peer.remove_blind(user);
            if let Some(sub) = sub {
                peer.set_promised(sub, user, false);
            }
        }
        if all || !poll.is_empty() {
            let peer = &mut self.peers[slot as usize];
            peer.remind = true;
            peer.flush_by(now);
        }
        result
    }

    /// Promises the peer the user; false if it may not see them and asked for too many of that kind.
    fn take_poll(&mut self, slot: u32, asked: Asked) -> bool {
        let (user, sub) = self.asked_sub(slot, asked);
        let peer = &mut self.peers[slot as usize];
        match sub {
            Some(sub) => {
                peer.set_promised(sub, user, true);
                if peer.subs[sub as usize].permitted {
                    peer.subs[sub as usize].resend = true;
                    peer.mark_dirty(sub);
                }
                true
            }
            None => peer.add_blind(user, self.config.max_blind_polls),
        }
    }

    /// Everything the peer polled is void.
    fn forget_polls(&mut self, slot: u32) {
        let peer = &mut self.peers[slot as usize];
        for sub in 0..u32::try_from(peer.subs.len()).expect("fewer users than 2^32") {
            let user = self.locals[peer.subs[sub as usize].local as usize].user;
            peer.set_promised(sub, user.fingerprint, false);
        }
        for user in std::mem::take(&mut peer.blind) {
            peer.given.remove(user, Fingerprint::UNKNOWN, ProfileMark::UNTOLD);
        }
    }

    pub(super) fn asked_sub(&self, slot: u32, asked: Asked) -> (Fingerprint, Option<u32>) {
        match asked {
            Asked::Stranger(fingerprint) => (fingerprint, None),
            Asked::Known(user) => {
                let local = self.slots.find(user);
                let sub = local.and_then(|local| self.peers[slot as usize].sub_of.get(&local));
                (user.fingerprint, sub.copied())
            }
        }
    }

    /// Compares what both sides hold, and mends a difference (F5).
    fn take_reminder(&mut self, now: Instant, slot: u32, reminder: Reminder) {
        let peer = &mut self.peers[slot as usize];
        peer.watchdogs.handle_reminder(now, &self.config, &mut self.rng);
        if reminder.answer {
            peer.remind = true;
            peer.flush_by(now);
        }
        let seen = reminder.seen.and_then(|(epoch, seq)| (epoch == self.epoch).then_some(seq));
        if seen == Some(peer.out_seq) && peer.in_flight.is_none() {
            peer.backoff.handle_arrival(now, self.config.backoff);
        }
        if peer.awaiting.is_some_and(|poll| seen.is_some_and(|seen| seen >= poll)) {
            peer.awaiting = None;
            self.sweep(slot);
        }
        let peer = &mut self.peers[slot as usize];
        // While one of our messages or polls is under way, the two sides differ lawfully.
        let comparable = seen == Some(peer.out_seq) && peer.awaiting.is_none() && peer.repoll.is_empty();
        let stranger = seen.is_none() && peer.out_seq == 0;
        if !(comparable || stranger) {
            return;
        }
        let differs = !peer.agrees(reminder.mine, &peer.held);
        if differs {
            peer.watchdogs.handle_difference(now);
        } else {
            peer.watchdogs.handle_agreement();
        }
        if !differs && peer.agrees(reminder.yours, &peer.given) {
            peer.repair_pause = self.config.short_watchdog;
            return;
        }
        if peer.repair_at <= now {
            peer.repair_at = now + peer.repair_pause;
            peer.repair_pause = (peer.repair_pause * 2).min(self.config.long_watchdog);
            // Who holds something wrong asks for all; who sees that the other does, says how it is.
            peer.poll_all |= differs || stranger;
            peer.remind = true;
            peer.flush_by(now);
        }
    }

    /// After the answer to a full poll: who was not in it is unknown.
    fn sweep(&mut self, slot: u32) {
        for index in 0..self.peers[slot as usize].remotes.len() {
            let peer = &self.peers[slot as usize];
            let (remote, round) = (peer.remotes[index], peer.round);
            if self.remotes[remote as usize].round != round {
                self.forget(remote);
            }
        }
    }
}

/// What a peer says that a user shows, on this server's clock; `profile` is what was known of theirs before.
pub(super) fn status_at(now: Instant, push: Push, profile: ProfileMark) -> Status {
    let before = |ago| now - ago;
    let profile = if push.tells_profile { push.shown.profile } else { profile };
    Status {
        shown: Shown { profile, ..push.shown },
        last_active: push.last_active_ago.map(before),
        away_since: push.away_ago.map(before),
    }
}

/// Whether readers have nothing to look at when the one comes in place of the other.
pub(super) fn looks_like(one: &Status, other: &Status) -> bool {
    one.shown == other.shown && one.is_idle() == other.is_idle()
}
