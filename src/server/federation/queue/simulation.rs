//! The queue on virtual time, with peers that come and go, a network that loses and delays, and a server that is killed
//! at any moment: from a seed, so that a failure repeats.

use std::{collections::BTreeMap, sync::Arc};

use super::*;
use crate::core::testing::seeds;

const PEERS: u64 = 5;
const ROOMS: u64 = 4;
/// The last events that are replayed after a restart.
const REPLAYED: usize = 150;

/// What happens at some instant.
#[derive(Debug)]
enum Act {
    /// Some people talk.
    Talk,
    /// How far it is with everybody goes to the disk.
    Note,
    /// The server is killed, and starts again from what is on the disk.
    Kill,
    /// A peer goes away or comes back.
    Turn(u64),
    /// A request of a peer arrives.
    Hear(u64),
    /// A transaction arrives at its peer, and what becomes of it is known later.
    Arrive { run: u64, transaction: Transaction },
    /// A transaction ends.
    End { run: u64, transaction: Transaction, end: End },
    /// What a peer is owed was looked up.
    Found { run: u64, look: Look, fails: bool },
}

/// How a transaction ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum End {
    Acknowledged,
    Refused,
    Lost,
}

struct Event {
    room: u64,
    servers: Arc<BTreeMap<OwnedServerName, usize>>,
    /// The first peer, if it takes no transaction with it.
    refused_by: Option<OwnedServerName>,
}

impl Event {
    fn outgoing(&self, position: LogPosition) -> Outgoing {
        Outgoing { position, servers: Arc::clone(&self.servers), also: None, except: None }
    }
}

struct World {
    rng: Rng,
    now: Instant,
    queue: Queue,
    /// Counts the starts of the server: what an earlier one had under way ends with it.
    run: u64,
    log: BTreeMap<LogPosition, Event>,
    disk: Progress,
    acts: BTreeMap<(Instant, u64), Act>,
    count: u64,
    away: BTreeSet<u64>,
    in_flight: BTreeSet<OwnedServerName>,
    /// What each peer got.
    got: BTreeMap<OwnedServerName, BTreeSet<LogPosition>>,
    /// The events for each peer, by room.
    owed: BTreeMap<(OwnedServerName, u64), Vec<LogPosition>>,
    /// How many of these it got without a gap.
    complete: BTreeMap<(OwnedServerName, u64), usize>,
    /// Those who were ever left behind.
    behind: BTreeSet<OwnedServerName>,
    /// Events that a peer did not take.
    given_up: usize,
}

fn name(peer: u64) -> OwnedServerName {
    format!("peer{peer}").try_into().expect("a server name")
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn new_queue(seed: u64) -> Queue {
    Queue::new(&name(99), seed, (seconds(5), seconds(3_600)))
}

impl World {
    fn new(seed: u64) -> Self {
        let mut world = Self {
            rng: Rng::new(seed),
            now: Instant::from_millis(1_000_000),
            queue: new_queue(seed),
            run: 0,
            log: BTreeMap::new(),
            disk: Progress::default(),
            acts: BTreeMap::new(),
            count: 0,
            away: BTreeSet::new(),
            in_flight: BTreeSet::new(),
            got: BTreeMap::new(),
            owed: BTreeMap::new(),
            complete: BTreeMap::new(),
            behind: BTreeSet::new(),
            given_up: 0,
        };
        world.plan(seconds(1), Act::Talk);
        world.plan(seconds(1), Act::Note);
        world.plan(seconds(100), Act::Kill);
        (0..PEERS).for_each(|peer| world.plan(seconds(50 + peer), Act::Turn(peer)));
        world
    }

    fn plan(&mut self, after: Duration, act: Act) {
        self.count += 1;
        self.acts.insert((self.now + after, self.count), act);
    }

    /// Lets time pass up to `end`; afterwards nobody talks, goes or is killed if it is `quiet`.
    fn run_until(&mut self, end: Instant, quiet: bool) {
        loop {
            self.drain();
            let pause = self.queue.next(self.now).expect_err("was drained");
            let next = self.acts.first_key_value().map(|((at, _), _)| *at);
            let Some(at) = [pause, next].into_iter().flatten().min().filter(|at| *at <= end) else { break };
            self.now = at.max(self.now);
            while let Some(entry) = self.acts.first_entry().filter(|entry| entry.key().0 <= self.now) {
                let act = entry.remove();
                self.act(act, quiet);
            }
        }
        self.now = end;
    }

    fn act(&mut self, act: Act, quiet: bool) {
        match act {
            Act::Talk | Act::Kill | Act::Turn(_) if quiet => {}
            Act::Talk => {
                for _ in 0..if self.rng.chance(1, 20) { self.rng.range(1..400) } else { 1 } {
                    self.talk();
                }
                let pause = self.rng.range(1..20);
                self.plan(seconds(pause), Act::Talk);
            }
            Act::Note => {
                if let Some(step) = self.queue.progress() {
                    self.disk.follow(step.clone());
                    self.queue.handle_noted(step);
                }
                self.check_disk();
                self.plan(seconds(1), Act::Note);
            }
            Act::Kill => {
                self.restart();
                let pause = self.rng.range(10..2_000);
                self.plan(seconds(pause), Act::Kill);
            }
            Act::Turn(peer) => {
                let is_back = self.away.remove(&peer);
                if is_back {
                    self.plan(seconds(1), Act::Hear(peer));
                } else {
                    self.away.insert(peer);
                }
                // Most go for a moment, some for hours.
                let longest = if self.rng.chance(1, 3) { 10_000 } else { 100 };
                let pause = self.rng.range(1..longest);
                self.plan(seconds(pause), Act::Turn(peer));
            }
            Act::Hear(peer) => self.queue.handle_traffic(self.now, &name(peer)),
            Act::Arrive { run, transaction } => {
                let peer = (0..PEERS).find(|peer| name(*peer) == transaction.destination).expect("a peer");
                let arrives = !self.away.contains(&peer) && !self.rng.chance(1, 10);
                let to = Some(&transaction.destination);
                let is_refused = transaction.events.iter().any(|at| self.log[at].refused_by.as_ref() == to);
                if arrives && !is_refused {
                    self.receive(&transaction);
                }
                let end = match arrives && !self.rng.chance(1, 10) {
                    true if is_refused => End::Refused,
                    true => End::Acknowledged,
                    false => End::Lost,
                };
                let after = if end == End::Lost { 30_000 } else { self.rng.range(1..3_000) };
                self.plan(Duration::from_millis(after), Act::End { run, transaction, end });
            }
            Act::End { run, transaction, end } if run == self.run => {
                assert!(self.in_flight.remove(&transaction.destination));
                let things = transaction.events.len();
                match end {
                    End::Acknowledged => drop(self.queue.handle_delivered(&transaction, 100)),
                    End::Lost => drop(self.queue.handle_failed(self.now, &transaction, "lost".to_owned())),
                    End::Refused => {
                        let error = "no good".to_owned();
                        self.given_up += usize::from(self.queue.gives_up(&transaction, things));
                        self.queue.handle_refused(self.now, &transaction, things, error);
                    }
                }
            }
            Act::Found { run, look, fails } if run == self.run => {
                assert!(self.in_flight.remove(&look.destination));
                let found = if fails { Err("the disk".to_owned()) } else { Ok(self.newest(&look)) };
                self.queue.handle_found(self.now, &look, found);
            }
            Act::End { .. } | Act::Found { .. } => {}
        }
    }

    fn talk(&mut self) {
        let room = self.rng.range(0..ROOMS);
        let last = self.log.last_key_value().map_or(0, |(position, _)| position.get());
        let position = LogPosition::new(last + self.rng.range(1..4));
        // Who is in a room differs from room to room, and changes a little.
        let members = (0..PEERS).filter(|peer| !(peer + room).is_multiple_of(3) || self.rng.chance(1, 50));
        let servers = Arc::new(members.map(|peer| (name(peer), 1)).collect::<BTreeMap<_, _>>());
        let refused_by = Some(name(0)).filter(|_| self.rng.chance(1, 200));
        for server in servers.keys().filter(|server| refused_by.as_ref() != Some(*server)) {
            self.owed.entry((server.clone(), room)).or_default().push(position);
        }
        let event = Event { room, servers, refused_by };
        self.queue.append(event.outgoing(position));
        self.log.insert(position, event);
    }

    /// Takes everything out of the queue that is due.
    fn drain(&mut self) {
        while let Ok(due) = self.queue.next(self.now) {
            let (run, delay) = (self.run, Duration::from_millis(self.rng.range(1..2_000)));
            match due {
                Due::Send(transaction) => {
                    assert!(self.in_flight.insert(transaction.destination.clone()), "one at a time");
                    assert!(transaction.events.len() <= MAX_PDUS);
                    self.plan(delay, Act::Arrive { run, transaction });
                }
                Due::Look(look) => {
                    assert!(self.in_flight.insert(look.destination.clone()), "one at a time");
                    let fails = self.rng.chance(1, 10);
                    self.plan(delay, Act::Found { run, look, fails });
                }
            }
        }
        for (server, peer) in self.queue.peers() {
            assert!(peer.waiting_events <= owed::MAX_EVENTS + MAX_PDUS, "{peer:?}");
            if peer.is_behind {
                self.behind.insert(server);
            }
        }
    }

    fn receive(&mut self, transaction: &Transaction) {
        let peer = &transaction.destination;
        for position in &transaction.events {
            let event = &self.log[position];
            assert!(event.servers.contains_key(peer), "{peer} is not told of others' rooms");
            let room = event.room;
            if !self.got.entry(peer.clone()).or_default().insert(*position) {
                continue;
            }
            let owed = &self.owed[&(peer.clone(), room)];
            let complete = self.complete.entry((peer.clone(), room)).or_default();
            if self.behind.contains(peer) {
                continue;
            }
            assert_eq!(owed[*complete], *position, "in order, and all of a room");
            *complete += 1;
        }
    }

    fn newest(&self, look: &Look) -> Vec<LogPosition> {
        let of_peer = self.owed.iter().filter(|((peer, _), _)| *peer == look.destination);
        let newest = of_peer.filter_map(|(_, owed)| owed.iter().rev().find(|at| **at <= look.upto));
        let mut found: Vec<_> = newest.copied().filter(|at| *at > look.since).collect();
        found.sort_unstable();
        found
    }

    fn restart(&mut self) {
        self.run += 1;
        self.in_flight.clear();
        self.queue = new_queue(self.run);
        let last = self.log.keys().rev().nth(REPLAYED - 1).map_or(LogPosition::START, |at| at.before());
        let known_after = last.min(self.disk.upto);
        let events = self.log.range(known_after.next()..);
        self.queue.resume(self.disk.clone(), known_after, events.map(|(at, event)| event.outgoing(*at)));
    }

    /// What the disk says that a peer has, it has, or something newer of the same room.
    fn check_disk(&self) {
        for peer in (0..PEERS).map(name) {
            let upto = self.disk.lagging.get(&peer).copied().unwrap_or(self.disk.upto);
            self.check_got(&peer, upto);
        }
    }

    fn check_got(&self, peer: &ServerName, upto: LogPosition) {
        let nothing = BTreeSet::new();
        let got = self.got.get(peer).unwrap_or(&nothing);
        for ((_, room), owed) in self.owed.iter().filter(|((owed_to, _), _)| owed_to == peer) {
            let count = owed.partition_point(|position| *position <= upto);
            if !self.behind.contains(peer) {
                let complete = self.complete.get(&(peer.to_owned(), *room)).copied().unwrap_or_default();
                assert!(complete >= count, "{peer} has {complete} of the {count} in {room}");
            } else if let Some(newest) = owed[..count].last() {
                let mut later = got.range(newest..);
                assert!(later.any(|got| self.log[got].room == *room), "{peer} has the newest of {room}");
            }
        }
    }
}

#[test]
fn every_event_arrives_in_the_order_of_its_room_through_loss_delay_outages_refusals_and_kills() {
    let (mut left_behind, mut given_up, mut all) = (0, 0, 0);
    for seed in 0..seeds(6) {
        let mut world = World::new(seed);
        let end = world.now + seconds(6_000);
        world.run_until(end, false);
        // Everybody comes back, is heard of from time to time, and nobody talks any longer.
        world.away.clear();
        for minute in 0..90 {
            (0..PEERS).for_each(|peer| world.plan(seconds(minute * 60), Act::Hear(peer)));
        }
        let end = world.now + seconds(2 * 3_600);
        world.run_until(end, true);
        for peer in (0..PEERS).map(name) {
            world.check_got(&peer, LogPosition::END);
        }
        let waits = world.queue.peers().into_values().find(|peer| peer.waiting > 0 || peer.is_behind);
        assert_eq!((waits, world.queue.lock().in_flight), (None, 0), "seed {seed}");
        assert_eq!(world.disk.lagging, BTreeMap::new());
        assert_eq!(world.disk.upto, *world.log.last_key_value().expect("people talked").0);
        left_behind += world.behind.len();
        given_up += world.given_up;
        all += PEERS as usize;
    }
    assert!(given_up > 0, "some refused something");
    assert!(
        left_behind > 0 && left_behind < all,
        "some were far behind, and some were not: {left_behind} of {all}"
    );
}
