//! Events: rows of the log, read one by one and by room.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap},
    sync::Arc,
};

use ruma::{EventId, OwnedEventId, OwnedRoomId, RoomId, UserId};
use rusqlite::{OptionalExtension, Row, types::Type};

use super::{database::Store, error::StoreError};
use crate::server::{
    change::position::{LogPosition, TimelinePosition},
    event::{
        prefix::redacted_because,
        stored::{Columns, Redacted, Replaced, StoredEvent, content_of},
    },
};

/// What every query of events selects; [`event`] reads it. Add `WHERE` and `ORDER BY` over `e` and `r`.
pub(super) const SELECT: &str = "SELECT e.position, e.event_id, r.room_id, e.type, e.state_key, e.sender, \
    e.origin_server_ts, e.depth, e.pdu, e.device_id, e.transaction_id, \
    p.event_id, p.sender, p.pdu, b.event_id, b.pdu, coalesce(e.timeline, e.position << 20), \
    CASE WHEN e.redacted_by IS NOT NULL AND e.rel_type = 'm.replace' THEN e.relates_to END, e.ours, e.unasked, e.hidden, \
    EXISTS (SELECT 1 FROM missing_edges m WHERE m.event = e.event) \
    FROM events e JOIN rooms r ON r.room = e.room \
    LEFT JOIN events p ON p.event = e.replaces LEFT JOIN events b ON b.event = e.redacted_by ";

/// Which events of a range come first, and stay when there are more than the limit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Order {
    /// What is lowest in the order that is asked for.
    OldestFirst,
    /// What is highest in it.
    NewestFirst,
}

impl Order {
    pub(super) fn sql(self) -> &'static str {
        match self {
            Self::OldestFirst => "ASC",
            Self::NewestFirst => "DESC",
        }
    }
}

/// Which of a room's newest events somebody wants who looks for what they have not read.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Only those after this place, but for those that say that they are in a thread.
    pub main_after: LogPosition,
    /// None that say what others than this user are in the room, unless this user sent them; `None`: those too.
    pub members_of: Option<&'a UserId>,
}

/// Reads a row of [`SELECT`].
pub(super) fn event(row: &Row<'_>) -> rusqlite::Result<Arc<StoredEvent>> {
    let text = |index| row.get_ref(index)?.as_str().map_err(rusqlite::Error::from);
    let optional = |index| row.get_ref(index)?.as_str_or_null().map_err(rusqlite::Error::from);
    let replaces = match (optional(11)?, optional(13)?) {
        (Some(event_id), Some(pdu)) => Some(Replaced {
            event_id: parse(11, event_id)?,
            sender: parse(12, text(12)?)?,
            content: content_of(pdu).unwrap_or(serde_json::value::RawValue::NULL).to_owned(),
        }),
        _ => None,
    };
    let redacted_because = match (optional(14)?, optional(15)?) {
        (Some(event_id), Some(pdu)) => Some(Redacted {
            because: redacted_because(&parse::<OwnedEventId>(14, event_id)?, pdu),
            edited: optional(17)?.and_then(|edited| edited.try_into().ok()),
        }),
        _ => None,
    };
    let transaction = match (optional(9)?, optional(10)?) {
        (Some(device), Some(transaction)) => Some((device.into(), transaction.into())),
        _ => None,
    };
    Ok(Arc::new(StoredEvent::from(Columns {
        position: row.get(0)?,
        timeline: row.get(16)?,
        event_id: parse(1, text(1)?)?,
        room_id: parse(2, text(2)?)?,
        kind: text(3)?.to_owned(),
        state_key: optional(4)?.map(str::to_owned),
        sender: parse(5, text(5)?)?,
        origin_server_ts: row.get::<_, i64>(6)?.cast_unsigned(),
        depth: row.get::<_, i64>(7)?.cast_unsigned(),
        pdu: text(8)?.into(),
        replaces,
        redacted_because,
        transaction,
        ours: row.get(18)?,
        unasked: row.get(19)?,
        hidden: row.get(20)?,
        lacks: row.get(21)?,
    })))
}

/// An identifier in a column; one that is not valid is an error of the database.
pub(super) fn parse<'a, T>(column: usize, text: &'a str) -> rusqlite::Result<T>
where
    T: TryFrom<&'a str, Error = ruma::IdParseError>,
{
    T::try_from(text).map_err(|e| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(e)))
}

impl Store {
    /// The event of this ID that was accepted in a room.
    pub async fn event(&self, event_id: &EventId) -> Result<Option<Arc<StoredEvent>>, StoreError> {
        self.read(|c| {
            c.prepare_cached(&format!("{SELECT} WHERE e.event_id = ?1 AND e.standing = 0"))?
                .query_row([event_id.as_str()], event)
                .optional()
        })
        .await
    }

    /// Up to `limit` accepted events of a room that stand in its timeline after `from`, up to and including `to`.
    pub async fn room_events(
        &self,
        room: &RoomId,
        from: TimelinePosition,
        to: TimelinePosition,
        order: Order,
        limit: usize,
    ) -> Result<Vec<Arc<StoredEvent>>, StoreError> {
        let sql = format!(
            "{SELECT} WHERE e.room = (SELECT room FROM rooms WHERE room_id = ?1) AND e.standing = 0 \
             AND e.timeline > ?2 AND e.timeline <= ?3 ORDER BY e.timeline {} LIMIT ?4",
            order.sql()
        );
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.read(|c| c.prepare_cached(&sql)?.query_map((room.as_str(), from, to, limit), event)?.collect())
            .await
    }

    /// Up to `limit` events of a room that were accepted at positions of the log after `from`, up to and including
    /// `to`, in the order of the log: what a reader at `from` has not been told.
    pub async fn room_events_since(
        &self,
        room: &RoomId,
        from: LogPosition,
        to: LogPosition,
        order: Order,
        limit: usize,
    ) -> Result<Vec<Arc<StoredEvent>>, StoreError> {
        let sql = format!(
            "{SELECT} WHERE e.room = (SELECT room FROM rooms WHERE room_id = ?1) AND e.standing = 0 \
             AND e.position > ?2 AND e.position <= ?3 ORDER BY e.position {} LIMIT ?4",
            order.sql()
        );
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.read(|c| c.prepare_cached(&sql)?.query_map((room.as_str(), from, to, limit), event)?.collect())
            .await
    }

    /// Of the accepted events of a room after `from`, up to and including `to`, the newest `looked_at` in the log: of
    /// these the newest `limit` that are `wanted`, newest first.
    pub async fn newest_events_for(
        &self,
        room: &RoomId,
        (from, to): (LogPosition, LogPosition),
        wanted: Wanted<'_>,
        (looked_at, limit): (usize, usize),
    ) -> Result<Vec<Arc<StoredEvent>>, StoreError> {
        let sql = format!(
            "{SELECT} WHERE e.position IN (SELECT position FROM (\
               SELECT position, type, state_key, sender, rel_type FROM events \
               WHERE room = (SELECT room FROM rooms WHERE room_id = ?1) \
               AND standing = 0 AND position > ?2 AND position <= ?3 ORDER BY position DESC LIMIT ?4) \
             WHERE (?5 IS NULL OR type <> 'm.room.member' OR state_key = ?5 OR sender = ?5) \
             AND (position > ?6 OR rel_type = 'm.thread')) ORDER BY e.position DESC LIMIT ?7"
        );
        let number = |count| i64::try_from(count).unwrap_or(i64::MAX);
        let Wanted { main_after, members_of } = wanted;
        let members_of = members_of.map(UserId::as_str);
        let bound = (room.as_str(), from, to, number(looked_at), members_of, main_after, number(limit));
        self.read(|c| c.prepare_cached(&sql)?.query_map(bound, event)?.collect()).await
    }

    /// Of the accepted events of a room after `from`, up to and including `to`, the newest `looked_at` in the log: of
    /// these the newest `limit` that came late, in the order of the log, newest first.
    pub async fn late_events(
        &self,
        room: &RoomId,
        (from, to): (LogPosition, LogPosition),
        (looked_at, limit): (usize, usize),
    ) -> Result<Vec<Arc<StoredEvent>>, StoreError> {
        let sql = format!(
            "{SELECT} WHERE e.position IN (SELECT position FROM (\
               SELECT position, timeline FROM events WHERE room = (SELECT room FROM rooms WHERE room_id = ?1) \
               AND standing = 0 AND position > ?2 AND position <= ?3 ORDER BY position DESC LIMIT ?4) \
             WHERE timeline <> position * ?5) ORDER BY e.position DESC LIMIT ?6"
        );
        let number = |count| i64::try_from(count).unwrap_or(i64::MAX);
        let bound = (room.as_str(), from, to, number(looked_at), TimelinePosition::GAP, number(limit));
        self.read(|c| c.prepare_cached(&sql)?.query_map(bound, event)?.collect()).await
    }

    /// The positions of the first accepted events of some rooms after `from`, up to and including `to`: `limit` at
    /// most, in order.
    pub async fn positions_since(
        &self,
        rooms: &BTreeSet<OwnedRoomId>,
        from: LogPosition,
        to: LogPosition,
        limit: usize,
    ) -> Result<Vec<LogPosition>, StoreError> {
        let count = i64::try_from(limit).unwrap_or(i64::MAX);
        self.read(|c| {
            let mut query = c.prepare_cached(
                "SELECT position FROM events WHERE room = (SELECT room FROM rooms WHERE room_id = ?1) \
                 AND standing = 0 AND position > ?2 AND position <= ?3 ORDER BY position LIMIT ?4",
            )?;
            let mut first = BinaryHeap::new();
            for room in rooms {
                // Once there are enough, only what is before the last of them counts.
                let to = if first.len() < limit { to } else { *first.peek().unwrap_or(&to) };
                for position in query.query_map((room.as_str(), from, to, count), |row| row.get(0))? {
                    first.push(position?);
                    if first.len() > limit {
                        first.pop();
                    }
                }
            }
            Ok(first.into_sorted_vec())
        })
        .await
    }

    /// The positions of the last accepted events of some rooms after `from`, up to and including `to`: `limit` at
    /// most, the newest first.
    pub async fn newest_positions(
        &self,
        rooms: &BTreeSet<OwnedRoomId>,
        from: LogPosition,
        to: LogPosition,
        limit: usize,
    ) -> Result<Vec<LogPosition>, StoreError> {
        let count = i64::try_from(limit).unwrap_or(i64::MAX);
        self.read(|c| {
            let mut query = c.prepare_cached(
                "SELECT position FROM events WHERE room = (SELECT room FROM rooms WHERE room_id = ?1) \
                 AND standing = 0 AND position > ?2 AND position <= ?3 ORDER BY position DESC LIMIT ?4",
            )?;
            let mut last = BinaryHeap::new();
            for room in rooms {
                // Once there are enough, only what is after the first of them counts.
                let from = if last.len() < limit {
                    from
                } else {
                    last.peek().map_or(from, |first: &Reverse<_>| first.0)
                };
                for position in query.query_map((room.as_str(), from, to, count), |row| row.get(0))? {
                    last.push(Reverse(position?));
                    if last.len() > limit {
                        last.pop();
                    }
                }
            }
            Ok(last.into_sorted_vec().into_iter().map(|Reverse(position)| position).collect())
        })
        .await
    }

    /// The events at some positions of the log, in their order; an invite to a room that is not here has one, too. At a
    /// position at which only state became another there is none.
    pub async fn events_at(&self, positions: &[LogPosition]) -> Result<Vec<Arc<StoredEvent>>, StoreError> {
        let sql = format!("{SELECT} WHERE e.position = ?1");
        self.read(|c| {
            let mut query = c.prepare_cached(&sql)?;
            let found = positions.iter().map(|position| query.query_row([position], event).optional());
            found.filter_map(Result::transpose).collect()
        })
        .await
    }

    /// Up to `limit` accepted events of a room that relate to `event_id`, in a range of the timeline; with `depth` beyond 0,
    /// also those that relate to them, and so on so many times.
    pub async fn relations(
        &self,
        room: &RoomId,
        (event_id, depth): (&EventId, u32),
        (rel_type, kind): (Option<&str>, Option<&str>),
        (from, to): (TimelinePosition, TimelinePosition),
        order: Order,
        limit: usize,
    ) -> Result<Vec<Arc<StoredEvent>>, StoreError> {
        let sql = related(order);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let bound = (event_id.as_str(), room.as_str(), rel_type, kind, from, to, limit, depth);
        self.read(|c| c.prepare_cached(&sql)?.query_map(bound, event)?.collect()).await
    }

    /// Up to `limit` accepted events of a room from a time on (oldest first) or up to it (newest
    /// first), nearest first.
    pub async fn events_near(
        &self,
        room: &RoomId,
        unix_ms: u64,
        order: Order,
        limit: usize,
    ) -> Result<Vec<Arc<StoredEvent>>, StoreError> {
        let (side, direction) = match order {
            Order::OldestFirst => (">=", "ASC"),
            Order::NewestFirst => ("<=", "DESC"),
        };
        let sql = format!(
            "{SELECT} WHERE e.room = (SELECT room FROM rooms WHERE room_id = ?1) AND e.standing = 0 \
             AND e.origin_server_ts {side} ?2 ORDER BY e.origin_server_ts {direction} LIMIT ?3"
        );
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.read(|c| {
            c.prepare_cached(&sql)?.query_map((room.as_str(), clamp(unix_ms), limit), event)?.collect()
        })
        .await
    }
}

/// A number as SQLite takes it.
pub(super) fn clamp(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// What relates to the event `?1`, and up to `?8` steps further.
fn related(order: Order) -> String {
    // From an event to what relates to it, and never through all events of the room.
    format!(
        "WITH RECURSIVE related (id, level) AS (VALUES (?1, 0) UNION ALL \
           SELECT n.event_id, level + 1 FROM related CROSS JOIN events n INDEXED BY events_relations \
           ON n.relates_to = id \
           WHERE level < ?8 AND n.standing = 0 AND n.room = (SELECT room FROM rooms WHERE room_id = ?2)) \
         {SELECT} WHERE e.relates_to IN (SELECT id FROM related) AND e.standing = 0 AND +r.room_id = ?2 \
         AND (?3 IS NULL OR e.rel_type = ?3) AND (?4 IS NULL OR e.type = ?4) \
         AND e.timeline > ?5 AND e.timeline <= ?6 ORDER BY e.timeline {} LIMIT ?7",
        order.sql()
    )
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;
    use crate::server::store::schema;

    #[test]
    fn what_relates_to_an_event_is_found_without_a_look_at_the_rest_of_its_room() {
        let empty = Connection::open_in_memory().expect("opens");
        schema::make(&empty, schema::KNOWN).expect("is made");
        for order in [Order::OldestFirst, Order::NewestFirst] {
            let mut plan =
                empty.prepare(&format!("EXPLAIN QUERY PLAN {}", related(order))).expect("is a query");
            let bound = ("$e", "!r:x", None::<&str>, None::<&str>, 0, 1, 1, 1);
            let steps: Vec<String> = plan
                .query_map(bound, |row| row.get(3))
                .expect("can be planned")
                .collect::<rusqlite::Result<_>>()
                .expect("are words");
            let of_events: Vec<_> = steps.iter().filter(|step| step.contains("INDEX events_")).collect();
            assert_eq!(of_events.len(), 2, "{steps:#?}");
            assert!(
                of_events.iter().all(|step| step.contains("events_relations (relates_to=?")),
                "{steps:#?}"
            );
        }
    }
}
