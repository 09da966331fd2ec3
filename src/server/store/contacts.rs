//! Presence lists, and how users share their presence.

use ruma::{OwnedUserId, UserId};
use rusqlite::params;
use serde::{Serialize, de::DeserializeOwned};

use super::{database::Store, error::StoreError, events, list_outbox};
use crate::{
    core::list::Contact,
    server::list::{ListMessage, Settings},
};

/// What one user keeps about another one.
pub type ContactRow = (OwnedUserId, OwnedUserId, Contact);

/// What one step changes about contacts; all of it is written, or nothing.
#[derive(Debug, Default)]
pub struct ContactWrite {
    /// What is kept from here on.
    pub contacts: Vec<ContactRow>,
    /// Pairs of an owner and a contact of whom nothing is kept any longer.
    pub forgotten: Vec<(OwnedUserId, OwnedUserId)>,
    /// What other servers are to be told of it.
    pub outbox: Vec<ListMessage>,
}

impl ContactWrite {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.contacts.is_empty() && self.forgotten.is_empty() && self.outbox.is_empty()
    }
}

impl Store {
    /// Keeps what changed about contacts, and what is to be said of it; all or nothing.
    pub async fn put_contacts(&self, write: ContactWrite) -> Result<(), StoreError> {
        self.write(move |c| {
            let mut put = c.prepare_cached("INSERT OR REPLACE INTO contacts VALUES (?1, ?2, ?3)")?;
            for (owner, contact, data) in write.contacts {
                put.execute(params![owner.as_str(), contact.as_str(), json(&data)])?;
            }
            let mut delete = c.prepare_cached("DELETE FROM contacts WHERE owner = ?1 AND contact = ?2")?;
            for (owner, contact) in write.forgotten {
                delete.execute(params![owner.as_str(), contact.as_str()])?;
            }
            list_outbox::put(c, &write.outbox)?;
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
    pub async fn contacts(&self) -> Result<Vec<ContactRow>, StoreError> {
        let rows: Vec<(OwnedUserId, OwnedUserId, String)> = self
            .read(|c| {
                c.prepare("SELECT owner, contact, data FROM contacts")?
                    .query_map([], |row| {
                        let id = |column| events::parse(column, row.get_ref(column)?.as_str()?);
                        Ok((id(0)?, id(1)?, row.get(2)?))
                    })?
                    .collect()
            })
            .await?;
        rows.into_iter().map(|(owner, contact, data)| Ok((owner, contact, parse(&data)?))).collect()
    }

    /// Every contact of one user.
    pub async fn contacts_of(&self, owner: &UserId) -> Result<Vec<(OwnedUserId, Contact)>, StoreError> {
        let rows: Vec<(OwnedUserId, String)> = self
            .read(|c| {
                c.prepare_cached("SELECT contact, data FROM contacts WHERE owner = ?1")?
                    .query_map([owner.as_str()], |row| {
                        Ok((events::parse(0, row.get_ref(0)?.as_str()?)?, row.get(1)?))
                    })?
                    .collect()
            })
            .await?;
        rows.into_iter().map(|(contact, data)| Ok((contact, parse(&data)?))).collect()
    }

    /// Every user's settings that are not the default.
    pub async fn contact_settings(&self) -> Result<Vec<(OwnedUserId, Settings)>, StoreError> {
        let rows: Vec<(OwnedUserId, String)> = self
            .read(|c| {
                c.prepare("SELECT owner, data FROM contact_settings")?
                    .query_map([], |row| Ok((events::parse(0, row.get_ref(0)?.as_str()?)?, row.get(1)?)))?
                    .collect()
            })
            .await?;
        rows.into_iter().map(|(owner, data)| Ok((owner, parse(&data)?))).collect()
    }
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("contacts and settings are JSON")
}

fn parse<T: DeserializeOwned>(json: &str) -> Result<T, StoreError> {
    serde_json::from_str(json).map_err(|e| StoreError::Corrupt(format!("contacts: {e}")))
}
