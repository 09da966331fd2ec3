//! In which rooms somebody typed.

use ruma::{OwnedRoomId, RoomId};

use super::{database::Store, error::StoreError, events};
use crate::core::time::UnixMillis;

impl Store {
    /// Keeps that somebody types in a room.
    pub async fn mark_typing(&self, room: &RoomId, now: UnixMillis) -> Result<(), StoreError> {
        let (room, now) = (room.to_owned(), now.0.cast_signed());
        self.write(move |c| {
            c.prepare_cached("INSERT OR REPLACE INTO typing VALUES (?1, ?2)")?
                .execute((room.as_str(), now))?;
            Ok(())
        })
        .await
    }

    /// The rooms that were marked since then.
    pub async fn typing_marks(&self, since: UnixMillis) -> Result<Vec<OwnedRoomId>, StoreError> {
        self.read(|c| {
            c.prepare_cached("SELECT room_id FROM typing WHERE marked_ms >= ?1")?
                .query_map([since.0.cast_signed()], |row| events::parse(0, row.get_ref(0)?.as_str()?))?
                .collect()
        })
        .await
    }
}
