//! Backups of room keys, encrypted by their owners.

use std::cmp::Reverse;

use ruma::{OwnedUserId, UserId};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{database::Store, error::StoreError, tx::Tx};

/// Backups of one user at a time.
pub const MAX_BACKUPS: u32 = 20;

/// Keys in all backups of one user together, and what they may take.
pub const MAX_BACKED_UP_KEYS: u64 = 500_000;
pub const MAX_BACKED_UP_BYTES: u64 = 256 << 20;

/// A backup, without its keys.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Backup {
    /// Its number, counted by user.
    pub version: u64,
    /// How the keys are encrypted.
    pub algorithm: String,
    /// With what: JSON, as text.
    pub auth_data: String,
    /// What its keys are like by now.
    pub extent: Extent,
}

/// How many keys a backup has, and a number that grows when they change.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Extent {
    /// The keys.
    pub count: u64,
    /// The number.
    pub etag: u64,
}

/// A key in a backup.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BackedUpKey {
    /// The room that it is for.
    pub room: String,
    /// The session that it is of.
    pub session: String,
    /// The first message that it decrypts.
    pub first_message_index: u64,
    /// How often it was forwarded.
    pub forwarded_count: u64,
    /// Whether the device that backed it up verified the device that it is from.
    pub is_verified: bool,
    /// The encrypted key: JSON, as text.
    pub data: String,
}

/// Which keys.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct KeyScope {
    /// Of this room; `None`: of all.
    pub room: Option<String>,
    /// Of this session; `None`: of all.
    pub session: Option<String>,
}

/// Why a backup cannot be changed.
#[derive(Debug)]
pub enum BackupRefusal {
    /// There is no such backup.
    Unknown,
    /// Another one is the current one.
    NotCurrent(u64),
    /// It is encrypted in another way.
    OtherAlgorithm,
    /// There is no room for more.
    Full,
    /// The database failed.
    Store(StoreError),
}

impl BackedUpKey {
    /// Whether this is better than a key of the same session: verified, then of an earlier message, then forwarded less.
    fn beats(&self, other: &Self) -> bool {
        let rank =
            |key: &Self| (key.is_verified, Reverse(key.first_message_index), Reverse(key.forwarded_count));
        rank(self) > rank(other)
    }
}

impl Store {
    /// Begins a backup, which becomes the current one; answers its number.
    ///
    /// # Errors
    /// [`BackupRefusal::Full`] beyond [`MAX_BACKUPS`].
    pub async fn create_backup(
        &self,
        user: OwnedUserId,
        algorithm: String,
        auth_data: String,
    ) -> Result<u64, BackupRefusal> {
        self.write(move |c| {
            let (last, count): (i64, u32) = c
                .prepare_cached(
                    "SELECT coalesce(max(version), 0), coalesce(sum(NOT deleted), 0) FROM key_backups
                     WHERE user_id = ?1",
                )?
                .query_row([user.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?;
            if count >= MAX_BACKUPS {
                return Err(BackupRefusal::Full);
            }
            c.prepare_cached("DELETE FROM key_backups WHERE user_id = ?1 AND deleted")?
                .execute([user.as_str()])?;
            c.prepare_cached("INSERT INTO key_backups VALUES (?1, ?2, ?3, ?4, 0, 0, 0, 0)")?
                .execute(params![user.as_str(), last + 1, algorithm, auth_data])?;
            Ok((last + 1).cast_unsigned())
        })
        .await
    }

    /// A backup; without a `version`, the current one.
    pub async fn backup(&self, user: &UserId, version: Option<u64>) -> Result<Option<Backup>, StoreError> {
        self.read(|c| backup(c, user, version)).await
    }

    /// Replaces what a backup is encrypted with.
    ///
    /// # Errors
    /// [`BackupRefusal::Unknown`], [`BackupRefusal::OtherAlgorithm`].
    pub async fn update_backup(
        &self,
        user: OwnedUserId,
        version: u64,
        algorithm: String,
        auth_data: String,
    ) -> Result<(), BackupRefusal> {
        self.write(move |c| {
            let known = backup(c, &user, Some(version))?.ok_or(BackupRefusal::Unknown)?;
            if known.algorithm != algorithm {
                return Err(BackupRefusal::OtherAlgorithm);
            }
            c.prepare_cached("UPDATE key_backups SET auth_data = ?3 WHERE user_id = ?1 AND version = ?2")?
                .execute(params![user.as_str(), version.cast_signed(), auth_data])?;
            Ok(())
        })
        .await
    }

    /// Ends a backup with all its keys. `false`: there never was such a one.
    pub async fn remove_backup(&self, user: OwnedUserId, version: u64) -> Result<bool, StoreError> {
        self.write(move |c| {
            let last: Option<i64> = c
                .prepare_cached("SELECT max(version) FROM key_backups WHERE user_id = ?1")?
                .query_row([user.as_str()], |row| row.get(0))?;
            let key = params![user.as_str(), version.cast_signed()];
            c.prepare_cached("DELETE FROM backed_up_keys WHERE user_id = ?1 AND version = ?2")?
                .execute(key)?;
            c.prepare_cached(
                "UPDATE key_backups SET deleted = 1, count = 0, bytes = 0, auth_data = '{}'
                 WHERE user_id = ?1 AND version = ?2",
            )?
            .execute(key)?;
            Ok::<_, StoreError>(version > 0 && last.is_some_and(|last| version <= last.cast_unsigned()))
        })
        .await
    }

    /// Adds keys to the current backup, each unless there is a better one of its session.
    ///
    /// # Errors
    /// [`BackupRefusal::Unknown`] when there is no backup at all, [`BackupRefusal::NotCurrent`], [`BackupRefusal::Full`]:
    /// then nothing is added.
    pub async fn back_up_keys(
        &self,
        user: OwnedUserId,
        version: u64,
        keys: Vec<BackedUpKey>,
    ) -> Result<Extent, BackupRefusal> {
        self.write(move |c| {
            let current = backup(c, &user, None)?.ok_or(BackupRefusal::Unknown)?;
            if current.version != version {
                return Err(BackupRefusal::NotCurrent(current.version));
            }
            let (mut has_changed, mut count, mut bytes) = (false, 0, 0);
            for key in keys {
                let known = key_of(c, &user, version, &key.room, &key.session)?;
                if known.as_ref().is_some_and(|known| !key.beats(known)) {
                    continue;
                }
                has_changed = true;
                count += i64::from(known.is_none());
                bytes += length(&key.data) - known.map_or(0, |known| length(&known.data));
                put(c, &user, version, &key)?;
            }
            if has_changed {
                note_change(c, &user, version, count, bytes)?;
                check_room(c, &user)?;
            }
            Ok(backup(c, &user, Some(version))?.ok_or(BackupRefusal::Unknown)?.extent)
        })
        .await
    }

    /// Removes keys from a backup.
    ///
    /// # Errors
    /// [`BackupRefusal::Unknown`].
    pub async fn remove_backed_up_keys(
        &self,
        user: OwnedUserId,
        version: u64,
        scope: KeyScope,
    ) -> Result<Extent, BackupRefusal> {
        self.write(move |c| {
            let known = backup(c, &user, Some(version))?.ok_or(BackupRefusal::Unknown)?;
            let (count, bytes): (i64, i64) = c
                .prepare_cached(
                    "SELECT count(*), coalesce(sum(octet_length(session_data)), 0) FROM backed_up_keys
                     WHERE user_id = ?1 AND version = ?2 AND (?3 IS NULL OR room_id = ?3)
                     AND (?4 IS NULL OR session_id = ?4)",
                )?
                .query_row(
                    params![user.as_str(), version.cast_signed(), scope.room, scope.session],
                    |row| Ok((row.get(0)?, row.get(1)?)),
                )?;
            if count == 0 {
                return Ok(known.extent);
            }
            c.prepare_cached(
                "DELETE FROM backed_up_keys WHERE user_id = ?1 AND version = ?2
                 AND (?3 IS NULL OR room_id = ?3) AND (?4 IS NULL OR session_id = ?4)",
            )?
            .execute(params![
                user.as_str(),
                version.cast_signed(),
                scope.room,
                scope.session
            ])?;
            note_change(c, &user, version, -count, -bytes)?;
            Ok(backup(c, &user, Some(version))?.ok_or(BackupRefusal::Unknown)?.extent)
        })
        .await
    }

    /// One key of a backup.
    pub async fn backed_up_key(
        &self,
        user: &UserId,
        version: u64,
        room: &str,
        session: &str,
    ) -> Result<Option<BackedUpKey>, StoreError> {
        self.read(|c| key_of(c, user, version, room, session)).await
    }

    /// The next keys of a backup, or of one room in it, in the order of rooms and sessions: `limit` of those after the one
    /// that is named.
    pub async fn backed_up_keys(
        &self,
        user: &UserId,
        version: u64,
        room: Option<&str>,
        after: Option<(&str, &str)>,
        limit: u32,
    ) -> Result<Vec<BackedUpKey>, StoreError> {
        let (after_room, after_session) = after.unwrap_or((room.unwrap_or_default(), ""));
        self.read(|c| {
            c.prepare_cached(
                "SELECT room_id, session_id, first_message_index, forwarded_count, is_verified, session_data
                 FROM backed_up_keys WHERE user_id = ?1 AND version = ?2 AND (room_id, session_id) > (?3, ?4)
                 AND (?5 IS NULL OR room_id = ?5) ORDER BY room_id, session_id LIMIT ?6",
            )?
            .query_map(
                params![user.as_str(), version.cast_signed(), after_room, after_session, room, limit],
                key,
            )?
            .collect()
        })
        .await
    }
}

/// All backups of a user go.
pub(super) fn forget(c: &Connection, user: &UserId) -> rusqlite::Result<()> {
    c.prepare_cached("DELETE FROM backed_up_keys WHERE user_id = ?1")?.execute([user.as_str()])?;
    c.prepare_cached("DELETE FROM key_backups WHERE user_id = ?1")?.execute([user.as_str()])?;
    Ok(())
}

fn backup(c: &Connection, user: &UserId, version: Option<u64>) -> rusqlite::Result<Option<Backup>> {
    c.prepare_cached(
        "SELECT version, algorithm, auth_data, count, etag FROM key_backups
         WHERE user_id = ?1 AND (?2 IS NULL OR version = ?2) AND NOT deleted ORDER BY version DESC LIMIT 1",
    )?
    .query_row(params![user.as_str(), version.map(u64::cast_signed)], |row| {
        let number = |index| row.get::<_, i64>(index).map(i64::cast_unsigned);
        Ok(Backup {
            version: number(0)?,
            algorithm: row.get(1)?,
            auth_data: row.get(2)?,
            extent: Extent { count: number(3)?, etag: number(4)? },
        })
    })
    .optional()
}

fn key_of(
    c: &Connection,
    user: &UserId,
    version: u64,
    room: &str,
    session: &str,
) -> rusqlite::Result<Option<BackedUpKey>> {
    c.prepare_cached(
        "SELECT room_id, session_id, first_message_index, forwarded_count, is_verified, session_data
         FROM backed_up_keys WHERE user_id = ?1 AND version = ?2 AND room_id = ?3 AND session_id = ?4",
    )?
    .query_row(params![user.as_str(), version.cast_signed(), room, session], key)
    .optional()
}

fn put(c: &Connection, user: &UserId, version: u64, key: &BackedUpKey) -> rusqlite::Result<()> {
    c.prepare_cached("INSERT OR REPLACE INTO backed_up_keys VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?
        .execute(params![
            user.as_str(),
            version.cast_signed(),
            key.room,
            key.session,
            key.first_message_index.cast_signed(),
            key.forwarded_count.cast_signed(),
            key.is_verified,
            key.data
        ])?;
    Ok(())
}

fn note_change(c: &Connection, user: &UserId, version: u64, count: i64, bytes: i64) -> rusqlite::Result<()> {
    c.prepare_cached(
        "UPDATE key_backups SET etag = etag + 1, count = count + ?3, bytes = bytes + ?4
         WHERE user_id = ?1 AND version = ?2",
    )?
    .execute(params![user.as_str(), version.cast_signed(), count, bytes])?;
    Ok(())
}

/// Whether what a user has backed up is within its bounds.
fn check_room(c: &Tx<'_>, user: &UserId) -> Result<(), BackupRefusal> {
    let (count, bytes): (i64, i64) = c
        .prepare_cached("SELECT sum(count), sum(bytes) FROM key_backups WHERE user_id = ?1")?
        .query_row([user.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let is_full = count.cast_unsigned() > MAX_BACKED_UP_KEYS || bytes.cast_unsigned() > MAX_BACKED_UP_BYTES;
    if is_full { Err(BackupRefusal::Full) } else { Ok(()) }
}

fn length(data: &str) -> i64 {
    i64::try_from(data.len()).unwrap_or(i64::MAX)
}

fn key(row: &Row<'_>) -> rusqlite::Result<BackedUpKey> {
    Ok(BackedUpKey {
        room: row.get(0)?,
        session: row.get(1)?,
        first_message_index: row.get::<_, i64>(2)?.cast_unsigned(),
        forwarded_count: row.get::<_, i64>(3)?.cast_unsigned(),
        is_verified: row.get(4)?,
        data: row.get(5)?,
    })
}

impl From<StoreError> for BackupRefusal {
    fn from(e: StoreError) -> Self {
        Self::Store(e)
    }
}

impl From<rusqlite::Error> for BackupRefusal {
    fn from(e: rusqlite::Error) -> Self {
        Self::Store(e.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_keys_the_verified_one_is_better_then_the_earlier_one_then_the_one_forwarded_less() {
        let key = |is_verified, first_message_index, forwarded_count| BackedUpKey {
            room: String::new(),
            session: String::new(),
            first_message_index,
            forwarded_count,
            is_verified,
            data: String::new(),
        };
        // From the best to the worst.
        let keys = [
            key(true, 0, 0),
            key(true, 0, 1),
            key(true, 1, 0),
            key(false, 0, 0),
            key(false, 0, 7),
            key(false, 3, 0),
        ];
        for (n, a) in keys.iter().enumerate() {
            for (m, b) in keys.iter().enumerate() {
                assert_eq!(a.beats(b), n < m, "{a:?} {b:?}");
            }
        }
    }
}
