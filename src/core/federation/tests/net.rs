//! Several engines, a network between them that can be made bad, and a log of what was sent.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::core::federation::{
    Availability, Config, Delivery, Edu, Engine, Fingerprint, Outcome, Output, Permission, Refused, Server,
    Status, User,
};
use crate::core::rng::Rng;
use crate::core::time::{Instant, millis};

/// How bad the network is; chances are of a thousand.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Weather {
    pub(super) loss: u64,
    pub(super) duplication: u64,
    /// Messages that arrive long after they were given up.
    pub(super) lateness: u64,
    pub(super) max_latency_ms: u64,
}

/// A server's clock: it began at another time and runs a little fast.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Clock {
    pub(super) offset_ms: u64,
    pub(super) fast_per_mille: u64,
}

impl Clock {
    fn local(self, at: Instant) -> Instant {
        Instant::from_millis(self.offset_ms + at.as_millis() * (1_000 + self.fast_per_mille) / 1_000)
    }

    fn global(self, at: Instant) -> Instant {
        let since = at.as_millis().saturating_sub(self.offset_ms);
        Instant::from_millis((since * 1_000).div_ceil(1_000 + self.fast_per_mille))
    }
}

/// One message as it was sent.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) at: Instant,
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) edu: Edu,
}

enum Transit {
    Edu { from: usize, to: usize, edu: Box<Edu>, seq: u64, again: bool },
    Outcome { from: usize, to: usize, seq: u64, outcome: Outcome, incarnation: u64 },
}

pub(super) struct Net {
    pub(super) now: Instant,
    pub(super) engines: Vec<Option<Engine>>,
    pub(super) clocks: Vec<Clock>,
    pub(super) config: Config,
    pub(super) weather: Weather,
    /// Directed: requests of the first to the second do not get through.
    pub(super) cuts: BTreeSet<(usize, usize)>,
    /// Directed: requests of the first to the second get through, and their answers come back as failures.
    pub(super) muted: BTreeSet<(usize, usize)>,
    /// Servers that acknowledge everything and understand nothing but pushes.
    pub(super) stock: BTreeSet<usize>,
    pub(super) sent: Vec<Sent>,
    pub(super) failed: u64,
    pub(super) repeated: u64,
    pub(super) changes: Vec<(usize, User, Option<Status>)>,
    incarnations: Vec<u64>,
    transit: BTreeMap<(Instant, u64), Transit>,
    order: u64,
    rng: Rng,
}

/// User `n` of server `server`.
pub(super) fn user(server: usize, n: u32) -> User {
    let id = format!("@u{n}:s{server}");
    let server = u32::try_from(server).expect("small");
    User { index: server * 1_000 + n, server: Server(server), fingerprint: Fingerprint::of(id.as_bytes()) }
}

pub(super) fn server(index: usize) -> Server {
    Server(u32::try_from(index).expect("small"))
}

fn index(server: Server) -> usize {
    server.0 as usize
}

pub(super) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(super) fn online() -> Status {
    Availability::Online.into()
}

impl Net {
    pub(super) fn new(servers: usize, seed: u64) -> Self {
        let mut net = Self {
            now: Instant::from_millis(1_000_000),
            engines: vec![None; servers],
            clocks: vec![Clock::default(); servers],
            config: Config::default(),
            weather: Weather { max_latency_ms: 50, ..Weather::default() },
            cuts: BTreeSet::new(),
            muted: BTreeSet::new(),
            stock: BTreeSet::new(),
            sent: Vec::new(),
            failed: 0,
            repeated: 0,
            changes: Vec::new(),
            incarnations: vec![0; servers],
            transit: BTreeMap::new(),
            order: 0,
            rng: Rng::new(seed),
        };
        (0..servers).for_each(|server| net.start(server));
        net
    }

    pub(super) fn start(&mut self, at: usize) {
        self.incarnations[at] += 1;
        let epoch = self.now.as_millis() + self.incarnations[at];
        let seed = self.rng.next_u64();
        self.engines[at] = Some(Engine::new(server(at), epoch, seed, self.config.clone()));
    }

    pub(super) fn crash(&mut self, at: usize) {
        self.engines[at] = None;
    }

    /// Gives an engine that is up an input, with the time on its clock.
    pub(super) fn tell(&mut self, at: usize, input: impl FnOnce(&mut Engine, Instant)) {
        let now = self.clocks[at].local(self.now);
        if let Some(engine) = &mut self.engines[at] {
            input(engine, now);
        }
        self.drain(at);
    }

    /// Both see one another.
    pub(super) fn befriend(&mut self, one: User, other: User) {
        for (observer, observed) in [(one, other), (other, one)] {
            self.tell(index(observer.server), |e, now| e.handle_interest_added(now, observer, observed));
            self.tell(index(observed.server), |e, now| {
                e.handle_permission(now, observer.server, observed, Permission::Allowed);
            });
        }
    }

    /// The user appears: with a client, and online.
    pub(super) fn appear(&mut self, who: User) {
        self.tell(index(who.server), |e, now| {
            e.handle_local_change(now, who, online());
            e.handle_client_attached(now, who);
        });
    }

    pub(super) fn change(&mut self, who: User, availability: Availability) {
        self.tell(index(who.server), |e, now| e.handle_local_change(now, who, availability.into()));
    }

    /// What `at` holds of `who`.
    pub(super) fn seen(&self, at: usize, who: User) -> Option<Availability> {
        self.engines[at].as_ref()?.status_of(who).map(|status| status.shown.availability)
    }

    /// Lets time pass.
    pub(super) fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            let arrival = self.transit.first_key_value().map_or(Instant::MAX, |(&(at, _), _)| at);
            let timeout = |at: usize| {
                let local = self.engines[at].as_ref().and_then(Engine::poll_timeout)?;
                Some((self.clocks[at].global(local).max(self.now), at))
            };
            let timeout = (0..self.engines.len()).filter_map(timeout).min();
            match timeout {
                Some((at, who)) if at < arrival && at <= end => {
                    self.now = at;
                    self.tell(who, |engine, now| engine.handle_timeout(now));
                }
                _ if arrival <= end => {
                    let ((at, _), transit) = self.transit.pop_first().expect("there is one");
                    self.now = at;
                    self.arrive(transit);
                }
                _ => break,
            }
        }
        self.now = end;
    }

    /// The messages sent from one to another since `mark`.
    pub(super) fn sent_since(&self, mark: usize, from: usize, to: usize) -> Vec<&Sent> {
        self.sent[mark..].iter().filter(|sent| (sent.from, sent.to) == (from, to)).collect()
    }

    fn drain(&mut self, at: usize) {
        while let Some(output) = self.engines[at].as_mut().and_then(Engine::poll_output) {
            match output {
                Output::RemoteChanged { user, status } => self.changes.push((at, user, status)),
                Output::Send(delivery) => {
                    let Delivery { peer, seq, edu, .. } = *delivery;
                    self.dispatch(at, index(peer), seq, edu);
                }
            }
        }
    }

    fn dispatch(&mut self, from: usize, to: usize, seq: u64, edu: Edu) {
        self.sent.push(Sent { at: self.now, from, to, edu: edu.clone() });
        let edu = Box::new(edu);
        let lost = self.cuts.contains(&(from, to)) || self.rng.chance(self.weather.loss, 1_000);
        let late = self.rng.chance(self.weather.lateness, 1_000);
        let latency = self.rng.range(1..self.weather.max_latency_ms + 1);
        if lost || late || self.engines[to].is_none() {
            self.put(10_000, self.outcome(from, to, seq, Outcome::Failed));
            self.failed += 1;
        }
        if late {
            let after = self.rng.range(5_000..90_000);
            self.put(after, Transit::Edu { from, to, edu, seq, again: true });
        } else if !lost {
            if self.rng.chance(self.weather.duplication, 1_000) {
                let after = self.rng.range(1..60_000);
                self.put(after, Transit::Edu { from, to, edu: edu.clone(), seq, again: true });
                self.repeated += 1;
            }
            self.put(latency, Transit::Edu { from, to, edu, seq, again: false });
        }
    }

    fn outcome(&self, from: usize, to: usize, seq: u64, outcome: Outcome) -> Transit {
        Transit::Outcome { from, to, seq, outcome, incarnation: self.incarnations[from] }
    }

    fn arrive(&mut self, transit: Transit) {
        match transit {
            Transit::Edu { from, to, edu, seq, again } => {
                let up = self.engines[to].is_some();
                if up && !self.stock.contains(&to) {
                    self.tell(to, |engine, now| {
                        let result = engine.handle_edu(now, server(from), *edu);
                        assert!(
                            matches!(result, Ok(()) | Err(Refused::Unrelated)),
                            "peers behave: {result:?}"
                        );
                    });
                }
                if !again {
                    let acknowledged = up && !self.rng.chance(self.weather.loss, 1_000);
                    let (after, outcome) = match (acknowledged, self.muted.contains(&(from, to))) {
                        (true, false) => (20, Outcome::Delivered),
                        (_, true) => (1, Outcome::Failed),
                        (false, false) => (10_000, Outcome::Failed),
                    };
                    self.failed += u64::from(outcome == Outcome::Failed);
                    self.put(after, self.outcome(from, to, seq, outcome));
                }
            }
            Transit::Outcome { from, to, seq, outcome, incarnation } => {
                if self.incarnations[from] == incarnation {
                    self.tell(from, |engine, now| engine.handle_outcome(now, server(to), seq, outcome));
                }
            }
        }
    }

    fn put(&mut self, after_ms: u64, transit: Transit) {
        self.order += 1;
        self.transit.insert((self.now + Duration::from_millis(after_ms), self.order), transit);
    }
}

/// Seconds between two instants.
pub(super) fn between(earlier: Instant, later: Instant) -> u64 {
    millis(later.since(earlier)) / 1_000
}
