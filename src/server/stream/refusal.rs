//! Why a reader cannot be told what is new.

use std::borrow::Cow;

use crate::server::{accounts, answers::NoRoom, store::StoreError};

/// Why a reader cannot be told what is new.
#[derive(Debug)]
pub enum Refusal {
    /// The device was logged out while its reader waited.
    LoggedOut,
    /// A connection does not go on from where a request says that it is.
    UnknownPos,
    /// What was named as a filter is none; says why.
    BadFilter(Cow<'static, str>),
    /// The store failed.
    Store(StoreError),
    /// There is no room for what is new.
    NoRoom(NoRoom),
    /// Something of ours is not as it must be.
    Internal(String),
}

impl From<StoreError> for Refusal {
    fn from(e: StoreError) -> Self {
        Self::Store(e)
    }
}

impl From<NoRoom> for Refusal {
    fn from(e: NoRoom) -> Self {
        Self::NoRoom(e)
    }
}

/// Of push rules, which are read with the user's own data.
impl From<accounts::refusal::Refusal> for Refusal {
    fn from(refusal: accounts::refusal::Refusal) -> Self {
        match refusal {
            accounts::refusal::Refusal::Store(e) => Self::Store(e),
            other => Self::Internal(other.to_string()),
        }
    }
}
