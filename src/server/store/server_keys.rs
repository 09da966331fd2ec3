//! Other servers' signing keys.

use ruma::{OwnedServerName, ServerName};
use rusqlite::params;

use super::{database::Store, error::StoreError};
use crate::core::time::UnixMillis;

/// A key's ID and its public half.
pub type ServerKey = (String, Vec<u8>);

impl Store {
    /// The keys of `server` by their IDs, and until when they hold; the epoch when there are none.
    pub async fn server_keys(&self, server: &ServerName) -> Result<(Vec<ServerKey>, UnixMillis), StoreError> {
        let rows: Vec<(String, Vec<u8>, i64)> = self
            .read(|c| {
                c.prepare_cached(
                    "SELECT key_id, public_key, valid_until_ms FROM server_keys WHERE server = ?1",
                )?
                .query_map([server.as_str()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
                .collect()
            })
            .await?;
        let until =
            rows.iter().map(|(_, _, until)| UnixMillis(until.cast_unsigned())).min().unwrap_or_default();
        Ok((rows.into_iter().map(|(id, key, _)| (id, key)).collect(), until))
    }

    /// Replaces the keys of `server`.
    pub async fn put_server_keys(
        &self,
        server: OwnedServerName,
        keys: Vec<ServerKey>,
        valid_until: UnixMillis,
    ) -> Result<(), StoreError> {
        self.write(move |c| {
            c.prepare_cached("DELETE FROM server_keys WHERE server = ?1")?.execute([server.as_str()])?;
            let mut insert = c.prepare_cached("INSERT INTO server_keys VALUES (?1, ?2, ?3, ?4)")?;
            for (id, key) in keys {
                insert.execute(params![server.as_str(), id, key, valid_until.0.cast_signed()])?;
            }
            Ok(())
        })
        .await
    }
}
