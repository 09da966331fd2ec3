//! What rooms own, and the one way to change them.

use std::sync::Arc;

use ruma::{OwnedServerName, RoomVersionId, ServerName};

use super::{append::Author, members::Members, refusal::Refusal};
use crate::{
    core::visibility::RoomLimit,
    server::{
        clock::Clock,
        keys::Signer,
        session::Session,
        store::{RoomWrite, Store, StoreError},
    },
};

/// The rooms of this server. Nothing here knows who asks, beyond their session: whether a user may begin a chat
/// with another is the caller's to say.
#[derive(Debug)]
pub struct Rooms {
    /// Who is in which room, exact after every commit.
    pub members: Arc<Members>,
    /// Signs this server's events.
    pub signer: Arc<Signer>,
    pub(super) store: Arc<Store>,
    pub(super) clock: Clock,
    pub(super) server_name: OwnedServerName,
    /// The version that rooms are made in when nobody says another.
    pub(super) default_version: RoomVersionId,
}

impl Rooms {
    /// Reads who is in which room. Rooms larger than `limit` do not make their members visible to each other.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn load(
        store: Arc<Store>,
        clock: Clock,
        signer: Arc<Signer>,
        server_name: &ServerName,
        default_version: RoomVersionId,
        limit: RoomLimit,
    ) -> Result<Self, StoreError> {
        let members = Arc::new(Members::load(&store, limit).await?);
        Ok(Self { members, signer, store, clock, server_name: server_name.to_owned(), default_version })
    }

    /// Runs `job` as one write to rooms. Once begun it is finished even if the caller goes away.
    pub(super) async fn write<T: Send + 'static>(
        self: &Arc<Self>,
        job: impl FnOnce(&RoomWrite<'_>, &Self) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let in_job = Arc::clone(self);
        self.store.write_rooms(move |write| job(write, &in_job)).await
    }

    /// Whoever has this session as the author of events, at this moment.
    pub(super) fn author<'a>(&'a self, session: &'a Session) -> Author<'a> {
        Author {
            signer: &self.signer,
            sender: &session.user,
            now_ms: self.clock.unix_ms(),
            transaction: None,
        }
    }
}
