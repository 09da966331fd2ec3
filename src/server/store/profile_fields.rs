//! Fields of profiles beyond name and picture, and who may read them.

use std::collections::BTreeMap;

use ruma::{OwnedUserId, UserId};
use rusqlite::{Connection, params};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{accounts, database::Store, error::StoreError};
use crate::{
    core::policy::Admit,
    server::profile::{
        Profile,
        field::{FieldName, MAX_PROFILE},
    },
};

/// Fields of which one user said who may read them, at most.
pub const MAX_PROFILE_READERS: u32 = 500;

/// The further fields of a profile, and who may read them.
#[derive(Debug, Default)]
pub struct ProfileFields {
    /// The values, by name: any JSON.
    pub values: BTreeMap<String, Value>,
    /// Who may read a field, which need not be there; where nothing is said, everybody may.
    pub readers: BTreeMap<String, Admit>,
}

/// Why a field could not be kept.
#[derive(Debug)]
pub enum PutFieldError {
    /// The profile would have [`MAX_PROFILE`] bytes or more.
    TooLarge,
    /// There is no such account (any longer).
    NoSuchUser,
    /// The database failed.
    Store(StoreError),
}

impl Store {
    /// The profile of an account of this server with its further fields; `None`: there is no such account.
    pub async fn whole_profile(&self, user: &UserId) -> Result<Option<(Profile, ProfileFields)>, StoreError> {
        let read = self.read(|c| {
            let Some(profile) = accounts::profile(c, user)? else { return Ok(None) };
            Ok(Some((profile, named(c, FIELDS, user)?, named(c, READERS, user)?)))
        });
        let Some((profile, values, readers)) = read.await? else { return Ok(None) };
        Ok(Some((profile, ProfileFields { values: parse(values)?, readers: parse(readers)? })))
    }

    /// Of which fields `user` said who may read them, and who.
    pub async fn profile_readers(&self, user: &UserId) -> Result<BTreeMap<String, Admit>, StoreError> {
        parse(self.read(|c| named(c, READERS, user)).await?)
    }

    /// Keeps a field.
    ///
    /// # Errors
    /// [`PutFieldError`]; then nothing is changed.
    pub async fn put_profile_field(
        &self,
        user: OwnedUserId,
        name: FieldName,
        value: Value,
    ) -> Result<(), PutFieldError> {
        self.write(move |tx| {
            tx.prepare_cached("INSERT OR REPLACE INTO profile_fields VALUES (?1, ?2, ?3)")?
                .execute(params![user.as_str(), name.as_str(), value.to_string()])?;
            match size(tx, &user)? {
                None => Err(PutFieldError::NoSuchUser),
                Some(size) if size >= MAX_PROFILE => Err(PutFieldError::TooLarge),
                Some(_) => Ok(()),
            }
        })
        .await
    }

    /// Takes a field away, if it is there.
    pub async fn remove_profile_field(&self, user: OwnedUserId, name: FieldName) -> Result<(), StoreError> {
        self.write(move |tx| {
            tx.prepare_cached("DELETE FROM profile_fields WHERE user_id = ?1 AND name = ?2")?
                .execute([user.as_str(), name.as_str()])?;
            Ok(())
        })
        .await
    }

    /// Keeps who may read a field.
    ///
    /// # Errors
    /// [`PutFieldError::TooLarge`] beyond [`MAX_PROFILE_READERS`]; then nothing is changed.
    pub async fn put_profile_readers(
        &self,
        user: OwnedUserId,
        name: FieldName,
        readers: Admit,
    ) -> Result<(), PutFieldError> {
        let readers = serde_json::to_string(&readers).expect("a rule is JSON");
        self.write(move |tx| {
            tx.prepare_cached("INSERT OR REPLACE INTO profile_readers VALUES (?1, ?2, ?3)")?.execute([
                user.as_str(),
                name.as_str(),
                &readers,
            ])?;
            let count: u32 = tx
                .prepare_cached("SELECT count(*) FROM profile_readers WHERE user_id = ?1")?
                .query_row([user.as_str()], |row| row.get(0))?;
            if count > MAX_PROFILE_READERS { Err(PutFieldError::TooLarge) } else { Ok(()) }
        })
        .await
    }

    /// Lets everybody read a field again.
    pub async fn remove_profile_readers(&self, user: OwnedUserId, name: FieldName) -> Result<(), StoreError> {
        self.write(move |tx| {
            tx.prepare_cached("DELETE FROM profile_readers WHERE user_id = ?1 AND name = ?2")?
                .execute([user.as_str(), name.as_str()])?;
            Ok(())
        })
        .await
    }
}

const FIELDS: &str = "SELECT name, value FROM profile_fields WHERE user_id = ?1";

const READERS: &str = "SELECT name, readers FROM profile_readers WHERE user_id = ?1";

fn named(c: &Connection, sql: &str, user: &UserId) -> rusqlite::Result<Vec<(String, String)>> {
    c.prepare_cached(sql)?.query_map([user.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

fn parse<T: DeserializeOwned>(rows: Vec<(String, String)>) -> Result<BTreeMap<String, T>, StoreError> {
    let corrupt = |e: serde_json::Error| StoreError::Corrupt(format!("profile: {e}"));
    rows.into_iter().map(|(name, json)| Ok((name, serde_json::from_str(&json).map_err(corrupt)?))).collect()
}

/// How many bytes a profile has, as JSON.
fn size(c: &Connection, user: &UserId) -> rusqlite::Result<Option<usize>> {
    let Some(Profile { displayname, avatar_url }) = accounts::profile(c, user)? else { return Ok(None) };
    let mut plain = Map::new();
    plain.extend(displayname.map(|name| ("displayname".to_owned(), name.into())));
    plain.extend(avatar_url.map(|url| ("avatar_url".to_owned(), url.into())));
    // Of each further field the quotes, the colon and the comma.
    let further: i64 = c
        .prepare_cached(
            "SELECT coalesce(sum(octet_length(name) + octet_length(value) + 4), 0) FROM profile_fields WHERE user_id = ?1",
        )?
        .query_row([user.as_str()], |row| row.get(0))?;
    Ok(Some(Value::Object(plain).to_string().len() + usize::try_from(further).unwrap_or(usize::MAX)))
}

impl From<StoreError> for PutFieldError {
    fn from(e: StoreError) -> Self {
        Self::Store(e)
    }
}

impl From<rusqlite::Error> for PutFieldError {
    fn from(e: rusqlite::Error) -> Self {
        Self::Store(e.into())
    }
}
