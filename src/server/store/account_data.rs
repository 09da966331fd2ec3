//! What users keep with their account, for all rooms or for one.

use std::collections::BTreeSet;

use ruma::{OwnedRoomId, OwnedUserId, RoomId, UserId};
use rusqlite::{Connection, OptionalExtension, params};

use super::{database::Store, error::StoreError, events, log::advance, tx::Tx};
use crate::server::{
    change::{feed::Change, position::LogPosition},
    list::{IGNORED_USERS, ignored_users},
};

/// Bytes of one piece, at most.
pub const MAX_ACCOUNT_DATA: usize = 64 * 1024;

/// Bytes of all pieces of a user together, at most.
pub const MAX_ACCOUNT_DATA_TOTAL: usize = 4 * 1024 * 1024;

/// Pieces of one user, at most.
pub const MAX_ACCOUNT_DATA_PIECES: u32 = 5_000;

/// Which piece.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AccountDataKey {
    /// Whose.
    pub user: OwnedUserId,
    /// `None`: for all rooms.
    pub room: Option<OwnedRoomId>,
    /// The type, such as `m.direct`.
    pub kind: String,
}

/// One piece, as it was last written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AccountData {
    /// `None`: for all rooms.
    pub room: Option<OwnedRoomId>,
    /// The type, such as `m.direct`.
    pub kind: String,
    /// A JSON object, as text.
    pub content: String,
}

/// Why a piece could not be written.
#[derive(Debug)]
pub enum AccountDataError {
    /// The piece is larger than allowed.
    TooLarge,
    /// The user has no room left for it.
    Full,
    /// The database failed.
    Store(StoreError),
}

impl Store {
    /// Reads a piece, lets `change` make its new content, and writes that, in one go; `Ok(None)` from
    /// `change` leaves it as it is.
    pub async fn change_account_data<E>(
        &self,
        key: AccountDataKey,
        change: impl FnOnce(Option<&str>) -> Result<Option<String>, E> + Send + 'static,
    ) -> Result<(), E>
    where
        E: From<AccountDataError> + From<StoreError> + Send + 'static,
    {
        self.write(move |tx| {
            let room = key.room.as_ref().map_or("", |room| room.as_str());
            let old = content(tx, &key.user, room, &key.kind).map_err(StoreError::from)?;
            let Some(new) = change(old.as_deref())? else { return Ok(()) };
            put(tx, &key.user, room, &key.kind, &new)?;
            if key.kind == IGNORED_USERS && key.room.is_none() {
                let [before, now] =
                    [old.as_deref(), Some(&*new)].map(|content| ignored_users(&key.user, content));
                if before != now {
                    tx.tell(Change::Ignored { user: key.user, before, now });
                }
            }
            Ok(())
        })
        .await
    }

    /// Whom users ignore, of all who ignore anybody.
    pub async fn ignored_users(&self) -> Result<Vec<(OwnedUserId, BTreeSet<OwnedUserId>)>, StoreError> {
        let rows: Vec<(OwnedUserId, String)> = self
            .read(|c| {
                c.prepare("SELECT user_id, content FROM account_data WHERE room_id = '' AND kind = ?1")?
                    .query_map([IGNORED_USERS], |row| {
                        Ok((events::parse(0, row.get_ref(0)?.as_str()?)?, row.get(1)?))
                    })?
                    .collect()
            })
            .await?;
        let ignored = rows.into_iter().map(|(user, content)| {
            let ignored = ignored_users(&user, Some(&content));
            (user, ignored)
        });
        Ok(ignored.filter(|(_, ignored)| !ignored.is_empty()).collect())
    }

    /// The content of one piece.
    pub async fn account_data(
        &self,
        user: &UserId,
        room: Option<&RoomId>,
        kind: &str,
    ) -> Result<Option<String>, StoreError> {
        self.read(|c| content(c, user, room.map_or("", RoomId::as_str), kind)).await
    }

    /// The pieces that were written after position `since`, up to and including `upto`, in that order.
    pub async fn account_data_since(
        &self,
        user: &UserId,
        since: LogPosition,
        upto: LogPosition,
    ) -> Result<Vec<AccountData>, StoreError> {
        let rows: Vec<(String, String, String)> = self
            .read(|c| {
                c.prepare_cached(
                    "SELECT room_id, kind, content FROM account_data
                 WHERE user_id = ?1 AND position > ?2 AND position <= ?3 ORDER BY position",
                )?
                .query_map(params![user.as_str(), since, upto], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                })?
                .collect()
            })
            .await?;
        rows.into_iter()
            .map(|(room, kind, content)| {
                let room = match room.as_str() {
                    "" => None,
                    room => {
                        Some(RoomId::parse(room).map_err(|e| StoreError::Corrupt(format!("room_id: {e}")))?)
                    }
                };
                Ok(AccountData { room, kind, content })
            })
            .collect()
    }

    /// What a user keeps for one room, as far as it was written up to and including `upto`, in that order.
    pub async fn account_data_of_room(
        &self,
        user: &UserId,
        room: &RoomId,
        upto: LogPosition,
    ) -> Result<Vec<AccountData>, StoreError> {
        self.read(|c| {
            c.prepare_cached(
                "SELECT kind, content FROM account_data
                 WHERE user_id = ?1 AND room_id = ?2 AND position <= ?3 ORDER BY position",
            )?
            .query_map(params![user.as_str(), room.as_str(), upto], |row| {
                Ok(AccountData { room: Some(room.to_owned()), kind: row.get(0)?, content: row.get(1)? })
            })?
            .collect()
        })
        .await
    }

    /// The pieces of one type that a user keeps for single rooms.
    pub async fn room_account_data(
        &self,
        user: &UserId,
        kind: &str,
    ) -> Result<Vec<(OwnedRoomId, String)>, StoreError> {
        self.read(|c| {
            c.prepare_cached(
                "SELECT room_id, content FROM account_data WHERE user_id = ?1 AND room_id <> '' AND kind = ?2",
            )?
            .query_map([user.as_str(), kind], |row| {
                Ok((events::parse(0, row.get_ref(0)?.as_str()?)?, row.get(1)?))
            })?
            .collect()
        })
        .await
    }

    /// The position of each user's last change.
    pub async fn account_data_positions(&self) -> Result<Vec<(OwnedUserId, LogPosition)>, StoreError> {
        let rows: Vec<(String, LogPosition)> = self
            .read(|c| {
                c.prepare("SELECT user_id, max(position) FROM account_data GROUP BY user_id")?
                    .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                    .collect()
            })
            .await?;
        rows.into_iter()
            .map(|(user, position)| {
                let user = user.try_into().map_err(|e| StoreError::Corrupt(format!("user_id: {e}")))?;
                Ok((user, position))
            })
            .collect()
    }
}

fn content(c: &Connection, user: &UserId, room: &str, kind: &str) -> rusqlite::Result<Option<String>> {
    c.prepare_cached("SELECT content FROM account_data WHERE user_id = ?1 AND room_id = ?2 AND kind = ?3")?
        .query_row(params![user.as_str(), room, kind], |row| row.get(0))
        .optional()
}

/// Writes a piece as far as its user has room for it, and tells their devices.
pub(super) fn put(
    c: &Tx<'_>,
    user: &UserId,
    room: &str,
    kind: &str,
    new: &str,
) -> Result<(), AccountDataError> {
    if new.len() > MAX_ACCOUNT_DATA {
        return Err(AccountDataError::TooLarge);
    }
    let (pieces, bytes): (u32, i64) = c
        .prepare_cached(
            "SELECT count(*), coalesce(sum(length(content)), 0) FROM account_data
             WHERE user_id = ?1 AND NOT (room_id = ?2 AND kind = ?3)",
        )?
        .query_row(params![user.as_str(), room, kind], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    if pieces >= MAX_ACCOUNT_DATA_PIECES || bytes.saturating_add(new.len()) > MAX_ACCOUNT_DATA_TOTAL {
        return Err(AccountDataError::Full);
    }
    Ok(put_own(c, user, room, kind, new)?)
}

/// Writes a piece that the server makes itself, and tells its user's devices. It is not bounded by what the user
/// keeps: of each type there is one, and who filled their account data must not hold up a write of others.
pub(super) fn put_own(c: &Tx<'_>, user: &UserId, room: &str, kind: &str, new: &str) -> rusqlite::Result<()> {
    let position = advance(c)?;
    c.prepare_cached("INSERT OR REPLACE INTO account_data VALUES (?1, ?2, ?3, ?4, ?5)")?.execute(params![
        user.as_str(),
        room,
        kind,
        new,
        position
    ])?;
    c.tell(Change::AccountData { user: user.to_owned(), position });
    Ok(())
}

impl From<StoreError> for AccountDataError {
    fn from(e: StoreError) -> Self {
        Self::Store(e)
    }
}

impl From<rusqlite::Error> for AccountDataError {
    fn from(e: rusqlite::Error) -> Self {
        Self::Store(e.into())
    }
}
