//! The time, handed to whoever needs it: the system's, or one that a test drives.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::sync::Notify;

use crate::core::time::{Instant, UnixMillis, millis};

/// A clock. Its instants are Unix times that never run backwards. Clones show the same time.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Kind>);

#[derive(Debug)]
enum Kind {
    System { started: std::time::Instant, unix: UnixMillis },
    Driven { now: AtomicU64, moved: Notify },
}

impl Clock {
    /// The system's clock: its Unix time of this moment, and from here on its monotonic time.
    pub fn system() -> Self {
        Self(Arc::new(Kind::System { started: std::time::Instant::now(), unix: UnixMillis(unix_ms()) }))
    }

    /// A clock that begins at `unix` and stands still until [`Self::advance`] is called.
    pub fn driven(unix: UnixMillis) -> Self {
        Self(Arc::new(Kind::Driven { now: AtomicU64::new(unix.0), moved: Notify::new() }))
    }

    /// The instant, as the core counts: Unix time that never runs backwards.
    pub fn now(&self) -> Instant {
        match &*self.0 {
            Kind::System { started, unix } => Instant::from_unix(*unix) + started.elapsed(),
            Kind::Driven { now, .. } => Instant::from_millis(now.load(Ordering::Acquire)),
        }
    }

    /// Milliseconds since the Unix epoch, that never run backwards.
    pub fn unix_ms(&self) -> u64 {
        self.now().as_millis()
    }

    /// Waits until `deadline` has come.
    pub async fn sleep_until(&self, deadline: Instant) {
        match &*self.0 {
            Kind::System { .. } => tokio::time::sleep(deadline.since(self.now())).await,
            Kind::Driven { now, moved } => loop {
                let mut wake = std::pin::pin!(moved.notified());
                wake.as_mut().enable();
                if now.load(Ordering::Acquire) >= deadline.as_millis() {
                    return;
                }
                wake.await;
            },
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
        let Kind::Driven { now, moved } = &*self.0 else { panic!("the system's clock cannot be driven") };
        now.fetch_add(millis(duration), Ordering::AcqRel);
        moved.notify_waiters();
    }
}

/// Milliseconds since the Unix epoch, as the system's clock has it.
pub fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
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
}
