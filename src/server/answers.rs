//! Answers that can be large: how many are made at once, and how many bytes of them wait to be taken.
//!
//! What it takes to make one can keep a processor busy for a second, and a client may take it slowly or not at all. So
//! such answers are made off the asynchronous workers, few at once and fewer for one client, and what is made counts
//! against one budget of bytes until its client has taken it. Who finds no room waits, in the order of asking; who
//! goes away while waiting has cost nothing.

use std::{
    collections::HashMap,
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use axum::body::{Body, Bytes};
use hyper::body::{Frame, SizeHint};
use parking_lot::Mutex;
use tokio::{
    runtime::{Handle, RuntimeFlavor},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::block_in_place,
};

/// Answers whose size depends on all that a client has (all rooms, a whole room) that are made at once.
const WHOLE_AT_ONCE: usize = 3;

/// Of them for one client: made, or not taken yet.
const WHOLE_OF_ONE: usize = 2;

/// Answers of a size that the request bounds that are made at once.
const PAGES_AT_ONCE: usize = 4;

/// Of them for one client: made, or not taken yet.
const PAGES_OF_ONE: usize = 3;

/// Bytes of all large answers that wait to be taken, about: one more waits until there is room, however large.
const WAITING_BYTES: usize = 32 << 20;

/// What the budget is counted in.
const UNIT: usize = 1 << 10;

/// Answers up to this size are not counted: a connection's own buffers hold as much.
const SMALL: usize = 16 << 10;

/// What a connection is handed at once of an answer.
const PIECE: usize = 16 << 10;

/// How large an answer can get.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Size {
    /// As large as what the client has or asks about: all rooms, the state of a room.
    Whole,
    /// As large as the request allows: a page, a search, the keys of those who were named.
    Page,
}

/// Where large answers are made.
#[derive(Debug)]
pub struct Answers {
    whole: Desk,
    pages: Desk,
    waiting: Arc<Semaphore>,
    asking: AtomicUsize,
}

/// The places for answers of one kind.
#[derive(Debug)]
struct Desk {
    places: Arc<Semaphore>,
    of_one: usize,
    /// Bounded by the number of clients with a request that waits, is made or is taken.
    clients: Mutex<HashMap<Box<str>, Arc<Semaphore>>>,
}

/// A place to make one answer at.
#[derive(Debug)]
pub struct Place {
    making: OwnedSemaphorePermit,
    of_client: OwnedSemaphorePermit,
    waiting: Arc<Semaphore>,
}

impl Default for Answers {
    fn default() -> Self {
        Self {
            whole: Desk::new(WHOLE_AT_ONCE, WHOLE_OF_ONE),
            pages: Desk::new(PAGES_AT_ONCE, PAGES_OF_ONE),
            waiting: Arc::new(Semaphore::new(WAITING_BYTES / UNIT)),
            asking: AtomicUsize::new(0),
        }
    }
}

impl Answers {
    /// A place to make an answer of this size at, for `client` (a user, or the address of a stranger), as soon as there
    /// is one.
    pub async fn place(&self, client: &str, size: Size) -> Place {
        let desk = match size {
            Size::Whole => &self.whole,
            Size::Page => &self.pages,
        };
        let _asking = Asking::begin(&self.asking);
        // The client's own first: however many requests one has waiting, only a few of them wait for the places of all.
        let of_client = acquire(desk.of(client), 1).await;
        let making = acquire(Arc::clone(&desk.places), 1).await;
        Place { making, of_client, waiting: Arc::clone(&self.waiting) }
    }

    /// How many requests wait for a place.
    pub fn asking(&self) -> usize {
        self.asking.load(Ordering::Relaxed)
    }
}

/// A request that waits for a place, until this is dropped.
struct Asking<'a>(&'a AtomicUsize);

impl<'a> Asking<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Desk {
    fn new(places: usize, of_one: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(places)), of_one, clients: Mutex::default() }
    }

    fn of(&self, client: &str) -> Arc<Semaphore> {
        let mut clients = self.clients.lock();
        if let Some(own) = clients.get(client) {
            return Arc::clone(own);
        }
        // Entries that nobody waits for or holds are dropped here, when the map is about to grow.
        if clients.len() == clients.capacity() {
            clients.retain(|_, own| Arc::strong_count(own) > 1);
        }
        let own = Arc::new(Semaphore::new(self.of_one));
        clients.insert(client.into(), Arc::clone(&own));
        own
    }
}

async fn acquire(semaphore: Arc<Semaphore>, permits: u32) -> OwnedSemaphorePermit {
    semaphore.acquire_many_owned(permits).await.expect("these semaphores are never closed")
}

impl Place {
    /// Does `work`, which may take long, where it keeps no other request waiting.
    pub async fn make<T>(&self, work: impl Future<Output = T>) -> T {
        let runtime = Handle::current();
        match runtime.runtime_flavor() {
            RuntimeFlavor::MultiThread => block_in_place(|| runtime.block_on(work)),
            // There is one thread only.
            _ => work.await,
        }
    }

    /// What is to be sent of `answer`. Resolves when there is room for it among those that wait to be taken; its client has a
    /// place again when it was taken, or the connection is gone.
    pub async fn body(self, answer: impl Into<Bytes>) -> Body {
        let answer = answer.into();
        if answer.len() <= SMALL {
            return Body::from(answer);
        }
        let units = answer.len().min(WAITING_BYTES).div_ceil(UNIT);
        let units = u32::try_from(units).expect("the budget is small");
        let bytes = acquire(self.waiting, units).await;
        drop(self.making);
        Body::new(Pieces { rest: answer, _counted: (bytes, self.of_client) })
    }
}

/// A body that is counted until it was taken.
#[derive(Debug)]
struct Pieces {
    rest: Bytes,
    _counted: (OwnedSemaphorePermit, OwnedSemaphorePermit),
}

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.rest.len().min(PIECE);
        let piece = self.rest.split_to(piece);
        Poll::Ready((!piece.is_empty()).then(|| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http_body_util::BodyExt;
    use tokio::time::timeout;

    use super::*;

    /// Whether there is a place for `client` at once.
    async fn is_free(answers: &Answers, client: &str, size: Size) -> bool {
        timeout(Duration::ZERO, answers.place(client, size)).await.is_ok()
    }

    #[tokio::test]
    async fn one_client_has_a_few_places_and_leaves_some_to_others() {
        let answers = Answers::default();
        for (size, of_one) in [(Size::Whole, WHOLE_OF_ONE), (Size::Page, PAGES_OF_ONE)] {
            let mut held = Vec::new();
            for _ in 0..of_one {
                held.push(answers.place("@a:x", size).await);
            }
            assert!(!is_free(&answers, "@a:x", size).await, "{size:?}");
            assert!(is_free(&answers, "@b:x", size).await, "{size:?}");
            drop(held.pop());
            assert!(is_free(&answers, "@a:x", size).await, "{size:?}");
        }
    }

    #[tokio::test]
    async fn those_who_wait_beyond_their_own_places_do_not_stand_before_others() {
        let answers = Arc::new(Answers::default());
        let held = [answers.place("@a:x", Size::Whole).await, answers.place("@a:x", Size::Whole).await];
        let waiting: Vec<_> = (0..100)
            .map(|_| {
                let answers = Arc::clone(&answers);
                tokio::spawn(async move { drop(answers.place("@a:x", Size::Whole).await) })
            })
            .collect();
        tokio::task::yield_now().await;
        assert!(is_free(&answers, "@b:x", Size::Whole).await);
        drop(held);
        for place in waiting {
            place.await.expect("is given one");
        }
        assert_eq!(answers.whole.places.available_permits(), WHOLE_AT_ONCE);
    }

    #[tokio::test]
    async fn an_answer_counts_until_it_was_taken_and_others_wait_meanwhile() {
        let answers = Answers::default();
        let half = || vec![b'x'; WAITING_BYTES / 2 + UNIT];
        let first = answers.place("@a:x", Size::Whole).await.body(half()).await;
        let place = answers.place("@b:x", Size::Whole).await;
        let mut second = Box::pin(place.body(half()));
        assert!(timeout(Duration::from_millis(1), &mut second).await.is_err(), "there is no room");
        let small = answers.place("@c:x", Size::Page).await.body(vec![b'x'; SMALL]);
        drop(timeout(Duration::ZERO, small).await.expect("a small one needs none"));
        let taken = first.collect().await.expect("is whole").to_bytes();
        assert_eq!(taken.len(), half().len());
        drop(second.await);
        assert_eq!(
            answers.waiting.available_permits(),
            WAITING_BYTES / UNIT,
            "gone untaken counts no longer"
        );
        let huge = answers.place("@a:x", Size::Whole).await.body(vec![b'x'; WAITING_BYTES * 2]).await;
        assert_eq!(answers.waiting.available_permits(), 0);
        drop(huge);
    }

    #[tokio::test]
    async fn a_client_that_does_not_take_its_answers_gets_no_more_of_them() {
        let answers = Answers::default();
        let mut untaken = Vec::new();
        for _ in 0..WHOLE_OF_ONE {
            untaken.push(answers.place("@a:x", Size::Whole).await.body(vec![b'x'; SMALL + 1]).await);
        }
        assert!(!is_free(&answers, "@a:x", Size::Whole).await);
        assert_eq!(answers.whole.places.available_permits(), WHOLE_AT_ONCE, "nothing is being made");
        untaken.pop();
        assert!(is_free(&answers, "@a:x", Size::Whole).await);
    }

    #[test]
    fn clients_without_requests_are_forgotten() {
        let desk = Desk::new(1, 1);
        for n in 0..10_000 {
            drop(desk.of(&format!("@u{n}:x")));
        }
        assert!(desk.clients.lock().len() < 100);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn the_only_worker_does_other_things_while_an_answer_is_made() {
        let answers = Arc::new(Answers::default());
        let (ask, answer) = std::sync::mpsc::channel();
        let maker = tokio::spawn(async move {
            let place = answers.place("@a:x", Size::Whole).await;
            place.make(async move { answer.recv_timeout(Duration::from_secs(10)) }).await
        });
        let other = tokio::spawn(async move { ask.send(()) });
        other.await.expect("runs").expect("is waited for");
        maker.await.expect("runs").expect("was told by the other task");
    }
}
