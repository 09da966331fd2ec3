//! Whether a device wants to be told of presence (L8): by itself while it has a stream open, unless it said stop.

use std::collections::{BTreeSet, HashMap};

use parking_lot::{Mutex, MutexGuard};
use ruma::{DeviceId, OwnedDeviceId, OwnedUserId, UserId};

use crate::server::{
    change::feed::Change,
    session::Session,
    store::{Store, StoreError},
};

/// The devices that stopped the delivery of presence. Bounded by the number of devices.
#[derive(Debug, Default)]
pub struct Deliveries {
    stopped: Mutex<HashMap<OwnedUserId, BTreeSet<OwnedDeviceId>>>,
}

impl Deliveries {
    pub(super) async fn load(store: &Store) -> Result<Self, StoreError> {
        let mut stopped: HashMap<_, BTreeSet<_>> = HashMap::new();
        for Session { user, device } in store.presence_stopped().await? {
            stopped.entry(user).or_default().insert(device);
        }
        Ok(Self { stopped: Mutex::new(stopped) })
    }

    /// Whether presence is delivered to the device.
    pub fn is_on(&self, session: &Session) -> bool {
        self.lock().get(&session.user).is_none_or(|devices| !devices.contains(&session.device))
    }

    /// Takes what a device wants; of those that are gone, forgets it.
    pub(super) fn follow(&self, change: &Change) {
        match change {
            Change::PresenceDelivery { session, wanted: true } => self.start(&session.user, &session.device),
            Change::PresenceDelivery { session, wanted: false } => self.stop(session),
            Change::SessionsEnded { user, devices, .. } => {
                devices.iter().for_each(|device| self.start(user, device));
            }
            _ => {}
        }
    }

    fn stop(&self, session: &Session) {
        self.lock().entry(session.user.clone()).or_default().insert(session.device.clone());
    }

    fn start(&self, user: &UserId, device: &DeviceId) {
        let mut stopped = self.lock();
        if let Some(devices) = stopped.get_mut(user) {
            devices.remove(device);
            if devices.is_empty() {
                stopped.remove(user);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<OwnedUserId, BTreeSet<OwnedDeviceId>>> {
        self.stopped.lock()
    }
}

#[cfg(test)]
mod tests {
    use ruma::user_id;

    use super::*;

    #[test]
    fn l8_one_device_stops_and_starts_and_is_forgotten_with_its_session() {
        let deliveries = Deliveries::default();
        let of = |device: &str| Session { user: user_id!("@a:x").to_owned(), device: device.into() };
        let (desk, phone) = (of("DESK"), of("PHONE"));
        let says = |session: &Session, wanted| {
            deliveries.follow(&Change::PresenceDelivery { session: session.clone(), wanted });
            (deliveries.is_on(&desk), deliveries.is_on(&phone))
        };
        assert_eq!(says(&desk, true), (true, true));
        assert_eq!(says(&desk, false), (false, true));
        assert_eq!(says(&desk, true), (true, true));
        assert_eq!(says(&phone, false), (true, false));
        deliveries.follow(&Change::SessionsEnded {
            user: phone.user.clone(),
            tokens: Vec::new(),
            devices: vec![phone.device.clone()],
            none_left: false,
        });
        assert!(deliveries.is_on(&phone) && deliveries.lock().is_empty());
    }
}
