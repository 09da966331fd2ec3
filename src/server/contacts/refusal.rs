//! Why a presence list is not changed.

use ruma::OwnedServerName;

use crate::{
    core::list::{AddError, GroupError, NoRequest},
    server::{finish::Interrupted, store::StoreError},
};

/// Why a presence list, or the settings beside it, is not changed. Nothing was.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// There is no such user on this server.
    #[error("there is no such user on this server")]
    NoSuchUser,
    /// This server shares no presence with that of the user.
    #[error("this server shares no presence with {0}")]
    NotShared(OwnedServerName),
    /// The user cannot be put on the list.
    #[error(transparent)]
    Add(#[from] AddError),
    /// The user cannot be put into the group.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// The user did not ask for what would be accepted.
    #[error(transparent)]
    NoRequest(#[from] NoRequest),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What had begun was not brought to its end.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}
