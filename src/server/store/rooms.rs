//! Rooms: the write in which their events are appended, with everything that follows from them.

use std::sync::Arc;

use ruma::{DeviceId, EventId, OwnedEventId, OwnedRoomId, RoomId, RoomVersionId, TransactionId, UserId};
use rusqlite::{Connection, OptionalExtension};

use super::{database::Store, error::StoreError, events, log, state, tx::Tx};
use crate::server::{
    change::{
        feed::Change,
        position::{LogPosition, TimelinePosition},
    },
    event::stored::{Membership, StoredEvent},
};

/// How long a transaction ID is remembered, in ms: 30 days, longer than a client's queue of messages waits.
const TRANSACTIONS_MS: i64 = 30 * 24 * 60 * 60 * 1000;

/// A room as the tables know it.
#[derive(Clone, Debug)]
pub struct RoomRow {
    /// Its number in the tables.
    pub(super) number: i64,
    /// Its ID.
    pub room_id: OwnedRoomId,
    /// Its version.
    pub version: RoomVersionId,
    /// Whether the public directory lists it.
    pub listed: bool,
}

/// An event to append: a PDU that passed every check, with what the tables know of it.
#[derive(Debug)]
pub struct NewEvent<'a> {
    /// The reference hash.
    pub event_id: &'a EventId,
    /// The event type.
    pub kind: &'a str,
    /// `None`: not a state event.
    pub state_key: Option<&'a str>,
    /// Who sends it.
    pub sender: &'a UserId,
    /// Unix time in ms.
    pub origin_server_ts: u64,
    /// The PDU's depth.
    pub depth: u64,
    /// Canonical JSON.
    pub pdu: &'a str,
    /// The forward extremities that it follows.
    pub follows: &'a [Extremity],
    /// The events that allow it.
    pub auth_events: &'a [OwnedEventId],
    /// `content.m.relates_to`: the event, and how.
    pub relates_to: Option<(&'a str, Option<&'a str>)>,
    /// The device and transaction ID that sent it.
    pub transaction: Option<(&'a DeviceId, &'a TransactionId)>,
    /// For a member event: what its target is from here on, with the stripped state to show them.
    pub membership: Option<(&'a str, Membership, Option<String>)>,
}

/// An event that no other event follows yet.
#[derive(Clone, Debug)]
pub struct Extremity {
    pub(super) number: i64,
    /// Its ID.
    pub event_id: OwnedEventId,
    /// Its depth.
    pub depth: u64,
}

/// A write to rooms that is under way. It is all done or not at all; there is one at a time, so what
/// it reads stays true until it ends: that is the lock under which a room's events are put in order.
#[derive(Debug)]
pub struct RoomWrite<'c> {
    pub(super) connection: &'c Tx<'c>,
}

impl Store {
    /// Runs `job` as one write; resolves when it is on the disk, and memory has followed.
    pub async fn write_rooms<T, E>(
        &self,
        job: impl FnOnce(&RoomWrite<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.write(|tx| job(&RoomWrite { connection: tx })).await
    }

    /// The room of this ID.
    pub async fn room(&self, room_id: &RoomId) -> Result<Option<RoomRow>, StoreError> {
        self.read(|c| room(c, room_id)).await
    }
}

impl RoomWrite<'_> {
    /// The room of this ID.
    pub fn room(&self, room_id: &RoomId) -> Result<Option<RoomRow>, StoreError> {
        Ok(room(self.connection, room_id)?)
    }

    /// Adds a room without events.
    pub fn create_room(
        &self,
        room_id: &RoomId,
        version: &RoomVersionId,
        listed: bool,
    ) -> Result<RoomRow, StoreError> {
        self.connection
            .prepare_cached("INSERT INTO rooms (room_id, version, listed) VALUES (?1, ?2, ?3)")?
            .execute((room_id.as_str(), version.as_str(), listed))?;
        let number = self.connection.last_insert_rowid();
        Ok(RoomRow { number, room_id: room_id.to_owned(), version: version.clone(), listed })
    }

    /// The events that the next event of the room follows, deepest first.
    pub fn extremities(&self, room: &RoomRow) -> Result<Vec<Extremity>, StoreError> {
        let rows: Result<Vec<_>, _> = self
            .connection
            .prepare_cached(
                "SELECT e.event, e.event_id, e.depth FROM forward_extremities f \
                 JOIN events e ON e.event = f.event WHERE f.room = ?1 ORDER BY e.depth DESC, e.event DESC",
            )?
            .query_map([room.number], |row| {
                Ok(Extremity {
                    number: row.get(0)?,
                    event_id: events::parse(1, row.get_ref(1)?.as_str()?)?,
                    depth: row.get::<_, i64>(2)?.cast_unsigned(),
                })
            })?
            .collect();
        Ok(rows?)
    }

    /// The current state event of this type and key.
    pub fn state(
        &self,
        room: &RoomRow,
        kind: &str,
        key: &str,
    ) -> Result<Option<Arc<StoredEvent>>, StoreError> {
        Ok(state::current(self.connection, room.number, kind, key)?)
    }

    /// An accepted event by its ID.
    pub fn event(&self, event_id: &EventId) -> Result<Option<Arc<StoredEvent>>, StoreError> {
        let sql = format!("{} WHERE e.event_id = ?1 AND e.standing = 0", events::SELECT);
        Ok(self.connection.prepare_cached(&sql)?.query_row([event_id.as_str()], events::event).optional()?)
    }

    /// Appends an event to the log and to its room: timeline, state, memberships, extremities.
    pub fn append(&self, room: &RoomRow, new: &NewEvent<'_>) -> Result<Arc<StoredEvent>, StoreError> {
        let c = self.connection;
        let position = log::advance(c)?;
        let before = state::group_after(c, new.follows.iter().map(|extremity| &*extremity.event_id))?;
        let replaces = match new.state_key {
            Some(key) => state::current_number(c, room.number, new.kind, key)?,
            None => None,
        };
        let number = insert(c, room, new, position, (before, replaces))?;
        let after = match new.state_key {
            Some(key) => Some(state::put(c, room.number, before, (new.kind, key), number, replaces)?),
            None => before,
        };
        c.prepare_cached("UPDATE events SET state_after = ?2 WHERE event = ?1")?.execute((number, after))?;
        if let Some((user, membership, invite_state)) = &new.membership {
            c.prepare_cached(
                "INSERT INTO memberships (user_id, room, membership, event, invite_state) \
                 VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO UPDATE SET membership = ?3, event = ?4, \
                 invite_state = ?5, forgotten = 0",
            )?
            .execute((user, room.number, membership.as_str(), number, invite_state))?;
        }
        let mut followed =
            c.prepare_cached("DELETE FROM forward_extremities WHERE room = ?1 AND event = ?2")?;
        for extremity in new.follows {
            followed.execute((room.number, extremity.number))?;
        }
        c.prepare_cached("INSERT INTO forward_extremities VALUES (?1, ?2)")?
            .execute((room.number, number))?;
        let event = self.numbered(number)?;
        self.connection.tell(Change::Appended(Arc::clone(&event)));
        Ok(event)
    }

    /// Empties `target`: from here on it reads as `pdu`, its redacted form, because of `by`.
    pub fn redact(&self, target: &EventId, pdu: &str, by: &EventId) -> Result<(), StoreError> {
        let c = self.connection;
        let target: i64 = c
            .prepare_cached(
                "UPDATE events SET pdu = ?2, redacted_by = (SELECT event FROM events WHERE event_id = ?3) \
                 WHERE event_id = ?1 RETURNING event",
            )?
            .query_row((target.as_str(), pdu, by.as_str()), |row| row.get(0))?;
        let next: Option<i64> = c
            .prepare_cached(
                "SELECT n.event FROM events t JOIN events n ON n.room = t.room AND n.type = t.type \
                 AND n.state_key = t.state_key AND n.standing = 0 AND n.replaces = t.event \
                 WHERE t.event = ?1 AND t.state_key IS NOT NULL",
            )?
            .query_row([target], |row| row.get(0))
            .optional()?;
        for number in [Some(target), next].into_iter().flatten() {
            self.connection.tell(Change::Rewritten(self.numbered(number)?));
        }
        Ok(())
    }

    /// The event that a transaction ID was answered with.
    pub fn transaction(
        &self,
        (user, device): (&UserId, &DeviceId),
        endpoint: &str,
        transaction: &TransactionId,
    ) -> Result<Option<OwnedEventId>, StoreError> {
        let event_id = self
            .connection
            .prepare_cached(
                "SELECT e.event_id FROM transactions t JOIN events e ON e.event = t.event \
                 WHERE t.user_id = ?1 AND t.device_id = ?2 AND t.transaction_id = ?3 AND t.endpoint = ?4",
            )?
            .query_row((user.as_str(), device.as_str(), transaction.as_str(), endpoint), |row| {
                events::parse(0, row.get_ref(0)?.as_str()?)
            })
            .optional()?;
        Ok(event_id)
    }

    /// Remembers what a transaction ID is answered with, and forgets those that are too old to come again.
    pub fn remember_transaction(
        &self,
        (user, device): (&UserId, &DeviceId),
        endpoint: &str,
        transaction: &TransactionId,
        event: &StoredEvent,
    ) -> Result<(), StoreError> {
        let sent_ms = event.origin_server_ts.cast_signed();
        self.connection.prepare_cached("INSERT INTO transactions VALUES (?1, ?2, ?3, ?4, (SELECT event FROM events WHERE event_id = ?5), ?6)")?.execute(
            (user.as_str(), device.as_str(), endpoint, transaction.as_str(), event.event_id.as_str(), sent_ms),
        )?;
        self.connection
            .prepare_cached("DELETE FROM transactions WHERE sent_ms < ?1")?
            .execute([sent_ms - TRANSACTIONS_MS])?;
        Ok(())
    }

    fn numbered(&self, number: i64) -> rusqlite::Result<Arc<StoredEvent>> {
        let sql = format!("{} WHERE e.event = ?1", events::SELECT);
        self.connection.prepare_cached(&sql)?.query_row([number], events::event)
    }
}

/// Inserts an event that came live at `position`, and what it names; answers with its number.
fn insert(
    c: &Connection,
    room: &RoomRow,
    new: &NewEvent<'_>,
    position: LogPosition,
    (state_before, replaces): (Option<i64>, Option<i64>),
) -> rusqlite::Result<i64> {
    c.prepare_cached(
        "INSERT INTO events (event_id, position, timeline, room, standing, type, state_key, sender, \
         origin_server_ts, depth, pdu, state_before, replaces, relates_to, rel_type, device_id, transaction_id) \
         VALUES (?1, ?2, ?3, ?4, 0, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
    )?
    .execute(rusqlite::params![
        new.event_id.as_str(),
        position,
        TimelinePosition::live(position),
        room.number,
        new.kind,
        new.state_key,
        new.sender.as_str(),
        events::clamp(new.origin_server_ts),
        events::clamp(new.depth),
        new.pdu,
        state_before,
        replaces,
        new.relates_to.map(|(event, _)| event),
        new.relates_to.and_then(|(_, how)| how),
        new.transaction.map(|(device, _)| device.as_str()),
        new.transaction.map(|(_, transaction)| transaction.as_str()),
    ])?;
    let number = c.last_insert_rowid();
    let mut edges = c.prepare_cached("INSERT OR IGNORE INTO event_edges VALUES (?1, ?2)")?;
    for extremity in new.follows {
        edges.execute((number, extremity.event_id.as_str()))?;
    }
    let mut auth = c.prepare_cached("INSERT OR IGNORE INTO event_auth VALUES (?1, ?2)")?;
    for event_id in new.auth_events {
        auth.execute((number, event_id.as_str()))?;
    }
    Ok(number)
}

fn room(connection: &Connection, room_id: &RoomId) -> rusqlite::Result<Option<RoomRow>> {
    connection
        .prepare_cached("SELECT room, version, listed FROM rooms WHERE room_id = ?1")?
        .query_row([room_id.as_str()], |row| {
            Ok(RoomRow {
                number: row.get(0)?,
                room_id: room_id.to_owned(),
                version: events::parse(1, row.get_ref(1)?.as_str()?)?,
                listed: row.get(2)?,
            })
        })
        .optional()
}
