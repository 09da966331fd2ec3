//! What events say of each other.

use std::{collections::BTreeSet, sync::Arc};

use ruma::{EventId, OwnedEventId, OwnedUserId, RoomId, UserId};
use rusqlite::{Connection, OptionalExtension};

use super::{database::Store, error::StoreError, events};
use crate::server::{change::position::TimelinePosition, event::stored::StoredEvent};

/// What every query of what is gathered asks for: the words of the index, which SQLite compares.
const GATHERED: &str =
    "standing = 0 AND redacted_by IS NULL AND rel_type IN ('m.replace', 'm.thread', 'm.reference')";

/// The events that relate to one, `?1`, of a room, `?2`, in the parts of its timeline that a reader sees, `?3`.
/// In front stands what is selected of them, behind which relation.
const SEEN: &str = "FROM parts CROSS JOIN events INDEXED BY events_aggregated ON timeline > low AND timeline <= high \
    WHERE relates_to = ?1 AND room = (SELECT room FROM rooms WHERE room_id = ?2)";

/// Before a query with [`SEEN`].
const PARTS: &str = "WITH parts (low, high) AS MATERIALIZED (\
    SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?3))";

/// Somebody's annotation of an event.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Annotation {
    /// The event.
    pub target: OwnedEventId,
    /// The type of the annotating event.
    pub kind: String,
    /// Who annotates.
    pub sender: OwnedUserId,
    /// With what.
    pub key: String,
}

/// Whose eyes something is gathered for.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Who reads.
    pub reader: &'a UserId,
    /// Whom they ignore.
    pub ignored: &'a BTreeSet<OwnedUserId>,
    /// The parts of the timeline that they may see: each after its first place, up to and including its second.
    pub parts: &'a [(TimelinePosition, TimelinePosition)],
}

/// What is gathered of a thread.
#[derive(Debug)]
pub struct ThreadRow {
    /// Its last event.
    pub latest: Arc<StoredEvent>,
    /// Events in it.
    pub count: u64,
    /// Whether the reader has sent one of them.
    pub has_reader: bool,
}

impl Store {
    /// Which of some events of a room have others that replace them, are in a thread below them or refer to them,
    /// and which of the three.
    pub async fn related(
        &self,
        room: &RoomId,
        parents: impl Iterator<Item = &OwnedEventId>,
    ) -> Result<Vec<(OwnedEventId, String)>, StoreError> {
        let parents = json_list(parents.map(|id| id.as_str()));
        let sql = format!(
            "SELECT DISTINCT relates_to, rel_type FROM events INDEXED BY events_aggregated WHERE {GATHERED} \
             AND relates_to IN (SELECT value FROM json_each(?1)) \
             AND room = (SELECT room FROM rooms WHERE room_id = ?2)"
        );
        self.read(|c| {
            c.prepare_cached(&sql)?
                .query_map((&parents, room.as_str()), |row| {
                    Ok((events::parse(0, row.get_ref(0)?.as_str()?)?, row.get(1)?))
                })?
                .collect()
        })
        .await
    }

    /// Up to `limit` events by which the sender of `original` replaced it, the last by their time first.
    pub async fn edits(
        &self,
        original: &StoredEvent,
        seen: Seen<'_>,
        limit: usize,
    ) -> Result<Vec<Arc<StoredEvent>>, StoreError> {
        let sql = format!(
            "{} WHERE e.event IN ({PARTS} SELECT event {SEEN} AND {GATHERED} \
               AND rel_type = 'm.replace' AND sender = ?4 \
               ORDER BY origin_server_ts DESC, event_id DESC LIMIT ?5) \
             ORDER BY e.origin_server_ts DESC, e.event_id DESC",
            events::SELECT
        );
        let StoredEvent { event_id, room_id, sender, .. } = original;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let bound = (event_id.as_str(), room_id.as_str(), parts(seen), sender.as_str(), limit);
        self.read(|c| c.prepare_cached(&sql)?.query_map(bound, events::event)?.collect()).await
    }

    /// The thread below an event; `None`: the reader sees nothing of one.
    pub async fn thread(
        &self,
        room: &RoomId,
        root: &EventId,
        seen: Seen<'_>,
    ) -> Result<Option<ThreadRow>, StoreError> {
        let count = format!(
            "{PARTS} SELECT count(*), coalesce(max(timeline), 0), coalesce(max(sender = ?4), 0) {SEEN} \
             AND {GATHERED} AND rel_type = 'm.thread' AND sender NOT IN (SELECT value FROM json_each(?5))"
        );
        let latest = format!(
            "{} WHERE e.room = (SELECT room FROM rooms WHERE room_id = ?1) AND e.standing = 0 AND e.timeline = ?2",
            events::SELECT
        );
        let bound = (root.as_str(), room.as_str(), parts(seen), seen.reader.as_str(), ignored(seen));
        self.read(|c| {
            let (count, last, has_reader): (i64, TimelinePosition, bool) = c
                .prepare_cached(&count)?
                .query_row(bound, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
            let latest =
                c.prepare_cached(&latest)?.query_row((room.as_str(), last), events::event).optional()?;
            let latest = latest.filter(|_| count > 0);
            Ok(latest.map(|latest| ThreadRow { latest, count: count.cast_unsigned(), has_reader }))
        })
        .await
    }

    /// The first events of the threads of a room whose last event is at `before` or earlier, that with the last one first,
    /// with the place of that; with the reader's own only, if it is so asked.
    pub async fn threads(
        &self,
        room: &RoomId,
        seen: Seen<'_>,
        before: TimelinePosition,
        with_reader: bool,
        limit: usize,
    ) -> Result<Vec<(TimelinePosition, Arc<StoredEvent>)>, StoreError> {
        let sql = "WITH parts (low, high) AS MATERIALIZED (\
                SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?2)), \
            threads (root, last, has_reader) AS ( \
                SELECT relates_to, max(timeline), max(sender = ?3) \
                FROM parts CROSS JOIN events INDEXED BY events_threads ON timeline > low AND timeline <= high \
                WHERE room = (SELECT room FROM rooms WHERE room_id = ?1) AND standing = 0 AND redacted_by IS NULL \
                AND rel_type = 'm.thread' AND sender NOT IN (SELECT value FROM json_each(?4)) GROUP BY relates_to) \
            SELECT t.last, e.event_id FROM threads t JOIN events e ON e.event_id = t.root \
            WHERE e.room = (SELECT room FROM rooms WHERE room_id = ?1) AND e.standing = 0 AND t.last <= ?5 \
            AND (NOT ?6 OR t.has_reader OR e.sender = ?3) ORDER BY t.last DESC LIMIT ?7";
        let one = format!("{} WHERE e.event_id = ?1", events::SELECT);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let reader = seen.reader.as_str();
        self.read(|c| {
            let bound = (room.as_str(), parts(seen), reader, ignored(seen), before, with_reader, limit);
            let found: Vec<(TimelinePosition, String)> = c
                .prepare_cached(sql)?
                .query_map(bound, |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect::<Result<_, _>>()?;
            let mut one = c.prepare_cached(&one)?;
            let root = |(last, id): (_, String)| Ok((last, one.query_row([id], events::event)?));
            found.into_iter().map(root).collect()
        })
        .await
    }

    /// Up to `limit` events that refer to one, oldest first.
    pub async fn references(
        &self,
        room: &RoomId,
        event: &EventId,
        seen: Seen<'_>,
        limit: usize,
    ) -> Result<Vec<OwnedEventId>, StoreError> {
        let sql = format!(
            "{PARTS} SELECT event_id {SEEN} AND {GATHERED} AND rel_type = 'm.reference' \
             AND sender NOT IN (SELECT value FROM json_each(?4)) ORDER BY timeline LIMIT ?5"
        );
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let bound = (event.as_str(), room.as_str(), parts(seen), ignored(seen), limit);
        self.read(|c| {
            c.prepare_cached(&sql)?
                .query_map(bound, |row| events::parse(0, row.get_ref(0)?.as_str()?))?
                .collect()
        })
        .await
    }

    /// Whether there is such an annotation, not redacted.
    pub async fn is_annotated(&self, annotation: &Annotation) -> Result<bool, StoreError> {
        self.read(|c| is_annotated(c, annotation)).await
    }
}

/// The same, for reading inside a write.
pub(super) fn is_annotated(c: &Connection, annotation: &Annotation) -> rusqlite::Result<bool> {
    let Annotation { target, kind, sender, key } = annotation;
    c.prepare_cached(
        "SELECT 1 FROM events WHERE relates_to = ?1 AND rel_type = 'm.annotation' AND standing = 0 \
         AND sender = ?2 AND type = ?3 AND redacted_by IS NULL \
         AND json_extract(pdu, '$.content.\"m.relates_to\".key') = ?4 LIMIT 1",
    )?
    .query_row((target.as_str(), sender.as_str(), kind, key), |_| Ok(()))
    .optional()
    .map(|found| found.is_some())
}

fn parts(seen: Seen<'_>) -> String {
    let parts: Vec<_> = seen.parts.iter().map(|(after, to)| (after.get(), to.get())).collect();
    serde_json::to_string(&parts).expect("numbers are JSON")
}

fn ignored(seen: Seen<'_>) -> String {
    json_list(seen.ignored.iter().map(|user| user.as_str()))
}

/// Texts as SQLite's `json_each` takes them.
fn json_list<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    serde_json::to_string(&texts.collect::<Vec<_>>()).expect("texts are JSON")
}
