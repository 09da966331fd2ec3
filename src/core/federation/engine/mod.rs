//! One homeserver's presence towards all its peers.

mod local;
mod receive;
mod send;
mod slots;
mod timeout;
mod view;

pub use view::PeerView;

use std::collections::{BTreeMap, VecDeque};

use super::config::Config;
use super::digest::{Digest, Fingerprint};
use super::edu::Edu;
use super::peer::{Peer, Speech};
use super::remote::Remote;
use super::status::{Server, Status, User};
use crate::core::rng::Rng;
use crate::core::time::Instant;
use crate::core::timers::Timers;
use slots::Slots;

/// Decides what is pushed to, polled from and believed of other homeservers.
///
/// Inputs are `handle_*`; after each, drain [`Engine::poll_output`]. [`Engine::poll_timeout`] says when
/// to call [`Engine::handle_timeout`]. Nothing survives a restart, nor needs to: peers find out.
///
/// Memory grows with the users and servers that this server's own lists and rooms ever named since it
/// started, by at most `max_strangers` servers that only polled, and by at most `max_blind_polls`
/// fingerprints for each server; a peer's messages add nothing else.
#[derive(Clone, Debug)]
pub struct Engine {
    server: Server,
    epoch: u64,
    config: Config,
    rng: Rng,
    locals: Vec<Local>,
    /// For each of these, the slots of the remote users they observe, in order.
    observes: Vec<Vec<u32>>,
    remotes: Vec<Remote>,
    /// Where users are in the two above, each in that of their server.
    slots: Slots,
    peers: Vec<Peer>,
    peer_of: BTreeMap<Server, u32>,
    /// How many peers there are because of their polls alone, at first.
    strangers: usize,
    /// One for each peer that has something to wait for, and one for the batch of changes.
    timers: Timers<Timer>,
    /// The slots of the local users who changed since the batch was last handed to the peers, each once.
    changed: Vec<u32>,
    /// Empty but for its space: where the changes of a batch go.
    spread: Vec<(u32, u32)>,
    outputs: VecDeque<Output>,
}

/// What the engine wants done or known, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send this; then report [`Engine::handle_outcome`] with its number. At most one to a peer is
    /// outstanding.
    Send(Box<Delivery>),
    /// What is known of a remote user changed; `None`: unknown.
    RemoteChanged {
        /// Who.
        user: User,
        /// What they show.
        status: Option<Status>,
    },
}

/// One message to one peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// To whom.
    pub peer: Server,
    /// What is to be reported with the outcome.
    pub seq: u64,
    /// In which form to write it.
    pub speech: Speech,
    /// What to send.
    pub edu: Edu,
}

/// How the sending of a message went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The peer acknowledged it.
    Delivered,
    /// It may or may not have arrived.
    Failed,
}

/// Whether anybody on a peer may see a local user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// Somebody there is accepted on a list, or shares a room.
    Allowed,
    /// Nobody: the default.
    Denied,
}

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

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Unrelated => "the server has nobody to watch or to be watched",
            Self::NotItsUser(_) => "the server speaks for a user of another server",
            Self::NotOurUser(_) => "the server polls a user of another server",
            Self::TooManyPolls => "the server polls too many users it may not see",
        })
    }
}

impl std::error::Error for Refused {}

/// What the engine waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// The batch window has passed: the changes go to the peers.
    Batch,
    /// Something is due for the peer in this slot.
    Peer(u32),
}

/// One of this server's users: what is needed at each of their changes, in two lines of the processor's
/// cache.
#[derive(Clone, Debug)]
#[repr(align(128))]
struct Local {
    user: User,
    status: Status,
    fingerprint: Fingerprint,
    /// Listed in `Engine::changed`.
    changed: bool,
    /// Has a client that wants the list's presence (L8).
    attached: bool,
    /// Where their changes may have to go: the slots of peers, with the entry there.
    subs: Vec<(u32, u32)>,
}

const _: () = assert!(size_of::<Local>() == 128);

impl Engine {
    /// The engine of `server`. `epoch` must be greater than at every earlier start: the Unix time of
    /// the start, in milliseconds, will do (a clock that was set back costs a few minutes without news
    /// from this server); on the wire it must stay below 2^53. `seed` spreads timers.
    pub fn new(server: Server, epoch: u64, seed: u64, config: Config) -> Self {
        Self {
            server,
            epoch,
            config,
            rng: Rng::new(seed),
            locals: Vec::new(),
            observes: Vec::new(),
            remotes: Vec::new(),
            slots: Slots::default(),
            peers: Vec::new(),
            peer_of: BTreeMap::new(),
            strangers: 0,
            timers: Timers::new(),
            changed: Vec::new(),
            spread: Vec::new(),
            outputs: VecDeque::new(),
        }
    }

    /// What a remote user shows, as far as is known.
    pub fn status_of(&self, user: User) -> Option<Status> {
        self.remotes[self.find_remote(user)? as usize].status()
    }

    /// What `peer` is known to understand.
    pub fn speech_of(&self, peer: Server) -> Speech {
        self.peer_of.get(&peer).map_or(Speech::Unknown, |&slot| self.peers[slot as usize].speech)
    }

    /// The digests of what `peer` was told and of what it told.
    pub fn digests(&self, peer: Server) -> (Digest, Digest) {
        self.peer_of.get(&peer).map_or((Digest::EMPTY, Digest::EMPTY), |&slot| {
            let peer = &self.peers[slot as usize];
            (peer.given, peer.held)
        })
    }

    /// When the long watchdog over `peer` expires, if it runs.
    pub fn long_deadline(&self, peer: Server) -> Option<Instant> {
        let peer = &self.peers[*self.peer_of.get(&peer)? as usize];
        peer.watches().then(|| peer.watchdogs.long_deadline())
    }

    /// How many sends in a row to `peer` failed.
    pub fn failures(&self, peer: Server) -> u32 {
        self.peer_of.get(&peer).map_or(0, |&slot| self.peers[slot as usize].backoff.failures())
    }

    /// Takes the next output.
    pub fn poll_output(&mut self) -> Option<Output> {
        let output = self.outputs.pop_front();
        if self.outputs.is_empty() {
            // Begins again in the part of the memory that was used just now.
            self.outputs.clear();
        }
        output
    }

    /// When [`Engine::handle_timeout`] is to be called next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    fn local_slot(&mut self, user: User) -> u32 {
        assert_eq!(user.server, self.server, "the role passes only users of this server");
        if let Some(slot) = self.slots.find(user) {
            return slot;
        }
        let slot = u32::try_from(self.locals.len()).expect("fewer users than 2^32");
        let status = Status::default();
        let fingerprint = status.shown.fingerprint();
        self.locals.push(Local {
            user,
            status,
            fingerprint,
            changed: false,
            attached: false,
            subs: Vec::new(),
        });
        self.observes.push(Vec::new());
        self.slots.insert(user, slot);
        slot
    }

    fn peer_slot(&mut self, now: Instant, server: Server) -> u32 {
        assert_ne!(server, self.server, "a server is no peer of its own");
        if let Some(&slot) = self.peer_of.get(&server) {
            return slot;
        }
        let slot = u32::try_from(self.peers.len()).expect("fewer servers than 2^32");
        self.peers.push(Peer::new(now, server, &self.config, &mut self.rng));
        self.peer_of.insert(server, slot);
        slot
    }

    fn find_remote(&self, user: User) -> Option<u32> {
        if user.server == self.server { None } else { self.slots.find(user) }
    }

    fn remote_slot(&mut self, now: Instant, user: User) -> u32 {
        if let Some(slot) = self.find_remote(user) {
            return slot;
        }
        let peer = self.peer_slot(now, user.server);
        let slot = u32::try_from(self.remotes.len()).expect("fewer users than 2^32");
        self.remotes.push(Remote::new(user, peer));
        self.slots.insert(user, slot);
        self.peers[peer as usize].remotes.push(slot);
        slot
    }

    /// The entry of a local user towards a peer, known from both ends.
    fn sub_slot(&mut self, peer: u32, local: u32) -> u32 {
        let (sub, new) = self.peers[peer as usize].sub_for(local);
        if new {
            self.locals[local as usize].subs.push((peer, sub));
        }
        sub
    }

    /// Sees to it that the peer's timer is not late; that it is early does no harm, and moving it for
    /// every message would.
    fn rearm(&mut self, slot: u32) {
        if let Some(deadline) = self.peers[slot as usize].deadline(&self.config)
            && self.timers.deadline(Timer::Peer(slot)).is_none_or(|set| set > deadline)
        {
            self.timers.set(Timer::Peer(slot), deadline);
        }
    }
}
