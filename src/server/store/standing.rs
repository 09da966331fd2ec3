//! What a user is in which room, and where rooms end: for lists of rooms in the order of what happened last.

use std::collections::BTreeSet;

use ruma::{OwnedRoomId, OwnedUserId, RoomId, UserId};
use rusqlite::{OptionalExtension, Row};

use super::{database::Store, error::StoreError, events, members};
use crate::server::{change::position::LogPosition, event::stored::Membership};

/// What a user is in one room.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The room.
    pub room_id: OwnedRoomId,
    /// What they are.
    pub membership: Membership,
    /// Where in the log the member event stands that made it so.
    pub position: LogPosition,
    /// Who sent it.
    pub sender: OwnedUserId,
    /// For an invite or knock: the stripped state, a JSON list.
    pub stripped: Option<String>,
}

impl Store {
    /// The rooms that `user` is in or on the way into; and of those that somebody else put them out of, after they were
    /// there, the `max_left` last ones, unless they are forgotten. And, apart, those of `others` that are none of these and that
    /// they are out of.
    pub async fn standings(
        &self,
        user: &UserId,
        max_left: usize,
        others: &[&RoomId],
    ) -> Result<(Vec<Standing>, Vec<Standing>), StoreError> {
        const SELECT: &str = "SELECT r.room_id, m.membership, m.position, e.sender, m.invite_state \
            FROM memberships m JOIN rooms r ON r.room = m.room JOIN events e ON e.event = m.event";
        let present =
            format!("{SELECT} WHERE m.user_id = ?1 AND m.membership IN ('join', 'invite', 'knock')");
        let left = format!(
            "{SELECT} WHERE m.user_id = ?1 AND m.membership IN ('leave', 'ban') AND m.forgotten = 0 \
             AND e.sender <> ?1 AND EXISTS (SELECT 1 FROM state_log s JOIN events j ON j.event = s.event \
             WHERE s.room = m.room AND s.type = 'm.room.member' AND s.state_key = ?1 \
             AND json_extract(j.pdu, '$.content.membership') = 'join') ORDER BY m.position DESC LIMIT ?2"
        );
        let out =
            format!("{SELECT} WHERE m.user_id = ?1 AND m.membership IN ('leave', 'ban') AND r.room_id = ?2");
        let max_left = i64::try_from(max_left).unwrap_or(i64::MAX);
        self.read(|c| {
            let mut rows: Vec<Standing> = c
                .prepare_cached(&present)?
                .query_map([user.as_str()], standing)?
                .collect::<Result<_, _>>()?;
            for row in c.prepare_cached(&left)?.query_map((user.as_str(), max_left), standing)? {
                rows.push(row?);
            }
            let there: BTreeSet<&RoomId> = rows.iter().map(|row| &*row.room_id).collect();
            let mut departed = Vec::new();
            let mut find = c.prepare_cached(&out)?;
            for other in others.iter().filter(|other| !there.contains(*other)) {
                departed.extend(find.query_row((user.as_str(), other.as_str()), standing).optional()?);
            }
            Ok((rows, departed))
        })
        .await
    }

    /// Where in the log the last event of each room stands, in their order; the start: of one without any.
    pub async fn ends(&self, rooms: &[OwnedRoomId]) -> Result<Vec<LogPosition>, StoreError> {
        self.read(|c| {
            let mut last = c.prepare_cached(
                "SELECT max(position) FROM events WHERE room = (SELECT room FROM rooms WHERE room_id = ?1) \
                 AND standing = 0",
            )?;
            let end = |room: &OwnedRoomId| {
                last.query_row([room.as_str()], |row| row.get::<_, Option<LogPosition>>(0))
            };
            rooms.iter().map(end).map(|end| Ok(end?.unwrap_or_default())).collect()
        })
        .await
    }

    /// Where in the log the last event of one of these types stands in a room, up to and including `upto`, of the newest
    /// `looked_at`.
    pub async fn last_of_types(
        &self,
        room: &RoomId,
        upto: LogPosition,
        types: &[&str],
        looked_at: usize,
    ) -> Result<Option<LogPosition>, StoreError> {
        let types = serde_json::to_string(types).map_err(|e| StoreError::Corrupt(e.to_string()))?;
        let looked_at = i64::try_from(looked_at).unwrap_or(i64::MAX);
        self.read(|c| {
            c.prepare_cached(
                "SELECT position FROM (SELECT position, type FROM events \
                   WHERE room = (SELECT room FROM rooms WHERE room_id = ?1) AND standing = 0 AND position <= ?2 \
                   ORDER BY position DESC LIMIT ?4) \
                 WHERE type IN (SELECT value FROM json_each(?3)) ORDER BY position DESC LIMIT 1",
            )?
            .query_row((room.as_str(), upto, types, looked_at), |row| row.get(0))
            .optional()
        })
        .await
    }
}

fn standing(row: &Row<'_>) -> rusqlite::Result<Standing> {
    Ok(Standing {
        room_id: events::parse(0, row.get_ref(0)?.as_str()?)?,
        membership: members::word(row, 1)?,
        position: row.get(2)?,
        sender: events::parse(3, row.get_ref(3)?.as_str()?)?,
        stripped: row.get(4)?,
    })
}
