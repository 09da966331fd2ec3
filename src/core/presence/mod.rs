//! The presence of this server's own users: their choice, their devices, and what others see of it.
//!
//! [`State`] and its neighbours are the vocabulary, [`merge`](merge::merge) the one rule that makes
//! a user's state from choice and devices. Lists, permissions and federation are other modules'.
//! Sources: `presence.md`, the presence module, the client-server part of
//! `presence-api-efficiency.rst` (requirements P1 to P12).

pub mod activity;
pub mod device_type;
pub mod merge;
pub mod state;
pub mod status;

pub use device_type::DeviceType;
pub use state::{Choice, MatrixState, State};
pub use status::StatusMsg;
