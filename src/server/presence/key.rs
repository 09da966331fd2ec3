//! A user's ID as a key in maps: one allocation for every map and list that it stands in.

use std::{borrow::Borrow, sync::Arc};

use ruma::{OwnedUserId, UserId};

/// A shared user ID that is found by a plain one.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct SharedId(pub(super) Arc<OwnedUserId>);

impl Borrow<UserId> for SharedId {
    fn borrow(&self) -> &UserId {
        &self.0
    }
}
