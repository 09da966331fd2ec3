//! Accounts, devices and access tokens.

use rusqlite::OptionalExtension;
use sha2::{Digest, Sha256};

use super::{Store, StoreError};
use crate::server::http::Session;

impl Store {
    /// Whose access token this is.
    pub fn session(&self, token: &str) -> Result<Option<Session>, StoreError> {
        let hash = Sha256::digest(token.as_bytes());
        let row = self.read(|c| {
            c.prepare_cached("SELECT user_id, device_id FROM devices WHERE token_hash = ?1")?
                .query_row([&hash[..]], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))
                .optional()
        })?;
        row.map(|(user, device)| {
            let user = user.try_into().map_err(|e| StoreError::Corrupt(format!("user_id: {e}")))?;
            Ok(Session { user, device: device.into() })
        })
        .transpose()
    }
}
