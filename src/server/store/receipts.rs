//! How far each user has read in each room.

use ruma::{OwnedRoomId, RoomId, UserId};
use rusqlite::{OptionalExtension, Row, params};

use super::{Store, StoreError, log::advance};

/// One receipt, as it is kept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Receipt {
    /// Where.
    pub room: OwnedRoomId,
    /// Who has read.
    pub user: String,
    /// `m.read` or `m.read.private`.
    pub kind: String,
    /// Empty, `main`, or the event ID of the thread's root.
    pub thread: String,
    /// Up to and including this event.
    pub event: String,
    /// When, in milliseconds since the Unix epoch.
    pub ts_ms: u64,
    /// Whether others may see it.
    pub shown: bool,
}

impl Store {
    /// Keeps a receipt; `apply` learns its position in the log when it is on the disk.
    pub async fn put_receipt(
        &self,
        receipt: Receipt,
        apply: impl FnOnce(u64) + Send + 'static,
    ) -> Result<u64, StoreError> {
        self.write_then(
            move |c| {
                let position = advance(c)?;
                c.prepare_cached(
                    "INSERT OR REPLACE INTO receipts
                         (room_id, user_id, kind, thread, event_id, ts_ms, shown, position)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                )?
                .execute(params![
                    receipt.room.as_str(),
                    receipt.user,
                    receipt.kind,
                    receipt.thread,
                    receipt.event,
                    receipt.ts_ms.cast_signed(),
                    receipt.shown,
                    position.cast_signed()
                ])?;
                Ok(position)
            },
            |position| apply(*position),
        )
        .await
    }

    /// The receipts in `room` after `since`, up to and including `upto`, that `viewer` may see.
    pub fn receipts(
        &self,
        room: &RoomId,
        viewer: &UserId,
        since: u64,
        upto: u64,
    ) -> Result<Vec<Receipt>, StoreError> {
        self.read(|c| {
            c.prepare_cached(
                "SELECT user_id, kind, thread, event_id, ts_ms, shown FROM receipts
                 WHERE room_id = ?1 AND position > ?2 AND position <= ?3 AND (shown OR user_id = ?4)
                 ORDER BY position",
            )?
            .query_map(
                params![room.as_str(), since.cast_signed(), upto.cast_signed(), viewer.as_str()],
                |row| receipt(room, row),
            )?
            .collect()
        })
    }

    /// The events up to which `user` has read in `room`, outside of threads.
    pub fn read_up_to(&self, room: &RoomId, user: &UserId) -> Result<Vec<String>, StoreError> {
        self.read(|c| {
            c.prepare_cached(
                "SELECT event_id FROM receipts WHERE room_id = ?1 AND user_id = ?2 AND thread IN ('', 'main')",
            )?
            .query_map([room.as_str(), user.as_str()], |row| row.get(0))?
            .collect()
        })
    }

    /// The receipt of `user` in `room` of one kind and thread.
    pub fn receipt(
        &self,
        room: &RoomId,
        user: &UserId,
        kind: &str,
        thread: &str,
    ) -> Result<Option<Receipt>, StoreError> {
        self.read(|c| {
            c.prepare_cached(
                "SELECT user_id, kind, thread, event_id, ts_ms, shown FROM receipts
                 WHERE room_id = ?1 AND user_id = ?2 AND kind = ?3 AND thread = ?4",
            )?
            .query_row([room.as_str(), user.as_str(), kind, thread], |row| receipt(room, row))
            .optional()
        })
    }

    /// The position of the last receipt in every room that has one.
    pub fn receipt_positions(&self) -> Result<Vec<(OwnedRoomId, u64)>, StoreError> {
        let rows: Vec<(String, i64)> = self.read(|c| {
            c.prepare_cached("SELECT room_id, max(position) FROM receipts GROUP BY room_id")?
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })?;
        rows.into_iter()
            .map(|(room, position)| {
                let room = room.try_into().map_err(|e| StoreError::Corrupt(format!("room_id: {e}")))?;
                Ok((room, position.cast_unsigned()))
            })
            .collect()
    }
}

fn receipt(room: &RoomId, row: &Row<'_>) -> rusqlite::Result<Receipt> {
    Ok(Receipt {
        room: room.to_owned(),
        user: row.get(0)?,
        kind: row.get(1)?,
        thread: row.get(2)?,
        event: row.get(3)?,
        ts_ms: row.get::<_, i64>(4)?.cast_unsigned(),
        shown: row.get(5)?,
    })
}
