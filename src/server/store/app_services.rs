//! What application services were told, and are being told.

use std::{collections::BTreeSet, sync::Arc};

use ruma::{OwnedRoomId, ServerName};
use rusqlite::{Connection, OptionalExtension};

use super::{database::Store, error::StoreError, events};
use crate::server::{change::position::LogPosition, event::stored::StoredEvent};

/// How far an application service was told.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ServiceProgress {
    /// Everything up to here is in a transaction, or is nothing to it.
    pub position: LogPosition,
    /// The number of the transaction that was made last.
    pub last: u64,
    /// Its body, if it was not acknowledged.
    pub waiting: Option<String>,
    /// The rooms that it is told of.
    pub rooms: BTreeSet<OwnedRoomId>,
}

/// A transaction that is made, with what it changes.
#[derive(Clone, Debug)]
pub struct NewTransaction {
    /// Its number.
    pub number: u64,
    /// Its body.
    pub body: String,
    /// Up to where in the log it tells.
    pub upto: LogPosition,
    /// The rooms that the application service is told of from here on.
    pub began: Vec<OwnedRoomId>,
    /// Those that it is not told of any longer.
    pub ended: Vec<OwnedRoomId>,
}

impl Store {
    /// How far the application service `id` was told; `None`: it is new.
    pub async fn service_progress(&self, id: &str) -> Result<Option<ServiceProgress>, StoreError> {
        self.read(|c| {
            let row = c
                .prepare_cached("SELECT position, last, waiting FROM app_services WHERE id = ?1")?
                .query_row([id], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?, row.get(2)?)))
                .optional()?;
            let Some((position, last, waiting)) = row else { return Ok(None) };
            let rooms = c
                .prepare_cached("SELECT room_id FROM app_service_rooms WHERE id = ?1")?
                .query_map([id], |row| events::parse(0, row.get_ref(0)?.as_str()?))?
                .collect::<Result<_, _>>()?;
            Ok(Some(ServiceProgress { position, last: last.cast_unsigned(), waiting, rooms }))
        })
        .await
    }

    /// Everything up to `position` is nothing to the application service. One that is new begins there.
    pub async fn pass_service(&self, id: &str, position: LogPosition) -> Result<(), StoreError> {
        let id = id.to_owned();
        self.write(move |c| {
            c.prepare_cached(
                "INSERT INTO app_services VALUES (?1, ?2, 0, NULL) ON CONFLICT DO UPDATE SET position = ?2",
            )?
            .execute((&id, position))?;
            Ok(())
        })
        .await
    }

    /// Keeps a transaction until it is acknowledged.
    pub async fn put_transaction(&self, id: &str, new: NewTransaction) -> Result<(), StoreError> {
        let id = id.to_owned();
        self.write(move |c| {
            c.prepare_cached("UPDATE app_services SET position = ?2, last = ?3, waiting = ?4 WHERE id = ?1")?
                .execute((&id, new.upto, new.number.cast_signed(), &new.body))?;
            change_rooms(c, &id, "INSERT OR IGNORE INTO app_service_rooms VALUES (?1, ?2)", &new.began)?;
            change_rooms(c, &id, "DELETE FROM app_service_rooms WHERE id = ?1 AND room_id = ?2", &new.ended)?;
            Ok(())
        })
        .await
    }

    /// The transaction that was made last was acknowledged.
    pub async fn acknowledge_transaction(&self, id: &str) -> Result<(), StoreError> {
        let id = id.to_owned();
        self.write(move |c| {
            c.prepare_cached("UPDATE app_services SET waiting = NULL WHERE id = ?1")?.execute([&id])?;
            Ok(())
        })
        .await
    }

    /// The first `limit` accepted events that are shown of all rooms after `from`, up to and including `to`, in the order of the log.
    pub async fn events_since(
        &self,
        from: LogPosition,
        to: LogPosition,
        limit: usize,
    ) -> Result<Vec<Arc<StoredEvent>>, StoreError> {
        if let Some(mut recent) = self.recent_events(from, |event| event.position <= to && !event.is_hidden())
        {
            recent.truncate(limit);
            return Ok(recent);
        }
        let sql = format!(
            "{} WHERE e.position > ?1 AND e.position <= ?2 AND e.standing = 0 AND NOT e.hidden \
             ORDER BY e.position LIMIT ?3",
            events::SELECT
        );
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.read(|c| c.prepare_cached(&sql)?.query_map((from, to, limit), events::event)?.collect()).await
    }

    /// All accepted member events after a position of the log, in its order.
    pub async fn member_events_since(&self, from: LogPosition) -> Result<Vec<Arc<StoredEvent>>, StoreError> {
        let sql = format!(
            "{} WHERE e.position > ?1 AND e.standing = 0 AND e.type = 'm.room.member' \
             AND e.state_key IS NOT NULL ORDER BY e.position",
            events::SELECT
        );
        self.read(|c| c.prepare_cached(&sql)?.query_map([from], events::event)?.collect()).await
    }

    /// What users of a server came to be, between two places of the log, in rooms that are not here: invited by users of
    /// other servers, for one. The first up to `limit`, in the order of the log.
    pub async fn outside_since(
        &self,
        server: &ServerName,
        from: LogPosition,
        upto: LogPosition,
        limit: usize,
    ) -> Result<Vec<Arc<StoredEvent>>, StoreError> {
        let sql = format!(
            "{} WHERE e.standing = 1 AND e.type = 'm.room.member' AND e.position > ?1 AND e.position <= ?2 \
             AND substr(e.state_key, -length(?3)) = ?3 \
             AND json_extract(e.pdu, '$.content.membership') <> 'join' ORDER BY e.position LIMIT ?4",
            events::SELECT
        );
        let (of_server, limit) = (format!(":{server}"), i64::try_from(limit).unwrap_or(i64::MAX));
        self.read(|c| {
            c.prepare_cached(&sql)?.query_map((from, upto, of_server, limit), events::event)?.collect()
        })
        .await
    }

    /// Every room, with its aliases.
    pub async fn rooms_and_aliases(&self) -> Result<Vec<(OwnedRoomId, Option<String>)>, StoreError> {
        self.read(|c| {
            c.prepare_cached("SELECT r.room_id, a.alias FROM rooms r LEFT JOIN aliases a ON a.room = r.room")?
                .query_map([], |row| Ok((events::parse(0, row.get_ref(0)?.as_str()?)?, row.get(1)?)))?
                .collect()
        })
        .await
    }
}

fn change_rooms(c: &Connection, id: &str, sql: &str, rooms: &[OwnedRoomId]) -> rusqlite::Result<()> {
    let mut change = c.prepare_cached(sql)?;
    rooms.iter().try_for_each(|room| change.execute((id, room.as_str())).map(drop))
}
