//! Accounts and profiles.

use ruma::{OwnedDeviceId, OwnedUserId, UserId};
use rusqlite::{Connection, OptionalExtension, ffi, params};

use super::{
    database::Store,
    devices::{self, NewDevice},
    error::StoreError,
    key_backup,
    proof::{NotProven, Proof},
};
use crate::server::{
    change::feed::Change,
    profile::{Profile, ProfileField},
};

/// A user to be stored.
#[derive(Debug)]
pub struct NewUser {
    /// The identifier, of this server.
    pub id: OwnedUserId,
    /// A PHC string. `None`: nobody can log in with a password.
    pub password_hash: Option<String>,
    /// When the account was made.
    pub created_ms: u64,
    /// The device that is logged in with the same stroke, if any.
    pub device: Option<NewDevice>,
}

/// Why a user could not be stored.
#[derive(Debug)]
pub enum CreateUserError {
    /// There is such a user, perhaps a deactivated one.
    InUse,
    /// The database failed.
    Store(StoreError),
}

/// How a user logs in.
#[derive(Debug)]
pub struct Login {
    /// A PHC string. `None`: not with a password.
    pub password_hash: Option<String>,
    /// The account was closed for good.
    pub deactivated: bool,
}

impl Store {
    /// Stores a new user, and a first device with it, if one is given: both or neither.
    pub async fn create_user(&self, user: NewUser) -> Result<(), CreateUserError> {
        self.write(move |c| Ok(insert(c, user)?)).await
    }

    /// How `user` logs in; `None` when there is no such account here.
    pub async fn login(&self, user: &UserId) -> Result<Option<Login>, StoreError> {
        self.read(|c| {
            c.prepare_cached("SELECT password_hash, deactivated FROM users WHERE user_id = ?1")?
                .query_row([user.as_str()], |row| {
                    Ok(Login { password_hash: row.get(0)?, deactivated: row.get(1)? })
                })
                .optional()
        })
        .await
    }

    /// Whether what was checked still holds.
    ///
    /// # Errors
    /// [`NotProven::Outdated`] when it does not.
    pub async fn check_proof(&self, proof: Proof) -> Result<(), NotProven> {
        self.read(|c| Ok(proof.check(c))).await?
    }

    /// Replaces the password and, with `log_out_but`, removes every other device with the same stroke.
    ///
    /// # Errors
    /// [`NotProven::Outdated`] when there is another password by now.
    pub async fn set_password(
        &self,
        proof: Proof,
        hash: String,
        log_out_but: Option<OwnedDeviceId>,
    ) -> Result<(), NotProven> {
        self.write(move |c| {
            proof.check(c)?;
            c.prepare_cached("UPDATE users SET password_hash = ?2 WHERE user_id = ?1")?
                .execute(params![proof.user.as_str(), hash])?;
            if log_out_but.is_some() {
                devices::remove_all(c, &proof.user, log_out_but.as_deref())?;
            }
            Ok(())
        })
        .await
    }

    /// Closes an account for good: no password, no profile with all its fields, no device. Its name stays taken.
    pub async fn deactivate(&self, user: OwnedUserId) -> Result<(), StoreError> {
        self.write(move |c| {
            c.prepare_cached(
                "UPDATE users SET password_hash = NULL, displayname = NULL, avatar_url = NULL, deactivated = 1
                 WHERE user_id = ?1",
            )?
            .execute([user.as_str()])?;
            for sql in [
                "DELETE FROM profile_fields WHERE user_id = ?1",
                "DELETE FROM profile_readers WHERE user_id = ?1",
                "DELETE FROM guests WHERE user_id = ?1",
            ] {
                c.prepare_cached(sql)?.execute([user.as_str()])?;
            }
            devices::remove_all(c, &user, None)?;
            key_backup::forget(c, &user)?;
            Ok(())
        })
        .await
    }

    /// The profile of an account of this server; `None` when there is no such account (any longer).
    pub async fn profile(&self, user: &UserId) -> Result<Option<Profile>, StoreError> {
        self.read(|c| profile(c, user)).await
    }

    /// Sets or removes one part of a profile; what it is then is told, also when it was so already: that mends
    /// what a crash left undone.
    pub async fn set_profile_field(
        &self,
        user: OwnedUserId,
        field: ProfileField,
        value: Option<String>,
    ) -> Result<(), StoreError> {
        let sql = match field {
            ProfileField::Displayname => {
                "UPDATE users SET displayname = ?2 WHERE user_id = ?1 AND displayname IS NOT ?2"
            }
            ProfileField::AvatarUrl => {
                "UPDATE users SET avatar_url = ?2 WHERE user_id = ?1 AND avatar_url IS NOT ?2"
            }
        };
        self.write(move |c| {
            c.prepare_cached(sql)?.execute(params![user.as_str(), value])?;
            if let Some(profile) = profile(c, &user)? {
                c.tell(Change::Profile { user, profile });
            }
            Ok(())
        })
        .await
    }
}

/// Inserts a user, and a first device with it, if one is given.
pub(super) fn insert(c: &Connection, user: NewUser) -> rusqlite::Result<()> {
    c.prepare_cached("INSERT INTO users (user_id, password_hash, created_ms) VALUES (?1, ?2, ?3)")?
        .execute(params![user.id.as_str(), user.password_hash, user.created_ms.cast_signed()])?;
    match user.device {
        Some(device) => devices::insert(c, &user.id, &device),
        None => Ok(()),
    }
}

/// See [`Store::profile`]; for reading inside a write.
pub(super) fn profile(c: &Connection, user: &UserId) -> rusqlite::Result<Option<Profile>> {
    c.prepare_cached("SELECT displayname, avatar_url FROM users WHERE user_id = ?1 AND NOT deactivated")?
        .query_row([user.as_str()], |row| Ok(Profile { displayname: row.get(0)?, avatar_url: row.get(1)? }))
        .optional()
}

impl From<StoreError> for CreateUserError {
    fn from(e: StoreError) -> Self {
        Self::Store(e)
    }
}

impl From<rusqlite::Error> for CreateUserError {
    fn from(e: rusqlite::Error) -> Self {
        match e.sqlite_error().map(|e| e.extended_code) {
            Some(ffi::SQLITE_CONSTRAINT_PRIMARYKEY) => Self::InUse,
            _ => Self::Store(e.into()),
        }
    }
}
