//! Room aliases and the public directory.

use std::sync::Arc;

use ruma::{OwnedRoomAliasId, OwnedRoomId, OwnedUserId, RoomAliasId, RoomId};
use rusqlite::{Connection, OptionalExtension};

use super::{database::Store, error::StoreError, events};
use crate::server::event::stored::StoredEvent;

/// Where an alias leads, and who made it.
#[derive(Clone, Debug, Eq, PartialEq)]
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

    /// The rooms that the public directory lists.
    pub async fn listed_rooms(&self) -> Result<Vec<OwnedRoomId>, StoreError> {
        self.read(|c| {
            c.prepare_cached("SELECT room_id FROM rooms WHERE listed = 1 ORDER BY room_id")?
                .query_map([], |row| events::parse(0, row.get_ref(0)?.as_str()?))?
                .collect()
        })
        .await
    }

    /// The state without a key of these types (name, topic, …) in one room.
    pub async fn keyless_state(
        &self,
        room: &RoomId,
        kinds: &[&str],
    ) -> Result<Vec<Arc<StoredEvent>>, StoreError> {
        let kinds = serde_json::to_string(kinds).map_err(|e| StoreError::Corrupt(e.to_string()))?;
        let sql = format!(
            "{} WHERE e.event IN (SELECT event FROM current_state WHERE room = (SELECT room FROM rooms \
             WHERE room_id = ?1) AND state_key = '' AND type IN (SELECT value FROM json_each(?2)))",
            events::SELECT
        );
        self.read(|c| c.prepare_cached(&sql)?.query_map((room.as_str(), kinds), events::event)?.collect())
            .await
    }
}

/// Where an alias leads; for reading inside a write.
pub(super) fn find(c: &Connection, alias: &RoomAliasId) -> rusqlite::Result<Option<AliasRow>> {
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
