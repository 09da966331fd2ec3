//! Lists of state events: what a state consists of, read without the events, which are read in pages afterwards.
//!
//! A list takes some bytes for an event, whatever its size. State groups never change and events keep their numbers, so
//! what is read in pages is one state, whatever happens meanwhile; only a redaction shows as soon as it is there.

use std::{collections::VecDeque, sync::Arc};

use ruma::RoomId;
use rusqlite::{Connection, Params, Row};

use super::{database::Store, error::StoreError, events};
use crate::server::{change::position::LogPosition, event::stored::StoredEvent};

/// Events of a page.
const PAGE: usize = 16;

/// Bytes that the events of a page take in memory, about: no further one is read from here on.
const PAGE_BYTES: usize = 512 << 10;

/// State events that are still to be read, by their numbers, in the order of the log.
#[derive(Clone, Debug, Default)]
pub struct StateList(VecDeque<i64>);

/// What is known of a state event before it is read.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// Where in the log.
    pub position: LogPosition,
    /// The event type.
    pub kind: &'a str,
    /// The state key.
    pub key: &'a str,
    /// Who sent it.
    pub sender: &'a str,
}

/// Which state events are looked at.
#[derive(Clone, Copy, Debug)]
pub enum Kinds {
    /// All.
    All,
    /// Who is what in the room.
    Members,
    /// All but that.
    AllButMembers,
}

/// Which side of an event.
#[derive(Clone, Copy, Debug)]
pub enum Side {
    /// Without it.
    Before,
    /// With it.
    After,
}

impl StateList {
    /// Puts another list after this one.
    pub fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    /// Whether there is nothing left to read.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Kinds {
    /// As a condition on events in the table `t`.
    fn sql(self, t: &str) -> String {
        match self {
            Self::All => "TRUE".to_owned(),
            Self::Members => format!("{t}.type = 'm.room.member'"),
            Self::AllButMembers => format!("{t}.type <> 'm.room.member'"),
        }
    }
}

impl Store {
    /// The current state of a room: of these, what to `keep`.
    pub async fn current_state(
        &self,
        room: &RoomId,
        kinds: Kinds,
        keep: impl FnMut(Entry<'_>) -> bool,
    ) -> Result<StateList, StoreError> {
        let of_room =
            "SELECT event FROM current_state WHERE room = (SELECT room FROM rooms WHERE room_id = ?1)";
        let chosen = match kinds {
            Kinds::All => of_room.to_owned(),
            Kinds::Members => format!("{of_room} AND type = 'm.room.member'"),
            // Two ranges of the key: members, of which there can be very many, are not even passed over.
            Kinds::AllButMembers => {
                format!("{of_room} AND type < 'm.room.member' UNION ALL {of_room} AND type > 'm.room.member'")
            }
        };
        let sql = format!(
            "SELECT e.event, e.position, e.type, e.state_key, e.sender FROM events e \
             WHERE e.event IN ({chosen}) ORDER BY e.position"
        );
        self.read(|c| list(c, &sql, [room.as_str()], keep)).await
    }

    /// The whole state of a room on one side of the event that stands at `position` of the log: of these, what
    /// to `keep`.
    pub async fn state_at(
        &self,
        position: LogPosition,
        side: Side,
        kinds: Kinds,
        keep: impl FnMut(Entry<'_>) -> bool,
    ) -> Result<StateList, StoreError> {
        let group = match side {
            Side::Before => "state_before",
            Side::After => "state_after",
        };
        let sql = format!(
            "SELECT e.event, e.position, e.type, e.state_key, e.sender FROM events e WHERE e.event IN (\
               WITH RECURSIVE chain (state_group, previous, hops) AS (\
                 SELECT g.state_group, g.previous, 0 FROM state_groups g \
                 JOIN events at ON at.{group} = g.state_group WHERE at.position = ?1 \
                 UNION ALL SELECT g.state_group, g.previous, hops + 1 FROM chain \
                 JOIN state_groups g ON g.state_group = chain.previous) \
               SELECT event FROM (SELECT d.event AS event, min(hops) FROM chain \
                 JOIN state_deltas d ON d.state_group = chain.state_group \
                 JOIN events x ON x.event = d.event WHERE {} GROUP BY x.type, x.state_key)) \
             ORDER BY e.position",
            kinds.sql("x")
        );
        self.read(|c| list(c, &sql, [position], keep)).await
    }

    /// The state events of a room that were accepted at positions after `from`, up to and including `to`: for each
    /// type and key the last of them; of these, what to `keep`.
    pub async fn state_changes(
        &self,
        room: &RoomId,
        (from, to): (LogPosition, LogPosition),
        kinds: Kinds,
        keep: impl FnMut(Entry<'_>) -> bool,
    ) -> Result<StateList, StoreError> {
        let sql = format!(
            "SELECT e.event, e.position, e.type, e.state_key, e.sender FROM events e \
             WHERE e.position IN (SELECT max(x.position) FROM events x INDEXED BY events_state_changes \
             WHERE x.room = (SELECT room FROM rooms WHERE room_id = ?1) AND x.standing = 0 \
             AND x.state_key IS NOT NULL AND x.position > ?2 AND x.position <= ?3 AND {} \
             GROUP BY x.type, x.state_key) ORDER BY e.position",
            kinds.sql("x")
        );
        self.read(|c| list(c, &sql, (room.as_str(), from, to), keep)).await
    }

    /// The events of a room that were accepted at positions after `from`, up to and including `to`, by which a member
    /// became something else in it than they were: not those by which they say another name.
    pub async fn membership_changes(
        &self,
        room: &RoomId,
        (from, to): (LogPosition, LogPosition),
    ) -> Result<StateList, StoreError> {
        const SQL: &str = "SELECT e.event, e.position, e.type, e.state_key, e.sender \
            FROM events e INDEXED BY events_state_changes LEFT JOIN events p ON p.event = e.replaces \
            WHERE e.room = (SELECT room FROM rooms WHERE room_id = ?1) AND e.standing = 0 \
            AND e.state_key IS NOT NULL AND e.position > ?2 AND e.position <= ?3 AND e.type = 'm.room.member' \
            AND json_extract(e.pdu, '$.content.membership') IS NOT json_extract(p.pdu, '$.content.membership') \
            ORDER BY e.position";
        self.read(|c| list(c, SQL, (room.as_str(), from, to), |_| true)).await
    }

    /// The next events of a list, which go from it; none: that was all.
    pub async fn next_page(&self, list: &mut StateList) -> Result<Vec<Arc<StoredEvent>>, StoreError> {
        if list.is_empty() {
            return Ok(Vec::new());
        }
        let sql = format!("{} WHERE e.event = ?1", events::SELECT);
        self.read(|c| {
            let mut one = c.prepare_cached(&sql)?;
            let (mut page, mut bytes) = (Vec::new(), 0);
            while page.len() < PAGE && bytes < PAGE_BYTES {
                let Some(number) = list.0.pop_front() else { break };
                let event = one.query_row([number], events::event)?;
                bytes += event.weight();
                page.push(event);
            }
            Ok(page)
        })
        .await
    }

    /// Leaves on a list the events of which `keep` says so. Reads all of them, page by page.
    pub async fn retain_state(
        &self,
        list: &mut StateList,
        keep: impl Fn(&StoredEvent) -> bool,
    ) -> Result<(), StoreError> {
        let (mut numbers, mut kept) = (list.0.clone(), VecDeque::new());
        loop {
            let page = self.next_page(list).await?;
            if page.is_empty() {
                break;
            }
            kept.extend(
                numbers.drain(..page.len()).zip(&page).filter(|(_, event)| keep(event)).map(|(n, _)| n),
            );
        }
        list.0 = kept;
        Ok(())
    }
}

fn list(
    c: &Connection,
    sql: &str,
    parameters: impl Params,
    mut keep: impl FnMut(Entry<'_>) -> bool,
) -> rusqlite::Result<StateList> {
    let mut statement = c.prepare_cached(sql)?;
    let mut rows = statement.query(parameters)?;
    let mut numbers = VecDeque::new();
    while let Some(row) = rows.next()? {
        if keep(entry(row)?) {
            numbers.push_back(row.get(0)?);
        }
    }
    numbers.shrink_to_fit();
    Ok(StateList(numbers))
}

fn entry<'a>(row: &'a Row<'_>) -> rusqlite::Result<Entry<'a>> {
    let text = |index| row.get_ref(index)?.as_str().map_err(rusqlite::Error::from);
    Ok(Entry { position: row.get(1)?, kind: text(2)?, key: text(3)?, sender: text(4)? })
}
