//! What all readers have seen together: they note it, whoever caused it waits for it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::{sync::Notify, time::timeout};

use crate::Error;

/// Shared by the readers and by whoever measures.
pub struct Watch {
    began: Instant,
    /// Bytes received.
    traffic: AtomicU64,
    /// Presence events received.
    presences: AtomicU64,
    /// When the last reader asked to be told, and when the last one had been told that all others are online.
    arrived_ns: AtomicU64,
    informed_ns: AtomicU64,
    /// Readers who have not been.
    uninformed: AtomicUsize,
    wanted: Mutex<Wanted>,
    /// Anything at all was read, so often.
    reads: AtomicU64,
    failure: Mutex<Option<String>>,
    news: Notify,
}

/// What is waited for.
struct Wanted {
    tag: String,
    /// Who has not seen it.
    waiting: Vec<bool>,
    left: usize,
    last: Instant,
}

/// One reader's part of it.
pub struct Observer {
    number: usize,
    watch: Arc<Watch>,
    /// By their numbers, those who were seen to be online.
    online: Vec<bool>,
    offline: usize,
}

impl Watch {
    /// For so many readers.
    pub fn of(readers: usize) -> Arc<Self> {
        let began = Instant::now();
        let wanted = Wanted { tag: String::new(), waiting: vec![false; readers], left: 0, last: began };
        Arc::new(Self {
            began,
            traffic: AtomicU64::new(0),
            presences: AtomicU64::new(0),
            arrived_ns: AtomicU64::new(0),
            informed_ns: AtomicU64::new(0),
            uninformed: AtomicUsize::new(readers),
            wanted: Mutex::new(wanted),
            reads: AtomicU64::new(0),
            failure: Mutex::default(),
            news: Notify::new(),
        })
    }

    /// The part of the reader `number`.
    pub fn observer(self: &Arc<Self>, number: usize) -> Observer {
        let readers = self.wanted.lock().waiting.len();
        Observer { number, watch: Arc::clone(self), online: vec![false; readers], offline: readers - 1 }
    }

    /// Bytes received so far.
    pub fn traffic(&self) -> u64 {
        self.traffic.load(Ordering::Relaxed)
    }

    /// Presence events received so far.
    pub fn presences(&self) -> u64 {
        self.presences.load(Ordering::Relaxed)
    }

    /// How long after the last reader had come the last one knew that all others are online, if they all do.
    pub fn informed_after(&self) -> Option<Duration> {
        let (arrived, informed) =
            (self.arrived_ns.load(Ordering::Relaxed), self.informed_ns.load(Ordering::Relaxed));
        (self.uninformed.load(Ordering::Acquire) == 0)
            .then(|| Duration::from_nanos(informed.saturating_sub(arrived)))
    }

    /// Waits until nothing was read for `quiet`.
    pub async fn settle(&self, quiet: Duration) -> Result<(), Error> {
        loop {
            let before = self.reads.load(Ordering::Relaxed);
            tokio::time::sleep(quiet).await;
            self.check()?;
            if self.reads.load(Ordering::Relaxed) == before {
                return Ok(());
            }
        }
    }

    /// From here on everybody but `actor` is to see `tag`.
    pub fn want(&self, tag: &str, actor: usize) {
        let mut wanted = self.wanted.lock();
        tag.clone_into(&mut wanted.tag);
        wanted.waiting.fill(true);
        wanted.waiting[actor] = false;
        wanted.left = wanted.waiting.len() - 1;
    }

    /// When the last of them had seen it.
    pub async fn last(&self, patience: Duration) -> Result<Instant, Error> {
        let seen = timeout(patience, async {
            loop {
                self.check()?;
                {
                    let wanted = self.wanted.lock();
                    if wanted.left == 0 {
                        return Ok(wanted.last);
                    }
                }
                self.news.notified().await;
            }
        });
        seen.await.unwrap_or_else(|_| {
            let wanted = self.wanted.lock();
            Err(format!("{}: {} users never saw it", wanted.tag, wanted.left).into())
        })
    }

    fn check(&self) -> Result<(), Error> {
        match &*self.failure.lock() {
            Some(failure) => Err(failure.clone().into()),
            None => Ok(()),
        }
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

impl Observer {
    /// The reader asked to be told.
    pub fn arrived(&self) {
        self.watch.arrived_ns.fetch_max(self.watch.now_ns(), Ordering::Relaxed);
    }

    /// The reader reads no longer.
    pub fn failed(&self, error: &Error) {
        *self.watch.failure.lock() = Some(format!("reader {}: {error}", self.number));
        self.watch.news.notify_one();
    }

    /// So many bytes came.
    pub fn read(&self, bytes: usize) {
        self.watch.traffic.fetch_add(bytes as u64, Ordering::Relaxed);
        self.watch.reads.fetch_add(1, Ordering::Relaxed);
    }

    /// The status message or the text of a message, as it was read at `at`.
    pub fn saw(&self, tag: &str, at: Instant) {
        let mut wanted = self.watch.wanted.lock();
        if wanted.waiting[self.number] && wanted.tag == tag {
            wanted.waiting[self.number] = false;
            wanted.left -= 1;
            wanted.last = at;
            if wanted.left == 0 {
                self.watch.news.notify_one();
            }
        }
    }

    /// The presence of `user` was told.
    pub fn presence(&mut self, user: &str, is_online: bool) {
        self.watch.presences.fetch_add(1, Ordering::Relaxed);
        if self.offline == 0 || !is_online {
            return;
        }
        let number = user.strip_prefix("@user").and_then(|rest| rest.split_once(':'));
        let Some(Ok(number)) = number.map(|(number, _)| number.parse::<usize>()) else { return };
        if number == self.number || number >= self.online.len() || self.online[number] {
            return;
        }
        self.online[number] = true;
        self.offline -= 1;
        if self.offline == 0 {
            self.watch.informed_ns.fetch_max(self.watch.now_ns(), Ordering::Relaxed);
            self.watch.uninformed.fetch_sub(1, Ordering::Release);
        }
    }
}
