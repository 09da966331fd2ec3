//! What other servers are to be told about presence lists, until they have acknowledged it.
//!
//! Kept in the store with the contact that it is about, and written in the same step. The queue for the
//! destination tries until it is there; after a restart everything is given to the queues again.

use std::collections::{BTreeMap, BTreeSet};

use ruma::{OwnedServerName, OwnedUserId, ServerName};

use super::{edu, locked};
use crate::{
    core::list::{Half, Message},
    server::{
        app::App,
        federation::queue::{Edu, Full, Key, MAX_WAITING},
        list::ListMessage,
        store::StoreError,
    },
};

/// Denials of requests that are not kept, that wait for one server and for all. Beyond it there is no answer.
const MAX_DENIALS: usize = 1_000;
const MAX_DENIALS_OF_ALL: usize = 50_000;

/// What waits beside the store.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// Denials of requests that are not kept: who was asked, and who asks, for each server.
    denials: BTreeMap<OwnedServerName, BTreeSet<(OwnedUserId, OwnedUserId)>>,
    denial_count: usize,
    /// The servers of whose messages only some are with the queue, as it is full.
    overflowed: BTreeSet<OwnedServerName>,
}

impl App {
    /// Gives everything that is not acknowledged to the queues; once, at start.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    pub async fn resume_list_messages(&self) -> Result<(), StoreError> {
        for server in self.store.list_outbox_servers().await? {
            self.refill(&server).await?;
        }
        Ok(())
    }

    /// Has the contact's server told, unless the operator wants no presence shared with it; then the message waits
    /// in the store until a start at which it is wanted.
    pub(super) fn send_list_message(&self, message: &ListMessage) {
        let server = message.contact.server_name();
        if self.push_list_message(message) == Err(Full) {
            locked(&self.contacts.outbox).overflowed.insert(server.to_owned());
        }
    }

    /// Denies a request that is not kept. This is not kept either: whoever asks for many users that do not
    /// exist leaves nothing on the disk.
    pub(super) fn send_denial(&self, denial: &ListMessage) {
        if locked(&self.contacts.outbox).handle_denial(denial) && self.push_list_message(denial).is_err() {
            locked(&self.contacts.outbox).handle_delivered(denial);
        }
    }

    /// Their server has acknowledged these EDUs: it has on its disk what they say of presence lists.
    pub async fn handle_list_edus_delivered(&self, server: &ServerName, edus: &[Edu]) {
        let messages: Vec<ListMessage> = edus.iter().filter_map(|edu| self.list_message(edu)).collect();
        if messages.is_empty() {
            return;
        }
        {
            let mut outbox = locked(&self.contacts.outbox);
            messages.iter().for_each(|message| outbox.handle_delivered(message));
        }
        let mut done = self.store.acknowledge_list_messages(messages).await;
        if self.is_to_refill(server) {
            done = match done {
                Ok(()) => self.refill(server).await,
                Err(e) => Err(e),
            };
        }
        if let Err(e) = done {
            tracing::warn!(error = %e, "messages about presence lists will be sent (again) after a restart");
        }
    }

    /// Whether the queue has much room, and there are messages that it did not take.
    fn is_to_refill(&self, server: &ServerName) -> bool {
        let Some(federation) = &self.federation else { return false };
        federation.queue.waiting(server) < MAX_WAITING / 2
            && locked(&self.contacts.outbox).overflowed.remove(server)
    }

    /// Gives as many messages to the queue as it holds; those that it holds already are the same.
    async fn refill(&self, server: &ServerName) -> Result<(), StoreError> {
        let messages = self.store.list_outbox(server, MAX_WAITING).await?;
        if messages.len() == MAX_WAITING {
            locked(&self.contacts.outbox).overflowed.insert(server.to_owned());
        }
        messages.iter().for_each(|message| self.send_list_message(message));
        Ok(())
    }

    fn push_list_message(&self, message: &ListMessage) -> Result<(), Full> {
        let server = message.contact.server_name();
        let Some(federation) = self.federation.as_ref().filter(|_| self.shares_presence_with(server)) else {
            return Ok(());
        };
        let (observer, observed) = edu::pair(message);
        let edu = Edu {
            kind: edu::edu_type(message.message.kind),
            content: edu::content(message),
            brief: None,
            key: Key::List { observer, observed },
            seq: message.message.seq,
        };
        federation.queue.push(server, edu)
    }

    /// The message that an EDU of ours says, if it is about presence lists.
    fn list_message(&self, edu: &Edu) -> Option<ListMessage> {
        let kind = edu::kind_of(edu.kind)?;
        let Key::List { observer, observed } = edu.key.clone() else { return None };
        let (owner, contact) = match kind.half() {
            Half::Asking => (observer, observed),
            Half::Answering => (observed, observer),
        };
        Some(ListMessage { owner, contact, message: Message { kind, seq: edu.seq } })
    }
}

impl Outbox {
    /// Whether there is room for one more.
    fn handle_denial(&mut self, denial: &ListMessage) -> bool {
        let waiting = self.denials.entry(denial.contact.server_name().to_owned()).or_default();
        let is_full = waiting.len() >= MAX_DENIALS || self.denial_count >= MAX_DENIALS_OF_ALL;
        let pair = (denial.owner.clone(), denial.contact.clone());
        let takes = !is_full || waiting.contains(&pair);
        if takes {
            self.denial_count += usize::from(waiting.insert(pair));
        } else if waiting.is_empty() {
            self.denials.remove(denial.contact.server_name());
        }
        takes
    }

    fn handle_delivered(&mut self, message: &ListMessage) {
        let server = message.contact.server_name();
        if let Some(waiting) = self.denials.get_mut(server) {
            let pair = (message.owner.clone(), message.contact.clone());
            self.denial_count -= usize::from(waiting.remove(&pair));
            if waiting.is_empty() {
                self.denials.remove(server);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::list::Kind;

    fn denial(server: usize, asker: usize) -> ListMessage {
        ListMessage {
            owner: "@nobody:here".try_into().expect("a user ID"),
            contact: format!("@u{asker}:s{server}").try_into().expect("a user ID"),
            message: Message { kind: Kind::Deny, seq: 1 },
        }
    }

    #[test]
    fn denials_that_nobody_fetches_are_bounded_for_each_server_and_for_all() {
        let mut outbox = Outbox::default();
        for server in 0..MAX_DENIALS_OF_ALL / MAX_DENIALS {
            assert!((0..MAX_DENIALS).all(|asker| outbox.handle_denial(&denial(server, asker))));
            assert!(!outbox.handle_denial(&denial(server, MAX_DENIALS)));
        }
        assert!(!outbox.handle_denial(&denial(99, 0)));
        assert!(outbox.handle_denial(&denial(7, 7)), "it waits already");
        outbox.handle_delivered(&denial(7, 7));
        assert!(outbox.handle_denial(&denial(99, 0)));
        assert_eq!(outbox.denials.values().map(BTreeSet::len).sum::<usize>(), outbox.denial_count);
    }
}
