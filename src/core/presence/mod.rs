//! The presence of this server's own users: their choice, their devices, and what others see of it.
//!
//! [`State`] and its neighbours are the vocabulary, [`merge`](merge::merge) the one rule that makes
//! a user's state from choice and devices, and [`Engine`] the role that owns them. Lists, permissions and federation are other modules'.
//! Sources: `presence.md`, the presence module, the client-server part of
//! `presence-api-efficiency.rst` (requirements P1 to P12).

pub mod activity;
mod device;
pub mod device_type;
pub mod engine;
pub mod merge;
pub mod state;
pub mod status;
mod user;
mod view;
pub mod wish;

pub use device::{DeviceKey, SetPresence};
pub use device_type::DeviceType;
pub use engine::{Engine, Output, Settings, UserKey};
pub use state::{Choice, MatrixState, State};
pub use status::StatusMsg;
pub use user::Change;
pub use view::{OwnView, Record, View};
pub use wish::{Attended, Chosen, Decision, Wish, Words};
