//! Opening the database file: ours, sound, not newer than this binary; migrations forward.

use std::{
    fs::{DirBuilder, File, TryLockError},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    time::Duration,
};

use ruma::ServerName;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, config::DbConfig};

use super::error::StoreError;
use crate::server::keys::KeyFileError;

/// Marks a SQLite file as ours (`PRAGMA application_id`): "PlLt".
const APPLICATION_ID: i64 = 0x506c_4c74;

/// Schema steps; step `i` brings version `i` to `i + 1`. Released steps never change.
const MIGRATIONS: &[&[&str]] = &[&[
    include_str!("schema/log.sql"),
    include_str!("schema/accounts.sql"),
    include_str!("schema/account_data.sql"),
    include_str!("schema/device_keys.sql"),
    include_str!("schema/presence.sql"),
    include_str!("schema/contacts.sql"),
    include_str!("schema/list_outbox.sql"),
    include_str!("schema/receipts.sql"),
    include_str!("schema/rooms.sql"),
    include_str!("schema/to_device.sql"),
    include_str!("schema/federation.sql"),
]];

/// The schema version that this binary writes.
const KNOWN: u32 = MIGRATIONS.len() as u32;

/// The name of the database in the data folder.
pub(super) const FILE: &str = "pilotlight.db";

/// Who else may have the data open.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Access {
    /// Nobody: for the server, which keeps things in memory.
    Sole,
    /// The server: for a short visit by the command line.
    Beside,
}

/// Why the database cannot be used. Nothing was changed in it.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder or file cannot be made, read or written.
    #[error("cannot use {path}: {1}", path = .0.display())]
    Access(PathBuf, String),
    /// The file is not a database of this program.
    #[error("{} is not a database of pilotlight", .0.display())]
    NotOurs(PathBuf),
    /// The file is damaged; says what SQLite found.
    #[error("{path} is damaged ({1}); restore a backup", path = .0.display())]
    Damaged(PathBuf, String),
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
}

impl From<KeyFileError> for OpenError {
    fn from(KeyFileError(path, why): KeyFileError) -> Self {
        Self::Access(path, why)
    }
}

/// Opens `path` for writing, checks it and migrates it. The file is locked as long as the lock is kept.
pub(super) fn prepare(
    data_dir: &Path,
    path: &Path,
    server_name: &ServerName,
    access: Access,
) -> Result<(Connection, Option<File>), OpenError> {
    // The folder holds password hashes and signing keys: nobody else's business.
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data_dir)
        .map_err(|e| OpenError::Access(data_dir.to_owned(), e.to_string()))?;
    let lock = lock(data_dir)?;
    if lock.is_none() && access == Access::Sole {
        return Err(OpenError::InUse(path.to_owned()));
    }
    let mut connection =
        Connection::open(path).map_err(|e| OpenError::Access(path.to_owned(), e.to_string()))?;
    let found = check(&connection, path)?;
    if lock.is_none() && found != KNOWN {
        // Only whoever has the data for themselves may change the schema.
        return Err(OpenError::InUse(path.to_owned()));
    }
    migrate(&mut connection, found).map_err(|e| OpenError::Access(path.to_owned(), e.to_string()))?;
    claim(&connection, path, server_name)?;
    Ok((connection, lock))
}

/// Takes the lock of the folder; `None`: somebody has it.
fn lock(data_dir: &Path) -> Result<Option<File>, OpenError> {
    let path = data_dir.join("pilotlight.lock");
    let access = |e: std::io::Error| OpenError::Access(path.clone(), e.to_string());
    let file = File::create(&path).map_err(access)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(e)) => Err(access(e)),
    }
}

/// Whether the file is ours and sound; its schema version, 0 for a new file.
pub(super) fn check(connection: &Connection, path: &Path) -> Result<u32, OpenError> {
    let damaged = |e: rusqlite::Error| match e.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => OpenError::NotOurs(path.to_owned()),
        Some(ErrorCode::DatabaseBusy | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            OpenError::Access(path.to_owned(), e.to_string())
        }
        _ => OpenError::Damaged(path.to_owned(), e.to_string()),
    };
    connection.busy_timeout(Duration::from_secs(5)).map_err(damaged)?;
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
    if !fresh && shape(connection).map_err(damaged)? != shape_of_version(found).map_err(damaged)? {
        return Err(OpenError::NeverReleased(path.to_owned()));
    }
    Ok(found)
}

/// The tables and indexes, in words.
fn shape(connection: &Connection) -> rusqlite::Result<Vec<(String, String)>> {
    connection
        .prepare(
            "SELECT name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name",
        )?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

/// What `version` has, by its steps.
fn shape_of_version(version: u32) -> rusqlite::Result<Vec<(String, String)>> {
    let empty = Connection::open_in_memory()?;
    for sql in MIGRATIONS.iter().take(version as usize).copied().flatten() {
        empty.execute_batch(sql)?;
    }
    shape(&empty)
}

/// Brings the schema from version `found` up to date: all of it or, after a power cut, nothing.
fn migrate(connection: &mut Connection, found: u32) -> rusqlite::Result<()> {
    connection
        .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;")?;
    keep_statements(connection)?;
    if found == KNOWN {
        return Ok(());
    }
    let transaction = connection.transaction()?;
    for sql in MIGRATIONS.iter().skip(found as usize).copied().flatten() {
        transaction.execute_batch(sql)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", KNOWN)?;
    transaction.commit()
}

/// Writes the server's name into a new file; in an old one it must be the same.
fn claim(connection: &Connection, path: &Path, server_name: &ServerName) -> Result<(), OpenError> {
    let access = |e: rusqlite::Error| OpenError::Access(path.to_owned(), e.to_string());
    let found: Option<String> =
        connection.query_row("SELECT name FROM server", [], |row| row.get(0)).optional().map_err(access)?;
    match found {
        Some(found) if found == server_name.as_str() => Ok(()),
        Some(found) => Err(OpenError::OtherServer { path: path.to_owned(), found }),
        None => connection
            .execute("INSERT INTO server VALUES (?1)", [server_name.as_str()])
            .map(drop)
            .map_err(access),
    }
}

/// Opens one more connection that can only read.
pub(super) fn reader(path: &Path) -> Result<Connection, StoreError> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.busy_timeout(Duration::from_secs(5))?;
    keep_statements(&connection)?;
    Ok(connection)
}

/// Statements are planned once and kept. Without the planner's stability guarantee every statement that
/// could use a partial index is planned anew for each value that is bound to it.
fn keep_statements(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.set_prepared_statement_cache_capacity(256);
    Ok(())
}

#[cfg(test)]
mod tests {
    use ruma::server_name;

    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("pilotlight-open-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&path).expect("a folder");
            Self(path)
        }

        fn file(&self) -> PathBuf {
            self.0.join("pilotlight.db")
        }

        fn open(&self, name: &ServerName, access: Access) -> Result<(Connection, Option<File>), OpenError> {
            prepare(&self.0, &self.file(), name, access)
        }

        fn refused(&self) -> (String, Vec<u8>) {
            let error = self.open(server_name!("a"), Access::Sole).expect_err("refused").to_string();
            (error, std::fs::read(self.file()).expect("the file is still there"))
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            if let Err(e) = std::fs::remove_dir_all(&self.0) {
                eprintln!("cannot remove {}: {e}", self.0.display());
            }
        }
    }

    #[test]
    fn one_server_has_the_data_and_the_command_line_may_visit() {
        let folder = Folder::new("lock");
        let server = folder.open(server_name!("a"), Access::Sole).expect("opens");
        assert!(matches!(folder.open(server_name!("a"), Access::Sole), Err(OpenError::InUse(_))));
        let (_, lock) = folder.open(server_name!("a"), Access::Beside).expect("visits");
        assert!(lock.is_none());
        drop(server);
        folder.open(server_name!("a"), Access::Sole).expect("opens again");
    }

    #[test]
    fn data_of_another_server_is_refused() {
        let folder = Folder::new("name");
        drop(folder.open(server_name!("a"), Access::Sole).expect("opens"));
        let other = folder.open(server_name!("b"), Access::Sole);
        assert!(matches!(other, Err(OpenError::OtherServer { found, .. }) if found == "a"));
        folder.open(server_name!("a"), Access::Sole).expect("opens");
    }

    #[test]
    fn what_is_not_ours_is_refused_and_left_alone() {
        let folder = Folder::new("foreign");
        let text = b"Dear diary, this is not a database. ".repeat(100);
        std::fs::write(folder.file(), &text).expect("writes");
        let (error, after) = folder.refused();
        assert!(error.contains("is not a database of pilotlight"), "{error}");
        assert_eq!(after, text);

        std::fs::remove_file(folder.file()).expect("removes");
        let foreign = Connection::open(folder.file()).expect("opens");
        foreign.execute_batch("CREATE TABLE recipes (name TEXT)").expect("creates");
        drop(foreign);
        let before = std::fs::read(folder.file()).expect("reads");
        let (error, after) = folder.refused();
        assert!(error.contains("is not a database of pilotlight"), "{error}");
        assert_eq!(after, before);
    }

    #[test]
    fn newer_data_is_refused_and_left_alone() {
        let folder = Folder::new("newer");
        let (connection, _lock) = folder.open(server_name!("a"), Access::Sole).expect("opens");
        connection.pragma_update(None, "user_version", KNOWN + 1).expect("writes");
        drop((connection, _lock));
        let before = std::fs::read(folder.file()).expect("reads");
        let (error, after) = folder.refused();
        assert!(error.contains("was written by a newer pilotlight"), "{error}");
        assert_eq!(after, before);
    }

    #[test]
    fn data_of_a_version_that_was_never_released_is_refused_and_left_alone() {
        let folder = Folder::new("unreleased");
        let (connection, lock) = folder.open(server_name!("a"), Access::Sole).expect("opens");
        connection.execute_batch("PRAGMA optimize = 0x10002; ANALYZE;").expect("gathers statistics");
        drop((connection, lock));
        let (connection, lock) =
            folder.open(server_name!("a"), Access::Sole).expect("statistics are no matter");
        connection.execute_batch("ALTER TABLE events RENAME COLUMN timeline TO place").expect("alters");
        drop((connection, lock));
        let before = std::fs::read(folder.file()).expect("reads");
        let (error, after) = folder.refused();
        assert!(error.contains("never released") && error.contains("set data_dir"), "{error}");
        assert_eq!(after, before);
    }

    #[test]
    fn damaged_data_is_refused_and_left_alone() {
        let folder = Folder::new("damaged");
        drop(folder.open(server_name!("a"), Access::Sole).expect("opens"));
        let mut bytes = std::fs::read(folder.file()).expect("reads");
        // Everything but the first page, which has the schema.
        for byte in bytes.iter_mut().skip(4096) {
            *byte = 0xff;
        }
        std::fs::write(folder.file(), &bytes).expect("writes");
        let (error, after) = folder.refused();
        assert!(error.contains("is damaged") && error.contains("restore a backup"), "{error}");
        assert_eq!(after, bytes);
    }
}
