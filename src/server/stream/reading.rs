//! A reader who cares for others.

use ruma::UserId;

use crate::server::federation::{Federation, presence::Attached};

/// A poll or stream that tells of others, until this is dropped: their servers are asked as long (L8).
#[derive(Debug)]
pub(super) struct Reading {
    /// `None`: there are no other servers.
    _attached: Option<Attached>,
}

impl Reading {
    /// A poll or stream of `user` begins that tells of others, whether or not the device counts as connected by it.
    pub(super) fn begin(federation: Option<&Federation>, user: &UserId) -> Self {
        Self { _attached: federation.map(|federation| federation.presence.attach(user)) }
    }
}
