//! The state of rooms: the current one as a table, and the one at any event as chains of groups.

use std::sync::Arc;

use ruma::{EventId, RoomId};
use rusqlite::{Connection, OptionalExtension};

use super::{database::Store, error::StoreError, events};
use crate::server::{change::position::TimelinePosition, event::stored::StoredEvent};

/// Groups in a chain before a whole state is written again; more when the state itself is larger, so
/// that writing costs a constant on average and reading at most about twice the state.
const CHAIN: i64 = 100;

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

    /// The state event of one type and key that a room had at a place of its timeline.
    pub async fn state_event_at(
        &self,
        room: &RoomId,
        kind: &str,
        key: &str,
        position: TimelinePosition,
    ) -> Result<Option<Arc<StoredEvent>>, StoreError> {
        let mut found = self.state_event_between(room, kind, key, (position, position)).await?;
        Ok(found.pop())
    }

    /// The state events of one type and key that a room had at the first place of its timeline or later, up to
    /// the second, in the order of the timeline: what the value was at each place between them.
    pub async fn state_event_between(
        &self,
        room: &RoomId,
        kind: &str,
        key: &str,
        (first, last): (TimelinePosition, TimelinePosition),
    ) -> Result<Vec<Arc<StoredEvent>>, StoreError> {
        let sql = format!(
            "{} WHERE e.room = (SELECT room FROM rooms WHERE room_id = ?1) AND e.type = ?2 \
             AND e.state_key = ?3 AND e.standing = 0 AND e.timeline <= ?5 AND e.timeline >= coalesce(\
               (SELECT max(f.timeline) FROM events f WHERE f.room = e.room AND f.type = ?2 \
                AND f.state_key = ?3 AND f.standing = 0 AND f.timeline <= ?4), ?4) ORDER BY e.timeline",
            events::SELECT
        );
        let bound = (room.as_str(), kind, key, first, last);
        self.read(|c| c.prepare_cached(&sql)?.query_map(bound, events::event)?.collect()).await
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

/// The group of the state before an event that names `prev_events`; `None` before a room's first event.
///
/// The state after several events is what they agree upon. Here goes the resolution of states that differ: events
/// of this server follow one another, so the state after all forward extremities is the same.
pub(super) fn group_after<'a>(
    c: &Connection,
    prev_events: impl Iterator<Item = &'a EventId>,
) -> Result<Option<i64>, StoreError> {
    let mut after = c.prepare_cached("SELECT state_after FROM events WHERE event_id = ?1")?;
    let mut group: Option<i64> = None;
    for event_id in prev_events {
        let of_this: i64 = after.query_row([event_id.as_str()], |row| row.get(0))?;
        if group.is_some_and(|group| group != of_this) {
            return Err(StoreError::Corrupt(format!("states differ before what follows {event_id}")));
        }
        group = Some(of_this);
    }
    Ok(group)
}

/// Makes a state event the current one of its key; answers with the group of the state after it. `before` is the
/// group of the state before it, which is the room's current state.
pub(super) fn put(
    c: &Connection,
    room: i64,
    before: Option<i64>,
    (kind, key): (&str, &str),
    event: i64,
    replaces: Option<i64>,
) -> rusqlite::Result<i64> {
    c.prepare_cached(
        "INSERT INTO current_state VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE SET event = ?4",
    )?
    .execute((room, kind, key, event))?;
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
