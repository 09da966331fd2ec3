//! Idleness of the user at this device, told to the server once when it begins and once when it ends.
//!
//! This project's server takes a device report (P6). Any other takes `PUT …/status`, which is the user's
//! and not the device's: there a choice of busy, unavailable, hidden or offline is never overridden, and
//! coming back restores the choice.

use std::time::Duration;

use serde::Serialize;

use super::answers::Awaited;
use super::output::{Change, Failure, Output};
use super::session::to_json;
use super::{Client, Dialect, backoff};
use crate::core::presence::{Choice, DeviceType, MatrixState};
use crate::core::time::{Instant, millis};
use crate::core::wire::path::path;

/// What the server knows of the idleness, and what is under way to tell it.
#[derive(Debug)]
pub(super) struct IdleReport {
    timeout: Duration,
    last_activity: Instant,
    idle: bool,
    /// What the server was told last; `None` when an answer was lost.
    told: Option<bool>,
    in_flight: bool,
    resume_at: Option<Instant>,
    failures: u32,
}

#[derive(Serialize)]
struct DeviceReport {
    idle_ms: u64,
    device_type: DeviceType,
}

#[derive(Serialize)]
struct StatusBody<'a> {
    presence: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_msg: Option<&'a str>,
}

impl IdleReport {
    pub(super) fn new(timeout: Duration, now: Instant) -> Self {
        Self {
            timeout,
            last_activity: now,
            idle: false,
            told: Some(false),
            in_flight: false,
            resume_at: None,
            failures: 0,
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.idle
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let falls_idle = (!self.idle).then(|| self.last_activity + self.timeout);
        [falls_idle, self.resume_at].into_iter().flatten().min()
    }

    pub(super) fn resume_at_once(&mut self, now: Instant) {
        if self.resume_at.is_some() {
            self.resume_at = Some(now);
        }
    }
}

impl Client {
    /// The user did something at this device.
    pub fn handle_activity(&mut self, now: Instant) {
        self.idle.last_activity = now;
        if self.idle.idle {
            self.show_idle(false);
            self.settle(now);
        }
    }

    /// The platform itself says that the user is away, or that the screen is locked.
    pub fn handle_away(&mut self, now: Instant) {
        if !self.idle.idle {
            self.show_idle(true);
            self.settle(now);
        }
    }

    pub(super) fn handle_idle_timeout(&mut self, now: Instant) {
        if self.idle.resume_at.is_some_and(|at| at <= now) {
            self.idle.resume_at = None;
        }
        if !self.idle.idle && self.idle.last_activity + self.idle.timeout <= now {
            self.show_idle(true);
        }
    }

    fn show_idle(&mut self, idle: bool) {
        self.idle.idle = idle;
        self.idle.resume_at = None;
        self.me.idle = idle;
        self.outputs.push_back(Output::Changed(Change::Idle(idle)));
    }

    /// Tells the server, unless it knows or is being told.
    pub(super) fn report_idleness(&mut self, now: Instant) {
        let idle = self.idle.idle;
        let waits = self.idle.in_flight || self.idle.resume_at.is_some();
        if waits || self.idle.told == Some(idle) || !self.is_running() {
            return;
        }
        let (path, body) = match self.dialect {
            Dialect::Unknown => return,
            Dialect::Pilotlight => {
                let since = if idle { millis(now.since(self.idle.last_activity)).max(1) } else { 0 };
                let report = DeviceReport { idle_ms: since, device_type: self.device_type };
                let prefix = "/_matrix/client/unstable/org.pilotlight";
                (path(prefix, &["presence", &self.user_id, "device"]), to_json(&report))
            }
            Dialect::Stock if may_override(self.me.state) => {
                let presence = if idle { "unavailable" } else { MatrixState::Online.as_str() };
                // A stock server takes an absent message for a cleared one.
                let body = StatusBody { presence, status_msg: self.me.status_msg.as_deref() };
                (path("/_matrix/client/v3", &["presence", &self.user_id, "status"]), to_json(&body))
            }
            Dialect::Stock => {
                self.idle.told = Some(idle);
                return;
            }
        };
        self.idle.in_flight = true;
        self.request(now, Awaited::IdleReport(idle), "PUT", path, Some(body));
    }

    pub(super) fn conclude_idle_report(&mut self, now: Instant, idle: bool, outcome: Result<(), Failure>) {
        self.idle.in_flight = false;
        match outcome {
            Err(failure) if failure.is_transient() => {
                self.idle.told = None;
                self.idle.failures = self.idle.failures.saturating_add(1);
                let delay = backoff::delay(self.idle.failures, failure.retry_after(), &mut self.rng);
                self.idle.resume_at = Some(now + delay);
            }
            // Refused: the same report would be refused again.
            Ok(()) | Err(_) => {
                self.idle.told = Some(idle);
                self.idle.failures = 0;
            }
        }
    }

    /// The `set_presence` of the next sync: never one that undoes the idle report or, on a stock server,
    /// the user's choice.
    pub(super) fn sync_presence(&self) -> &'static str {
        let by_idleness = if self.idle.idle { MatrixState::Unavailable } else { MatrixState::Online };
        let state = match self.dialect {
            Dialect::Unknown | Dialect::Pilotlight => by_idleness,
            Dialect::Stock if may_override(self.me.state) => by_idleness,
            Dialect::Stock => self.me.state.state().matrix(),
        };
        state.as_str()
    }
}

/// Whether idleness shows through a choice on a server that knows only one state for the whole user.
fn may_override(choice: Choice) -> bool {
    match choice {
        Choice::Online | Choice::FreeForChat => true,
        Choice::Busy | Choice::Unavailable | Choice::Hidden | Choice::Offline => false,
    }
}
