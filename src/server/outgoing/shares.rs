//! What all answers of other servers may take together, of memory or of the disk: who finds nothing left waits their turn, and no
//! server has all of it.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The unit in which is counted, in bytes.
const UNIT: usize = 1 << 10;

/// So many bytes for all, and so many for what one server says.
#[derive(Clone, Debug)]
pub struct Shares {
    free: Arc<Semaphore>,
    servers: Arc<Servers>,
    for_one: u32,
}

/// What the servers have left that have taken something. Bounded by the requests under way.
type Servers = Mutex<HashMap<String, Arc<Semaphore>>>;

/// Some bytes, given back when dropped.
#[derive(Debug)]
pub struct Held {
    of_all: Option<OwnedSemaphorePermit>,
    of_server: Waiting,
}

/// One of those who have something of a server's, or wait for it.
#[derive(Debug)]
struct Waiting {
    servers: Arc<Servers>,
    server: String,
    free: Arc<Semaphore>,
    mine: Option<OwnedSemaphorePermit>,
}

impl Shares {
    /// Nothing is taken yet.
    pub fn new(all: usize, for_one: usize) -> Self {
        let for_one = units(for_one.min(all));
        Self { free: Arc::new(Semaphore::new(units(all) as usize)), servers: Arc::default(), for_one }
    }

    /// Waits for so many bytes for an answer of `server`; for more than one server may have, for all that it may.
    pub async fn take(&self, server: &str, bytes: usize) -> Held {
        let wanted = units(bytes).min(self.for_one);
        let free = {
            let mut servers = self.servers.lock();
            let new = || Arc::new(Semaphore::new(self.for_one as usize));
            Arc::clone(servers.entry(server.to_owned()).or_insert_with(new))
        };
        let mut of_server =
            Waiting { servers: Arc::clone(&self.servers), server: server.to_owned(), free, mine: None };
        // Neither is ever closed.
        of_server.mine = Arc::clone(&of_server.free).acquire_many_owned(wanted).await.ok();
        let of_all = Arc::clone(&self.free).acquire_many_owned(wanted).await.ok();
        Held { of_all, of_server }
    }
}

impl Held {
    /// Gives back what is beyond so many bytes.
    pub fn shrink(&mut self, bytes: usize) {
        for held in [&mut self.of_all, &mut self.of_server.mine].into_iter().flatten() {
            let beyond = held.num_permits().saturating_sub(units(bytes) as usize);
            drop(held.split(beyond));
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        drop(self.mine.take());
        let mut servers = self.servers.lock();
        // This one's, and that of the table: nobody else has or waits for anything.
        if Arc::strong_count(&self.free) == 2 {
            servers.remove(&self.server);
        }
    }
}

fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `future` answers without waiting.
    async fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            answer = future => Some(answer),
            () = std::future::ready(()) => None,
        }
    }

    #[tokio::test]
    async fn nobody_has_more_than_their_share_and_who_finds_nothing_left_is_next() {
        let shares = Shares::new(100 << 10, 40 << 10);
        let mut first = at_once(shares.take("one", 30 << 10)).await.expect("is free");
        let mut same = Box::pin(shares.take("one", 20 << 10));
        assert!(at_once(&mut same).await.is_none(), "of one server no more");
        let other = at_once(shares.take("two", 1 << 30)).await.expect("others have their own");
        let mut third = Box::pin(shares.take("three", 40 << 10));
        assert!(at_once(&mut third).await.is_none(), "of all no more");
        first.shrink(20 << 10);
        assert!(at_once(&mut third).await.is_some(), "what is not needed is given back");
        assert!(at_once(&mut same).await.is_some());
        drop((first, other));
        drop((same, third));
        assert!(shares.servers.lock().is_empty(), "and nobody is remembered");
        assert_eq!(shares.free.available_permits(), 100);
    }
}
