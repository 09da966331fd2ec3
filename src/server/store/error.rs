//! What the store cannot do.

/// The database could not do what was asked. Not the client's fault.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database said no.
    #[error("database: {0}")]
    Database(Box<dyn std::error::Error + Send + Sync>),
    /// The disk did not take a batch of writes, of which this was one: none of them happened. Whoever writes has logged it.
    #[error("database: commit failed: {0}")]
    Commit(String),
    /// The store is closing.
    #[error("the database is closing")]
    Closed,
    /// The code of a write panicked; nothing of that write happened.
    #[error("a write panicked: {0}")]
    Panicked(String),
    /// A stored value is not what the schema promises; says which.
    #[error("database: unexpected value: {0}")]
    Corrupt(String),
}

impl StoreError {
    /// The same for one more who waited for it.
    pub fn for_another(&self) -> Self {
        match self {
            Self::Database(why) => Self::Database(why.to_string().into()),
            Self::Commit(why) => Self::Commit(why.clone()),
            Self::Closed => Self::Closed,
            Self::Panicked(why) => Self::Panicked(why.clone()),
            Self::Corrupt(why) => Self::Corrupt(why.clone()),
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(e: rusqlite::Error) -> Self {
        Self::Database(e.into())
    }
}
