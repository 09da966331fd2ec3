//! Inputs from this server's own users: who observes whom, who has a client, who changed.

use std::time::Duration;

use super::state::{Engine, Timer};
use crate::core::federation::peer::Speech;
use crate::core::federation::status::{ProfileMark, Server, Status, User};
use crate::core::time::Instant;

/// Whether anybody on a peer may see a local user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// Somebody there is accepted on a list, or shares a room.
    Allowed,
    /// Nobody: the default.
    Denied,
}

/// Changes of name and picture that follow each other within this time are told as one, in twice that at most.
const RENAMING: Duration = Duration::from_secs(2);

impl Engine {
    /// `observer`, of this server, has `observed`, of another, on their list or shares a room with them.
    ///
    /// The two are a set: said twice, it holds once.
    pub fn handle_interest_added(&mut self, now: Instant, observer: User, observed: User) {
        let remote = self.remote_slot(now, observed);
        let local = self.local_slot(observer);
        let observes = &mut self.observes[local as usize];
        if let Err(place) = observes.binary_search(&remote) {
            observes.insert(place, remote);
            if self.locals[local as usize].attached {
                self.activate(now, local, remote);
            }
        }
    }

    /// `observer` does not observe `observed` any more.
    pub fn handle_interest_removed(&mut self, now: Instant, observer: User, observed: User) {
        let remote = self.remote_slot(now, observed);
        let local = self.local_slot(observer);
        let observes = &mut self.observes[local as usize];
        if let Ok(place) = observes.binary_search(&remote) {
            observes.remove(place);
            if self.locals[local as usize].attached {
                self.want_no_longer(now, remote);
            }
        }
    }

    /// `observer` has a client that wants to see others (L8): what they observe is polled.
    pub fn handle_client_attached(&mut self, now: Instant, observer: User) {
        let local = self.local_slot(observer);
        let entry = &mut self.locals[local as usize];
        if !std::mem::replace(&mut entry.attached, true) {
            for index in 0..self.observes[local as usize].len() {
                let remote = self.observes[local as usize][index];
                self.activate(now, local, remote);
            }
            self.read_rooms(now, local);
        }
    }

    /// `observer` has no such client any more: nobody is polled for their sake (F3).
    pub fn handle_client_detached(&mut self, now: Instant, observer: User) {
        let local = self.local_slot(observer);
        let entry = &mut self.locals[local as usize];
        if std::mem::replace(&mut entry.attached, false) {
            for index in 0..self.observes[local as usize].len() {
                let remote = self.observes[local as usize][index];
                self.want_no_longer(now, remote);
            }
            self.cease_to_read_rooms(now, local);
        }
    }

    /// A local user shows something else. A difference in the times alone is kept, but not pushed, unless an idle
    /// time begins or ends.
    pub fn handle_local_change(&mut self, now: Instant, user: User, mut status: Status) {
        status.shown = status.shown.bounded();
        let local = self.local_slot(user);
        let entry = &mut self.locals[local as usize];
        let (differs, idles) =
            (entry.status.shown != status.shown, entry.status.is_idle() != status.is_idle());
        let before = entry.status.shown.profile;
        if before != status.shown.profile && before != ProfileMark::UNTOLD {
            self.renamed.entry(local).and_modify(|(_, last)| *last = now).or_insert((now, now));
        }
        entry.status = status;
        if !differs && !idles {
            return;
        }
        if !differs {
            // The digests cannot tell: it is to be said though the peer holds what is shown.
            for &(slot, sub) in &entry.subs {
                let peer = &mut self.peers[slot as usize];
                peer.subs[sub as usize].resend |= peer.delivers(sub);
            }
        }
        entry.fingerprint = entry.status.shown.fingerprint();
        if !std::mem::replace(&mut entry.changed, true) {
            if self.changed.is_empty() {
                self.timers.set(Timer::Batch, now + self.config.batch_window);
            }
            self.changed.push(local);
        }
    }

    /// The end is near: what waits for the end of a batch window is sent at once.
    pub fn handle_flush(&mut self, now: Instant) {
        self.renamed.clear();
        self.spread_changes(now);
        for slot in 0..u32::try_from(self.peers.len()).expect("fewer servers than 2^32") {
            if self.peers[slot as usize].flush_at.is_some() {
                self.peers[slot as usize].flush_by(now);
                self.flush(now, slot);
                self.rearm(slot);
            }
        }
    }

    /// Lists those who changed for the peers to which their changes go, and sends what is due.
    pub(super) fn handle_batch(&mut self, now: Instant) {
        self.spread_changes(now);
        for slot in 0..u32::try_from(self.peers.len()).expect("fewer servers than 2^32") {
            if self.peers[slot as usize].flush_at.is_some_and(|at| at <= now) {
                self.flush(now, slot);
                self.rearm(slot);
            }
        }
    }

    /// Lists those who changed for the peers to which their changes go, at the end of the window; who changed their
    /// name or picture a moment ago perhaps changes the other too, and is listed a moment later (P10).
    pub(super) fn spread_changes(&mut self, now: Instant) {
        if self.changed.is_empty() {
            return;
        }
        let due = self.timers.deadline(Timer::Batch).unwrap_or(now);
        self.timers.cancel(Timer::Batch);
        // In two steps, each of which touches many places that do not depend on each other: the processor
        // waits for them together.
        let mut spread = std::mem::take(&mut self.spread);
        let (mut waiting, mut until) = (Vec::new(), None::<Instant>);
        for slot in self.changed.drain(..) {
            let settled = self.renamed.get(&slot).map(|&times| settled_at(times)).filter(|at| *at > now);
            if let Some(at) = settled {
                waiting.push(slot);
                until = Some(until.map_or(at, |until| until.min(at)));
                continue;
            }
            self.renamed.remove(&slot);
            let local = &mut self.locals[slot as usize];
            local.changed = false;
            spread.extend_from_slice(&local.subs);
        }
        self.changed.append(&mut waiting);
        if let Some(until) = until {
            self.timers.set(Timer::Batch, until.max(due));
        }
        for (slot, sub) in spread.drain(..) {
            let peer = &mut self.peers[slot as usize];
            if peer.delivers(sub) {
                peer.mark_dirty(sub);
                if peer.flush_at.is_none_or(|at| at > due) {
                    peer.flush_at = Some(due);
                    self.rearm(slot);
                }
            }
        }
        // Keeps the space it has.
        self.spread = spread;
    }

    /// Whether anybody on `peer` may see `observed` by a list (L6), as it is from here on.
    pub fn handle_permission(&mut self, now: Instant, peer: Server, observed: User, permission: Permission) {
        self.permit_by_list(now, peer, observed, permission);
    }

    /// `local`, who has a client, wants `remote`, who is on their list.
    fn activate(&mut self, now: Instant, local: u32, remote: u32) {
        self.want(now, remote);
        let slot = self.remotes[remote as usize].peer;
        self.announce(now, slot, local);
    }

    /// One more reason to want `remote`: an observer with a client, or a room with one.
    pub(super) fn want(&mut self, now: Instant, remote: u32) {
        let entry = &mut self.remotes[remote as usize];
        let slot = entry.peer;
        let peer = &mut self.peers[slot as usize];
        entry.active += 1;
        if entry.active == 1 {
            peer.mark_repoll(remote, entry);
            if !entry.asked && peer.speech != Speech::Stock {
                peer.flush_by(now + self.config.settle);
            }
            self.rearm(slot);
        }
    }

    /// Who watches somebody at a peer is, most likely, watched from there: the status goes along with
    /// the poll, and with it the promise. A peer that does not want it unpolls it (F2, F3).
    pub(super) fn announce(&mut self, now: Instant, slot: u32, local: u32) {
        let peer = &mut self.peers[slot as usize];
        if let Some(&sub) = peer.sub_of.get(&local)
            && peer.subs[sub as usize].permitted
            && !peer.subs[sub as usize].promised
        {
            peer.set_promised(sub, self.locals[local as usize].user.fingerprint, true);
            peer.mark_dirty(sub);
            peer.flush_by(now + self.config.batch_window);
            self.rearm(slot);
        }
    }

    /// One reason fewer to want `remote`.
    pub(super) fn want_no_longer(&mut self, now: Instant, remote: u32) {
        let entry = &mut self.remotes[remote as usize];
        let slot = entry.peer;
        let peer = &mut self.peers[slot as usize];
        entry.active -= 1;
        if entry.active == 0 {
            peer.mark_repoll(remote, entry);
            peer.flush_by(now + self.config.batch_window);
            self.rearm(slot);
        }
    }
}

/// When who changed their name or picture first and last at these times has done so, as far as that is waited for.
fn settled_at((first, last): (Instant, Instant)) -> Instant {
    (last + RENAMING).min(first + RENAMING * 2)
}
