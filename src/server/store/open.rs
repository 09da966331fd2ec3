//! Opening the database file: ours, sound, not newer than this binary; migrations forward.

use std::{
    fs::{File, OpenOptions},
    io::ErrorKind,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    time::Duration,
};

use ruma::ServerName;
use rusqlite::{Connection, ErrorCode, OpenFlags, config::DbConfig};

use super::{
    checked_file::{self, APPLICATION_ID},
    error::StoreError,
    folder, header,
    mark::{self, Commits, Mark, Noted},
    refusal::OpenError,
    schema::{self, KNOWN},
    write_ahead,
};
use crate::server::private_file;

/// Who else may have the data open.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Access {
    /// Nobody: for the server, which keeps things in memory.
    Sole,
    /// The server: for a short visit by the command line.
    Beside,
}

/// A database that was found sound, open for writing.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) connection: Connection,
    /// Kept as long as the database is open; `None` on a visit beside the server.
    pub(super) lock: Option<File>,
    /// For whoever has the lock.
    pub(super) mark: Option<Mark>,
}

/// Opens `path` for writing, checks it and migrates it.
pub(super) fn prepare(
    data_dir: &Path,
    path: &Path,
    server_name: &ServerName,
    access: Access,
) -> Result<Prepared, OpenError> {
    let lock = folder::enter(data_dir)?;
    if lock.is_none() && access == Access::Sole {
        return Err(OpenError::InUse(path.to_owned()));
    }
    let noted = mark::read(path)?;
    match std::fs::metadata(path) {
        Ok(file) if file.len() == 0 => return Err(OpenError::Empty(path.to_owned())),
        Ok(_) => {}
        Err(e) if e.kind() == ErrorKind::NotFound && lock.is_some() => {
            if let Some(key) = folder::key(data_dir) {
                return Err(OpenError::KeyAlone { path: path.to_owned(), key });
            }
            make(path, noted, server_name)?;
        }
        Err(e) => return Err(OpenError::access(path)(e)),
    }
    if lock.is_some() {
        // Only here: closing a file gives up every lock that this process has on it.
        header::check(path, KNOWN)?;
        check_log(path, noted)?;
    }
    let has_log = folder::beside(path, "-wal").exists();
    let mut connection = checked_file::open(path, OpenFlags::default()).map_err(OpenError::access(path))?;
    // What is refused is left as it is: its log stays, and one that there was not does not.
    keep_log(&connection, has_log).map_err(OpenError::access(path))?;
    let found = check(&connection, path)?;
    if lock.is_none() && found != KNOWN {
        // Only whoever has the data for themselves may change the schema.
        return Err(OpenError::InUse(path.to_owned()));
    }
    let commits = Commits::of(&connection).map_err(OpenError::unreadable(path))?;
    mark::compare(path, noted, commits)?;
    check_name(&connection, path, server_name)?;
    let failed = |e: rusqlite::Error| match is_out_of_room(&e) {
        true => OpenError::Full(path.to_owned()),
        false => OpenError::Access(path.to_owned(), e.to_string()),
    };
    schema::migrate(&mut connection, found).map_err(failed)?;
    set_up(&connection).map_err(failed)?;
    let mark = lock.as_ref().map(|_| Mark::begin(path, commits)).transpose()?;
    Ok(Prepared { connection, lock, mark })
}

/// Makes a new database, which has its name only when it is whole.
fn make(path: &Path, noted: Noted, server_name: &ServerName) -> Result<(), OpenError> {
    if noted != Noted::Nothing || folder::beside(path, "-wal").exists() {
        return Err(OpenError::Gone(path.to_owned()));
    }
    let unfinished = folder::beside(path, ".new");
    let make = || -> Result<(), Box<dyn std::error::Error>> {
        for left_over in [&unfinished, &folder::beside(&unfinished, "-journal")] {
            match std::fs::remove_file(left_over) {
                Err(e) if e.kind() != ErrorKind::NotFound => return Err(e.into()),
                Ok(()) | Err(_) => {}
            }
        }
        // SQLite gives what it puts beside a database the rights of the database.
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
        let mut connection = checked_file::open_new(&unfinished)?;
        schema::migrate(&mut connection, 0)?;
        connection.execute("INSERT INTO server VALUES (?1)", [server_name.as_str()])?;
        connection.close().map_err(|(_, e)| e)?;
        File::open(&unfinished)?.sync_all()?;
        std::fs::rename(&unfinished, path)?;
        Ok(private_file::sync_folder(path)?)
    };
    make().map_err(OpenError::access(path))
}

/// Refuses a write-ahead log of which a part would be left out without a word, or that is another database's.
fn check_log(path: &Path, noted: Noted) -> Result<(), OpenError> {
    let log = folder::beside(path, "-wal");
    if std::fs::metadata(&log).map_or(0, |file| file.len()) == 0 || noted == Noted::Waived {
        return Ok(());
    }
    if write_ahead::goes_on_behind_its_end(&log).map_err(OpenError::access(&log))? {
        return Err(OpenError::Lost {
            path: path.to_owned(),
            what: "its log has more behind a damaged place".to_owned(),
            mark: mark::place(path),
        });
    }
    // Whether both can be read is for the check that follows.
    let copy =
        |connection: rusqlite::Result<Connection>| Commits::of(&connection?).map(|commits| commits.copy);
    match (copy(without_log(path)), copy(read_only(path))) {
        (Ok(alone), Ok(with_log)) if alone != with_log => {
            Err(OpenError::OtherLog { path: path.to_owned(), log })
        }
        _ => Ok(()),
    }
}

/// Whether the last connection, when it closes, leaves the log as it is.
fn keep_log(connection: &Connection, keep: bool) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, keep).map(drop)
}

/// Whether the file is ours and sound; its schema version.
pub(super) fn check(connection: &Connection, path: &Path) -> Result<u32, OpenError> {
    let damaged = |e: rusqlite::Error| match e.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => OpenError::NotOurs(path.to_owned()),
        _ if is_out_of_room(&e) => OpenError::Full(path.to_owned()),
        _ if is_changed_page(&e) => {
            OpenError::Damaged(path.to_owned(), "a page is not as it was written".to_owned())
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            OpenError::Access(path.to_owned(), e.to_string())
        }
        _ => OpenError::Damaged(path.to_owned(), e.to_string()),
    };
    connection.busy_timeout(Duration::from_secs(5)).map_err(damaged)?;
    let (application, found): (i64, u32) = connection
        .query_row(
            "SELECT a.application_id, u.user_version FROM pragma_application_id a, pragma_user_version u",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .map_err(damaged)?;
    if application != i64::from(APPLICATION_ID) {
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
    if !schema::is_of_version(connection, found).map_err(damaged)? {
        return Err(OpenError::NeverReleased(path.to_owned()));
    }
    Ok(found)
}

/// Whether a page was read that somebody else, or the disk, has changed.
fn is_changed_page(e: &rusqlite::Error) -> bool {
    e.sqlite_error().is_some_and(|e| e.extended_code == rusqlite::ffi::SQLITE_IOERR_DATA)
}

/// Whether the disk is full. The memory that connections share is a file, too, and says so in its own way.
fn is_out_of_room(e: &rusqlite::Error) -> bool {
    let is_full = |code| matches!(code, rusqlite::ffi::SQLITE_FULL | rusqlite::ffi::SQLITE_IOERR_SHMSIZE);
    e.sqlite_error().is_some_and(|e| is_full(e.extended_code))
}

/// Makes a connection that was found sound ready for writing.
fn set_up(connection: &Connection) -> rusqlite::Result<()> {
    connection
        .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;")?;
    keep_log(connection, false)?;
    keep_statements(connection)
}

/// Refuses the data of a server of another name.
fn check_name(connection: &Connection, path: &Path, server_name: &ServerName) -> Result<(), OpenError> {
    let found: String = connection
        .query_row("SELECT name FROM server", [], |row| row.get(0))
        .map_err(OpenError::unreadable(path))?;
    match found == server_name.as_str() {
        true => Ok(()),
        false => Err(OpenError::OtherServer { path: path.to_owned(), found }),
    }
}

/// Opens one more connection that can only read.
pub(super) fn reader(path: &Path) -> Result<Connection, StoreError> {
    let connection = read_only(path)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    keep_statements(&connection)?;
    Ok(connection)
}

fn read_only(path: &Path) -> rusqlite::Result<Connection> {
    checked_file::open(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)
}

/// The database as its file has it, without what is only in the log.
fn without_log(path: &Path) -> rusqlite::Result<Connection> {
    let escaped: String = path
        .as_os_str()
        .as_encoded_bytes()
        .iter()
        .map(|byte| match byte {
            b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                char::from(*byte).to_string()
            }
            _ => format!("%{byte:02x}"),
        })
        .collect();
    checked_file::open(
        format!("file:{escaped}?immutable=1"),
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI,
    )
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
    use std::path::PathBuf;

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

        fn open(&self, name: &ServerName, access: Access) -> Result<Prepared, OpenError> {
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
        let visit = folder.open(server_name!("a"), Access::Beside).expect("visits");
        assert!(visit.lock.is_none() && visit.mark.is_none());
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
        let Prepared { connection, lock, .. } = folder.open(server_name!("a"), Access::Sole).expect("opens");
        connection.pragma_update(None, "user_version", KNOWN + 1).expect("writes");
        drop((connection, lock));
        let before = std::fs::read(folder.file()).expect("reads");
        let (error, after) = folder.refused();
        assert!(error.contains("was written by a newer pilotlight"), "{error}");
        assert_eq!(after, before);
    }

    #[test]
    fn data_of_a_version_that_was_never_released_is_refused_and_left_alone() {
        let folder = Folder::new("unreleased");
        let Prepared { connection, lock, .. } = folder.open(server_name!("a"), Access::Sole).expect("opens");
        connection.execute_batch("PRAGMA optimize = 0x10002; ANALYZE;").expect("gathers statistics");
        drop((connection, lock));
        let Prepared { connection, lock, .. } =
            folder.open(server_name!("a"), Access::Sole).expect("statistics are no matter");
        connection.execute_batch("ALTER TABLE events RENAME COLUMN timeline TO place").expect("alters");
        drop((connection, lock));
        let before = std::fs::read(folder.file()).expect("reads");
        let (error, after) = folder.refused();
        assert!(error.contains("never released") && error.contains("set data_dir"), "{error}");
        assert_eq!(after, before);
    }

    #[test]
    fn o3_data_of_every_earlier_version_is_brought_up_to_date() {
        for version in 1..KNOWN {
            let folder = Folder::new(&format!("version-{version}"));
            let earlier = checked_file::open_new(&folder.file()).expect("opens");
            schema::make(&earlier, version).expect("is SQL");
            earlier.execute("INSERT INTO server VALUES ('a')", []).expect("writes");
            earlier.pragma_update(None, "application_id", APPLICATION_ID).expect("writes");
            earlier.pragma_update(None, "user_version", version).expect("writes");
            drop(earlier);
            for _ in 0..2 {
                let Prepared { connection, .. } =
                    folder.open(server_name!("a"), Access::Sole).expect("opens");
                assert!(schema::is_of_version(&connection, KNOWN).expect("can be read"), "{version}");
            }
        }
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
