//! What devices and users say: they connect, go idle, choose; and how that reaches those who may see it.

use std::sync::Arc;

use ruma::{DeviceId, OwnedUserId, UserId};

use super::{Presence, Ticket, device_key};
use crate::{
    core::{
        presence::{Change as Shows, DeviceType, SetPresence},
        time::Instant,
    },
    server::{app::App, change::feed::Change, profile::Profile, session::Session, store::StoreError},
};

/// A poll or stream of a device, which counts as connected until this is dropped.
#[derive(Debug)]
pub struct Connected {
    app: Arc<App>,
    session: Session,
}

/// A poll or stream that tells of others, until this is dropped: their servers are asked as long (L8).
#[derive(Debug)]
pub struct Reading {
    app: Arc<App>,
    user: OwnedUserId,
}

impl App {
    /// A poll or stream of the device begins (P12); it may say what kind of device it is (P7).
    pub async fn connect(
        self: &Arc<Self>,
        session: &Session,
        says: SetPresence,
        device_type: Option<DeviceType>,
    ) -> Result<Connected, StoreError> {
        let device = device_key(&session.device);
        let now = self.now();
        let connected = Connected { app: Arc::clone(self), session: session.clone() };
        self.presence.introduce(&session.user, &self.store, now).await?;
        self.presence_input(&session.user, |engine, user| {
            engine.handle_connected(user, device, says, now);
            if device_type.is_some() {
                engine.handle_device_type(user, device, device_type);
            }
        });
        Ok(connected)
    }

    /// A poll or stream begins that tells of others, whether or not the device counts as connected by it.
    /// `None`: the device stopped that.
    pub fn read_presence(self: &Arc<Self>, session: &Session) -> Option<Reading> {
        if !self.presence.deliveries.is_on(session) {
            return None;
        }
        self.attach_across(&session.user);
        Some(Reading { app: Arc::clone(self), user: session.user.clone() })
    }

    /// The device was logged out.
    pub fn presence_device_removed(&self, user: &UserId, device: &DeviceId) {
        let (device, now) = (device_key(device), self.now());
        self.presence_input(user, |engine, user| engine.handle_device_removed(user, device, now));
    }

    /// The user did something that counts as being active (P8): sent a message.
    pub async fn handle_pro_active(&self, user: &UserId) -> Result<(), StoreError> {
        let now = self.now();
        self.presence.introduce(user, &self.store, now).await?;
        self.presence_input(user, |engine, user| engine.handle_pro_active(user, now));
        Ok(())
    }

    /// The user changed name or picture: one event tells it with the presence (P10).
    pub fn handle_profile(&self, user: &UserId, profile: Profile) {
        if self.presence.replace_profile(user, profile, &self.live, self.now()) {
            self.tell(vec![Change::Presence { user: Arc::new(user.to_owned()), change: Shows::Visible }]);
        }
    }

    pub(super) fn presence_input(
        &self,
        user: &UserId,
        input: impl FnOnce(&mut crate::core::presence::Engine, crate::core::presence::UserKey),
    ) -> Option<Ticket> {
        let (told, ticket) = self.presence.input(user, &self.live, self.now(), input)?;
        self.tell(told);
        Some(ticket)
    }

    /// Tells whoever hears of presence.
    pub(super) fn tell(&self, changes: Vec<Change>) {
        if !changes.is_empty() {
            self.feed.tell(&changes);
        }
    }
}

impl Presence {
    /// Takes a new profile; false: nobody was ever told of this user.
    fn replace_profile(
        &self,
        user: &UserId,
        profile: Profile,
        live: &crate::server::change::position::Live,
        now: Instant,
    ) -> bool {
        let mut inner = self.lock();
        let Some(key) = inner.keys.get(user).copied() else { return false };
        inner.users[key.0 as usize].profile = profile;
        let position = live.advance();
        inner.publish(key, position, now);
        true
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        let (device, now) = (device_key(&self.session.device), self.app.now());
        self.app.presence_input(&self.session.user, |engine, user| {
            engine.handle_disconnected(user, device, now);
        });
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.app.detach_across(&self.user);
    }
}
