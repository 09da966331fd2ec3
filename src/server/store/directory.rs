//! Room aliases and the public directory.

use std::sync::Arc;

use ruma::{OwnedRoomAliasId, OwnedRoomId, OwnedUserId, RoomAliasId, RoomId, UserId};
use rusqlite::{Connection, OptionalExtension};

use super::{
    database::Store,
    error::StoreError,
    events,
    rooms::{RoomRow, RoomWrite},
};
use crate::server::event::stored::StoredEvent;

/// Where an alias leads, and who made it.
#[derive(Clone, Debug)]
pub struct AliasRow {
    /// The room.
    pub room_id: OwnedRoomId,
    /// Who may take it away again.
    pub creator: OwnedUserId,
}

impl Store {
    /// Where an alias leads.
    pub async fn alias(&self, alias: &RoomAliasId) -> Result<Option<AliasRow>, StoreError> {
        self.read(|c| find(c, alias)).await
    }

    /// The aliases of a room, in order.
    pub async fn aliases(&self, room: &RoomId) -> Result<Vec<OwnedRoomAliasId>, StoreError> {
        self.read(|c| {
            c.prepare_cached(
                "SELECT a.alias FROM aliases a JOIN rooms r ON r.room = a.room WHERE r.room_id = ?1 ORDER BY a.alias",
            )?
            .query_map([room.as_str()], |row| events::parse(0, row.get_ref(0)?.as_str()?))?
            .collect()
        }).await
    }

    /// The state without a key (name, topic, …) of every room that the public directory lists, room by
    /// room: what the directory shows of them.
    pub async fn listed_state(&self, kinds: &[&str]) -> Result<Vec<Arc<StoredEvent>>, StoreError> {
        let kinds = serde_json::to_string(kinds).map_err(|e| StoreError::Corrupt(e.to_string()))?;
        let sql = format!(
            "{} WHERE e.event IN (SELECT s.event FROM rooms l CROSS JOIN current_state s \
             ON s.room = l.room WHERE l.listed = 1 AND s.state_key = '' \
             AND s.type IN (SELECT value FROM json_each(?1))) ORDER BY e.room",
            events::SELECT
        );
        self.read(|c| c.prepare_cached(&sql)?.query_map([kinds], events::event)?.collect()).await
    }
}

impl RoomWrite<'_> {
    /// Where an alias leads.
    pub fn alias(&self, alias: &RoomAliasId) -> Result<Option<AliasRow>, StoreError> {
        Ok(find(self.connection, alias)?)
    }

    /// Makes an alias. False: it is taken.
    pub fn add_alias(
        &self,
        alias: &RoomAliasId,
        room: &RoomRow,
        creator: &UserId,
    ) -> Result<bool, StoreError> {
        let added = self
            .connection
            .prepare_cached("INSERT INTO aliases VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING")?
            .execute((alias.as_str(), room.number, creator.as_str()))?;
        Ok(added > 0)
    }

    /// Takes an alias away.
    pub fn remove_alias(&self, alias: &RoomAliasId) -> Result<(), StoreError> {
        self.connection.prepare_cached("DELETE FROM aliases WHERE alias = ?1")?.execute([alias.as_str()])?;
        Ok(())
    }

    /// Lets every alias of one room lead to another.
    pub fn move_aliases(&self, from: &RoomRow, to: &RoomRow) -> Result<(), StoreError> {
        self.connection
            .prepare_cached("UPDATE aliases SET room = ?2 WHERE room = ?1")?
            .execute((from.number, to.number))?;
        Ok(())
    }

    /// Puts a room into the public directory, or takes it out.
    pub fn set_listed(&self, room: &RoomRow, listed: bool) -> Result<(), StoreError> {
        self.connection
            .prepare_cached("UPDATE rooms SET listed = ?2 WHERE room = ?1")?
            .execute((room.number, listed))?;
        Ok(())
    }
}

fn find(c: &Connection, alias: &RoomAliasId) -> rusqlite::Result<Option<AliasRow>> {
    c.prepare_cached(
        "SELECT r.room_id, a.creator FROM aliases a JOIN rooms r ON r.room = a.room WHERE a.alias = ?1",
    )?
    .query_row([alias.as_str()], |row| {
        Ok(AliasRow {
            room_id: events::parse(0, row.get_ref(0)?.as_str()?)?,
            creator: events::parse(1, row.get_ref(1)?.as_str()?)?,
        })
    })
    .optional()
}
