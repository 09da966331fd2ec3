//! Guests: who comes in, where they may be, and when they have gone.

use std::{sync::Arc, time::Duration};

use ruma::{OwnedUserId, RoomId, UserId};
use serde::Deserialize;

use super::parts::App;
use crate::server::{
    accounts::username::{random_username, username},
    rooms,
    session::Session,
    store::{CreateUserError, NewDevice, NewUser, StoreError},
};

/// How long after they were seen last the account of a guest ends.
const UNSEEN: Duration = Duration::from_secs(30 * 24 * 3600);

/// How often is looked who that is, and how many are seen off then.
const EVERY: Duration = Duration::from_secs(3600);
const AT_ONCE: u32 = 100;

impl App {
    /// Makes the account of a guest, with its one device.
    ///
    /// # Errors
    /// Of the store.
    pub async fn create_guest(&self, device: NewDevice) -> Result<OwnedUserId, CreateUserError> {
        let user = username(&format!("guest-{}", random_username()), self.server_name());
        let user = user.map_err(|_| CreateUserError::InUse)?;
        // Before anybody can use it: it never looks like another account.
        self.guests.add(user.clone());
        let created_ms = self.unix_ms();
        let new = NewUser { id: user.clone(), password_hash: None, created_ms, device: Some(device) };
        if let Err(e) = self.store.create_guest(new).await {
            self.guests.remove(&user);
            return Err(e);
        }
        Ok(user)
    }

    /// Makes the account of a guest one of somebody, with a password; its devices are logged out.
    ///
    /// # Errors
    /// [`CreateUserError::InUse`] when there is no such guest any longer; of the store.
    pub async fn upgrade_guest(&self, user: NewUser) -> Result<(), CreateUserError> {
        let id = user.id.clone();
        self.store.upgrade_guest(user).await?;
        self.guests.remove(&id);
        Ok(())
    }

    /// Whether `user` may come into a room, if they are a guest.
    pub(super) async fn check_guest(&self, user: &UserId, room: &RoomId) -> Result<(), rooms::Refusal> {
        if !self.guests.is_guest(user) || self.lets_guests_in(room).await? {
            return Ok(());
        }
        Err(rooms::Refusal::NoGuests("this room takes no guests".into()))
    }

    async fn lets_guests_in(&self, room: &RoomId) -> Result<bool, StoreError> {
        #[derive(Deserialize)]
        struct Content {
            guest_access: String,
        }
        let event = self.store.state_event(room, "m.room.guest_access", "").await?;
        let content = event.and_then(|event| event.content_as::<Content>());
        Ok(content.is_some_and(|content| content.guest_access == "can_join"))
    }

    /// Sees off guests where they may not be any longer, and those who have not been seen for long, until the task is dropped.
    pub async fn see_guests_off(self: Arc<Self>) {
        loop {
            for room in self.guests.poll_rooms() {
                if let Err(error) = self.see_off(&room).await {
                    tracing::warn!(?error, "guests stay in a room that does not let them in");
                }
            }
            let since = self.unix_ms().saturating_sub(u64::try_from(UNSEEN.as_millis()).unwrap_or(u64::MAX));
            match self.store.guests_unseen_since(since, AT_ONCE).await {
                Ok(unseen) => {
                    for user in unseen {
                        if let Err(error) = self.close_account(&user).await {
                            tracing::warn!(?error, "the account of a guest does not end");
                        }
                    }
                }
                Err(error) => tracing::warn!(%error, "guests cannot be read"),
            }
            tokio::select! {
                () = self.guests.changed() => {}
                () = self.clock.sleep(EVERY) => {}
            }
        }
    }

    async fn see_off(&self, room: &RoomId) -> Result<(), rooms::Refusal> {
        if self.lets_guests_in(room).await? {
            return Ok(());
        }
        let mut guests = self.rooms.members.joined(room);
        guests.retain(|user| self.guests.is_guest(user));
        for user in guests {
            let session = Session::without_device(user);
            self.rooms.leave(&session, room, None).await?;
        }
        Ok(())
    }
}
