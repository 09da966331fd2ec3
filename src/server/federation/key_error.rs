//! Why a server's keys cannot be had.

use super::client::RequestError;
use crate::server::store::StoreError;

/// Why a server's key is not known.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The server could not be asked.
    #[error("the server's keys cannot be fetched: {0}")]
    Request(RequestError),
    /// It did not answer in time.
    #[error("the server's keys cannot be fetched in time")]
    TooSlow,
    /// So many other servers are being asked that there is no place for one more.
    #[error("too many servers are being asked for their keys")]
    Busy,
    /// Its answer does not prove itself; says what is wrong.
    #[error("the server's keys do not prove themselves: {0}")]
    Unproven(String),
    /// It was asked a moment ago, and the key was not among its keys.
    #[error("the server has no such key")]
    Unknown,
    /// Our own database failed.
    #[error("{0}")]
    Store(StoreError),
}
