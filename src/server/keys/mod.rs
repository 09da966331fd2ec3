//! The server's signing key: made at the first start, kept in the data folder, readable by nobody else.
//!
//! The file is one line, `ed25519 VERSION SEED` with the seed in unpadded base64, as other homeservers
//! have it, so that a server can be moved between them. A key that was replaced is published on, so that
//! what it signed can be verified. Server-server API, "Retrieving server keys".

mod error;
mod event_keys;
mod retired;
mod signer;
mod version;

pub use self::{
    error::KeyFileError,
    event_keys::{EventKey, EventKeys, NeededKeys},
    retired::Retired,
    signer::Signer,
};
#[cfg(any(test, fuzzing))]
pub(in crate::server) use self::{retired::parse as parse_retired, signer::parse as parse_key};
