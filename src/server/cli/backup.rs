//! `pilotlight backup`: everything durable, in another folder.

use std::path::PathBuf;

use clap::Args;

use super::{
    failure::Failure,
    settings::{Settings, print},
};
use crate::server::{
    app::error::ServeError,
    keys::{KeyFileError, Signer},
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
        let was_served = backup(&config.data_dir, &to).map_err(|e| match e {
            BackupError::Source(e) => Failure::Serve(ServeError::Store(e)),
            e @ (BackupError::Exists(_) | BackupError::Destination(..)) => Failure::Refused(e.to_string()),
        })?;
        let has_key = Signer::copy(&config.data_dir, &to).map_err(|e| Failure::Refused(e.to_string()))?;
        if was_served && !has_key {
            // The copy stays: where the key is lost, the rest is worth as much more.
            let KeyFileError(path, why) = Signer::lost(&config.data_dir);
            let why =
                format!("{why}. {} has the database alone, and is not served without that key", to.display());
            return Err(Failure::Serve(KeyFileError(path, why).into()));
        }
        print(&format!("{} is a backup: serve it with --set data_dir={0}\n", to.display()))
    }
}
