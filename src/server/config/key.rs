//! What a key of the configuration is.

use super::settings::Config;

/// One key.
pub(super) struct Key {
    /// `key`, or `section.key`.
    pub(super) name: &'static str,
    /// What it does, for the operator.
    pub(super) help: &'static str,
    /// What it may be; completes "must be …".
    pub(super) allowed: &'static str,
    /// Reads a value; `None`: it is not allowed.
    pub(super) set: fn(&mut Config, &str) -> Option<()>,
    /// The value in effect.
    pub(super) show: fn(&Config) -> Shown,
}

/// A value as it stands in a TOML file.
pub(super) enum Shown {
    /// In quotes.
    Text(String),
    /// As it is: a number, `true` or `false`.
    Bare(String),
    /// Any number of texts. In a file an array; in the environment and in flags separated by commas.
    List(Vec<String>),
    /// No value.
    Unset,
}
