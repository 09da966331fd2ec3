//! Where a room's timeline has gaps: events that follow what is not here; and where what comes for them stands.

use ruma::{EventId, OwnedEventId, RoomId};
use rusqlite::{Connection, OptionalExtension};

use super::{database::Store, error::StoreError, events};
use crate::server::change::position::{LogPosition, TimelinePosition};

/// Gaps that are one: those before events of which so many stand next to each other. Where a fork begins, there is a gap
/// for each of its lines.
const NEAR: usize = 50;

/// Events of a timeline, up to a gap, of which some may follow what comes to fill it.
const FOLLOWING: usize = 500;

/// Events that one gap is said to lack, at most.
const MAX_MISSING: usize = 50;

/// A place of a timeline before which something is missing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Gap {
    /// The last event of the timeline that follows what is missing.
    pub event: OwnedEventId,
    /// Its place.
    pub timeline: TimelinePosition,
    /// What it, and events near before it, follow and is not here.
    pub missing: Vec<OwnedEventId>,
}

/// Where an event stands by its depth.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum DeepPlace {
    /// Before all that is here.
    First,
    /// After this one.
    After(OwnedEventId),
}

impl Store {
    /// The last gap of a room's timeline at or before a place, or right after it: what is missing there is before the place.
    pub async fn last_gap(&self, room: &RoomId, until: TimelinePosition) -> Result<Option<Gap>, StoreError> {
        self.read(|c| {
            let last = c
                .prepare_cached(
                    "SELECT e.event_id, e.timeline FROM missing_edges m JOIN events e ON e.event = m.event \
                     WHERE m.room = (SELECT room FROM rooms WHERE room_id = ?1) AND e.standing = 0 \
                     AND e.timeline <= coalesce((SELECT n.timeline FROM events n WHERE n.room = m.room \
                     AND n.standing = 0 AND n.timeline > ?2 ORDER BY n.timeline LIMIT 1), ?2) \
                     ORDER BY e.timeline DESC LIMIT 1",
                )?
                .query_row((room.as_str(), until), |row| {
                    Ok((events::parse(0, row.get_ref(0)?.as_str()?)?, row.get(1)?))
                })
                .optional()?;
            let Some((event, timeline)) = last else { return Ok(None) };
            let mut near = c.prepare_cached(
                "SELECT room, event FROM events WHERE room = (SELECT room FROM rooms WHERE room_id = ?1) \
                 AND standing = 0 AND timeline <= ?2 ORDER BY timeline DESC LIMIT ?3",
            )?;
            let mut lacks = c.prepare_cached(
                "SELECT prev_event_id FROM missing_edges WHERE room = ?1 AND event = ?2 ORDER BY prev_event_id",
            )?;
            let mut missing: Vec<OwnedEventId> = Vec::new();
            let mut rows = near.query((room.as_str(), timeline, NEAR as i64))?;
            while let Some(row) = rows.next()? {
                let mut of_one = lacks.query((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))?;
                while let Some(row) = of_one.next()? {
                    let id: OwnedEventId = events::parse(0, row.get_ref(0)?.as_str()?)?;
                    if missing.len() < MAX_MISSING && !missing.contains(&id) {
                        missing.push(id);
                    }
                }
            }
            Ok(Some(Gap { event, timeline, missing }))
        })
        .await
    }

    /// How deep the event is that a room's timeline begins with.
    pub async fn first_depth(&self, room: &RoomId) -> Result<u64, StoreError> {
        self.read(|c| {
            let depth: Option<i64> = c
                .prepare_cached(
                    "SELECT depth FROM events WHERE room = (SELECT room FROM rooms WHERE room_id = ?1) \
                     AND standing = 0 AND timeline IS NOT NULL ORDER BY timeline LIMIT 1",
                )?
                .query_row([room.as_str()], |row| row.get(0))
                .optional()?;
            Ok(depth.and_then(|depth| u64::try_from(depth).ok()).unwrap_or(0))
        })
        .await
    }

    /// Before which event of a room's timeline these stand, none of which is in the timeline: the first that follows one of
    /// them, or one before it where there is no room for so many. `None`: nothing that is here follows them.
    pub async fn follower_of(
        &self,
        room: &RoomId,
        events: &[OwnedEventId],
    ) -> Result<Option<OwnedEventId>, StoreError> {
        self.read(|c| {
            let mut follower = c.prepare_cached(
                "SELECT e.timeline FROM missing_edges m JOIN events e ON e.event = m.event \
                 WHERE m.room = (SELECT room FROM rooms WHERE room_id = ?1) AND m.prev_event_id = ?2 \
                 AND e.standing = 0 AND e.timeline IS NOT NULL ORDER BY e.timeline LIMIT 1",
            )?;
            let mut first: Option<i64> = None;
            for event in events {
                let found =
                    follower.query_row((room.as_str(), event.as_str()), |row| row.get(0)).optional()?;
                first = [first, found].into_iter().flatten().min();
            }
            let Some(first) = first else { return Ok(None) };
            roomy(c, room, first, events.len())
        })
        .await
    }

    /// Before which events of a room's timeline these stand, each with its depth, that come to fill the gap before `last`: each
    /// before the first that follows it, or lacks something and is deeper, and so may follow it; with how many stand there
    /// from each on. `None`: nothing that is here can follow it, so it is not past.
    pub async fn places_before(
        &self,
        room: &RoomId,
        events: &[(OwnedEventId, u64)],
        last: &EventId,
    ) -> Result<Vec<Option<(OwnedEventId, usize)>>, StoreError> {
        self.read(|c| {
            let last: Option<i64> = c
                .prepare_cached("SELECT timeline FROM events WHERE event_id = ?1 AND standing = 0")?
                .query_row([last.as_str()], |row| row.get(0))
                .optional()?
                .flatten();
            let lacking: Vec<(i64, i64, String)> = c
                .prepare_cached(
                    "SELECT e.timeline, e.depth, m.prev_event_id FROM missing_edges m \
                     JOIN events e ON e.event = m.event \
                     WHERE m.room = (SELECT room FROM rooms WHERE room_id = ?1) AND e.standing = 0 \
                     AND e.timeline >= coalesce((SELECT f.timeline FROM events f WHERE f.room = m.room \
                     AND f.standing = 0 AND f.timeline <= ?2 ORDER BY f.timeline DESC LIMIT 1 OFFSET ?3), \
                     -9223372036854775808)",
                )?
                .query_map((room.as_str(), last, FOLLOWING as i64), |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                })?
                .collect::<rusqlite::Result<_>>()?;
            let place = |(id, depth): &(OwnedEventId, u64)| {
                let may_follow = lacking
                    .iter()
                    .filter(|(_, of, prev)| *of > events::clamp(*depth) || *prev == id.as_str())
                    .map(|(timeline, ..)| *timeline);
                may_follow.min().map(|first| last.map_or(first, |last| first.min(last)))
            };
            let places: Vec<Option<i64>> = events.iter().map(place).collect();
            let mut found = Vec::with_capacity(places.len());
            for alike in places.chunk_by(|a, b| a == b) {
                let before = match alike.first().copied().flatten() {
                    Some(place) => roomy(c, room, place, alike.len())?,
                    None => None,
                };
                found.extend((1..=alike.len()).rev().map(|left| Some((before.clone()?, left))));
            }
            Ok(found)
        })
        .await
    }

    /// Where one stands in a room's timeline that nothing here follows and that is so deep; `None`: nothing that is here can
    /// follow it, so it is not past.
    pub async fn place_by_depth(&self, room: &RoomId, depth: u64) -> Result<Option<DeepPlace>, StoreError> {
        self.read(|c| {
            // Something is missing before the event after it.
            let after = c
                .prepare_cached(
                    "SELECT e.timeline FROM missing_edges m JOIN events e ON e.event = m.event \
                     WHERE m.room = (SELECT room FROM rooms WHERE room_id = ?1) AND e.standing = 0 \
                     AND e.depth > ?2 ORDER BY e.timeline LIMIT 1",
                )?
                .query_row((room.as_str(), events::clamp(depth)), |row| row.get::<_, i64>(0))
                .optional()?;
            let Some(after) = after else { return Ok(None) };
            let before = c
                .prepare_cached(
                    "SELECT event_id FROM events WHERE room = (SELECT room FROM rooms WHERE room_id = ?1) \
                     AND standing = 0 AND timeline < ?2 ORDER BY timeline DESC LIMIT 1",
                )?
                .query_row((room.as_str(), after), |row| events::parse(0, row.get_ref(0)?.as_str()?))
                .optional()?;
            Ok(Some(before.map_or(DeepPlace::First, DeepPlace::After)))
        })
        .await
    }

    /// Whether an event that is not in the timeline is followed by one that became an end of the room when it came: then what
    /// ends the room now leads back to both.
    pub async fn leads_to_an_end(&self, room: &RoomId, event: &EventId) -> Result<bool, StoreError> {
        self.read(|c| {
            let mut followers = c.prepare_cached(
                "SELECT e.position, e.timeline FROM missing_edges m JOIN events e ON e.event = m.event \
                 WHERE m.room = (SELECT room FROM rooms WHERE room_id = ?1) AND m.prev_event_id = ?2 \
                 AND e.standing = 0",
            )?;
            let mut rows = followers.query((room.as_str(), event.as_str()))?;
            while let Some(row) = rows.next()? {
                let (position, timeline): (LogPosition, TimelinePosition) = (row.get(0)?, row.get(1)?);
                if timeline == TimelinePosition::live(position) {
                    return Ok(true);
                }
            }
            Ok(false)
        })
        .await
    }

    /// Whether something of a room may have been sent at a time and is not here: there is a gap between an event that is not
    /// later and one that is not earlier.
    pub async fn may_lack(&self, room: &RoomId, unix_ms: u64) -> Result<bool, StoreError> {
        self.read(|c| {
            c.prepare_cached(
                "SELECT 1 FROM missing_edges m JOIN events e ON e.event = m.event \
                 WHERE m.room = (SELECT room FROM rooms WHERE room_id = ?1) AND e.standing = 0 \
                 AND e.origin_server_ts >= ?2 AND coalesce((SELECT p.origin_server_ts FROM events p \
                 WHERE p.room = e.room AND p.standing = 0 AND p.timeline < e.timeline \
                 ORDER BY p.timeline DESC LIMIT 1), 0) <= ?2 LIMIT 1",
            )?
            .exists((room.as_str(), events::clamp(unix_ms)))
        })
        .await
    }
}

/// The last event of a timeline, up to the one at `place`, before which there is room for so many.
fn roomy(c: &Connection, room: &RoomId, place: i64, count: usize) -> rusqlite::Result<Option<OwnedEventId>> {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let mut timeline = c.prepare_cached(
        "SELECT timeline, event_id FROM events WHERE room = (SELECT room FROM rooms WHERE room_id = ?1) \
         AND standing = 0 AND timeline <= ?2 ORDER BY timeline DESC",
    )?;
    let mut rows = timeline.query((room.as_str(), place))?;
    let mut found: Option<(i64, OwnedEventId)> = None;
    while let Some(row) = rows.next()? {
        let (low, id): (i64, OwnedEventId) = (row.get(0)?, events::parse(1, row.get_ref(1)?.as_str()?)?);
        if found.as_ref().is_some_and(|(high, _)| high - low > count) {
            break;
        }
        found = Some((low, id));
    }
    Ok(found.map(|(_, id)| id))
}
