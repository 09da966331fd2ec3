//! Rooms: their rows, and the events that the next one follows.

use ruma::{OwnedEventId, OwnedRoomId, RoomId, RoomVersionId};
use rusqlite::OptionalExtension;

use super::{database::Store, error::StoreError, events};

/// A room as the tables know it.
#[derive(Clone, Debug)]
pub struct RoomRow {
    /// Its ID.
    pub room_id: OwnedRoomId,
    /// Its version.
    pub version: RoomVersionId,
    /// Whether the public directory lists it.
    pub listed: bool,
}

/// An event that no other event follows yet.
#[derive(Clone, Debug)]
pub struct Extremity {
    /// Its ID.
    pub event_id: OwnedEventId,
    /// Its depth.
    pub depth: u64,
}

impl Store {
    /// The room of this ID; not one that is only being fetched from another server.
    pub async fn room(&self, room_id: &RoomId) -> Result<Option<RoomRow>, StoreError> {
        self.read(|c| {
            c.prepare_cached(
                "SELECT version, listed FROM rooms WHERE room_id = ?1 AND state_group IS NOT NULL",
            )?
            .query_row([room_id.as_str()], |row| {
                Ok(RoomRow {
                    room_id: room_id.to_owned(),
                    version: events::parse(0, row.get_ref(0)?.as_str()?)?,
                    listed: row.get(1)?,
                })
            })
            .optional()
        })
        .await
    }

    /// The version of a room, also of one that is not here.
    pub async fn version_of(&self, room: &RoomId) -> Result<Option<RoomVersionId>, StoreError> {
        self.read(|c| {
            c.prepare_cached("SELECT version FROM rooms WHERE room_id = ?1")?
                .query_row([room.as_str()], |row| events::parse(0, row.get_ref(0)?.as_str()?))
                .optional()
        })
        .await
    }

    /// The events that the next event of a room follows, deepest first.
    pub async fn extremities(&self, room_id: &RoomId) -> Result<Vec<Extremity>, StoreError> {
        self.read(|c| {
            c.prepare_cached(
                "SELECT e.event_id, e.depth FROM forward_extremities f JOIN events e ON e.event = f.event \
                 WHERE f.room = (SELECT room FROM rooms WHERE room_id = ?1) ORDER BY e.depth DESC, e.event DESC",
            )?
            .query_map([room_id.as_str()], |row| {
                Ok(Extremity {
                    event_id: events::parse(0, row.get_ref(0)?.as_str()?)?,
                    depth: row.get::<_, i64>(1)?.cast_unsigned(),
                })
            })?
            .collect()
        })
        .await
    }
}
