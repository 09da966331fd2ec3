//! The time, handed to whoever needs it: the system's, or one that a test drives.
//!
//! There are two, and they part when the system's clock is set: instants, by which everything waits and which never
//! run backwards, and the time of day, which other people's clocks show and which is told to them.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::core::time::{Instant, UnixMillis, millis};

/// The longest sleep on the system's clock. While the machine sleeps its timers stand still, so one that waits long
/// looks again from time to time how late it is.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// A clock. Clones show the same time.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Kind>);

#[derive(Debug)]
enum Kind {
    /// Since when it runs, by [`since_boot`], and what the time of day was then.
    System {
        started: Duration,
        unix: UnixMillis,
    },
    Driven(Driven),
}

#[derive(Debug)]
struct Driven {
    now: AtomicU64,
    /// By how many milliseconds the time of day is ahead of the instants.
    ahead: AtomicI64,
    moved: Notify,
    /// How many wait for each instant: from when they begin to wait until they go on, or give up.
    sleepers: Mutex<BTreeMap<Instant, usize>>,
}

/// Somebody who waits for an instant of a driven clock, until dropped.
struct Sleeper<'a> {
    clock: &'a Driven,
    deadline: Instant,
}

impl Clock {
    /// The system's clock. Its instants begin at the time of day of this moment.
    pub fn system() -> Self {
        Self(Arc::new(Kind::System { started: since_boot(), unix: UnixMillis(unix_ms()) }))
    }

    /// A clock that begins at `unix` and stands still until [`Self::advance`] is called.
    pub fn driven(unix: UnixMillis) -> Self {
        let (now, moved, sleepers) = (AtomicU64::new(unix.0), Notify::new(), Mutex::default());
        Self(Arc::new(Kind::Driven(Driven { now, ahead: AtomicI64::new(0), moved, sleepers })))
    }

    /// The instant, as the core counts: the time of day when the server started, and what has passed since,
    /// however the system's clock was set meanwhile.
    pub fn now(&self) -> Instant {
        match &*self.0 {
            Kind::System { started, unix } => {
                Instant::from_unix(*unix) + since_boot().saturating_sub(*started)
            }
            Kind::Driven(driven) => driven.now(),
        }
    }

    /// The time of day. It follows the system's clock, also when that is set, and then can run backwards.
    pub fn unix(&self) -> UnixMillis {
        match &*self.0 {
            Kind::System { .. } => UnixMillis(unix_ms()),
            Kind::Driven(driven) => UnixMillis(
                driven.now().as_millis().saturating_add_signed(driven.ahead.load(Ordering::Acquire)),
            ),
        }
    }

    /// [`Self::unix`] in milliseconds.
    pub fn unix_ms(&self) -> u64 {
        self.unix().0
    }

    /// The time of day of an instant of this run of the server, as the clock is set by now.
    pub fn unix_at(&self, instant: Instant) -> UnixMillis {
        let (unix, now) = (self.unix(), self.now());
        UnixMillis((unix.0 + instant.as_millis()).saturating_sub(now.as_millis()))
    }

    /// Waits until `deadline` has come.
    pub async fn sleep_until(&self, deadline: Instant) {
        match &*self.0 {
            Kind::System { .. } => loop {
                let left = deadline.since(self.now());
                if left.is_zero() {
                    return;
                }
                tokio::time::sleep(left.min(LONGEST_SLEEP)).await;
            },
            Kind::Driven(driven) => driven.sleep_until(deadline).await,
        }
    }

    /// Waits for `duration`.
    pub async fn sleep(&self, duration: Duration) {
        self.sleep_until(self.now() + duration).await;
    }

    /// Lets a driven clock go on by `duration`; whoever waits for an instant that has come by then goes on.
    ///
    /// # Panics
    /// When it is the system's clock.
    pub fn advance(&self, duration: Duration) {
        let driven = self.driven_only();
        driven.now.fetch_add(millis(duration), Ordering::AcqRel);
        driven.moved.notify_waiters();
    }

    /// Sets the time of day of a driven clock by so many milliseconds; its instants go on as they were.
    ///
    /// # Panics
    /// When it is the system's clock.
    pub fn set_ahead(&self, by_ms: i64) {
        self.driven_only().ahead.fetch_add(by_ms, Ordering::AcqRel);
    }

    /// Lets a driven clock go on to the next instant that somebody waits for, or to `end` if that is earlier;
    /// whether `end` was still to come.
    ///
    /// It goes past nothing that somebody waits for. So a test that lets everybody finish between the steps
    /// sees everything happen at the very instant at which it was due.
    ///
    /// # Panics
    /// When it is the system's clock.
    pub fn step(&self, end: Instant) -> bool {
        let now = self.now();
        let next = self.next_deadline().map_or(end, |next| next.min(end));
        self.advance(next.since(now));
        now < end
    }

    /// The earliest instant of a driven clock that somebody waits for. When it has come, somebody was woken and
    /// has not gone on yet.
    ///
    /// # Panics
    /// When it is the system's clock.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.driven_only().sleepers.lock().first_key_value().map(|(deadline, _)| *deadline)
    }

    fn driven_only(&self) -> &Driven {
        match &*self.0 {
            Kind::System { .. } => panic!("the system's clock cannot be driven"),
            Kind::Driven(driven) => driven,
        }
    }
}

impl Driven {
    fn now(&self) -> Instant {
        Instant::from_millis(self.now.load(Ordering::Acquire))
    }

    async fn sleep_until(&self, deadline: Instant) {
        *self.sleepers.lock().entry(deadline).or_default() += 1;
        let _waits = Sleeper { clock: self, deadline };
        loop {
            let mut wake = std::pin::pin!(self.moved.notified());
            wake.as_mut().enable();
            if self.now() >= deadline {
                return;
            }
            wake.await;
        }
    }
}

impl Drop for Sleeper<'_> {
    fn drop(&mut self) {
        let mut sleepers = self.clock.sleepers.lock();
        if let Some(count) = sleepers.get_mut(&self.deadline) {
            *count -= 1;
            if *count == 0 {
                sleepers.remove(&self.deadline);
            }
        }
    }
}

/// The time since the machine was started, the time that it slept included.
#[cfg(target_os = "linux")]
fn since_boot() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::try_from(time).unwrap_or_default()
}

/// The time since the first call.
#[cfg(not(target_os = "linux"))]
fn since_boot() -> Duration {
    static FIRST: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    FIRST.get_or_init(std::time::Instant::now).elapsed()
}

/// Milliseconds since the Unix epoch, as the system's clock has it.
pub fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use super::*;

    #[tokio::test]
    async fn a_driven_clock_wakes_whoever_waits_for_what_has_come() {
        let clock = Clock::driven(UnixMillis(1_000));
        let clone = clock.clone();
        let waiting = tokio::spawn(async move {
            clone.sleep(Duration::from_secs(5)).await;
            clone.now()
        });
        tokio::task::yield_now().await;
        clock.advance(Duration::from_millis(4_999));
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        clock.advance(Duration::from_millis(1));
        assert_eq!(waiting.await.expect("no panic"), Instant::from_millis(6_000));
    }

    #[test]
    fn the_time_of_day_is_set_and_instants_go_on() {
        let clock = Clock::driven(UnixMillis(1_000_000));
        let earlier = clock.now();
        for (by_ms, unix) in [(3_600_000, 4_600_000), (-4_000_000, 600_000), (-600_001, 0)] {
            clock.set_ahead(by_ms);
            assert_eq!((clock.unix(), clock.now()), (UnixMillis(unix), earlier));
        }
        clock.set_ahead(1_000_001);
        clock.advance(Duration::from_secs(2));
        assert_eq!(clock.unix(), UnixMillis(1_002_000));
        assert_eq!(clock.unix_at(earlier), UnixMillis(1_000_000));
    }

    #[tokio::test]
    async fn the_systems_clock_shows_the_time_of_day_and_wakes_when_it_should() {
        let clock = Clock::system();
        let begun = clock.now();
        assert!(clock.unix_ms().abs_diff(unix_ms()) < 1_000);
        assert!(clock.unix_at(begun).0.abs_diff(begun.as_millis()) < 1_000);
        clock.sleep(Duration::from_millis(20)).await;
        let slept = clock.now().since(begun);
        assert!((Duration::from_millis(20)..Duration::from_secs(10)).contains(&slept), "{slept:?}");
    }

    #[tokio::test]
    async fn a_step_goes_to_the_next_deadline_and_never_past_one() {
        let clock = Clock::driven(UnixMillis(0));
        let second = |n: u64| Instant::from_millis(n * 1_000);
        let log = Arc::new(Mutex::new(Vec::new()));
        for (name, pauses) in [("a", [2, 2]), ("b", [3, 6])] {
            let (clock, log) = (clock.clone(), Arc::clone(&log));
            tokio::spawn(async move {
                for pause in pauses {
                    clock.sleep(Duration::from_secs(pause)).await;
                    log.lock().push((name, clock.now()));
                }
            });
        }
        tokio::task::yield_now().await;
        while clock.step(second(5)) {
            tokio::task::yield_now().await;
            assert!(clock.next_deadline().is_none_or(|next| next > clock.now()), "whoever was woken went on");
        }
        assert_eq!(*log.lock(), [("a", second(2)), ("b", second(3)), ("a", second(4))]);
        assert_eq!((clock.now(), clock.next_deadline()), (second(5), Some(second(9))));
    }

    #[tokio::test]
    async fn who_gives_up_waiting_is_no_longer_waited_for_and_who_was_woken_is_until_they_go_on() {
        let clock = Clock::driven(UnixMillis(0));
        let mut early = Box::pin(clock.sleep(Duration::from_secs(1)));
        let mut late = Box::pin(clock.sleep(Duration::from_secs(2)));
        assert_eq!(clock.next_deadline(), None, "nobody has begun");
        assert!(look_at(&mut early).await.is_none() && look_at(&mut late).await.is_none());
        assert_eq!(clock.next_deadline(), Some(Instant::from_millis(1_000)));
        drop(early);
        assert_eq!(clock.next_deadline(), Some(Instant::from_millis(2_000)));
        clock.advance(Duration::from_secs(2));
        assert_eq!(clock.next_deadline(), Some(clock.now()), "woken, and has not gone on yet");
        assert_eq!(look_at(&mut late).await, Some(()));
        assert_eq!(clock.next_deadline(), None);
    }

    /// What a future has to say now.
    async fn look_at<T>(future: &mut (impl Future<Output = T> + Unpin)) -> Option<T> {
        std::future::poll_fn(|context| {
            Poll::Ready(match std::pin::Pin::new(&mut *future).poll(context) {
                Poll::Ready(value) => Some(value),
                Poll::Pending => None,
            })
        })
        .await
    }
}
