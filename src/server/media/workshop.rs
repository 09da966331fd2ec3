//! Where thumbnails are made: few at a time, however many ask, and for each who asks in turn.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{folder::FileName, refusal::Refusal};

/// Pictures that are worked on at once.
const PLACES: usize = 2;

/// How large they may be together, in millions of pixels; one as large as any fits.
pub(super) const MEGAPIXELS: u32 = 33;

/// Requests that wait or are worked on, of all and of one who asks, at most, and when others come again.
const MAX_ASKED: usize = 1_024;
const MAX_ASKED_OF_ONE: usize = 128;
const BUSY: Duration = Duration::from_secs(1);

/// What failed that is remembered, at most.
const MAX_FAILED: usize = 4_096;

/// A file, the size wanted of it, and whether it may move.
pub(super) type Failing = (FileName, Option<String>, bool);

/// Where thumbnails are made.
#[derive(Debug)]
pub(super) struct Workshop {
    places: Arc<Semaphore>,
    /// In millions of pixels.
    pub(super) room: Arc<Semaphore>,
    askers: Askers,
    /// What is no picture, or not whole. Bounded by [`MAX_FAILED`].
    failed: Mutex<BTreeSet<Failing>>,
}

/// By who asks. Bounded by [`MAX_ASKED`].
type Askers = Arc<Mutex<BTreeMap<String, Asker>>>;

/// Somebody who asks.
#[derive(Debug)]
struct Asker {
    asked: usize,
    /// As many as this wait with the others for a place; the rest waits behind them, so that others come in between.
    turns: Arc<Semaphore>,
}

/// A place to work at, until dropped.
#[derive(Debug)]
pub(super) struct Place {
    _place: OwnedSemaphorePermit,
    _turn: OwnedSemaphorePermit,
    _asked: Asked,
}

/// A request that waits or is worked on, until dropped.
#[derive(Debug)]
struct Asked {
    askers: Askers,
    asker: String,
}

impl Default for Workshop {
    fn default() -> Self {
        Self {
            places: Arc::new(Semaphore::new(PLACES)),
            room: Arc::new(Semaphore::new(MEGAPIXELS as usize)),
            askers: Askers::default(),
            failed: Mutex::default(),
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let mut askers = self.askers.lock();
        if let Some(asker) = askers.get_mut(&self.asker) {
            asker.asked -= 1;
            if asker.asked == 0 {
                askers.remove(&self.asker);
            }
        }
    }
}

impl Workshop {
    /// A place to work at, when it is the turn of `asker`.
    pub(super) async fn place(&self, asker: &str) -> Result<Place, Refusal> {
        let (asked, turns) = self.ask(asker)?;
        let turn = turns.acquire_owned().await.map_err(std::io::Error::other)?;
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(std::io::Error::other)?;
        Ok(Place { _place: place, _turn: turn, _asked: asked })
    }

    fn ask(&self, asker: &str) -> Result<(Asked, Arc<Semaphore>), Refusal> {
        let mut askers = self.askers.lock();
        let all: usize = askers.values().map(|asker| asker.asked).sum();
        let own = askers.get(asker).map_or(0, |asker| asker.asked);
        if all >= MAX_ASKED || own >= MAX_ASKED_OF_ONE {
            return Err(Refusal::Busy(BUSY));
        }
        let new = || Asker { asked: 0, turns: Arc::new(Semaphore::new(PLACES)) };
        let of_one = askers.entry(asker.to_owned()).or_insert_with(new);
        of_one.asked += 1;
        let asked = Asked { askers: Arc::clone(&self.askers), asker: asker.to_owned() };
        Ok((asked, Arc::clone(&of_one.turns)))
    }

    /// Whether nothing can be made of this.
    pub(super) fn has_failed(&self, failing: &Failing) -> bool {
        self.failed.lock().contains(failing)
    }

    /// Nothing can be made of this: a file never changes.
    pub(super) fn note_failed(&self, failing: Failing) {
        let mut failed = self.failed.lock();
        if failed.len() >= MAX_FAILED {
            // Names are drawn by chance, so this is any of them.
            failed.pop_first();
        }
        failed.insert(failing);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::Pin,
        task::{Context, Waker},
    };

    use super::*;

    fn waits<F: Future>(place: &mut Pin<Box<F>>) -> bool {
        place.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending()
    }

    #[tokio::test]
    async fn who_asks_for_much_waits_behind_who_asks_for_little() {
        let workshop = Workshop::default();
        let mut works = Vec::new();
        for _ in 0..PLACES {
            works.push(workshop.place("alice").await.expect("there is a place"));
        }
        let mut waiting: Vec<_> =
            (PLACES..MAX_ASKED_OF_ONE).map(|_| Box::pin(workshop.place("alice"))).collect();
        assert!(waiting.iter_mut().all(waits));
        assert!(matches!(workshop.place("alice").await, Err(Refusal::Busy(_))));
        let mut bob = Box::pin(workshop.place("bob"));
        assert!(waits(&mut bob), "there is no place");
        works.pop();
        assert!(waits(&mut waiting[0]), "the place is Bob's, who has had none");
        drop(bob.await.expect("a place"));
        drop(waiting.remove(0).await.expect("a place"));
        drop((works, waiting));
        assert!(workshop.askers.lock().is_empty());
    }

    #[test]
    fn what_fails_is_remembered_up_to_a_bound() {
        let workshop = Workshop::default();
        let last = (FileName::random(), None, true);
        for _ in 0..MAX_FAILED + 10 {
            workshop.note_failed((FileName::random(), None, false));
        }
        workshop.note_failed(last.clone());
        assert!(workshop.has_failed(&last));
        assert_eq!(workshop.failed.lock().len(), MAX_FAILED);
    }
}
