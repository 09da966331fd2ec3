//! The number of this server's start, by which other servers tell its messages from earlier ones.

use rusqlite::Connection;

use super::{database::Store, error::StoreError};
use crate::core::time::UnixMillis;

impl Store {
    /// Whether a server has run on this data, and so has signed with its key.
    pub async fn was_served(&self) -> Result<bool, StoreError> {
        self.read(was_served).await
    }

    /// A number greater than at every earlier start: the time in milliseconds, or, when the clock was
    /// set back, one more than the last.
    ///
    /// When it cannot be written, as on a full disk, the server starts all the same: the next number is greater then
    /// unless the clock is set back.
    ///
    /// # Errors
    /// [`StoreError`] when the last one cannot be read.
    pub async fn next_epoch(&self, now: UnixMillis) -> Result<u64, StoreError> {
        let now = now.0.cast_signed();
        let last: i64 =
            self.read(|c| c.query_row("SELECT epoch FROM federation_epoch", [], |row| row.get(0))).await?;
        let epoch = now.max(last.saturating_add(1));
        let written = self.write(move |c| {
            c.execute("UPDATE federation_epoch SET epoch = ?1", [epoch]).map_err(StoreError::from)
        });
        if let Err(e) = written.await {
            tracing::warn!(error = %e, "this start is not written down: the disk takes no writes");
        }
        Ok(epoch.cast_unsigned())
    }
}

/// See [`Store::was_served`].
pub(super) fn was_served(c: &Connection) -> rusqlite::Result<bool> {
    c.query_row(
        "SELECT EXISTS (SELECT 1 FROM federation_epoch WHERE epoch > 0) OR EXISTS (SELECT 1 FROM events)",
        [],
        |row| row.get(0),
    )
}

#[cfg(test)]
mod tests {
    use ruma::server_name;

    use super::*;
    use crate::server::store::open::Access;

    #[tokio::test]
    async fn an_epoch_is_greater_than_every_earlier_one_though_the_clock_was_set_back() {
        let folder = std::env::temp_dir().join(format!("pilotlight-epoch-{}", std::process::id()));
        for (clock, epoch) in [(1_000, 1_000), (2_000, 2_000), (500, 2_001), (500, 2_002), (3_000, 3_000)] {
            let store =
                Store::open(&folder, server_name!("x"), Access::Sole, Default::default()).expect("opens");
            assert_eq!(store.next_epoch(UnixMillis(clock)).await.expect("is written"), epoch);
            store.close().await;
        }
        std::fs::remove_dir_all(folder).expect("can be removed");
    }
}
