//! One device of a user as the engine keeps it: its polls, its last report, its kind.

use std::time::Duration;

use super::device_type::DeviceType;
use super::merge::{Attention, Idleness, Report, Revision};
use crate::core::time::Instant;

/// The handle of a device, given by the shell; unique within its user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceKey(pub u64);

/// What the request that connects a device says about idleness: `set_presence` of Matrix's `/sync`.
///
/// `set_presence=offline` connects nothing, so that the engine never hears of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetPresence {
    /// Nothing: a device that was not connected counts as active, any other stays as it is.
    Absent,
    /// Somebody is at the device.
    Online,
    /// Nobody is at the device; if that is news, since now.
    Unavailable,
}

/// A device that is connected, or left so short a time ago that it counts as connected.
#[derive(Clone, Debug)]
pub(super) struct Device {
    pub(super) key: DeviceKey,
    seq: u64,
    /// Of an active device the instant it said so, of an idle one when idleness began.
    idleness_at: Instant,
    left_at: Instant,
    arrival: u32,
    polls: u16,
    idle: bool,
    pub(super) device_type: Option<DeviceType>,
}

impl Device {
    /// A device that is there for the first time: active, as far as is known, and in no poll.
    pub(super) fn new(key: DeviceKey, now: Instant) -> Self {
        Self {
            key,
            seq: 0,
            idleness_at: now,
            left_at: now,
            arrival: 0,
            polls: 0,
            idle: false,
            device_type: None,
        }
    }

    pub(super) fn attention(&self) -> Attention {
        Attention::Present { idleness: self.idleness(), device_type: self.device_type }
    }

    pub(super) fn idleness(&self) -> Idleness {
        match self.idle {
            true => Idleness::Idle { since: self.idleness_at },
            false => Idleness::Active { at: self.idleness_at },
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.idle
    }

    pub(super) fn is_polling(&self) -> bool {
        self.polls > 0
    }

    pub(super) fn left_at(&self) -> Instant {
        self.left_at
    }

    /// When the device stops counting as connected, unless it comes back.
    pub(super) fn gone_at(&self, grace: Duration) -> Option<Instant> {
        (!self.is_polling()).then(|| self.left_at + grace)
    }

    pub(super) fn begin_poll(&mut self) {
        self.polls = self.polls.saturating_add(1);
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

    /// Takes a report, unless it is late or a repetition.
    pub(super) fn take_report(&mut self, seq: Option<u64>, idleness: Idleness) {
        let held = Revision { seq: self.seq, arrival: self.arrival };
        let report = Report { revision: held.next(seq), idleness };
        let merged = Report { revision: held, idleness: self.idleness() }.merge(report);
        if merged.revision == held {
            return;
        }
        (self.seq, self.arrival) = (merged.revision.seq, merged.revision.arrival);
        (self.idle, self.idleness_at) = match merged.idleness {
            Idleness::Idle { since } => (true, since),
            Idleness::Active { at } => (false, at),
        };
    }
}
