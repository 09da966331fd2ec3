//! Which thumbnails are kept, how much each takes, and when somebody looked at it last.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{database::Store, error::StoreError};

/// A thumbnail that is kept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeptThumbnail {
    /// The name of the file that it shows.
    pub file: String,
    /// Its own, beside that.
    pub name: String,
    /// What it takes, in bytes.
    pub size: u64,
}

impl Store {
    /// What all thumbnails take, in bytes.
    pub async fn thumbnail_total(&self) -> Result<u64, StoreError> {
        self.read(|c| {
            c.prepare_cached("SELECT coalesce(sum(size), 0) FROM thumbnails")?
                .query_row([], |row| unsigned(row, 0))
        })
        .await
    }

    /// Counts a thumbnail; how many bytes more all take with it.
    pub async fn put_thumbnail(
        &self,
        file: String,
        name: String,
        size: u64,
        now_ms: u64,
    ) -> Result<u64, StoreError> {
        self.write(move |c| {
            let before = size_of(c, &file, &name)?;
            c.prepare_cached("INSERT OR REPLACE INTO thumbnails VALUES (?1, ?2, ?3, ?4)")?
                .execute(params![file, name, size.max(before).cast_signed(), now_ms.cast_signed()])?;
            Ok(size.saturating_sub(before))
        })
        .await
    }

    /// When a thumbnail was looked at last, in milliseconds since the Unix epoch.
    pub async fn thumbnail_use(&self, file: &str, name: &str) -> Result<Option<u64>, StoreError> {
        self.read(|c| {
            c.prepare_cached("SELECT used_ms FROM thumbnails WHERE file = ?1 AND name = ?2")?
                .query_row([file, name], |row| unsigned(row, 0))
                .optional()
        })
        .await
    }

    /// A thumbnail is looked at; that is written when there is time.
    pub fn note_thumbnail_use(&self, file: String, name: String, now_ms: u64) {
        self.write_later(move |c| {
            c.prepare_cached("UPDATE thumbnails SET used_ms = ?3 WHERE file = ?1 AND name = ?2")?
                .execute(params![file, name, now_ms.cast_signed()])
        });
    }

    /// Those that were not looked at for longest.
    pub async fn oldest_thumbnails(&self, limit: u32) -> Result<Vec<KeptThumbnail>, StoreError> {
        self.read(|c| {
            c.prepare_cached("SELECT file, name, size FROM thumbnails ORDER BY used_ms LIMIT ?1")?
                .query_map([limit], |row| {
                    Ok(KeptThumbnail { file: row.get(0)?, name: row.get(1)?, size: unsigned(row, 2)? })
                })?
                .collect()
        })
        .await
    }

    /// Forgets one.
    pub async fn forget_thumbnail(&self, file: String, name: String) -> Result<(), StoreError> {
        self.write(move |c| {
            c.prepare_cached("DELETE FROM thumbnails WHERE file = ?1 AND name = ?2")?
                .execute([file, name])?;
            Ok(())
        })
        .await
    }

    /// Forgets all of one file; how many bytes they took.
    pub async fn forget_thumbnails(&self, file: String) -> Result<u64, StoreError> {
        self.write(move |c| {
            let all = c
                .prepare_cached("SELECT coalesce(sum(size), 0) FROM thumbnails WHERE file = ?1")?
                .query_row([&file], |row| unsigned(row, 0))?;
            c.prepare_cached("DELETE FROM thumbnails WHERE file = ?1")?.execute([&file])?;
            Ok(all)
        })
        .await
    }
}

fn size_of(c: &Connection, file: &str, name: &str) -> rusqlite::Result<u64> {
    let size = c
        .prepare_cached("SELECT size FROM thumbnails WHERE file = ?1 AND name = ?2")?
        .query_row([file, name], |row| unsigned(row, 0))
        .optional()?;
    Ok(size.unwrap_or_default())
}

fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(i64::cast_unsigned)
}
