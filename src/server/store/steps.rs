//! The steps of a commit: events get their place, aliases and the directory change.

use std::{collections::BTreeMap, sync::Arc};

use ruma::{
    EventId, OwnedDeviceId, OwnedEventId, OwnedRoomAliasId, OwnedRoomId, OwnedTransactionId, OwnedUserId,
    RoomId, RoomVersionId,
};
use rusqlite::{Connection, OptionalExtension};

use super::{error::StoreError, events, log, state, tx::Tx};
use crate::server::{
    change::{
        feed::Change,
        position::{LogPosition, TimelinePosition},
    },
    event::stored::{Membership, StoredEvent},
};

/// One step of a commit.
#[derive(Debug)]
pub enum RoomChange {
    /// A room without events.
    Create {
        /// Its ID.
        room: OwnedRoomId,
        /// Its version.
        version: RoomVersionId,
        /// Whether the public directory lists it.
        listed: bool,
    },
    /// An event goes to the end of its room.
    Append(Box<NewEvent>),
    /// An event that came late gets its place in the timeline of its room.
    Insert {
        /// The event.
        event: Box<NewEvent>,
        /// The event that it comes after; `None`: it comes before all of the room.
        after: Option<OwnedEventId>,
    },
    /// An event reads as its redacted form from here on.
    Redact {
        /// The event.
        target: OwnedEventId,
        /// The redacted form, canonical JSON.
        pdu: String,
        /// The redaction.
        by: OwnedEventId,
    },
    /// An alias leads to a room.
    AddAlias {
        /// The alias.
        alias: OwnedRoomAliasId,
        /// The room.
        room: OwnedRoomId,
        /// Who may take it away again.
        creator: OwnedUserId,
    },
    /// An alias leads nowhere any longer.
    RemoveAlias(OwnedRoomAliasId),
    /// Every alias of one room leads to another.
    MoveAliases {
        /// The one.
        from: OwnedRoomId,
        /// The other.
        to: OwnedRoomId,
    },
    /// The public directory lists a room, or does not any longer.
    SetListed {
        /// The room.
        room: OwnedRoomId,
        /// Whether it does.
        listed: bool,
    },
}

/// An event to append: a PDU that passed every check, with what the tables know of it.
#[derive(Debug)]
pub struct NewEvent {
    /// The room.
    pub room: OwnedRoomId,
    /// The reference hash.
    pub event_id: OwnedEventId,
    /// The event type.
    pub kind: String,
    /// `None`: not a state event.
    pub state_key: Option<String>,
    /// Who sends it.
    pub sender: OwnedUserId,
    /// Unix time in ms.
    pub origin_server_ts: u64,
    /// The PDU's depth.
    pub depth: u64,
    /// Canonical JSON.
    pub pdu: String,
    /// The forward extremities that it follows.
    pub prev_events: Vec<OwnedEventId>,
    /// The events that allow it.
    pub auth_events: Vec<OwnedEventId>,
    /// `content.m.relates_to`: the event, and how.
    pub relates_to: Option<(String, Option<String>)>,
    /// The device and transaction ID that sent it.
    pub transaction: Option<(OwnedDeviceId, OwnedTransactionId)>,
    /// For a member event: what its target is from here on, with the stripped state to show them.
    pub membership: Option<(Membership, Option<String>)>,
}

/// An event that got its place.
#[derive(Clone, Debug)]
pub struct Placed {
    /// Its ID.
    pub event_id: OwnedEventId,
    /// Its position in the log.
    pub position: LogPosition,
}

/// Why nothing was written.
#[derive(Debug)]
pub enum NotCommitted {
    /// Something is not as it was assumed: it has to be judged again.
    Stale,
    /// It was done before, and answered with this event.
    DoneBefore(Placed),
    /// The alias leads to a room already.
    AliasTaken,
    /// The store failed.
    Store(StoreError),
}

impl From<StoreError> for NotCommitted {
    fn from(e: StoreError) -> Self {
        Self::Store(e)
    }
}

impl From<rusqlite::Error> for NotCommitted {
    fn from(e: rusqlite::Error) -> Self {
        Self::Store(e.into())
    }
}

/// A commit whose assumptions hold.
pub(super) struct Write<'c> {
    pub(super) tx: &'c Tx<'c>,
    /// The numbers of the rooms it is about.
    rooms: BTreeMap<OwnedRoomId, i64>,
    pub(super) placed: Vec<Placed>,
}

impl<'c> Write<'c> {
    pub(super) fn new(tx: &'c Tx<'c>) -> Self {
        Self { tx, rooms: BTreeMap::new(), placed: Vec::new() }
    }

    /// Does one step.
    pub(super) fn apply(&mut self, change: &RoomChange) -> Result<(), NotCommitted> {
        let c = self.tx;
        match change {
            RoomChange::Create { room, version, listed } => {
                let made = c
                    .prepare_cached(
                        "INSERT INTO rooms (room_id, version, listed) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
                    )?
                    .execute((room.as_str(), version.as_str(), listed))?;
                // In version 12 the same request at the same time makes the same ID.
                if made == 0 {
                    return Err(NotCommitted::Stale);
                }
            }
            RoomChange::Append(new) => self.append(new)?,
            RoomChange::Insert { event, after } => self.insert(event, after.as_deref())?,
            RoomChange::Redact { target, pdu, by } => self.redact(target, pdu, by)?,
            RoomChange::AddAlias { alias, room, creator } => {
                let room = self.number(room)?;
                let added = c
                    .prepare_cached("INSERT INTO aliases VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING")?
                    .execute((alias.as_str(), room, creator.as_str()))?;
                if added == 0 {
                    return Err(NotCommitted::AliasTaken);
                }
            }
            RoomChange::RemoveAlias(alias) => {
                c.prepare_cached("DELETE FROM aliases WHERE alias = ?1")?.execute([alias.as_str()])?;
            }
            RoomChange::MoveAliases { from, to } => {
                let (from, to) = (self.number(from)?, self.number(to)?);
                c.prepare_cached("UPDATE aliases SET room = ?2 WHERE room = ?1")?.execute((from, to))?;
            }
            RoomChange::SetListed { room, listed } => {
                let room = self.number(room)?;
                c.prepare_cached("UPDATE rooms SET listed = ?2 WHERE room = ?1")?.execute((room, listed))?;
            }
        }
        Ok(())
    }

    fn number(&mut self, room: &RoomId) -> rusqlite::Result<i64> {
        if let Some(number) = self.rooms.get(room) {
            return Ok(*number);
        }
        let number = self
            .tx
            .prepare_cached("SELECT room FROM rooms WHERE room_id = ?1")?
            .query_row([room.as_str()], |row| row.get(0))?;
        self.rooms.insert(room.to_owned(), number);
        Ok(number)
    }

    /// Appends an event to the log and to its room: timeline, state, memberships, extremities.
    fn append(&mut self, new: &NewEvent) -> Result<(), NotCommitted> {
        let (c, room) = (self.tx, self.number(&new.room)?);
        let position = log::advance(c)?;
        let before = state::group_after(c, new.prev_events.iter().map(|id| &**id))?;
        let replaces = match &new.state_key {
            Some(key) => state::current_number(c, room, &new.kind, key)?,
            None => None,
        };
        let place = (position, TimelinePosition::live(position));
        let number = insert(c, room, new, place, (before, replaces))?;
        let after = match &new.state_key {
            Some(key) => Some(state::put(c, room, before, (&new.kind, key), number, replaces)?),
            None => before,
        };
        c.prepare_cached("UPDATE events SET state_after = ?2 WHERE event = ?1")?.execute((number, after))?;
        if let (Some(user), Some((membership, invite_state))) = (&new.state_key, &new.membership) {
            c.prepare_cached(
                "INSERT INTO memberships (user_id, room, membership, event, invite_state) \
                 VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO UPDATE SET membership = ?3, event = ?4, \
                 invite_state = ?5, forgotten = 0",
            )?
            .execute((user, room, membership.as_str(), number, invite_state))?;
        }
        let mut followed = c.prepare_cached(
            "DELETE FROM forward_extremities WHERE room = ?1 \
             AND event = (SELECT event FROM events WHERE event_id = ?2)",
        )?;
        for event_id in &new.prev_events {
            followed.execute((room, event_id.as_str()))?;
        }
        c.prepare_cached("INSERT INTO forward_extremities VALUES (?1, ?2)")?.execute((room, number))?;
        self.tx.tell(Change::Appended(numbered(c, number)?));
        self.placed.push(Placed { event_id: new.event_id.clone(), position });
        Ok(())
    }

    /// Puts an event that came late between two of a timeline. It changes nothing of the room as it is: the state, who
    /// is in it, and what the next event follows. So it can be no state.
    fn insert(&mut self, new: &NewEvent, after: Option<&EventId>) -> Result<(), NotCommitted> {
        let (c, room) = (self.tx, self.number(&new.room)?);
        if new.state_key.is_some() {
            return Err(StoreError::Corrupt(format!("state came late: {}", new.event_id)).into());
        }
        let (low, state): (Option<i64>, Option<i64>) = match after {
            Some(after) => c
                .prepare_cached(
                    "SELECT timeline, state_after FROM events WHERE event_id = ?1 AND room = ?2 AND standing = 0",
                )?
                .query_row((after.as_str(), room), |row| Ok((row.get(0)?, row.get(1)?)))?,
            None => (None, None),
        };
        let high: i64 = c
            .prepare_cached(
                "SELECT min(timeline) FROM events WHERE room = ?1 AND standing = 0 AND timeline > ?2",
            )?
            .query_row((room, low.unwrap_or(i64::MIN)), |row| row.get::<_, Option<i64>>(0))?
            // What comes live later stands at least so far after what is there.
            .or(low.map(|low| low.saturating_add(TimelinePosition::GAP)))
            .ok_or(NotCommitted::Stale)?;
        // In the middle, so that there is room on both sides.
        let place = low.map_or(high - TimelinePosition::GAP, |low| low + (high - low) / 2);
        if low == Some(place) {
            return Err(StoreError::Corrupt(format!("no room for {} in its timeline", new.event_id)).into());
        }
        let place = (log::advance(c)?, TimelinePosition::new(place));
        let number = insert(c, room, new, place, (state, None))?;
        c.prepare_cached("UPDATE events SET state_after = ?2 WHERE event = ?1")?.execute((number, state))?;
        self.tx.tell(Change::Inserted(numbered(c, number)?));
        self.placed.push(Placed { event_id: new.event_id.clone(), position: place.0 });
        Ok(())
    }

    fn redact(&self, target: &EventId, pdu: &str, by: &EventId) -> rusqlite::Result<()> {
        let c = self.tx;
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
            self.tx.tell(Change::Rewritten(numbered(c, number)?));
        }
        Ok(())
    }
}

fn numbered(c: &Connection, number: i64) -> rusqlite::Result<Arc<StoredEvent>> {
    let sql = format!("{} WHERE e.event = ?1", events::SELECT);
    c.prepare_cached(&sql)?.query_row([number], events::event)
}

/// Inserts an event at a place of the log and of its room's timeline, and what it names; answers with its number.
fn insert(
    c: &Connection,
    room: i64,
    new: &NewEvent,
    (position, timeline): (LogPosition, TimelinePosition),
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
        timeline,
        room,
        new.kind,
        new.state_key,
        new.sender.as_str(),
        events::clamp(new.origin_server_ts),
        events::clamp(new.depth),
        new.pdu,
        state_before,
        replaces,
        new.relates_to.as_ref().map(|(event, _)| event),
        new.relates_to.as_ref().and_then(|(_, how)| how.as_ref()),
        new.transaction.as_ref().map(|(device, _)| device.as_str()),
        new.transaction.as_ref().map(|(_, transaction)| transaction.as_str()),
    ])?;
    let number = c.last_insert_rowid();
    let mut edges = c.prepare_cached("INSERT OR IGNORE INTO event_edges VALUES (?1, ?2)")?;
    for event_id in &new.prev_events {
        edges.execute((number, event_id.as_str()))?;
    }
    let mut auth = c.prepare_cached("INSERT OR IGNORE INTO event_auth VALUES (?1, ?2)")?;
    for event_id in &new.auth_events {
        auth.execute((number, event_id.as_str()))?;
    }
    Ok(number)
}
