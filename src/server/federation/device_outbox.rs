//! What other servers are to be told of devices, and messages for theirs, until they have acknowledged it.
//!
//! All of it is in the store; the queue only knows that there is something. What a destination is told is read when it is
//! told, so whoever is away costs no memory. Source: Matrix server-server API, "Device Management", "Send-to-device messaging".

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use ruma::{OwnedServerName, OwnedUserId, ServerName, UserId};
use serde_json::{
    Map, Value, json,
    value::{RawValue, to_raw_value},
};
use tokio::sync::Notify;

use super::{
    edu::{Edu, Key},
    queue::Queue,
};
use crate::server::{
    change::position::LogPosition,
    config::servers::Policy,
    store::{DeviceChange, Store, StoreError, public_part, with_signatures},
};

/// EDUs about devices in one transaction, at most: what else is to be said has room beside them.
const MAX_OF_DEVICES: usize = 50;

/// Bytes of the messages in one transaction, about.
const MAX_BYTES: usize = 1 << 20;

/// What other servers are to be told of devices.
#[derive(Debug)]
pub struct DeviceOutbox {
    store: Arc<Store>,
    queue: Arc<Queue>,
    policy: Arc<Policy>,
    changed: Mutex<Changed>,
    bell: Notify,
}

/// Whose devices changed, while it is not found out yet who is to be told. Bounded by the users of this server.
#[derive(Debug, Default)]
struct Changed {
    users: BTreeMap<OwnedUserId, LogPosition>,
    /// For some it is being found out.
    is_spreading: bool,
}

/// What a destination is told in one transaction.
#[derive(Debug, Default)]
pub(super) struct Page {
    /// The EDUs, by their types.
    pub(super) edus: Vec<(&'static str, Box<RawValue>)>,
    /// Of whom it was told, up to which change.
    users: Vec<(OwnedUserId, LogPosition)>,
    /// The numbers of the messages.
    messages: Vec<i64>,
}

impl DeviceOutbox {
    /// Nothing was given to the queue yet.
    pub fn new(store: Arc<Store>, queue: Arc<Queue>, policy: Arc<Policy>) -> Self {
        Self { store, queue, policy, changed: Mutex::default(), bell: Notify::new() }
    }

    /// The devices of a user of this server changed.
    pub fn handle_change(&self, user: &UserId, position: LogPosition) {
        let mut changed = self.changed.lock();
        let last = changed.users.entry(user.to_owned()).or_insert(position);
        *last = position.max(*last);
        self.bell.notify_one();
    }

    /// Whose devices changed, and up to which position.
    pub fn take_changed(&self) -> Option<(Vec<OwnedUserId>, LogPosition)> {
        let mut changed = self.changed.lock();
        let users = std::mem::take(&mut changed.users);
        let upto = users.values().copied().max();
        changed.is_spreading = upto.is_some();
        Some((users.into_keys().collect(), upto?))
    }

    /// Whether it is being found out who is to be told of changes.
    pub fn is_spreading(&self) -> bool {
        let changed = self.changed.lock();
        changed.is_spreading || !changed.users.is_empty()
    }

    /// It could not be written down who is to be told: it is to be found out again.
    pub fn handle_untold(&self, users: Vec<OwnedUserId>, upto: LogPosition) {
        users.iter().for_each(|user| self.handle_change(user, upto));
    }

    /// Waits until something changed.
    pub async fn changed(&self) {
        self.bell.notified().await;
    }

    /// There is something for a server.
    pub fn wake(&self, server: &ServerName) {
        if !self.policy.speaks_with(server) {
            return;
        }
        let edu =
            Edu { kind: "", content: RawValue::NULL.to_owned(), brief: None, key: Key::Devices, seq: 0 };
        if self.queue.push(server, edu).is_err() {
            tracing::debug!(%server, "a server is told of devices after the next start, or with what comes next");
        }
    }

    /// What a server is to be told next, in as many EDUs at most as there is room for.
    pub(super) async fn page(&self, server: &ServerName, room: usize) -> Result<Page, StoreError> {
        let (mut page, most) = (Page::default(), room.min(MAX_OF_DEVICES));
        for (user, since) in self.store.device_outbox(server, most).await? {
            let room = most - page.edus.len();
            let changes = self.store.device_changes(&user, since, room).await?;
            // What is there no longer was forgotten, and needs no telling.
            let upto = changes.last().map_or(since, DeviceChange::position);
            for change in changes {
                page.edus.push(self.edu(&user, change).await?);
            }
            page.users.push((user, upto));
            if page.edus.len() >= most {
                return Ok(page);
            }
        }
        let room = most - page.edus.len();
        for (number, content) in self.store.to_device_outbox(server, room, MAX_BYTES).await? {
            let content = RawValue::from_string(content)
                .map_err(|e| StoreError::Corrupt(format!("to_device_outbox: {e}")))?;
            page.edus.push(("m.direct_to_device", content));
            page.messages.push(number);
        }
        Ok(page)
    }

    /// A server has what it was told. If there is more, it is told.
    pub(super) async fn handle_delivered(&self, server: &OwnedServerName, page: Page) {
        if page.users.is_empty() && page.messages.is_empty() {
            return;
        }
        if let Err(error) = self.acknowledge(server, page).await {
            tracing::warn!(%error, "what a server was told of devices it will be told again");
        }
        match self.is_due(server).await {
            Ok(true) => self.wake(server),
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "what a server is to be told of devices cannot be read"),
        }
    }

    async fn acknowledge(&self, server: &OwnedServerName, page: Page) -> Result<(), StoreError> {
        if !page.users.is_empty() {
            self.store.acknowledge_device_changes(server.clone(), page.users).await?;
        }
        if !page.messages.is_empty() {
            self.store.acknowledge_to_device_across(page.messages).await?;
        }
        Ok(())
    }

    async fn is_due(&self, server: &ServerName) -> Result<bool, StoreError> {
        let lists = self.store.device_outbox(server, 1).await?;
        Ok(!lists.is_empty() || !self.store.to_device_outbox(server, 1, 0).await?.is_empty())
    }

    /// What is said of a change.
    async fn edu(
        &self,
        user: &UserId,
        change: DeviceChange,
    ) -> Result<(&'static str, Box<RawValue>), StoreError> {
        let unreadable = |e: serde_json::Error| StoreError::Corrupt(format!("keys of {user}: {e}"));
        match change {
            DeviceChange::Device { device, position, previous, keys } => {
                let mut content = Map::new();
                content.insert("user_id".to_owned(), user.as_str().into());
                content.insert("device_id".to_owned(), device.as_str().into());
                content.insert("stream_id".to_owned(), position.get().into());
                let previous: Vec<_> = previous.map(LogPosition::get).into_iter().collect();
                content.insert("prev_id".to_owned(), previous.into());
                match keys {
                    Some(keys) => {
                        let keys = self.signed(user, &device, &keys).await?;
                        content.insert("keys".to_owned(), keys.into());
                    }
                    None => drop(content.insert("deleted".to_owned(), true.into())),
                }
                Ok(("m.device_list_update", to_raw_value(&content).map_err(unreadable)?))
            }
            DeviceChange::CrossSigning { .. } => {
                let mut content = json!({ "user_id": user });
                for (usage, key) in self.store.cross_signing_keys(user).await? {
                    if let Some(name @ ("master" | "self_signing")) = Some(usage.as_str()) {
                        let id = public_part(&key).unwrap_or_default();
                        content[format!("{name}_key")] = self.signed(user, &id, &key).await?.into();
                    }
                }
                Ok(("m.signing_key_update", to_raw_value(&content).map_err(unreadable)?))
            }
        }
    }

    /// A key with those signatures of its user that came after it.
    async fn signed(&self, user: &UserId, id: &str, key: &str) -> Result<Map<String, Value>, StoreError> {
        let signatures = self.store.key_signatures(user, user).await?;
        with_signatures(key, id, &signatures)
    }
}
