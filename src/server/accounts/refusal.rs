//! Why an account does not do what was asked.

use std::{borrow::Cow, fmt, time::Duration};

use crate::server::{
    finish::Interrupted,
    profile::TooLong,
    store::{AccountDataError, StoreError},
};

/// Why an account does not do what was asked. Nothing was changed.
#[derive(Debug)]
pub enum Refusal {
    /// A value is not allowed.
    InvalidParam(Cow<'static, str>),
    /// Not a user name that can be registered.
    InvalidUsername(Cow<'static, str>),
    /// The password is no password.
    WeakPassword(&'static str),
    /// A piece of account data is larger than allowed, or there is too much of it.
    TooLarge(&'static str),
    /// Too many passwords are being looked at: come again after this time.
    Busy(Duration),
    /// The store failed.
    Store(StoreError),
    /// Something of ours is not as it must be.
    Internal(String),
}

impl From<StoreError> for Refusal {
    fn from(e: StoreError) -> Self {
        Self::Store(e)
    }
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

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidParam(why) | Self::InvalidUsername(why) => f.write_str(why),
            Self::WeakPassword(why) | Self::TooLarge(why) => f.write_str(why),
            Self::Busy(wait) => write!(f, "too many passwords at once: come again in {} s", wait.as_secs()),
            Self::Store(e) => write!(f, "{e}"),
            Self::Internal(e) => f.write_str(e),
        }
    }
}
