//! What all answers of other servers may take together, of memory or of the disk.
//!
//! An answer takes more as it comes, so that who only says that much will come has little. Who finds nothing left is given what
//! the server has that has most: of its answers the one that got nothing new for longest ends. So holding much, and being slow,
//! is no way to keep others from having some.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// In such steps more is taken, in bytes.
const STEP: usize = 64 << 10;

/// So many bytes for all, and so many for what one server says.
#[derive(Clone, Debug)]
pub struct Shares(Arc<Ledger>);

#[derive(Debug)]
struct Ledger {
    all: usize,
    for_one: usize,
    holders: Mutex<Holders>,
    /// Something was given back.
    freed: Notify,
}

/// Bounded by the requests under way.
#[derive(Debug, Default)]
struct Holders {
    /// By the number of each.
    held: BTreeMap<u64, Holder>,
    next: u64,
}

#[derive(Debug)]
struct Holder {
    server: String,
    bytes: usize,
    /// When it grew last, as others count.
    grown: u64,
    ending: Arc<Ending>,
}

/// Whether an answer has to end for others.
#[derive(Debug, Default)]
struct Ending {
    is_lost: AtomicBool,
    told: Notify,
}

/// Some bytes, given back when dropped.
#[derive(Debug)]
pub struct Held {
    ledger: Arc<Ledger>,
    number: u64,
    ending: Arc<Ending>,
}

/// Others needed what this answer had.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("answers of other servers needed the room that this one took")]
pub struct Lost;

impl Shares {
    /// Nothing is taken yet.
    pub fn new(all: usize, for_one: usize) -> Self {
        let (holders, freed) = (Mutex::default(), Notify::new());
        Self(Arc::new(Ledger { all, for_one: for_one.min(all), holders, freed }))
    }

    /// For an answer of `server`, of which nothing is there yet.
    pub fn open(&self, server: &str) -> Held {
        let mut holders = self.0.holders.lock();
        let (number, ending) = (holders.tick(), Arc::new(Ending::default()));
        let holder =
            Holder { server: server.to_owned(), bytes: 0, grown: number, ending: Arc::clone(&ending) };
        holders.held.insert(number, holder);
        Held { ledger: Arc::clone(&self.0), number, ending }
    }
}

impl Held {
    /// Waits until it has so many bytes; for more than one server may have, until it has all that this one may.
    ///
    /// # Errors
    /// [`Lost`].
    pub async fn grow(&mut self, bytes: usize) -> Result<(), Lost> {
        let wanted = bytes.next_multiple_of(STEP).min(self.ledger.for_one);
        loop {
            let freed = self.ledger.freed.notified();
            if self.has(wanted)? {
                return Ok(());
            }
            self.or_lost(freed).await?;
        }
    }

    /// Whether it has so many bytes now. If not, it may be that others were told to end.
    fn has(&self, wanted: usize) -> Result<bool, Lost> {
        self.check()?;
        self.ledger
            .holders
            .lock()
            .grow(self.number, wanted, (self.ledger.all, self.ledger.for_one))
            .ok_or(Lost)
    }

    /// Gives back what is beyond so many bytes.
    pub fn shrink(&mut self, bytes: usize) {
        if let Some(holder) = self.ledger.holders.lock().held.get_mut(&self.number) {
            holder.bytes = holder.bytes.min(bytes);
        }
        self.ledger.freed.notify_waiters();
    }

    /// Whether it still has what it has.
    ///
    /// # Errors
    /// [`Lost`].
    pub fn check(&self) -> Result<(), Lost> {
        if self.ending.is_lost.load(Ordering::Relaxed) { Err(Lost) } else { Ok(()) }
    }

    /// What `future` answers, unless this is lost before.
    ///
    /// # Errors
    /// [`Lost`].
    pub async fn or_lost<T>(&self, future: impl Future<Output = T>) -> Result<T, Lost> {
        self.check()?;
        tokio::select! {
            biased;
            () = self.ending.told.notified() => Err(Lost),
            answer = future => Ok(answer),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.ledger.holders.lock().held.remove(&self.number);
        self.ledger.freed.notify_waiters();
    }
}

impl Holders {
    fn tick(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Gives `number` so many bytes, or tells others to end so that it can have them. `None`: it is not there.
    fn grow(&mut self, number: u64, wanted: usize, (all, for_one): (usize, usize)) -> Option<bool> {
        let now = self.tick();
        let holder = self.held.get(&number)?;
        if holder.bytes >= wanted {
            return Some(true);
        }
        let (mut taken, mut of_own) = (0, 0);
        for other in self.held.iter().filter(|(other, _)| **other != number).map(|(_, holder)| holder) {
            taken += other.bytes;
            of_own += if other.server == holder.server { other.bytes } else { 0 };
        }
        // Of its own server it waits for the others.
        if of_own + wanted > for_one {
            return Some(false);
        }
        if taken + wanted > all {
            self.make_room((number, of_own + wanted), (taken + wanted) - all);
            return Some(false);
        }
        let holder = self.held.get_mut(&number)?;
        (holder.bytes, holder.grown) = (wanted, now);
        Some(true)
    }

    /// Tells so much to end, of servers that have more than that of `asking` would have.
    fn make_room(&mut self, (asking, least): (u64, usize), mut lacking: usize) {
        let is_lost = |holder: &Holder| holder.ending.is_lost.load(Ordering::Relaxed);
        let mut of_servers: BTreeMap<&str, usize> = BTreeMap::new();
        for holder in self.held.values() {
            match is_lost(holder) {
                true => lacking = lacking.saturating_sub(holder.bytes),
                false => *of_servers.entry(&holder.server).or_default() += holder.bytes,
            }
        }
        while lacking > 0 {
            let most =
                of_servers.iter().filter(|(_, bytes)| **bytes > least).max_by_key(|(_, bytes)| **bytes);
            let Some((server, _)) = most.map(|(server, bytes)| (*server, *bytes)) else { return };
            let of_it = self.held.iter().filter(|(number, holder)| {
                **number != asking && holder.server == server && holder.bytes > 0 && !is_lost(holder)
            });
            let Some((_, last)) = of_it.min_by_key(|(_, holder)| holder.grown) else { return };
            last.ending.is_lost.store(true, Ordering::Relaxed);
            last.ending.told.notify_one();
            lacking = lacking.saturating_sub(last.bytes);
            *of_servers.entry(server).or_default() -= last.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const K: usize = 1 << 10;

    /// What `future` answers without waiting.
    async fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            answer = future => Some(answer),
            () = std::future::ready(()) => None,
        }
    }

    fn has(held: &Held) -> usize {
        held.ledger.holders.lock().held[&held.number].bytes / K
    }

    #[tokio::test]
    async fn what_one_server_says_waits_for_what_else_it_says_and_nobody_has_more_than_their_share() {
        let shares = Shares::new(1024 * K, 512 * K);
        let (mut first, mut same) = (shares.open("one"), shares.open("one"));
        assert_eq!(at_once(first.grow(300 * K)).await, Some(Ok(())));
        assert_eq!(has(&first), 320, "in steps");
        assert_eq!(at_once(same.grow(192 * K)).await, Some(Ok(())));
        let mut more = Box::pin(same.grow(256 * K));
        assert_eq!(at_once(&mut more).await, None);
        first.shrink(200 * K);
        assert_eq!(at_once(&mut more).await, Some(Ok(())), "what is not needed is given back");
        drop((first, more));
        assert_eq!(at_once(same.grow(1 << 30)).await, Some(Ok(())));
        assert_eq!(has(&same), 512, "as much as one may have");
        drop(same);
        assert!(shares.0.holders.lock().held.is_empty(), "and nobody is remembered");
    }

    #[tokio::test]
    async fn who_has_most_makes_room_with_what_grew_longest_ago_and_who_has_little_is_left_alone() {
        let shares = Shares::new(1024 * K, 512 * K);
        let names = ["one", "one", "two", "small"];
        let [mut old, mut young, mut two, mut small] = names.map(|server| shares.open(server));
        for (held, bytes) in [(&mut old, 256), (&mut young, 256), (&mut two, 448), (&mut small, 64)] {
            assert_eq!(at_once(held.grow(bytes * K)).await, Some(Ok(())));
        }
        let mut new = shares.open("new");
        let mut coming = Box::pin(new.grow(128 * K));
        assert_eq!(at_once(&mut coming).await, None, "until it is given back");
        assert_eq!(old.check(), Err(Lost));
        assert_eq!(at_once(old.or_lost(std::future::pending::<()>())).await, Some(Err(Lost)), "is told");
        assert_eq!(at_once(old.grow(320 * K)).await, Some(Err(Lost)));
        assert_eq!([&young, &two, &small].map(Held::check), [Ok(()); 3], "and that is enough");
        drop(old);
        assert_eq!(at_once(&mut coming).await, Some(Ok(())));
        drop(coming);
        // Who would have more than anybody waits.
        assert_eq!(at_once(new.grow(512 * K)).await, None);
        assert_eq!([&young, &two, &small].map(Held::check), [Ok(()); 3]);
        two.shrink(64 * K);
        assert_eq!(at_once(new.grow(512 * K)).await, Some(Ok(())));
    }
}
