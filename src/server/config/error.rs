//! Why a configuration is refused: where it says what, and what it could say.

use std::{
    fmt,
    path::{Path, PathBuf},
};

/// Where a value was given.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Source {
    /// In a file, in this line.
    File(PathBuf, usize),
    /// In this environment variable.
    Environment(String),
    /// In a `--set` flag.
    Flag,
}

/// Why the configuration is refused.
#[derive(Debug)]
pub enum ConfigError {
    /// The file cannot be read.
    Unreadable(PathBuf, std::io::Error),
    /// The file is not TOML.
    Syntax(Source, String),
    /// A flag is not of the form `key=value`.
    NotAnAssignment(String),
    /// There is no such key.
    UnknownKey {
        /// Where it was given.
        source: Source,
        /// The key.
        key: String,
        /// The key that was perhaps meant.
        meant: Option<&'static str>,
    },
    /// There is no such section.
    UnknownSection {
        /// Where it was given.
        source: Source,
        /// The section.
        section: String,
        /// The section that was perhaps meant.
        meant: Option<&'static str>,
    },
    /// The key cannot have this value.
    BadValue {
        /// Where it was given.
        source: Source,
        /// The key.
        key: &'static str,
        /// What it may be.
        allowed: &'static str,
    },
    /// Keys that do not go together.
    Contradiction(&'static str),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::Flag => write!(f, "--set"),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(path, e) => write!(f, "cannot read {}: {e}", path.display()),
            Self::Syntax(source, message) => write!(f, "{source}: {message}"),
            Self::NotAnAssignment(flag) => {
                write!(
                    f,
                    "--set takes key=value, such as presence.idle_timeout=2m; this is no such thing: {flag}"
                )
            }
            Self::UnknownKey { source, key, meant } => {
                write!(f, "{source}: there is no key {key}")?;
                match meant {
                    Some(meant) => write!(f, "; did you mean {meant}?"),
                    None => write!(f, "; `pilotlight config` lists them all"),
                }
            }
            Self::UnknownSection { source, section, meant } => {
                write!(f, "{source}: there is no section [{section}]")?;
                match meant {
                    Some(meant) => write!(f, "; did you mean [{meant}]?"),
                    None => write!(f, "; `pilotlight config` lists them all"),
                }
            }
            Self::BadValue { source, key, allowed } => write!(f, "{source}: {key} must be {allowed}"),
            Self::Contradiction(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for ConfigError {}

impl Source {
    /// The place in a file where the byte `offset` is.
    pub(super) fn in_file(path: &Path, text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        Self::File(path.to_owned(), 1 + before.matches('\n').count())
    }
}
