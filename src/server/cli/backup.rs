//! `pilotlight backup`: everything durable, in another folder.

use std::path::PathBuf;

use clap::Args;

use super::{
    failure::Failure,
    settings::{Settings, print},
};
use crate::server::{
    app::error::ServeError,
    keys::Signer,
    store::{BackupError, backup},
};

#[derive(Args)]
pub(super) struct Backup {
    /// The folder to make; a database that is there already is not replaced.
    to: PathBuf,
    #[command(flatten)]
    settings: Settings,
}

impl Backup {
    pub(super) fn run(self) -> Result<(), Failure> {
        let Self { to, settings } = self;
        let config = settings.load()?;
        backup(&config.data_dir, &to).map_err(|e| match e {
            BackupError::Source(e) => Failure::Serve(ServeError::Store(e)),
            e @ (BackupError::Exists(_) | BackupError::Destination(..)) => Failure::Refused(e.to_string()),
        })?;
        Signer::copy(&config.data_dir, &to).map_err(|e| Failure::Refused(e.to_string()))?;
        print(&format!("{} is a backup: serve it with --set data_dir={0}\n", to.display()))
    }
}
