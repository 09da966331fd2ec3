//! Presence between homeservers: push, poll, promises, watchdogs, batches.
//!
//! [`Engine`] is one homeserver's side of it, for all its peers: it decides what is sent to whom and
//! when, and what is known of the users on other servers. It knows users and servers by handles; the
//! [`Federation`] around it knows their names and speaks JSON. Neither does IO: the transport takes
//! what they put out, one transaction in flight for each peer, and reports how that went.
//!
//! Source: `presence-api-efficiency.rst` (requirements F1 to F9); what it leaves open is decided in
//! `docs/FEDERATION.md`.

mod backoff;
mod config;
mod digest;
mod digests;
mod edu;
mod engine;
mod enquiry;
mod names;
mod peer;
mod remote;
mod role;
mod status;
mod watchdog;
mod wire;

pub use backoff::Backoff;
pub use config::Config;
pub use digest::{Digest, Fingerprint};
pub use edu::{Asked, Edu, Link, Push, Reminder, VERSION};
pub use engine::{Delivery, Engine, Outcome, Output, PeerView, Permission, Refused, Room};
pub use names::{BadUserId, Names};
pub use peer::Speech;
pub use role::{Event, Federation, Rejected};
pub use status::{Availability, ProfileMark, Server, Shown, Status, User};
pub use watchdog::Watchdog;
pub use wire::{BadEdu, NameLengths, decode, decode_brief, encode, encode_brief, encoded_len};

#[cfg(test)]
mod tests;
