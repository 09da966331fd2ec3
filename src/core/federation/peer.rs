//! What is kept of one peer: what it was promised, what it promised, and what waits to be sent to it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::backoff::Backoff;
use super::config::Config;
use super::digest::{Digest, Fingerprint};
use super::digests::Digests;
use super::enquiry::Enquiries;
use super::remote::Remote;
use super::status::{ProfileMark, Server, Status};
use super::watchdog::Watchdogs;
use crate::core::rng::Rng;
use crate::core::time::Instant;

/// What a peer is known to understand (F10).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Speech {
    /// It has not said: polls go along in Matrix's form.
    #[default]
    Unknown,
    /// Pushes only: it left a poll unanswered, or sent a message without a link.
    Stock,
    /// Everything, in the short form.
    Extended,
}

/// One of this server's users, towards one peer.
#[derive(Clone, Debug)]
pub(super) struct Sub {
    /// The slot of the user.
    pub(super) local: u32,
    /// Somebody at the peer may see the user: by a list, or by a room.
    pub(super) permitted: bool,
    /// By a list.
    pub(super) listed: bool,
    /// The rooms that the user shares with somebody there.
    pub(super) rooms: u32,
    /// The peer polled the user, or was pushed them: changes are pushed.
    pub(super) promised: bool,
    /// Listed in `Peer::dirty`.
    pub(super) dirty: bool,
    /// To be pushed even if nothing changed.
    pub(super) resend: bool,
    /// What the peer was told; `UNKNOWN`: nothing, or that it is taken back.
    pub(super) sent: Fingerprint,
    /// The mark of the profile that it was told.
    pub(super) profile: ProfileMark,
}

/// A message whose outcome is not known yet.
#[derive(Clone, Debug)]
pub(super) struct InFlight {
    pub(super) seq: u64,
    pub(super) since: Instant,
    pub(super) subs: Vec<u32>,
    pub(super) remotes: Vec<u32>,
    /// The slots of those who are asked for once.
    pub(super) once: Vec<u32>,
    pub(super) poll_all: bool,
    pub(super) polls: bool,
    /// It says which version this server reads.
    pub(super) announces: bool,
}

/// One other homeserver.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) server: Server,
    pub(super) speech: Speech,
    /// Up to which version it reads the form that it understands, in this run of it; 1 until it says more.
    pub(super) version: u32,
    /// It has acknowledged, in this run of it, which version this server reads.
    pub(super) announced: bool,
    pub(super) watchdogs: Watchdogs,
    pub(super) backoff: Backoff,

    /// Everybody the peer may see or asked for; an entry, once made, stays.
    pub(super) subs: Vec<Sub>,
    pub(super) sub_of: BTreeMap<u32, u32>,
    /// Polled, but nobody the peer may see. Bounded by `max_blind_polls`.
    pub(super) blind: BTreeSet<Fingerprint>,
    pub(super) promised: u32,
    pub(super) given: Digests,

    /// The slots of the peer's users; an entry, once made, stays.
    pub(super) remotes: Vec<u32>,
    pub(super) asked: u32,
    pub(super) held: Digests,
    pub(super) held_count: u32,
    /// Who is, or was a moment ago, asked for once; and those whom the peer asks for once.
    pub(super) enquiries: Enquiries,
    /// How long its statuses hold.
    pub(super) promise: Duration,
    /// Counts full polls.
    pub(super) round: u16,
    /// The number of the message with the last full poll, until it is answered.
    pub(super) awaiting: Option<u64>,
    /// Before this, no repair of a difference begins; and the pause that comes next.
    pub(super) repair_at: Instant,
    pub(super) repair_pause: Duration,

    pub(super) dirty: Vec<u32>,
    pub(super) repoll: Vec<u32>,
    pub(super) poll_all: bool,
    /// A reminder goes along with the next message.
    pub(super) remind: bool,
    /// A message goes out even if there is nothing to say, to ask what the peer understands.
    pub(super) greet: bool,
    /// The next message is due.
    pub(super) flush_at: Option<Instant>,
    pub(super) in_flight: Option<InFlight>,

    pub(super) out_seq: u64,
    pub(super) in_seq: u64,
    pub(super) epoch: Option<u64>,
    /// When the last message of that epoch came.
    pub(super) spoke: Instant,
    /// When the peer, if it says nothing until then, counts as a stock server.
    pub(super) judge_at: Option<Instant>,
    /// When a stock server is told again who is online.
    pub(super) refresh_at: Option<Instant>,
}

impl Peer {
    pub(super) fn new(now: Instant, server: Server, config: &Config, rng: &mut Rng) -> Self {
        Self {
            server,
            speech: Speech::Unknown,
            version: 1,
            announced: false,
            watchdogs: Watchdogs::new(now, config, rng),
            backoff: Backoff::default(),
            subs: Vec::new(),
            sub_of: BTreeMap::new(),
            blind: BTreeSet::new(),
            promised: 0,
            given: Digests::default(),
            remotes: Vec::new(),
            asked: 0,
            held: Digests::default(),
            held_count: 0,
            enquiries: Enquiries::default(),
            promise: config.stock_promise,
            round: 0,
            awaiting: None,
            repair_at: now,
            repair_pause: config.short_watchdog,
            dirty: Vec::new(),
            repoll: Vec::new(),
            poll_all: false,
            remind: false,
            greet: false,
            flush_at: None,
            in_flight: None,
            out_seq: 0,
            in_seq: 0,
            epoch: None,
            spoke: now,
            judge_at: None,
            refresh_at: None,
        }
    }

    /// Whether either side watches somebody of the other's.
    pub(super) const fn related(&self) -> bool {
        self.asked > 0 || self.promised > 0
    }

    /// Brings the next message forward to `at`, if it was later.
    pub(super) fn flush_by(&mut self, at: Instant) {
        self.flush_at = Some(self.flush_at.map_or(at, |former| former.min(at)));
    }

    /// The entry of a local user, made if there is none; and whether it is new.
    pub(super) fn sub_for(&mut self, local: u32) -> (u32, bool) {
        if let Some(&sub) = self.sub_of.get(&local) {
            return (sub, false);
        }
        let sub = u32::try_from(self.subs.len()).expect("fewer users than 2^32");
        self.subs.push(Sub {
            local,
            permitted: false,
            listed: false,
            rooms: 0,
            promised: false,
            dirty: false,
            resend: false,
            sent: Fingerprint::UNKNOWN,
            profile: ProfileMark::UNTOLD,
        });
        self.sub_of.insert(local, sub);
        (sub, true)
    }

    /// Whether the user's changes go to the peer.
    pub(super) fn delivers(&self, sub: u32) -> bool {
        let sub = &self.subs[sub as usize];
        sub.permitted && (sub.promised || self.speech != Speech::Extended)
    }

    /// Lists the entry for the next message.
    pub(super) fn mark_dirty(&mut self, sub: u32) {
        let entry = &mut self.subs[sub as usize];
        if !entry.dirty {
            entry.dirty = true;
            self.dirty.push(sub);
        }
    }

    /// Promises the peer the changes of `user`, or ends that.
    pub(super) fn set_promised(&mut self, sub: u32, user: Fingerprint, promised: bool) {
        let entry = &mut self.subs[sub as usize];
        if entry.promised == promised {
            return;
        }
        entry.promised = promised;
        let Sub { sent, profile, .. } = *entry;
        if promised {
            self.promised += 1;
            self.given.add(user, sent, profile);
        } else {
            self.promised -= 1;
            self.given.remove(user, sent, profile);
        }
    }

    /// Notes what the peer was told of `user`, and which profile; see [`Sub::sent`].
    pub(super) fn set_sent(&mut self, sub: u32, user: Fingerprint, sent: Fingerprint, profile: ProfileMark) {
        let entry = &mut self.subs[sub as usize];
        let former =
            (std::mem::replace(&mut entry.sent, sent), std::mem::replace(&mut entry.profile, profile));
        if entry.promised && former != (sent, profile) {
            self.given.remove(user, former.0, former.1);
            self.given.add(user, sent, profile);
        }
    }

    /// Notes that the peer knows nothing of `user`, as far as is known here.
    pub(super) fn set_unsent(&mut self, sub: u32, user: Fingerprint) {
        self.set_sent(sub, user, Fingerprint::UNKNOWN, ProfileMark::UNTOLD);
    }

    /// Whether the peer may be told what version 2 has: it reads it, or has not said that it does not, and passes
    /// over what it does not know.
    pub(super) const fn may_read_second(&self) -> bool {
        match self.speech {
            Speech::Unknown => true,
            Speech::Stock => false,
            Speech::Extended => self.version >= 2,
        }
    }

    /// What is to be compared of `digests`, as the peer computes them.
    pub(super) const fn compared(&self, digests: &Digests) -> Digest {
        if self.version >= 2 { digests.whole() } else { digests.shown }
    }

    /// Whether the digest that the peer says is that of `digests`. Until it has acknowledged that this server
    /// knows of profiles, it may say one without.
    pub(super) fn agrees(&self, said: Digest, digests: &Digests) -> bool {
        said == self.compared(digests) || (!self.announced && said == digests.shown)
    }

    /// Ends a poll for somebody the peer may not see.
    pub(super) fn remove_blind(&mut self, user: Fingerprint) -> bool {
        let was = self.blind.remove(&user);
        if was {
            self.given.remove(user, Fingerprint::UNKNOWN, ProfileMark::UNTOLD);
        }
        was
    }

    /// Keeps a poll for somebody the peer may not see; false if there are too many.
    pub(super) fn add_blind(&mut self, user: Fingerprint, most: usize) -> bool {
        if self.blind.contains(&user) {
            return true;
        }
        if self.blind.len() >= most {
            return false;
        }
        self.blind.insert(user);
        self.given.add(user, Fingerprint::UNKNOWN, ProfileMark::UNTOLD);
        true
    }

    /// Counts `remote` among those the peer was asked for, or no longer.
    pub(super) fn set_asked(&mut self, remote: &mut Remote, asked: bool) {
        if remote.asked == asked {
            return;
        }
        remote.asked = asked;
        let user = remote.user.fingerprint;
        if asked {
            self.asked += 1;
            self.held.add(user, Fingerprint::UNKNOWN, ProfileMark::UNTOLD);
        } else {
            self.set_held(remote, None);
            self.asked -= 1;
            self.held.remove(user, Fingerprint::UNKNOWN, ProfileMark::UNTOLD);
        }
    }

    /// Notes what `remote`, who is asked for, shows, and its fingerprint.
    pub(super) fn set_held(&mut self, remote: &mut Remote, status: Option<(&Status, Fingerprint)>) {
        let user = remote.user.fingerprint;
        let (before, was_known) = ((remote.fingerprint(), remote.profile()), remote.is_known());
        match status {
            Some((status, fingerprint)) => remote.know(status, fingerprint),
            None => remote.forget(),
        }
        let after = (remote.fingerprint(), remote.profile());
        if after != before {
            self.held.remove(user, before.0, before.1);
            self.held.add(user, after.0, after.1);
        }
        self.held_count = self.held_count + u32::from(remote.is_known()) - u32::from(was_known);
    }

    /// Lists `slot` for a poll or unpoll in the next message.
    pub(super) fn mark_repoll(&mut self, slot: u32, remote: &mut Remote) {
        if !remote.listed {
            remote.listed = true;
            self.repoll.push(slot);
        }
    }

    /// Whether a peer of which nothing is known was asked for somebody, and has not shown that it understands that. It is
    /// asked for nobody else meanwhile: there may be very many, and nothing in it for a stock server.
    pub(super) fn is_judged(&self) -> bool {
        self.speech == Speech::Unknown && self.judge_at.is_some()
    }

    /// When `Engine::service` has something to do for the peer.
    pub(super) fn deadline(&self, config: &Config) -> Option<Instant> {
        let mut deadline = Instant::MAX;
        let mut sooner = |at: Option<Instant>| deadline = deadline.min(at.unwrap_or(Instant::MAX));
        match &self.in_flight {
            Some(flight) => sooner(Some(flight.since + config.send_timeout)),
            None => {
                let open_at = self.backoff.until().unwrap_or(Instant::ZERO);
                sooner(self.flush_at.map(|at| at.max(open_at)));
                if self.watches() {
                    sooner(Some(self.watchdogs.deadline()));
                }
            }
        }
        if self.held_count > 0 {
            sooner(Some(self.watchdogs.promised_until(self.promise)));
        }
        sooner(self.enquiries.deadline());
        sooner(self.judge_at);
        sooner(self.refresh_at);
        (deadline < Instant::MAX).then_some(deadline)
    }

    /// Whether the watchdogs run: there is something to watch over, and no backoff in their place.
    pub(super) const fn watches(&self) -> bool {
        matches!(self.speech, Speech::Extended) && self.related() && self.backoff.failures() == 0
    }
}
