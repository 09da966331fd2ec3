//! The steps of a commit: events get their place, aliases and the directory change.

use std::collections::BTreeMap;

use ruma::{EventId, OwnedRoomId, RoomId};
use rusqlite::OptionalExtension;

use super::{
    error::StoreError,
    event_rows::{insert, late, numbered, set_membership},
    graph::EventStanding,
    log,
    room_change::{NewEvent, NotCommitted, Placed, RoomChange},
    search, state,
    tx::Tx,
};
use crate::server::change::{feed::Change, position::TimelinePosition};

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
            RoomChange::Outliers { room, events, rejected } => self.put_outliers(room, events, rejected)?,
            RoomChange::Receive(received) => self.receive(received)?,
            RoomChange::Settle { room, page } => self.settle_state(room, page)?,
            RoomChange::Enter(entered) => self.enter(entered)?,
            RoomChange::Outside { version, event } => self.outside(version, event)?,
            RoomChange::Redact { target, pdu, by } => self.redact(target, pdu, by)?,
            RoomChange::AwaitRedacted { target, by } => {
                c.prepare_cached(
                    "INSERT OR IGNORE INTO early_redactions SELECT ?1, event FROM events WHERE event_id = ?2",
                )?
                .execute((target.as_str(), by.as_str()))?;
            }
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

    /// The number of a room.
    pub(super) fn number(&mut self, room: &RoomId) -> rusqlite::Result<i64> {
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
        // It follows everything that nothing follows yet: so it comes after the current state.
        let before = state::current_group(c, room)?;
        let replaces = match &new.state_key {
            Some(key) => state::current_number(c, room, &new.kind, key)?,
            None => None,
        };
        let place = (position, TimelinePosition::live(position));
        let number = insert(c, room, new, EventStanding::Accepted, (Some(place), (before, replaces)))?;
        let after = match &new.state_key {
            Some(key) => Some(state::put(c, room, before, (&new.kind, key), (number, position), replaces)?),
            None => before,
        };
        c.prepare_cached("UPDATE events SET state_after = ?2 WHERE event = ?1")?.execute((number, after))?;
        if let (Some(user), Some((membership, invite_state))) = (&new.state_key, &new.membership) {
            set_membership(
                c,
                room,
                user,
                (membership.as_str(), invite_state.as_deref()),
                (number, position),
            )?;
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
        let state: Option<i64> = match after {
            Some(after) => c
                .prepare_cached(
                    "SELECT state_after FROM events WHERE event_id = ?1 AND room = ?2 AND standing = 0",
                )?
                .query_row((after.as_str(), room), |row| row.get(0))?,
            None => None,
        };
        let timeline = late(c, room, after)?;
        let place = (log::advance(c)?, timeline);
        let number = insert(c, room, new, EventStanding::Accepted, (Some(place), (state, None)))?;
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
        search::forget(c, target)?;
        c.prepare_cached("UPDATE events SET hidden = 0 WHERE event_id = ?1")?.execute([by.as_str()])?;
        let next: Option<i64> = c
            .prepare_cached(
                "SELECT n.event FROM events t JOIN events n ON n.room = t.room AND n.type = t.type \
                 AND n.state_key = t.state_key AND n.standing = 0 AND n.replaces = t.event \
                 WHERE t.event = ?1 AND t.state_key IS NOT NULL",
            )?
            .query_row([target], |row| row.get(0))
            .optional()?;
        // What nobody can read of, nobody is told of.
        let mut has_position =
            c.prepare_cached("SELECT position IS NOT NULL FROM events WHERE event = ?1")?;
        for number in [Some(target), next].into_iter().flatten() {
            if !has_position.query_row([number], |row| row.get(0))? {
                continue;
            }
            self.tx.tell(Change::Rewritten(numbered(c, number)?));
        }
        Ok(())
    }
}
