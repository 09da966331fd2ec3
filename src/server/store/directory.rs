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
