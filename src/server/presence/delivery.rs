//! Whether a device wants to be told of presence (L8): by itself while it has a stream open, unless it said stop.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use parking_lot::{Mutex, MutexGuard};
use ruma::{DeviceId, OwnedDeviceId, OwnedUserId, UserId};

use crate::server::{
    change::{
        feed::Change,
        position::{Live, LivePosition},
    },
    session::Session,
    store::{Store, StoreError},
};

/// The devices that stopped the delivery of presence. Bounded by the number of devices.
#[derive(Debug)]
pub struct Deliveries {
    live: Arc<Live>,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    stopped: HashMap<OwnedUserId, BTreeSet<OwnedDeviceId>>,
    /// Devices that started it again in this run: from before this live position they were told nothing.
    started: HashMap<(OwnedUserId, OwnedDeviceId), LivePosition>,
}

impl Deliveries {
    pub(super) async fn load(store: &Store, live: Arc<Live>) -> Result<Self, StoreError> {
        let mut inner = Inner::default();
        for Session { user, device } in store.presence_stopped().await? {
            inner.stopped.entry(user).or_default().insert(device);
        }
        Ok(Self { live, inner: Mutex::new(inner) })
    }

    /// Whether presence is delivered to the device.
    pub fn is_on(&self, session: &Session) -> bool {
        self.lock().is_on(session)
    }

    /// From which live position on presence is news for the device, when it was told everything else up to
    /// `since`. `None`: it wants none.
    pub fn since(&self, session: &Session, since: LivePosition) -> Option<LivePosition> {
        let inner = self.lock();
        if !inner.is_on(session) {
            return None;
        }
        if inner.started.is_empty() {
            return Some(since);
        }
        let started = inner.started.get(&(session.user.clone(), session.device.clone()));
        Some(if started.is_some_and(|started| *started > since) { LivePosition::START } else { since })
    }

    /// Takes what a device wants; of those that are gone, forgets it. A reader of a device that starts it is
    /// told everything it may see, at once.
    pub(super) fn follow(&self, change: &Change) {
        match change {
            Change::PresenceDelivery { session, wanted } => self.set(session, *wanted),
            Change::SessionsEnded { user, devices, .. } => {
                devices.iter().for_each(|device| self.forget(user, device));
            }
            _ => {}
        }
    }

    fn forget(&self, user: &UserId, device: &DeviceId) {
        let mut inner = self.lock();
        inner.remove(user, device);
        inner.started.remove(&(user.to_owned(), device.to_owned()));
    }

    fn set(&self, session: &Session, wanted: bool) {
        let mut inner = self.lock();
        if !wanted {
            inner.stopped.entry(session.user.clone()).or_default().insert(session.device.clone());
        } else if inner.remove(&session.user, &session.device) {
            inner.started.insert((session.user.clone(), session.device.clone()), self.live.advance());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }
}

impl Inner {
    fn is_on(&self, session: &Session) -> bool {
        self.stopped.get(&session.user).is_none_or(|devices| !devices.contains(&session.device))
    }

    fn remove(&mut self, user: &UserId, device: &DeviceId) -> bool {
        let Some(devices) = self.stopped.get_mut(user) else { return false };
        let removed = devices.remove(device);
        if devices.is_empty() {
            self.stopped.remove(user);
        }
        removed
    }
}

#[cfg(test)]
mod tests {
    use ruma::user_id;

    use super::*;

    #[test]
    fn l8_a_device_that_starts_again_is_told_what_it_missed_and_others_are_not() {
        let deliveries = Deliveries { live: Arc::new(Live::new(100)), inner: Mutex::default() };
        let of = |device: &str| Session { user: user_id!("@a:x").to_owned(), device: device.into() };
        let (desk, phone) = (of("DESK"), of("PHONE"));
        assert_eq!(deliveries.since(&desk, LivePosition::new(100)), Some(LivePosition::new(100)));
        deliveries.set(&desk, false);
        assert_eq!(
            (
                deliveries.since(&desk, LivePosition::new(100)),
                deliveries.since(&phone, LivePosition::new(100))
            ),
            (None, Some(LivePosition::new(100)))
        );
        deliveries.set(&desk, true);
        deliveries.set(&desk, true);
        assert_eq!(
            (
                deliveries.since(&desk, LivePosition::new(100)),
                deliveries.since(&desk, LivePosition::new(101))
            ),
            (Some(LivePosition::START), Some(LivePosition::new(101)))
        );
        assert_eq!(deliveries.since(&phone, LivePosition::new(100)), Some(LivePosition::new(100)));
        deliveries.set(&phone, false);
        deliveries.forget(&phone.user, &phone.device);
        deliveries.forget(&desk.user, &desk.device);
        assert!(deliveries.is_on(&phone) && deliveries.lock().started.is_empty());
    }
}
