//! What other servers are to be told about presence lists, until they have acknowledged it.
//!
//! Kept in the store with the contact that it is about, and written in the same step. The queue for the
//! destination tries until it is there; after a restart everything is given to the queues again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use parking_lot::{Mutex, MutexGuard};
use ruma::{OwnedServerName, OwnedUserId, ServerName};

use super::{
    edu::{Edu, Key},
    list_edu,
    queue::{Full, MAX_WAITING, Queue},
};
use crate::{
    core::list::{Half, Message},
    server::{
        change::feed::Change,
        config::servers::Policy,
        list::ListMessage,
        store::{Store, StoreError},
    },
};

/// Denials of requests that are not kept, that wait for one server and for all. Beyond it there is no answer.
const MAX_DENIALS: usize = 1_000;
const MAX_DENIALS_OF_ALL: usize = 50_000;

/// What other servers are to be told. What a list leads to is in the store, without a bound of its own beside
/// that of the lists; of it the queue holds as much as it takes.
#[derive(Debug)]
pub struct ListOutbox {
    store: Arc<Store>,
    queue: Arc<Queue>,
    policy: Arc<Policy>,
    waiting: Mutex<Waiting>,
}

/// How a message is given to the queue: in place of what waits for the same pair, or not.
type Push = fn(&Queue, &ServerName, Edu) -> Result<(), Full>;

/// What waits beside the store.
#[derive(Debug, Default)]
struct Waiting {
    /// Denials of requests that are not kept: who was asked, and who asks, for each server.
    denials: BTreeMap<OwnedServerName, BTreeSet<(OwnedUserId, OwnedUserId)>>,
    denial_count: usize,
    /// The servers of whose messages only some are with the queue, as it is full.
    overflowed: BTreeSet<OwnedServerName>,
}

impl ListOutbox {
    /// Nothing was given to the queue yet.
    pub fn new(store: Arc<Store>, queue: Arc<Queue>, policy: Arc<Policy>) -> Self {
        Self { store, queue, policy, waiting: Mutex::default() }
    }

    /// Gives everything that is not acknowledged to the queues; once, at start.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    pub async fn resume(&self) -> Result<(), StoreError> {
        for server in self.store.list_outbox_servers().await? {
            self.refill(&server).await?;
        }
        Ok(())
    }

    /// Has the servers told whom a change of lists concerns.
    pub fn handle_change(&self, change: &Change) {
        if let Change::PresenceList { outbox, .. } = change {
            outbox.iter().for_each(|message| self.send(message));
        }
    }

    /// Denies a request that is not kept. This is not kept either: whoever asks for many users that do not
    /// exist leaves nothing on the disk.
    pub fn send_denial(&self, denial: &ListMessage) {
        if self.lock().handle_denial(denial) && self.push(denial, Queue::push).is_err() {
            self.lock().handle_delivered(denial);
        }
    }

    /// Their server has acknowledged these EDUs: it has on its disk what they say of presence lists.
    pub async fn handle_delivered(&self, server: &ServerName, edus: &[Edu]) {
        let messages: Vec<ListMessage> = edus.iter().filter_map(message).collect();
        if messages.is_empty() {
            return;
        }
        {
            let mut waiting = self.lock();
            messages.iter().for_each(|message| waiting.handle_delivered(message));
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

    /// Has the contact's server told, unless the operator wants no presence shared with it; then the message waits
    /// in the store until a start at which it is wanted.
    fn send(&self, message: &ListMessage) {
        self.take_up(message, Queue::push);
    }

    fn take_up(&self, message: &ListMessage, push: Push) {
        if self.push(message, push) == Err(Full) {
            self.lock().overflowed.insert(message.contact.server_name().to_owned());
        }
    }

    /// Whether the queue has much room, and there are messages that it did not take.
    fn is_to_refill(&self, server: &ServerName) -> bool {
        self.queue.waiting(server) < MAX_WAITING / 2 && self.lock().overflowed.remove(server)
    }

    /// Gives as many messages to the queue as it holds. What it holds already is the same, or later: it may have been
    /// said while the store was read.
    async fn refill(&self, server: &ServerName) -> Result<(), StoreError> {
        let messages = self.store.list_outbox(server, MAX_WAITING).await?;
        if messages.len() == MAX_WAITING {
            self.lock().overflowed.insert(server.to_owned());
        }
        messages.iter().for_each(|message| self.take_up(message, Queue::push_again));
        Ok(())
    }

    fn push(&self, message: &ListMessage, push: Push) -> Result<(), Full> {
        let server = message.contact.server_name();
        if !self.policy.shares_presence_with(server) {
            return Ok(());
        }
        let (observer, observed) = list_edu::pair(message);
        let edu = Edu {
            kind: list_edu::edu_type(message.message.kind),
            content: list_edu::content(message),
            brief: None,
            key: Key::List { observer, observed },
            seq: message.message.seq,
        };
        push(&self.queue, server, edu)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock()
    }
}

/// The message that an EDU of ours says, if it is about presence lists.
fn message(edu: &Edu) -> Option<ListMessage> {
    let kind = list_edu::kind_of(edu.kind)?;
    let Key::List { observer, observed } = edu.key.clone() else { return None };
    let (owner, contact) = match kind.half() {
        Half::Asking => (observer, observed),
        Half::Answering => (observed, observer),
    };
    Some(ListMessage { owner, contact, message: Message { kind, seq: edu.seq } })
}

impl Waiting {
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
    use std::time::Duration;

    use ruma::server_name;

    use super::*;
    use crate::{
        core::{list::Kind, time::Instant},
        server::{
            config::Federation,
            store::{Access, ContactWrite},
        },
    };

    #[tokio::test]
    async fn l2_what_a_list_leads_to_is_queued_once_and_kept_until_it_is_acknowledged() {
        let folder = std::env::temp_dir().join(format!("pilotlight-outbox-{}", std::process::id()));
        let store = Store::open(&folder, server_name!("here"), Access::Sole, Arc::default()).expect("opens");
        let (store, queue) =
            (Arc::new(store), Arc::new(Queue::new(server_name!("own"), 1, (Duration::ZERO, Duration::ZERO))));
        let (friend, spam) = (server_name!("friend"), server_name!("spam"));
        let denied = Federation { presence_deny_servers: vec![spam.to_owned()], ..Federation::default() };
        let lists = ListOutbox::new(Arc::clone(&store), Arc::clone(&queue), Arc::new(Policy::new(&denied)));
        let drops = |server: &ServerName| ListMessage {
            owner: "@ann:here".try_into().expect("a user ID"),
            contact: format!("@bob:{server}").try_into().expect("a user ID"),
            message: Message { kind: Kind::Drop, seq: 3 },
        };
        let outbox = vec![drops(friend), drops(spam)];
        let write = ContactWrite { outbox: outbox.clone(), ..ContactWrite::default() };
        store.put_contacts(write).await.expect("is written");
        let waiting = || (queue.waiting(friend), queue.waiting(spam));
        lists.handle_change(&Change::PresenceList { rows: Vec::new(), outbox });
        assert_eq!(waiting(), (1, 0), "nothing is said where no presence is shared");
        lists.resume().await.expect("can be read");
        assert_eq!(waiting(), (1, 0), "it is with the queue already");
        let transaction = queue.next_transaction(Instant::from_millis(1)).expect("is due");
        lists.handle_delivered(friend, &transaction.edus).await;
        let left = async |server| store.list_outbox(server, 10).await.expect("can be read").len();
        assert_eq!((left(friend).await, left(spam).await), (0, 1));
        store.close().await;
        std::fs::remove_dir_all(folder).expect("can be removed");
    }

    #[tokio::test]
    async fn l2_what_the_store_had_does_not_take_the_place_of_what_was_said_since() {
        let folder = std::env::temp_dir().join(format!("pilotlight-refill-{}", std::process::id()));
        let store = Store::open(&folder, server_name!("here"), Access::Sole, Arc::default()).expect("opens");
        let (store, queue) =
            (Arc::new(store), Arc::new(Queue::new(server_name!("own"), 1, (Duration::ZERO, Duration::ZERO))));
        let policy = Arc::new(Policy::new(&Federation::default()));
        let lists = ListOutbox::new(Arc::clone(&store), Arc::clone(&queue), policy);
        let of = |kind, seq| ListMessage {
            owner: "@ann:here".try_into().expect("a user ID"),
            contact: "@bob:friend".try_into().expect("a user ID"),
            message: Message { kind, seq },
        };
        let outbox = vec![of(Kind::Invite, 3)];
        store.put_contacts(ContactWrite { outbox, ..ContactWrite::default() }).await.expect("is written");
        // As when the store is read just before this is written.
        lists.handle_change(&Change::PresenceList { rows: Vec::new(), outbox: vec![of(Kind::Drop, 4)] });
        lists.resume().await.expect("can be read");
        let transaction = queue.next_transaction(Instant::from_millis(1)).expect("is due");
        let said: Vec<_> = transaction.edus.iter().map(|edu| (edu.kind, edu.seq)).collect();
        assert_eq!(said, [(list_edu::edu_type(Kind::Drop), 4)]);
        store.close().await;
        std::fs::remove_dir_all(folder).expect("can be removed");
    }

    #[test]
    fn a_denial_that_waits_is_with_the_queue_and_one_beyond_the_bound_is_not() {
        let folder = std::env::temp_dir().join(format!("pilotlight-denials-{}", std::process::id()));
        let store = Store::open(&folder, server_name!("here"), Access::Sole, Arc::default()).expect("opens");
        let queue = Arc::new(Queue::new(server_name!("own"), 1, (Duration::ZERO, Duration::ZERO)));
        let policy = Arc::new(Policy::new(&Federation::default()));
        let lists = ListOutbox::new(Arc::new(store), Arc::clone(&queue), policy);
        (0..MAX_DENIALS + 5).for_each(|asker| lists.send_denial(&denial(0, asker)));
        assert_eq!(queue.waiting(server_name!("s0")), MAX_DENIALS);
        std::fs::remove_dir_all(folder).expect("can be removed");
    }

    fn denial(server: usize, asker: usize) -> ListMessage {
        ListMessage {
            owner: "@nobody:here".try_into().expect("a user ID"),
            contact: format!("@u{asker}:s{server}").try_into().expect("a user ID"),
            message: Message { kind: Kind::Deny, seq: 1 },
        }
    }

    #[test]
    fn denials_that_nobody_fetches_are_bounded_for_each_server_and_for_all() {
        let mut outbox = Waiting::default();
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
