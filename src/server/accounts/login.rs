//! Sessions: devices log in and out, and whose access token it is.

use std::{sync::Arc, time::Duration};

use ruma::{DeviceId, OwnedDeviceId, UserId};

use super::{
    cache::SessionCache,
    interaction::Interactions,
    login_tokens::LoginTokens,
    password::Passwords,
    refusal::Refusal,
    tokens::{Lasting, LoggedIn, Tokens},
};
use crate::server::{
    change::feed::Change,
    clock::Clock,
    profile::{MAX_DISPLAYNAME, check_length},
    session::{Session, Token, TokenHash, random_device_id},
    store::{MAX_DEVICES, NewDevice, NewTokens, NotProven, Proof, Store, StoreError},
};

/// The longest device identifier, in bytes.
const MAX_DEVICE_ID: usize = 255;

/// How long after a request a device counts as in use, in milliseconds: longer than any poll takes.
const IN_USE_MS: u64 = 5 * 60 * 1000;

/// Who may come in, with which device. Bounded by its cache of sessions.
#[derive(Debug)]
pub struct Accounts {
    store: Arc<Store>,
    clock: Clock,
    lifetime: Duration,
    sessions: SessionCache,
    /// Hashing, a bounded number at a time.
    pub passwords: Passwords,
    /// Who is about to show who they are.
    pub interactions: Interactions,
    /// By what other devices of those who are in come in.
    pub login_tokens: LoginTokens,
}

/// Whose access token it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Whose {
    /// Nobody's, or not any longer.
    Nobodys,
    /// Somebody's, who has to get the next.
    Ended,
    /// Somebody's.
    Of(Session),
}

impl Accounts {
    /// Nobody was seen lately. Access tokens that end are good for `lifetime`.
    pub fn new(store: Arc<Store>, clock: Clock, passwords: Passwords, lifetime: Duration) -> Self {
        Self {
            store,
            clock,
            lifetime,
            sessions: SessionCache::default(),
            passwords,
            interactions: Interactions::default(),
            login_tokens: LoginTokens::default(),
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

    /// Whose access token this is.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn session(&self, token: &str) -> Result<Whose, StoreError> {
        if let Some(session) = self.recent_session(token) {
            return Ok(Whose::Of(session));
        }
        let (hash, now) = (TokenHash::of(token), self.clock.unix_ms());
        let epoch = self.sessions.epoch();
        let Some(known) = self.store.known(&hash).await? else { return Ok(Whose::Nobodys) };
        if known.expires_ms.is_some_and(|until| until <= now) {
            return Ok(Whose::Ended);
        }
        if known.is_next {
            self.store.take_next(hash).await?;
        }
        self.sessions.insert(hash, &known, now, epoch);
        let session = known.session;
        self.store.note_device_seen(session.user.clone(), session.device.clone(), now);
        Ok(Whose::Of(session))
    }

    /// The next tokens of a device, for its refresh token. `None`: that is nobody's, or nobody's any longer.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn refresh(&self, refresh: &str) -> Result<Option<Tokens>, StoreError> {
        let (tokens, kept) = self.short_tokens();
        let session = self.store.refresh(TokenHash::of(refresh), kept).await?;
        Ok(session.map(|session| {
            tracing::debug!(user = %session.user, "a device gets its next access token");
            tokens
        }))
    }

    fn short_tokens(&self) -> (Tokens, NewTokens) {
        let (access, refresh) = (Token::random(), Token::random());
        let kept = NewTokens {
            access: TokenHash::of(access.as_str()),
            refresh: TokenHash::of(refresh.as_str()),
            expires_ms: self.clock.unix_ms() + u64::try_from(self.lifetime.as_millis()).unwrap_or_default(),
        };
        (Tokens { access, refresh: Some((refresh, self.lifetime)) }, kept)
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
        lasting: Lasting,
    ) -> Result<LoggedIn, Refusal> {
        let (device, tokens) = self.new_device(device, display_name, lasting)?;
        let logged_in = LoggedIn { device: device.id.clone(), tokens };
        let in_use = if self.store.devices(&proof.user).await?.len() < MAX_DEVICES as usize {
            Vec::new()
        } else {
            self.sessions.in_use(&proof.user, self.clock.unix_ms().saturating_sub(IN_USE_MS))
        };
        self.store.add_device(proof, device, in_use).await?;
        Ok(logged_in)
    }

    /// A device to be stored, with the tokens that only its client will know.
    ///
    /// # Errors
    /// [`Refusal::InvalidParam`] for identifiers and names beyond their limits.
    pub fn new_device(
        &self,
        id: Option<OwnedDeviceId>,
        display_name: Option<String>,
        lasting: Lasting,
    ) -> Result<(NewDevice, Tokens), Refusal> {
        check_device(id.as_deref(), display_name.as_deref())?;
        let id = id.unwrap_or_else(random_device_id);
        let (tokens, kept) = match lasting {
            Lasting::Long => (Tokens { access: Token::random(), refresh: None }, None),
            Lasting::Short => {
                let (tokens, kept) = self.short_tokens();
                (tokens, Some(kept))
            }
        };
        let (token_hash, seen_ms) = (TokenHash::of(tokens.access.as_str()), self.clock.unix_ms());
        Ok((NewDevice { id, display_name, token_hash, seen_ms, tokens: kept }, tokens))
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
    if id.is_some_and(|id| !Session::may_be_device(id.as_str())) {
        return Err(Refusal::InvalidParam("no device can have this device_id".into()));
    }
    Ok(check_length("initial_device_display_name", display_name, MAX_DISPLAYNAME)?)
}

#[cfg(test)]
mod tests {
    use ruma::{server_name, user_id};

    use super::*;
    use crate::{
        core::time::UnixMillis,
        server::store::{Access, NewUser},
    };

    #[tokio::test]
    async fn a_device_that_syncs_is_never_logged_out_by_new_logins_and_of_the_others_the_oldest_goes() {
        let folder = std::env::temp_dir().join(format!("pilotlight-logins-{}", std::process::id()));
        let store = Store::open(&folder, server_name!("x"), Access::Sole, Default::default()).expect("opens");
        let (store, clock) = (Arc::new(store), Clock::driven(UnixMillis(1_000_000)));
        let accounts =
            Accounts::new(Arc::clone(&store), clock.clone(), Passwords::new(1), Duration::from_secs(300));
        let user = user_id!("@a:x").to_owned();
        let new = NewUser { id: user.clone(), password_hash: None, created_ms: 1, device: None };
        store.create_user(new).await.expect("is new");
        let log_in = async |device: &str| {
            let proof = Proof { user: user.clone(), password_hash: None };
            let token = accounts.log_in(proof, Some(device.into()), None, Lasting::Long).await;
            let token = token.expect("is let in").tokens.access;
            assert!(matches!(accounts.session(token.as_str()).await, Ok(Whose::Of(_))));
            token
        };
        log_in("OLD").await;
        let syncs = log_in("SYNCS").await;
        for n in 0..MAX_DEVICES * 2 {
            if n % 100 == 0 {
                // One long poll after the other.
                clock.advance(std::time::Duration::from_secs(120));
                assert!(matches!(accounts.session(syncs.as_str()).await, Ok(Whose::Of(_))), "{n}");
            }
            log_in(&format!("NEW{n}")).await;
        }
        let devices = store.devices(&user).await.expect("reads");
        assert_eq!(devices.len(), MAX_DEVICES as usize);
        let has = |id: &str| devices.iter().any(|device| device.id == id);
        assert!(has("SYNCS") && !has("OLD"), "{devices:?}");
        store.close().await;
        std::fs::remove_dir_all(folder).expect("can be removed");
    }
}
