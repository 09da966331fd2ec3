//! What is known of files: of which server, whose, how large. What is in them is not here.

use ruma::{OwnedServerName, OwnedUserId, ServerName, UserId};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{database::Store, error::StoreError};

/// Addresses of one user for which nothing is uploaded yet, at most.
pub const MAX_AWAITED_MEDIA: u32 = 100;

/// Files of one user, at most: even an empty one takes a place on the disk.
pub const MAX_MEDIA_OF_USER: u32 = 250_000;

/// What is known of a file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MediaRow {
    /// Who uploads it; `None`: it is another server's.
    pub owner: Option<OwnedUserId>,
    /// Until when it can be uploaded, in milliseconds since the Unix epoch; `None`: it is.
    pub expires_ms: Option<u64>,
    /// Its name in the folder of files, and what is there; `None`: nothing is.
    pub stored: Option<StoredMedia>,
}

/// A file that is there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredMedia {
    /// Its name in the folder of files.
    pub file: String,
    /// Bytes.
    pub size: u64,
    /// What kind it is, as its owner says.
    pub content_type: Option<String>,
    /// What it is called by its owner.
    pub file_name: Option<String>,
}

/// How many bytes all files have.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MediaTotals {
    /// Those that users uploaded.
    pub own: u64,
    /// Those of other servers.
    pub borrowed: u64,
}

/// Why there is no address for a file to come.
#[derive(Debug)]
pub enum AwaitMediaError {
    /// The user has too many already; the first of them ends at this time, in milliseconds since the Unix epoch.
    TooMany(u64),
    /// The database failed.
    Store(StoreError),
}

/// Why a file is not kept.
#[derive(Debug)]
pub enum PutMediaError {
    /// The user's files would be more, or have more bytes, than they may.
    Full,
    /// Nothing is awaited at this address.
    NotAwaited,
    /// There is a file at this address.
    Taken,
    /// The database failed.
    Store(StoreError),
}

impl Store {
    /// What is known of the file at `mxc://origin/id`.
    pub async fn media(&self, origin: &ServerName, id: &str) -> Result<Option<MediaRow>, StoreError> {
        self.read(|c| find(c, origin, id)).await
    }

    /// How many bytes the files of `user` have.
    pub async fn media_of(&self, user: &UserId) -> Result<u64, StoreError> {
        self.read(|c| Ok(room_of(c, user)?.1)).await
    }

    /// How many bytes all files have.
    pub async fn media_totals(&self) -> Result<MediaTotals, StoreError> {
        self.read(|c| {
            c.prepare_cached(
                "SELECT coalesce(sum(size) FILTER (WHERE owner IS NOT NULL), 0), \
                 coalesce(sum(size) FILTER (WHERE owner IS NULL), 0) FROM media",
            )?
            .query_row([], |row| Ok(MediaTotals { own: bytes(row, 0)?, borrowed: bytes(row, 1)? }))
        })
        .await
    }

    /// Whether a file of this name belongs to anything.
    pub async fn has_media_file(&self, file: &str) -> Result<bool, StoreError> {
        self.read(|c| c.prepare_cached("SELECT 1 FROM media WHERE file = ?1")?.exists([file])).await
    }

    /// Gives `owner` an address for a file that they upload until `expires_ms`. Forgets those of all users that are too
    /// old by now.
    pub async fn await_media(
        &self,
        origin: OwnedServerName,
        id: String,
        owner: OwnedUserId,
        now_ms: u64,
        expires_ms: u64,
    ) -> Result<(), AwaitMediaError> {
        self.write(move |c| {
            c.prepare_cached("DELETE FROM media WHERE file IS NULL AND expires_ms <= ?1")?
                .execute([now_ms.cast_signed()])?;
            let (count, first): (u32, Option<i64>) = c
                .prepare_cached(
                    "SELECT count(*), min(expires_ms) FROM media WHERE owner = ?1 AND file IS NULL",
                )?
                .query_row([owner.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?;
            if count >= MAX_AWAITED_MEDIA {
                return Err(AwaitMediaError::TooMany(first.unwrap_or_default().cast_unsigned()));
            }
            c.prepare_cached(
                "INSERT INTO media (origin, media_id, owner, created_ms, expires_ms) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![
                origin.as_str(),
                id,
                owner.as_str(),
                now_ms.cast_signed(),
                expires_ms.cast_signed()
            ])?;
            Ok(())
        })
        .await
    }

    /// Keeps a file that `owner` has uploaded, at an address that is new, if their files then have no more than `quota`
    /// bytes.
    pub async fn put_media(
        &self,
        origin: OwnedServerName,
        id: String,
        owner: OwnedUserId,
        stored: StoredMedia,
        now_ms: u64,
        quota: u64,
    ) -> Result<(), PutMediaError> {
        self.write(move |c| {
            take_room(c, &owner, &stored, quota)?;
            insert(c, &origin, &id, Some(&owner), &stored, now_ms)?;
            Ok(())
        })
        .await
    }

    /// The same at an address that was given out by [`Self::await_media`].
    pub async fn put_awaited_media(
        &self,
        origin: OwnedServerName,
        id: String,
        owner: OwnedUserId,
        stored: StoredMedia,
        quota: u64,
    ) -> Result<(), PutMediaError> {
        self.write(move |c| {
            let row = find(c, &origin, &id)?.filter(|row| row.owner.as_ref() == Some(&owner));
            if row.ok_or(PutMediaError::NotAwaited)?.stored.is_some() {
                return Err(PutMediaError::Taken);
            }
            take_room(c, &owner, &stored, quota)?;
            c.prepare_cached(
                "UPDATE media SET expires_ms = NULL, file = ?3, size = ?4, content_type = ?5, file_name = ?6 \
                 WHERE origin = ?1 AND media_id = ?2",
            )?
            .execute(params![
                origin.as_str(),
                id,
                stored.file,
                stored.size.cast_signed(),
                stored.content_type,
                stored.file_name
            ])?;
            Ok(())
        })
        .await
    }
}

impl Store {
    /// Keeps a file of another server; one that was there before is there no longer.
    pub async fn put_borrowed_media(
        &self,
        origin: OwnedServerName,
        id: String,
        stored: StoredMedia,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        self.write(move |c| {
            c.prepare_cached("DELETE FROM media WHERE origin = ?1 AND media_id = ?2 AND owner IS NULL")?
                .execute([origin.as_str(), &id])?;
            insert(c, &origin, &id, None, &stored, now_ms)?;
            Ok(())
        })
        .await
    }

    /// The names and sizes of other servers' files that were not looked at for longest.
    pub async fn oldest_borrowed_media(&self, limit: u32) -> Result<Vec<(String, u64)>, StoreError> {
        self.read(|c| {
            c.prepare_cached(
                "SELECT file, size FROM media WHERE owner IS NULL AND file IS NOT NULL ORDER BY used_ms LIMIT ?1",
            )?
            .query_map([limit], |row| Ok((row.get(0)?, bytes(row, 1)?)))?
            .collect()
        })
        .await
    }

    /// Forgets a file of another server.
    pub async fn forget_borrowed_media(&self, file: String) -> Result<(), StoreError> {
        self.write(move |c| {
            c.prepare_cached("DELETE FROM media WHERE file = ?1 AND owner IS NULL")?.execute([file])?;
            Ok(())
        })
        .await
    }

    /// A file of another server is looked at; that is noted once an hour, when there is time.
    pub fn note_media_use(&self, file: String, now_ms: u64) {
        self.write_later(move |c| {
            c.prepare_cached("UPDATE media SET used_ms = ?2 WHERE file = ?1 AND used_ms < ?2 - 3600000")?
                .execute(params![file, now_ms.cast_signed()])
        });
    }
}

/// The files that users uploaded.
pub(super) fn own_files(c: &Connection) -> rusqlite::Result<Vec<String>> {
    c.prepare("SELECT file FROM media WHERE owner IS NOT NULL AND file IS NOT NULL ORDER BY file")?
        .query_map([], |row| row.get(0))?
        .collect()
}

fn find(c: &Connection, origin: &ServerName, id: &str) -> rusqlite::Result<Option<MediaRow>> {
    c.prepare_cached(
        "SELECT owner, expires_ms, file, size, content_type, file_name FROM media \
         WHERE origin = ?1 AND media_id = ?2",
    )?
    .query_row([origin.as_str(), id], |row| {
        let owner: Option<String> = row.get(0)?;
        let (expires_ms, file): (Option<i64>, Option<String>) = (row.get(1)?, row.get(2)?);
        let (size, content_type, file_name) = (bytes(row, 3)?, row.get(4)?, row.get(5)?);
        Ok(MediaRow {
            owner: owner.map(|owner| super::events::parse(0, &owner)).transpose()?,
            expires_ms: expires_ms.map(i64::cast_unsigned),
            stored: file.map(|file| StoredMedia { file, size, content_type, file_name }),
        })
    })
    .optional()
}

fn bytes(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(i64::cast_unsigned)
}

/// How many files a user has, and how many bytes these.
fn room_of(c: &Connection, user: &UserId) -> rusqlite::Result<(u32, u64)> {
    let room = c
        .prepare_cached("SELECT files, bytes FROM media_owners WHERE owner = ?1")?
        .query_row([user.as_str()], |row| Ok((row.get(0)?, bytes(row, 1)?)))
        .optional()?;
    Ok(room.unwrap_or_default())
}

/// Counts a file among those of its owner, if there is room for it.
fn take_room(c: &Connection, owner: &UserId, stored: &StoredMedia, quota: u64) -> Result<(), PutMediaError> {
    let (files, all) = room_of(c, owner)?;
    if files >= MAX_MEDIA_OF_USER || all.saturating_add(stored.size) > quota {
        return Err(PutMediaError::Full);
    }
    c.prepare_cached(
        "INSERT INTO media_owners (owner, files, bytes) VALUES (?1, 1, ?2) \
         ON CONFLICT (owner) DO UPDATE SET files = files + 1, bytes = bytes + excluded.bytes",
    )?
    .execute(params![owner.as_str(), stored.size.cast_signed()])?;
    Ok(())
}

fn insert(
    c: &Connection,
    origin: &ServerName,
    id: &str,
    owner: Option<&UserId>,
    stored: &StoredMedia,
    now_ms: u64,
) -> rusqlite::Result<()> {
    c.prepare_cached(
        "INSERT INTO media (origin, media_id, owner, created_ms, file, size, content_type, file_name, used_ms) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?4)",
    )?
    .execute(params![
        origin.as_str(),
        id,
        owner.map(UserId::as_str),
        now_ms.cast_signed(),
        stored.file,
        stored.size.cast_signed(),
        stored.content_type,
        stored.file_name,
    ])?;
    Ok(())
}

impl From<StoreError> for AwaitMediaError {
    fn from(e: StoreError) -> Self {
        Self::Store(e)
    }
}

impl From<rusqlite::Error> for AwaitMediaError {
    fn from(e: rusqlite::Error) -> Self {
        Self::Store(e.into())
    }
}

impl From<StoreError> for PutMediaError {
    fn from(e: StoreError) -> Self {
        Self::Store(e)
    }
}

impl From<rusqlite::Error> for PutMediaError {
    fn from(e: rusqlite::Error) -> Self {
        Self::Store(e.into())
    }
}

#[cfg(test)]
mod tests {
    use ruma::{owned_server_name, owned_user_id};

    use super::*;
    use crate::server::store::Access;

    #[tokio::test]
    async fn even_empty_files_of_one_user_are_no_more_than_a_bound() {
        let folder = std::env::temp_dir().join(format!("pilotlight-media-rows-{}", std::process::id()));
        let (here, alice) = (owned_server_name!("here"), owned_user_id!("@alice:here"));
        let store = Store::open(&folder, &here, Access::Sole, Default::default()).expect("opens");
        let put = |n: u32, owner: &OwnedUserId| {
            let (content_type, file_name) = (None, None);
            let stored = StoredMedia { file: format!("file {n}"), size: 2, content_type, file_name };
            store.put_media(here.clone(), format!("id{n}"), owner.clone(), stored, 1, 100)
        };
        put(1, &alice).await.expect("is kept");
        put(2, &alice).await.expect("is kept");
        assert_eq!(store.media_of(&alice).await.expect("can be read"), 4);
        let fill = |c: &super::super::tx::Tx<'_>| -> Result<_, StoreError> {
            Ok(c.execute("UPDATE media_owners SET files = ?1 - 1", [MAX_MEDIA_OF_USER])?)
        };
        store.write(fill).await.expect("is written");
        put(3, &alice).await.expect("there is room for one");
        assert!(matches!(put(4, &alice).await, Err(PutMediaError::Full)));
        put(5, &owned_user_id!("@bob:here")).await.expect("there is room for others");
        store.close().await;
        std::fs::remove_dir_all(folder).expect("can be removed");
    }
}
