//! What devices send at this moment: each is told that its event was placed before it is told the event itself, as far as
//! that is possible on two connections. Some clients lose track of their own message otherwise.

use std::{
    collections::{BTreeSet, HashMap},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use ruma::{OwnedDeviceId, OwnedUserId};
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

use crate::server::session::Session;

/// The longest that a reader is kept waiting.
const MAX_WAIT: Duration = Duration::from_millis(50);

/// How long an answer takes from here to the connection.
const ON_ITS_WAY: Duration = Duration::from_millis(1);

/// Ends with what a device sends. In a box, as most do not need it.
pub type Answered = Pin<Box<dyn Future<Output = ()> + Send>>;

type Device = (OwnedUserId, OwnedDeviceId);

/// Requests that send events. Bounded by the requests that are served at once.
#[derive(Debug, Default)]
pub struct InFlight {
    active: Mutex<Active>,
    /// How many there are: readers look here first.
    count: AtomicUsize,
    ended: Notify,
}

#[derive(Debug, Default)]
struct Active {
    by_device: HashMap<Device, BTreeSet<u64>>,
    /// The number of the next one.
    next: u64,
}

/// A request that sends an event, until dropped.
#[derive(Debug)]
pub struct Sent {
    of: Arc<InFlight>,
    device: Device,
    number: u64,
}

impl InFlight {
    /// A request of this device sends an event.
    pub fn begin(self: &Arc<Self>, session: &Session) -> Sent {
        let device = device(session);
        let mut active = self.active.lock();
        let number = active.next;
        active.next += 1;
        active.by_device.entry(device.clone()).or_default().insert(number);
        self.count.fetch_add(1, Ordering::AcqRel);
        drop(active);
        Sent { of: Arc::clone(self), device, number }
    }

    /// Until what the device sends now was answered, though not for long; `None`: it sends nothing.
    pub fn answered(self: &Arc<Self>, session: &Session) -> Option<Answered> {
        if self.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        let device = device(session);
        let active = self.active.lock();
        let upto = active.next;
        active
            .by_device
            .contains_key(&device)
            .then(|| Box::pin(Arc::clone(self).wait(device, upto)) as Answered)
    }

    async fn wait(self: Arc<Self>, device: Device, upto: u64) {
        let ended = async {
            loop {
                let ended = self.ended.notified();
                if !self.has_before(&device, upto) {
                    break;
                }
                ended.await;
            }
        };
        if timeout(MAX_WAIT, ended).await.is_ok() {
            sleep(ON_ITS_WAY).await;
        }
    }

    fn has_before(&self, device: &Device, upto: u64) -> bool {
        let active = self.active.lock();
        active.by_device.get(device).and_then(BTreeSet::first).is_some_and(|first| *first < upto)
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        let mut active = self.of.active.lock();
        if let Some(numbers) = active.by_device.get_mut(&self.device) {
            numbers.remove(&self.number);
            if numbers.is_empty() {
                active.by_device.remove(&self.device);
            }
        }
        self.of.count.fetch_sub(1, Ordering::AcqRel);
        drop(active);
        self.of.ended.notify_waiters();
    }
}

fn device(session: &Session) -> Device {
    (session.user.clone(), session.device.clone())
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use ruma::user_id;

    use super::*;

    fn session(device: &str) -> Session {
        Session { user: user_id!("@a:x").to_owned(), device: device.into() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_device_waits_for_what_it_sends_and_for_nothing_that_comes_after() {
        let sending = Arc::new(InFlight::default());
        let (own, other) = (session("OWN"), session("OTHER"));
        assert!(sending.answered(&own).is_none());
        let first = sending.begin(&own);
        assert!(sending.answered(&other).is_none());
        let mut waiting = sending.answered(&own).expect("it waits");
        assert!(std::future::poll_fn(|cx| Poll::Ready(waiting.as_mut().poll(cx))).await.is_pending());
        let second = sending.begin(&own);
        drop(first);
        let begun = tokio::time::Instant::now();
        waiting.await;
        assert!(begun.elapsed() < MAX_WAIT, "what came after is not waited for");
        let begun = tokio::time::Instant::now();
        sending.answered(&own).expect("it waits").await;
        assert_eq!(begun.elapsed(), MAX_WAIT, "not for long");
        drop(second);
        assert!(sending.answered(&own).is_none());
        assert!(sending.active.lock().by_device.is_empty() && sending.count.load(Ordering::Acquire) == 0);
    }
}
