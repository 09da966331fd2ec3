//! Who may begin a private chat with whom, and who is whose contact: questions that rooms are given.

use std::{fmt, sync::Arc};

use ruma::UserId;

/// Answers whether the first user may begin a private chat with the second (L7), and whether the second has the first on
/// their presence list. What it takes to know is kept by others.
#[derive(Clone)]
pub struct MayBegin {
    may_begin: Arc<Question>,
    is_contact: Arc<Question>,
}

type Question = dyn Fn(&UserId, &UserId) -> bool + Send + Sync;

impl MayBegin {
    /// Asks these functions.
    pub fn new(
        may_begin: impl Fn(&UserId, &UserId) -> bool + Send + Sync + 'static,
        is_contact: impl Fn(&UserId, &UserId) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self { may_begin: Arc::new(may_begin), is_contact: Arc::new(is_contact) }
    }

    /// Whether `inviter` may begin a private chat with `target`.
    pub(super) fn ask(&self, inviter: &UserId, target: &UserId) -> bool {
        (self.may_begin)(inviter, target)
    }

    /// Whether `target` has `inviter` on their presence list.
    pub(super) fn is_contact(&self, inviter: &UserId, target: &UserId) -> bool {
        (self.is_contact)(inviter, target)
    }
}

impl fmt::Debug for MayBegin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MayBegin")
    }
}
