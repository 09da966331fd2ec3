//! Room for connections to other servers: so many in all, and so many to one of them.
//!
//! Each is an open file, of which the system allows so many. Half of the lines may stay open while nothing is said on
//! them; whoever finds none of that half free closes theirs after the answer, so that there is a line for the next.

use std::{collections::HashMap, io, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long a connection waits for a line.
const WAIT: Duration = Duration::from_secs(10);

/// Requests to one server under way at a time: of a server that does not answer, no more wait.
pub const FOR_ONE: usize = 4;

/// The lines of one server, for everybody who speaks with others.
#[derive(Clone, Debug)]
pub struct Lines {
    free: Arc<Semaphore>,
    /// How many of them may be kept while nothing is said.
    keepable: Arc<Semaphore>,
    turns: Arc<Turns>,
    for_one: usize,
}

/// Of whom something is asked, by the name under which it is. Bounded by the requests under way.
type Turns = Mutex<HashMap<String, Arc<Semaphore>>>;

/// An open connection, until dropped.
#[derive(Debug)]
pub struct Line {
    _taken: OwnedSemaphorePermit,
    kept: Option<OwnedSemaphorePermit>,
}

/// One of the requests that may be under way to a server, until dropped.
#[derive(Debug)]
pub struct Turn {
    turns: Arc<Turns>,
    server: String,
    of_server: Arc<Semaphore>,
    mine: Option<OwnedSemaphorePermit>,
}

impl Lines {
    /// So many connections at once, and [`FOR_ONE`] requests to one server.
    pub fn new(most: usize) -> Self {
        Self::with(most, FOR_ONE)
    }

    /// So many connections at once, and so many requests to one server.
    pub fn with(most: usize, for_one: usize) -> Self {
        let most = most.max(1);
        Self {
            free: Arc::new(Semaphore::new(most)),
            keepable: Arc::new(Semaphore::new(most / 2)),
            turns: Arc::default(),
            for_one: for_one.max(1),
        }
    }

    /// Waits for a line.
    ///
    /// # Errors
    /// [`io::ErrorKind::ResourceBusy`] when none gets free for so long.
    pub async fn take(&self) -> io::Result<Line> {
        let none = |_| io::Error::new(io::ErrorKind::ResourceBusy, "too many connections");
        let free = tokio::time::timeout(WAIT, Arc::clone(&self.free).acquire_owned()).await;
        let taken = free.map_err(|e| none(e.to_string()))?.map_err(|e| none(e.to_string()))?;
        Ok(Line { _taken: taken, kept: Arc::clone(&self.keepable).try_acquire_owned().ok() })
    }

    /// Waits for the turn to ask something of `server`.
    pub async fn turn(&self, server: &str) -> Turn {
        let of_server = {
            let mut turns = self.turns.lock();
            let new = || Arc::new(Semaphore::new(self.for_one));
            Arc::clone(turns.entry(server.to_owned()).or_insert_with(new))
        };
        let mut turn =
            Turn { turns: Arc::clone(&self.turns), server: server.to_owned(), of_server, mine: None };
        // Never closed.
        turn.mine = Arc::clone(&turn.of_server).acquire_owned().await.ok();
        turn
    }
}

impl Line {
    /// Whether it may stay open while nothing is said.
    pub fn is_kept(&self) -> bool {
        self.kept.is_some()
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        drop(self.mine.take());
        let mut turns = self.turns.lock();
        // This one's, and that of the table: nobody else asks or waits.
        if Arc::strong_count(&self.of_server) == 2 {
            turns.remove(&self.server);
        }
    }
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

    #[tokio::test(start_paused = true)]
    async fn there_are_so_many_lines_and_half_of_them_are_kept() {
        let lines = Lines::new(5);
        let mut taken = Vec::new();
        for n in 0..5 {
            let line = lines.take().await.expect("is free");
            assert_eq!(line.is_kept(), n < 2, "{n}");
            taken.push(line);
        }
        assert_eq!(lines.take().await.expect_err("waits in vain").kind(), io::ErrorKind::ResourceBusy);
        taken.remove(3);
        assert!(!lines.take().await.expect("is free").is_kept());
        taken.remove(0);
        assert!(lines.take().await.expect("is free").is_kept());
    }

    #[tokio::test]
    async fn of_one_server_so_much_is_asked_at_once_and_nobody_is_remembered() {
        let lines = Lines::new(100);
        let (one, other) = ("one", "other");
        let mut turns = Vec::new();
        for _ in 0..FOR_ONE {
            turns.push(lines.turn(one).await);
        }
        let mut waits = Box::pin(lines.turn(one));
        assert!(at_once(&mut waits).await.is_none());
        assert!(at_once(lines.turn(other)).await.is_some(), "others have their own");
        turns.pop();
        turns.push(at_once(&mut waits).await.expect("is next"));
        drop(waits);
        assert!(at_once(lines.turn(one)).await.is_none(), "and whoever waits no longer is nobody");
        drop(turns);
        assert!(lines.turns.lock().is_empty());
    }
}
