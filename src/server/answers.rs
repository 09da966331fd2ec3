//! Answers that can be large: how many are made at once, and how many bytes of them wait to be taken.
//!
//! What it takes to make one can keep a processor busy for a second, and a client may take it slowly or not at all. So
//! such answers are made off the asynchronous workers, few at once and fewer for one client, and what is made counts
//! against one budget of bytes until its client has taken it. Who finds no room waits, in the order of asking; who
//! goes away while waiting has cost nothing.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::body::{Body, Bytes};
use hyper::body::{Frame, SizeHint};
use parking_lot::Mutex;
use tokio::{
    runtime::{Handle, RuntimeFlavor},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::block_in_place,
    time::Instant,
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

/// Of them for one client: an answer beyond it takes all of it, and the client's next waits until it was taken.
const WAITING_BYTES_OF_ONE: usize = WAITING_BYTES / 4;

/// How long taking an answer may last, whatever its size; and for each of its bytes, at this many a second.
const TAKING: Duration = Duration::from_secs(60);
const TAKING_PER_SECOND: usize = 32 << 10;

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
    clients: Mutex<HashMap<Box<str>, Arc<Share>>>,
}

/// What one client may have at one desk.
#[derive(Debug)]
struct Share {
    answers: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
}

/// A place to make one answer at.
#[derive(Debug)]
pub struct Place {
    making: OwnedSemaphorePermit,
    of_client: OwnedSemaphorePermit,
    share: Arc<Share>,
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
        let share = desk.of(client);
        let of_client = acquire(Arc::clone(&share.answers), 1).await;
        let making = acquire(Arc::clone(&desk.places), 1).await;
        Place { making, of_client, share, waiting: Arc::clone(&self.waiting) }
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

    fn of(&self, client: &str) -> Arc<Share> {
        let mut clients = self.clients.lock();
        if let Some(own) = clients.get(client) {
            return Arc::clone(own);
        }
        // Entries that nobody waits for or holds are dropped here, when the map is about to grow.
        if clients.len() == clients.capacity() {
            clients.retain(|_, own| Arc::strong_count(own) > 1);
        }
        let own = Arc::new(Share {
            answers: Arc::new(Semaphore::new(self.of_one)),
            bytes: Arc::new(Semaphore::new(WAITING_BYTES_OF_ONE / UNIT)),
        });
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
    /// place again when it was taken, or the connection is gone. Whoever waits for what they have not taken themselves
    /// waits without the place.
    pub async fn body(self, answer: impl Into<Bytes>) -> Body {
        let Self { making, of_client, share, waiting } = self;
        let answer = answer.into();
        if answer.len() <= SMALL {
            return Body::from(answer);
        }
        let units = answer.len().min(WAITING_BYTES_OF_ONE).div_ceil(UNIT);
        let units = u32::try_from(units).expect("the budget is small");
        let (own, making) = match Arc::clone(&share.bytes).try_acquire_many_owned(units) {
            Ok(own) => (own, Some(making)),
            Err(_) => {
                drop(making);
                (acquire(Arc::clone(&share.bytes), units).await, None)
            }
        };
        let bytes = acquire(waiting, units).await;
        drop(making);
        let until = Instant::now() + TAKING + Duration::from_secs((answer.len() / TAKING_PER_SECOND) as u64);
        Body::new(Pieces { rest: answer, until, _counted: [bytes, own, of_client], _share: share })
    }
}

/// A body that is counted until it was taken.
#[derive(Debug)]
struct Pieces {
    rest: Bytes,
    /// When a client that still takes it takes too long.
    until: Instant,
    _counted: [OwnedSemaphorePermit; 3],
    /// So that the client is known as long as something of theirs is counted.
    _share: Arc<Share>,
}

/// A client took longer for an answer than is allowed.
#[derive(Debug, thiserror::Error)]
#[error("the client takes too long for this answer")]
pub struct TooSlow;

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = TooSlow;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, TooSlow>>> {
        if !self.rest.is_empty() && Instant::now() > self.until {
            self.rest.clear();
            return Poll::Ready(Some(Err(TooSlow)));
        }
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
        let share = || vec![b'x'; WAITING_BYTES_OF_ONE];
        let mut others = Vec::new();
        for user in ["@d:x", "@e:x", "@f:x"] {
            others.push(answers.place(user, Size::Whole).await.body(share()).await);
        }
        let first = answers.place("@a:x", Size::Whole).await.body(share()).await;
        let place = answers.place("@b:x", Size::Whole).await;
        let mut second = Box::pin(place.body(share()));
        assert!(timeout(Duration::from_millis(1), &mut second).await.is_err(), "there is no room");
        let small = answers.place("@c:x", Size::Page).await.body(vec![b'x'; SMALL]);
        drop(timeout(Duration::ZERO, small).await.expect("a small one needs none"));
        let taken = first.collect().await.expect("is whole").to_bytes();
        assert_eq!(taken.len(), share().len());
        drop(second.await);
        drop(others);
        assert_eq!(
            answers.waiting.available_permits(),
            WAITING_BYTES / UNIT,
            "gone untaken counts no longer"
        );
        let huge = answers.place("@a:x", Size::Whole).await.body(vec![b'x'; WAITING_BYTES * 2]).await;
        let left = (WAITING_BYTES - WAITING_BYTES_OF_ONE) / UNIT;
        assert_eq!(answers.waiting.available_permits(), left, "one client has its share only");
        drop(huge);
    }

    #[tokio::test]
    async fn who_takes_nothing_keeps_neither_places_nor_the_bytes_of_others() {
        let answers = Answers::default();
        let huge = || vec![b'x'; WAITING_BYTES * 2];
        let untaken = answers.place("@a:x", Size::Whole).await.body(huge()).await;
        let place = answers.place("@a:x", Size::Whole).await;
        let mut next = Box::pin(place.body(huge()));
        assert!(timeout(Duration::from_millis(1), &mut next).await.is_err(), "its own share is used up");
        assert_eq!(answers.whole.places.available_permits(), WHOLE_AT_ONCE, "nothing is being made");
        for user in ["@b:x", "@c:x", "@d:x"] {
            let body = answers.place(user, Size::Whole).await.body(vec![b'x'; WAITING_BYTES_OF_ONE]);
            drop(timeout(Duration::from_secs(1), body).await.expect("there is room for others"));
        }
        drop(untaken);
        drop(timeout(Duration::from_secs(1), next).await.expect("there is room again"));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_taken_too_slowly_ends() {
        let answers = Answers::default();
        let mut body = answers.place("@a:x", Size::Whole).await.body(vec![b'x'; WAITING_BYTES / 8]).await;
        let allowed = TAKING + Duration::from_secs((WAITING_BYTES / 8 / TAKING_PER_SECOND) as u64);
        tokio::time::advance(allowed).await;
        assert!(body.frame().await.expect("there is more").is_ok());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(body.frame().await.expect("says so").is_err());
        assert!(body.frame().await.is_none());
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
