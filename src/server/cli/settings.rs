//! What the commands have in common: settings from the command line, a runtime, printing.

use std::{io::Write, path::PathBuf};

use clap::Args;

use super::failure::Failure;
#[cfg(all(target_os = "linux", target_env = "gnu"))]
use super::heap;
use crate::server::config::{self, Config, Sources};

/// Where the configuration comes from.
#[derive(Args)]
pub(super) struct Settings {
    /// Read the configuration from this TOML file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Set a key of the configuration; beats the environment and the file. Can be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl Settings {
    pub(super) fn load(self) -> Result<Config, Failure> {
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| {
                Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
            })
            .collect();
        config::load(&Sources { file: self.config, environment, flags: self.set }).map_err(Failure::Config)
    }
}

/// The runtime of a command, made before anything else runs.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        heap::limit_arenas();
        heap::give_back().map_err(Failure::Output)?;
    }
    tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::Output)
}

/// Prints what a command is asked for: without that it fails.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    say(text).map_err(Failure::Output)
}

/// Writes to standard output, at once.
pub(super) fn say(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush())
}
