//! What events say of each other.

use std::{collections::BTreeSet, sync::Arc};

use ruma::{EventId, OwnedEventId, OwnedUserId, RoomId, UserId};
use rusqlite::{Connection, OptionalExtension};

use super::{database::Store, error::StoreError, events};
use crate::server::{change::position::TimelinePosition, event::stored::StoredEvent};

/// What every query of what is gathered asks for: the words of the index, which SQLite compares.
const GATHERED: &str =
    "standing = 0 AND redacted_by IS NULL AND rel_type IN ('m.replace', 'm.thread', 'm.reference')";

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
        until: TimelinePosition,
        limit: usize,
    ) -> Result<Vec<Arc<StoredEvent>>, StoreError> {
        let sql = format!(
            "{} WHERE e.event IN (SELECT event FROM events INDEXED BY events_aggregated WHERE {GATHERED} \
               AND relates_to = ?1 AND rel_type = 'm.replace' AND sender = ?3 AND timeline <= ?4 \
               AND room = (SELECT room FROM rooms WHERE room_id = ?2) \
               ORDER BY origin_server_ts DESC, event_id DESC LIMIT ?5) \
             ORDER BY e.origin_server_ts DESC, e.event_id DESC",
            events::SELECT
        );
        let StoredEvent { event_id, room_id, sender, .. } = original;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let bound = (event_id.as_str(), room_id.as_str(), sender.as_str(), until, limit);
        self.read(|c| c.prepare_cached(&sql)?.query_map(bound, events::event)?.collect()).await
    }

    /// The thread below an event, without what `ignored` say; `None`: there is none.
    pub async fn thread(
        &self,
        room: &RoomId,
        root: &EventId,
        reader: &UserId,
        ignored: &BTreeSet<OwnedUserId>,
        until: TimelinePosition,
    ) -> Result<Option<ThreadRow>, StoreError> {
        let count = format!(
            "SELECT count(*), coalesce(max(timeline), 0), coalesce(max(sender = ?3), 0) \
             FROM events INDEXED BY events_aggregated WHERE {GATHERED} \
             AND relates_to = ?1 AND rel_type = 'm.thread' AND timeline <= ?4 \
             AND room = (SELECT room FROM rooms WHERE room_id = ?2) \
             AND sender NOT IN (SELECT value FROM json_each(?5))"
        );
        let latest = format!(
            "{} WHERE e.room = (SELECT room FROM rooms WHERE room_id = ?1) AND e.standing = 0 AND e.timeline = ?2",
            events::SELECT
        );
        let ignored = json_list(ignored.iter().map(|user| user.as_str()));
        let bound = (root.as_str(), room.as_str(), reader.as_str(), until, &ignored);
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

    /// Up to `limit` events that refer to one, oldest first, without those of `ignored`.
    pub async fn references(
        &self,
        room: &RoomId,
        event: &EventId,
        ignored: &BTreeSet<OwnedUserId>,
        until: TimelinePosition,
        limit: usize,
    ) -> Result<Vec<OwnedEventId>, StoreError> {
        let sql = format!(
            "SELECT event_id FROM events INDEXED BY events_aggregated WHERE {GATHERED} \
             AND relates_to = ?1 AND rel_type = 'm.reference' AND timeline <= ?3 \
             AND room = (SELECT room FROM rooms WHERE room_id = ?2) \
             AND sender NOT IN (SELECT value FROM json_each(?4)) ORDER BY timeline LIMIT ?5"
        );
        let ignored = json_list(ignored.iter().map(|user| user.as_str()));
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let bound = (event.as_str(), room.as_str(), until, &ignored, limit);
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

/// Texts as SQLite's `json_each` takes them.
fn json_list<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    serde_json::to_string(&texts.collect::<Vec<_>>()).expect("texts are JSON")
}
