//! What reaches the engine from outside: devices connect and go, users act, and say what they are.

use std::{sync::Arc, time::Duration};

use ruma::{DeviceId, OwnedUserId, UserId};

use super::{
    engine::Presence,
    refusal::Refusal,
    said::{Attendance, Said, device_key},
    waiting::{Held, Turn},
};
use crate::{
    core::presence::{Choice, DeviceType, SetPresence, StatusMsg, Words},
    server::{session::Session, store::StoreError},
};

/// A poll or stream of a device, which counts as connected until this is dropped.
#[derive(Debug)]
pub struct Connected {
    presence: Arc<Presence>,
    session: Session,
}

impl Presence {
    /// A poll or stream of the device begins (P12); it may say what kind of device it is (P7).
    ///
    /// # Errors
    /// [`StoreError`] when what the store has of the user cannot be read.
    pub async fn connect(
        self: &Arc<Self>,
        session: &Session,
        says: SetPresence,
        device_type: Option<DeviceType>,
    ) -> Result<Connected, StoreError> {
        let device = device_key(&session.device);
        let connected = Connected { presence: Arc::clone(self), session: session.clone() };
        self.introduce(&session.user).await?;
        let mut says_its_kind = false;
        self.input(&session.user, |engine, user, now| {
            engine.handle_connected(user, device, says, now);
            if device_type.is_some() {
                says_its_kind = engine.handle_device_type(user, device, device_type);
            }
        });
        // Boxed, as it is seldom needed: else every waiting poll has room for it.
        if says_its_kind && let Err(error) = Box::pin(self.note_our_words(session)).await {
            // It is said again with the next poll: nothing is lost, and reading goes on.
            tracing::warn!(%error, "that a device knows our words could not be kept");
        }
        Ok(connected)
    }

    /// Takes a `PUT …/status` of `word`: the user's choice, or that device's attendance, by the words that the
    /// device uses (P3). On the disk when this returns.
    ///
    /// # Errors
    /// [`Refusal`] when the store fails.
    pub async fn handle_put(
        self: &Arc<Self>,
        session: &Session,
        word: Choice,
        status_msg: StatusMsg,
    ) -> Result<(), Refusal> {
        let words = if word.is_ours() {
            self.note_our_words(session).await?;
            Words::Ours
        } else if self.store.uses_our_words(session).await? {
            Words::Ours
        } else {
            Words::Matrix
        };
        self.handle_wish(session, words, word, status_msg).await
    }

    /// The same of who is known to use these words.
    ///
    /// # Errors
    /// As for [`Self::handle_put`].
    pub async fn handle_wish(
        self: &Arc<Self>,
        session: &Session,
        words: Words,
        word: Choice,
        status_msg: StatusMsg,
    ) -> Result<(), Refusal> {
        let said = Said::put(session.device.clone(), words, word, status_msg, self.clock.now());
        self.handle_said(session, said).await
    }

    /// Takes another status message, and leaves what the user chose as it is. On the disk when this returns.
    ///
    /// # Errors
    /// [`Refusal`] when the store fails.
    pub async fn handle_message(
        self: &Arc<Self>,
        session: &Session,
        message: StatusMsg,
    ) -> Result<(), Refusal> {
        self.handle_said(session, Said::message(message)).await
    }

    /// Takes what a device reports of the person at it (P6), or of itself (P7). On the disk when this returns or, while
    /// the disk takes nothing, as soon as it does: attendance goes on being shown.
    ///
    /// # Errors
    /// [`Refusal`] when it cannot be kept that the device uses our words, which comes before all else.
    pub async fn handle_report(
        self: &Arc<Self>,
        session: &Session,
        attendance: Option<Attendance>,
        device_type: Option<DeviceType>,
    ) -> Result<(), Refusal> {
        self.note_our_words(session).await?;
        self.handle_said(session, Said::report(session.device.clone(), attendance, device_type)).await
    }

    /// From here on what the device puts is the user's choice (P3).
    async fn note_our_words(&self, session: &Session) -> Result<(), StoreError> {
        if self.store.uses_our_words(session).await? {
            return Ok(());
        }
        self.store.put_uses_our_words(session.clone()).await
    }

    /// The device was logged out.
    pub fn handle_device_removed(&self, user: &UserId, device: &DeviceId) {
        let device = device_key(device);
        self.input(user, |engine, user, now| engine.handle_device_removed(user, device, now));
    }

    /// The user did something that counts as being active (P8): sent a message. Of one who was never connected
    /// nobody can see it.
    pub fn handle_pro_active(&self, user: &UserId) {
        self.input(user, |engine, user, now| engine.handle_pro_active(user, now));
    }

    /// Takes what a user or device says of presence: at once, or when the rate limit has room for it, and
    /// then together with what else was said meanwhile. On the disk when this returns.
    ///
    /// # Errors
    /// [`Refusal`] when the store fails.
    pub(super) async fn handle_said(self: &Arc<Self>, session: &Session, said: Said) -> Result<(), Refusal> {
        let user = &session.user;
        match self.waiting.turn(user, said, || self.count(user)) {
            Turn::Now(said) => Ok(self.apply(user, said).await?),
            Turn::Later(mut taken, wait) => {
                if let Some(wait) = wait {
                    // Goes on though the client goes away: what it said was its last state.
                    tokio::spawn(Arc::clone(self).apply_later(user.clone(), wait));
                }
                match taken.wait_for(Option::is_some).await.as_deref() {
                    Ok(Some(true)) => Ok(()),
                    Ok(_) | Err(_) => Err(Refusal::NotTaken),
                }
            }
        }
    }

    async fn apply_later(self: Arc<Self>, user: OwnedUserId, wait: Duration) {
        let mut wait = wait;
        loop {
            self.clock.sleep(wait).await;
            match self.count(&user) {
                Ok(()) => break,
                Err(longer) => wait = longer,
            }
        }
        let Some(Held { said, taken }) = self.waiting.take(&user) else { return };
        let stored = self.apply(&user, said).await;
        match &stored {
            Ok(()) => {}
            Err(error @ StoreError::Commit(_)) => tracing::debug!(%error, "presence could not be taken"),
            Err(error) => tracing::error!(%error, "presence could not be taken"),
        }
        taken.send_replace(Some(stored.is_ok()));
    }

    fn count(&self, user: &OwnedUserId) -> Result<(), Duration> {
        self.limits.presence(user, self.clock.now().as_millis())
    }

    async fn apply(&self, user: &OwnedUserId, said: Said) -> Result<(), StoreError> {
        self.introduce(user).await?;
        if said.chooses() {
            return self.choose(user, said).await;
        }
        match self.take(user, said) {
            Some(ticket) => self.written(ticket).await,
            None => Ok(()),
        }
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        let device = device_key(&self.session.device);
        self.presence.input(&self.session.user, |engine, user, now| {
            engine.handle_disconnected(user, device, now);
        });
    }
}
