//! A copy of the database as it is at one moment, taken beside a running server or without one.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{
    Connection, ErrorCode,
    backup::{Backup, StepResult},
};

use super::{
    checked_file,
    epoch::was_served,
    folder::{self, FILE},
    mark::{self, Commits},
    media,
    open::{check, reader},
    refusal::OpenError,
};
use crate::server::private_file;

/// How long a copy that found the database busy waits before it tries again, and how often it does.
const PAUSE: Duration = Duration::from_millis(100);
const ATTEMPTS: usize = 100;

/// Why there is no copy. Nothing is left of it.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// There is a database at the destination already: it is never replaced.
    #[error("there is {} already: choose another folder", .0.display())]
    Exists(PathBuf),
    /// The data cannot be read, or is not sound.
    #[error(transparent)]
    Source(OpenError),
    /// The copy cannot be written, or is not sound.
    #[error("cannot write {path}: {1}", path = .0.display())]
    Destination(PathBuf, String),
}

/// What was copied.
#[derive(Debug)]
pub struct Copied {
    /// A server has run on this data: then its keys belong to it.
    pub was_served: bool,
    /// The files that users uploaded, by their names in the folder of files, which belong to it too.
    pub files: Vec<String>,
}

/// Copies the database in `data_dir` into the folder `to`, which is made when there is none. On return it is
/// on the disk, and was found sound. A server that runs on `data_dir` goes on writing meanwhile: what it
/// writes later is not in the copy.
///
/// # Errors
/// [`BackupError`] says which side is at fault.
pub fn backup(data_dir: &Path, to: &Path) -> Result<Copied, BackupError> {
    let (source, destination) = (data_dir.join(FILE), to.join(FILE));
    let cannot_write =
        |e: &dyn std::fmt::Display| BackupError::Destination(destination.clone(), e.to_string());
    let unreadable =
        |e: &dyn std::fmt::Display| BackupError::Source(OpenError::Access(source.clone(), e.to_string()));
    if !folder::has_database(data_dir) {
        return Err(unreadable(&"there is no such file"));
    }
    let from = reader(&source).map_err(|e| unreadable(&e))?;
    // Before the database: what is noted later can be of later commits than this reads.
    let noted = mark::read(&source).map_err(BackupError::Source)?;
    check(&from, &source).map_err(BackupError::Source)?;
    let commits = Commits::of(&from).map_err(|e| unreadable(&e))?;
    mark::compare(&source, noted, commits).map_err(BackupError::Source)?;
    folder::make(to).map_err(|e| cannot_write(&e))?;
    // A log that was left there would be read as the copy's.
    for taken in [&destination, &folder::beside(&destination, "-wal")] {
        if taken.exists() {
            return Err(BackupError::Exists(taken.clone()));
        }
    }
    // It has its name only when it is whole.
    let unfinished = Unfinished(to.join(format!("{FILE}.new")));
    unfinished.remove();
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).open(&unfinished.0).map_err(|e| cannot_write(&e))?;
    let mut copy = checked_file::open_new(&unfinished.0).map_err(|e| cannot_write(&e))?;
    copy_all(&from, &mut copy).map_err(|e| cannot_write(&e))?;
    // One file, with nothing beside it that would have to be moved along.
    copy.pragma_update(None, "journal_mode", "DELETE").map_err(|e| cannot_write(&e))?;
    // What is noted beside the original is not about the copy.
    copy.execute("UPDATE log SET copy = random()", []).map_err(|e| cannot_write(&e))?;
    // They are not copied with the files: they are made again.
    copy.execute("DELETE FROM thumbnails", []).map_err(|e| cannot_write(&e))?;
    check(&copy, &unfinished.0).map_err(|e| cannot_write(&e))?;
    let was_served = was_served(&copy).map_err(|e| cannot_write(&e))?;
    let files = media::own_files(&copy).map_err(|e| cannot_write(&e))?;
    copy.close().map_err(|(_, e)| cannot_write(&e))?;
    let finish = || {
        File::open(&unfinished.0)?.sync_all()?;
        std::fs::rename(&unfinished.0, &destination)?;
        private_file::sync_folder(&destination)
    };
    finish().map(|()| Copied { was_served, files }).map_err(|e| cannot_write(&e))
}

/// Copies every page in one step, so that all are of the same moment.
fn copy_all(from: &Connection, to: &mut Connection) -> rusqlite::Result<()> {
    let backup = Backup::new(from, to)?;
    for _ in 0..ATTEMPTS {
        match backup.step(-1)? {
            StepResult::Done => return Ok(()),
            _ => std::thread::sleep(PAUSE),
        }
    }
    Err(rusqlite::Error::SqliteFailure(
        rusqlite::ffi::Error { code: ErrorCode::DatabaseBusy, extended_code: rusqlite::ffi::SQLITE_BUSY },
        None,
    ))
}

/// A file that is removed when this is dropped, if it has not been given its name by then.
struct Unfinished(PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        self.remove();
    }
}

impl Unfinished {
    fn remove(&self) {
        if let Err(e) = std::fs::remove_file(&self.0)
            && e.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(error = %e, "an unfinished copy cannot be removed");
        }
    }
}
