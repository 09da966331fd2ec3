//! Opening the database file: ours, sound, not newer than this binary; migrations forward.

use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags};

use super::StoreError;

/// Marks a SQLite file as ours (`PRAGMA application_id`): "PlLt".
const APPLICATION_ID: i64 = 0x506c_4c74;

/// Schema steps; step `i` brings version `i` to `i + 1`. Released steps never change.
const MIGRATIONS: &[&[&str]] = &[&[
    include_str!("schema/log.sql"),
    include_str!("schema/accounts.sql"),
    include_str!("schema/presence.sql"),
    include_str!("schema/receipts.sql"),
    include_str!("schema/rooms.sql"),
    include_str!("schema/to_device.sql"),
]];

/// The schema version that this binary writes.
const KNOWN: u32 = MIGRATIONS.len() as u32;

/// Why the database cannot be used. Nothing was changed in it.
#[derive(Debug)]
pub enum OpenError {
    /// The folder or file cannot be made, read or written.
    Access(PathBuf, String),
    /// The file is not a database of this program.
    NotOurs(PathBuf),
    /// The file is damaged; says what SQLite found.
    Damaged(PathBuf, String),
    /// Another process has it open.
    InUse(PathBuf),
    /// The file was written by a newer version of this program.
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema version.
        found: u32,
        /// The newest that this binary knows.
        known: u32,
    },
}

/// Opens `path` for writing, checks it and migrates it.
pub(super) fn prepare(data_dir: &Path, path: &Path) -> Result<Connection, OpenError> {
    std::fs::create_dir_all(data_dir).map_err(|e| OpenError::Access(data_dir.to_owned(), e.to_string()))?;
    let access = |e: rusqlite::Error| OpenError::Access(path.to_owned(), e.to_string());
    let damaged = |e: rusqlite::Error| OpenError::Damaged(path.to_owned(), e.to_string());
    let mut connection = Connection::open(path).map_err(access)?;
    connection.busy_timeout(Duration::from_secs(5)).map_err(access)?;
    let fresh: bool = connection
        .query_row("SELECT count(*) = 0 FROM sqlite_schema", [], |row| row.get(0))
        .map_err(damaged)?;
    let (application, found): (i64, u32) = connection
        .query_row(
            "SELECT a.application_id, u.user_version FROM pragma_application_id a, pragma_user_version u",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .map_err(damaged)?;
    if !fresh && application != APPLICATION_ID {
        return Err(OpenError::NotOurs(path.to_owned()));
    }
    if found > KNOWN {
        return Err(OpenError::Newer { path: path.to_owned(), found, known: KNOWN });
    }
    let verdict: String =
        connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(damaged)?;
    if verdict != "ok" {
        return Err(OpenError::Damaged(path.to_owned(), verdict));
    }
    connection
        .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;")
        .map_err(access)?;
    connection.set_prepared_statement_cache_capacity(256);
    let transaction = connection.transaction().map_err(access)?;
    for step in MIGRATIONS.iter().skip(found as usize) {
        for sql in *step {
            transaction.execute_batch(sql).map_err(damaged)?;
        }
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(access)?;
    transaction.pragma_update(None, "user_version", KNOWN).map_err(access)?;
    transaction.commit().map_err(access)?;
    Ok(connection)
}

/// Opens one more connection that can only read.
pub(super) fn reader(path: &Path) -> Result<Connection, StoreError> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.set_prepared_statement_cache_capacity(256);
    Ok(connection)
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Access(path, e) => write!(f, "cannot use {}: {e}", path.display()),
            Self::NotOurs(path) => write!(f, "{} is not a database of pilotlight", path.display()),
            Self::Damaged(path, e) => write!(f, "{} is damaged ({e}); restore a backup", path.display()),
            Self::InUse(path) => write!(f, "{} is in use by another process", path.display()),
            Self::Newer { path, found, known } => write!(
                f,
                "{} was written by a newer pilotlight (schema {found}, this binary knows {known}); use that one",
                path.display()
            ),
        }
    }
}

impl std::error::Error for OpenError {}
