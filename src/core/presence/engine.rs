//! The role that keeps the presence of all users of this server.
//!
//! It is told when devices connect, leave and report, and what users choose; it tells whose presence
//! changed, and for whom. It knows nothing of who observes whom.
//!
//! * A device counts as connected for [`Settings::offline_grace`] after its last poll has ended, so two
//!   long polls have no gap between them, and a leave and a return within the grace are nothing (P12).
//! * While others see a user offline (hidden or gone), nothing that others could see moves: state,
//!   message, `last_active`, `last_seen`. So a hidden user looks like one who signed off (P4).
//! * After a restart, who was seen connected before goes on being seen so for [`Settings::restart_grace`];
//!   then whoever has not come back is offline, since when they were seen last.
//! * When `currently_active` runs out, one [`Change::Quiet`] tells it, as Matrix demands; it need wake
//!   nobody. Messages sent within the window are [`Change::Times`]: for whoever is told anyway.
//! * A device that reported to be idle is remembered so when it is gone, and over a restart (P6): it does not
//!   come back as if somebody were there. What its polls say ([`SetPresence`]) holds as long as they say it.

use std::collections::VecDeque;
use std::time::Duration;

use super::device::{Device, DeviceKey, SetPresence};
use super::device_type::DeviceType;
use super::merge::Idleness;
use super::state::Choice;
use super::status::StatusMsg;
use super::user::{Cause, Change, User};
use super::view::{OwnView, Record, View};
use super::wish::Decision;
use crate::core::time::Instant;
use crate::core::timers::Timers;

/// What an operator can set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long a device counts as connected after its last poll. Default: 30 s. Longer hides worse
    /// networks, and shows people who are gone.
    pub offline_grace: Duration,
    /// How long users seen connected before a restart are still seen so after it. Default: 60 s, which
    /// covers a client's longest wait between two attempts to connect.
    pub restart_grace: Duration,
    /// How long after doing something a user is `currently_active`. Default: 5 min. Longer sends fewer
    /// changes, for somebody who writes now and then.
    pub active_window: Duration,
    /// The longest idleness that a report can claim; a longer one counts as this long. Default: 7 days.
    pub longest_idle: Duration,
    /// The devices of one user that can be connected at once. Default: 64. One more takes the place of the
    /// one that left first; while none has left, it is not counted.
    pub max_devices: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            offline_grace: Duration::from_secs(30),
            restart_grace: Duration::from_secs(60),
            active_window: Duration::from_secs(5 * 60),
            longest_idle: Duration::from_secs(7 * 24 * 60 * 60),
            max_devices: 64,
        }
    }
}

/// The handle of a user, given by [`Engine::insert_user`]: 0, 1, 2 and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserKey(pub u32);

impl UserKey {
    const fn index(self) -> usize {
        self.0 as usize
    }
}

/// What follows from the inputs, in one order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// The user's record is to be stored. Comes before the change that it belongs to; store it before
    /// telling the user that their choice was taken.
    Persist {
        /// Whose.
        user: UserKey,
        /// What to store.
        record: Record,
    },
    /// The user's presence changed; [`Engine::view`] has it. However many inputs led to it, there is one.
    Changed {
        /// Whose.
        user: UserKey,
        /// For whom, and how urgently.
        change: Change,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// The first of the user's devices that left may be out of its grace, or the restart's grace is over.
    /// Not moved when a device comes back: it then finds nothing to do.
    Grace(UserKey),
    /// The user's `currently_active` may run out. Not moved by further acts: it is set again when it fires.
    Window(UserKey),
}

#[derive(Clone, Copy, Debug)]
enum Queued {
    Persist(UserKey),
    Change(UserKey),
}

/// The presence of all users of this server.
///
/// Memory: about 210 bytes for a user with one device and 140 for one with none, some 70 more while a
/// grace runs (`tests/bench/engine.rs` measures it), and one queue entry for each user that changed since the
/// outputs were drained.
#[derive(Debug)]
pub struct Engine {
    settings: Settings,
    users: Vec<User>,
    timers: Timers<Timer>,
    queue: VecDeque<Queued>,
}

impl Engine {
    /// An engine without users.
    pub fn new(settings: Settings) -> Self {
        Self { settings, users: Vec::new(), timers: Timers::new(), queue: VecDeque::new() }
    }

    /// The number of users.
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Whether there are no users.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// The user as others see them. Whether somebody may see them is not asked here.
    pub fn view(&self, user: UserKey, now: Instant) -> View {
        self.user(user).view(now)
    }

    /// The user as their own devices see them.
    pub fn own_view(&self, user: UserKey, now: Instant) -> OwnView {
        self.user(user).own_view(now)
    }

    /// Adds a user as the store has them (a new one: [`Record::default`]).
    pub fn insert_user(&mut self, record: Record, now: Instant) -> UserKey {
        let key = UserKey(u32::try_from(self.users.len()).expect("fewer than 2^32 users"));
        let user = User::restored(record);
        if user.is_held() {
            self.timers.set(Timer::Grace(key), now + self.settings.restart_grace);
        }
        self.users.push(user);
        key
    }

    /// A poll or stream of the device begins. Several can overlap; each ends with
    /// [`handle_disconnected`](Self::handle_disconnected).
    pub fn handle_connected(&mut self, user: UserKey, device: DeviceKey, says: SetPresence, now: Instant) {
        self.connect(user, device, Some(says), now);
    }

    /// `says`: `None` leaves what the device says in its polls as it is.
    fn connect(&mut self, user: UserKey, device: DeviceKey, says: Option<SetPresence>, now: Instant) {
        let settings = &self.settings;
        let u = &mut self.users[user.index()];
        u.release();
        let known = u.devices.iter().position(|d| d.key == device);
        let Some(index) = known.or_else(|| u.admit(Device::new(device, now), settings.max_devices)) else {
            return;
        };
        let d = &mut u.devices[index];
        let kept = d.kept_idle();
        let returns = known.is_some() && !d.is_gone() && d.is_idle() && says == Some(SetPresence::Online);
        d.begin_poll(says, now);
        if d.kept_idle() != kept {
            self.queue_persist(user);
        }
        self.settle(user, now, now, if returns { Cause::Person } else { Cause::Device });
    }

    /// A poll or stream of the device has ended.
    pub fn handle_disconnected(&mut self, user: UserKey, device: DeviceKey, now: Instant) {
        if self.users[user.index()].device(device).is_some_and(|d| d.end_poll(now)) {
            self.arm_grace(user, now + self.settings.offline_grace);
        }
    }

    /// The device made a request that shows it is there, and holds no connection for it.
    pub fn handle_touch(&mut self, user: UserKey, device: DeviceKey, now: Instant) {
        self.connect(user, device, None, now);
        self.handle_disconnected(user, device, now);
    }

    /// The device was logged out: it is gone without any grace, and its polls with it.
    pub fn handle_device_removed(&mut self, user: UserKey, device: DeviceKey, now: Instant) {
        let u = &mut self.users[user.index()];
        let was_idle = u.kept_idle().any(|(key, _)| key == device);
        u.devices.retain(|d| d.key != device);
        if was_idle {
            self.queue_persist(user);
        }
        self.settle(user, now, now, Cause::Person);
    }

    /// The user chose a state and, perhaps, a status message (P2, P3).
    pub fn handle_choice(&mut self, user: UserKey, choice: Choice, status_msg: StatusMsg, now: Instant) {
        self.handle_decision(user, Decision::chosen(choice), status_msg, now);
    }

    /// Something was said of the user's choice, perhaps with a status message: by the user, or by a device that
    /// knows only Matrix's words, which ends nothing that the user chose (P3).
    pub fn handle_decision(
        &mut self,
        user: UserKey,
        decision: Decision,
        status_msg: StatusMsg,
        now: Instant,
    ) {
        let u = &mut self.users[user.index()];
        let mut persist = u.decide(decision);
        persist |= u.say(status_msg);
        if persist {
            self.queue_persist(user);
        }
        self.settle(user, now, now, Cause::Person);
    }

    /// What is to be stored before [`handle_decision`](Self::handle_decision) is told the same; `None`: nothing that
    /// was stored of the user's choice and message becomes another.
    pub fn record_with(
        &self,
        user: UserKey,
        decision: Decision,
        status_msg: &StatusMsg,
        now: Instant,
    ) -> Option<Record> {
        let mut decided = self.user(user).clone();
        let mut differs = decided.decide(decision);
        differs |= decided.say(status_msg.clone());
        decided.settle(now, now, Cause::Person, self.settings.active_window);
        differs.then(|| decided.record())
    }

    /// The device reports that nobody has been at it for `idle_for` (P6): once, when idleness begins. The
    /// engine infers the instant and counts from there.
    ///
    /// `seq` is the device's own number of the report, if it gives any: a late or repeated one is
    /// dropped, for as long as the device is connected. The report of a device that is not connected is
    /// dropped too.
    pub fn handle_idle(
        &mut self,
        user: UserKey,
        device: DeviceKey,
        seq: Option<u64>,
        idle_for: Duration,
        now: Instant,
    ) {
        let since = now - idle_for.min(self.settings.longest_idle);
        self.take_report(user, device, seq, Idleness::Idle { since }, now);
    }

    /// The device reports that somebody is at it again; `seq` as with [`handle_idle`](Self::handle_idle).
    pub fn handle_active(&mut self, user: UserKey, device: DeviceKey, seq: Option<u64>, now: Instant) {
        self.take_report(user, device, seq, Idleness::Active { at: now }, now);
    }

    fn take_report(
        &mut self,
        user: UserKey,
        device: DeviceKey,
        seq: Option<u64>,
        idleness: Idleness,
        now: Instant,
    ) {
        let Some(d) = self.users[user.index()].device(device) else { return };
        let kept = d.kept_idle();
        d.take_report(seq, idleness);
        if d.kept_idle() != kept {
            self.queue_persist(user);
        }
        let cause = match idleness {
            Idleness::Idle { .. } => Cause::Device,
            Idleness::Active { .. } => Cause::Person,
        };
        self.settle(user, now, now, cause);
    }

    /// The device reports what kind it is (P7), or the shell remembers it. To be said after
    /// [`handle_connected`](Self::handle_connected): of a device that is not connected nothing is kept. Answers
    /// whether that is news.
    pub fn handle_device_type(
        &mut self,
        user: UserKey,
        device: DeviceKey,
        device_type: Option<DeviceType>,
    ) -> bool {
        if let Some(d) = self.users[user.index()].device(device)
            && d.device_type() != device_type
        {
            d.set_device_type(device_type);
            self.queue_change(user);
            return true;
        }
        false
    }

    /// The user did something that counts as being active (P8): sent a message. Of an offline or hidden
    /// user it moves nothing.
    pub fn handle_pro_active(&mut self, user: UserKey, now: Instant) {
        let u = &mut self.users[user.index()];
        if u.is_outwardly_offline() {
            return;
        }
        if u.act(now, self.settings.active_window) {
            self.arm_window(user, now);
            self.queue_persist(user);
        }
        self.queue_change(user);
    }

    /// The server stops: what the records do not say yet is to be stored. Acts are not stored one by one, so without
    /// this they are known up to the last of them that opened the window of `currently_active`, or of a later window.
    pub fn handle_stop(&mut self) {
        for key in (0..self.users.len()).filter_map(|index| u32::try_from(index).ok()).map(UserKey) {
            if self.user(key).is_unkept {
                self.queue_persist(key);
            }
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called, if no input comes before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(timer) = self.timers.pop_due(now) {
            match timer {
                Timer::Grace(user) => self.sweep(user, now),
                Timer::Window(user) => match self.user(user).activity.open_until(now) {
                    Some(until) => {
                        self.timers.set(timer, until);
                        if self.user(user).is_unkept {
                            self.queue_persist(user);
                        }
                    }
                    None if self.user(user).is_outwardly_offline() => {}
                    None => {
                        self.queue_persist(user);
                        self.queue_change(user);
                    }
                },
            }
        }
    }

    /// The next of the things that follow from the inputs; to be called until there is none.
    pub fn poll_output(&mut self, now: Instant) -> Option<Output> {
        while let Some(queued) = self.queue.pop_front() {
            match queued {
                Queued::Persist(user) => {
                    let u = &mut self.users[user.index()];
                    (u.persist_queued, u.is_unkept) = (false, false);
                    return Some(Output::Persist { user, record: u.record() });
                }
                Queued::Change(user) => {
                    let u = &mut self.users[user.index()];
                    u.change_queued = false;
                    if let Some(change) = u.take_change(now) {
                        return Some(Output::Changed { user, change });
                    }
                }
            }
        }
        None
    }

    fn user(&self, user: UserKey) -> &User {
        &self.users[user.index()]
    }

    /// Brings a user's state in line after an input, and queues what follows.
    fn settle(&mut self, user: UserKey, now: Instant, there_at: Instant, cause: Cause) {
        let u = &mut self.users[user.index()];
        let settled = u.settle(now, there_at, cause, self.settings.active_window);
        if settled.acted {
            self.arm_window(user, now);
        }
        if settled.persist {
            self.queue_persist(user);
        }
        self.queue_change(user);
    }

    /// Drops the devices whose grace is over.
    fn sweep(&mut self, user: UserKey, now: Instant) {
        let grace = self.settings.offline_grace;
        let u = &mut self.users[user.index()];
        // Who left longer ago than the user was seen moves nothing.
        let mut left_at = Instant::ZERO;
        u.release();
        u.devices.retain_mut(|d| {
            let gone = d.gone_at(grace).is_some_and(|at| at <= now);
            if gone {
                left_at = left_at.max(d.left_at());
            }
            !gone || d.leave()
        });
        if u.devices.is_empty() {
            u.devices.shrink_to_fit();
        }
        let next = u.devices.iter().filter_map(|d| d.gone_at(grace)).min();
        self.settle(user, now, left_at, Cause::Device);
        if let Some(at) = next {
            self.timers.set(Timer::Grace(user), at);
        }
    }

    fn arm_grace(&mut self, user: UserKey, at: Instant) {
        let timer = Timer::Grace(user);
        if self.timers.deadline(timer).is_none_or(|armed| at < armed) {
            self.timers.set(timer, at);
        }
    }

    fn arm_window(&mut self, user: UserKey, now: Instant) {
        let timer = Timer::Window(user);
        if self.timers.deadline(timer).is_none()
            && let Some(until) = self.user(user).activity.open_until(now)
        {
            self.timers.set(timer, until);
        }
    }

    fn queue_persist(&mut self, user: UserKey) {
        let u = &mut self.users[user.index()];
        if !std::mem::replace(&mut u.persist_queued, true) {
            self.queue.push_back(Queued::Persist(user));
        }
    }

    fn queue_change(&mut self, user: UserKey) {
        let u = &mut self.users[user.index()];
        if !std::mem::replace(&mut u.change_queued, true) {
            self.queue.push_back(Queued::Change(user));
        }
    }
}

#[cfg(test)]
mod tests;
