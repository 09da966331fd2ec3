//! What of a user's presence is shown to whom, and what of it is kept over a restart.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::device::DeviceKey;
use super::device_type::DeviceType;
use super::state::{Choice, MatrixState, State};
use crate::core::time::UnixMillis;

/// A user as everybody else sees them; of a hidden user there is nothing in it (P4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// The state; never `hidden`.
    pub state: State,
    /// The status message; of an offline user the one they left with.
    pub status_msg: Option<Arc<str>>,
    /// The time since the last pro-active event (P8).
    pub last_active_ago: Option<Duration>,
    /// Matrix's `currently_active`.
    pub currently_active: bool,
    /// The kind of the device that was active last, while there is one (P7).
    pub device_type: Option<DeviceType>,
    /// For an offline user the time since they were last seen, in coarse steps (P9).
    pub last_seen_ago: Option<Duration>,
    /// How long nobody has been at any device (P6), of who is unavailable or busy. Others are told in coarse steps.
    pub idle_for: Option<Duration>,
}

impl View {
    /// The state for a client that knows only Matrix's three (P11).
    pub const fn matrix_state(&self) -> MatrixState {
        self.state.matrix()
    }
}

/// A user as their own devices see them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnView {
    /// What the user chose; `offline` while a device that knows only Matrix's words says that over it.
    pub choice: Choice,
    /// What choice and devices make of it; `hidden` shows.
    pub state: State,
    /// The status message as it was set last.
    pub status_msg: Option<Arc<str>>,
    /// The time since the last pro-active event (P8).
    pub last_active_ago: Option<Duration>,
    /// Matrix's `currently_active`.
    pub currently_active: bool,
    /// The kind of the device that was active last.
    pub device_type: Option<DeviceType>,
    /// How long every device has been idle (P6), if so.
    pub idle_for: Option<Duration>,
}

impl OwnView {
    /// The state for a client that knows only Matrix's three (P11).
    pub const fn matrix_state(&self) -> MatrixState {
        self.state.matrix()
    }
}

/// What survives a restart of the server (P3). The default is that of a new user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// What the user chose.
    pub choice: Choice,
    /// Whether a device that knows only Matrix's words says `offline` over that.
    #[serde(default)]
    pub signed_off: bool,
    /// The status message as it was set last.
    pub status_msg: Option<Arc<str>>,
    /// The state others saw when this was written.
    pub shown: State,
    /// The status message others saw when this was written.
    pub shown_status_msg: Option<Arc<str>>,
    /// The last pro-active event.
    pub last_active: Option<UnixMillis>,
    /// When others last saw the user connected, as far as it is known.
    pub last_seen: Option<UnixMillis>,
    /// The devices that reported to be idle, each since when (P6): so that they do not come back as if somebody were
    /// there. At most [`super::Settings::max_devices`].
    #[serde(default)]
    pub idle: Vec<(DeviceKey, UnixMillis)>,
}

impl Default for Record {
    fn default() -> Self {
        Self {
            choice: Choice::default(),
            signed_off: false,
            status_msg: None,
            shown: State::Offline,
            shown_status_msg: None,
            last_active: None,
            last_seen: None,
            idle: Vec::new(),
        }
    }
}
