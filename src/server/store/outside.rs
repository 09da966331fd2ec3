//! What was said of a user's membership in rooms that are not here: it stays on the disk, and others say it.

use ruma::{RoomId, ServerName, UserId};

use super::{database::Store, error::StoreError};

impl Store {
    /// How often somebody's membership in a room became another.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn count_memberships_said(&self, room: &RoomId, user: &UserId) -> Result<usize, StoreError> {
        self.read(|c| {
            c.prepare_cached(
                "SELECT count(*) FROM state_log WHERE room = (SELECT room FROM rooms WHERE room_id = ?1) \
                 AND type = 'm.room.member' AND state_key = ?2",
            )?
            .query_row((room.as_str(), user.as_str()), |row| row.get::<_, i64>(0))
        })
        .await
        .map(|count| usize::try_from(count).unwrap_or(0))
    }

    /// In how many rooms that are not here users of `server` put `user` out.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn count_put_out_by(&self, server: &ServerName, user: &UserId) -> Result<usize, StoreError> {
        let by = format!(":{server}");
        self.read(|c| {
            c.prepare_cached(
                "SELECT count(*) FROM memberships m JOIN rooms r ON r.room = m.room JOIN events e ON e.event = m.event \
                 WHERE m.user_id = ?1 AND m.membership IN ('leave', 'ban') AND r.state_group IS NULL \
                 AND substr(e.sender, instr(e.sender, ':')) = ?2",
            )?
            .query_row((user.as_str(), &by), |row| row.get::<_, i64>(0))
        })
        .await
        .map(|count| usize::try_from(count).unwrap_or(0))
    }
}
