//! Users of an application service who are there though no device of theirs is connected.
//!
//! A bridge says once how somebody is, and nothing more until that changes. So what it said of a user without a device holds
//! until it says something else; but only as long as the bridge can be reached, since nobody would know that it went.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use ruma::OwnedUserId;

use crate::{
    core::presence::SetPresence,
    server::{
        presence::{Connected, Presence},
        session::Session,
        store::StoreError,
    },
};

/// Whom one application service keeps connected. Bounded by its users.
#[derive(Debug)]
pub(super) struct Held {
    presence: Arc<Presence>,
    users: Mutex<BTreeMap<OwnedUserId, One>>,
}

#[derive(Debug)]
struct One {
    says: SetPresence,
    /// `None`: the application service cannot be reached.
    connected: Option<Connected>,
}

impl Held {
    pub(super) fn new(presence: Arc<Presence>) -> Self {
        Self { presence, users: Mutex::default() }
    }

    /// The user of the session is there, as it says, or is not.
    pub(super) async fn hold(&self, session: &Session, says: Option<SetPresence>) -> Result<(), StoreError> {
        let before = match says {
            None => self.users.lock().remove(&session.user),
            Some(says) => {
                let connected = Some(self.presence.connect(session, says, None).await?);
                self.users.lock().insert(session.user.clone(), One { says, connected })
            }
        };
        // Not under the lock: that they go is told.
        drop(before);
        Ok(())
    }

    /// The application service cannot be reached: nobody of it is there.
    pub(super) fn release(&self) {
        let gone: Vec<_> = self.users.lock().values_mut().filter_map(|one| one.connected.take()).collect();
        drop(gone);
    }

    /// It can be reached again: they are as they were.
    pub(super) async fn take_up(&self) {
        let away: Vec<_> = {
            let users = self.users.lock();
            let away = users.iter().filter(|(_, one)| one.connected.is_none());
            away.map(|(user, one)| (user.clone(), one.says)).collect()
        };
        for (user, says) in away {
            if let Err(error) = self.hold(&Session::without_device(user), Some(says)).await {
                tracing::warn!(%error, "a user of an application service does not come back");
            }
        }
    }
}
