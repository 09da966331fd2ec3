//! Idleness of the user at this device, told to the server once when it begins and once when it ends.
//!
//! This project's server takes a device report (P6). Any other takes `PUT …/status`, which is the user's
//! and not the device's: there a choice of busy, unavailable, hidden or offline is never overridden, and
//! coming back restores the choice.

use super::backoff;
use super::output::{Change, Failure, Output};
use super::pending::Awaited;
use super::role::{Client, Dialect};
use crate::core::idle::{self, System};
use crate::core::presence::{Choice, MatrixState};
use crate::core::time::{Instant, millis};
use crate::core::wire::path::path;
use crate::core::wire::write;

impl Client {
    /// The user did something at this device.
    pub fn handle_activity(&mut self, now: Instant) {
        self.tell_activity();
        self.idle.timer.handle_activity(now);
        self.follow_timer(now);
    }

    /// The page was hidden; nothing more is heard of the user there.
    pub fn handle_hidden(&mut self, now: Instant) {
        self.idle.timer.handle_hidden(now);
        self.follow_timer(now);
    }

    /// The page was shown.
    pub fn handle_shown(&mut self, now: Instant) {
        self.tell_activity();
        self.idle.timer.handle_shown(now);
        self.follow_timer(now);
    }

    /// The system told what it knows of the user.
    pub fn handle_system(&mut self, system: System, now: Instant) {
        self.idle.timer.handle_system(system, now);
        self.follow_timer(now);
    }

    pub(super) fn handle_idle_timeout(&mut self, now: Instant) {
        if self.idle.resume_at.is_some_and(|at| at <= now) {
            self.idle.resume_at = None;
        }
        self.idle.timer.handle_timeout(now);
        self.note_idleness(now);
    }

    pub(super) fn follow_timer(&mut self, now: Instant) {
        if self.note_idleness(now) {
            self.settle(now);
        }
    }

    /// Takes over what the timer says; whether that changed anything.
    fn note_idleness(&mut self, now: Instant) -> bool {
        let Some(output) = self.idle.timer.poll_output(now) else { return false };
        let idle = match output {
            idle::Output::BecameIdle { .. } => true,
            idle::Output::BecameActive => false,
        };
        self.idle.idle = idle;
        self.idle.resume_at = None;
        self.me.idle = idle;
        self.outputs.push_back(Output::Changed(Change::Idle(idle)));
        true
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
                let since = if idle { millis(self.idle.timer.idle_for(now)).max(1) } else { 0 };
                let report = write::object(|report| {
                    report.integer("idle_ms", since);
                    report.text("device_type", self.device_type.as_str());
                });
                let prefix = "/_matrix/client/unstable/org.pilotlight";
                (path(prefix, &["presence", &self.user_id, "device"]), report)
            }
            Dialect::Stock if may_override(self.me.state) => {
                let presence = if idle { "unavailable" } else { MatrixState::Online.as_str() };
                // A stock server takes an absent message for a cleared one.
                let body = write::object(|body| {
                    body.text("presence", presence);
                    body.optional("status_msg", self.me.status_msg.as_deref());
                });
                (path("/_matrix/client/v3", &["presence", &self.user_id, "status"]), body)
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
