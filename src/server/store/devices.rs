//! Devices and the hashes of their access tokens.

use ruma::{DeviceId, OwnedDeviceId, OwnedUserId, UserId};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    database::Store,
    device_changes::note_change,
    error::StoreError,
    proof::{NotProven, Proof},
    pushers,
    refreshes::{self, NewTokens, end},
    to_device,
    tx::Tx,
};
use crate::server::session::TokenHash;

/// Devices of one user at most; one more displaces the one that was seen longest ago, but for those in use.
pub const MAX_DEVICES: u32 = 200;

/// A device to be stored.
#[derive(Debug)]
pub struct NewDevice {
    /// The identifier, unique for the user.
    pub id: OwnedDeviceId,
    /// The name that the user sees in lists of devices.
    pub display_name: Option<String>,
    /// The hash of its access token.
    pub token_hash: TokenHash,
    /// When it logged in.
    pub seen_ms: u64,
    /// What it gets its next access token for; `None`: this one is good until it logs out.
    pub tokens: Option<NewTokens>,
}

/// A device of a user.
#[derive(Debug)]
pub struct Device {
    /// The identifier, unique for the user.
    pub id: OwnedDeviceId,
    /// The name that the user sees in lists of devices.
    pub display_name: Option<String>,
    /// When it last sent a request, to within some minutes.
    pub last_seen_ms: Option<u64>,
}

impl Store {
    /// Stores a device that logged in, of the user who proved to be it. One of the same identifier keeps its name and gets
    /// the new token; of too many, the one that was seen longest ago goes. Those `in_use` stay, but for the last of them
    /// when they are too many themselves: what a device did that came before, many logins cannot undo.
    ///
    /// # Errors
    /// [`NotProven::Outdated`] when the user has another password by now, or is gone.
    pub async fn add_device(
        &self,
        proof: Proof,
        device: NewDevice,
        in_use: Vec<OwnedDeviceId>,
    ) -> Result<(), NotProven> {
        self.write(move |c| {
            proof.check(c)?;
            let user = proof.user;
            let own_token = c
                .prepare_cached("SELECT token_hash FROM devices WHERE user_id = ?1 AND device_id = ?2")?
                .query_row([user.as_str(), device.id.as_str()], |row| row.get(0).map(TokenHash))
                .optional()?;
            let mut gone_with_it = refreshes::forget(c, &user, &device.id)?;
            insert(c, &user, &device)?;
            match own_token {
                Some(token) => {
                    gone_with_it.push(token);
                    end(c, &user, gone_with_it, Vec::new())?;
                }
                None => {
                    // Without keys it is nothing to other servers.
                    note_change(c, &user, &[])?;
                    let removed = displace(c, &user, &device.id, &in_use)?;
                    gone(c, &user, removed)?;
                }
            }
            Ok(())
        })
        .await
    }

    /// The devices of `user`, in the order of their identifiers.
    pub async fn devices(&self, user: &UserId) -> Result<Vec<Device>, StoreError> {
        self.read(|c| {
            c.prepare_cached(
                "SELECT device_id, display_name, last_seen_ms FROM devices WHERE user_id = ?1 ORDER BY device_id",
            )?
            .query_map([user.as_str()], device)?
            .collect()
        }).await
    }

    /// One device of `user`.
    pub async fn device(&self, user: &UserId, id: &DeviceId) -> Result<Option<Device>, StoreError> {
        self.read(|c| {
            c.prepare_cached(
                "SELECT device_id, display_name, last_seen_ms FROM devices WHERE user_id = ?1 AND device_id = ?2",
            )?
            .query_row([user.as_str(), id.as_str()], device)
            .optional()
        }).await
    }

    /// Names a device, for everybody who asks for its keys. `false`: there is no such device.
    pub async fn rename_device(
        &self,
        user: OwnedUserId,
        id: OwnedDeviceId,
        display_name: Option<String>,
    ) -> Result<bool, StoreError> {
        self.write(move |c| {
            let before: Option<Option<String>> = c
                .prepare_cached("SELECT display_name FROM devices WHERE user_id = ?1 AND device_id = ?2")?
                .query_row([user.as_str(), id.as_str()], |row| row.get(0))
                .optional()?;
            let Some(before) = before else { return Ok::<_, StoreError>(false) };
            if before != display_name {
                c.prepare_cached(
                    "UPDATE devices SET display_name = ?3 WHERE user_id = ?1 AND device_id = ?2",
                )?
                .execute(params![user.as_str(), id.as_str(), display_name])?;
                note_change(c, &user, &[])?;
            }
            Ok(true)
        })
        .await
    }

    /// Removes the named devices, those of them that exist; answers how many did.
    ///
    /// # Errors
    /// [`NotProven::Outdated`] when a proof is given that no longer holds.
    pub async fn remove_devices(
        &self,
        user: OwnedUserId,
        ids: Vec<OwnedDeviceId>,
        proof: Option<Proof>,
    ) -> Result<usize, NotProven> {
        self.write(move |c| {
            proof.map_or(Ok(()), |proof| proof.check(c))?;
            let mut removed = Vec::new();
            for id in ids {
                removed.extend(remove(c, &user, &id)?);
            }
            let count = removed.len();
            gone(c, &user, removed)?;
            Ok(count)
        })
        .await
    }

    /// Removes every device of `user`; answers how many there were.
    pub async fn remove_all_devices(&self, user: OwnedUserId) -> Result<usize, StoreError> {
        self.write(move |c| remove_all(c, &user, None)).await
    }

    /// Writes down some time soon that a device was seen; is passed over when the writer is busy.
    pub fn note_device_seen(&self, user: OwnedUserId, id: OwnedDeviceId, at_ms: u64) {
        self.write_later(move |c| {
            c.prepare_cached("UPDATE devices SET last_seen_ms = ?3 WHERE user_id = ?1 AND device_id = ?2")?
                .execute(params![user.as_str(), id.as_str(), at_ms.cast_signed()])
        });
    }
}

/// Inserts a device, or gives the one of that identifier a new token.
pub(super) fn insert(c: &Connection, user: &UserId, device: &NewDevice) -> rusqlite::Result<()> {
    c.prepare_cached(
        "INSERT INTO devices (user_id, device_id, display_name, token_hash, last_seen_ms) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (user_id, device_id)
         DO UPDATE SET token_hash = excluded.token_hash, last_seen_ms = excluded.last_seen_ms",
    )?
    .execute(params![
        user.as_str(),
        device.id.as_str(),
        device.display_name,
        &device.token_hash.0[..],
        device.seen_ms.cast_signed()
    ])?;
    refreshes::set(c, user, &device.id, device.tokens)
}

/// Removes every device of `user`, but for the one to keep; answers how many there were.
pub(super) fn remove_all(c: &Tx<'_>, user: &UserId, keep: Option<&DeviceId>) -> Result<usize, StoreError> {
    let removed: Vec<_> = c
        .prepare_cached(
            "DELETE FROM devices WHERE user_id = ?1 AND device_id IS NOT ?2 RETURNING device_id, token_hash",
        )?
        .query_map(params![user.as_str(), keep.map(DeviceId::as_str)], removed_device)?
        .collect::<rusqlite::Result<_>>()?;
    let count = removed.len();
    gone(c, user, removed)?;
    Ok(count)
}

/// Removes the devices seen longest ago, until `user` has no more than allowed; those `in_use` last, from their end.
fn displace(
    c: &Connection,
    user: &UserId,
    newest: &DeviceId,
    in_use: &[OwnedDeviceId],
) -> rusqlite::Result<Vec<Removed>> {
    let mut others: Vec<OwnedDeviceId> = c
        .prepare_cached(
            "SELECT device_id FROM devices WHERE user_id = ?1 AND device_id != ?2
             ORDER BY last_seen_ms DESC, device_id",
        )?
        .query_map([user.as_str(), newest.as_str()], |row| Ok(row.get::<_, String>(0)?.into()))?
        .collect::<rusqlite::Result<_>>()?;
    let rank = |device: &OwnedDeviceId| in_use.iter().position(|used| used == device).unwrap_or(usize::MAX);
    others.sort_by_cached_key(rank);
    let mut removed = Vec::new();
    for device in others.iter().skip(MAX_DEVICES as usize - 1) {
        removed.extend(remove(c, user, device)?);
    }
    Ok(removed)
}

fn remove(c: &Connection, user: &UserId, id: &DeviceId) -> rusqlite::Result<Option<Removed>> {
    c.prepare_cached(
        "DELETE FROM devices WHERE user_id = ?1 AND device_id = ?2 RETURNING device_id, token_hash",
    )?
    .query_row([user.as_str(), id.as_str()], removed_device)
    .optional()
}

fn device(row: &Row<'_>) -> rusqlite::Result<Device> {
    Ok(Device {
        id: row.get::<_, String>(0)?.into(),
        display_name: row.get(1)?,
        last_seen_ms: row.get::<_, Option<i64>>(2)?.map(i64::cast_unsigned),
    })
}

/// A device that is gone, and the access token that it had.
type Removed = (OwnedDeviceId, TokenHash);

fn removed_device(row: &Row<'_>) -> rusqlite::Result<Removed> {
    Ok((row.get::<_, String>(0)?.into(), TokenHash(row.get(1)?)))
}

/// What follows when devices are gone: their messages go too, and everybody hears of it.
fn gone(c: &Tx<'_>, user: &UserId, removed: Vec<Removed>) -> Result<(), StoreError> {
    if removed.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = removed.iter().map(|(device, _)| device.as_str()).collect();
    note_change(c, user, &names)?;
    let (devices, mut tokens): (Vec<_>, Vec<_>) = removed.into_iter().unzip();
    for device in &devices {
        tokens.extend(refreshes::forget(c, user, device)?);
        to_device::forget(c, user, device)?;
        pushers::forget(c, user, device)?;
    }
    end(c, user, tokens, devices)
}
