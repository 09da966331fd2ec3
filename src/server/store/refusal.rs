//! Why a database is not opened.

use std::{
    fmt::Display,
    path::{Path, PathBuf},
};

use crate::server::keys::KeyFileError;

/// Why the database cannot be used. Nothing was changed in it.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder or file cannot be made, read or written.
    #[error("cannot use {path}: {1}", path = .0.display())]
    Access(PathBuf, String),
    /// The disk has no room for what SQLite puts beside the file while it is open.
    #[error(
        "cannot use {}: the disk is full; nothing is lost: make some room (1 MiB is enough to start) and start again",
        .0.display()
    )]
    Full(PathBuf),
    /// The file is not a database of this program.
    #[error("{} is not a database of pilotlight", .0.display())]
    NotOurs(PathBuf),
    /// The file is damaged; says what SQLite found.
    #[error("{path} is damaged ({1}); restore a backup", path = .0.display())]
    Damaged(PathBuf, String),
    /// The file has no content.
    #[error(
        "{} is empty, which no server leaves behind: its content is lost; restore a backup, or set data_dir to \
         another folder to begin anew", .0.display()
    )]
    Empty(PathBuf),
    /// There was a database, and there is none.
    #[error(
        "{} is gone, but what stands beside it says that there was one; restore a backup, or set data_dir to \
         another folder to begin anew", .0.display()
    )]
    Gone(PathBuf),
    /// There is the key of a server, and no database.
    #[error(
        "{path} is gone: a server makes it before {key}, which is there; restore a backup, or set data_dir to another \
         folder to begin anew; a key of your own that is to be used from the first start on: move it out of the folder, and \
         give it to `pilotlight keys use FILE`",
        path = .path.display(), key = .key.display()
    )]
    KeyAlone {
        /// The database.
        path: PathBuf,
        /// The file of keys.
        key: PathBuf,
    },
    /// The database ends before what was acknowledged.
    #[error(
        "{path} lacks writes that were acknowledged ({what}): it or its write-ahead log is damaged, or is not the \
         last one; restore a backup; to go on without these writes, empty the file {mark}",
        path = .path.display(), mark = .mark.display()
    )]
    Lost {
        /// The database.
        path: PathBuf,
        /// How that is known.
        what: String,
        /// The file to empty.
        mark: PathBuf,
    },
    /// The write-ahead log is that of another database.
    #[error(
        "{log} belongs to another database than {path}; if {path} is a restored backup, move that file away",
        log = .log.display(), path = .path.display()
    )]
    OtherLog {
        /// The database.
        path: PathBuf,
        /// Its write-ahead log.
        log: PathBuf,
    },
    /// Another process has it open.
    #[error("{} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// The file belongs to a server of another name.
    #[error("{} belongs to the server {found}; set server_name to that, or data_dir to another folder", .path.display())]
    OtherServer {
        /// The file.
        path: PathBuf,
        /// The name in the file.
        found: String,
    },
    /// The file was written by a newer version of this program.
    #[error("{} was written by a newer pilotlight (schema {found}, this binary knows {known}); use that one", .path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema version.
        found: u32,
        /// The newest that this binary knows.
        known: u32,
    },
    /// The tables are not those of its schema version: it was written before that version was released.
    #[error(
        "{} was written by a pilotlight that was never released, with other tables; set data_dir to another \
         folder, or remove this one", .0.display()
    )]
    NeverReleased(PathBuf),
}

impl OpenError {
    /// For what is in the file at `path` and cannot be read.
    pub(super) fn unreadable(path: &Path) -> impl Fn(rusqlite::Error) -> Self {
        move |e| Self::Damaged(path.to_owned(), e.to_string())
    }

    /// For what cannot be done with the file or folder at `path`.
    pub(super) fn access<E: Display>(path: &Path) -> impl Fn(E) -> Self {
        move |e| Self::Access(path.to_owned(), e.to_string())
    }
}

impl From<KeyFileError> for OpenError {
    fn from(KeyFileError(path, why): KeyFileError) -> Self {
        Self::Access(path, why)
    }
}
