//! Making the next message to a peer, and what its outcome means.

use super::output::{Delivery, Output};
use super::state::Engine;
use crate::core::federation::config::Config;
use crate::core::federation::digest::Fingerprint;
use crate::core::federation::edu::{Asked, Edu, Link, Push, Reminder, VERSION};
use crate::core::federation::peer::{InFlight, Speech};
use crate::core::federation::status::{Availability, ProfileMark, Server, Status, User};
use crate::core::federation::watchdog::Watchdogs;
use crate::core::federation::wire::text_len;
use crate::core::time::{Instant, coarse, coarse_at_least};

/// What a status costs in a message apart from the status message: in Matrix's own form, and in the short one.
const BYTES_PER_MATRIX_PUSH: usize = 200;
const BYTES_PER_SHORT_PUSH: usize = 60;

/// What the name of a user costs.
const BYTES_PER_NAME: usize = 60;

/// How the sending of a message went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The peer acknowledged it.
    Delivered,
    /// It may or may not have arrived.
    Failed,
}

impl Engine {
    /// How the sending of message `seq` to `peer` went.
    ///
    /// What was lost is sent again, as it is by then, when the peer can be reached; in between, ever
    /// longer pauses. An outcome that comes twice or too late is ignored.
    pub fn handle_outcome(&mut self, now: Instant, peer: Server, seq: u64, outcome: Outcome) {
        let Some(&slot) = self.peer_of.get(&peer) else { return };
        let Some(flight) = self.peers[slot as usize].in_flight.take_if(|flight| flight.seq == seq) else {
            return;
        };
        match outcome {
            Outcome::Delivered => self.delivered(now, slot, &flight),
            Outcome::Failed => self.failed(now, slot, flight),
        }
        self.rearm(slot);
    }

    fn delivered(&mut self, now: Instant, slot: u32, flight: &InFlight) {
        let peer = &mut self.peers[slot as usize];
        peer.backoff.handle_success();
        peer.announced |= flight.announces;
        peer.watchdogs.handle_acknowledged(now, &self.config, &mut self.rng);
        if peer.speech == Speech::Unknown && flight.polls && peer.judge_at.is_none() {
            peer.judge_at = Some(now + self.config.poll_patience);
        }
        if peer.flush_at.is_some_and(|at| at <= now) {
            self.flush(now, slot);
        }
    }

    pub(super) fn failed(&mut self, now: Instant, slot: u32, flight: InFlight) {
        let peer = &mut self.peers[slot as usize];
        peer.backoff.handle_failure(now, self.config.backoff, &mut self.rng);
        for sub in flight.subs {
            peer.subs[sub as usize].resend = true;
            peer.mark_dirty(sub);
        }
        for slot in flight.remotes {
            let remote = &mut self.remotes[slot as usize];
            remote.unsure = true;
            peer.mark_repoll(slot, remote);
        }
        flight.once.iter().for_each(|&remote| peer.enquiries.handle_failed(remote));
        peer.poll_all |= flight.poll_all;
        // The peer may have been away and forgotten all: the digests will tell.
        peer.remind |= peer.speech == Speech::Extended;
        peer.flush_by(now);
    }

    /// Sends everything that waits for the peer, as far as one message holds it, unless one is under
    /// way or the peer is in backoff.
    pub(super) fn flush(&mut self, now: Instant, slot: u32) {
        let peer = &self.peers[slot as usize];
        if peer.in_flight.is_some() || peer.backoff.until().is_some_and(|until| until > now) {
            return;
        }
        self.spread_changes(now);
        let peer = &mut self.peers[slot as usize];
        peer.flush_at = None;
        let related = peer.related();
        let mut flight = InFlight {
            seq: peer.out_seq + 1,
            since: now,
            subs: Vec::new(),
            remotes: Vec::new(),
            once: Vec::new(),
            poll_all: false,
            polls: false,
            announces: !peer.announced,
        };
        let mut edu = Edu::default();
        let mut room = Room::new(&self.config, peer.speech);
        self.gather_pushes(now, slot, &mut edu, &mut flight, &mut room);
        self.gather_polls(slot, &mut edu, &mut flight, &mut room);
        self.gather_enquiries(now, slot, &mut edu, &mut flight, &mut room);
        let peer = &mut self.peers[slot as usize];
        if peer.related() && !related {
            peer.watchdogs = Watchdogs::new(now, &self.config, &mut self.rng);
        }
        let enquiries = peer.enquiries.is_waiting() || !peer.enquiries.answers.is_empty();
        let polled = peer.repoll.is_empty() || peer.is_judged();
        let complete = peer.dirty.is_empty() && polled && !peer.poll_all && !enquiries;
        let remind = complete && peer.remind && peer.speech == Speech::Extended;
        if !complete {
            peer.flush_at = Some(now);
        }
        let greet = std::mem::take(&mut peer.greet);
        if edu.users() == 0 && !edu.poll_all && !remind && !greet {
            return;
        }
        if remind {
            let answer = peer.watchdogs.handle_reminded(now, &self.config, &mut self.rng);
            let seen = peer.epoch.map(|epoch| (epoch, peer.in_seq));
            let (mine, yours) = (peer.compared(&peer.given), peer.compared(&peer.held));
            edu.reminder = Some(Reminder { mine, yours, seen, answer });
            peer.remind = false;
        }
        peer.out_seq = flight.seq;
        edu.link = Some(Link { epoch: self.epoch, seq: flight.seq, promise: Some(self.config.promise) });
        edu.hello = peer.speech != Speech::Extended;
        edu.version = flight.announces.then_some(VERSION);
        let delivery = Delivery { peer: peer.server, seq: flight.seq, speech: peer.speech, edu };
        peer.in_flight = Some(flight);
        self.outputs.push_back(Output::Send(Box::new(delivery)));
    }

    /// Takes in what of this server's users the peer is to be told: the last state, and nothing of one
    /// who is as the peer knows them (F8).
    fn gather_pushes(
        &mut self,
        now: Instant,
        slot: u32,
        edu: &mut Edu,
        flight: &mut InFlight,
        room: &mut Room,
    ) {
        let peer = &mut self.peers[slot as usize];
        let most = peer.dirty.len().min(room.users);
        edu.push.reserve_exact(most);
        flight.subs.reserve_exact(most);
        let reads_second = peer.may_read_second();
        let mut taken = 0;
        while taken < peer.dirty.len() && room.is_left() {
            let sub = peer.dirty[taken];
            taken += 1;
            let delivers = peer.delivers(sub);
            let entry = &mut peer.subs[sub as usize];
            let resend = std::mem::take(&mut entry.resend);
            entry.dirty = false;
            let local = &self.locals[entry.local as usize];
            let user = local.user;
            if !entry.permitted {
                if entry.sent != Fingerprint::UNKNOWN || resend {
                    match peer.speech {
                        Speech::Extended => edu.withdrawn.push(user),
                        // It has no word for it.
                        Speech::Unknown | Speech::Stock => edu.push.push(Push::offline(user)),
                    }
                    flight.subs.push(sub);
                    room.take_push(None);
                }
                peer.set_unsent(sub, user.fingerprint);
                continue;
            }
            let status = &local.status;
            let (sent, profile, promised) = (entry.sent, entry.profile, entry.promised);
            let other_profile = profile != status.shown.profile && reads_second;
            let idle = entry.sent == Fingerprint::UNKNOWN
                && !entry.promised
                && local.status.shown.availability == Availability::Offline;
            if !delivers || idle || (sent == local.fingerprint && !other_profile && !resend) {
                continue;
            }
            let is_new = sent == Fingerprint::UNKNOWN || !promised || resend;
            let tells_profile = reads_second && (other_profile || is_new);
            room.take_push(status.shown.status_msg.as_deref());
            edu.push.push(push(now, user, status, tells_profile));
            flight.subs.push(sub);
            let told = if tells_profile { status.shown.profile } else { profile };
            peer.set_sent(sub, user.fingerprint, local.fingerprint, told);
            peer.set_promised(sub, user.fingerprint, true);
        }
        peer.dirty.drain(..taken);
    }

    /// Takes in whom the peer is to push, and whom no longer. A stock server is asked for nobody (F10).
    fn gather_polls(&mut self, slot: u32, edu: &mut Edu, flight: &mut InFlight, room: &mut Room) {
        let peer = &mut self.peers[slot as usize];
        if peer.speech == Speech::Stock {
            peer.poll_all = false;
            for slot in peer.repoll.drain(..) {
                self.remotes[slot as usize].listed = false;
            }
            return;
        }
        if peer.poll_all && room.is_left() {
            peer.poll_all = false;
            flight.poll_all = true;
            edu.poll_all = true;
            peer.round = peer.round.wrapping_add(1);
            peer.awaiting = Some(flight.seq);
            for index in 0..peer.remotes.len() {
                let slot = peer.remotes[index];
                let remote = &mut self.remotes[slot as usize];
                let wanted = remote.active > 0;
                if !wanted && remote.is_known() {
                    self.outputs.push_back(Output::RemoteChanged { user: remote.user, status: None });
                }
                peer.set_asked(remote, wanted);
                remote.unsure = wanted;
                if wanted {
                    peer.mark_repoll(slot, remote);
                }
            }
        }
        let mut taken = 0;
        while taken < peer.repoll.len() && room.is_left() && !peer.is_judged() {
            let slot = peer.repoll[taken];
            taken += 1;
            let remote = &mut self.remotes[slot as usize];
            remote.listed = false;
            let wanted = remote.active > 0;
            let unsure = std::mem::take(&mut remote.unsure);
            if wanted == remote.asked && !unsure {
                continue;
            }
            // Who is not asked for is not known any more.
            if !wanted && remote.is_known() {
                self.outputs.push_back(Output::RemoteChanged { user: remote.user, status: None });
            }
            peer.set_asked(remote, wanted);
            let list = if wanted { &mut edu.poll } else { &mut edu.unpoll };
            list.push(Asked::Known(remote.user));
            flight.remotes.push(slot);
            room.take_name();
        }
        peer.repoll.drain(..taken);
        flight.polls = edu.poll_all || !edu.poll.is_empty();
    }
}

/// What `user` shows, as it is told to a peer; the mark of their profile only where it `tells_profile` and is known.
pub(super) fn push(now: Instant, user: User, status: &Status, tells_profile: bool) -> Push {
    let ago = |then: Option<Instant>| then.map(|then| now.since(then));
    // Of who is offline nobody is told a time but in coarse steps (P9), and a peer is somebody.
    let offline = status.shown.availability == Availability::Offline;
    let active_ago = |ago| if offline { coarse_at_least(ago) } else { ago };
    let tells_profile = tells_profile && status.shown.profile != ProfileMark::UNTOLD;
    let mut shown = status.shown.clone();
    if !tells_profile {
        shown.profile = ProfileMark::UNTOLD;
    }
    Push {
        user,
        shown,
        tells_profile,
        last_active_ago: ago(status.last_active).map(active_ago),
        away_ago: ago(status.away_since).map(coarse),
    }
}

/// What is left of the bounds of one message.
pub(super) struct Room {
    users: usize,
    bytes: usize,
    bytes_per_push: usize,
}

impl Room {
    fn new(config: &Config, speech: Speech) -> Self {
        let bytes_per_push = match speech {
            Speech::Unknown | Speech::Stock => BYTES_PER_MATRIX_PUSH,
            Speech::Extended => BYTES_PER_SHORT_PUSH,
        };
        Self { users: config.max_users_per_edu, bytes: config.max_edu_bytes, bytes_per_push }
    }

    pub(super) const fn is_left(&self) -> bool {
        self.users > 0 && self.bytes > 0
    }

    pub(super) fn take_push(&mut self, status_msg: Option<&str>) {
        self.users = self.users.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(self.bytes_per_push + status_msg.map_or(0, text_len));
    }

    pub(super) const fn take_name(&mut self) {
        self.users = self.users.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(BYTES_PER_NAME);
    }
}
