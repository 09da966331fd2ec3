//! Devices of users of other servers, as far as this server keeps up with them.

use std::collections::BTreeMap;

use ruma::{OwnedUserId, UserId};
use rusqlite::{Connection, OptionalExtension, params};

use super::{
    database::Store, device_changes::note_list, device_keys::DeviceKeys, error::StoreError, events,
    log::advance, tx::Tx,
};

/// The devices of a user of another server.
#[derive(Debug)]
pub struct RemoteList {
    /// Nothing that was said since is missing.
    pub is_current: bool,
    /// Each with the name that its user gave it.
    pub devices: Vec<DeviceKeys>,
}

/// All devices of a user, as their server says.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Snapshot {
    /// What it calls this version of the list, if it says so.
    pub stream_id: Option<i64>,
    /// By device: the keys, JSON, and the name.
    pub devices: BTreeMap<String, (String, Option<String>)>,
    /// By usage: JSON.
    pub cross_signing: BTreeMap<String, String>,
}

/// What another server says that changed of a user's devices.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RemoteChange {
    /// Of one device.
    Device {
        /// Which.
        device: String,
        /// What the list is called from here on.
        stream_id: i64,
        /// What it was called before, as far as that server knows that we were told.
        previous: Vec<i64>,
        /// Its keys, JSON, and its name; `None`: it is gone.
        keys: Option<(String, Option<String>)>,
    },
    /// Of the cross-signing keys: those that are others, by usage.
    CrossSigning(BTreeMap<String, String>),
}

impl Store {
    /// What is kept of the devices of a user of another server.
    pub async fn remote_list(&self, user: &UserId) -> Result<Option<RemoteList>, StoreError> {
        self.read(|c| {
            let is_current = c
                .prepare_cached("SELECT is_current FROM remote_lists WHERE user_id = ?1")?
                .query_row([user.as_str()], |row| row.get(0))
                .optional()?;
            let Some(is_current) = is_current else { return Ok(None) };
            let devices = c
                .prepare_cached(
                    "SELECT device_id, keys, display_name FROM remote_devices WHERE user_id = ?1 ORDER BY device_id",
                )?
                .query_map([user.as_str()], |row| {
                    Ok(DeviceKeys { device: row.get(0)?, keys: row.get(1)?, display_name: row.get(2)? })
                })?
                .collect::<rusqlite::Result<_>>()?;
            Ok(Some(RemoteList { is_current, devices }))
        })
        .await
    }

    /// Whether what is kept of the devices of a user of another server is all there is.
    pub async fn has_current_remote_list(&self, user: &UserId) -> Result<bool, StoreError> {
        self.read(|c| Ok(matches!(version(c, user)?, Some((_, true))))).await
    }

    /// Something is missing in what is kept of the devices of these users.
    pub async fn outdate_remote_lists(&self, users: Vec<OwnedUserId>) -> Result<(), StoreError> {
        self.write(move |c| {
            users.iter().try_for_each(|user| outdate(c, user))?;
            Ok(())
        })
        .await
    }

    /// Takes over what another server says of its users' devices, in order; those of whose devices all has to be asked for
    /// now, as something is missing. Whoever has to look again is told; of those that are asked for, when that is done.
    pub async fn change_remote_lists(
        &self,
        changes: Vec<(OwnedUserId, Vec<RemoteChange>)>,
    ) -> Result<Vec<OwnedUserId>, StoreError> {
        self.write(move |c| {
            let mut outdated = Vec::new();
            for (user, changes) in changes {
                let known = version(c, &user)?;
                let mut has_changed = false;
                let mut is_complete = matches!(known, Some((_, true)));
                for change in changes {
                    match apply(c, &user, change, is_complete)? {
                        Applied::Changed => has_changed = true,
                        Applied::Known => {}
                        Applied::Missing => is_complete = false,
                    }
                }
                if is_complete {
                    if has_changed {
                        note_list(c, &user, advance(c)?)?;
                    }
                } else {
                    outdate(c, &user)?;
                    outdated.push(user);
                }
            }
            Ok::<_, StoreError>(outdated)
        })
        .await
    }

    /// Keeps all that a server said of the devices of these users; each with whether that holds on, or something changed
    /// meanwhile. Whoever knows them otherwise is told.
    pub async fn put_remote_lists(
        &self,
        lists: Vec<(OwnedUserId, Snapshot, bool)>,
    ) -> Result<(), StoreError> {
        self.write(move |c| lists.into_iter().try_for_each(|(user, list, holds)| put(c, &user, list, holds)))
            .await
    }

    /// Tells whoever has to look again at the devices of users of other servers.
    pub async fn note_remote_lists(&self, users: Vec<OwnedUserId>) -> Result<(), StoreError> {
        self.write(move |c| {
            users.iter().try_for_each(|user| note_list(c, user, advance(c)?))?;
            Ok(())
        })
        .await
    }

    /// Everybody of whom a list of devices is kept.
    pub async fn remote_list_users(&self) -> Result<Vec<OwnedUserId>, StoreError> {
        self.read(|c| {
            c.prepare("SELECT user_id FROM remote_lists")?
                .query_map([], |row| events::parse(0, row.get_ref(0)?.as_str()?))?
                .collect()
        })
        .await
    }

    /// Forgets what is kept of the devices of these users.
    pub async fn forget_remote_lists(&self, users: Vec<OwnedUserId>) -> Result<(), StoreError> {
        self.write(move |c| {
            for user in users {
                let gone = c
                    .prepare_cached("DELETE FROM remote_lists WHERE user_id = ?1")?
                    .execute([user.as_str()])?;
                if gone > 0 {
                    c.prepare_cached("DELETE FROM cross_signing_keys WHERE user_id = ?1")?
                        .execute([user.as_str()])?;
                }
            }
            Ok(())
        })
        .await
    }
}

/// What became of a change.
enum Applied {
    Changed,
    /// It is as it was.
    Known,
    /// What came before it is missing.
    Missing,
}

/// What the list of a user is called, and whether nothing is missing in it.
fn version(c: &Connection, user: &UserId) -> rusqlite::Result<Option<(Option<i64>, bool)>> {
    c.prepare_cached("SELECT stream_id, is_current FROM remote_lists WHERE user_id = ?1")?
        .query_row([user.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
}

fn outdate(c: &Connection, user: &UserId) -> rusqlite::Result<()> {
    c.prepare_cached("UPDATE remote_lists SET is_current = 0 WHERE user_id = ?1")?
        .execute([user.as_str()])
        .map(drop)
}

fn apply(
    c: &Connection,
    user: &UserId,
    change: RemoteChange,
    is_complete: bool,
) -> rusqlite::Result<Applied> {
    if !is_complete {
        return Ok(Applied::Missing);
    }
    match change {
        RemoteChange::Device { device, stream_id, previous, keys } => {
            let Some((Some(known), _)) = version(c, user)? else { return Ok(Applied::Missing) };
            if stream_id == known {
                return Ok(Applied::Known);
            }
            if previous.is_empty() || previous.iter().any(|id| *id != known) {
                return Ok(Applied::Missing);
            }
            let of = (user.as_str(), device.as_str());
            match keys {
                Some((keys, name)) => c
                    .prepare_cached("INSERT OR REPLACE INTO remote_devices VALUES (?1, ?2, ?3, ?4)")?
                    .execute(params![of.0, of.1, keys, name])?,
                None => c
                    .prepare_cached("DELETE FROM remote_devices WHERE user_id = ?1 AND device_id = ?2")?
                    .execute(of)?,
            };
            c.prepare_cached("UPDATE remote_lists SET stream_id = ?2 WHERE user_id = ?1")?
                .execute(params![user.as_str(), stream_id])?;
        }
        RemoteChange::CrossSigning(keys) => put_cross_signing(c, user, &keys)?,
    }
    Ok(Applied::Changed)
}

fn put_cross_signing(c: &Connection, user: &UserId, keys: &BTreeMap<String, String>) -> rusqlite::Result<()> {
    for (usage, key) in keys {
        c.prepare_cached("INSERT OR REPLACE INTO cross_signing_keys VALUES (?1, ?2, ?3)")?
            .execute(params![user.as_str(), usage, key])?;
    }
    Ok(())
}

fn put(c: &Tx<'_>, user: &UserId, list: Snapshot, holds: bool) -> Result<(), StoreError> {
    let of = [user.as_str()];
    let was_known = version(c, user)?.is_some();
    let before = if was_known { Some(whole(c, user)?) } else { None };
    c.prepare_cached("DELETE FROM remote_lists WHERE user_id = ?1")?.execute(of)?;
    c.prepare_cached("DELETE FROM cross_signing_keys WHERE user_id = ?1")?.execute(of)?;
    c.prepare_cached("INSERT INTO remote_lists VALUES (?1, ?2, ?3)")?.execute(params![
        user.as_str(),
        list.stream_id,
        holds
    ])?;
    let mut insert = c.prepare_cached("INSERT INTO remote_devices VALUES (?1, ?2, ?3, ?4)")?;
    for (device, (keys, name)) in &list.devices {
        insert.execute(params![user.as_str(), device, keys, name])?;
    }
    put_cross_signing(c, user, &list.cross_signing)?;
    if before.is_some_and(|before| before != (list.devices, list.cross_signing)) {
        note_list(c, user, advance(c)?)?;
    }
    Ok(())
}

type Whole = (BTreeMap<String, (String, Option<String>)>, BTreeMap<String, String>);

fn whole(c: &Connection, user: &UserId) -> rusqlite::Result<Whole> {
    let devices = c
        .prepare_cached("SELECT device_id, keys, display_name FROM remote_devices WHERE user_id = ?1")?
        .query_map([user.as_str()], |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?))))?
        .collect::<rusqlite::Result<_>>()?;
    let keys = c
        .prepare_cached("SELECT usage, key FROM cross_signing_keys WHERE user_id = ?1")?
        .query_map([user.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    Ok((devices, keys))
}
