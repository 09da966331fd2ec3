//! `pilotlight backup`: everything durable, in another folder.

use std::path::{Path, PathBuf};

use clap::Args;

use super::{
    failure::Failure,
    settings::{Settings, print},
};
use crate::server::{
    app::error::ServeError,
    config::Config,
    keys::{KeyFileError, Signer},
    media::folder::{FileName, Folder},
    store::{BackupError, Copied, backup},
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
        let Copied { was_served, files } = backup(&config.data_dir, &to).map_err(|e| match e {
            BackupError::Source(e) => Failure::Serve(ServeError::Store(e)),
            e @ (BackupError::Exists(_) | BackupError::Destination(..)) => Failure::Refused(e.to_string()),
        })?;
        let has_key = Signer::copy(&config.data_dir, &to).map_err(|e| Failure::Refused(e.to_string()))?;
        let missing = copy_files(&config, &to, &files)?;
        if was_served && !has_key {
            // The copy stays: where the key is lost, the rest is worth as much more.
            let KeyFileError(path, why) = Signer::lost(&config.data_dir);
            let why =
                format!("{why}. {} has the database alone, and is not served without that key", to.display());
            return Err(Failure::Serve(KeyFileError(path, why).into()));
        }
        if missing > 0 {
            // The rest is worth as much more.
            return Err(Failure::Refused(format!(
                "{missing} of {} uploaded files are not in {}/media; {} has everything else, and can be served",
                files.len(),
                config.data_dir.display(),
                to.display()
            )));
        }
        print(&format!("{} is a backup: serve it with --set data_dir={0}\n", to.display()))
    }
}

/// Copies the files that users uploaded; answers how many of them are not there. Thumbnails and other servers' files are
/// made and fetched again.
fn copy_files(config: &Config, to: &Path, files: &[String]) -> Result<usize, Failure> {
    let (from, to) = (Folder::of(&config.data_dir), Folder::of(to));
    let mut missing = 0;
    for file in files {
        let copied = FileName::parse(file).map_or(Ok(false), |name| from.copy(&name, &to));
        let copied =
            copied.map_err(|e| Failure::Refused(format!("an uploaded file cannot be copied: {e}")))?;
        if !copied {
            tracing::warn!(file, "an uploaded file is missing");
            missing += 1;
        }
    }
    Ok(missing)
}
