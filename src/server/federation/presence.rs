//! Presence between servers: the core's engine with a clock, the lists and the queue around it.
//!
//! What it is told comes from `contacts` (who observes whom), from `presence` (who shows what, who has a
//! stream open) and from `send` (what peers say); what it wants goes to the queue, and to the presence of
//! remote users. When what is sent and believed is decided by [`crate::core::federation`].
//!
//! Locks: this one first, then those of `contacts`, `presence` and the queue.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use parking_lot::{Mutex, MutexGuard};
use ruma::{OwnedServerName, OwnedUserId, ServerName, UserId};
use serde_json::value::RawValue;
use tokio::sync::Notify;

use super::{
    Federation,
    queue::{Edu, Key},
};
use crate::{
    core::{
        federation::{
            BadEdu, Config, Event, Federation as Role, Outcome, PeerView, Permission, Rejected, decode_brief,
        },
        presence::Change,
        time::Instant,
    },
    server::{app::App, contacts::Across},
};

/// The type of the EDU that carries presence.
pub const PRESENCE: &str = "m.presence";

/// The presence of this server towards all others.
///
/// Memory: the engine's, and the names of those who are on lists across servers.
#[derive(Debug)]
pub struct Presence {
    inner: Mutex<Inner>,
    /// The next deadline came nearer.
    earlier: Notify,
    /// How long a reader stays one after their last stream ended.
    grace: Duration,
}

#[derive(Debug)]
struct Inner {
    role: Role,
    /// What the engine knows of the lists of this server's users.
    across: HashMap<OwnedUserId, Across>,
    /// The users of other servers who are observed here, and by whom.
    observers: HashMap<OwnedUserId, BTreeSet<OwnedUserId>>,
    readers: Readers,
    /// Those of whom the engine knows that they read: readers who observe somebody, or did.
    attached: BTreeSet<OwnedUserId>,
    /// When the timers' task wakes up next.
    armed: Option<Instant>,
}

/// Who has a stream or poll open, or had one a moment ago (L8).
#[derive(Debug, Default)]
struct Readers {
    /// How many are open.
    open: BTreeMap<OwnedUserId, usize>,
    /// Those for whom none is open any more, and when that counts.
    leaving: BTreeMap<OwnedUserId, Instant>,
    by_time: BTreeSet<(Instant, OwnedUserId)>,
}

impl Presence {
    /// Knows nobody yet; see [`App::load_presence_across`].
    pub fn new(own: &ServerName, epoch: u64, config: Config, grace: Duration) -> Self {
        let inner = Inner {
            role: Role::new(own.as_str(), epoch, rand::random(), config),
            across: HashMap::new(),
            observers: HashMap::new(),
            readers: Readers::default(),
            attached: BTreeSet::new(),
            armed: None,
        };
        Self { inner: Mutex::new(inner), earlier: Notify::new(), grace }
    }

    /// How it stands with every server with which presence is or was shared, by name.
    pub fn peers(&self) -> BTreeMap<String, PeerView> {
        self.lock().role.peers().map(|(name, view)| (name.to_owned(), view)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }
}

/// Runs the timers of presence between servers until the task is dropped.
pub async fn run(app: Arc<App>) {
    let Some(federation) = &app.federation else { return };
    loop {
        let next = {
            let mut inner = federation.presence.lock();
            inner.armed = inner.deadline();
            inner.armed
        };
        match next {
            Some(at) => tokio::select! {
                () = app.clock.sleep_until(at) => {}
                () = federation.presence.earlier.notified() => continue,
            },
            None => {
                federation.presence.earlier.notified().await;
                continue;
            }
        }
        app.across(|_, inner, now| {
            for user in inner.readers.left(now) {
                inner.detach(&user, now);
            }
            inner.role.handle_timeout(now);
        });
    }
}

impl App {
    /// Tells the engine of everybody's lists, when the server starts.
    pub fn load_presence_across(&self) {
        for owner in self.contacts.owners() {
            self.refresh_across(&owner);
        }
    }

    /// Brings the engine up to date with the list of `owner`, and with whom they share.
    pub fn refresh_across(&self, owner: &UserId) {
        if owner.server_name() != self.server_name() {
            return;
        }
        self.across(|federation, inner, now| {
            let shares = |server: &ServerName| federation.policy.shares_presence_with(server);
            let mut across = self.contacts.across(owner);
            across.observed.retain(|user| shares(user.server_name()));
            across.servers.retain(|server| shares(server));
            self.take_lists(inner, owner, across, now);
        });
    }

    /// A user of this server may show something else than before.
    pub(in crate::server) fn show_across(&self, user: &UserId, change: Change) {
        if change != Change::Own {
            self.across(|_, inner, now| {
                if inner.across.get(user).is_some_and(|across| !across.servers.is_empty()) {
                    self.take_status(inner, user, now);
                }
            });
        }
    }

    /// The user opened a stream or poll that tells of others (L8).
    pub(in crate::server) fn attach_across(&self, user: &UserId) {
        self.across(|_, inner, now| {
            let is_new = inner.readers.open(user);
            if is_new && inner.across.get(user).is_some_and(|across| !across.observed.is_empty()) {
                inner.attach(user, now);
            }
        });
    }

    /// A stream or poll of the user ended. Who does not open the next within the grace period needs nobody
    /// to be polled.
    pub(in crate::server) fn detach_across(&self, user: &UserId) {
        self.across(|federation, inner, now| inner.readers.close(user, now + federation.presence.grace));
    }

    /// An EDU `m.presence` came from `origin`.
    pub fn take_presence(&self, origin: &ServerName, content: &RawValue) {
        self.take_from(origin, |role, now| role.handle_edu(now, origin.as_str(), content.get()));
    }

    /// A reminder in the brief form came from `origin`.
    ///
    /// # Errors
    /// [`BadEdu`] when it has another form.
    pub fn take_brief(&self, origin: &ServerName, text: &str) -> Result<(), BadEdu> {
        let reminder = decode_brief(text)?;
        self.take_from(origin, |role, now| role.handle_reminder(now, origin.as_str(), reminder));
        Ok(())
    }

    fn take_from(&self, origin: &ServerName, take: impl FnOnce(&mut Role, Instant) -> Result<(), Rejected>) {
        self.across(|federation, inner, now| {
            if !federation.policy.shares_presence_with(origin) {
                return tracing::debug!(%origin, "presence of a server with which none is shared");
            }
            if let Err(error) = take(&mut inner.role, now) {
                tracing::debug!(%origin, %error, "presence is not taken");
            }
        });
    }

    /// A request came that proved to be from `peer`: it lives.
    pub fn take_life_sign(&self, peer: &ServerName) {
        self.across(|federation, inner, now| {
            federation.queue.handle_traffic(now, peer);
            inner.role.handle_traffic(now, peer.as_str());
        });
    }

    /// The message `seq` of the engine was acknowledged by `destination`, or failed.
    pub fn take_outcome(&self, destination: &ServerName, seq: u64, outcome: Outcome) {
        self.across(|_, inner, now| inner.role.handle_outcome(now, destination.as_str(), seq, outcome));
    }

    /// Before the end: queues what waits for the end of a batch window. Nobody is said to be offline: who
    /// is back within the promise was never away, and otherwise the peers see that it has run out.
    pub fn flush_across(&self) {
        self.across(|_, inner, now| inner.role.handle_flush(now));
    }

    /// Runs an input, and does what follows.
    fn across(&self, input: impl FnOnce(&Federation, &mut Inner, Instant)) {
        let Some(federation) = &self.federation else { return };
        let mut inner = federation.presence.lock();
        let now = self.now();
        input(federation, &mut inner, now);
        while let Some(event) = inner.role.poll_output() {
            match event {
                Event::Send { destination, seq, content, brief } => {
                    if let Err(error) = queue_presence(federation, &destination, seq, content, brief) {
                        tracing::warn!(%destination, %error, "presence cannot be sent");
                        inner.role.handle_outcome(now, &destination, seq, Outcome::Failed);
                    }
                }
                Event::RemoteChanged { user_id, status } => {
                    let Ok(user) = UserId::parse(user_id) else { continue };
                    let observers = inner.observers.get(&user);
                    self.presence.show_remote(&user, status.as_ref(), &self.live);
                    self.wakers.wake_all(observers.into_iter().flatten().map(|observer| &**observer));
                }
            }
        }
        if inner.deadline().is_some_and(|next| inner.armed.is_none_or(|armed| next < armed)) {
            inner.armed = inner.deadline();
            federation.presence.earlier.notify_one();
        }
    }

    fn take_lists(&self, inner: &mut Inner, owner: &UserId, across: Across, now: Instant) {
        let before = inner.across.remove(owner).unwrap_or_default();
        let ours = |e| tracing::error!(error = %e, "a user ID is none after all");
        for observed in before.observed.difference(&across.observed) {
            inner.forget_observer(observed, owner);
            inner.role.handle_interest_removed(now, owner.as_str(), observed.as_str()).unwrap_or_else(ours);
        }
        for observed in across.observed.difference(&before.observed) {
            inner.observers.entry(observed.clone()).or_default().insert(owner.to_owned());
            inner.role.handle_interest_added(now, owner.as_str(), observed.as_str()).unwrap_or_else(ours);
        }
        if inner.readers.has(owner) && before.observed.is_empty() && !across.observed.is_empty() {
            inner.attach(owner, now);
        }
        if before.servers.is_empty() && !across.servers.is_empty() {
            self.take_status(inner, owner, now);
        }
        let lost = before.servers.difference(&across.servers).map(|server| (server, Permission::Denied));
        let gained = across.servers.difference(&before.servers).map(|server| (server, Permission::Allowed));
        for (server, permission) in lost.chain(gained) {
            let (server, owner) = (server.as_str(), owner.as_str());
            inner.role.handle_permission(now, server, owner, permission).unwrap_or_else(ours);
        }
        if across != Across::default() {
            inner.across.insert(owner.to_owned(), across);
        }
    }

    fn take_status(&self, inner: &mut Inner, user: &UserId, now: Instant) {
        let status = self.presence.status_across(user, now);
        if let Err(e) = inner.role.handle_local_change(now, user.as_str(), status) {
            tracing::error!(error = %e, "a user ID is none after all");
        }
    }
}

fn queue_presence(
    federation: &Federation,
    destination: &str,
    seq: u64,
    content: String,
    brief: Option<String>,
) -> Result<(), Box<dyn std::error::Error>> {
    let destination = OwnedServerName::try_from(destination)?;
    let content = RawValue::from_string(content)?;
    let edu = Edu { kind: PRESENCE, content, brief, key: Key::Presence, seq };
    Ok(federation.queue.push(&destination, edu)?)
}

impl Inner {
    fn deadline(&self) -> Option<Instant> {
        let leaves = self.readers.by_time.first().map(|(at, _)| *at);
        self.role.poll_timeout().into_iter().chain(leaves).min()
    }

    fn attach(&mut self, user: &UserId, now: Instant) {
        self.attached.insert(user.to_owned());
        if let Err(e) = self.role.handle_client_attached(now, user.as_str()) {
            tracing::error!(error = %e, "a user ID is none after all");
        }
    }

    fn detach(&mut self, user: &UserId, now: Instant) {
        if self.attached.remove(user)
            && let Err(e) = self.role.handle_client_detached(now, user.as_str())
        {
            tracing::error!(error = %e, "a user ID is none after all");
        }
    }

    fn forget_observer(&mut self, observed: &UserId, observer: &UserId) {
        if let Some(observers) = self.observers.get_mut(observed) {
            observers.remove(observer);
            if observers.is_empty() {
                self.observers.remove(observed);
            }
        }
    }
}

impl Readers {
    /// Whether the user counts as reading.
    fn has(&self, user: &UserId) -> bool {
        self.open.contains_key(user) || self.leaving.contains_key(user)
    }

    /// One more is open; whether the user did not count before.
    fn open(&mut self, user: &UserId) -> bool {
        if let Some(open) = self.open.get_mut(user) {
            *open += 1;
            return false;
        }
        self.open.insert(user.to_owned(), 1);
        match self.leaving.remove(user) {
            Some(at) => !self.by_time.remove(&(at, user.to_owned())),
            None => true,
        }
    }

    /// One less is open; when it was the last, the user counts until `until`.
    fn close(&mut self, user: &UserId, until: Instant) {
        let Some(open) = self.open.get_mut(user) else { return };
        *open -= 1;
        if *open == 0 {
            self.open.remove(user);
            self.leaving.insert(user.to_owned(), until);
            self.by_time.insert((until, user.to_owned()));
        }
    }

    /// Those who do not count any more.
    fn left(&mut self, now: Instant) -> Vec<OwnedUserId> {
        let mut left = Vec::new();
        while self.by_time.first().is_some_and(|(at, _)| *at <= now) {
            let (_, user) = self.by_time.pop_first().expect("there is one");
            self.leaving.remove(&user);
            left.push(user);
        }
        left
    }
}

#[cfg(test)]
mod tests {
    use ruma::user_id;

    use super::*;

    #[test]
    fn l8_a_reader_counts_from_the_first_stream_until_some_time_after_the_last() {
        let (mut readers, alice) = (Readers::default(), user_id!("@alice:x"));
        let at = Instant::from_millis;
        assert!(readers.open(alice));
        assert!(!readers.open(alice), "a second stream");
        readers.close(alice, at(10));
        assert!(readers.left(at(100)).is_empty(), "one is open");
        readers.close(alice, at(20));
        assert!(!readers.open(alice), "the next poll in time");
        assert!(readers.left(at(100)).is_empty(), "it is open");
        readers.close(alice, at(120));
        assert!(readers.left(at(119)).is_empty() && readers.has(alice));
        assert_eq!(readers.left(at(120)), [alice]);
        assert!(!readers.has(alice) && readers.open(alice));
    }
}
