//! Presence between servers: the core's engine with a clock, the lists and the queue around it.
//!
//! What it is told comes as plain values: who observes whom ([`Across`]), who shows what, who has a stream
//! open, what peers say. What it wants goes to the queue; what it comes to know of the users of other servers goes to the
//! feed. When what is sent and believed is decided by [`crate::core::federation`].
//!
//! Locks: under this one only the queue's is taken. The feed is told after it, so that two changes of one
//! user may be told in any order: they carry their numbers. For the same reason a status that comes in has its
//! live position, and a later one is never replaced by an earlier.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use parking_lot::{Mutex, MutexGuard};
use ruma::{OwnedRoomId, OwnedServerName, OwnedUserId, ServerName, UserId};
use serde_json::value::RawValue;
use tokio::sync::{Notify, watch};

use super::{
    across::Across,
    edu::{Edu, Key},
    profiles::{Profiles, Turn},
    queue::Queue,
    readers::Readers,
};
use crate::{
    core::{
        federation::{
            BadEdu, BadUserId, Config, Event, Federation as Role, Outcome, PeerView, Permission, Rejected,
            Room, Status, decode_brief,
        },
        time::Instant,
    },
    server::{
        change::{
            feed::{Change, Feed},
            position::LivePosition,
        },
        clock::Clock,
        config::servers::Policy,
        profile::Profile,
    },
};

/// The type of the EDU that carries presence.
pub const PRESENCE: &str = "m.presence";

/// The presence of this server towards all others.
///
/// Memory: the engine's, and the names of those who are on lists across servers.
#[derive(Debug)]
pub struct Presence {
    /// The name of this server.
    pub(super) own: OwnedServerName,
    pub(super) clock: Clock,
    feed: Arc<Feed>,
    pub(super) policy: Arc<Policy>,
    queue: Arc<Queue>,
    inner: Mutex<Inner>,
    /// The next deadline came nearer.
    earlier: Notify,
    /// There may be a profile to ask for.
    pub(super) wanted: Notify,
    /// Counts what was taken in, for those who wait for an answer to come.
    pub(super) taken: watch::Sender<u64>,
    /// How long a reader stays one after their last stream ended.
    grace: Duration,
}

/// A stream or poll that tells of others, until this is dropped.
#[derive(Debug)]
pub struct Attached {
    presence: Arc<Presence>,
    user: OwnedUserId,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) role: Role,
    /// What the engine knows of the lists of this server's users.
    pub(super) lists: HashMap<OwnedUserId, Across>,
    /// The rooms that tie users here to those of other servers, as the engine knows them.
    pub(super) rooms: BTreeMap<OwnedRoomId, Room>,
    /// How many rooms ever did.
    pub(super) rooms_named: u32,
    /// Those of this server whom some other may see, by a list or a room: since when the status that the engine has is shown.
    pub(super) shown: HashMap<OwnedUserId, LivePosition>,
    /// The users of other servers who are observed here, and by whom.
    observers: HashMap<OwnedUserId, BTreeSet<OwnedUserId>>,
    readers: Readers,
    /// Those of whom the engine knows that they read: readers who observe somebody, or did.
    attached: BTreeSet<OwnedUserId>,
    /// What the users of other servers are called.
    pub(super) profiles: Profiles,
    /// Those whose profile came, or is not waited for any longer: they are to be told of as they are.
    pub(super) again: Vec<OwnedUserId>,
    /// Counts what became known of the users of other servers.
    told: u64,
    /// When the timers' task wakes up next.
    armed: Option<Instant>,
}

impl Presence {
    /// Knows nobody yet; see [`Self::handle_lists`]. `epoch` is greater after each start.
    pub fn new(
        own: &ServerName,
        epoch: u64,
        config: Config,
        grace: Duration,
        (clock, feed): (Clock, Arc<Feed>),
        (policy, queue): (Arc<Policy>, Arc<Queue>),
    ) -> Self {
        let inner = Inner {
            role: Role::new(own.as_str(), epoch, rand::random(), config),
            lists: HashMap::new(),
            rooms: BTreeMap::new(),
            rooms_named: 0,
            shown: HashMap::new(),
            observers: HashMap::new(),
            readers: Readers::default(),
            attached: BTreeSet::new(),
            profiles: Profiles::default(),
            again: Vec::new(),
            told: 0,
            armed: None,
        };
        Self {
            own: own.to_owned(),
            clock,
            feed,
            policy,
            queue,
            inner: Mutex::new(inner),
            earlier: Notify::new(),
            wanted: Notify::new(),
            taken: watch::Sender::new(0),
            grace,
        }
    }

    /// How it stands with every server with which presence is or was shared, by name.
    pub fn peers(&self) -> BTreeMap<String, PeerView> {
        self.lock().role.peers().map(|(name, view)| (name.to_owned(), view)).collect()
    }

    /// The list of `owner` changed, or with whom they share. Those of one user are handed in in their order.
    /// `status` is what the user shows, and since when; it is asked for while no lock is held, and only if a
    /// server may see it.
    pub fn handle_lists(
        &self,
        owner: &UserId,
        mut across: Across,
        status: impl Fn() -> (LivePosition, Status),
    ) {
        across.observed.retain(|user| self.policy.shares_presence_with(user.server_name()));
        across.servers.retain(|server| self.policy.shares_presence_with(server));
        let shown = if across.servers.is_empty() { Default::default() } else { status() };
        let is_first = self.input(|inner, now| inner.handle_lists(owner, across, shown, now));
        if is_first {
            // What the user came to show in between was told while nobody listened for it.
            let (position, status) = status();
            self.handle_status(owner, position, &status);
        }
    }

    /// A user of this server shows `status` since `position`. It counts if a server may see the user, and if
    /// nothing later is known.
    pub fn handle_status(&self, user: &UserId, position: LivePosition, status: &Status) {
        self.input(|inner, now| {
            if let Some(shown) = inner.shown.get_mut(user).filter(|shown| position >= **shown) {
                *shown = position;
                is_ours(inner.role.handle_local_change(now, user.as_str(), status.clone()));
            }
        });
    }

    /// The user opens a stream or poll that tells of others (L8). Who does not open the next within the
    /// grace period after its end needs nobody to be polled.
    pub fn attach(self: &Arc<Self>, user: &UserId) -> Attached {
        self.input(|inner, now| {
            let is_new = inner.readers.open(user);
            if is_new && inner.is_observer(user) {
                inner.attach(user, now);
            }
        });
        Attached { presence: Arc::clone(self), user: user.to_owned() }
    }

    /// An EDU `m.presence` came from `origin`.
    pub fn handle_edu(&self, origin: &ServerName, content: &RawValue) {
        self.handle_from(origin, |role, now| role.handle_edu(now, origin.as_str(), content.get()));
    }

    /// A reminder in the brief form came from `origin`.
    ///
    /// # Errors
    /// [`BadEdu`] when it has another form.
    pub fn handle_brief(&self, origin: &ServerName, text: &str) -> Result<(), BadEdu> {
        let reminder = decode_brief(text)?;
        self.handle_from(origin, |role, now| role.handle_reminder(now, origin.as_str(), reminder));
        Ok(())
    }

    fn handle_from(
        &self,
        origin: &ServerName,
        handle: impl FnOnce(&mut Role, Instant) -> Result<(), Rejected>,
    ) {
        if !self.policy.shares_presence_with(origin) {
            return tracing::debug!(%origin, "presence of a server with which none is shared");
        }
        self.input(|inner, now| {
            if let Err(error) = handle(&mut inner.role, now) {
                tracing::debug!(%origin, %error, "presence is not taken");
            }
        });
    }

    /// A request came that proved to be from `peer`: it lives.
    pub(super) fn handle_traffic(&self, peer: &ServerName) {
        self.input(|inner, now| inner.role.handle_traffic(now, peer.as_str()));
    }

    /// `peer` acknowledged something that is no presence (F9).
    pub(super) fn handle_acknowledged(&self, peer: &ServerName) {
        self.input(|inner, now| inner.role.handle_acknowledged(now, peer.as_str()));
    }

    /// The message `seq` of the engine was acknowledged by `destination`, or failed.
    pub(super) fn handle_outcome(&self, destination: &ServerName, seq: u64, outcome: Outcome) {
        self.input(|inner, now| inner.role.handle_outcome(now, destination.as_str(), seq, outcome));
    }

    /// Before the end: queues what waits for the end of a batch window. Nobody is said to be offline: who
    /// is back within the promise was never away, and otherwise the peers see that it has run out.
    pub(super) fn handle_flush(&self) {
        self.input(|inner, now| inner.role.handle_flush(now));
    }

    /// Runs the timers until the task is dropped.
    pub(super) async fn run(&self) {
        loop {
            match self.arm() {
                Some(at) => tokio::select! {
                    () = self.clock.sleep_until(at) => self.handle_timeout(),
                    () = self.earlier.notified() => {}
                },
                None => self.earlier.notified().await,
            }
        }
    }

    fn arm(&self) -> Option<Instant> {
        let mut inner = self.lock();
        inner.armed = inner.deadline();
        inner.armed
    }

    fn handle_timeout(&self) {
        self.input(|inner, now| {
            for user in inner.readers.left(now) {
                inner.detach(&user, now);
            }
            let tired = inner.profiles.handle_timeout(now);
            inner.again.extend(tired);
            inner.role.handle_timeout(now);
        });
    }

    /// Runs an input, and does what follows.
    pub(super) fn input<T>(&self, input: impl FnOnce(&mut Inner, Instant) -> T) -> T {
        let (answer, told) = {
            let mut inner = self.lock();
            let now = self.clock.now();
            let answer = input(&mut inner, now);
            (answer, self.drain(&mut inner, now))
        };
        if !told.is_empty() {
            let _telling = self.feed.live().telling();
            told.iter().for_each(|change| self.feed.follow(change));
            self.feed.tell(&told);
        }
        if self.taken.receiver_count() > 0 {
            self.taken.send_modify(|taken| *taken += 1);
        }
        answer
    }

    /// Takes the engine's outputs: messages to the queue. Answers with what is to be told when the lock is gone.
    fn drain(&self, inner: &mut Inner, now: Instant) -> Vec<Change> {
        let mut told = Vec::new();
        while let Some(event) = inner.role.poll_output() {
            match event {
                Event::Send { destination, seq, content, brief } => {
                    if let Err(error) = self.send(&destination, seq, content, brief) {
                        tracing::warn!(%destination, %error, "presence cannot be sent");
                        inner.role.handle_outcome(now, &destination, seq, Outcome::Failed);
                    }
                }
                Event::RemoteChanged { user_id, status } => {
                    let Ok(user) = UserId::parse(user_id) else { continue };
                    let is_listed = inner.observers.contains_key(&user);
                    let turn = match &status {
                        Some(status) if is_listed => {
                            inner.profiles.handle_change(&user, status.shown.profile, now)
                        }
                        Some(status) => {
                            inner.profiles.handle_change_of_mate(&user, status.shown.profile, now)
                        }
                        None => {
                            let profile = inner.profiles.handle_unknown(&user);
                            if !is_listed {
                                inner.profiles.forget(&user);
                            }
                            Turn::Tell(profile)
                        }
                    };
                    if let Turn::Tell(profile) = turn {
                        told.push(inner.told(user, status, profile));
                    }
                }
            }
        }
        for user in std::mem::take(&mut inner.again) {
            let (status, profile) = (inner.role.status_of(user.as_str()), inner.profiles.profile(&user));
            told.push(inner.told(user, status, profile));
        }
        if inner.profiles.busy() > 0 {
            self.wanted.notify_one();
        }
        if inner.deadline().is_some_and(|next| inner.armed.is_none_or(|armed| next < armed)) {
            inner.armed = inner.deadline();
            self.earlier.notify_one();
        }
        told
    }

    fn send(
        &self,
        destination: &str,
        seq: u64,
        content: String,
        brief: Option<String>,
    ) -> Result<(), Box<dyn std::error::Error>> {
        let destination = OwnedServerName::try_from(destination)?;
        let content = RawValue::from_string(content)?;
        let edu = Edu { kind: PRESENCE, content, brief, key: Key::Presence, seq };
        Ok(self.queue.push(&destination, edu)?)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        let grace = self.presence.grace;
        self.presence.input(|inner, now| inner.readers.close(&self.user, now + grace));
    }
}

impl Inner {
    fn deadline(&self) -> Option<Instant> {
        let deadlines = [self.role.poll_timeout(), self.readers.deadline(), self.profiles.deadline()];
        deadlines.into_iter().flatten().min()
    }

    /// What is to be told of a user of another server.
    fn told(&mut self, user: OwnedUserId, status: Option<Status>, profile: Arc<Profile>) -> Change {
        let observers = self.observers.get(&user).into_iter().flatten().cloned().collect();
        self.told += 1;
        Change::RemotePresence { user, status, profile, order: self.told, observers }
    }

    /// Takes a list; whether the first servers may see its owner from here on, who shows `status` since `position`.
    fn handle_lists(
        &mut self,
        owner: &UserId,
        across: Across,
        (position, status): (LivePosition, Status),
        now: Instant,
    ) -> bool {
        let before = self.lists.remove(owner).unwrap_or_default();
        for observed in before.observed.difference(&across.observed) {
            self.forget_observer(observed, owner);
            is_ours(self.role.handle_interest_removed(now, owner.as_str(), observed.as_str()));
        }
        for observed in across.observed.difference(&before.observed) {
            self.observers.entry(observed.clone()).or_default().insert(owner.to_owned());
            is_ours(self.role.handle_interest_added(now, owner.as_str(), observed.as_str()));
        }
        if self.readers.has(owner) && !across.observed.is_empty() && !self.attached.contains(owner) {
            self.attach(owner, now);
        }
        let is_first = !across.servers.is_empty() && !self.shown.contains_key(owner);
        if is_first {
            self.shown.insert(owner.to_owned(), position);
            is_ours(self.role.handle_local_change(now, owner.as_str(), status));
        }
        let lost = before.servers.difference(&across.servers).map(|server| (server, Permission::Denied));
        let gained = across.servers.difference(&before.servers).map(|server| (server, Permission::Allowed));
        for (server, permission) in lost.chain(gained) {
            is_ours(self.role.handle_permission(now, server.as_str(), owner.as_str(), permission));
        }
        if across != Across::default() {
            self.lists.insert(owner.to_owned(), across);
        }
        self.forget_unseen(owner);
        is_first
    }

    /// Whether there is anybody of another server whom the user may want to see.
    fn is_observer(&self, user: &UserId) -> bool {
        self.lists.get(user).is_some_and(|across| !across.observed.is_empty())
            || self.role.is_tied_by_room(user.as_str())
    }

    /// Nobody elsewhere may see the user any more, perhaps: then what they show is not followed.
    pub(super) fn forget_unseen(&mut self, user: &UserId) {
        let by_list = self.lists.get(user).is_some_and(|across| !across.servers.is_empty());
        if !by_list && !self.role.is_tied_by_room(user.as_str()) {
            self.shown.remove(user);
        }
    }

    /// The user came to have somebody to see: if they read, that is asked for.
    pub(super) fn attach_if_reading(&mut self, user: &UserId, now: Instant) {
        if self.readers.has(user) && !self.attached.contains(user) && self.is_observer(user) {
            self.attach(user, now);
        }
    }

    fn attach(&mut self, user: &UserId, now: Instant) {
        self.attached.insert(user.to_owned());
        is_ours(self.role.handle_client_attached(now, user.as_str()));
    }

    fn detach(&mut self, user: &UserId, now: Instant) {
        if self.attached.remove(user) {
            is_ours(self.role.handle_client_detached(now, user.as_str()));
        }
    }

    fn forget_observer(&mut self, observed: &UserId, observer: &UserId) {
        if let Some(observers) = self.observers.get_mut(observed) {
            observers.remove(observer);
            if observers.is_empty() {
                self.observers.remove(observed);
                self.profiles.forget(observed);
            }
        }
    }
}

/// The engine refuses only what is no user ID, and those that it is told here are.
pub(super) fn is_ours(taken: Result<(), BadUserId>) {
    if let Err(e) = taken {
        tracing::error!(error = %e, "a user ID is none after all");
    }
}

#[cfg(test)]
mod tests;
