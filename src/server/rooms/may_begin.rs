//! Who may begin a private chat with whom: a question that rooms are given.

use std::{fmt, sync::Arc};

use ruma::UserId;

/// Answers whether the first user may begin a private chat with the second (L7). What it takes to know is kept by
/// others.
#[derive(Clone)]
pub struct MayBegin(Arc<Question>);

type Question = dyn Fn(&UserId, &UserId) -> bool + Send + Sync;

impl MayBegin {
    /// Asks this function.
    pub fn new(ask: impl Fn(&UserId, &UserId) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(ask))
    }

    /// The answer.
    pub(super) fn ask(&self, inviter: &UserId, target: &UserId) -> bool {
        (self.0)(inviter, target)
    }
}

impl fmt::Debug for MayBegin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MayBegin")
    }
}
