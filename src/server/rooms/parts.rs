//! What rooms own.

use std::sync::Arc;

use ruma::{OwnedServerName, RoomVersionId, ServerName, UserId};

use super::{
    coming::Coming,
    lanes::Lanes,
    may_begin::MayBegin,
    members::Members,
    receive::{inbound::Inbound, resolved::Resolved},
    turns::Turns,
};
use crate::{
    core::visibility::RoomLimit,
    server::{
        clock::Clock,
        keys::Signer,
        metrics::Counter,
        store::{Store, StoreError},
    },
};

/// The rooms of this server. Nothing here knows who asks, beyond their session.
#[derive(Debug)]
pub struct Rooms {
    /// Who is in which room, exact after every commit.
    pub members: Arc<Members>,
    /// Signs this server's events.
    pub signer: Arc<Signer>,
    /// Events that were judged, those that had to be judged again counted again.
    pub judged: Counter,
    pub(super) store: Arc<Store>,
    pub(super) clock: Clock,
    pub(super) server_name: OwnedServerName,
    /// The version that rooms are made in when nobody says another.
    pub(super) default_version: RoomVersionId,
    /// Who may begin a chat with whom.
    pub(super) may_begin: MayBegin,
    /// Whose turn it is where.
    pub(super) turns: Arc<Turns>,
    /// Whose action goes next.
    pub(super) lanes: Arc<Lanes>,
    /// What users are about to become.
    pub(super) coming: Arc<Coming>,
    /// Acts go beside each other, in any number; one that was overtaken too often goes alone, in all rooms.
    pub(super) passing: tokio::sync::RwLock<()>,
    /// What other servers sent and was not looked at yet.
    pub(super) inbound: Inbound,
    /// What states that differ came to.
    pub(super) resolved: Resolved,
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
        may_begin: MayBegin,
    ) -> Result<Self, StoreError> {
        let members = Arc::new(Members::load(&store, server_name, limit).await?);
        let (server_name, turns) = (server_name.to_owned(), Arc::default());
        let (judged, passing) = (Counter::default(), tokio::sync::RwLock::default());
        Ok(Self {
            members,
            signer,
            judged,
            store,
            clock,
            server_name,
            default_version,
            may_begin,
            turns,
            lanes: Arc::default(),
            coming: Arc::default(),
            passing,
            inbound: Inbound::default(),
            resolved: Resolved::default(),
        })
    }

    /// Whether `inviter` may begin a private chat with `target` (L7).
    pub fn may_begin_chat(&self, inviter: &UserId, target: &UserId) -> bool {
        self.may_begin.ask(inviter, target)
    }

    /// Whether `target` takes an invite of `inviter` to a private chat, and has room for it.
    pub fn takes_invite(&self, inviter: &UserId, target: &UserId) -> bool {
        self.may_begin_chat(inviter, target)
            && self.check_can_invite(&self.coming.lock(), inviter, target).is_ok()
    }
}
