//! The positions of the one append-only log that every stream is read from.
//!
//! Everything durable that a reader can be told of (events, receipts, account data, …) carries the
//! position at which it was written. Positions are handed out inside write transactions by one
//! writer, so they are committed in order: a reader that has seen `p` misses nothing at or below it.

use rusqlite::Connection;

use super::{Store, StoreError};

/// Takes the next position, inside a write.
pub(super) fn advance(connection: &Connection) -> rusqlite::Result<u64> {
    connection
        .prepare_cached("UPDATE log SET position = position + 1 RETURNING position")?
        .query_row([], |row| row.get::<_, i64>(0).map(i64::cast_unsigned))
}

impl Store {
    /// The last position that is on the disk. 0: nothing was ever written.
    pub fn log_position(&self) -> Result<u64, StoreError> {
        self.read(|c| {
            c.prepare_cached("SELECT position FROM log")?
                .query_row([], |row| row.get::<_, i64>(0).map(i64::cast_unsigned))
        })
    }
}
