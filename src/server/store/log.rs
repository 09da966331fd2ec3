//! The positions of the one append-only log that every stream is read from.
//!
//! Everything durable that a reader can be told of (events, receipts, account data, …) carries the
//! position at which it was written. Positions are handed out inside write transactions by one
//! writer, so they are committed in order: a reader that has seen `p` misses nothing at or below it.

use rusqlite::{
    Connection,
    types::{FromSql, FromSqlResult, ToSql, ToSqlOutput, ValueRef},
};

use crate::server::change::position::{LogPosition, TimelinePosition};

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
