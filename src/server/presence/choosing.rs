//! What users choose on its way to the disk: nobody sees a choice that could be lost again, so it is told when it is
//! written, and one that cannot be written has changed nothing.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use ruma::OwnedUserId;
use tokio::sync::oneshot;

use super::said::Said;
use crate::server::store::StoreError;

/// The number of a record on its way to the disk, see [`super::Presence`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket(pub(super) u64);

/// What became of it: the number of the record of all else that was said with it, or why it is not written.
pub(super) type Taken = Result<Option<Ticket>, StoreError>;

/// What waits to be written. Bounded by the requests that wait for it.
#[derive(Debug, Default)]
pub(super) struct Choices(Mutex<BTreeMap<OwnedUserId, Choosing>>);

/// What one user said, taken together, and who waits for it.
#[derive(Debug, Default)]
pub(super) struct Choosing {
    pub(super) said: Said,
    pub(super) waiting: Vec<oneshot::Sender<Taken>>,
}

impl Choices {
    /// Adds what was said after all else of this user; the receiver hears what became of it.
    pub(super) fn add(&self, user: &OwnedUserId, said: Said) -> oneshot::Receiver<Taken> {
        let (sender, receiver) = oneshot::channel();
        let mut all = self.0.lock();
        let choosing = all.entry(user.clone()).or_default();
        choosing.said.then(said);
        choosing.waiting.push(sender);
        receiver
    }

    /// What is to be written, for whoever does it.
    pub(super) fn take(&self) -> BTreeMap<OwnedUserId, Choosing> {
        std::mem::take(&mut self.0.lock())
    }
}
