//! Presence lists, and how users share their presence.

use ruma::OwnedUserId;
use rusqlite::params;
use serde::{Serialize, de::DeserializeOwned};

use super::{Store, StoreError, events};
use crate::{core::list::Contact, server::contacts::Settings};

/// What one user keeps about another one.
pub type ContactRow = (OwnedUserId, OwnedUserId, Contact);

impl Store {
    /// Keeps contacts; all of them or none.
    pub async fn put_contacts(&self, rows: Vec<ContactRow>) -> Result<(), StoreError> {
        self.write(move |c| {
            let mut put = c.prepare_cached("INSERT OR REPLACE INTO contacts VALUES (?1, ?2, ?3)")?;
            for (owner, contact, data) in rows {
                put.execute(params![owner.as_str(), contact.as_str(), json(&data)])?;
            }
            Ok(())
        })
        .await
    }

    /// Keeps a user's settings.
    pub async fn put_contact_settings(
        &self,
        owner: OwnedUserId,
        settings: Settings,
    ) -> Result<(), StoreError> {
        self.write(move |c| {
            c.prepare_cached("INSERT OR REPLACE INTO contact_settings VALUES (?1, ?2)")?
                .execute(params![owner.as_str(), json(&settings)])?;
            Ok(())
        })
        .await
    }

    /// Every contact of every user.
    pub fn contacts(&self) -> Result<Vec<ContactRow>, StoreError> {
        let rows: Vec<(OwnedUserId, OwnedUserId, String)> = self.read(|c| {
            c.prepare("SELECT owner, contact, data FROM contacts")?
                .query_map([], |row| {
                    let id = |column| events::parse(column, row.get_ref(column)?.as_str()?);
                    Ok((id(0)?, id(1)?, row.get(2)?))
                })?
                .collect()
        })?;
        rows.into_iter().map(|(owner, contact, data)| Ok((owner, contact, parse(&data)?))).collect()
    }

    /// Every user's settings that are not the default.
    pub fn contact_settings(&self) -> Result<Vec<(OwnedUserId, Settings)>, StoreError> {
        let rows: Vec<(OwnedUserId, String)> = self.read(|c| {
            c.prepare("SELECT owner, data FROM contact_settings")?
                .query_map([], |row| Ok((events::parse(0, row.get_ref(0)?.as_str()?)?, row.get(1)?)))?
                .collect()
        })?;
        rows.into_iter().map(|(owner, data)| Ok((owner, parse(&data)?))).collect()
    }
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("contacts and settings are JSON")
}

fn parse<T: DeserializeOwned>(json: &str) -> Result<T, StoreError> {
    serde_json::from_str(json).map_err(|e| StoreError::Corrupt(format!("contacts: {e}")))
}
