//! Messages from device to device: which devices have some waiting.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ruma::{DeviceId, OwnedDeviceId, OwnedUserId, UserId};

use crate::server::{
    change::position::LogPosition,
    session::Session,
    store::{self, Store, StoreError},
};

/// The devices with messages waiting, so that readers ask the store only when there is something.
/// Bounded by the number of devices.
#[derive(Clone, Debug)]
pub struct ToDevice(Arc<Mutex<HashMap<(OwnedUserId, OwnedDeviceId), Waiting>>>);

/// The positions of the first and the last message that wait for one device.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    first: LogPosition,
    last: LogPosition,
}

impl ToDevice {
    /// Reads from the store which devices have messages.
    pub async fn load(store: &Store) -> Result<Self, StoreError> {
        let waiting = store.to_device_waiting().await?.into_iter();
        let waiting = waiting.map(|(user, device, first, last)| ((user, device), Waiting { first, last }));
        Ok(Self(Arc::new(Mutex::new(waiting.collect()))))
    }

    /// Queues messages durably, once per transaction ID; returns whose devices got one.
    pub async fn send(
        &self,
        store: &Store,
        sender: Session,
        event_type: String,
        txn: String,
        now_ms: u64,
        messages: Vec<store::ToDevice>,
    ) -> Result<Vec<OwnedUserId>, StoreError> {
        let waiting = self.clone();
        let apply = move |queued: &[store::Queued]| {
            let mut waiting = waiting.lock();
            for (user, device, position) in queued {
                let entry = waiting
                    .entry((user.clone(), device.clone()))
                    .or_insert(Waiting { first: *position, last: *position });
                entry.last = *position;
            }
        };
        let queued = store.queue_to_device(sender, event_type, txn, now_ms, messages, apply).await?;
        Ok(queued.into_iter().map(|(user, ..)| user).collect())
    }

    /// Whether something waits for a device after the position `since`.
    pub fn has_news(&self, user: &UserId, device: &DeviceId, since: LogPosition) -> bool {
        self.lock().get(&(user.to_owned(), device.to_owned())).is_some_and(|w| w.last > since)
    }

    /// The device has everything up to and including `upto`: it is forgotten.
    pub async fn acknowledge(
        &self,
        store: &Store,
        user: &UserId,
        device: &DeviceId,
        upto: LogPosition,
    ) -> Result<(), StoreError> {
        let key = (user.to_owned(), device.to_owned());
        {
            let mut waiting = self.lock();
            match waiting.get_mut(&key) {
                None => return Ok(()),
                Some(w) if w.first > upto => return Ok(()),
                Some(w) if w.last > upto => w.first = upto.next(),
                Some(_) => {
                    waiting.remove(&key);
                }
            }
        }
        store.acknowledge_to_device(key.0, key.1, upto).await
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(OwnedUserId, OwnedDeviceId), Waiting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
