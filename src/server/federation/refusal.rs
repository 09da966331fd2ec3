//! Why a request of another server is not read.

use std::time::Duration;

/// Why the body of a request is not read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// It is larger than this many bytes.
    TooLarge(usize),
    /// It took too long to arrive.
    TooSlow,
    /// Other large ones take all the memory there is for them: come again after this time.
    Busy(Duration),
    /// It breaks off; says why.
    Unreadable(String),
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooLarge(max) => write!(f, "the body is larger than {max} bytes"),
            Self::TooSlow => f.write_str("the body took too long"),
            Self::Busy(_) => f.write_str("too many requests"),
            Self::Unreadable(why) => write!(f, "the body cannot be read: {why}"),
        }
    }
}

impl std::error::Error for Refusal {}
