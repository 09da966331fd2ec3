//! What goes wrong with files of keys.

use std::{fmt, path::PathBuf};

/// A file of keys cannot be read or made, or is not what it should be: which, and why.
#[derive(Debug)]
pub struct KeyFileError(pub PathBuf, pub String);

impl fmt::Display for KeyFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.display(), self.1)
    }
}

impl std::error::Error for KeyFileError {}
