//! Asking for a status once, and answering: whoever reads a list without a stream open learns how it is now (L8).

use super::output::Output;
use super::receive::{looks_like, status_at};
use super::send::{Room, push};
use super::state::Engine;
use crate::core::federation::edu::{Asked, Edu, Push};
use crate::core::federation::peer::{InFlight, Speech};
use crate::core::federation::status::User;
use crate::core::time::Instant;

impl Engine {
    /// Somebody of this server, who may see `users` of others, reads their statuses: those of whom nothing is known
    /// are asked for, once, and in one message to each of their servers.
    ///
    /// Answers for whom of them an answer is awaited, and since when. Nobody is asked for more often than once in a
    /// short watchdog, nor at a server that cannot be reached or does not understand.
    pub fn handle_enquiries(
        &mut self,
        now: Instant,
        users: impl IntoIterator<Item = User>,
    ) -> Vec<(User, Instant)> {
        let mut awaited = Vec::new();
        let mut slots = Vec::new();
        for user in users {
            let Some(index) = self.find_remote(user) else { continue };
            let remote = &self.remotes[index as usize];
            let slot = remote.peer;
            let peer = &mut self.peers[slot as usize];
            let is_paused = peer.backoff.until().is_some_and(|until| until > now);
            if remote.is_known() || remote.active > 0 || is_paused || !peer.may_read_second() {
                continue;
            }
            if let Some(since) = peer.enquiries.ask(now, index, self.config.short_watchdog) {
                awaited.push((user, since));
            }
            if peer.enquiries.is_waiting() {
                peer.flush_by(now);
                slots.push(slot);
            }
        }
        slots.dedup();
        for slot in slots {
            self.flush(now, slot);
            self.rearm(slot);
        }
        awaited
    }

    /// Whether `user` was asked for once, and the answer may still come.
    pub fn is_awaited(&self, user: User) -> bool {
        let Some(index) = self.find_remote(user) else { return false };
        let remote = &self.remotes[index as usize];
        !remote.is_known() && self.peers[remote.peer as usize].enquiries.is_awaited(index)
    }

    /// The peer asks for users once: those whom it may see are told, and no more is kept of it.
    pub(super) fn take_enquiries(&mut self, now: Instant, slot: u32, once: &[Asked]) {
        for &asked in once {
            let (_, sub) = self.asked_sub(slot, asked);
            let peer = &mut self.peers[slot as usize];
            if let Some(sub) = sub.filter(|&sub| peer.subs[sub as usize].permitted) {
                peer.enquiries.answers.insert(sub);
                peer.flush_by(now);
            }
        }
    }

    /// Takes the answer to an enquiry: it holds for one short watchdog. Where the peer has promised the user's changes
    /// by now, these count.
    pub(super) fn take_told(&mut self, now: Instant, slot: u32, told: Push) {
        let Some(index) = self.find_remote(told.user) else { return };
        let (remote, peer) = (&self.remotes[index as usize], &mut self.peers[slot as usize]);
        if remote.is_known() {
            return;
        }
        let user = told.user;
        let status = status_at(now, told, remote.profile());
        let same = peer.enquiries.told(index).is_some_and(|before| looks_like(before, &status));
        if peer.enquiries.handle_told(now, index, status.clone(), self.config.short_watchdog) && !same {
            self.outputs.push_back(Output::RemoteChanged { user, status: Some(status) });
        }
    }

    /// Takes in whom the peer is to tell once, and what it asked for.
    pub(super) fn gather_enquiries(
        &mut self,
        now: Instant,
        slot: u32,
        edu: &mut Edu,
        flight: &mut InFlight,
        room: &mut Room,
    ) {
        let peer = &mut self.peers[slot as usize];
        while room.is_left()
            && let Some(sub) = peer.enquiries.answers.pop_first()
        {
            let entry = &peer.subs[sub as usize];
            if entry.permitted && peer.speech == Speech::Extended {
                let local = &self.locals[entry.local as usize];
                room.take_push(local.status.shown.status_msg.as_deref());
                edu.told.push(push(now, local.user, &local.status, true));
            }
        }
        while room.is_left()
            && let Some(index) = peer.enquiries.next_waiting()
        {
            let remote = &self.remotes[index as usize];
            // Who is polled by now need not be asked for.
            if remote.active == 0 && peer.may_read_second() {
                edu.once.push(Asked::Known(remote.user));
                flight.once.push(index);
                flight.polls = true;
                room.take_name();
            }
        }
    }

    /// What was told once does not hold any longer.
    pub(super) fn end_enquiries(&mut self, now: Instant, slot: u32) {
        let peer = &mut self.peers[slot as usize];
        while let Some((index, was_told)) = peer.enquiries.pop_ended(now) {
            let remote = &self.remotes[index as usize];
            if was_told && !remote.is_known() {
                self.outputs.push_back(Output::RemoteChanged { user: remote.user, status: None });
            }
        }
    }
}
