//! One device of a user as the engine keeps it: its polls, what it said last, its kind.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::device_type::DeviceType;
use super::merge::{Attention, Idleness, Report, Revision};
use crate::core::time::Instant;

/// The handle of a device, given by the shell; unique within its user, and the same after a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DeviceKey(pub u64);

/// What the request that connects a device says about idleness: `set_presence` of Matrix's `/sync`. It holds
/// until the device says something else, or nothing.
///
/// `set_presence=offline` connects nothing, so that the engine never hears of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetPresence {
    /// Nothing: what the device said this way before is taken back. What it reported stands, and a device that
    /// never reported counts as active.
    Absent,
    /// Somebody is at the device.
    Online,
    /// Nobody is at the device; if that is news, since now.
    Unavailable,
}

/// What a device reported last, and whether it counts as connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reported {
    Active,
    Idle,
    /// Nobody was at it when it left. It is kept so that it does not come back as if somebody were.
    IdleAndGone,
}

/// A device that is connected, or left so short a time ago that it counts as connected, or was idle when it left.
#[derive(Clone, Debug)]
pub(super) struct Device {
    pub(super) key: DeviceKey,
    seq: u64,
    /// Of an active device the instant it reported so, of an idle one when idleness began.
    reported_at: Instant,
    /// Since when `says` holds: of idleness when it began.
    says_at: Instant,
    left_at: Instant,
    arrival: u32,
    polls: u16,
    reported: Reported,
    /// What the polls say; `Absent` too when a report came after it.
    says: SetPresence,
    /// None: [`DeviceType::NONE`].
    kind: DeviceType,
}

impl Device {
    /// A device that is there for the first time: active, as far as is known, and in no poll.
    pub(super) fn new(key: DeviceKey, now: Instant) -> Self {
        Self {
            key,
            seq: 0,
            reported_at: now,
            says_at: now,
            left_at: now,
            arrival: 0,
            polls: 0,
            reported: Reported::Active,
            says: SetPresence::Absent,
            kind: DeviceType::NONE,
        }
    }

    /// A device that was idle since `since` before the restart, and is yet to come back.
    pub(super) fn idle_and_gone(key: DeviceKey, since: Instant) -> Self {
        Self { reported: Reported::IdleAndGone, reported_at: since, ..Self::new(key, since) }
    }

    pub(super) fn attention(&self) -> Attention {
        match self.reported {
            Reported::IdleAndGone => Attention::Absent,
            Reported::Active | Reported::Idle => {
                Attention::Present { idleness: self.idleness(), device_type: self.device_type() }
            }
        }
    }

    pub(super) fn idleness(&self) -> Idleness {
        match (self.says, self.reported) {
            (SetPresence::Online, _) => Idleness::Active { at: self.says_at },
            (SetPresence::Unavailable, _) => Idleness::Idle { since: self.says_at },
            (SetPresence::Absent, Reported::Active) => Idleness::Active { at: self.reported_at },
            (SetPresence::Absent, Reported::Idle | Reported::IdleAndGone) => {
                Idleness::Idle { since: self.reported_at }
            }
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        matches!(self.idleness(), Idleness::Idle { .. })
    }

    /// Since when the device reported to be idle, if it is to be believed when it comes back: what is kept over a
    /// restart.
    pub(super) fn kept_idle(&self) -> Option<Instant> {
        let idle = self.reported != Reported::Active && self.says != SetPresence::Online;
        idle.then_some(self.reported_at)
    }

    pub(super) fn is_gone(&self) -> bool {
        self.reported == Reported::IdleAndGone
    }

    /// The device's last poll ended longer ago than the grace; answers whether it is kept for what it reported.
    pub(super) fn leave(&mut self) -> bool {
        let kept = self.kept_idle().is_some();
        if kept {
            (self.reported, self.says) = (Reported::IdleAndGone, SetPresence::Absent);
        }
        kept
    }

    pub(super) fn device_type(&self) -> Option<DeviceType> {
        (self.kind != DeviceType::NONE).then_some(self.kind)
    }

    pub(super) fn set_device_type(&mut self, device_type: Option<DeviceType>) {
        self.kind = device_type.unwrap_or(DeviceType::NONE);
    }

    pub(super) fn is_polling(&self) -> bool {
        self.polls > 0
    }

    pub(super) fn left_at(&self) -> Instant {
        self.left_at
    }

    /// When the device stops counting as connected, unless it comes back.
    pub(super) fn gone_at(&self, grace: Duration) -> Option<Instant> {
        (!self.is_polling() && !self.is_gone()).then(|| self.left_at + grace)
    }

    /// A poll begins, and says this; `None`: something that says nothing of the kind.
    pub(super) fn begin_poll(&mut self, says: Option<SetPresence>, now: Instant) {
        self.polls = self.polls.saturating_add(1);
        if self.reported == Reported::IdleAndGone {
            self.reported = Reported::Idle;
        }
        let Some(says) = says else { return };
        self.says_at = match (says, self.idleness()) {
            (SetPresence::Unavailable, Idleness::Idle { since }) => since,
            (SetPresence::Absent | SetPresence::Online | SetPresence::Unavailable, _) => now,
        };
        self.says = says;
    }

    /// Ends one of the device's polls; answers whether it was the last one.
    pub(super) fn end_poll(&mut self, now: Instant) -> bool {
        if self.polls == 0 {
            return false;
        }
        self.polls -= 1;
        self.left_at = now;
        self.polls == 0
    }

    /// Takes a report, unless it is late or a repetition. It takes the place of what the polls say.
    pub(super) fn take_report(&mut self, seq: Option<u64>, idleness: Idleness) {
        let held = Revision { seq: self.seq, arrival: self.arrival };
        let report = Report { revision: held.next(seq), idleness };
        let merged = Report { revision: held, idleness: self.idleness() }.merge(report);
        if merged.revision == held {
            return;
        }
        (self.seq, self.arrival) = (merged.revision.seq, merged.revision.arrival);
        self.says = SetPresence::Absent;
        (self.reported, self.reported_at) = match merged.idleness {
            Idleness::Idle { since } => (Reported::Idle, since),
            Idleness::Active { at } => (Reported::Active, at),
        };
    }
}
