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

/// The positions of the first and the last message that wait for one device, and how much room they take.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    first: LogPosition,
    last: LogPosition,
    weight: u32,
}

impl Inboxes {
    /// Reads from the store which devices have messages.
    pub async fn load(store: Arc<Store>) -> Result<Self, StoreError> {
        let waiting = store.to_device_waiting().await?.into_iter();
        let waiting = waiting
            .map(|(user, device, [first, last], weight)| ((user, device), Waiting { first, last, weight }));
        let waiting = Mutex::new(waiting.collect());
        Ok(Self { store, waiting })
    }

    /// Whether something waits for a device after the position `since`.
    pub fn has_news(&self, session: &Session, since: LogPosition) -> bool {
        let key = (session.user.clone(), session.device.clone());
        self.waiting.lock().get(&key).is_some_and(|w| w.last > since)
    }

    /// How much room the messages take that wait for a device.
    pub fn waiting(&self, user: &UserId, device: &DeviceId) -> u32 {
        let key = (user.to_owned(), device.to_owned());
        self.waiting.lock().get(&key).map_or(0, |w| w.weight)
    }

    /// The device has everything up to and including `upto`: it is forgotten, here too once it is so on the disk.
    pub async fn acknowledge(
        &self,
        user: &UserId,
        device: &DeviceId,
        upto: LogPosition,
    ) -> Result<(), StoreError> {
        let key = (user.to_owned(), device.to_owned());
        if self.waiting.lock().get(&key).is_none_or(|w| w.first > upto) {
            return Ok(());
        }
        self.store.acknowledge_to_device(key.0, key.1, upto).await
    }

    /// Takes what is queued for a device, and forgets those that are gone.
    pub fn follow(&self, change: &Change) {
        match change {
            Change::ToDevice { user, device, position, weight } => {
                let mut waiting = self.waiting.lock();
                let entry = waiting.entry((user.clone(), device.clone())).or_insert(Waiting {
                    first: *position,
                    last: *position,
                    weight: 0,
                });
                entry.last = *position;
                entry.weight += weight;
            }
            Change::ToDeviceDropped { user, device, weight } => {
                if let Some(w) = self.waiting.lock().get_mut(&(user.clone(), device.clone())) {
                    w.weight = w.weight.saturating_sub(*weight);
                }
            }
            Change::ToDeviceTaken { user, device, upto, weight } => {
                let key = (user.clone(), device.clone());
                let mut waiting = self.waiting.lock();
                match waiting.get_mut(&key) {
                    Some(w) if w.last > *upto => {
                        w.first = w.first.max(upto.next());
                        w.weight = w.weight.saturating_sub(*weight);
                    }
                    Some(_) => {
                        waiting.remove(&key);
                    }
                    None => {}
                }
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

#[cfg(test)]
mod tests {
    use ruma::{server_name, user_id};

    use super::*;
    use crate::server::{
        change::feed::Feed,
        store::{Access, ToDevice},
    };

    #[tokio::test]
    async fn what_the_disk_did_not_take_still_waits() {
        let folder = std::env::temp_dir().join(format!("pilotlight-inboxes-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let store = Store::open(&folder, server_name!("x"), Access::Sole, Arc::new(Feed::default()));
        let store = Arc::new(store.expect("opens"));
        let session = Session { user: user_id!("@a:x").to_owned(), device: "A".into() };
        let (user, device) = (session.user.clone(), session.device.clone());
        let message = |n: u32| ToDevice { user: user.clone(), device: device.clone(), event: n.to_string() };
        let messages = vec![message(1), message(2)];
        let queued =
            store.queue_to_device(session.clone(), ("t".into(), "1".into()), 0, messages, Vec::new()).await;
        queued.expect("is on the disk");
        let inboxes = Inboxes::load(Arc::clone(&store)).await.expect("is read");
        let upto = store.log_position();

        inboxes.acknowledge(&user, &device, upto).await.expect("is written");
        assert!(inboxes.has_news(&session, LogPosition::START), "memory is told by the feed");
        let taken =
            |upto| Change::ToDeviceTaken { user: user.clone(), device: device.clone(), upto, weight: 1 };
        assert_eq!(inboxes.waiting(&user, &device), 2);
        inboxes.follow(&taken(upto.before()));
        assert!(inboxes.has_news(&session, upto.before()), "the second message waits");
        assert_eq!(inboxes.waiting(&user, &device), 1);
        store.close().await;
        inboxes.acknowledge(&user, &device, upto).await.expect_err("the store is closed");
        assert!(inboxes.has_news(&session, upto.before()));
        inboxes.follow(&taken(upto));
        assert!(!inboxes.has_news(&session, LogPosition::START));
        std::fs::remove_dir_all(&folder).expect("is there");
    }
}
