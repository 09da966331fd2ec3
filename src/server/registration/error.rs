//! Why a registration is refused.

use std::path::PathBuf;

/// Why an application service cannot be taken on.
#[derive(Debug, thiserror::Error)]
pub enum RegistrationError {
    /// The file cannot be read.
    #[error("cannot read {0}: {1}")]
    Unreadable(PathBuf, #[source] std::io::Error),
    /// The file says something that is no registration.
    #[error("{}:{line}: {what}", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// The line, from 1 on.
        line: u64,
        /// What is wrong, and what it could be.
        what: String,
    },
    /// Two files say the same where they must not.
    #[error("{} and {} have the same {what}", first.display(), second.display())]
    Twice {
        /// The file that was read first.
        first: PathBuf,
        /// The other.
        second: PathBuf,
        /// What both have.
        what: &'static str,
    },
}
