//! Which devices of this server's users changed, and which other servers are still to be told.

use std::collections::BTreeSet;

use ruma::{OwnedServerName, OwnedUserId, ServerName, UserId};
use rusqlite::{Connection, OptionalExtension, params};

use super::{database::Store, error::StoreError, events, log::advance, tx::Tx};
use crate::server::change::{feed::Change, position::LogPosition};

/// Devices of one user that are gone and are told of; the others are found missing by who looks at the whole list.
const MAX_GONE: u32 = 200;

/// What stands for the cross-signing keys where a device would stand.
pub(super) const CROSS_SIGNING: &str = "";

/// A change of a user's devices that another server is to be told of.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum DeviceChange {
    /// A device has (other) keys, or is gone.
    Device {
        /// Which.
        device: String,
        /// The number of the change.
        position: LogPosition,
        /// The number of the one before, if there was one.
        previous: Option<LogPosition>,
        /// Its keys, JSON; `None`: it is gone.
        keys: Option<String>,
    },
    /// The user's cross-signing keys are others.
    CrossSigning {
        /// The number of the change.
        position: LogPosition,
    },
}

impl DeviceChange {
    /// The number of the change.
    pub fn position(&self) -> LogPosition {
        match self {
            Self::Device { position, .. } | Self::CrossSigning { position } => *position,
        }
    }
}

impl Store {
    /// The users whose devices changed, and for whom it was not found out yet who is to be told; and where each was before.
    pub async fn device_changes_to_spread(&self) -> Result<Vec<(OwnedUserId, LogPosition)>, StoreError> {
        self.read(|c| {
            c.prepare_cached(
                "SELECT user_id, max(position) FROM device_changes
                 WHERE position > (SELECT position FROM device_outbox_upto) GROUP BY user_id",
            )?
            .query_map([], |row| Ok((events::parse(0, row.get_ref(0)?.as_str()?)?, row.get(1)?)))?
            .collect()
        })
        .await
    }

    /// These servers are to be told what changed of these users after all that was spread before: that is, up to `upto`.
    /// Those that are to be told something.
    pub async fn spread_device_changes(
        &self,
        users: Vec<(OwnedUserId, Vec<OwnedServerName>)>,
        upto: LogPosition,
    ) -> Result<BTreeSet<OwnedServerName>, StoreError> {
        self.write(move |c| {
            let since: LogPosition = c
                .prepare_cached("SELECT position FROM device_outbox_upto")?
                .query_row([], |row| row.get(0))?;
            let mut insert = c.prepare_cached("INSERT OR IGNORE INTO device_outbox VALUES (?1, ?2, ?3)")?;
            let mut told = BTreeSet::new();
            for (user, servers) in users {
                // A name, or a device without keys, is nothing to other servers.
                if !has_changes(c, &user, since)? {
                    continue;
                }
                for server in servers {
                    insert.execute(params![server.as_str(), user.as_str(), since])?;
                    told.insert(server);
                }
            }
            c.prepare_cached("UPDATE device_outbox_upto SET position = max(position, ?1)")?
                .execute([upto])?;
            Ok(told)
        })
        .await
    }

    /// The servers that are to be told something of devices, or have messages for theirs.
    pub async fn device_outbox_servers(&self) -> Result<Vec<OwnedServerName>, StoreError> {
        self.read(|c| {
            c.prepare("SELECT server FROM device_outbox UNION SELECT server FROM to_device_outbox")?
                .query_map([], |row| events::parse(0, row.get_ref(0)?.as_str()?))?
                .collect()
        })
        .await
    }

    /// The users of whose devices `server` is to be told, and since when; at most `limit`.
    pub async fn device_outbox(
        &self,
        server: &ServerName,
        limit: usize,
    ) -> Result<Vec<(OwnedUserId, LogPosition)>, StoreError> {
        self.read(|c| {
            c.prepare_cached("SELECT user_id, since FROM device_outbox WHERE server = ?1 LIMIT ?2")?
                .query_map(params![server.as_str(), i64::try_from(limit).unwrap_or(i64::MAX)], |row| {
                    Ok((events::parse(0, row.get_ref(0)?.as_str()?)?, row.get(1)?))
                })?
                .collect()
        })
        .await
    }

    /// What changed of the devices of `user` after a position, in order; at most `limit`.
    pub async fn device_changes(
        &self,
        user: &UserId,
        since: LogPosition,
        limit: usize,
    ) -> Result<Vec<DeviceChange>, StoreError> {
        self.read(|c| {
            c.prepare_cached(
                "SELECT device_id, position, previous, keys FROM device_changes
                 LEFT JOIN device_keys USING (user_id, device_id)
                 WHERE user_id = ?1 AND position > ?2 ORDER BY position LIMIT ?3",
            )?
            .query_map(params![user.as_str(), since, i64::try_from(limit).unwrap_or(i64::MAX)], |row| {
                let (device, position): (String, _) = (row.get(0)?, row.get(1)?);
                if device == CROSS_SIGNING {
                    return Ok(DeviceChange::CrossSigning { position });
                }
                let previous = Some(row.get(2)?).filter(|previous| *previous > LogPosition::START);
                Ok(DeviceChange::Device { device, position, previous, keys: row.get(3)? })
            })?
            .collect()
        })
        .await
    }

    /// The number of the last change of a device of `user`: what the list is called by.
    pub async fn device_list_version(&self, user: &UserId) -> Result<LogPosition, StoreError> {
        self.read(|c| last_of(c, user)).await
    }

    /// `server` was told of these users up to these changes.
    pub async fn acknowledge_device_changes(
        &self,
        server: OwnedServerName,
        users: Vec<(OwnedUserId, LogPosition)>,
    ) -> Result<(), StoreError> {
        self.write(move |c| {
            for (user, upto) in users {
                let of = params![server.as_str(), user.as_str(), upto];
                c.prepare_cached(
                    "UPDATE device_outbox SET since = max(since, ?3) WHERE server = ?1 AND user_id = ?2",
                )?
                .execute(of)?;
                c.prepare_cached(
                    "DELETE FROM device_outbox WHERE server = ?1 AND user_id = ?2 AND NOT EXISTS (
                         SELECT 1 FROM device_changes WHERE user_id = ?2 AND position > ?3)",
                )?
                .execute(of)?;
            }
            Ok(())
        })
        .await
    }
}

fn has_changes(c: &Connection, user: &UserId, since: LogPosition) -> rusqlite::Result<bool> {
    c.prepare_cached("SELECT EXISTS (SELECT 1 FROM device_changes WHERE user_id = ?1 AND position > ?2)")?
        .query_row(params![user.as_str(), since], |row| row.get(0))
}

/// Notes that others have to look at the devices of `user` again; other servers at those that are named.
pub(super) fn note_change(c: &Tx<'_>, user: &UserId, devices: &[&str]) -> rusqlite::Result<()> {
    let mut last = None;
    for device in devices {
        let previous = last_of(c, user)?;
        let position = advance(c)?;
        c.prepare_cached("INSERT OR REPLACE INTO device_changes VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![user.as_str(), device, position, previous])?;
        last = Some(position);
    }
    if last.is_some() {
        forget_those_long_gone(c, user)?;
    }
    let position = last.map_or_else(|| advance(c), Ok)?;
    note_list(c, user, position)
}

/// Notes that others on this server have to look at the devices of `user` again.
pub(super) fn note_list(c: &Tx<'_>, user: &UserId, position: LogPosition) -> rusqlite::Result<()> {
    c.prepare_cached("INSERT OR REPLACE INTO device_lists VALUES (?1, ?2)")?
        .execute(params![user.as_str(), position])?;
    c.tell(Change::DeviceList { user: user.to_owned(), position });
    Ok(())
}

/// The number of the last change of a device of `user`.
fn last_of(c: &Connection, user: &UserId) -> rusqlite::Result<LogPosition> {
    let last: Option<LogPosition> = c
        .prepare_cached(
            "SELECT position FROM device_changes WHERE user_id = ?1 AND device_id != ''
             ORDER BY position DESC LIMIT 1",
        )?
        .query_row([user.as_str()], |row| row.get(0))
        .optional()?;
    Ok(last.unwrap_or(LogPosition::START))
}

fn forget_those_long_gone(c: &Connection, user: &UserId) -> rusqlite::Result<()> {
    c.prepare_cached(
        "DELETE FROM device_changes WHERE user_id = ?1 AND device_id IN (
             SELECT device_id FROM device_changes
             WHERE user_id = ?1 AND device_id != '' AND NOT EXISTS (
                 SELECT 1 FROM devices WHERE user_id = ?1 AND device_id = device_changes.device_id)
             ORDER BY position DESC LIMIT -1 OFFSET ?2)",
    )?
    .execute(params![user.as_str(), MAX_GONE])?;
    Ok(())
}
