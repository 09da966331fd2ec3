//! Why the server cannot start.

use std::net::SocketAddr;

use crate::server::{
    keys::KeyFileError, outgoing::tls::TlsError, registration::RegistrationError, store::OpenError,
};

/// Why the homeserver could not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The database in `data_dir` cannot be used.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// A file of signing keys cannot be used.
    #[error(transparent)]
    Keys(#[from] KeyFileError),
    /// A certificate or key file cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// An application service cannot be taken on.
    #[error(transparent)]
    Registration(#[from] RegistrationError),
    /// The system does not let the server have another thread.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] std::io::Error),
    /// Nothing can listen at this address.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// What the operating system said.
        source: std::io::Error,
    },
}
