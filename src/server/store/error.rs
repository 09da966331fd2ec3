//! What the store cannot do.

/// The database could not do what was asked. Not the client's fault.
#[derive(Debug)]
pub enum StoreError {
    /// The database said no.
    Database(Box<dyn std::error::Error + Send + Sync>),
    /// The store is closing.
    Closed,
    /// The code of a write panicked; nothing of that write happened.
    Panicked(String),
    /// A stored value is not what the schema promises; says which.
    Corrupt(String),
}

impl std::fmt::Display for StoreError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Database(e) => write!(f, "database: {e}"),
            Self::Closed => write!(f, "the database is closing"),
            Self::Panicked(what) => write!(f, "a write panicked: {what}"),
            Self::Corrupt(what) => write!(f, "database: unexpected value: {what}"),
        }
    }
}

impl std::error::Error for StoreError {}

impl From<rusqlite::Error> for StoreError {
    fn from(e: rusqlite::Error) -> Self {
        Self::Database(e.into())
    }
}
