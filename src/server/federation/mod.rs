//! Talking to other homeservers: finding them, proving who we are, and knowing who they are.
//!
//! Source: Matrix server-server API. What of presence travels is decided by the engine in the core, driven in `presence`
//! here, and what of presence lists by `contacts`, kept in the outbox here until it is answered.

pub mod across;
pub mod addresses;
pub mod answered;
pub mod check;
pub mod client;
mod connect;
pub mod deliver;
mod enquire;
pub mod fetch;
pub mod keyring;
pub mod lines;
pub mod list_edu;
pub mod list_outbox;
mod names;
mod parts;
pub mod presence;
pub mod profile;
mod profiles;
pub mod queue;
mod readers;
pub mod resolve;
pub mod tls;

pub use self::{parts::Federation, tls::TlsError};
