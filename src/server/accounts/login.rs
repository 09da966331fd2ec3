//! Sessions: devices log in and out, and whose access token it is.

use std::sync::Arc;

use ruma::{DeviceId, OwnedDeviceId, UserId};

use super::{cache::SessionCache, interaction::Interactions, password::Passwords, refusal::Refusal};
use crate::server::{
    change::feed::Change,
    clock::Clock,
    profile::{MAX_DISPLAYNAME, check_length},
    session::{Session, Token, TokenHash, random_device_id},
    store::{NewDevice, NotProven, Proof, Store, StoreError},
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
    /// Who is about to show who they are.
    pub interactions: Interactions,
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
        Self {
            store,
            clock,
            sessions: SessionCache::default(),
            passwords: Passwords::default(),
            interactions: Interactions::default(),
        }
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

    /// What shows that `password` is the one of `user`; `None`: it is not.
    ///
    /// # Errors
    /// [`Refusal::Busy`] when too many passwords are being looked at.
    pub async fn check_password(&self, user: &UserId, password: String) -> Result<Option<Proof>, Refusal> {
        let password_hash = self.store.login(user).await?.and_then(|login| login.password_hash);
        let is_right = self.passwords.verify(password, password_hash.clone()).await?;
        Ok(is_right.then(|| Proof { user: user.to_owned(), password_hash }))
    }

    /// What shows that somebody is `user` who has shown so before.
    pub async fn current_proof(&self, user: &UserId) -> Result<Proof, StoreError> {
        let password_hash = self.store.login(user).await?.and_then(|login| login.password_hash);
        Ok(Proof { user: user.to_owned(), password_hash })
    }

    /// Logs a device of a user in; a device of the same identifier gets a new token in place of its old one.
    ///
    /// # Errors
    /// [`Refusal::InvalidParam`] for identifiers and names beyond their limits, [`Refusal::Outdated`] when `proof` holds
    /// no longer.
    pub async fn log_in(
        &self,
        proof: Proof,
        device: Option<OwnedDeviceId>,
        display_name: Option<String>,
    ) -> Result<LoggedIn, Refusal> {
        let (device, token) = self.new_device(device, display_name)?;
        let logged_in = LoggedIn { device: device.id.clone(), token };
        self.store.add_device(proof, device).await?;
        Ok(logged_in)
    }

    /// A device to be stored, with the token that only its client will know.
    ///
    /// # Errors
    /// [`Refusal::InvalidParam`] for identifiers and names beyond their limits.
    pub fn new_device(
        &self,
        id: Option<OwnedDeviceId>,
        display_name: Option<String>,
    ) -> Result<(NewDevice, Token), Refusal> {
        check_device(id.as_deref(), display_name.as_deref())?;
        let id = id.unwrap_or_else(random_device_id);
        let token = Token::random();
        let (token_hash, seen_ms) = (TokenHash::of(token.as_str()), self.clock.unix_ms());
        Ok((NewDevice { id, display_name, token_hash, seen_ms }, token))
    }

    /// Logs the named devices of `user` out. Those that do not exist are passed over.
    ///
    /// # Errors
    /// [`NotProven::Outdated`] when a proof is given that holds no longer.
    pub async fn log_out(
        &self,
        user: &UserId,
        devices: Vec<OwnedDeviceId>,
        proof: Option<Proof>,
    ) -> Result<(), NotProven> {
        let removed = self.store.remove_devices(user.to_owned(), devices, proof).await?;
        tracing::debug!(%user, removed, "logged out");
        Ok(())
    }

    /// Logs every device of `user` out.
    pub async fn log_out_all(&self, user: &UserId) -> Result<(), StoreError> {
        let removed = self.store.remove_all_devices(user.to_owned()).await?;
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

/// Whether a device may be called so.
///
/// # Errors
/// [`Refusal::InvalidParam`] for identifiers and names beyond their limits.
pub fn check_device(id: Option<&DeviceId>, display_name: Option<&str>) -> Result<(), Refusal> {
    if id.is_some_and(|id| !(1..=MAX_DEVICE_ID).contains(&id.as_str().len())) {
        let error = format!("device_id must have 1 to {MAX_DEVICE_ID} bytes");
        return Err(Refusal::InvalidParam(error.into()));
    }
    Ok(check_length("initial_device_display_name", display_name, MAX_DISPLAYNAME)?)
}
