//! How far each user has read in each room.

use std::sync::Arc;

use ruma::{OwnedRoomId, OwnedUserId, RoomId, UserId};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{database::Store, error::StoreError, events, log::advance, tx::Tx};
use crate::server::{
    change::{
        feed::Change,
        position::{LogPosition, TimelinePosition},
    },
    event::receipt::Receipt,
};

/// Threads of one room in which it is kept how far a user has read, for each kind of receipt; those go that they read last
/// before the others.
const MAX_THREADS: i64 = 1_000;

impl Store {
    /// Keeps a receipt, if its event is in its room, and after that of the one before it: one that was overtaken on its way
    /// changes nothing.
    pub async fn put_receipt(&self, receipt: Receipt) -> Result<(), StoreError> {
        self.put_receipts(vec![receipt]).await.map(drop)
    }

    /// The same for some, in one step. Answers those of events that are not there.
    pub async fn put_receipts(&self, receipts: Vec<Receipt>) -> Result<Vec<Receipt>, StoreError> {
        self.write(move |tx| {
            let mut early = Vec::new();
            for receipt in receipts {
                early.extend(put(tx, receipt)?);
            }
            Ok::<_, StoreError>(early)
        })
        .await
    }

    /// Whether the first of two events in `room` comes after the second, or the second is not there. What is not in the room
    /// comes after nothing.
    pub async fn is_after(
        &self,
        room: &RoomId,
        event: &str,
        other: Option<&str>,
    ) -> Result<bool, StoreError> {
        self.read(|c| {
            let other = match other {
                Some(other) => timeline_in(c, room, other)?,
                None => None,
            };
            Ok(timeline_in(c, room, event)? > other)
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

    /// The receipts in all rooms after `since`, up to and including `upto`.
    pub async fn receipts_between(
        &self,
        since: LogPosition,
        upto: LogPosition,
    ) -> Result<Vec<Receipt>, StoreError> {
        self.read(|c| {
            c.prepare_cached(
                "SELECT user_id, kind, thread, event_id, ts_ms, shown, room_id FROM receipts
                 WHERE position > ?1 AND position <= ?2 ORDER BY position",
            )?
            .query_map(params![since, upto], |row| {
                let room: OwnedRoomId = events::parse(6, row.get_ref(6)?.as_str()?)?;
                receipt(&room, row)
            })?
            .collect()
        })
        .await
    }

    /// Up to where in the timeline of `room` its `user` has read: for each kind of receipt and each thread, `main` for
    /// what is in none and nothing for all.
    pub async fn read_up_to(
        &self,
        room: &RoomId,
        user: &UserId,
    ) -> Result<Vec<(String, TimelinePosition)>, StoreError> {
        self.read(|c| {
            c.prepare_cached(
                "SELECT p.thread, e.timeline FROM receipts p CROSS JOIN events e ON e.event_id = p.event_id
                 WHERE p.room_id = ?1 AND p.user_id = ?2 AND e.standing = 0
                 AND e.room = (SELECT room FROM rooms WHERE room_id = ?1)",
            )?
            .query_map([room.as_str(), user.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect()
        })
        .await
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

/// Keeps a receipt, if it stands after the one before it. Answers one of an event that is not there.
fn put(tx: &Tx<'_>, receipt: Receipt) -> rusqlite::Result<Option<Receipt>> {
    let Some(timeline) = timeline_in(tx, &receipt.room, &receipt.event)? else { return Ok(Some(receipt)) };
    let before: Option<String> = tx
        .prepare_cached(
            "SELECT event_id FROM receipts \
                     WHERE room_id = ?1 AND user_id = ?2 AND kind = ?3 AND thread = ?4",
        )?
        .query_row([receipt.room.as_str(), receipt.user.as_str(), &receipt.kind, &receipt.thread], |row| {
            row.get(0)
        })
        .optional()?;
    let is_of_new_thread = before.is_none() && !matches!(&*receipt.thread, "" | "main");
    let before = match before {
        Some(event) => timeline_in(tx, &receipt.room, &event)?,
        None => None,
    };
    if Some(timeline) <= before {
        return Ok(None);
    }
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
    if is_of_new_thread {
        tx.prepare_cached(
            "DELETE FROM receipts WHERE room_id = ?1 AND user_id = ?2 AND kind = ?3 AND thread IN (
                 SELECT thread FROM receipts WHERE room_id = ?1 AND user_id = ?2 AND kind = ?3
                 AND thread NOT IN ('', 'main') ORDER BY position DESC LIMIT -1 OFFSET ?4)",
        )?
        .execute(params![
            receipt.room.as_str(),
            receipt.user.as_str(),
            receipt.kind,
            MAX_THREADS
        ])?;
    }
    tx.tell(Change::Receipt { receipt: Arc::new(receipt), position });
    Ok(None)
}

/// Where an event stands in the timeline of `room`; `None`: nowhere.
fn timeline_in(c: &Connection, room: &RoomId, event: &str) -> rusqlite::Result<Option<TimelinePosition>> {
    c.prepare_cached(
        "SELECT timeline FROM events WHERE event_id = ?2 AND standing = 0 \
         AND room = (SELECT room FROM rooms WHERE room_id = ?1)",
    )?
    .query_row([room.as_str(), event], |row| row.get(0))
    .optional()
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
