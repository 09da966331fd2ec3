//! Time that stands still until the test lets it pass, for one server or for several that share it.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant as RealInstant},
};

use parking_lot::Mutex;
use pilotlight::{
    core::time::{Instant, UnixMillis},
    server::{app::App, clock::Clock},
};
use tokio::runtime::{Builder, Handle};

/// The threads of a server's runtime.
const THREADS: usize = 2;

/// How long, of real time, servers may take to do what is due at one instant.
const PATIENCE: Duration = Duration::from_secs(30);

/// The time of the servers that were started on it. It moves in [`Self::pass`] and [`Self::pass_until`] only;
/// clones show the same.
#[derive(Clone)]
pub struct Time(Arc<Inner>);

struct Inner {
    clock: Clock,
    servers: Mutex<Vec<Weak<Life>>>,
}

impl Time {
    /// A time at which nothing happens yet.
    pub fn new() -> Self {
        let clock = Clock::driven(UnixMillis(1_800_000_000_000));
        Self(Arc::new(Inner { clock, servers: Mutex::default() }))
    }

    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// What it is now.
    pub fn now(&self) -> Instant {
        self.0.clock.now()
    }

    /// Lets `duration` pass. Everything that falls due happens at its very instant, with all that follows from
    /// it on any of the servers, and is done when this returns.
    ///
    /// So what was not seen by then does not come: nobody has to wait to be sure of it.
    #[track_caller]
    pub fn pass(&self, duration: Duration) {
        let end = self.now() + duration;
        self.settle();
        while self.0.clock.step(end) {
            self.settle();
        }
    }

    /// Lets time pass from one deadline to the next until `holds`, for `longest` at most; how long it took.
    #[track_caller]
    pub fn pass_until(&self, what: &str, longest: Duration, mut holds: impl FnMut() -> bool) -> Duration {
        let (begin, end) = (self.now(), self.now() + longest);
        self.settle();
        while !holds() {
            assert!(self.0.clock.step(end), "not within {longest:?}: {what}");
            self.settle();
        }
        self.now().since(begin)
    }

    /// Waits, while no time passes, until the servers have done everything that they could do by now: nobody is
    /// left to be woken, their threads have nothing to do, whoever holds a poll open waits in it again, and
    /// what they had to tell other servers was acknowledged or has failed.
    ///
    /// What a test asked for itself, in a thread of its own, it has to wait for itself.
    #[track_caller]
    pub fn settle(&self) {
        let begun = RealInstant::now();
        while let Err(why) = self.is_settled() {
            assert!(begun.elapsed() < PATIENCE, "the servers do not come to rest: {why}");
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    /// Whether there was a moment in this call at which nothing was left to do; else, what was.
    fn is_settled(&self) -> Result<(), String> {
        let servers: Vec<_> = self.0.servers.lock().iter().filter_map(Weak::upgrade).collect();
        let turns = || -> Vec<_> { servers.iter().map(|server| server.threads.turns()).collect() };
        let before = turns();
        for server in &servers {
            server.is_at_rest()?;
        }
        match self.0.clock.next_deadline() {
            Some(next) if next <= self.now() => return Err("somebody was woken and has not gone on".into()),
            _ => {}
        }
        // Nothing ran meanwhile: all of this held at once.
        if turns() == before { Ok(()) } else { Err("something happens all the time".into()) }
    }

    pub(super) fn add(&self, server: &Arc<Life>) {
        let mut servers = self.0.servers.lock();
        servers.retain(|server| server.strong_count() > 0);
        servers.push(Arc::downgrade(server));
    }
}

/// Where it shows whether a server has anything to do.
pub struct Life {
    pub app: Arc<App>,
    pub runtime: Handle,
    pub threads: Arc<Threads>,
    pub polls: Polls,
}

impl Life {
    fn is_at_rest(&self) -> Result<(), String> {
        let open = usize::try_from(self.app.metrics.open_polls.value()).expect("a few");
        let polls = self.polls.count();
        if open != polls {
            return Err(format!("{open} polls wait, not {polls}"));
        }
        if let Some(federation) = &self.app.federation {
            let profiles = federation.presence.profiles_on_the_way();
            if profiles > 0 {
                return Err(format!("{profiles} profiles are asked for"));
            }
            if federation.devices.is_spreading() || self.app.asking.on_the_way() > 0 {
                return Err("devices are told of, or asked for".to_owned());
            }
            for (name, peer) in federation.queue.peers() {
                if peer.in_flight || peer.waiting > 0 && peer.next_attempt.is_none() {
                    return Err(format!("something is on the way to {name}"));
                }
            }
        }
        if self.app.app_services.on_the_way() > 0 {
            return Err("an application service is being told something".to_owned());
        }
        if self.app.push.on_the_way() > 0 {
            return Err("a push gateway is being told something".to_owned());
        }
        if self.threads.are_parked() && self.runtime.metrics().global_queue_depth() == 0 {
            Ok(())
        } else {
            Err("its threads have something to do".to_owned())
        }
    }
}

/// Counts the threads of a runtime that have nothing to do.
#[derive(Default)]
pub struct Threads {
    parked: AtomicUsize,
    turns: AtomicU64,
}

impl Threads {
    /// A runtime, and what is known of its threads.
    pub fn runtime() -> (tokio::runtime::Runtime, Arc<Self>) {
        let threads = Arc::new(Self::default());
        let (parks, goes_on) = (Arc::clone(&threads), Arc::clone(&threads));
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .enable_all()
            .on_thread_park(move || {
                parks.parked.fetch_add(1, Ordering::SeqCst);
            })
            .on_thread_unpark(move || {
                goes_on.turns.fetch_add(1, Ordering::SeqCst);
                goes_on.parked.fetch_sub(1, Ordering::SeqCst);
            })
            .build()
            .expect("a runtime can be built");
        (runtime, threads)
    }

    fn are_parked(&self) -> bool {
        self.parked.load(Ordering::SeqCst) == THREADS
    }

    /// Grows whenever a thread goes on.
    fn turns(&self) -> u64 {
        self.turns.load(Ordering::SeqCst)
    }
}

/// The polls that a test holds open at a server: as many must be waiting there before time may pass.
#[derive(Clone, Default)]
pub struct Polls(Arc<AtomicUsize>);

/// One of them, until dropped.
pub struct Held(Polls);

impl Polls {
    pub fn hold(&self) -> Held {
        self.0.fetch_add(1, Ordering::SeqCst);
        Held(self.clone())
    }

    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        (self.0).0.fetch_sub(1, Ordering::SeqCst);
    }
}
