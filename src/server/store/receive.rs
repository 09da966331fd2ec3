//! Events that other servers sent, as they get their place, or none: the steps of a commit for them.

use std::{collections::BTreeSet, sync::Arc};

use ruma::{EventId, OwnedEventId, OwnedRoomId, RoomId, RoomVersionId};
use rusqlite::{Connection, OptionalExtension};

use super::{
    error::StoreError,
    event_rows::{before_one, insert, late, numbered, promote, set_member, set_membership},
    events,
    graph::{EventStanding, StateIds},
    groups::{self, Numbers},
    log,
    room_change::{
        CurrentAfter, Entered, NewEvent, NotCommitted, Place, Placed, Received, StateAtEntry, StateBefore,
        StatePage,
    },
    state,
    steps::Write,
};
use crate::server::change::{
    feed::{Change, MemberIs, Resolved},
    position::{LogPosition, TimelinePosition},
};

/// What a key of the current state is from here on.
struct NowIs {
    key: (String, String),
    event: Option<i64>,
}

impl Write<'_> {
    pub(super) fn put_outliers(
        &mut self,
        room: &RoomId,
        events: &[NewEvent],
        rejected: &BTreeSet<OwnedEventId>,
    ) -> Result<(), NotCommitted> {
        let room = self.number(room)?;
        for event in events {
            let standing = match rejected.contains(&event.event_id) {
                true => EventStanding::Rejected,
                false => EventStanding::Outlier,
            };
            match find(self.tx, &event.event_id)? {
                None => drop(insert(self.tx, room, event, standing, (None, (None, None)))?),
                Some(known) if known.standing == EventStanding::Accepted => {}
                // It may have been judged by the rules of another version, which somebody said that the room is of.
                Some(known) => {
                    self.tx
                        .prepare_cached(
                            "UPDATE events SET standing = ?2 WHERE event = ?1 AND room = ?3 AND standing <> ?2 \
                             AND state_before IS NULL AND state_after IS NULL",
                        )?
                        .execute((known.number, standing.number(), room))?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn receive(&mut self, received: &Received) -> Result<(), NotCommitted> {
        let Received { event, standing, before, current, place, takes } = received;
        let (c, room) = (self.tx, self.number(&event.room)?);
        let known = find(c, &event.event_id)?;
        if known.as_ref().is_some_and(|known| known.standing != EventStanding::Outlier) {
            return Ok(());
        }
        let before = self.group(room, &event.prev_events, before)?;
        let replaces = match (&event.state_key, before) {
            (Some(key), Some(group)) => groups::find(c, (room, group), &event.kind, key)?,
            _ => None,
        };
        let number = match known {
            Some(known) => promote(c, known.number, event, *standing, (before, replaces))?,
            None => insert(c, room, event, *standing, (None, (before, replaces)))?,
        };
        let after = match &event.state_key {
            Some(key) if *standing != EventStanding::Rejected => {
                Some(groups::with(c, room, before, (&event.kind, key), number)?)
            }
            _ => before,
        };
        c.prepare_cached("UPDATE events SET state_after = ?2 WHERE event = ?1")?.execute((number, after))?;
        let mut current = self.current(room, (number, event), (before, after), current)?;
        let own = current.changes.iter().position(|change| change.event == Some(number));
        let own = own.map(|own| current.changes.remove(own));
        // What the state comes to be beside the event is so before it: who is told of the room from there on knows it.
        let mut resolved = self.change_state(room, &current.changes)?;
        note_edges(c, room, number, (event, *standing))?;
        if *standing == EventStanding::Accepted {
            follow(c, room, takes)?;
            let position = log::advance(c)?;
            let timeline = match place {
                Place::End => {
                    c.prepare_cached("INSERT INTO forward_extremities VALUES (?1, ?2)")?
                        .execute((room, number))?;
                    TimelinePosition::live(position)
                }
                Place::Late { after } => late(c, room, after.as_deref())?,
                Place::Before { follower, steps } => before_one(c, room, follower.as_deref(), *steps)?,
            };
            self.settle((number, event), (position, timeline), place)?;
        }
        match own {
            Some(own) => {
                let shown = event.membership.as_ref().and_then(|(_, shown)| shown.as_deref());
                change_key(c, room, &own, shown)?;
            }
            None if *standing == EventStanding::Accepted && *place == Place::End => {
                if let Some(restored) = self.restore(room, event)? {
                    resolved.get_or_insert_default().extend(restored);
                }
            }
            None => {}
        }
        if let Some(group) = current.group {
            c.prepare_cached("UPDATE rooms SET state_group = ?2 WHERE room = ?1")?.execute((room, group))?;
        }
        self.tell_resolved(room, resolved)
    }

    /// An accepted event gets its place; one that is state already keeps its position in the log, where its readers know
    /// it.
    fn settle(
        &mut self,
        (number, event): (i64, &NewEvent),
        (position, timeline): (LogPosition, TimelinePosition),
        place: &Place,
    ) -> Result<(), NotCommitted> {
        let c = self.tx;
        c.prepare_cached(
            "UPDATE events SET position = coalesce(position, ?2), timeline = ?3 WHERE event = ?1",
        )?
        .execute((number, position, timeline))?;
        let told = numbered(c, number)?;
        let position = told.position;
        self.tx.tell(match place {
            Place::End => Change::Appended(told),
            Place::Late { .. } | Place::Before { .. } => Change::Inserted(told),
        });
        self.placed.push(Placed { event_id: event.event_id.clone(), position });
        Ok(())
    }

    pub(super) fn settle_state(&mut self, room: &RoomId, page: &StatePage) -> Result<(), NotCommitted> {
        let room = self.number(room)?;
        let resolved = self.settle_page(room, page)?;
        self.tell_resolved(room, resolved)
    }

    fn settle_page(&self, room: i64, page: &StatePage) -> Result<Option<Vec<MemberIs>>, NotCommitted> {
        let c = self.tx;
        let mut changes = Vec::new();
        for (key, event) in page {
            let event = event.as_ref().map(|event| number(c, event)).transpose()?;
            if state::current_number(c, room, &key.0, &key.1)? != event {
                changes.push(NowIs { key: key.clone(), event });
            }
        }
        changes.sort_by_key(|change| change.event);
        self.change_state(room, &changes)
    }

    pub(super) fn enter(&mut self, entered: &Entered) -> Result<(), NotCommitted> {
        let Entered { room: room_id, version, state, event } = entered;
        let (c, room) = (self.tx, self.number(room_id)?);
        // What anybody said of it before that did not have to be so.
        c.prepare_cached("UPDATE rooms SET version = ?2 WHERE room = ?1")?
            .execute((room, version.as_str()))?;
        let (group, resolved) = match state {
            StateAtEntry::Whole(state) => {
                let state = numbers(c, state)?;
                let group = groups::of_state(c, &state, state::current_group(c, room)?)?;
                (group, self.change_state(room, &differences(c, room, &state)?)?)
            }
            StateAtEntry::Settled(rest) => {
                let resolved = self.settle_page(room, rest)?;
                (groups::of_current(c, room)?, resolved)
            }
        };
        // Before the join: who comes back may be what they were until now by some of it.
        self.tell_resolved(room, resolved)?;
        let position = log::advance(c)?;
        let place = (position, TimelinePosition::live(position));
        let key = event.state_key.as_deref().unwrap_or_default();
        let replaces = state::current_number(c, room, &event.kind, key)?;
        let known = find(c, &event.event_id)?;
        let number = match known {
            Some(known) if known.standing != EventStanding::Outlier => return Err(NotCommitted::Stale),
            Some(known) => {
                c.prepare_cached("UPDATE events SET position = ?2, timeline = ?3 WHERE event = ?1")?
                    .execute((known.number, place.0, place.1))?;
                promote(c, known.number, event, EventStanding::Accepted, (Some(group), replaces))?
            }
            None => insert(c, room, event, EventStanding::Accepted, (Some(place), (Some(group), replaces)))?,
        };
        let after = state::put(c, room, Some(group), (&event.kind, key), (number, position), replaces)?;
        c.prepare_cached("UPDATE events SET state_after = ?2 WHERE event = ?1")?.execute((number, after))?;
        if let Some((membership, invite_state)) = &event.membership {
            let word = (membership.as_str(), invite_state.as_deref());
            set_membership(c, room, key, word, (number, position))?;
        }
        note_edges(c, room, number, (event, EventStanding::Accepted))?;
        c.prepare_cached("DELETE FROM forward_extremities WHERE room = ?1")?.execute([room])?;
        c.prepare_cached("INSERT INTO forward_extremities VALUES (?1, ?2)")?.execute((room, number))?;
        self.tx.tell(Change::Appended(numbered(c, number)?));
        self.placed.push(Placed { event_id: event.event_id.clone(), position });
        Ok(())
    }

    pub(super) fn outside(&mut self, version: &RoomVersionId, event: &NewEvent) -> Result<(), NotCommitted> {
        let c = self.tx;
        c.prepare_cached(
            "INSERT INTO rooms (room_id, version, listed) VALUES (?1, ?2, 0) ON CONFLICT DO NOTHING",
        )?
        .execute((event.room.as_str(), version.as_str()))?;
        let room = self.number(&event.room)?;
        let number = match find(c, &event.event_id)? {
            Some(known) => known.number,
            None => insert(c, room, event, EventStanding::Outlier, (None, (None, None)))?,
        };
        let position = log::advance(c)?;
        c.prepare_cached("UPDATE events SET position = ?2 WHERE event = ?1 AND position IS NULL")?
            .execute((number, position))?;
        let key = event.state_key.as_deref().unwrap_or_default();
        // Of such a room this is all that there is of a state: readers look for it as they do anywhere.
        c.prepare_cached("INSERT INTO state_log VALUES (?1, ?2, ?3, ?4, ?5)")?.execute((
            room,
            &event.kind,
            key,
            position,
            number,
        ))?;
        c.prepare_cached(
            "INSERT INTO current_state VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE SET event = ?4",
        )?
        .execute((room, &event.kind, key, number))?;
        let invite_state = event.membership.as_ref().and_then(|(_, shown)| shown.as_deref());
        let members = set_member(c, room, key, Some(number), (position, invite_state))?.into_iter().collect();
        let room_id = event.room.clone();
        self.tx.tell(Change::Resolved(Arc::new(Resolved { room_id, position, members })));
        self.placed.push(Placed { event_id: event.event_id.clone(), position });
        Ok(())
    }

    /// The group of the state before an event.
    fn group(
        &self,
        room: i64,
        prev_events: &[OwnedEventId],
        before: &StateBefore,
    ) -> Result<Option<i64>, NotCommitted> {
        let c = self.tx;
        let after = |event: &OwnedEventId| -> rusqlite::Result<Option<i64>> {
            let found = c
                .prepare_cached("SELECT state_after FROM events WHERE event_id = ?1")?
                .query_row([event.as_str()], |row| row.get(0))
                .optional()?;
            Ok(found.flatten())
        };
        Ok(match before {
            StateBefore::Current => state::current_group(c, room)?,
            StateBefore::After(event) => Some(after(event)?.ok_or(NotCommitted::Stale)?),
            StateBefore::Nothing => None,
            StateBefore::Whole(ids) => {
                let mut near: BTreeSet<i64> = state::current_group(c, room)?.into_iter().collect();
                for event in prev_events {
                    near.extend(after(event)?);
                }
                Some(groups::of_state(c, &numbers(c, ids)?, near)?)
            }
        })
    }

    /// What the current state is with an event, before and after which it is these groups.
    fn current(
        &self,
        room: i64,
        (number, event): (i64, &NewEvent),
        (before, after): (Option<i64>, Option<i64>),
        current: &CurrentAfter,
    ) -> Result<Current, NotCommitted> {
        let c = self.tx;
        let (group, state) = match current {
            CurrentAfter::Unchanged => return Ok(Current::default()),
            CurrentAfter::After => {
                let group = after.ok_or(NotCommitted::Stale)?;
                if before.is_some() && before == state::current_group(c, room)? {
                    let key = event.state_key.iter().map(|key| (event.kind.clone(), key.clone()));
                    let changes = key.map(|key| NowIs { key, event: Some(number) }).collect();
                    return Ok(Current { group: Some(group), changes });
                }
                (group, groups::load(c, group)?)
            }
            CurrentAfter::Whole(ids) => {
                let state = numbers(c, ids)?;
                let near = after.into_iter().chain(state::current_group(c, room)?);
                (groups::of_state(c, &state, near)?, state)
            }
        };
        Ok(Current { group: Some(group), changes: differences(c, room, &state)? })
    }

    /// Changes the current state; answers with what that means to members, if anything changes.
    fn change_state(&self, room: i64, changes: &[NowIs]) -> Result<Option<Vec<MemberIs>>, NotCommitted> {
        let mut members = Vec::new();
        for change in changes {
            members.extend(change_key(self.tx, room, change, None)?);
        }
        Ok((!changes.is_empty()).then_some(members))
    }

    /// For a state event that got its place and did not become state: what is state is so after it.
    fn restore(&self, room: i64, event: &NewEvent) -> Result<Option<Vec<MemberIs>>, NotCommitted> {
        let Some(key) = &event.state_key else { return Ok(None) };
        let current = state::current_number(self.tx, room, &event.kind, key)?;
        let key = (event.kind.clone(), key.clone());
        self.change_state(room, &[NowIs { key, event: current }])
    }

    /// Tells that the current state came to have something else than what was appended.
    fn tell_resolved(&self, room: i64, members: Option<Vec<MemberIs>>) -> Result<(), NotCommitted> {
        if let Some(members) = members {
            let (room_id, position) = (room_id(self.tx, room)?, log::position(self.tx)?);
            self.tx.tell(Change::Resolved(Arc::new(Resolved { room_id, position, members })));
        }
        Ok(())
    }
}

/// What becomes of a room's current state.
#[derive(Default)]
struct Current {
    /// `None`: it stays.
    group: Option<i64>,
    /// As they came to be.
    changes: Vec<NowIs>,
}

/// What is to change in a room's current state so that it is `state`.
fn differences(c: &Connection, room: i64, state: &Numbers) -> rusqlite::Result<Vec<NowIs>> {
    let before: Numbers = c
        .prepare_cached("SELECT type, state_key, event FROM current_state WHERE room = ?1")?
        .query_map([room], |row| Ok(((row.get(0)?, row.get(1)?), row.get(2)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let gone = before.keys().filter(|key| !state.contains_key(*key));
    let mut changes: Vec<NowIs> = gone.map(|key| NowIs { key: key.clone(), event: None }).collect();
    let set = state.iter().filter(|(key, event)| before.get(*key) != Some(event));
    changes.extend(set.map(|(key, event)| NowIs { key: key.clone(), event: Some(*event) }));
    changes.sort_by_key(|change| change.event);
    Ok(changes)
}

/// Changes one key of the current state; answers with what that makes of a member. `shown`: what somebody who is invited
/// sees of the room.
fn change_key(
    c: &Connection,
    room: i64,
    change: &NowIs,
    shown: Option<&str>,
) -> Result<Option<MemberIs>, NotCommitted> {
    let (kind, key) = &change.key;
    let position = set_key(c, room, (kind, key), change.event)?;
    if kind != "m.room.member" {
        return Ok(None);
    }
    set_member(c, room, key, change.event, (position, shown))
}

/// An event that is here.
struct Known {
    number: i64,
    standing: EventStanding,
}

fn find(c: &Connection, event: &EventId) -> rusqlite::Result<Option<Known>> {
    c.prepare_cached("SELECT event, standing FROM events WHERE event_id = ?1")?
        .query_row([event.as_str()], |row| {
            Ok(Known { number: row.get(0)?, standing: EventStanding::of(row.get(1)?) })
        })
        .optional()
}

fn room_id(c: &Connection, room: i64) -> rusqlite::Result<OwnedRoomId> {
    c.prepare_cached("SELECT room_id FROM rooms WHERE room = ?1")?
        .query_row([room], |row| events::parse(0, row.get_ref(0)?.as_str()?))
}

/// Makes an event the current state of its type and key, or none; answers with the position at which it became so. One
/// that has just got its place became so there.
fn set_key(
    c: &Connection,
    room: i64,
    (kind, key): (&str, &str),
    event: Option<i64>,
) -> Result<LogPosition, NotCommitted> {
    let Some(event) = event else {
        let position = log::advance(c)?;
        log_key(c, room, (kind, key), (None, position))?;
        c.prepare_cached("DELETE FROM current_state WHERE room = ?1 AND type = ?2 AND state_key = ?3")?
            .execute((room, kind, key))?;
        return Ok(position);
    };
    let own: Option<LogPosition> = c
        .prepare_cached("SELECT position FROM events WHERE event = ?1")?
        .query_row([event], |row| row.get(0))?;
    let position = match own {
        Some(own) if own == log::position(c)? => own,
        _ => log::advance(c)?,
    };
    if own.is_none() {
        c.prepare_cached("UPDATE events SET position = ?2 WHERE event = ?1")?.execute((event, position))?;
    }
    log_key(c, room, (kind, key), (Some(event), position))?;
    c.prepare_cached(
        "INSERT INTO current_state VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE SET event = ?4",
    )?
    .execute((room, kind, key, event))?;
    Ok(position)
}

fn log_key(
    c: &Connection,
    room: i64,
    (kind, key): (&str, &str),
    (event, position): (Option<i64>, LogPosition),
) -> rusqlite::Result<()> {
    c.prepare_cached("INSERT INTO state_log VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute((room, kind, key, position, event))?;
    Ok(())
}

/// The numbers of a state's events.
fn numbers(c: &Connection, ids: &StateIds) -> Result<Numbers, NotCommitted> {
    ids.iter().map(|(key, id)| Ok((key.clone(), number(c, id)?))).collect()
}

fn number(c: &Connection, id: &EventId) -> Result<i64, NotCommitted> {
    let found = c
        .prepare_cached("SELECT event FROM events WHERE event_id = ?1")?
        .query_row([id.as_str()], |row| row.get(0))
        .optional()?;
    found.ok_or_else(|| StoreError::Corrupt(format!("{id} is state and is not here")).into())
}

/// Notes that an event is here itself, and what an accepted one follows that is not.
fn note_edges(
    c: &Connection,
    room: i64,
    number: i64,
    (event, standing): (&NewEvent, EventStanding),
) -> rusqlite::Result<()> {
    c.prepare_cached("DELETE FROM missing_edges WHERE room = ?1 AND prev_event_id = ?2")?
        .execute((room, event.event_id.as_str()))?;
    if standing != EventStanding::Accepted {
        return Ok(());
    }
    let mut note = c.prepare_cached(
        "INSERT OR IGNORE INTO missing_edges SELECT ?1, ?2, ?3 \
         WHERE NOT EXISTS (SELECT 1 FROM events WHERE event_id = ?2 AND room = ?1 AND standing <> 1)",
    )?;
    for id in &event.prev_events {
        note.execute((room, id.as_str(), number))?;
    }
    Ok(())
}

/// These end the room no longer.
fn follow(c: &Connection, room: i64, ends: &BTreeSet<OwnedEventId>) -> rusqlite::Result<()> {
    let mut followed = c.prepare_cached(
        "DELETE FROM forward_extremities WHERE room = ?1 \
         AND event = (SELECT event FROM events WHERE event_id = ?2)",
    )?;
    for id in ends {
        followed.execute((room, id.as_str()))?;
    }
    Ok(())
}
