//! The positions of the one append-only log that every stream is read from.
//!
//! Everything durable that a reader can be told of (events, receipts, account data, …) carries the
//! position at which it was written. Positions are handed out inside write transactions by one
//! writer, so they are committed in order: a reader that has seen `p` misses nothing at or below it.

use rusqlite::Connection;

use super::Store;

/// Takes the next position, inside a write.
pub(super) fn advance(connection: &Connection) -> rusqlite::Result<u64> {
    connection
        .prepare_cached("UPDATE log SET position = position + 1 RETURNING position")?
        .query_row([], |row| row.get::<_, i64>(0).map(i64::cast_unsigned))
}

/// The last position, as this connection sees it.
pub(super) fn position(connection: &Connection) -> rusqlite::Result<u64> {
    connection
        .prepare_cached("SELECT position FROM log")?
        .query_row([], |row| row.get::<_, i64>(0).map(i64::cast_unsigned))
}

impl Store {
    /// The last position that is on the disk, with what is held in memory up to date. 0: nothing was
    /// ever written. Costs no query.
    pub fn log_position(&self) -> u64 {
        self.writer.committed()
    }
}
