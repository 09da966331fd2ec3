//! This server's own users: the core's engine with the disk, the clock and the board around it.
//!
//! Owns the engine, each user's profile as far as events tell it, and the records on their way to the disk.
//! What others may see of a user goes to the board, under the engine's lock, and is told by the feed after it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use parking_lot::{Mutex, MutexGuard};
use ruma::{OwnedUserId, UserId};
use tokio::sync::{Notify, watch};

use super::{
    board::Board,
    choosing::{Choices, Ticket},
    delivery::Deliveries,
    event::PresenceEvent,
    key::SharedId,
    said::Said,
    shown,
    waiting::Waiting,
};
use crate::{
    core::{
        federation::Status,
        presence::{Change, Choice, Engine, Output, OwnView, Record, Settings, State, UserKey, View},
        time::Instant,
    },
    server::{
        change::{
            feed::{self, Feed},
            position::{Live, LivePosition},
        },
        clock::Clock,
        config,
        limits::RateLimits,
        profile::Profile,
        store::{Store, StoreError},
    },
};

/// How old the times of a user can become for a reader who is told other things meanwhile (P8). Shorter tells more
/// often of somebody who writes message after message: one event of some 250 bytes in an answer that goes out anyway.
const TIMES_EVERY: Duration = Duration::from_secs(10);

/// The presence of all users of this server.
///
/// Memory: the engine's, and one entry for each user who was ever connected.
#[derive(Debug)]
pub struct Presence {
    pub(super) store: Arc<Store>,
    pub(super) clock: Clock,
    live: Arc<Live>,
    pub(super) feed: Arc<Feed>,
    pub(super) limits: Arc<RateLimits>,
    board: Arc<Board>,
    inner: Mutex<Inner>,
    /// Who does not want to be told of it.
    pub deliveries: Deliveries,
    pub(super) waiting: Waiting,
    pub(super) choices: Choices,
    /// Held by whoever writes: records go to the disk in the order in which they were made.
    pub(super) writing: tokio::sync::Mutex<()>,
    /// The engine's next deadline came nearer.
    pub(super) earlier: Notify,
    /// There are records to write.
    pub(super) dirty: Notify,
    /// How far the records have come on their way to the disk.
    pub(super) written: watch::Sender<Written>,
}

#[derive(Debug)]
struct Inner {
    engine: Engine,
    keys: HashMap<SharedId, UserKey>,
    /// By key.
    users: Vec<Entry>,
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
    /// When the user was put up on the board last.
    published: Instant,
}

/// How far the records have come, by their numbers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Written {
    /// All up to this one are on the disk.
    pub(super) upto: u64,
    /// All up to this one were tried, the last time in vain, and are tried again.
    pub(super) refused: u64,
}

impl Presence {
    /// The engine with every user whose presence the store has.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    pub async fn load(
        store: Arc<Store>,
        clock: Clock,
        live: Arc<Live>,
        feed: Arc<Feed>,
        limits: Arc<RateLimits>,
        board: Arc<Board>,
        config: &config::Presence,
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
            unwritten: BTreeMap::new(),
            queued: 0,
            armed: None,
        };
        let now = clock.now();
        for (user, record) in store.presence_records().await? {
            let profile = store.profile(&user).await?.unwrap_or_default();
            let key = inner.insert(&user, record, profile, now);
            let view = inner.engine.view(key, now);
            inner.publish(key, &view, &board, now);
        }
        Ok(Self {
            inner: Mutex::new(inner),
            deliveries: Deliveries::load(&store).await?,
            waiting: Waiting::default(),
            choices: Choices::default(),
            writing: tokio::sync::Mutex::default(),
            earlier: Notify::new(),
            dirty: Notify::new(),
            written: watch::Sender::default(),
            store,
            clock,
            live,
            feed,
            limits,
            board,
        })
    }

    /// Whether the user wants to look offline though a device is connected: nothing they do may show (P4).
    pub fn is_hidden(&self, user: &UserId, now: Instant) -> bool {
        let inner = self.lock();
        inner.keys.get(user).is_some_and(|key| {
            matches!(inner.engine.own_view(*key, now).choice, Choice::Hidden | Choice::Offline)
        })
    }

    /// The state that a user chose, whatever idleness or a lost connection makes of it; the default of one who was
    /// never connected.
    pub fn choice(&self, user: &UserId) -> Choice {
        let inner = self.lock();
        let now = self.clock.now();
        inner.keys.get(user).map(|key| inner.engine.own_view(*key, now).choice).unwrap_or_default()
    }

    /// The name that a user has chosen; `None` also for one who was never connected.
    pub fn displayname(&self, user: &UserId) -> Option<String> {
        let inner = self.lock();
        inner.users[inner.keys.get(user)?.0 as usize].profile.displayname.clone()
    }

    /// What somebody is seen with, and the words beside it: by their own devices, or by others.
    pub fn words(&self, user: &UserId, is_own: bool) -> (State, Option<Arc<str>>) {
        let inner = self.lock();
        let Some(key) = inner.keys.get(user).copied() else { return (State::Offline, None) };
        let now = self.clock.now();
        if is_own {
            let OwnView { state, status_msg, .. } = inner.engine.own_view(key, now);
            (state, status_msg)
        } else {
            let View { state, status_msg, .. } = inner.engine.view(key, now);
            (state, status_msg)
        }
    }

    /// The last event of one user as others see it: what the board has.
    pub fn event(&self, user: &UserId) -> Option<Arc<PresenceEvent>> {
        self.board.event(user)
    }

    /// The user's own event, for their own devices, when it changed after the live position `since`. It is
    /// made when it is asked for: a few devices ask, and hardly twice.
    pub fn own_event(&self, user: &UserId, since: LivePosition, now: Instant) -> Option<PresenceEvent> {
        let inner = self.lock();
        let key = *inner.keys.get(user)?;
        let Entry { user, profile, last_seen, own_position, .. } = &inner.users[key.0 as usize];
        let view = inner.engine.own_view(key, now);
        (*own_position > since).then(|| shown::for_own_devices(user, &view, profile, *last_seen, now))
    }

    /// What a user shows to other servers, and since which live position; offline if they were never connected.
    pub fn status(&self, user: &UserId) -> (LivePosition, Status) {
        let inner = self.lock();
        let Some(key) = inner.keys.get(user) else { return Default::default() };
        let now = self.clock.now();
        let Entry { position, last_seen, ref profile, .. } = inner.users[key.0 as usize];
        (position, shown::status(inner.engine.view(*key, now), profile, last_seen, now))
    }

    /// Takes what changed of the devices that want to be told of presence.
    pub fn follow(&self, change: &feed::Change) {
        self.deliveries.follow(change);
    }

    /// The user changed name or picture: one event tells it with the presence (P10).
    pub fn handle_profile(&self, user: &UserId, profile: Profile) {
        let _telling = self.live.telling();
        let told = {
            let mut inner = self.lock();
            // Nobody was ever told of somebody who is not there.
            let Some(key) = inner.keys.get(user).copied() else { return };
            inner.users[key.0 as usize].profile = profile;
            let now = self.clock.now();
            let view = inner.engine.view(key, now);
            let position = inner.publish(key, &view, &self.board, now);
            inner.told(key, Change::Visible, position, view, now)
        };
        self.feed.tell(&[told]);
    }

    /// Takes a user up whom nobody has heard of yet.
    pub(super) async fn introduce(&self, user: &UserId) -> Result<(), StoreError> {
        if self.lock().keys.contains_key(user) {
            return Ok(());
        }
        let profile = self.store.profile(user).await?.unwrap_or_default();
        let mut inner = self.lock();
        if !inner.keys.contains_key(user) {
            inner.insert(user, Record::default(), profile, self.clock.now());
        }
        Ok(())
    }

    /// Runs one input of a known user through the engine, and tells what follows from it. `None`: nobody
    /// knows the user.
    pub(super) fn input(
        &self,
        user: &UserId,
        input: impl FnOnce(&mut Engine, UserKey, Instant),
    ) -> Option<Ticket> {
        let _telling = self.live.telling();
        let (told, ticket) = {
            let mut inner = self.lock();
            let key = *inner.keys.get(user)?;
            let now = self.clock.now();
            input(&mut inner.engine, key, now);
            let told = self.drain(&mut inner, now);
            (told, Ticket(inner.queued))
        };
        self.tell(&told);
        Some(ticket)
    }

    /// Lets the timers fire that are due.
    pub(super) fn handle_timeout(&self) {
        let _telling = self.live.telling();
        let told = {
            let mut inner = self.lock();
            let now = self.clock.now();
            inner.engine.handle_timeout(now);
            self.drain(&mut inner, now)
        };
        self.tell(&told);
    }

    /// Before the end: has what only memory has of users be written by the next flush.
    pub fn handle_stop(&self) {
        let _telling = self.live.telling();
        let told = {
            let mut inner = self.lock();
            inner.engine.handle_stop();
            self.drain(&mut inner, self.clock.now())
        };
        self.tell(&told);
    }

    /// When the timers' task is to wake up next; from here on it is told of what is earlier.
    pub(super) fn arm(&self) -> Option<Instant> {
        let mut inner = self.lock();
        inner.armed = inner.engine.poll_timeout();
        inner.armed
    }

    /// Waits until the record of this number is on the disk, or was tried in vain: what it says is shown already, is
    /// kept in memory, and is tried again until it is written. Not for what users choose.
    ///
    /// # Errors
    /// [`StoreError::Closed`] when nobody writes any more.
    pub(super) async fn written(&self, Ticket(number): Ticket) -> Result<(), StoreError> {
        let mut written = self.written.subscribe();
        let tried = written.wait_for(|written| number <= written.upto.max(written.refused)).await;
        tried.map(drop).map_err(|_| StoreError::Closed)
    }

    /// The records that wait to be written, for whoever writes them; and the number of the last of them.
    pub(super) fn unwritten(&self) -> (Vec<(UserKey, Arc<OwnedUserId>, Record)>, u64) {
        let mut inner = self.lock();
        let records = std::mem::take(&mut inner.unwritten).into_iter();
        let named = records.map(|(key, record)| (key, Arc::clone(&inner.users[key.0 as usize].user), record));
        (named.collect(), inner.queued)
    }

    /// The record of a user that is to be stored before what was `said` is taken; `None`: the stored one says so.
    pub(super) fn record_with(&self, user: &UserId, said: &Said) -> Option<Record> {
        let inner = self.lock();
        let key = *inner.keys.get(user)?;
        inner.engine.record_with(key, said.decision, &said.status_msg, self.clock.now())
    }

    /// Takes records back that could not be written, unless there are later ones.
    pub(super) fn take_back(&self, records: Vec<(UserKey, Arc<OwnedUserId>, Record)>) {
        let mut inner = self.lock();
        for (key, _, record) in records {
            inner.unwritten.entry(key).or_insert(record);
        }
    }

    /// Takes the engine's outputs: records to the disk, changes to their positions. Answers with what is to be
    /// told when the lock is gone.
    fn drain(&self, inner: &mut Inner, now: Instant) -> Vec<feed::Change> {
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
                    let view = inner.engine.view(user, now);
                    let position = match change {
                        Change::Own => {
                            let position = self.live.advance();
                            inner.users[user.0 as usize].own_position = position;
                            inner.freshen(user, &view, &self.board, now);
                            position
                        }
                        Change::Times if inner.is_fresh(user, now) => {
                            inner.freshen(user, &view, &self.board, now)
                        }
                        Change::Times | Change::Quiet | Change::Visible => {
                            inner.publish(user, &view, &self.board, now)
                        }
                    };
                    told.push(inner.told(user, change, position, view, now));
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

    fn tell(&self, told: &[feed::Change]) {
        if !told.is_empty() {
            self.feed.tell(told);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }
}

impl Inner {
    fn insert(&mut self, user: &UserId, record: Record, profile: Profile, now: Instant) -> UserKey {
        let last_seen = record.last_seen.map(Instant::from_unix);
        let key = self.engine.insert_user(record, now);
        let user = Arc::new(user.to_owned());
        self.keys.insert(SharedId(Arc::clone(&user)), key);
        let (position, own_position) = (LivePosition::START, LivePosition::START);
        let published = Instant::ZERO;
        self.users.push(Entry { user, profile, last_seen, position, own_position, published });
        key
    }

    /// Puts a user up on the board with a new event, and answers with its position.
    fn publish(&mut self, key: UserKey, view: &View, board: &Board, now: Instant) -> LivePosition {
        let entry = &mut self.users[key.0 as usize];
        let event = shown::own(&entry.user, view, &entry.profile, entry.last_seen, now);
        let position = board.show(&entry.user, event);
        (entry.position, entry.own_position, entry.published) = (position, position, now);
        position
    }

    /// Whether a user was put up on the board so short a time ago that times alone are no news yet.
    fn is_fresh(&self, key: UserKey, now: Instant) -> bool {
        now.since(self.users[key.0 as usize].published) < TIMES_EVERY
    }

    /// Has the board tell the times as they are to whoever comes to look, and answers with the position at which
    /// the user stands: nobody is told for it.
    fn freshen(&mut self, key: UserKey, view: &View, board: &Board, now: Instant) -> LivePosition {
        let entry = &self.users[key.0 as usize];
        board.freshen(&entry.user, shown::own(&entry.user, view, &entry.profile, entry.last_seen, now));
        entry.position
    }

    fn told(
        &self,
        key: UserKey,
        change: Change,
        position: LivePosition,
        view: View,
        now: Instant,
    ) -> feed::Change {
        let Entry { user, last_seen, profile, .. } = &self.users[key.0 as usize];
        let status = shown::status(view, profile, *last_seen, now);
        feed::Change::Presence { user: Arc::clone(user), change, position, status }
    }
}

#[cfg(test)]
mod tests;
