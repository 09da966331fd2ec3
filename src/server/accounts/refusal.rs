//! Why an account does not do what was asked.

use std::{borrow::Cow, time::Duration};

use crate::server::{
    finish::Interrupted,
    profile::TooLong,
    store::{AccountDataError, NotProven, StoreError},
};

/// Why an account does not do what was asked. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// A value is not allowed.
    #[error("{0}")]
    InvalidParam(Cow<'static, str>),
    /// Not a user name that can be registered.
    #[error("{0}")]
    InvalidUsername(Cow<'static, str>),
    /// The password is no password.
    #[error("{0}")]
    WeakPassword(Cow<'static, str>),
    /// A piece of account data is larger than allowed, or there is too much of it.
    #[error("{0}")]
    TooLarge(&'static str),
    /// Too many passwords are being looked at: come again after this time.
    #[error("too many passwords at once: come again in {} s", .0.as_secs())]
    Busy(Duration),
    /// What was checked holds no longer: the password was changed, or the account closed.
    #[error("the password was changed meanwhile")]
    Outdated,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Something of ours is not as it must be.
    #[error("{0}")]
    Internal(String),
}

impl From<AccountDataError> for Refusal {
    fn from(e: AccountDataError) -> Self {
        match e {
            AccountDataError::TooLarge => Self::TooLarge("this piece of account data is too large"),
            AccountDataError::Full => Self::TooLarge("there is too much account data"),
            AccountDataError::Store(e) => Self::Store(e),
        }
    }
}

impl From<NotProven> for Refusal {
    fn from(e: NotProven) -> Self {
        match e {
            NotProven::Outdated => Self::Outdated,
            NotProven::Store(e) => Self::Store(e),
        }
    }
}

impl From<TooLong> for Refusal {
    fn from(e: TooLong) -> Self {
        Self::InvalidParam(e.to_string().into())
    }
}

impl From<Interrupted> for Refusal {
    fn from(e: Interrupted) -> Self {
        Self::Internal(e.to_string())
    }
}
