//! Talking to other homeservers: finding them, proving who we are, and knowing who they are.
//!
//! Source: Matrix server-server API. What of presence travels is decided by the engine in the core, driven in `presence`
//! here, and what of presence lists by `contacts`, kept in the outbox here until it is answered.

pub mod across;
pub mod answered;
pub mod away;
pub mod check;
pub mod client;
pub mod deliver;
pub mod device_outbox;
pub mod edu;
mod enquire;
mod event_keys;
pub mod fetch;
pub mod key_document;
pub mod key_error;
pub mod keyring;
pub mod list_edu;
pub mod list_outbox;
pub mod media;
pub mod multipart;
mod names;
mod notary;
pub mod outbox;
mod parts;
pub mod path;
pub mod presence;
mod presence_rooms;
pub mod profile;
mod profiles;
pub mod queue;
mod readers;
pub mod resolve;
pub mod room_answer;
pub mod room_edus;
pub mod rooms;
pub mod user_keys;

pub use self::parts::Federation;
