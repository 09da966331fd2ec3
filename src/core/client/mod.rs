//! The client role: follows a homeserver over its held stream or `/sync`, keeps rooms, presence and echoes, reports idleness.
//!
//! Owns the send queue, the presence book, the rooms and the idle timer, and passes plain values between
//! them. Inputs are `handle_*` and the user's actions, outputs come from [`Client::poll_output`] in one
//! order; after every input the shell drains them and sets its one timer to [`Client::poll_timeout`].
//! Instants have the Unix epoch as their origin. Works against this project's homeserver and any other
//! (W5): without `org.pilotlight.presence` in `/versions`, idleness is a `PUT …/status`.

mod actions;
mod answers;
mod backoff;
pub mod call;
mod choice;
mod choice_report;
pub mod commands;
pub mod contact;
mod contact_book;
pub mod contacts;
mod entered;
pub mod explain;
mod follow_up;
mod held;
mod id;
mod idle;
mod idle_report;
pub mod item;
mod jump;
mod leader;
mod loss;
pub mod member;
mod name;
pub mod notify;
pub mod output;
mod past;
mod pending;
pub mod phone;
mod power;
pub mod presence;
mod privacy;
mod redact;
mod redaction;
mod relations;
mod role;
pub mod room;
mod room_timeline;
mod send_gate;
pub mod session;
pub mod shape;
pub mod stored;
mod stream;
mod sync;
mod sync_loop;
mod tabs;
pub mod timeline;

pub use self::role::{Client, Options, PresenceGrace};

#[cfg(test)]
mod tests;
