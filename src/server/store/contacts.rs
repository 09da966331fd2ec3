//! Presence lists, and how users share their presence.

use ruma::OwnedUserId;
use rusqlite::params;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    account_data::{self, AccountDataKey},
    database::Store,
    error::StoreError,
    events, list_outbox,
    tx::Tx,
};
use crate::{
    core::{list::Contact, visibility::Share},
    server::{
        change::feed::Change,
        list::{ListMessage, ListRow, Settings},
    },
};

/// What one user keeps about another one.
pub type ContactRow = (OwnedUserId, OwnedUserId, Contact);

/// What one step changes about contacts; all of it is written, or nothing.
#[derive(Debug, Default)]
pub struct ContactWrite {
    /// What is kept from here on.
    pub rows: Vec<ListRow>,
    /// How a user shares presence and takes invites from here on.
    pub settings: Option<SettingsWrite>,
    /// What other servers are to be told of it.
    pub outbox: Vec<ListMessage>,
    /// Account data of the server's own making, with its content, by which devices are told.
    pub account_data: Vec<(AccountDataKey, String)>,
}

/// How a user shares presence and takes invites.
#[derive(Debug)]
pub struct SettingsWrite {
    /// Who.
    pub owner: OwnedUserId,
    /// How, from here on.
    pub settings: Settings,
    /// With whom until now.
    pub shared_before: Share,
}

impl ContactWrite {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        let Self { rows, settings, outbox, account_data } = self;
        rows.is_empty() && settings.is_none() && outbox.is_empty() && account_data.is_empty()
    }
}

impl Store {
    /// Keeps what changed about contacts, and what is to be said of it; all or nothing. It is told when it is
    /// on the disk.
    pub async fn put_contacts(&self, write: ContactWrite) -> Result<(), StoreError> {
        self.write(move |tx| put(tx, write).map_err(StoreError::from)).await
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

fn put(tx: &Tx<'_>, write: ContactWrite) -> rusqlite::Result<()> {
    let ContactWrite { rows, settings, outbox, account_data } = write;
    let mut put = tx.prepare_cached("INSERT OR REPLACE INTO contacts VALUES (?1, ?2, ?3)")?;
    let mut delete = tx.prepare_cached("DELETE FROM contacts WHERE owner = ?1 AND contact = ?2")?;
    for ListRow { owner, contact, kept, .. } in &rows {
        match kept {
            Some(kept) => put.execute(params![owner.as_str(), contact.as_str(), json(kept)])?,
            None => delete.execute(params![owner.as_str(), contact.as_str()])?,
        };
    }
    list_outbox::put(tx, &outbox)?;
    if !rows.is_empty() || !outbox.is_empty() {
        tx.tell(Change::PresenceList { rows, outbox });
    }
    if let Some(SettingsWrite { owner, settings, shared_before }) = settings {
        tx.prepare_cached("INSERT OR REPLACE INTO contact_settings VALUES (?1, ?2)")?
            .execute(params![owner.as_str(), json(&settings)])?;
        tx.tell(Change::PresenceSettings { owner, settings, shared_before });
    }
    for (AccountDataKey { user, room, kind }, content) in &account_data {
        let room = room.as_ref().map_or("", |room| room.as_str());
        account_data::put_own(tx, user, room, kind, content)?;
    }
    Ok(())
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("contacts and settings are JSON")
}

fn parse<T: DeserializeOwned>(json: &str) -> Result<T, StoreError> {
    serde_json::from_str(json).map_err(|e| StoreError::Corrupt(format!("contacts: {e}")))
}
