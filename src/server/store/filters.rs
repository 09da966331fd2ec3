//! Filters that clients stored.

use ruma::{OwnedUserId, UserId};
use rusqlite::{OptionalExtension, params};

use super::{database::Store, error::StoreError};

/// Different filters of one user, at most.
pub const MAX_FILTERS: u32 = 1_000;

/// Why a filter could not be stored.
#[derive(Debug)]
pub enum AddFilterError {
    /// The user has too many already.
    TooMany,
    /// The database failed.
    Store(StoreError),
}

impl Store {
    /// Stores a filter and names it; the same text gets the same name.
    pub async fn add_filter(&self, user: OwnedUserId, filter: String) -> Result<u64, AddFilterError> {
        self.write(move |c| {
            let known: Option<i64> = c
                .prepare_cached("SELECT filter_id FROM filters WHERE user_id = ?1 AND filter = ?2")?
                .query_row(params![user.as_str(), filter], |row| row.get(0))
                .optional()?;
            if let Some(id) = known {
                return Ok(id.cast_unsigned());
            }
            let next: u32 = c
                .prepare_cached("SELECT count(*) FROM filters WHERE user_id = ?1")?
                .query_row([user.as_str()], |row| row.get(0))?;
            if next >= MAX_FILTERS {
                return Err(AddFilterError::TooMany);
            }
            c.prepare_cached("INSERT INTO filters VALUES (?1, ?2, ?3)")?.execute(params![
                user.as_str(),
                next,
                filter
            ])?;
            Ok(u64::from(next))
        })
        .await
    }

    /// The text of a filter that `user` stored.
    pub async fn filter(&self, user: &UserId, id: u64) -> Result<Option<String>, StoreError> {
        self.read(|c| {
            c.prepare_cached("SELECT filter FROM filters WHERE user_id = ?1 AND filter_id = ?2")?
                .query_row(params![user.as_str(), id.cast_signed()], |row| row.get(0))
                .optional()
        })
        .await
    }
}

impl From<StoreError> for AddFilterError {
    fn from(e: StoreError) -> Self {
        Self::Store(e)
    }
}

impl From<rusqlite::Error> for AddFilterError {
    fn from(e: rusqlite::Error) -> Self {
        Self::Store(e.into())
    }
}
