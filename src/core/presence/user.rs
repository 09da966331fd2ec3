//! One user of the engine: choice, devices, and what was told of them.

use std::sync::Arc;
use std::time::Duration;

use super::activity::{Activity, coarse};
use super::device::{Device, DeviceKey};
use super::device_type::DeviceType;
use super::merge::{Attention, Idleness, state};
use super::state::{Choice, State};
use super::status::StatusMsg;
use super::view::{OwnView, Record, View};
use super::wish::{Chosen, Decision};
use crate::core::time::Instant;

/// What observers and own devices were told last; a change is a difference from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Announced {
    outward: State,
    own: State,
    choice: Choice,
    device_type: Option<DeviceType>,
    currently_active: bool,
    /// Since when others see the user idle; the origin stands for not at all.
    idle_since: Instant,
}

/// The kinds of change that a comparison with [`Announced`] does not show.
#[derive(Clone, Copy, Debug, Default)]
struct Untold {
    shown_status: bool,
    own_status: bool,
    last_active: bool,
    /// One more act within the window.
    acted: bool,
}

/// How far a change reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// `last_active_ago` or the idle time counts from another instant than others were told, and they can find
    /// that out when they are told of the user anyway.
    Times,
    /// Only the user's own devices see a difference.
    Own,
    /// Others see a new `last_active_ago` or `currently_active` and nothing else: it can wait for the
    /// next thing that is sent anyway.
    Quiet,
    /// Others see another state, status message or device type, or that an idle time begins or ends.
    Visible,
}

/// Who caused a change of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// A person did something.
    Person,
    /// A device connected, left or fell silent by itself.
    Device,
}

/// What a change of state asks the engine to do.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Settled {
    /// Something that survives a restart is different.
    pub persist: bool,
    /// The window of `currently_active` opened or grew.
    pub acted: bool,
}

#[derive(Clone, Debug)]
pub(super) struct User {
    pub(super) devices: Vec<Device>,
    status_msg: Option<Arc<str>>,
    /// Follows `status_msg` while others see the user connected, and stays as it is while they do not.
    shown_status: Option<Arc<str>>,
    pub(super) activity: Activity,
    last_seen: Instant,
    chosen: Chosen,
    /// What others see now.
    outward: State,
    /// Until the restart's grace is over: what stands for the devices that are yet to come back.
    held: Option<Idleness>,
    announced: Announced,
    untold: Untold,
    pub(super) change_queued: bool,
    pub(super) persist_queued: bool,
    /// They were active later than the last record says.
    pub(super) is_unkept: bool,
}

impl User {
    /// A user as the record has them. If others saw them connected then, they are held to be so.
    pub(super) fn restored(record: Record) -> Self {
        let chosen = Chosen { choice: record.choice, signed_off: record.signed_off };
        let last_seen = record.last_seen.map_or(Instant::ZERO, Instant::from_unix);
        let idle = record.idle.iter().map(|&(device, since)| (device, Instant::from_unix(since)));
        let devices: Vec<_> = idle.map(|(device, since)| Device::idle_and_gone(device, since)).collect();
        let idle_since = devices.iter().filter_map(Device::kept_idle).max();
        let held = match record.shown.outward() {
            State::Offline | State::Unknown | State::Hidden => None,
            State::Unavailable if chosen.effective() != Choice::Unavailable => {
                Some(Idleness::Idle { since: idle_since.unwrap_or(last_seen) })
            }
            State::Unavailable | State::Busy | State::Online | State::FreeForChat => {
                Some(Idleness::Active { at: last_seen })
            }
        };
        let mut user = Self {
            devices,
            status_msg: record.status_msg,
            shown_status: record.shown_status_msg,
            activity: Activity::restored(record.last_active.map(Instant::from_unix)),
            last_seen,
            chosen,
            outward: State::Offline,
            held,
            announced: Announced {
                outward: State::Offline,
                own: State::Offline,
                choice: chosen.effective(),
                device_type: None,
                currently_active: false,
                idle_since: Instant::ZERO,
            },
            untold: Untold::default(),
            change_queued: false,
            persist_queued: false,
            is_unkept: false,
        };
        user.announced.own = user.own_state();
        user.outward = user.announced.own.outward();
        user.announced.outward = user.outward;
        user.announced.idle_since = user.idle_since().unwrap_or_default();
        user
    }

    pub(super) fn record(&self) -> Record {
        Record {
            choice: self.chosen.choice,
            signed_off: self.chosen.signed_off,
            status_msg: self.status_msg.clone(),
            shown: self.outward,
            shown_status_msg: self.shown_status.clone(),
            last_active: self.activity.last_active().map(Instant::to_unix),
            last_seen: (self.last_seen != Instant::ZERO).then(|| self.last_seen.to_unix()),
            idle: self.kept_idle().map(|(device, since)| (device, since.to_unix())).collect(),
        }
    }

    pub(super) fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// The restart's grace is over, or a device is back.
    pub(super) fn release(&mut self) {
        self.held = None;
    }

    /// The device of this key, if it counts as connected.
    pub(super) fn device(&mut self, key: DeviceKey) -> Option<&mut Device> {
        self.devices.iter_mut().find(|device| device.key == key && !device.is_gone())
    }

    /// The devices that reported to be idle, as they are kept over a restart.
    pub(super) fn kept_idle(&self) -> impl Iterator<Item = (DeviceKey, Instant)> {
        self.devices.iter().filter_map(|device| Some((device.key, device.kept_idle()?)))
    }

    /// Makes room for one more device, in the place of one that is gone, or left first; answers where it is.
    pub(super) fn admit(&mut self, device: Device, bound: usize) -> Option<usize> {
        if self.devices.len() < bound {
            // Most users have one device, and there are a million users.
            self.devices.reserve_exact(1);
            self.devices.push(device);
            return Some(self.devices.len() - 1);
        }
        let left = self.devices.iter().enumerate().filter(|(_, d)| !d.is_polling());
        let (index, _) = left.min_by_key(|(_, d)| (!d.is_gone(), d.left_at()))?;
        self.devices[index] = device;
        Some(index)
    }

    pub(super) fn is_outwardly_offline(&self) -> bool {
        self.outward == State::Offline
    }

    /// Takes what is said of the choice; answers whether that makes it another one.
    pub(super) fn decide(&mut self, decision: Decision) -> bool {
        let chosen = decision.applied_to(self.chosen);
        std::mem::replace(&mut self.chosen, chosen) != chosen
    }

    /// Takes a status message; answers whether it is another one. Others see it when the user settles, unless
    /// they look offline then: what is said in the very request that hides is not shown either (P4).
    pub(super) fn say(&mut self, status_msg: StatusMsg) -> bool {
        let status_msg = match status_msg {
            StatusMsg::Keep => return false,
            StatusMsg::Set(text) => Some(Arc::from(text)),
            StatusMsg::Clear => None,
        };
        let differs = self.status_msg != status_msg;
        if differs {
            self.status_msg = status_msg;
            self.untold.own_status = true;
        }
        differs
    }

    /// Brings what others see in line with choice and devices.
    ///
    /// `there_at` is when the user was last there. While others see the user offline, nothing they could
    /// see moves: not `last_seen`, `last_active` or the message.
    pub(super) fn settle(
        &mut self,
        now: Instant,
        there_at: Instant,
        cause: Cause,
        window: Duration,
    ) -> Settled {
        let (before, after) = (self.outward, self.own_state().outward());
        let mut settled = Settled { persist: before != after, acted: false };
        self.outward = after;
        if before != State::Offline || after != State::Offline {
            self.last_seen = self.last_seen.max(there_at);
        }
        if after == State::Offline {
            self.activity.close_window();
            return settled;
        }
        settled.persist |= self.show_status();
        if after.is_more_available_than(before) {
            match cause {
                Cause::Device => self.activity.handle_change(now),
                Cause::Person => {
                    self.activity.handle_act(now, window);
                    settled.acted = true;
                }
            }
        }
        settled
    }

    /// A message was sent; answers whether that opens the window, and is not one more within it.
    pub(super) fn act(&mut self, now: Instant, window: Duration) -> bool {
        let open = self.activity.open_until(now).is_some();
        self.activity.handle_act(now, window);
        self.last_seen = self.last_seen.max(now);
        self.untold.last_active |= !open;
        self.untold.acted = true;
        self.is_unkept = true;
        !open
    }

    /// What there is to tell, once; telling it makes it what was told last.
    pub(super) fn take_change(&mut self, now: Instant) -> Option<Change> {
        let attention = self.attention();
        let current = Announced {
            outward: self.outward,
            own: self.own_state(),
            choice: self.chosen.effective(),
            device_type: if self.is_outwardly_offline() { None } else { attention.device_type() },
            currently_active: self.activity.is_current(self.outward, now),
            idle_since: self.idle_since().unwrap_or_default(),
        };
        let (told, untold) = (self.announced, std::mem::take(&mut self.untold));
        self.announced = current;
        let visible = current.outward != told.outward
            || current.device_type != told.device_type
            || (current.idle_since == Instant::ZERO) != (told.idle_since == Instant::ZERO);
        if visible || untold.shown_status {
            Some(Change::Visible)
        } else if current.currently_active != told.currently_active || untold.last_active {
            Some(Change::Quiet)
        } else if (Announced { idle_since: told.idle_since, ..current }) != told || untold.own_status {
            Some(Change::Own)
        } else if current.idle_since != told.idle_since || untold.acted {
            Some(Change::Times)
        } else {
            None
        }
    }

    pub(super) fn view(&self, now: Instant) -> View {
        let offline = self.is_outwardly_offline();
        let seen = offline && self.last_seen != Instant::ZERO;
        View {
            state: self.outward,
            status_msg: self.shown_status.clone(),
            last_active_ago: self.activity.last_active_ago(now),
            currently_active: self.activity.is_current(self.outward, now),
            device_type: if offline { None } else { self.attention().device_type() },
            last_seen_ago: seen.then(|| coarse(now.since(self.last_seen))),
            idle_for: self.idle_since().map(|since| now.since(since)),
        }
    }

    pub(super) fn own_view(&self, now: Instant) -> OwnView {
        let attention = self.attention();
        OwnView {
            choice: self.chosen.effective(),
            state: self.own_state(),
            status_msg: self.status_msg.clone(),
            last_active_ago: self.activity.last_active_ago(now),
            currently_active: self.activity.is_current(self.outward, now),
            device_type: attention.device_type(),
            idle_for: attention.idle_since().map(|since| now.since(since)),
        }
    }

    /// Since when nobody has been at any device, where others may know (P6).
    fn idle_since(&self) -> Option<Instant> {
        match self.outward {
            State::Unavailable | State::Busy => self.attention().idle_since(),
            State::Unknown | State::Offline | State::Hidden | State::Online | State::FreeForChat => None,
        }
    }

    fn show_status(&mut self) -> bool {
        let differs = self.shown_status != self.status_msg;
        if differs {
            self.shown_status.clone_from(&self.status_msg);
            self.untold.shown_status = true;
        }
        differs
    }

    fn attention(&self) -> Attention {
        let held = match self.held {
            None => Attention::Absent,
            Some(idleness) => Attention::Present { idleness, device_type: None },
        };
        self.devices.iter().map(Device::attention).fold(held, Attention::merge)
    }

    fn own_state(&self) -> State {
        state(self.chosen.effective(), self.attention())
    }
}
