//! Lists of state events: what a state consists of, read without the events, which are read in pages afterwards.
//!
//! A list takes some bytes for an event, whatever its size. State groups never change and events keep their numbers, so
//! what is read in pages is one state, whatever happens meanwhile; only a redaction shows as soon as it is there.

use std::{collections::VecDeque, sync::Arc};

use ruma::RoomId;
use rusqlite::{Connection, OptionalExtension, Params, Row};

use super::{database::Store, error::StoreError, events, groups};
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
        self.read(|c| list(c, &whole(side, kinds), [position], keep)).await
    }

    /// The state event of one type and key on one side of the event that stands at `position` of the log.
    pub async fn state_event_around(
        &self,
        position: LogPosition,
        side: Side,
        kind: &str,
        key: &str,
    ) -> Result<Option<Arc<StoredEvent>>, StoreError> {
        let group = match side {
            Side::Before => "SELECT room, state_before FROM events WHERE position = ?1",
            Side::After => "SELECT room, state_after FROM events WHERE position = ?1",
        };
        let sql = format!("{} WHERE e.event = ?1", events::SELECT);
        self.read(|c| {
            let at = c.prepare_cached(group)?.query_row([position], |row| Ok((row.get(0)?, row.get(1)?)));
            let Some((room, Some(group))) = at.optional()? else { return Ok(None) };
            let Some(number) = groups::find(c, (room, group), kind, key)? else { return Ok(None) };
            c.prepare_cached(&sql)?.query_row([number], events::event).optional()
        })
        .await
    }

    /// What became a room's state at positions after `from`, up to and including `to`: for each type and key the last
    /// event; of these, what to `keep`.
    pub async fn state_changes(
        &self,
        room: &RoomId,
        (from, to): (LogPosition, LogPosition),
        kinds: Kinds,
        keep: impl FnMut(Entry<'_>) -> bool,
    ) -> Result<StateList, StoreError> {
        let sql = format!(
            "SELECT e.event, s.position, e.type, e.state_key, e.sender FROM (\
               SELECT x.event AS event, max(x.position) AS position FROM state_log x INDEXED BY state_log_changes \
               WHERE x.room = (SELECT room FROM rooms WHERE room_id = ?1) \
               AND x.position > ?2 AND x.position <= ?3 AND {} GROUP BY x.type, x.state_key) s \
             JOIN events e ON e.event = s.event ORDER BY s.position",
            kinds.sql("x")
        );
        self.read(|c| list(c, &sql, (room.as_str(), from, to), keep)).await
    }

    /// The last position after `from`, up to and including `to`, at which a room's state became something that no event of
    /// its timeline says there, as forks met; `None`: there was none.
    pub async fn last_restored(
        &self,
        room: &RoomId,
        (from, to): (LogPosition, LogPosition),
    ) -> Result<Option<LogPosition>, StoreError> {
        const SQL: &str = "SELECT s.position FROM state_log s INDEXED BY state_log_changes \
            LEFT JOIN events e ON e.event = s.event WHERE s.room = (SELECT room FROM rooms WHERE room_id = ?1) \
            AND s.position > ?2 AND s.position <= ?3 AND (e.position IS NOT s.position OR e.timeline IS NULL) \
            ORDER BY s.position DESC LIMIT 1";
        self.read(|c| {
            c.prepare_cached(SQL)?.query_row((room.as_str(), from, to), |row| row.get(0)).optional()
        })
        .await
    }

    /// The events by which, at positions after `from`, up to and including `to`, a member of a room became something else
    /// in it than they were: not those by which they say another name.
    pub async fn membership_changes(
        &self,
        room: &RoomId,
        (from, to): (LogPosition, LogPosition),
    ) -> Result<StateList, StoreError> {
        const SQL: &str = "SELECT e.event, s.position, e.type, e.state_key, e.sender \
            FROM state_log s INDEXED BY state_log_changes JOIN events e ON e.event = s.event \
            LEFT JOIN events p ON p.event = (SELECT b.event FROM state_log b WHERE b.room = s.room \
              AND b.type = s.type AND b.state_key = s.state_key AND b.position < s.position \
              ORDER BY b.position DESC LIMIT 1) \
            WHERE s.room = (SELECT room FROM rooms WHERE room_id = ?1) AND s.type = 'm.room.member' \
            AND s.position > ?2 AND s.position <= ?3 \
            AND json_extract(e.pdu, '$.content.membership') IS NOT json_extract(p.pdu, '$.content.membership') \
            ORDER BY s.position";
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

/// The state on one side of the event at `?1`: of each type and key what stands nearest to it on the way back through the groups.
/// From the groups to what they change, and not the other way round: of all rooms there is so much more of that.
fn whole(side: Side, kinds: Kinds) -> String {
    let group = match side {
        Side::Before => "state_before",
        Side::After => "state_after",
    };
    format!(
        "SELECT e.event, e.position, e.type, e.state_key, e.sender FROM events e WHERE e.event IN (\
           WITH RECURSIVE chain (state_group, previous, hops) AS (\
             SELECT g.state_group, g.previous, 0 FROM state_groups g \
             JOIN events at ON at.{group} = g.state_group WHERE at.position = ?1 \
             UNION ALL SELECT g.state_group, g.previous, hops + 1 FROM chain \
             CROSS JOIN state_groups g ON g.state_group = chain.previous) \
           SELECT event FROM (SELECT d.event AS event, min(hops) FROM chain \
             CROSS JOIN state_deltas d ON d.state_group = chain.state_group \
             CROSS JOIN events x ON x.event = d.event WHERE {} GROUP BY x.type, x.state_key)) \
         ORDER BY e.position",
        kinds.sql("x")
    )
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::store::schema;

    #[test]
    fn what_a_state_was_is_found_without_a_look_at_the_states_of_other_rooms() {
        let empty = Connection::open_in_memory().expect("opens");
        schema::make(&empty, schema::KNOWN).expect("is made");
        for side in [Side::Before, Side::After] {
            for kinds in [Kinds::All, Kinds::Members, Kinds::AllButMembers] {
                let sql = format!("EXPLAIN QUERY PLAN {}", whole(side, kinds));
                let mut plan = empty.prepare(&sql).expect("is a query");
                let steps: Vec<String> = plan
                    .query_map([1], |row| row.get(3))
                    .expect("can be planned")
                    .collect::<rusqlite::Result<_>>()
                    .expect("are words");
                let scans = steps.iter().filter(|step| step.starts_with("SCAN"));
                let own = |step: &&String| *step == "SCAN chain" || step.starts_with("SCAN (subquery");
                assert!(scans.clone().all(|step| own(&step)), "{side:?} {kinds:?}: {steps:#?}");
                assert!(
                    scans.count() > 0 && steps.iter().all(|step| !step.contains("AUTOMATIC")),
                    "{steps:#?}"
                );
            }
        }
    }
}
