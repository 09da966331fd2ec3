//! How far each user has read in each room.

use std::sync::Arc;

use ruma::{OwnedRoomId, OwnedUserId, RoomId, UserId};
use rusqlite::{Row, params};

use super::{database::Store, error::StoreError, events, log::advance};
use crate::server::{
    change::{feed::Change, position::LogPosition},
    event::receipt::Receipt,
};

impl Store {
    /// Keeps a receipt.
    pub async fn put_receipt(&self, receipt: Receipt) -> Result<(), StoreError> {
        self.write(move |tx| {
            let position = advance(tx)?;
            tx.prepare_cached(
                "INSERT OR REPLACE INTO receipts
                     (room_id, user_id, kind, thread, event_id, ts_ms, shown, position)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?
            .execute(params![
                receipt.room.as_str(),
                receipt.user.as_str(),
                receipt.kind,
                receipt.thread,
                receipt.event,
                receipt.ts_ms.cast_signed(),
                receipt.shown,
                position
            ])?;
            tx.tell(Change::Receipt { receipt: Arc::new(receipt), position });
            Ok(())
        })
        .await
    }

    /// The receipts in `room` after `since`, up to and including `upto`, that `viewer` may see.
    pub async fn receipts(
        &self,
        room: &RoomId,
        viewer: &UserId,
        since: LogPosition,
        upto: LogPosition,
    ) -> Result<Vec<Receipt>, StoreError> {
        self.read(|c| {
            c.prepare_cached(
                "SELECT user_id, kind, thread, event_id, ts_ms, shown FROM receipts
                 WHERE room_id = ?1 AND position > ?2 AND position <= ?3 AND (shown OR user_id = ?4)
                 ORDER BY position",
            )?
            .query_map(params![room.as_str(), since, upto, viewer.as_str()], |row| receipt(room, row))?
            .collect()
        })
        .await
    }

    /// The events up to which `user` has read in `room`, outside of threads.
    pub async fn read_up_to(&self, room: &RoomId, user: &UserId) -> Result<Vec<String>, StoreError> {
        self.read(|c| {
            c.prepare_cached(
                "SELECT event_id FROM receipts WHERE room_id = ?1 AND user_id = ?2 AND thread IN ('', 'main')",
            )?
            .query_map([room.as_str(), user.as_str()], |row| row.get(0))?
            .collect()
        }).await
    }

    /// For filling the memory at start: room, the user where only they may see it, and the position of
    /// the last such receipt.
    pub async fn receipt_positions(
        &self,
    ) -> Result<Vec<(OwnedRoomId, Option<OwnedUserId>, LogPosition)>, StoreError> {
        self.read(|c| {
            c.prepare_cached(
                "SELECT room_id, iif(shown, NULL, user_id) AS viewer, max(position) FROM receipts GROUP BY 1, 2",
            )?
            .query_map([], |row| {
                let viewer = row.get_ref(1)?.as_str_or_null()?;
                let viewer = viewer.map(|viewer| events::parse(1, viewer)).transpose()?;
                let room = events::parse(0, row.get_ref(0)?.as_str()?)?;
                Ok((room, viewer, row.get(2)?))
            })?
            .collect()
        }).await
    }
}

fn receipt(room: &RoomId, row: &Row<'_>) -> rusqlite::Result<Receipt> {
    Ok(Receipt {
        room: room.to_owned(),
        user: events::parse(0, row.get_ref(0)?.as_str()?)?,
        kind: row.get(1)?,
        thread: row.get(2)?,
        event: row.get(3)?,
        ts_ms: row.get::<_, i64>(4)?.cast_unsigned(),
        shown: row.get(5)?,
    })
}
