//! Why presence was not taken.

use crate::server::store::StoreError;

/// Why what somebody said of their presence was not taken.
#[derive(Debug)]
pub enum Refusal {
    /// The store failed.
    Store(StoreError),
    /// It had to wait for the rate limit, and the store failed then; the log says how.
    NotTaken,
}

impl From<StoreError> for Refusal {
    fn from(e: StoreError) -> Self {
        Self::Store(e)
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Store(e) => e.fmt(f),
            Self::NotTaken => f.write_str("presence that had to wait was not taken"),
        }
    }
}

impl std::error::Error for Refusal {}
