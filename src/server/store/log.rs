//! The positions of the one append-only log that every stream is read from.
//!
//! Everything durable that a reader can be told of (events, receipts, account data, …) carries the
//! position at which it was written. Positions are handed out inside write transactions by one
//! writer, so they are committed in order: a reader that has seen `p` misses nothing at or below it.

use std::time::Duration;

use rusqlite::{
    Connection,
    types::{FromSql, FromSqlResult, ToSql, ToSqlOutput, ValueRef},
};

use crate::server::change::position::{LogPosition, TimelinePosition};

/// How long the end waits for those who still read.
const LAST_READERS: Duration = Duration::from_secs(1);

/// Takes the next position, inside a write.
pub(super) fn advance(connection: &Connection) -> rusqlite::Result<LogPosition> {
    connection
        .prepare_cached("UPDATE log SET position = position + 1 RETURNING position")?
        .query_row([], |row| row.get(0))
}

/// The last position, as this connection sees it.
pub(super) fn position(connection: &Connection) -> rusqlite::Result<LogPosition> {
    connection.prepare_cached("SELECT position FROM log")?.query_row([], |row| row.get(0))
}

/// Counts one more commit, inside it; the last position, and the commits so far.
pub(super) fn count_commit(connection: &Connection) -> rusqlite::Result<(LogPosition, i64)> {
    connection
        .prepare_cached("UPDATE log SET commits = commits + 1 RETURNING position, commits")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))
}

/// How many rows this connection has ever changed.
pub(super) fn changes(connection: &Connection) -> rusqlite::Result<i64> {
    connection.prepare_cached("SELECT total_changes()")?.query_row([], |row| row.get(0))
}

/// Moves what is in the write-ahead log into the database's file, and empties the log.
pub(super) fn into_one_file(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(LAST_READERS)?;
    let busy: bool = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    match busy {
        false => Ok(()),
        true => {
            let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
            Err(rusqlite::Error::SqliteFailure(code, Some("somebody is reading".to_owned())))
        }
    }
}

impl ToSql for LogPosition {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(i64::try_from(self.get()).unwrap_or(i64::MAX)))
    }
}

impl FromSql for LogPosition {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        i64::column_result(value).map(|number| Self::new(number.cast_unsigned()))
    }
}

impl ToSql for TimelinePosition {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(self.get()))
    }
}

impl FromSql for TimelinePosition {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        i64::column_result(value).map(Self::new)
    }
}
