//! All that the engine keeps: users here and elsewhere, peers, timers, and where each of them is found.

use std::collections::{BTreeMap, VecDeque};

use super::output::Output;
use super::slots::Slots;
use super::ties::{OfLocal, Room, Ties};
use crate::core::federation::config::Config;
use crate::core::federation::digest::{Digest, Fingerprint};
use crate::core::federation::peer::{Peer, Speech};
use crate::core::federation::remote::Remote;
use crate::core::federation::status::{Server, Status, User};
use crate::core::rng::Rng;
use crate::core::time::Instant;
use crate::core::timers::Timers;

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
    pub(super) server: Server,
    pub(super) epoch: u64,
    pub(super) config: Config,
    pub(super) rng: Rng,
    pub(super) locals: Vec<Local>,
    /// For each of these, the slots of the remote users they observe, in order.
    pub(super) observes: Vec<Vec<u32>>,
    /// For each of these, what rooms mean to them.
    pub(super) of_locals: Vec<OfLocal>,
    pub(super) remotes: Vec<Remote>,
    /// The rooms that tie users here to those of others.
    pub(super) rooms: BTreeMap<Room, Ties>,
    /// In how many of them remote users are, by slot.
    pub(super) rooms_of_remotes: BTreeMap<u32, u32>,
    /// Where users are in the two above, each in that of their server.
    pub(super) slots: Slots,
    pub(super) peers: Vec<Peer>,
    pub(super) peer_of: BTreeMap<Server, u32>,
    /// How many peers there are because of their polls alone, at first.
    pub(super) strangers: usize,
    /// One for each peer that has something to wait for, and one for the batch of changes.
    pub(super) timers: Timers<Timer>,
    /// The slots of the local users who changed since the batch was last handed to the peers, each once.
    pub(super) changed: Vec<u32>,
    /// Those of them who changed their name or picture: when first since then, and when last.
    pub(super) renamed: BTreeMap<u32, (Instant, Instant)>,
    /// Empty but for its space: where the changes of a batch go.
    pub(super) spread: Vec<(u32, u32)>,
    pub(super) outputs: VecDeque<Output>,
}

/// What the engine waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// The batch window has passed: the changes go to the peers.
    Batch,
    /// Something is due for the peer in this slot.
    Peer(u32),
}

/// One of this server's users: what is needed at each of their changes, in two lines of the processor's
/// cache.
#[derive(Clone, Debug)]
#[repr(align(128))]
pub(super) struct Local {
    pub(super) user: User,
    pub(super) status: Status,
    pub(super) fingerprint: Fingerprint,
    /// Listed in `Engine::changed`.
    pub(super) changed: bool,
    /// Has a client that wants the list's presence (L8).
    pub(super) attached: bool,
    /// Where their changes may have to go: the slots of peers, with the entry there.
    pub(super) subs: Vec<(u32, u32)>,
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
            of_locals: Vec::new(),
            remotes: Vec::new(),
            rooms: BTreeMap::new(),
            rooms_of_remotes: BTreeMap::new(),
            slots: Slots::default(),
            peers: Vec::new(),
            peer_of: BTreeMap::new(),
            strangers: 0,
            timers: Timers::new(),
            changed: Vec::new(),
            renamed: BTreeMap::new(),
            spread: Vec::new(),
            outputs: VecDeque::new(),
        }
    }

    /// What a remote user shows, as far as is known.
    pub fn status_of(&self, user: User) -> Option<Status> {
        let index = self.find_remote(user)?;
        let remote = &self.remotes[index as usize];
        let told = || self.peers[remote.peer as usize].enquiries.told(index).cloned();
        remote.status().or_else(told)
    }

    /// What `peer` is known to understand.
    pub fn speech_of(&self, peer: Server) -> Speech {
        self.peer_of.get(&peer).map_or(Speech::Unknown, |&slot| self.peers[slot as usize].speech)
    }

    /// The digests of what `peer` was told and of what it told.
    pub fn digests(&self, peer: Server) -> (Digest, Digest) {
        self.peer_of.get(&peer).map_or((Digest::EMPTY, Digest::EMPTY), |&slot| {
            let peer = &self.peers[slot as usize];
            (peer.compared(&peer.given), peer.compared(&peer.held))
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

    pub(super) fn local_slot(&mut self, user: User) -> u32 {
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
        self.of_locals.push(OfLocal::default());
        self.slots.insert(user, slot);
        slot
    }

    pub(super) fn peer_slot(&mut self, now: Instant, server: Server) -> u32 {
        assert_ne!(server, self.server, "a server is no peer of its own");
        if let Some(&slot) = self.peer_of.get(&server) {
            return slot;
        }
        let slot = u32::try_from(self.peers.len()).expect("fewer servers than 2^32");
        self.peers.push(Peer::new(now, server, &self.config, &mut self.rng));
        self.peer_of.insert(server, slot);
        slot
    }

    pub(super) fn find_remote(&self, user: User) -> Option<u32> {
        if user.server == self.server { None } else { self.slots.find(user) }
    }

    pub(super) fn remote_slot(&mut self, now: Instant, user: User) -> u32 {
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
    pub(super) fn sub_slot(&mut self, peer: u32, local: u32) -> u32 {
        let (sub, new) = self.peers[peer as usize].sub_for(local);
        if new {
            self.locals[local as usize].subs.push((peer, sub));
        }
        sub
    }

    /// Sees to it that the peer's timer is not late; that it is early does no harm, and moving it for
    /// every message would.
    pub(super) fn rearm(&mut self, slot: u32) {
        if let Some(deadline) = self.peers[slot as usize].deadline(&self.config)
            && self.timers.deadline(Timer::Peer(slot)).is_none_or(|set| set > deadline)
        {
            self.timers.set(Timer::Peer(slot), deadline);
        }
    }
}
