//! The presence of this server's users, and what is known of others: the clock, the disk and the readers
//! around the core's engine.
//!
//! The [`engine`] owns this server's own users: the core's rules ([`crate::core::presence`]), their records,
//! their timers. The [`board`] has the last event of everybody, encoded once, at its live position. Who may see
//! whom is asked at every way out (L6). A reader is told each user's last state only, however often it changed (P1–P12).

pub mod board;
mod choosing;
pub mod connection;
pub mod delivery;
pub mod engine;
pub mod event;
mod key;
pub mod refusal;
mod run;
pub mod said;
mod shown;
mod waiting;

pub use self::{
    board::Board,
    connection::Connected,
    delivery::Deliveries,
    engine::Presence,
    event::{PresenceEvent, UNKNOWN, write_unknown, write_unknown_brief},
    refusal::Refusal,
    said::Attendance,
};
