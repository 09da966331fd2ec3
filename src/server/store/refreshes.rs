//! Access tokens that end, and the refresh tokens for which their devices get the next.
//!
//! Client-server API, "Refreshing access tokens". What is given out for a refresh token takes the place of what was before only
//! when it is used: a client that did not get the answer asks once more.

use ruma::{DeviceId, OwnedDeviceId, OwnedUserId, UserId};
use rusqlite::{Connection, OptionalExtension, params};

use super::{database::Store, error::StoreError, tx::Tx};
use crate::server::{
    change::feed::Change,
    session::{Session, TokenHash},
};

/// A pair of tokens.
#[derive(Clone, Copy, Debug)]
pub struct NewTokens {
    /// The hash of the access token.
    pub access: TokenHash,
    /// The hash of the refresh token.
    pub refresh: TokenHash,
    /// Until when the access token is good, in milliseconds since the Unix epoch.
    pub expires_ms: u64,
}

/// Whose access token it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Known {
    /// The user and device.
    pub session: Session,
    /// Until when it is good, in milliseconds since the Unix epoch; `None`: until the device logs out.
    pub expires_ms: Option<u64>,
    /// It was given out for a refresh token, and is used for the first time.
    pub is_next: bool,
}

impl Store {
    /// Whose access token has this hash. It can have ended.
    pub async fn known(&self, hash: &TokenHash) -> Result<Option<Known>, StoreError> {
        let row = self
            .read(|c| {
                c.prepare_cached(
                    "SELECT d.user_id, d.device_id, r.expires_ms, 0 FROM devices d \
                     LEFT JOIN refreshes r ON r.user_id = d.user_id AND r.device_id = d.device_id \
                     WHERE d.token_hash = ?1 \
                     UNION ALL SELECT user_id, device_id, next_expires_ms, 1 FROM refreshes WHERE next_hash = ?1 \
                     UNION ALL SELECT user_id, device_id, last_expires_ms, 0 FROM refreshes WHERE last_hash = ?1",
                )?
                .query_row([&hash.0[..]], |row| {
                    let (user, device): (String, String) = (row.get(0)?, row.get(1)?);
                    Ok((user, device, row.get::<_, Option<i64>>(2)?, row.get(3)?))
                })
                .optional()
            })
            .await?;
        row.map(|(user, device, expires_ms, is_next)| {
            let user = user.try_into().map_err(|e| StoreError::Corrupt(format!("user_id: {e}")))?;
            let session = Session { user, device: device.into() };
            Ok(Known { session, expires_ms: expires_ms.map(i64::cast_unsigned), is_next })
        })
        .transpose()
    }

    /// Gives a device its next tokens for its refresh token. `None`: the refresh token is nobody's, or nobody's any longer.
    pub async fn refresh(&self, refresh: TokenHash, next: NewTokens) -> Result<Option<Session>, StoreError> {
        self.write(move |c| {
            // Who shows the next one has got it, whatever became of the access token that came with it.
            promote(c, "next_refresh_hash", &refresh)?;
            let whose: Option<(String, String)> = c
                .prepare_cached(
                    "UPDATE refreshes SET next_hash = ?2, next_refresh_hash = ?3, next_expires_ms = ?4 \
                     WHERE refresh_hash = ?1 RETURNING user_id, device_id",
                )?
                .query_row(
                    params![
                        &refresh.0[..],
                        &next.access.0[..],
                        &next.refresh.0[..],
                        next.expires_ms.cast_signed()
                    ],
                    |row| Ok((row.get(0)?, row.get(1)?)),
                )
                .optional()?;
            whose
                .map(|(user, device)| {
                    let user = user.try_into().map_err(|e| StoreError::Corrupt(format!("user_id: {e}")))?;
                    Ok(Session { user, device: device.into() })
                })
                .transpose()
        })
        .await
    }

    /// An access token that was given out for a refresh token is used: that one is good no longer.
    pub async fn take_next(&self, next: TokenHash) -> Result<(), StoreError> {
        self.write(move |c| promote(c, "next_hash", &next)).await
    }
}

/// What was given out, of which `column` is `hash`, takes the place of what was before.
fn promote(c: &Tx<'_>, column: &str, hash: &TokenHash) -> Result<(), StoreError> {
    type Row = (String, String, Option<TokenHash>);
    let sql = format!("SELECT user_id, device_id, last_hash FROM refreshes WHERE {column} = ?1");
    let found: Option<Row> = c
        .prepare_cached(&sql)?
        .query_row([&hash.0[..]], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get::<_, Option<[u8; 32]>>(2)?.map(TokenHash)))
        })
        .optional()?;
    let Some((user, device, last)) = found else { return Ok(()) };
    c.prepare_cached(
        "UPDATE refreshes SET last_hash = (SELECT token_hash FROM devices d \
             WHERE d.user_id = refreshes.user_id AND d.device_id = refreshes.device_id), \
             last_expires_ms = expires_ms, refresh_hash = next_refresh_hash, expires_ms = next_expires_ms \
         WHERE user_id = ?1 AND device_id = ?2",
    )?
    .execute([&user, &device])?;
    c.prepare_cached(
        "UPDATE devices SET token_hash = (SELECT next_hash FROM refreshes r \
             WHERE r.user_id = devices.user_id AND r.device_id = devices.device_id) \
         WHERE user_id = ?1 AND device_id = ?2",
    )?
    .execute([&user, &device])?;
    c.prepare_cached(
        "UPDATE refreshes SET next_hash = NULL, next_refresh_hash = NULL, next_expires_ms = NULL \
         WHERE user_id = ?1 AND device_id = ?2",
    )?
    .execute([&user, &device])?;
    let user: OwnedUserId = user.try_into().map_err(|e| StoreError::Corrupt(format!("user_id: {e}")))?;
    match last {
        Some(last) => end(c, &user, vec![last], Vec::new()),
        None => Ok(()),
    }
}

/// A device that logged in has these tokens, and none of before.
pub(super) fn set(
    c: &Connection,
    user: &UserId,
    device: &DeviceId,
    tokens: Option<NewTokens>,
) -> rusqlite::Result<()> {
    let Some(tokens) = tokens else { return Ok(()) };
    c.prepare_cached(
        "INSERT INTO refreshes (user_id, device_id, refresh_hash, expires_ms) VALUES (?1, ?2, ?3, ?4)",
    )?
    .execute(params![
        user.as_str(),
        device.as_str(),
        &tokens.refresh.0[..],
        tokens.expires_ms.cast_signed()
    ])?;
    Ok(())
}

/// A device has none any longer; the access tokens that it had beside its own.
pub(super) fn forget(
    c: &Connection,
    user: &UserId,
    device: &OwnedDeviceId,
) -> rusqlite::Result<Vec<TokenHash>> {
    let gone: Option<[Option<[u8; 32]>; 2]> = c
        .prepare_cached(
            "DELETE FROM refreshes WHERE user_id = ?1 AND device_id = ?2 RETURNING last_hash, next_hash",
        )?
        .query_row([user.as_str(), device.as_str()], |row| Ok([row.get(0)?, row.get(1)?]))
        .optional()?;
    Ok(gone.into_iter().flatten().flatten().map(TokenHash).collect())
}

/// Access tokens are good no longer, and these devices are gone.
pub(super) fn end(
    c: &Tx<'_>,
    user: &UserId,
    tokens: Vec<TokenHash>,
    devices: Vec<OwnedDeviceId>,
) -> Result<(), StoreError> {
    let none_left = c
        .prepare_cached("SELECT NOT EXISTS (SELECT 1 FROM devices WHERE user_id = ?1)")?
        .query_row([user.as_str()], |row| row.get(0))?;
    c.tell(Change::SessionsEnded { user: user.to_owned(), tokens, devices, none_left });
    Ok(())
}
