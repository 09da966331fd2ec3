//! The graph of a room: events in any standing, what they follow and rest upon, and the state around them.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use ruma::{EventId, OwnedEventId, OwnedRoomId, RoomId};
use rusqlite::{Connection, OptionalExtension, Row};

use super::{database::Store, error::StoreError, events, groups, state_list::Side};

/// How an event stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EventStanding {
    /// It has its place.
    Accepted,
    /// It is known because others rest upon it.
    Outlier,
    /// It was allowed when it was sent, and was not any longer when it came: nobody is shown it.
    SoftFailed,
    /// It was not allowed.
    Rejected,
}

/// An event in any standing.
#[derive(Clone, Debug)]
pub struct GraphEvent {
    /// The event.
    pub event_id: OwnedEventId,
    /// Its room.
    pub room_id: OwnedRoomId,
    /// How it stands.
    pub standing: EventStanding,
    /// Canonical JSON; the redacted form once it is redacted.
    pub pdu: Box<str>,
    /// It was emptied.
    pub redacted: bool,
    /// The PDU's depth.
    pub depth: u64,
    /// When its server says that it was sent, Unix time in ms.
    pub origin_server_ts: u64,
    /// The state around it is known.
    pub has_state: bool,
}

/// State by type and key.
pub type StateIds = BTreeMap<(String, String), OwnedEventId>;

/// Events that are looked at for those which one leads back to through events that nobody is shown.
const MAX_UNSHOWN: usize = 1_000;

/// What every query here selects; [`graph_event`] reads it.
const SELECT: &str = "SELECT e.event_id, r.room_id, e.standing, e.pdu, e.redacted_by IS NOT NULL, e.depth, \
    e.origin_server_ts, e.state_after IS NOT NULL, e.event FROM events e JOIN rooms r ON r.room = e.room ";

impl EventStanding {
    /// Its number in the table.
    pub(super) fn number(self) -> i64 {
        match self {
            Self::Accepted => 0,
            Self::Outlier => 1,
            Self::SoftFailed => 2,
            Self::Rejected => 3,
        }
    }

    pub(super) fn of(number: i64) -> Self {
        match number {
            0 => Self::Accepted,
            1 => Self::Outlier,
            2 => Self::SoftFailed,
            _ => Self::Rejected,
        }
    }
}

impl Store {
    /// Those of some events that are here, in any standing.
    pub async fn graph_events(
        &self,
        ids: &[OwnedEventId],
    ) -> Result<BTreeMap<OwnedEventId, GraphEvent>, StoreError> {
        let sql = format!("{SELECT} WHERE e.event_id = ?1");
        self.read(|c| {
            let mut one = c.prepare_cached(&sql)?;
            let mut found = BTreeMap::new();
            for id in ids {
                if let Some(event) = one.query_row([id.as_str()], graph_event).optional()? {
                    found.insert(id.clone(), event);
                }
            }
            Ok(found)
        })
        .await
    }

    /// The whole state on one side of an event; `None`: it is not known.
    pub async fn state_ids(&self, event: &EventId, side: Side) -> Result<Option<StateIds>, StoreError> {
        self.read(|c| match group_at(c, event, side)? {
            Some(group) => ids_of(c, groups::load(c, group)?).map(Some),
            None => Ok(begins_a_room(c, event, side)?.then(StateIds::new)),
        })
        .await
    }

    /// The same of some types and keys only.
    pub async fn state_ids_of(
        &self,
        event: &EventId,
        side: Side,
        keys: &[(String, String)],
    ) -> Result<Option<StateIds>, StoreError> {
        self.read(|c| {
            let Some((room, group)) = room_and_group(c, event, side)? else {
                return Ok(begins_a_room(c, event, side)?.then(StateIds::new));
            };
            let mut found = StateIds::new();
            for (kind, key) in keys {
                if let Some(number) = groups::find(c, (room, group), kind, key)? {
                    found.insert((kind.clone(), key.clone()), id_of(c, number)?);
                }
            }
            Ok(Some(found))
        })
        .await
    }

    /// The numbers of the states on one side of some events: two that are the same are one state; `None`: not known.
    pub async fn state_groups(
        &self,
        events: &[OwnedEventId],
        side: Side,
    ) -> Result<Vec<Option<i64>>, StoreError> {
        self.read(|c| events.iter().map(|event| group_at(c, event, side)).collect()).await
    }

    /// The number of a room's current state; `None`: there is no such room.
    pub async fn current_state_group(&self, room: &RoomId) -> Result<Option<i64>, StoreError> {
        self.read(|c| {
            c.prepare_cached("SELECT state_group FROM rooms WHERE room_id = ?1")?
                .query_row([room.as_str()], |row| row.get(0))
                .optional()
                .map(Option::flatten)
        })
        .await
    }

    /// The whole state that a number stands for.
    pub async fn state_ids_in(&self, group: i64) -> Result<StateIds, StoreError> {
        self.read(|c| ids_of(c, groups::load(c, group)?)).await
    }

    /// A room's current state.
    pub async fn current_state_ids(&self, room: &RoomId) -> Result<StateIds, StoreError> {
        self.read(|c| {
            c.prepare_cached(
                "SELECT s.type, s.state_key, e.event_id FROM current_state s JOIN events e ON e.event = s.event \
                 WHERE s.room = (SELECT room FROM rooms WHERE room_id = ?1)",
            )?
            .query_map([room.as_str()], |row| {
                Ok(((row.get(0)?, row.get(1)?), events::parse(2, row.get_ref(2)?.as_str()?)?))
            })?
            .collect()
        })
        .await
    }

    /// What some events rest upon, directly or not: up to `max` events that are here. One of `of` is among them only if
    /// another rests upon it.
    pub async fn auth_chain(
        &self,
        of: &[OwnedEventId],
        max: usize,
    ) -> Result<BTreeSet<OwnedEventId>, StoreError> {
        self.read(|c| {
            let mut number = c.prepare_cached("SELECT event FROM events WHERE event_id = ?1")?;
            let mut rests_on = c.prepare_cached(
                "SELECT e.event, e.event_id FROM event_auth a JOIN events e ON e.event_id = a.auth_event_id \
                 WHERE a.event = ?1",
            )?;
            let mut found = BTreeSet::new();
            let mut seen: BTreeSet<i64> = BTreeSet::new();
            let mut next = Vec::new();
            for id in of {
                next.extend(number.query_row([id.as_str()], |row| row.get::<_, i64>(0)).optional()?);
            }
            while let Some(event) = next.pop() {
                let mut rows = rests_on.query([event])?;
                while let Some(row) = rows.next()? {
                    let of_this = row.get(0)?;
                    if found.len() < max && seen.insert(of_this) {
                        found.insert(events::parse(1, row.get_ref(1)?.as_str()?)?);
                        next.push(of_this);
                    }
                }
            }
            Ok(found)
        })
        .await
    }

    /// Accepted events of a room, from some on back in time, these included: up to `limit`, the deepest first.
    pub async fn backwards(
        &self,
        room: &RoomId,
        from: &[OwnedEventId],
        limit: usize,
    ) -> Result<Vec<GraphEvent>, StoreError> {
        self.read(|c| walk(c, room, from, &BTreeSet::new(), 0, limit)).await
    }

    /// Accepted events of a room between some and some others, both not included: up to `limit` of those nearest to
    /// `latest` that are at least as deep as `min_depth`, the least deep first.
    pub async fn between(
        &self,
        room: &RoomId,
        latest: &[OwnedEventId],
        earliest: &[OwnedEventId],
        min_depth: u64,
        limit: usize,
    ) -> Result<Vec<GraphEvent>, StoreError> {
        self.read(|c| {
            let stop: BTreeSet<&EventId> = earliest.iter().map(|id| &**id).collect();
            let mut found = walk(c, room, latest, &stop, min_depth, limit.saturating_add(latest.len()))?;
            found.retain(|event| !latest.contains(&event.event_id));
            found.truncate(limit);
            found.reverse();
            Ok(found)
        })
        .await
    }

    /// The accepted events that these are or, through events that nobody is shown, lead back to.
    pub async fn accepted_before(
        &self,
        room: &RoomId,
        events: &[OwnedEventId],
    ) -> Result<BTreeSet<OwnedEventId>, StoreError> {
        self.read(|c| {
            let mut one = c.prepare_cached(
                "SELECT event, standing FROM events WHERE event_id = ?1 \
                 AND room = (SELECT room FROM rooms WHERE room_id = ?2)",
            )?;
            let mut follows = c.prepare_cached("SELECT prev_event_id FROM event_edges WHERE event = ?1")?;
            let (mut open, mut seen, mut found) = (events.to_vec(), BTreeSet::new(), BTreeSet::new());
            while let Some(id) = open.pop() {
                if seen.len() >= MAX_UNSHOWN || !seen.insert(id.clone()) {
                    continue;
                }
                let known = one.query_row((id.as_str(), room.as_str()), |row| Ok((row.get(0)?, row.get(1)?)));
                let Some((number, standing)): Option<(i64, i64)> = known.optional()? else { continue };
                if standing == EventStanding::Accepted.number() {
                    found.insert(id);
                } else if standing != EventStanding::Outlier.number() {
                    let mut rows = follows.query([number])?;
                    while let Some(row) = rows.next()? {
                        open.push(events::parse(0, row.get_ref(0)?.as_str()?)?);
                    }
                }
            }
            Ok(found)
        })
        .await
    }

    /// The redactions of an event that came before it, some at most.
    pub async fn early_redactions(
        &self,
        room: &RoomId,
        target: &EventId,
    ) -> Result<Vec<GraphEvent>, StoreError> {
        let sql = format!(
            "{SELECT} JOIN early_redactions t ON t.event = e.event WHERE t.target = ?2 AND r.room_id = ?1 \
             AND e.standing = 0 ORDER BY e.event LIMIT 16"
        );
        self.read(|c| {
            c.prepare_cached(&sql)?.query_map((room.as_str(), target.as_str()), graph_event)?.collect()
        })
        .await
    }
}

/// From some events back through what they follow, the deepest first.
fn walk(
    c: &Connection,
    room: &RoomId,
    from: &[OwnedEventId],
    stop: &BTreeSet<&EventId>,
    min_depth: u64,
    limit: usize,
) -> rusqlite::Result<Vec<GraphEvent>> {
    // What nobody is shown is passed through.
    let sql = format!("{SELECT} WHERE e.event_id = ?1 AND e.standing <> 1");
    let mut one = c.prepare_cached(&sql)?;
    let mut follows = c.prepare_cached("SELECT prev_event_id FROM event_edges WHERE event = ?1")?;
    let mut seen: BTreeSet<String> = from.iter().map(ToString::to_string).collect();
    let mut next: BinaryHeap<(u64, i64)> = BinaryHeap::new();
    let mut waiting: BTreeMap<i64, GraphEvent> = BTreeMap::new();
    let mut add = |id: &str, next: &mut BinaryHeap<_>, waiting: &mut BTreeMap<_, _>| {
        let found = one.query_row([id], |row| Ok((graph_event(row)?, row.get::<_, i64>(8)?))).optional()?;
        if let Some((event, number)) = found
            && event.room_id == room
            && event.depth >= min_depth
            && !stop.contains(&*event.event_id)
        {
            next.push((event.depth, number));
            waiting.insert(number, event);
        }
        Ok::<_, rusqlite::Error>(())
    };
    for id in from {
        add(id.as_str(), &mut next, &mut waiting)?;
    }
    let mut found = Vec::new();
    while let Some((_, number)) = next.pop() {
        found.extend(waiting.remove(&number).filter(|event| event.standing == EventStanding::Accepted));
        if found.len() >= limit {
            break;
        }
        let mut rows = follows.query([number])?;
        while let Some(row) = rows.next()? {
            let id: String = row.get(0)?;
            if !seen.contains(&id) {
                add(&id, &mut next, &mut waiting)?;
                seen.insert(id);
            }
        }
    }
    Ok(found)
}

fn graph_event(row: &Row<'_>) -> rusqlite::Result<GraphEvent> {
    Ok(GraphEvent {
        event_id: events::parse(0, row.get_ref(0)?.as_str()?)?,
        room_id: events::parse(1, row.get_ref(1)?.as_str()?)?,
        standing: EventStanding::of(row.get(2)?),
        pdu: row.get_ref(3)?.as_str()?.into(),
        redacted: row.get(4)?,
        depth: row.get::<_, i64>(5)?.cast_unsigned(),
        origin_server_ts: row.get::<_, i64>(6)?.cast_unsigned(),
        has_state: row.get(7)?,
    })
}

/// The group on one side of an event; `None`: the state is not known.
fn group_at(c: &Connection, event: &EventId, side: Side) -> rusqlite::Result<Option<i64>> {
    Ok(room_and_group(c, event, side)?.map(|(_, group)| group))
}

/// Whether nothing is before an event: the state before it is known, and empty.
fn begins_a_room(c: &Connection, event: &EventId, side: Side) -> rusqlite::Result<bool> {
    let mut first = c.prepare_cached(
        "SELECT 1 FROM events WHERE event_id = ?1 AND state_before IS NULL AND state_after IS NOT NULL",
    )?;
    Ok(matches!(side, Side::Before) && first.exists([event.as_str()])?)
}

fn room_and_group(c: &Connection, event: &EventId, side: Side) -> rusqlite::Result<Option<(i64, i64)>> {
    let sql = match side {
        Side::Before => "SELECT room, state_before FROM events WHERE event_id = ?1",
        Side::After => "SELECT room, state_after FROM events WHERE event_id = ?1",
    };
    let found = c.prepare_cached(sql)?.query_row([event.as_str()], |row| Ok((row.get(0)?, row.get(1)?)));
    Ok(found.optional()?.and_then(|(room, group): (i64, Option<i64>)| Some((room, group?))))
}

fn id_of(c: &Connection, number: i64) -> rusqlite::Result<OwnedEventId> {
    c.prepare_cached("SELECT event_id FROM events WHERE event = ?1")?
        .query_row([number], |row| events::parse(0, row.get_ref(0)?.as_str()?))
}

fn ids_of(c: &Connection, state: BTreeMap<(String, String), i64>) -> rusqlite::Result<StateIds> {
    state.into_iter().map(|(key, number)| Ok((key, id_of(c, number)?))).collect()
}
