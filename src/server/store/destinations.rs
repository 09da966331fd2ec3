//! What this server has to send to others, and how far it is with that.

use std::collections::BTreeMap;

use ruma::{OwnedEventId, OwnedRoomId, OwnedServerName, OwnedUserId, ServerName};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{database::Store, error::StoreError, events};
use crate::server::{change::position::LogPosition, event::stored::Membership};

/// How many rooms are looked at in one step.
const ROOMS_AT_ONCE: usize = 200;

/// The last of those who were put out of a room that a server is told after an outage, at most.
const MAX_ENDINGS: usize = 1_000;

/// The newest of one room that a server is told after an outage, at most: a fork rarely has more ends.
const MAX_ENDS: usize = 10;

/// How far other servers have been told what happened: all of them up to one position, but for those that lag.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Progress {
    /// Everybody has everything up to this, but for those below.
    pub upto: LogPosition,
    /// Who has less, and up to where. Bounded by the servers that share rooms with this one.
    pub lagging: BTreeMap<OwnedServerName, LogPosition>,
}

/// What is different from what is on the disk.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ProgressStep {
    /// See [`Progress::upto`].
    pub upto: LogPosition,
    /// Who lags from here on, or lags elsewhere.
    pub lagging: Vec<(OwnedServerName, LogPosition)>,
    /// Who lags no longer.
    pub level: Vec<OwnedServerName>,
}

/// An event that this server has to send, with what decides where it goes.
#[derive(Clone, Debug)]
pub struct OwnEvent {
    /// Where in the log.
    pub position: LogPosition,
    /// The room.
    pub room: OwnedRoomId,
    /// Who sent it.
    pub sender: OwnedUserId,
    /// Of a member event: whom it is about, and what they are from there on.
    pub member: Option<(OwnedUserId, Membership)>,
}

impl Progress {
    /// What leads from this to `now`; `None`: they are the same.
    pub fn step_to(&self, now: Self) -> Option<ProgressStep> {
        let level =
            self.lagging.keys().filter(|server| !now.lagging.contains_key(*server)).cloned().collect();
        let upto = now.upto;
        let differs =
            |(server, upto): &(OwnedServerName, LogPosition)| self.lagging.get(server) != Some(upto);
        let step = ProgressStep { upto, lagging: now.lagging.into_iter().filter(differs).collect(), level };
        (step != ProgressStep { upto: self.upto, ..ProgressStep::default() }).then_some(step)
    }

    /// The step is on the disk.
    pub fn follow(&mut self, step: ProgressStep) {
        self.upto = step.upto;
        for server in &step.level {
            self.lagging.remove(server);
        }
        self.lagging.extend(step.lagging);
    }
}

impl Store {
    /// How far other servers were told what happens, when that was noted last.
    pub async fn sending_progress(&self) -> Result<Progress, StoreError> {
        self.read(|c| {
            let upto = c.query_row("SELECT upto FROM sending", [], |row| row.get(0))?;
            let lagging = c
                .prepare("SELECT server, upto FROM destinations")?
                .query_map([], |row| Ok((events::parse(0, row.get_ref(0)?.as_str()?)?, row.get(1)?)))?
                .collect::<Result<_, _>>()?;
            Ok(Progress { upto, lagging })
        })
        .await
    }

    /// Notes what is different.
    pub async fn note_sending_progress(&self, step: ProgressStep) -> Result<(), StoreError> {
        self.write(move |c| {
            c.prepare_cached("UPDATE sending SET upto = ?1")?.execute([step.upto])?;
            let mut put = c.prepare_cached("INSERT OR REPLACE INTO destinations VALUES (?1, ?2)")?;
            for (server, upto) in &step.lagging {
                put.execute(params![server.as_str(), upto])?;
            }
            let mut remove = c.prepare_cached("DELETE FROM destinations WHERE server = ?1")?;
            for server in &step.level {
                remove.execute([server.as_str()])?;
            }
            Ok(())
        })
        .await
    }

    /// The first `limit` of the events after `after` that this server has to send, in the order of the log.
    pub async fn own_events(&self, after: LogPosition, limit: usize) -> Result<Vec<OwnEvent>, StoreError> {
        self.read(|c| {
            c.prepare_cached(
                "SELECT e.position, r.room_id, e.sender, e.state_key, \
                 CASE e.type WHEN 'm.room.member' THEN json_extract(e.pdu, '$.content.membership') END \
                 FROM events e JOIN rooms r ON r.room = e.room \
                 WHERE e.ours = 1 AND e.standing = 0 AND e.position > ?1 ORDER BY e.position LIMIT ?2",
            )?
            .query_map(params![after, number(limit)], own_event)?
            .collect()
        })
        .await
    }

    /// Where the last but `n - 1` of the events stands that this server has to send; `None`: there are fewer.
    pub async fn nth_last_own_event(&self, n: usize) -> Result<Option<LogPosition>, StoreError> {
        self.read(|c| {
            c.prepare(
                "SELECT position FROM events WHERE ours = 1 AND position > 0 ORDER BY position DESC LIMIT 1 OFFSET ?1",
            )?
            .query_row([number(n.saturating_sub(1))], |row| row.get(0))
            .optional()
        })
        .await
    }

    /// The accepted events at some positions of the log: their IDs and PDUs.
    pub async fn pdus_at(
        &self,
        positions: &[LogPosition],
    ) -> Result<Vec<(LogPosition, OwnedEventId, String)>, StoreError> {
        self.read(|c| {
            let mut query =
                c.prepare_cached("SELECT event_id, pdu FROM events WHERE position = ?1 AND standing = 0")?;
            let mut pdu = |position: &LogPosition| {
                let columns = |row: &Row<'_>| Ok((events::parse(0, row.get_ref(0)?.as_str()?)?, row.get(1)?));
                let found = query.query_row([position], columns).optional()?;
                Ok(found.map(|(event_id, pdu)| (*position, event_id, pdu)))
            };
            positions.iter().filter_map(|position| pdu(position).transpose()).collect()
        })
        .await
    }

    /// Of each of some rooms in which this server had something to send after `since`, up to and including `upto`: where the
    /// events stand that no other follows, or else the last that it had to send.
    pub async fn newest_of_rooms(
        &self,
        rooms: Vec<OwnedRoomId>,
        (since, upto): (LogPosition, LogPosition),
    ) -> Result<Vec<LogPosition>, StoreError> {
        let mut found = Vec::new();
        for some in rooms.chunks(ROOMS_AT_ONCE) {
            self.read(|c| some.iter().try_for_each(|room| newest(c, room.as_str(), since, upto, &mut found)))
                .await?;
            tokio::task::yield_now().await;
        }
        Ok(found)
    }

    /// The last events after `since`, up to and including `upto`, by which this server put a user of `server` out of a room,
    /// or took back that they were asked.
    pub async fn endings_of(
        &self,
        server: &ServerName,
        (since, upto): (LogPosition, LogPosition),
    ) -> Result<Vec<LogPosition>, StoreError> {
        self.read(|c| {
            c.prepare_cached(
                "SELECT position FROM events INDEXED BY events_ours_members \
                 WHERE ours = 1 AND type = 'm.room.member' AND standing = 0 AND position > ?1 AND position <= ?2 \
                 AND substr(state_key, instr(state_key, ':') + 1) = ?3 \
                 AND json_extract(pdu, '$.content.membership') IN ('leave', 'ban') \
                 ORDER BY position DESC LIMIT ?4",
            )?
            .query_map(params![since, upto, server.as_str(), number(MAX_ENDINGS)], |row| row.get(0))?
            .collect()
        })
        .await
    }
}

fn own_event(row: &Row<'_>) -> rusqlite::Result<OwnEvent> {
    let member = match (row.get_ref(3)?.as_str_or_null()?, row.get_ref(4)?.as_str_or_null()?) {
        (Some(user), Some(word)) => OwnedUserId::try_from(user).ok().zip(Membership::parse(word)),
        _ => None,
    };
    Ok(OwnEvent {
        position: row.get(0)?,
        room: events::parse(1, row.get_ref(1)?.as_str()?)?,
        sender: events::parse(2, row.get_ref(2)?.as_str()?)?,
        member,
    })
}

fn newest(
    c: &Connection,
    room: &str,
    since: LogPosition,
    upto: LogPosition,
    found: &mut Vec<LogPosition>,
) -> rusqlite::Result<()> {
    let last: Option<LogPosition> = c
        .prepare_cached(
            "SELECT max(position) FROM events WHERE room = (SELECT room FROM rooms WHERE room_id = ?1) \
             AND ours = 1 AND position > ?2 AND position <= ?3",
        )?
        .query_row(params![room, since, upto], |row| row.get(0))?;
    let Some(last) = last else { return Ok(()) };
    let before = found.len();
    let mut ends = c.prepare_cached(
        "SELECT e.position FROM forward_extremities x JOIN events e ON e.event = x.event \
         WHERE x.room = (SELECT room FROM rooms WHERE room_id = ?1) \
         AND e.standing = 0 AND e.position > ?2 AND e.position <= ?3 ORDER BY e.position DESC LIMIT ?4",
    )?;
    for end in ends.query_map(params![room, since, upto, number(MAX_ENDS)], |row| row.get(0))? {
        found.push(end?);
    }
    if found.len() == before {
        found.push(last);
    }
    Ok(())
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
