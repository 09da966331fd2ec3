//! What devices publish so that others can encrypt for them.

use std::collections::{BTreeMap, BTreeSet};

use ruma::{DeviceId, OwnedUserId, UserId};
use rusqlite::{Connection, OptionalExtension, params};

use super::{
    database::Store,
    device_changes::{CROSS_SIGNING, note_change},
    error::StoreError,
    log::advance,
    proof::{NotProven, Proof},
    tx::Tx,
};
use crate::server::{
    change::{feed::Change, position::LogPosition},
    session::Session,
};

/// One-time keys of one device, at most.
pub const MAX_ONE_TIME_KEYS: u32 = 250;

/// What a device uploads.
#[derive(Debug, Default)]
pub struct KeyUpload {
    /// The device's own keys, as JSON.
    pub device_keys: Option<String>,
    /// `algorithm:id` and key, as JSON, in the order in which they are to be claimed.
    pub one_time_keys: Vec<(String, String)>,
    /// The same; one for each algorithm, used when the others are used up.
    pub fallback_keys: Vec<(String, String)>,
}

/// Why an upload was refused. Nothing of it was stored.
#[derive(Debug)]
pub enum UploadError {
    /// There is another key of this name.
    Taken(String),
    /// The device has too many.
    TooMany,
    /// The database failed.
    Store(StoreError),
}

/// The keys that a device has left.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct KeyCounts {
    /// One-time keys by algorithm.
    pub one_time: BTreeMap<String, u64>,
    /// Algorithms with a fallback key that was not used yet.
    pub unused_fallback: Vec<String>,
}

/// The public keys of a device.
#[derive(Debug)]
pub struct DeviceKeys {
    /// The device.
    pub device: String,
    /// As uploaded, JSON.
    pub keys: String,
    /// The name the user gave the device.
    pub display_name: Option<String>,
}

/// A signature on a key that came after the key.
#[derive(Clone, Debug)]
pub struct KeySignature {
    /// Whose key.
    pub user: OwnedUserId,
    /// A device, or the public part of a cross-signing key.
    pub key: String,
    /// Who signed.
    pub signer: OwnedUserId,
    /// With which key.
    pub signer_key: String,
    /// The signature.
    pub signature: String,
}

impl Store {
    /// Stores what a device uploads.
    pub async fn upload_keys(&self, of: Session, upload: KeyUpload) -> Result<(), UploadError> {
        self.write(move |c| {
            let (user, device) = (of.user.as_str(), of.device.as_str());
            let mut changed = false;
            if let Some(keys) = &upload.device_keys {
                changed = c
                    .prepare_cached(
                        "INSERT INTO device_keys VALUES (?1, ?2, ?3) ON CONFLICT (user_id, device_id)
                         DO UPDATE SET keys = excluded.keys WHERE keys != excluded.keys",
                    )?
                    .execute(params![user, device, keys])?
                    > 0;
            }
            for (id, key) in &upload.one_time_keys {
                insert_one_time_key(c, user, device, id, key)?;
            }
            for (id, key) in &upload.fallback_keys {
                c.prepare_cached(
                    "INSERT INTO fallback_keys VALUES (?1, ?2, ?3, ?4, ?5, 0)
                     ON CONFLICT (user_id, device_id, algorithm)
                     DO UPDATE SET key_id = excluded.key_id, key = excluded.key, used = 0
                     WHERE key_id != excluded.key_id OR key != excluded.key",
                )?
                .execute(params![user, device, algorithm(id), id, key])?;
            }
            if changed {
                note_change(c, &of.user, &[device])?;
            }
            c.tell(Change::KeysLeft { user: of.user, device: of.device });
            Ok(())
        })
        .await
    }

    /// The keys that a device has left.
    pub async fn key_counts(&self, user: &UserId, device: &DeviceId) -> Result<KeyCounts, StoreError> {
        let of = (user.as_str(), device.as_str());
        self.read(|c| {
            let one_time = c
                .prepare_cached(
                    "SELECT algorithm, count(*) FROM one_time_keys WHERE user_id = ?1 AND device_id = ?2
                     GROUP BY algorithm",
                )?
                .query_map(of, |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.cast_unsigned())))?
                .collect::<rusqlite::Result<_>>()?;
            let unused_fallback = c
                .prepare_cached(
                    "SELECT algorithm FROM fallback_keys WHERE user_id = ?1 AND device_id = ?2 AND NOT used
                     ORDER BY algorithm",
                )?
                .query_map(of, |row| row.get(0))?
                .collect::<rusqlite::Result<_>>()?;
            Ok(KeyCounts { one_time, unused_fallback })
        })
        .await
    }

    /// Takes one key of a device for good: the oldest one-time key, else the fallback key, which stays.
    pub async fn claim_key(
        &self,
        user: OwnedUserId,
        device: String,
        algorithm: String,
    ) -> Result<Option<(String, String)>, StoreError> {
        self.write(move |c| {
            let of = (user.as_str(), device.as_str(), algorithm.as_str());
            let pair = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
            let claimed = c
                .prepare_cached(
                    "DELETE FROM one_time_keys WHERE number = (
                         SELECT min(number) FROM one_time_keys
                         WHERE user_id = ?1 AND device_id = ?2 AND algorithm = ?3
                     ) RETURNING key_id, key",
                )?
                .query_row(of, pair)
                .optional()?;
            let claimed = match claimed {
                Some(key) => Some(key),
                None => c
                    .prepare_cached(
                        "UPDATE fallback_keys SET used = 1 WHERE user_id = ?1 AND device_id = ?2 AND algorithm = ?3
                         RETURNING key_id, key",
                    )?
                    .query_row(of, pair)
                    .optional()?,
            };
            if claimed.is_some() {
                c.tell(Change::KeysLeft { user, device: device.into() });
            }
            Ok(claimed)
        })
        .await
    }

    /// The keys of all devices of `user` that have some.
    pub async fn device_keys(&self, user: &UserId) -> Result<Vec<DeviceKeys>, StoreError> {
        self.read(|c| {
            c.prepare_cached(
                "SELECT device_id, keys, display_name FROM device_keys JOIN devices USING (user_id, device_id)
                 WHERE user_id = ?1 ORDER BY device_id",
            )?
            .query_map([user.as_str()], |row| {
                Ok(DeviceKeys { device: row.get(0)?, keys: row.get(1)?, display_name: row.get(2)? })
            })?
            .collect()
        })
        .await
    }

    /// Replaces the given cross-signing keys: pairs of usage and JSON. The first ones of a user need no proof.
    ///
    /// # Errors
    /// [`NotProven::Outdated`] when a proof is given that holds no longer, or none is and there is a master key by now.
    pub async fn set_cross_signing_keys(
        &self,
        user: OwnedUserId,
        keys: Vec<(&'static str, String)>,
        proof: Option<Proof>,
    ) -> Result<(), NotProven> {
        self.write(move |c| {
            match proof {
                Some(proof) => proof.check(c)?,
                None if has_master_key(c, &user)? => return Err(NotProven::Outdated),
                None => {}
            }
            let is_seen_by_others = keys.iter().any(|(usage, _)| *usage != "user_signing");
            for (usage, key) in keys {
                c.prepare_cached("INSERT OR REPLACE INTO cross_signing_keys VALUES (?1, ?2, ?3)")?
                    .execute(params![user.as_str(), usage, key])?;
            }
            if is_seen_by_others {
                note_change(c, &user, &[CROSS_SIGNING])?;
            } else {
                note_own_view(c, &user)?;
            }
            Ok(())
        })
        .await
    }

    /// The cross-signing keys of `user`, as JSON, by usage.
    pub async fn cross_signing_keys(&self, user: &UserId) -> Result<BTreeMap<String, String>, StoreError> {
        self.read(|c| {
            c.prepare_cached("SELECT usage, key FROM cross_signing_keys WHERE user_id = ?1")?
                .query_map([user.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })
        .await
    }

    /// Adds signatures to keys that are stored.
    pub async fn add_key_signatures(&self, signatures: Vec<KeySignature>) -> Result<(), StoreError> {
        self.write(move |c| {
            let mut changed = BTreeMap::<(OwnedUserId, OwnedUserId), BTreeSet<String>>::new();
            for s in signatures {
                let KeySignature { user, key, signer, signer_key, signature } = s;
                let of_device = is_device(c, &user, &key)?;
                let which = if of_device { key.clone() } else { CROSS_SIGNING.to_owned() };
                changed.entry((signer.clone(), user.clone())).or_default().insert(which);
                c.prepare_cached("INSERT OR REPLACE INTO key_signatures VALUES (?1, ?2, ?3, ?4, ?5)")?
                    .execute(params![user.as_str(), key, signer.as_str(), signer_key, signature])?;
            }
            for ((signer, owner), keys) in changed {
                // Signatures on somebody else's key are seen by their maker only.
                if signer == owner {
                    note_change(c, &signer, &keys.iter().map(String::as_str).collect::<Vec<_>>())?;
                } else {
                    note_own_view(c, &signer)?;
                }
            }
            Ok(())
        })
        .await
    }

    /// The later signatures on keys of `user` that `reader` may see: the user's and the reader's own.
    pub async fn key_signatures(
        &self,
        user: &UserId,
        reader: &UserId,
    ) -> Result<Vec<KeySignature>, StoreError> {
        let rows: Vec<(String, String, String, String)> = self
            .read(|c| {
                c.prepare_cached(
                    "SELECT key_id, signer, signer_key, signature FROM key_signatures
                 WHERE user_id = ?1 AND signer IN (?1, ?2) ORDER BY key_id, signer, signer_key",
                )?
                .query_map([user.as_str(), reader.as_str()], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
                })?
                .collect()
            })
            .await?;
        rows.into_iter()
            .map(|(key, signer, signer_key, signature)| {
                let signer = signer.try_into().map_err(|e| StoreError::Corrupt(format!("signer: {e}")))?;
                Ok(KeySignature { user: user.to_owned(), key, signer, signer_key, signature })
            })
            .collect()
    }

    /// The users whose devices or keys changed after position `since`, up to and including `upto`.
    pub async fn device_lists_changed(
        &self,
        since: LogPosition,
        upto: LogPosition,
    ) -> Result<Vec<(LogPosition, OwnedUserId)>, StoreError> {
        let rows: Vec<(LogPosition, String)> = self
            .read(|c| {
                c.prepare_cached(
                    "SELECT position, user_id FROM device_lists WHERE position > ?1 AND position <= ?2",
                )?
                .query_map([since, upto], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
            })
            .await?;
        let parse = |(position, user): (LogPosition, String)| {
            let user = user.try_into().map_err(|e| StoreError::Corrupt(format!("user_id: {e}")))?;
            Ok((position, user))
        };
        rows.into_iter().map(parse).collect()
    }
}

impl Store {
    /// When what only they see of keys last changed for each user.
    pub async fn own_key_views(&self) -> Result<Vec<(OwnedUserId, LogPosition)>, StoreError> {
        let rows: Vec<(String, LogPosition)> = self
            .read(|c| {
                c.prepare_cached("SELECT user_id, position FROM own_key_views")?
                    .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                    .collect()
            })
            .await?;
        let parse = |(user, position): (String, LogPosition)| {
            let user = user.try_into().map_err(|e| StoreError::Corrupt(format!("user_id: {e}")))?;
            Ok((user, position))
        };
        rows.into_iter().map(parse).collect()
    }
}

/// Notes that `user` alone has to look at keys again.
fn note_own_view(c: &Tx<'_>, user: &UserId) -> rusqlite::Result<()> {
    let position = advance(c)?;
    c.prepare_cached("INSERT OR REPLACE INTO own_key_views VALUES (?1, ?2)")?
        .execute(params![user.as_str(), position])?;
    c.tell(Change::OwnKeyView { user: user.to_owned(), position });
    Ok(())
}

fn is_device(c: &Connection, user: &UserId, key: &str) -> rusqlite::Result<bool> {
    c.prepare_cached("SELECT EXISTS (SELECT 1 FROM device_keys WHERE user_id = ?1 AND device_id = ?2)")?
        .query_row([user.as_str(), key], |row| row.get(0))
}

fn has_master_key(c: &Connection, user: &UserId) -> rusqlite::Result<bool> {
    c.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM cross_signing_keys WHERE user_id = ?1 AND usage = 'master')",
    )?
    .query_row([user.as_str()], |row| row.get(0))
}

fn insert_one_time_key(
    c: &Connection,
    user: &str,
    device: &str,
    id: &str,
    key: &str,
) -> Result<(), UploadError> {
    let stored: Option<String> = c
        .prepare_cached(
            "SELECT key FROM one_time_keys WHERE user_id = ?1 AND device_id = ?2 AND key_id = ?3",
        )?
        .query_row([user, device, id], |row| row.get(0))
        .optional()?;
    match stored {
        // The same again: a retransmission.
        Some(stored) if stored == key => return Ok(()),
        Some(_) => return Err(UploadError::Taken(id.to_owned())),
        None => {}
    }
    let count: u32 = c
        .prepare_cached("SELECT count(*) FROM one_time_keys WHERE user_id = ?1 AND device_id = ?2")?
        .query_row([user, device], |row| row.get(0))?;
    if count >= MAX_ONE_TIME_KEYS {
        return Err(UploadError::TooMany);
    }
    c.prepare_cached(
        "INSERT INTO one_time_keys (user_id, device_id, algorithm, key_id, key) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute([user, device, algorithm(id), id, key])?;
    Ok(())
}

/// The algorithm in `algorithm:id`.
fn algorithm(id: &str) -> &str {
    id.split_once(':').map_or(id, |(algorithm, _)| algorithm)
}

impl From<StoreError> for UploadError {
    fn from(e: StoreError) -> Self {
        Self::Store(e)
    }
}

impl From<rusqlite::Error> for UploadError {
    fn from(e: rusqlite::Error) -> Self {
        Self::Store(e.into())
    }
}
