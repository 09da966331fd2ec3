//! Sessions: devices log in and out, and whose access token it is.

use std::sync::Arc;

use ruma::{DeviceId, OwnedDeviceId, OwnedUserId, UserId};

use super::{cache::SessionCache, password::Passwords, refusal::Refusal};
use crate::server::{
    change::feed::Change,
    clock::Clock,
    profile::{MAX_DISPLAYNAME, check_length},
    session::{Session, Token, TokenHash, random_device_id},
    store::{NewDevice, Store, StoreError},
};

/// The longest device identifier, in bytes.
const MAX_DEVICE_ID: usize = 255;

/// Who may come in, with which device. Bounded by its cache of sessions.
#[derive(Debug)]
pub struct Accounts {
    store: Arc<Store>,
    clock: Clock,
    sessions: SessionCache,
    /// Hashing, a bounded number at a time.
    pub passwords: Passwords,
}

/// A device that just logged in.
#[derive(Debug)]
pub struct LoggedIn {
    /// The device.
    pub device: OwnedDeviceId,
    /// Its access token; from here on only the client knows it.
    pub token: Token,
}

impl Accounts {
    /// Nobody was seen lately.
    pub fn new(store: Arc<Store>, clock: Clock) -> Self {
        Self { store, clock, sessions: SessionCache::default(), passwords: Passwords::default() }
    }

    /// Counts the ends of sessions: while it stays the same, nobody was logged out.
    pub fn sessions_ended(&self) -> u64 {
        self.sessions.epoch()
    }

    /// Whose access token this is, if it was used lately.
    pub fn recent_session(&self, token: &str) -> Option<Session> {
        let now = self.clock.unix_ms();
        let found = self.sessions.find(&TokenHash::of(token), now)?;
        if found.seen_long_ago {
            self.store.note_device_seen(found.session.user.clone(), found.session.device.clone(), now);
        }
        Some(found.session)
    }

    /// Whose access token this is. `None`: nobody's, or not any longer.
    pub async fn session(&self, token: &str) -> Result<Option<Session>, StoreError> {
        if let Some(session) = self.recent_session(token) {
            return Ok(Some(session));
        }
        let (hash, now) = (TokenHash::of(token), self.clock.unix_ms());
        let epoch = self.sessions.epoch();
        let Some(session) = self.store.session(&hash).await? else { return Ok(None) };
        self.sessions.insert(hash, &session, now, epoch);
        self.store.note_device_seen(session.user.clone(), session.device.clone(), now);
        Ok(Some(session))
    }

    /// Logs a device of `user` in; a device of the same identifier gets a new token in place of its old one.
    ///
    /// # Errors
    /// [`Refusal::InvalidParam`] for identifiers and names beyond their limits.
    pub async fn log_in(
        &self,
        user: &UserId,
        device: Option<OwnedDeviceId>,
        display_name: Option<String>,
    ) -> Result<LoggedIn, Refusal> {
        let (device, token) = self.new_device(device, display_name)?;
        let logged_in = LoggedIn { device: device.id.clone(), token };
        self.store.add_device(user.to_owned(), device).await?;
        Ok(logged_in)
    }

    /// A device to be stored, with the token that only its client will know.
    ///
    /// # Errors
    /// As for [`Self::log_in`].
    pub fn new_device(
        &self,
        id: Option<OwnedDeviceId>,
        display_name: Option<String>,
    ) -> Result<(NewDevice, Token), Refusal> {
        let id = id.unwrap_or_else(random_device_id);
        if id.as_str().is_empty() || id.as_str().len() > MAX_DEVICE_ID {
            let error = format!("device_id must have 1 to {MAX_DEVICE_ID} bytes");
            return Err(Refusal::InvalidParam(error.into()));
        }
        check_length("initial_device_display_name", display_name.as_deref(), MAX_DISPLAYNAME)?;
        let token = Token::random();
        let (token_hash, seen_ms) = (TokenHash::of(token.as_str()), self.clock.unix_ms());
        Ok((NewDevice { id, display_name, token_hash, seen_ms }, token))
    }

    /// Logs the named devices of `user` out. Those that do not exist are passed over.
    pub async fn log_out(&self, user: &UserId, devices: Vec<OwnedDeviceId>) -> Result<(), StoreError> {
        let removed = self.store.remove_devices(user.to_owned(), devices).await?;
        tracing::debug!(%user, removed, "logged out");
        Ok(())
    }

    /// Logs every device of `user` out, but for the one to keep.
    pub async fn log_out_all(&self, user: &UserId, keep: Option<&DeviceId>) -> Result<(), StoreError> {
        let (user, keep): (OwnedUserId, _) = (user.to_owned(), keep.map(ToOwned::to_owned));
        let removed = self.store.remove_all_devices(user.clone(), keep).await?;
        tracing::debug!(%user, removed, "logged out");
        Ok(())
    }

    /// Forgets the sessions that ended.
    pub fn follow(&self, change: &Change) {
        if let Change::SessionsEnded { tokens, .. } = change {
            self.sessions.forget(tokens.iter().copied());
        }
    }
}
