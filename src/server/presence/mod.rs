//! The presence of this server's users, and what is known of others: the clock, the disk and the readers
//! around the core's engine.
//!
//! Owns the engine, the live position of each user's last change, and the event that tells of it,
//! encoded once. The rules are the core's ([`crate::core::presence`]); who may see whom is asked at
//! every way out (L6). A reader is told each user's last state only, however often it changed (P1–P12).

mod connection;
mod delivery;
mod event;
mod remote;
mod run;
mod said;
mod visibility;

use std::{
    collections::{BTreeMap, HashMap, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
    sync::Arc,
};

use parking_lot::{Mutex, MutexGuard};
use ruma::{DeviceId, OwnedUserId, UserId};
use tokio::sync::{Notify, watch};

pub use self::{
    connection::{Connected, Reading},
    delivery::Deliveries,
    event::{PresenceEvent, UNKNOWN, write_unknown},
    run::run,
    said::{Attendance, Said},
};
use self::{event::Facts, remote::Remotes, said::Waiting};
use super::{
    change::position::Live,
    config,
    profile::Profile,
    store::{Store, StoreError},
};
use crate::{
    core::{
        presence::{Change, Choice, DeviceKey, Engine, Output, Record, Settings, UserKey},
        time::Instant,
    },
    server::change::{feed, position::LivePosition},
};

/// The presence of all users of this server.
///
/// Memory: the engine's, and one encoded event for each user who was ever connected.
#[derive(Debug)]
pub struct Presence {
    inner: Mutex<Inner>,
    /// Who does not want to be told of it.
    pub deliveries: Deliveries,
    waiting: Waiting,
    remotes: Mutex<Remotes>,
    /// The engine's next deadline came nearer.
    earlier: Notify,
    /// There are records to write.
    dirty: Notify,
    /// Up to which of the records' numbers everything is on the disk.
    written: watch::Sender<u64>,
}

#[derive(Debug)]
struct Inner {
    engine: Engine,
    keys: HashMap<OwnedUserId, UserKey>,
    /// By key.
    users: Vec<Entry>,
    /// Each user at the live position of their last change, for others to see.
    changed: BTreeMap<LivePosition, UserKey>,
    /// Records that wait to be written: the last one of each user.
    unwritten: BTreeMap<UserKey, Record>,
    /// Counts the records that were ever queued.
    queued: u64,
    /// When the timer's task wakes up next.
    armed: Option<Instant>,
}

#[derive(Debug)]
struct Entry {
    user: Arc<OwnedUserId>,
    profile: Profile,
    last_seen: Option<Instant>,
    /// Of the last change that others can see.
    position: LivePosition,
    /// Of the last change that the user's own devices can see.
    own_position: LivePosition,
    event: Option<Arc<PresenceEvent>>,
}

/// The number of a record on its way to the disk, see [`Presence::written`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket(u64);

impl Presence {
    /// The engine with every user whose presence the store has.
    pub async fn load(
        store: &Store,
        config: &config::Presence,
        live: &Live,
        now: Instant,
    ) -> Result<Self, StoreError> {
        let settings = Settings {
            offline_grace: config.offline_grace,
            restart_grace: config.restart_grace,
            ..Settings::default()
        };
        let mut inner = Inner {
            engine: Engine::new(settings),
            keys: HashMap::new(),
            users: Vec::new(),
            changed: BTreeMap::new(),
            unwritten: BTreeMap::new(),
            queued: 0,
            armed: None,
        };
        for (user, record) in store.presence_records().await? {
            let profile = store.profile(&user).await?.unwrap_or_default();
            let key = inner.insert(&user, record, profile, now);
            inner.publish(key, live.advance(), now);
        }
        Ok(Self {
            inner: Mutex::new(inner),
            deliveries: Deliveries::load(store).await?,
            waiting: Waiting::default(),
            remotes: Mutex::default(),
            earlier: Notify::new(),
            dirty: Notify::new(),
            written: watch::Sender::new(0),
        })
    }

    /// Whether the user wants to look offline though a device is connected: nothing they do may show (P4).
    pub fn is_hidden(&self, user: &UserId, now: Instant) -> bool {
        let inner = self.lock();
        inner.keys.get(user).is_some_and(|key| {
            matches!(inner.engine.own_view(*key, now).choice, Choice::Hidden | Choice::Offline)
        })
    }

    /// The name that a user has chosen.
    pub fn displayname(&self, user: &UserId) -> Option<String> {
        let inner = self.lock();
        inner.users[inner.keys.get(user)?.0 as usize].profile.displayname.clone()
    }

    /// Those whose presence changed after the live position `since`, up to and including `upto`, each
    /// once. Whether the reader may see them is still to be asked.
    pub(super) fn changed(
        &self,
        since: LivePosition,
        upto: LivePosition,
    ) -> Vec<(Arc<OwnedUserId>, Arc<PresenceEvent>)> {
        if since >= upto {
            return Vec::new();
        }
        let inner = self.lock();
        let range = inner.changed.range(since.next()..=upto).map(|(_, key)| &inner.users[key.0 as usize]);
        let own =
            range.filter_map(|entry| Some((Arc::clone(&entry.user), Arc::clone(entry.event.as_ref()?))));
        own.chain(self.remotes().changed(since, upto)).collect()
    }

    /// The last event of one user as others see it; `None` when the user was never connected, or is
    /// another server's and nothing is known of them.
    pub(super) fn event(&self, user: &UserId) -> Option<Arc<PresenceEvent>> {
        let inner = self.lock();
        match inner.keys.get(user) {
            Some(key) => inner.users[key.0 as usize].event.clone(),
            None => self.remotes().event(user),
        }
    }

    /// The user's own event, for their own devices, when it changed after the live position `since`.
    pub(super) fn own_event(
        &self,
        user: &UserId,
        since: LivePosition,
        now: Instant,
    ) -> Option<PresenceEvent> {
        let inner = self.lock();
        let key = *inner.keys.get(user)?;
        (inner.users[key.0 as usize].own_position > since).then(|| inner.own_event(key, now))
    }

    /// Waits until the record of this number is on the disk.
    pub(super) async fn written(&self, ticket: Ticket) -> Result<(), StoreError> {
        let mut written = self.written.subscribe();
        written.wait_for(|upto| *upto >= ticket.0).await.map(|_| ()).map_err(|_| StoreError::Closed)
    }

    /// Takes a user up whom nobody has heard of yet.
    pub(super) async fn introduce(
        &self,
        user: &UserId,
        store: &Store,
        now: Instant,
    ) -> Result<(), StoreError> {
        if self.lock().keys.contains_key(user) {
            return Ok(());
        }
        let profile = store.profile(user).await?.unwrap_or_default();
        let mut inner = self.lock();
        if !inner.keys.contains_key(user) {
            inner.insert(user, Record::default(), profile, now);
        }
        Ok(())
    }

    /// Runs one input of a known user through the engine, and takes what follows from it. What others are to
    /// be told is returned, for the caller to wake them when the lock is gone. `None`: nobody knows the user.
    fn input(
        &self,
        user: &UserId,
        live: &Live,
        now: Instant,
        input: impl FnOnce(&mut Engine, UserKey),
    ) -> Option<(Vec<feed::Change>, Ticket)> {
        let mut inner = self.lock();
        let key = *inner.keys.get(user)?;
        input(&mut inner.engine, key);
        let told = self.drain(&mut inner, live, now);
        Some((told, Ticket(inner.queued)))
    }

    /// Takes the engine's outputs: records to the disk, changes to their positions.
    fn drain(&self, inner: &mut Inner, live: &Live, now: Instant) -> Vec<feed::Change> {
        let mut told = Vec::new();
        while let Some(output) = inner.engine.poll_output(now) {
            match output {
                Output::Persist { user, record } => {
                    inner.users[user.0 as usize].last_seen = record.last_seen.map(Instant::from_unix);
                    inner.unwritten.insert(user, record);
                    inner.queued += 1;
                    self.dirty.notify_one();
                }
                Output::Changed { user, change } => {
                    let position = live.advance();
                    match change {
                        Change::Own => inner.users[user.0 as usize].own_position = position,
                        Change::Quiet | Change::Visible => inner.publish(user, position, now),
                    }
                    let user = Arc::clone(&inner.users[user.0 as usize].user);
                    told.push(feed::Change::Presence { user, change });
                }
            }
        }
        let next = inner.engine.poll_timeout();
        if next.is_some_and(|next| inner.armed.is_none_or(|armed| next < armed)) {
            inner.armed = next;
            self.earlier.notify_one();
        }
        told
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }
}

impl Inner {
    fn insert(&mut self, user: &UserId, record: Record, profile: Profile, now: Instant) -> UserKey {
        let last_seen = record.last_seen.map(Instant::from_unix);
        let key = self.engine.insert_user(record, now);
        self.keys.insert(user.to_owned(), key);
        let user = Arc::new(user.to_owned());
        self.users.push(Entry {
            user,
            profile,
            last_seen,
            position: LivePosition::START,
            own_position: LivePosition::START,
            event: None,
        });
        key
    }

    /// Gives a user the last position, with a new event.
    fn publish(&mut self, key: UserKey, position: LivePosition, now: Instant) {
        let view = self.engine.view(key, now);
        let entry = &mut self.users[key.0 as usize];
        let event = PresenceEvent::encode(&Facts {
            user: entry.user.as_str(),
            state: view.state,
            choice: None,
            status_msg: view.status_msg.as_deref(),
            displayname: entry.profile.displayname.as_deref(),
            avatar_url: entry.profile.avatar_url.as_deref(),
            device_type: view.device_type.as_ref().map(|d| d.as_str()),
            last_active: view.last_active_ago.map(|ago| now - ago),
            currently_active: view.currently_active,
            last_seen: entry.last_seen,
        });
        entry.event = Some(Arc::new(event));
        self.changed.remove(&entry.position);
        self.changed.insert(position, key);
        entry.position = position;
        entry.own_position = position;
    }

    fn own_event(&self, key: UserKey, now: Instant) -> PresenceEvent {
        let view = self.engine.own_view(key, now);
        let entry = &self.users[key.0 as usize];
        PresenceEvent::encode(&Facts {
            user: entry.user.as_str(),
            state: view.state,
            choice: Some(view.choice.state()),
            status_msg: view.status_msg.as_deref(),
            displayname: entry.profile.displayname.as_deref(),
            avatar_url: entry.profile.avatar_url.as_deref(),
            device_type: view.device_type.as_ref().map(|d| d.as_str()),
            last_active: view.last_active_ago.map(|ago| now - ago),
            currently_active: view.currently_active,
            last_seen: entry.last_seen,
        })
    }
}

/// The engine's handle of a device. Two devices of one user share one with a chance of 2^-64.
fn device_key(device: &DeviceId) -> DeviceKey {
    let mut hasher = DefaultHasher::new();
    device.as_str().hash(&mut hasher);
    DeviceKey(hasher.finish())
}
