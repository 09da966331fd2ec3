//! Tokens with which users show to others who they are.

use ruma::OwnedUserId;
use rusqlite::{OptionalExtension, params};

use super::{database::Store, error::StoreError, events};
use crate::server::session::TokenHash;

/// Tokens of one user that are valid at once; with one more the oldest ends.
pub const MAX_OPENID_TOKENS: u32 = 100;

impl Store {
    /// Keeps a token until it expires. Those that have expired go.
    pub async fn put_openid_token(
        &self,
        user: OwnedUserId,
        hash: TokenHash,
        now_ms: u64,
        expires_ms: u64,
    ) -> Result<(), StoreError> {
        self.write(move |c| {
            c.prepare_cached("DELETE FROM openid_tokens WHERE user_id = ?1 AND expires_ms <= ?2")?
                .execute(params![user.as_str(), now_ms.cast_signed()])?;
            c.prepare_cached("INSERT INTO openid_tokens VALUES (?1, ?2, ?3)")?.execute(params![
                &hash.0[..],
                user.as_str(),
                expires_ms.cast_signed()
            ])?;
            c.prepare_cached(
                "DELETE FROM openid_tokens WHERE user_id = ?1 AND token_hash NOT IN
                 (SELECT token_hash FROM openid_tokens WHERE user_id = ?1 ORDER BY expires_ms DESC LIMIT ?2)",
            )?
            .execute(params![user.as_str(), MAX_OPENID_TOKENS])?;
            Ok(())
        })
        .await
    }

    /// Whose token this is; `None`: nobody's, or not any longer.
    pub async fn openid_user(&self, hash: TokenHash, now_ms: u64) -> Result<Option<OwnedUserId>, StoreError> {
        self.read(|c| {
            c.prepare_cached(
                "SELECT t.user_id FROM openid_tokens t JOIN users u USING (user_id)
                 WHERE t.token_hash = ?1 AND t.expires_ms > ?2 AND NOT u.deactivated",
            )?
            .query_row(params![&hash.0[..], now_ms.cast_signed()], |row| {
                events::parse(0, row.get_ref(0)?.as_str()?)
            })
            .optional()
        })
        .await
    }
}
