//! Why presence was not taken.

use crate::server::store::StoreError;

/// Why what somebody said of their presence was not taken.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The store failed.
    #[error("{0}")]
    Store(StoreError),
    /// It had to wait for the rate limit, and the store failed then; the log says how.
    #[error("presence that had to wait was not taken")]
    NotTaken,
}

impl From<StoreError> for Refusal {
    fn from(e: StoreError) -> Self {
        Self::Store(e)
    }
}
