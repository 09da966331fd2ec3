//! Accounts: who may come in, with which device, and what they are called.
//!
//! Owns the sessions in memory and the hashing of passwords; what is durable is in the store.
//! Access tokens and passwords are never kept or logged as they came.

mod cache;
mod data;
mod password;
mod username;

use std::sync::Arc;

use ruma::{DeviceId, OwnedDeviceId, OwnedUserId, UserId};

use self::{cache::SessionCache, password::Passwords};
pub use self::{
    data::{AccountDataPositions, PUSH_RULES},
    password::{MAX_PASSWORD, hash as hash_password},
    username::{random_username, username},
};
use super::{
    api::error::{ApiError, ApiResult},
    app::App,
    finish::finish,
    profile::{MAX_DISPLAYNAME, ProfileField, check_length},
    rooms,
    session::{Session, Token, TokenHash, random_device_id},
    store::{NewDevice, RemovedDevice, StoreError},
};
use crate::server::change::position::LogPosition;

/// The longest device identifier, in bytes.
const MAX_DEVICE_ID: usize = 255;

/// What accounts keep in memory while the server runs.
#[derive(Debug, Default)]
pub struct Accounts {
    sessions: SessionCache,
    /// Hashing, a bounded number at a time.
    pub passwords: Passwords,
}

impl Accounts {
    /// Counts the ends of sessions: while it stays the same, nobody was logged out.
    pub fn sessions_ended(&self) -> u64 {
        self.sessions.epoch()
    }
}

/// A device that just logged in.
#[derive(Debug)]
pub struct LoggedIn {
    /// The device.
    pub device: OwnedDeviceId,
    /// Its access token; from here on only the client knows it.
    pub token: Token,
}

impl App {
    /// Whose access token this is, if it was used lately.
    pub fn recent_session(&self, token: &str) -> Option<Session> {
        let now = self.unix_ms();
        let found = self.accounts.sessions.find(&TokenHash::of(token), now)?;
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
        let (hash, now) = (TokenHash::of(token), self.unix_ms());
        let epoch = self.accounts.sessions.epoch();
        let Some(session) = self.store.session(&hash).await? else { return Ok(None) };
        self.accounts.sessions.insert(hash, &session, now, epoch);
        self.store.note_device_seen(session.user.clone(), session.device.clone(), now);
        Ok(Some(session))
    }

    /// Logs a device of `user` in; a device of the same identifier gets a new token in place of its old one.
    ///
    /// # Errors
    /// `M_INVALID_PARAM` for identifiers and names beyond their limits.
    pub async fn log_in(
        self: &Arc<Self>,
        user: &UserId,
        device: Option<OwnedDeviceId>,
        display_name: Option<String>,
    ) -> ApiResult<LoggedIn> {
        let (device, token) = self.new_device(device, display_name)?;
        let (app, user) = (Arc::clone(self), user.to_owned());
        finish(async move {
            let logged_in = LoggedIn { device: device.id.clone(), token };
            let displaced = app.store.add_device(user.clone(), device).await?;
            app.accounts.sessions.forget(displaced.tokens());
            app.forget_devices(&user, &displaced.removed);
            app.forget_messages(&user, &displaced.removed).await?;
            Ok(logged_in)
        })
        .await
    }

    /// A device to be stored, with the token that only its client will know.
    pub fn new_device(
        &self,
        id: Option<OwnedDeviceId>,
        display_name: Option<String>,
    ) -> ApiResult<(NewDevice, Token)> {
        let id = id.unwrap_or_else(random_device_id);
        if id.as_str().is_empty() || id.as_str().len() > MAX_DEVICE_ID {
            return Err(ApiError::invalid_param(format!("device_id must have 1 to {MAX_DEVICE_ID} bytes")));
        }
        check_length("initial_device_display_name", display_name.as_deref(), MAX_DISPLAYNAME)?;
        let token = Token::random();
        let device = NewDevice {
            id,
            display_name,
            token_hash: TokenHash::of(token.as_str()),
            seen_ms: self.unix_ms(),
        };
        Ok((device, token))
    }

    /// Logs the named devices of `user` out. Those that do not exist are passed over.
    pub async fn log_out(self: &Arc<Self>, user: &UserId, devices: Vec<OwnedDeviceId>) -> ApiResult<()> {
        let (app, user) = (Arc::clone(self), user.to_owned());
        finish(async move {
            let removed = app.store.remove_devices(user.clone(), devices).await?;
            app.forget_devices(&user, &removed);
            app.forget_messages(&user, &removed).await
        })
        .await
    }

    /// Logs every device of `user` out, but for the one to keep.
    pub async fn log_out_all(self: &Arc<Self>, user: &UserId, keep: Option<&DeviceId>) -> ApiResult<()> {
        let (app, user, keep) = (Arc::clone(self), user.to_owned(), keep.map(ToOwned::to_owned));
        finish(async move {
            let removed = app.store.remove_all_devices(user.clone(), keep).await?;
            app.forget_devices(&user, &removed);
            app.forget_messages(&user, &removed).await
        })
        .await
    }

    /// Sets or removes a part of the user's profile; then everybody who sees the user is told (P10).
    pub async fn set_profile_field(
        self: &Arc<Self>,
        user: OwnedUserId,
        field: ProfileField,
        value: Option<String>,
    ) -> ApiResult<()> {
        let app = Arc::clone(self);
        finish(async move {
            app.store.set_profile_field(user.clone(), field, value).await?;
            // Also when it was so already: mends what a crash between the two left behind.
            app.handle_profile(&user).await?;
            rooms::handle_profile_change(&app, &user).await?;
            Ok(())
        })
        .await
    }

    /// Tells everybody who keeps something per device that these are gone.
    fn forget_devices(&self, user: &UserId, removed: &[RemovedDevice]) {
        if removed.is_empty() {
            return;
        }
        self.accounts.sessions.forget(removed.iter().map(|device| device.token_hash));
        for device in removed {
            self.device_keys_gone(user, &device.id);
        }
        tracing::debug!(%user, devices = removed.len(), "logged out");
        for device in removed {
            self.presence_device_removed(user, &device.id);
        }
        // A long poll of a device that is gone ends.
        self.wakers.wake(user);
    }

    /// Drops the messages that wait for devices that are gone.
    async fn forget_messages(&self, user: &UserId, removed: &[RemovedDevice]) -> ApiResult<()> {
        for device in removed {
            self.to_device.acknowledge(&self.store, user, &device.id, LogPosition::END).await?;
        }
        if !removed.is_empty() && self.store.devices(user).await?.is_empty() {
            for room in self.typing.stop_everywhere(user, &self.live) {
                self.wake_room(&room);
            }
        }
        Ok(())
    }
}
