//! Why a request of another server is not read.

use std::time::Duration;

/// Why the body of a request is not read.
#[derive(Clone, Debug, Eq, thiserror::Error, PartialEq)]
pub enum Refusal {
    /// It is larger than this many bytes.
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    /// It took too long to arrive.
    #[error("the body took too long")]
    TooSlow,
    /// Other large ones take all the memory there is for them: come again after this time.
    #[error("too many requests")]
    Busy(Duration),
    /// It breaks off; says why.
    #[error("the body cannot be read: {0}")]
    Unreadable(String),
}
