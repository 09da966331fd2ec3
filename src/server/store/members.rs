//! Who is what in which room, and the names that member events carry.

use std::sync::Arc;

use ruma::{OwnedRoomId, OwnedUserId, RoomId, ServerName, UserId};
use rusqlite::{Connection, OptionalExtension, Row};

use super::{database::Store, error::StoreError, events};
use crate::server::{
    change::{
        feed::Change,
        position::{LogPosition, TimelinePosition},
    },
    event::stored::Membership,
    profile::Profile,
};

/// What the user `?2` was in the room `?1` up to the position `?3`, and from where on: `own (position, membership)`.
const HISTORY: &str = "WITH own AS MATERIALIZED (SELECT s.position AS position, \
    coalesce(json_extract(e.pdu, '$.content.membership'), 'leave') AS membership \
    FROM state_log s LEFT JOIN events e ON e.event = s.event \
    WHERE s.room = (SELECT room FROM rooms WHERE room_id = ?1) AND s.type = 'm.room.member' \
    AND s.state_key = ?2 AND s.position <= ?3)";

/// One user's current relation to one room.
#[derive(Clone, Debug)]
pub struct MembershipRow {
    /// The room.
    pub room_id: OwnedRoomId,
    /// What the user is in it.
    pub membership: Membership,
    /// Where in the log it came to be so.
    pub position: LogPosition,
    /// Where in the room's timeline.
    pub timeline: TimelinePosition,
    /// Whether the user asked to forget the room after leaving it.
    pub forgotten: bool,
    /// For an invite or knock: the stripped state to show, a JSON list, without the member event itself.
    pub invite_state: Option<String>,
}

/// What a user was in a room, in short.
#[derive(Clone, Copy, Debug)]
pub struct Past {
    /// Where in the log they became something in it first.
    pub began: LogPosition,
    /// Where in the log their last stay ended; `None`: there was none, or it had not ended.
    pub last_ended: Option<LogPosition>,
    /// After it they were invited, or knocked.
    pub on_the_way_since: bool,
    /// They left it, or an invite or a knock came to nothing, or they were banned.
    pub was_outside: bool,
}

impl Store {
    /// Every room that `user` is or was something in, forgotten ones too.
    pub async fn memberships(&self, user: &UserId) -> Result<Vec<MembershipRow>, StoreError> {
        self.read(|c| {
            c.prepare_cached(
                "SELECT r.room_id, m.membership, m.position, m.forgotten, m.invite_state \
                 FROM memberships m JOIN rooms r ON r.room = m.room WHERE m.user_id = ?1 ORDER BY m.position",
            )?
            .query_map([user.as_str()], membership)?
            .collect()
        })
        .await
    }

    /// How many state events the rooms have that `user` is in; more than `max` are not counted.
    pub async fn state_events_of(&self, user: &UserId, max: u32) -> Result<u32, StoreError> {
        self.read(|c| {
            c.prepare_cached(
                "SELECT count(*) FROM (SELECT 1 FROM memberships m JOIN current_state s ON s.room = m.room \
                 WHERE m.user_id = ?1 AND m.membership = 'join' LIMIT ?2)",
            )?
            .query_row((user.as_str(), max), |row| row.get(0))
        })
        .await
    }

    /// What `user` is in one room; `None`: never was anything.
    pub async fn membership(
        &self,
        user: &UserId,
        room: &RoomId,
    ) -> Result<Option<MembershipRow>, StoreError> {
        self.read(|c| membership_in(c, user, room)).await
    }

    /// Up to `limit` of the users of `server` who are or were something in a room, in order of their IDs.
    pub async fn users_of_server(
        &self,
        room: &RoomId,
        server: &ServerName,
        limit: usize,
    ) -> Result<Vec<OwnedUserId>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.read(|c| {
            c.prepare_cached(
                "SELECT user_id FROM memberships WHERE room = (SELECT room FROM rooms WHERE room_id = ?1) \
                 AND substr(user_id, instr(user_id, ':') + 1) = ?2 ORDER BY user_id LIMIT ?3",
            )?
            .query_map((room.as_str(), server.as_str(), limit), |row| {
                events::parse(0, row.get_ref(0)?.as_str()?)
            })?
            .collect()
        })
        .await
    }

    /// What `user` is called and looks like in the room that they joined last of those that they share with `reader`.
    pub async fn profile_in_rooms(
        &self,
        reader: &UserId,
        user: &UserId,
    ) -> Result<Option<Profile>, StoreError> {
        self.read(|c| {
            c.prepare_cached(
                "SELECT json_extract(e.pdu, '$.content.displayname'), json_extract(e.pdu, '$.content.avatar_url') \
                 FROM memberships m JOIN events e ON e.event = m.event WHERE m.user_id = ?1 AND m.membership = 'join' \
                 AND EXISTS (SELECT 1 FROM memberships o WHERE o.user_id = ?2 AND o.room = m.room AND o.membership = 'join') \
                 ORDER BY m.position DESC LIMIT 1",
            )?
            .query_row((user.as_str(), reader.as_str()), |row| {
                let text = |at| row.get_ref(at).map(|value| value.as_str().ok().map(str::to_owned));
                Ok(Profile { displayname: text(0)?, avatar_url: text(1)? })
            })
            .optional()
        })
        .await
    }

    /// Up to `limit` of those who are banned from a room, whoever was banned last first.
    pub async fn banned(&self, room: &RoomId, limit: usize) -> Result<Vec<OwnedUserId>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.read(|c| {
            c.prepare_cached(
                "SELECT user_id FROM memberships WHERE room = (SELECT room FROM rooms WHERE room_id = ?1) \
                 AND membership = 'ban' ORDER BY event DESC LIMIT ?2",
            )?
            .query_map((room.as_str(), limit), |row| events::parse(0, row.get_ref(0)?.as_str()?))?
            .collect()
        })
        .await
    }

    /// Where in the timeline `user` was last said to be in a room; `None`: they never were.
    pub async fn last_join(
        &self,
        user: &UserId,
        room: &RoomId,
    ) -> Result<Option<TimelinePosition>, StoreError> {
        let sql = format!("{HISTORY} SELECT max(position) FROM own WHERE membership = 'join'");
        let last: Option<LogPosition> = self
            .read(|c| {
                c.prepare_cached(&sql)?
                    .query_row((room.as_str(), user.as_str(), LogPosition::END), |row| row.get(0))
            })
            .await?;
        Ok(last.map(TimelinePosition::live))
    }

    /// Where in the log the stay of `user` in a room began, of those that they are in or were in last; `None`: they never
    /// were.
    pub async fn stay_began(&self, user: &UserId, room: &RoomId) -> Result<Option<LogPosition>, StoreError> {
        let sql = format!(
            "{HISTORY} SELECT min(position) FROM own WHERE membership = 'join' AND position > \
             coalesce((SELECT max(position) FROM own WHERE membership <> 'join' AND position < \
             (SELECT max(position) FROM own WHERE membership = 'join')), 0)"
        );
        self.read(|c| {
            c.prepare_cached(&sql)?
                .query_row((room.as_str(), user.as_str(), LogPosition::END), |row| row.get(0))
        })
        .await
    }

    /// What `user` had been in a room at `until`, a place of its timeline; `None`: nothing.
    pub async fn past(
        &self,
        user: &UserId,
        room: &RoomId,
        until: TimelinePosition,
    ) -> Result<Option<Past>, StoreError> {
        let sql = format!(
            "{HISTORY}, last AS MATERIALIZED (SELECT max(position) AS position FROM own WHERE membership = 'join') \
             SELECT (SELECT min(position) FROM own), \
             (SELECT min(position) FROM own WHERE position > (SELECT position FROM last)), \
             EXISTS (SELECT 1 FROM own WHERE position > (SELECT position FROM last) \
               AND membership IN ('invite', 'knock')), \
             EXISTS (SELECT 1 FROM own WHERE membership IN ('leave', 'ban'))"
        );
        self.read(|c| {
            let bound = (room.as_str(), user.as_str(), until.last_live());
            c.prepare_cached(&sql)?.query_row(bound, |row| {
                let began: Option<LogPosition> = row.get(0)?;
                let (last_ended, on_the_way_since, was_outside) = (row.get(1)?, row.get(2)?, row.get(3)?);
                Ok(began.map(|began| Past { began, last_ended, on_the_way_since, was_outside }))
            })
        })
        .await
    }

    /// Up to `limit` of those who are one of `memberships` in a room, in the order in which they became so.
    pub async fn first_members(
        &self,
        room: &RoomId,
        memberships: [Membership; 2],
        limit: usize,
    ) -> Result<Arc<[OwnedUserId]>, StoreError> {
        let position = self.log_position();
        let name = (room.to_owned(), memberships, limit);
        if let Some(known) = self.recent_members.find(&name, position) {
            return Ok(known);
        }
        let [one, other] = memberships.map(Membership::as_str);
        let rows = i64::try_from(limit).unwrap_or(i64::MAX);
        let found: Arc<[OwnedUserId]> = self
            .read(|c| {
                c.prepare_cached(
                    "SELECT user_id FROM memberships WHERE room = (SELECT room FROM rooms WHERE room_id = ?1) \
                     AND membership IN (?2, ?3) ORDER BY event LIMIT ?4",
                )?
                .query_map((room.as_str(), one, other, rows), |row| {
                    events::parse(0, row.get_ref(0)?.as_str()?)
                })?
                .collect()
            })
            .await?;
        self.recent_members.keep(name, position, Arc::clone(&found));
        Ok(found)
    }

    /// Everybody who is in a room or on the way in, since when, and by whom, for filling the memory at start.
    pub async fn present_members(
        &self,
        mut each: impl FnMut(OwnedUserId, OwnedRoomId, (Membership, LogPosition), OwnedUserId),
    ) -> Result<(), StoreError> {
        self.read(|c| {
            let mut statement = c.prepare(
                "SELECT m.user_id, r.room_id, m.membership, e.sender, m.position FROM memberships m \
                 JOIN rooms r ON r.room = m.room JOIN events e ON e.event = m.event WHERE m.membership IN ('join', 'invite', 'knock')",
            )?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let user = events::parse(0, row.get_ref(0)?.as_str()?)?;
                let room = events::parse(1, row.get_ref(1)?.as_str()?)?;
                let by = events::parse(3, row.get_ref(3)?.as_str()?)?;
                each(user, room, (word(row, 2)?, row.get(4)?), by);
            }
            Ok(())
        }).await
    }

    /// Takes a room that `user` left off their lists. False: the user is still something in it.
    pub async fn forget_room(&self, user: &UserId, room: &RoomId) -> Result<bool, StoreError> {
        let (user, room) = (user.to_owned(), room.to_owned());
        self.write(move |tx| {
            let forgotten = tx
                .prepare_cached(
                    "UPDATE memberships SET forgotten = 1 WHERE user_id = ?1 AND membership IN ('leave', 'ban') \
                     AND room = (SELECT room FROM rooms WHERE room_id = ?2)",
                )?
                .execute((user.as_str(), room.as_str()))?;
            if forgotten > 0 {
                tx.tell(Change::Forgotten { user });
            }
            Ok(forgotten > 0)
        })
        .await
    }
}

/// What `user` is in one room, see [`Store::membership`]; for reading inside a write.
pub(super) fn membership_in(
    c: &Connection,
    user: &UserId,
    room: &RoomId,
) -> rusqlite::Result<Option<MembershipRow>> {
    c.prepare_cached(
        "SELECT r.room_id, m.membership, m.position, m.forgotten, m.invite_state \
         FROM memberships m JOIN rooms r ON r.room = m.room WHERE m.user_id = ?1 AND r.room_id = ?2",
    )?
    .query_row([user.as_str(), room.as_str()], membership)
    .optional()
}

fn membership(row: &Row<'_>) -> rusqlite::Result<MembershipRow> {
    Ok(MembershipRow {
        room_id: events::parse(0, row.get_ref(0)?.as_str()?)?,
        membership: word(row, 1)?,
        position: row.get(2)?,
        timeline: TimelinePosition::live(row.get(2)?),
        forgotten: row.get(3)?,
        invite_state: row.get(4)?,
    })
}

/// The membership in a column.
pub(super) fn word(row: &Row<'_>, column: usize) -> rusqlite::Result<Membership> {
    let word = row.get_ref(column)?.as_str()?;
    Membership::parse(word).ok_or_else(|| {
        rusqlite::Error::FromSqlConversionFailure(
            column,
            rusqlite::types::Type::Text,
            format!("no membership: {word}").into(),
        )
    })
}
