//! What all answers of other servers may take together, of memory or of the disk: who finds nothing left waits their turn, and no
//! server has all of it. An answer takes more as it comes, so that who only says that much will come has little.

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
    free: Arc<Semaphore>,
    for_one: u32,
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

    /// For an answer of `server`, of which nothing is there yet.
    pub fn open(&self, server: &str) -> Held {
        let free = {
            let mut servers = self.servers.lock();
            let new = || Arc::new(Semaphore::new(self.for_one as usize));
            Arc::clone(servers.entry(server.to_owned()).or_insert_with(new))
        };
        let of_server =
            Waiting { servers: Arc::clone(&self.servers), server: server.to_owned(), free, mine: None };
        Held { free: Arc::clone(&self.free), for_one: self.for_one, of_all: None, of_server }
    }
}

impl Held {
    /// Waits until it has so many bytes; for more than one server may have, until it has all that this one may. What it takes is
    /// twice as much each time, so that it does not wait for each piece.
    pub async fn grow(&mut self, bytes: usize) {
        if units(bytes).min(self.for_one) > self.units() {
            let wanted = units(bytes.next_power_of_two()).min(self.for_one);
            fill(&mut self.of_server.mine, &self.of_server.free, wanted).await;
            fill(&mut self.of_all, &self.free, wanted).await;
        }
    }

    fn units(&self) -> u32 {
        self.of_all.as_ref().map_or(0, |held| held.num_permits() as u32)
    }

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

async fn fill(held: &mut Option<OwnedSemaphorePermit>, free: &Arc<Semaphore>, wanted: u32) {
    let more = wanted.saturating_sub(held.as_ref().map_or(0, |held| held.num_permits() as u32));
    // It is never closed.
    let Ok(more) = Arc::clone(free).acquire_many_owned(more).await else { return };
    match held {
        Some(held) => held.merge(more),
        None => *held = Some(more),
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
        let shares = Shares::new(96 << 10, 40 << 10);
        let mut first = shares.open("one");
        at_once(first.grow(30 << 10)).await.expect("is free");
        assert_eq!(first.units(), 32, "twice as much each time");
        let mut same = shares.open("one");
        let mut more = Box::pin(same.grow(16 << 10));
        assert!(at_once(&mut more).await.is_none(), "of one server no more");
        let mut other = shares.open("two");
        at_once(other.grow(1 << 30)).await.expect("others have their own");
        assert_eq!(other.units(), 40, "as much as one may have");
        let mut third = shares.open("three");
        at_once(third.grow(8 << 10)).await.expect("little is there for all");
        let mut rest = Box::pin(third.grow(40 << 10));
        assert!(at_once(&mut rest).await.is_none(), "of all no more");
        assert!(at_once(&mut more).await.is_none(), "of one server no more");
        first.shrink(24 << 10);
        assert!(at_once(&mut rest).await.is_none(), "and not before it is enough");
        first.shrink(16 << 10);
        assert!(at_once(&mut rest).await.is_some(), "what is not needed is given back");
        assert!(at_once(&mut more).await.is_none(), "to who asked first");
        drop(other);
        assert!(at_once(&mut more).await.is_some());
        drop((rest, more));
        assert_eq!([first.units(), same.units(), third.units()], [16, 16, 40]);
        let mut fourth = shares.open("four");
        let mut waits = Box::pin(fourth.grow(40 << 10));
        assert!(at_once(&mut waits).await.is_none());
        drop(waits);
        drop((first, same));
        at_once(fourth.grow(40 << 10))
            .await
            .expect("who waited no longer, and asks again, has no more than that");
        assert_eq!(fourth.units(), 40);
        drop((third, fourth));
        assert!(shares.servers.lock().is_empty(), "and nobody is remembered");
        assert_eq!(shares.free.available_permits(), 96);
    }
}
