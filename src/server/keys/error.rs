//! What goes wrong with files of keys.

use std::path::PathBuf;

/// A file of keys cannot be read or made, or is not what it should be: which, and why.
#[derive(Debug, thiserror::Error)]
#[error("cannot use {path}: {1}", path = .0.display())]
pub struct KeyFileError(pub PathBuf, pub String);
