//! Guests: accounts that are nobody's in particular.

use ruma::OwnedUserId;
use rusqlite::params;

use super::{
    accounts::{CreateUserError, NewUser, insert},
    database::Store,
    devices,
    error::StoreError,
    events,
};

impl Store {
    /// Stores a new user who is a guest.
    pub async fn create_guest(&self, user: NewUser) -> Result<(), CreateUserError> {
        self.write(move |c| {
            let id = user.id.clone();
            insert(c, user)?;
            c.prepare_cached("INSERT INTO guests VALUES (?1)")?.execute([id.as_str()])?;
            Ok(())
        })
        .await
    }

    /// Makes the account of a guest one of somebody: with a password, and with that device alone.
    ///
    /// # Errors
    /// [`CreateUserError::InUse`] when there is no such guest any longer.
    pub async fn upgrade_guest(&self, user: NewUser) -> Result<(), CreateUserError> {
        self.write(move |c| {
            let NewUser { id, password_hash, device, created_ms: _ } = user;
            if c.prepare_cached("DELETE FROM guests WHERE user_id = ?1")?.execute([id.as_str()])? == 0 {
                return Err(CreateUserError::InUse);
            }
            c.prepare_cached("UPDATE users SET password_hash = ?2 WHERE user_id = ?1")?
                .execute(params![id.as_str(), password_hash])?;
            devices::remove_all(c, &id, None)?;
            match device {
                Some(device) => Ok(devices::insert(c, &id, &device)?),
                None => Ok(()),
            }
        })
        .await
    }

    /// Every guest.
    pub async fn guests(&self) -> Result<Vec<OwnedUserId>, StoreError> {
        self.read(|c| {
            c.prepare("SELECT user_id FROM guests")?
                .query_map([], |row| events::parse(0, row.get_ref(0)?.as_str()?))?
                .collect()
        })
        .await
    }

    /// Up to `limit` guests of whom no device was seen since a time, in ms since the Unix epoch.
    pub async fn guests_unseen_since(
        &self,
        unix_ms: u64,
        limit: u32,
    ) -> Result<Vec<OwnedUserId>, StoreError> {
        self.read(|c| {
            c.prepare_cached(
                "SELECT user_id FROM guests g WHERE NOT EXISTS
                 (SELECT 1 FROM devices d WHERE d.user_id = g.user_id AND d.last_seen_ms >= ?1) LIMIT ?2",
            )?
            .query_map((unix_ms.cast_signed(), limit), |row| events::parse(0, row.get_ref(0)?.as_str()?))?
            .collect()
        })
        .await
    }
}
