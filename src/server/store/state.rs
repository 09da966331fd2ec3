//! The state of rooms: the current one as a table, and the one at any event as chains of groups.

use std::{collections::BTreeSet, sync::Arc};

use ruma::{OwnedEventId, RoomId};
use rusqlite::{Connection, OptionalExtension};

use super::{database::Store, error::StoreError, events};
use crate::server::{
    change::position::{LogPosition, TimelinePosition},
    event::stored::StoredEvent,
};

/// Groups in a chain before a whole state is written again; more when the state itself is larger, so
/// that writing costs a constant on average and reading at most about twice the state.
pub(super) const CHAIN: i64 = 100;

impl Store {
    /// The current state event of this type and key in a room.
    pub async fn state_event(
        &self,
        room: &RoomId,
        kind: &str,
        key: &str,
    ) -> Result<Option<Arc<StoredEvent>>, StoreError> {
        let position = self.log_position();
        let name = (room.to_string(), kind.to_owned(), key.to_owned());
        if let Some(known) = self.recent_state.find(&name, position) {
            return Ok(known);
        }
        let sql = format!(
            "{} JOIN current_state s ON s.event = e.event WHERE s.room = (SELECT room FROM rooms \
             WHERE room_id = ?1) AND s.type = ?2 AND s.state_key = ?3",
            events::SELECT
        );
        let found = self
            .read(|c| c.prepare_cached(&sql)?.query_row((room.as_str(), kind, key), events::event).optional())
            .await?;
        self.recent_state.keep(name, position, found.clone());
        Ok(found)
    }

    /// Which of some events are here, of this room, and were not found wrong.
    pub async fn sound_events(
        &self,
        room: &RoomId,
        ids: &[OwnedEventId],
    ) -> Result<BTreeSet<OwnedEventId>, StoreError> {
        self.read(|c| {
            let mut sound = c.prepare_cached(
                "SELECT 1 FROM events WHERE event_id = ?1 AND standing <> 3 \
                 AND room = (SELECT room FROM rooms WHERE room_id = ?2)",
            )?;
            let mut found = BTreeSet::new();
            for id in ids {
                if sound.exists((id.as_str(), room.as_str()))? {
                    found.insert(id.clone());
                }
            }
            Ok(found)
        })
        .await
    }

    /// Types and keys of a room's current state, in their order, after one of them; up to `limit`.
    pub async fn state_keys(
        &self,
        room: &RoomId,
        (kind, key): (&str, &str),
        limit: usize,
    ) -> Result<Vec<(String, String)>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.read(|c| {
            c.prepare_cached(
                "SELECT type, state_key FROM current_state WHERE room = (SELECT room FROM rooms WHERE room_id = ?1) \
                 AND (type, state_key) > (?2, ?3) ORDER BY type, state_key LIMIT ?4",
            )?
            .query_map((room.as_str(), kind, key, limit), |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect()
        })
        .await
    }

    /// The current state events of one type in a room, in the order of the log.
    pub async fn current_state_of_type(
        &self,
        room: &RoomId,
        kind: &str,
    ) -> Result<Vec<Arc<StoredEvent>>, StoreError> {
        let sql = format!(
            "{} JOIN current_state s ON s.event = e.event WHERE s.room = (SELECT room FROM rooms \
             WHERE room_id = ?1) AND s.type = ?2 ORDER BY e.position",
            events::SELECT
        );
        self.read(|c| c.prepare_cached(&sql)?.query_map((room.as_str(), kind), events::event)?.collect())
            .await
    }

    /// The state event of one type and key that a room had when what came live at a place of its timeline was there.
    pub async fn state_event_at(
        &self,
        room: &RoomId,
        kind: &str,
        key: &str,
        place: TimelinePosition,
    ) -> Result<Option<Arc<StoredEvent>>, StoreError> {
        let at = place.last_live();
        let mut found = self.state_event_between(room, kind, key, (at, at)).await?;
        Ok(found.pop().and_then(|(_, event)| event))
    }

    /// What the state of one type and key was in a room at the first position of the log and became after it, up to and
    /// including the second, in order, each with the position from which on it was so; `None`: nothing any longer.
    pub async fn state_event_between(
        &self,
        room: &RoomId,
        kind: &str,
        key: &str,
        (first, last): (LogPosition, LogPosition),
    ) -> Result<Vec<(LogPosition, Option<Arc<StoredEvent>>)>, StoreError> {
        let of_key =
            "s.room = (SELECT room FROM rooms WHERE room_id = ?1) AND s.type = ?2 AND s.state_key = ?3";
        let log = format!(
            "SELECT s.position, s.event FROM state_log s WHERE {of_key} AND s.position <= ?5 AND s.position >= \
             coalesce((SELECT max(s.position) FROM state_log s WHERE {of_key} AND s.position <= ?4), ?4) \
             ORDER BY s.position"
        );
        let sql = format!("{} WHERE e.event = ?1", events::SELECT);
        self.read(|c| {
            let mut log = c.prepare_cached(&log)?;
            let mut one = c.prepare_cached(&sql)?;
            let rows = log.query_map((room.as_str(), kind, key, first, last), |row| {
                Ok((row.get::<_, LogPosition>(0)?, row.get::<_, Option<i64>>(1)?))
            })?;
            rows.map(|row| {
                let (position, number) = row?;
                let event = number.map(|number| one.query_row([number], events::event)).transpose()?;
                Ok((position, event))
            })
            .collect()
        })
        .await
    }
}

/// The number of the current state event of a type and key.
pub(super) fn current_number(
    c: &Connection,
    room: i64,
    kind: &str,
    key: &str,
) -> rusqlite::Result<Option<i64>> {
    c.prepare_cached("SELECT event FROM current_state WHERE room = ?1 AND type = ?2 AND state_key = ?3")?
        .query_row((room, kind, key), |row| row.get(0))
        .optional()
}

/// The group of a room's current state; `None`: before its first event.
pub(super) fn current_group(c: &Connection, room: i64) -> rusqlite::Result<Option<i64>> {
    c.prepare_cached("SELECT state_group FROM rooms WHERE room = ?1")?.query_row([room], |row| row.get(0))
}

/// Makes a state event the current one of its key; answers with the group of the state after it. `before` is the
/// group of the state before it, which is the room's current state.
pub(super) fn put(
    c: &Connection,
    room: i64,
    before: Option<i64>,
    (kind, key): (&str, &str),
    (event, position): (i64, LogPosition),
    replaces: Option<i64>,
) -> rusqlite::Result<i64> {
    c.prepare_cached(
        "INSERT INTO current_state VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE SET event = ?4",
    )?
    .execute((room, kind, key, event))?;
    c.prepare_cached("INSERT INTO state_log VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute((room, kind, key, position, event))?;
    let (chain, entries): (i64, i64) = match before {
        Some(group) => c
            .prepare_cached("SELECT chain, entries FROM state_groups WHERE state_group = ?1")?
            .query_row([group], |row| Ok((row.get(0)?, row.get(1)?)))?,
        None => (0, 0),
    };
    let entries = entries + i64::from(replaces.is_none());
    let whole = before.is_none() || chain >= CHAIN.max(entries);
    c.prepare_cached("INSERT INTO state_groups (previous, chain, entries) VALUES (?1, ?2, ?3)")?
        .execute((if whole { None } else { before }, if whole { 0 } else { chain + 1 }, entries))?;
    let group = c.last_insert_rowid();
    if whole {
        c.prepare_cached("INSERT INTO state_deltas SELECT ?1, event FROM current_state WHERE room = ?2")?
            .execute((group, room))?;
    } else {
        c.prepare_cached("INSERT INTO state_deltas VALUES (?1, ?2)")?.execute((group, event))?;
    }
    c.prepare_cached("UPDATE rooms SET state_group = ?2 WHERE room = ?1")?.execute((room, group))?;
    Ok(group)
}
