//! Why the server cannot start.

use std::net::SocketAddr;

use crate::server::{federation::tls::TlsError, keys::KeyFileError, store::OpenError};

/// Why the homeserver could not start.
#[derive(Debug)]
pub enum ServeError {
    /// The database in `data_dir` cannot be used.
    Store(OpenError),
    /// A file of signing keys cannot be used.
    Keys(KeyFileError),
    /// A certificate or key file cannot be used.
    Tls(TlsError),
    /// Nothing can listen at this address.
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// What the operating system said.
        source: std::io::Error,
    },
}

impl std::fmt::Display for ServeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Store(e) => write!(f, "{e}"),
            Self::Keys(e) => write!(f, "{e}"),
            Self::Tls(e) => write!(f, "{e}"),
            Self::Bind { address, source } => write!(f, "cannot listen on {address}: {source}"),
        }
    }
}

impl std::error::Error for ServeError {}

impl From<OpenError> for ServeError {
    fn from(e: OpenError) -> Self {
        Self::Store(e)
    }
}

impl From<TlsError> for ServeError {
    fn from(e: TlsError) -> Self {
        Self::Tls(e)
    }
}

impl From<KeyFileError> for ServeError {
    fn from(e: KeyFileError) -> Self {
        Self::Keys(e)
    }
}
