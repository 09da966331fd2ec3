//! What one user's presence ought to be, in the plainest words: everything is worked out anew from the
//! devices whenever it is asked for. No timers, no queue, no handles.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::core::presence::{Choice, DeviceType, Record, State};
use crate::core::time::Instant;

const GRACE: Duration = Duration::from_secs(30);
const RESTART_GRACE: Duration = Duration::from_secs(60);
const WINDOW: Duration = Duration::from_secs(300);

#[derive(Clone, Debug)]
pub(super) struct Device {
    pub polls: u32,
    left_at: Instant,
    /// As it reported: since when it is idle, or when it was last known to be active.
    report: Result<Instant, Instant>,
    /// The same as its polls say, if that is later.
    said: Option<Result<Instant, Instant>>,
    pub seq: u64,
    device_type: Option<DeviceType>,
}

impl Device {
    pub fn idle(&self) -> Result<Instant, Instant> {
        self.said.unwrap_or(self.report)
    }

    /// Since when it is to be taken for idle when it comes back.
    fn kept(&self) -> Option<Instant> {
        self.report.ok().filter(|_| !matches!(self.said, Some(Err(_))))
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Shown {
    pub state: State,
    pub status_msg: Option<Arc<str>>,
    pub last_active_ago: Option<Duration>,
    pub currently_active: bool,
    pub device_type: Option<DeviceType>,
    pub seen_ago: Option<Duration>,
    pub idle_for: Option<Duration>,
}

#[derive(Clone, Debug)]
pub(super) struct User {
    chosen: Choice,
    /// Whether a device that knows only Matrix's words said `offline` after that, and none said otherwise since.
    signed_off: bool,
    pub status_msg: Option<Arc<str>>,
    shown_status: Option<Arc<str>>,
    pub devices: BTreeMap<u64, Device>,
    /// Those that were idle when they left.
    away: BTreeMap<u64, Device>,
    /// After a restart: until when the user is taken to be there, and since when idle.
    held: Option<(Instant, Option<Instant>)>,
    outward: State,
    last_active: Option<Instant>,
    active_until: Option<Instant>,
    last_seen: Option<Instant>,
}

/// Who did it: that tells `currently_active` from not.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum By {
    Person,
    Device,
}

impl User {
    pub fn restored(record: &Record, now: Instant) -> Self {
        let last_seen = record.last_seen.map(Instant::from_unix);
        let away: BTreeMap<u64, Device> = record
            .idle
            .iter()
            .map(|&(key, since)| {
                let since = Instant::from_unix(since);
                (
                    key.0,
                    Device {
                        polls: 0,
                        left_at: since,
                        report: Ok(since),
                        said: None,
                        seq: 0,
                        device_type: None,
                    },
                )
            })
            .collect();
        let idle_since = away.values().filter_map(Device::kept).max().or(last_seen);
        let idle =
            record.shown == State::Unavailable && (record.signed_off || record.choice != Choice::Unavailable);
        let held =
            (record.shown != State::Offline).then_some((now + RESTART_GRACE, idle_since.filter(|_| idle)));
        Self {
            chosen: record.choice,
            signed_off: record.signed_off,
            status_msg: record.status_msg.clone(),
            shown_status: record.shown_status_msg.clone(),
            devices: BTreeMap::new(),
            away,
            held,
            outward: record.shown,
            last_active: record.last_active.map(Instant::from_unix),
            active_until: None,
            last_seen,
        }
    }

    /// What a record may say, given that a crash can lose what was not worth a write.
    pub fn admits(&self, record: &Record) -> bool {
        let devices = self.devices.iter().chain(&self.away);
        let kept: BTreeMap<u64, Instant> =
            devices.filter_map(|(&key, device)| Some((key, device.kept()?))).collect();
        let idle = record.idle.iter().map(|&(key, since)| (key.0, Instant::from_unix(since)));
        kept == idle.collect()
            && (record.choice, record.signed_off) == (self.chosen, self.signed_off)
            && record.status_msg == self.status_msg
            && record.shown == self.outward
            && record.shown_status_msg == self.shown_status
            && record.last_active.map(Instant::from_unix) <= self.last_active
            && record.last_seen.map(Instant::from_unix) <= self.last_seen
    }

    /// What the own devices are told to be chosen.
    pub fn choice(&self) -> Choice {
        if self.signed_off && self.chosen != Choice::Hidden { Choice::Offline } else { self.chosen }
    }

    /// The state as the own devices see it.
    pub fn own_state(&self) -> State {
        let held_active = self.held.is_some_and(|(_, idle)| idle.is_none());
        let any = !self.devices.is_empty() || self.held.is_some();
        let active = held_active || self.devices.values().any(|device| device.idle().is_err());
        match (any, active, self.choice()) {
            (false, ..) => State::Offline,
            (true, false, Choice::Online | Choice::FreeForChat) => State::Unavailable,
            (true, ..) => self.choice().state(),
        }
    }

    pub fn shown(&self, now: Instant) -> Shown {
        let offline = self.outward == State::Offline;
        let online = matches!(self.outward, State::Online | State::FreeForChat);
        let any_active = self.devices.values().any(|device| device.idle().is_err())
            || self.held.is_some_and(|(_, idle)| idle.is_none());
        let idle_since = self.devices.values().filter_map(|device| device.idle().ok());
        let idle_since = idle_since.chain(self.held.and_then(|(_, idle)| idle)).max();
        let idle_tells = !any_active && matches!(self.outward, State::Unavailable | State::Busy);
        let speaks = self.devices.values().max_by_key(|device| match device.idle() {
            Ok(since) => (0, since, device.device_type),
            Err(at) => (1, at, device.device_type),
        });
        Shown {
            state: self.outward,
            status_msg: self.shown_status.clone(),
            last_active_ago: self.last_active.map(|at| now.since(at)),
            currently_active: online && self.active_until.is_some_and(|until| until > now),
            device_type: if offline { None } else { speaks.and_then(|device| device.device_type) },
            seen_ago: self.last_seen.filter(|_| offline).map(|at| now.since(at)),
            idle_for: idle_since.filter(|_| idle_tells).map(|at| now.since(at)),
        }
    }

    /// Time has come to `now`.
    pub fn tick(&mut self, now: Instant) {
        let (here, gone): (BTreeMap<_, _>, BTreeMap<_, _>) = std::mem::take(&mut self.devices)
            .into_iter()
            .partition(|(_, device)| device.polls > 0 || device.left_at + GRACE > now);
        self.devices = here;
        let kept = gone.into_iter().filter(|(_, device)| device.kept().is_some());
        self.away.extend(kept.map(|(key, device)| (key, Device { said: None, ..device })));
        self.held = self.held.filter(|&(until, _)| until > now);
        self.settle(now, None);
    }

    pub fn connect(&mut self, key: u64, idle: bool, device_type: Option<DeviceType>, now: Instant) {
        let fresh =
            Device { polls: 0, left_at: now, report: Err(now), said: None, seq: 0, device_type: None };
        self.held = None;
        let returns = !idle && self.devices.get(&key).is_some_and(|device| device.idle().is_ok());
        let back = self.away.remove(&key).unwrap_or(fresh);
        let device = self.devices.entry(key).or_insert(back);
        device.polls += 1;
        device.device_type = device_type;
        device.said = Some(match idle {
            true => Ok(device.idle().unwrap_or(now)),
            false => Err(now),
        });
        self.settle(now, Some(if returns { By::Person } else { By::Device }));
    }

    pub fn disconnect(&mut self, key: u64, now: Instant) {
        if let Some(device) = self.devices.get_mut(&key).filter(|device| device.polls > 0) {
            device.polls -= 1;
            device.left_at = now;
            if self.outward != State::Offline {
                self.last_seen = Some(now);
            }
        }
    }

    pub fn remove(&mut self, key: u64, now: Instant) {
        self.devices.remove(&key);
        self.away.remove(&key);
        self.settle(now, Some(By::Person));
    }

    pub fn report(&mut self, key: u64, seq: u64, idle: Result<Instant, Instant>, now: Instant) {
        let Some(device) = self.devices.get_mut(&key) else { return };
        if seq > device.seq {
            (device.seq, device.report, device.said) = (seq, idle, None);
        }
        self.settle(now, Some(if idle.is_ok() { By::Device } else { By::Person }));
    }

    pub fn choose(&mut self, choice: Choice, status_msg: Option<Option<Arc<str>>>, now: Instant) {
        self.chosen = choice;
        self.sign_off(false, status_msg, now);
    }

    /// A device that knows only Matrix's words says `offline`, or another of them.
    pub fn sign_off(&mut self, off: bool, status_msg: Option<Option<Arc<str>>>, now: Instant) {
        self.signed_off = off;
        if let Some(status_msg) = status_msg {
            self.status_msg = status_msg;
        }
        self.settle(now, Some(By::Person));
    }

    pub fn send_message(&mut self, now: Instant) {
        if self.outward != State::Offline {
            self.last_active = Some(now);
            self.active_until = Some(now + WINDOW);
            self.last_seen = Some(now);
        }
    }

    /// While others see the user offline, nothing they could see moves.
    fn settle(&mut self, now: Instant, by: Option<By>) {
        let before = self.outward;
        self.outward = match self.own_state() {
            State::Hidden => State::Offline,
            state => state,
        };
        if by.is_some() && (before != State::Offline || self.outward != State::Offline) {
            self.last_seen = Some(now);
        }
        if self.outward == State::Offline {
            self.active_until = None;
            return;
        }
        self.shown_status.clone_from(&self.status_msg);
        let level = |state| State::ALL.iter().position(|&s| s == state);
        if level(self.outward) > level(before) {
            self.last_active = Some(now);
            if by == Some(By::Person) {
                self.active_until = Some(now + WINDOW);
            }
        }
    }
}
