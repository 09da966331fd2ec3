//! Messages from device to device: which devices have some waiting.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use ruma::{DeviceId, OwnedDeviceId, OwnedUserId, UserId};

use crate::server::{
    change::{feed::Change, position::LogPosition},
    session::Session,
    store::{Store, StoreError},
};

/// The devices with messages waiting, so that readers ask the store only when there is something.
/// Bounded by the number of devices.
#[derive(Debug)]
pub struct Inboxes {
    store: Arc<Store>,
    waiting: Mutex<HashMap<(OwnedUserId, OwnedDeviceId), Waiting>>,
}

/// The positions of the first and the last message that wait for one device.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    first: LogPosition,
    last: LogPosition,
}

impl Inboxes {
    /// Reads from the store which devices have messages.
    pub async fn load(store: Arc<Store>) -> Result<Self, StoreError> {
        let waiting = store.to_device_waiting().await?.into_iter();
        let waiting = waiting.map(|(user, device, first, last)| ((user, device), Waiting { first, last }));
        let waiting = Mutex::new(waiting.collect());
        Ok(Self { store, waiting })
    }

    /// Whether something waits for a device after the position `since`.
    pub fn has_news(&self, session: &Session, since: LogPosition) -> bool {
        let key = (session.user.clone(), session.device.clone());
        self.waiting.lock().get(&key).is_some_and(|w| w.last > since)
    }

    /// The device has everything up to and including `upto`: it is forgotten.
    pub async fn acknowledge(
        &self,
        user: &UserId,
        device: &DeviceId,
        upto: LogPosition,
    ) -> Result<(), StoreError> {
        let key = (user.to_owned(), device.to_owned());
        {
            let mut waiting = self.waiting.lock();
            match waiting.get_mut(&key) {
                None => return Ok(()),
                Some(w) if w.first > upto => return Ok(()),
                Some(w) if w.last > upto => w.first = upto.next(),
                Some(_) => {
                    waiting.remove(&key);
                }
            }
        }
        self.store.acknowledge_to_device(key.0, key.1, upto).await
    }

    /// Takes what is queued for a device, and forgets those that are gone.
    pub fn follow(&self, change: &Change) {
        match change {
            Change::ToDevice { user, device, position } => {
                let mut waiting = self.waiting.lock();
                let entry = waiting
                    .entry((user.clone(), device.clone()))
                    .or_insert(Waiting { first: *position, last: *position });
                entry.last = *position;
            }
            Change::SessionsEnded { user, devices, .. } => {
                let mut waiting = self.waiting.lock();
                for device in devices {
                    waiting.remove(&(user.clone(), device.clone()));
                }
            }
            _ => {}
        }
    }
}
