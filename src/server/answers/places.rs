//! Places for making answers: how many, for whom, and what the answers made there have of memory and disk.

use std::{
    future::poll_fn,
    path::PathBuf,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::body::{Body, Bytes};
use tokio::{
    runtime::{Handle, RuntimeFlavor},
    sync::OwnedSemaphorePermit,
    task::block_in_place,
};

use super::{
    body,
    desk::{Client, Desk, Turn},
    room::{NoRoom, Room},
};

/// Answers whose size depends on all that a client has (all rooms, a whole room) that are made at the same moment.
const WHOLE_AT_ONCE: usize = 3;

/// Of them for one client: asked for and made, or not taken yet.
const WHOLE_OF_ONE: usize = 2;

/// Answers of a size that the request bounds that are made at the same moment.
const PAGES_AT_ONCE: usize = 4;

/// Of them for one client: asked for and made, or not taken yet.
const PAGES_OF_ONE: usize = 3;

/// Searches through messages that are made at the same moment: what many words have in common, all of it is put into order.
const SEARCHES_AT_ONCE: usize = 2;

/// Of them for one client: asked for and made, or not taken yet.
const SEARCHES_OF_ONE: usize = 1;

/// How long an answer is expected to take of which nothing else is known.
const UNKNOWN: Duration = Duration::from_millis(100);

/// How large an answer can get.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Size {
    /// As large as what the client has or asks about: all rooms, the state of a room.
    Whole,
    /// As large as the request allows: a page, the keys of those who were named.
    Page,
    /// The same, after a look through everything that a client may read.
    Search,
}

/// Where large answers are made and wait.
#[derive(Debug)]
pub struct Answers {
    whole: Arc<Desk>,
    pages: Arc<Desk>,
    searches: Arc<Desk>,
    room: Room,
    asking: AtomicUsize,
}

/// A place to make one answer at.
#[derive(Debug)]
pub struct Place {
    turn: Turn,
    pub(super) client: Arc<Client>,
    pub(super) of_client: OwnedSemaphorePermit,
    pub(super) room: Room,
}

impl Answers {
    /// None is made yet; those that are large wait in a file in `folder`.
    pub fn new(folder: PathBuf) -> Self {
        Self {
            whole: Arc::new(Desk::new(WHOLE_AT_ONCE, WHOLE_OF_ONE)),
            pages: Arc::new(Desk::new(PAGES_AT_ONCE, PAGES_OF_ONE)),
            searches: Arc::new(Desk::new(SEARCHES_AT_ONCE, SEARCHES_OF_ONE)),
            room: Room::new(folder),
            asking: AtomicUsize::new(0),
        }
    }

    /// A place to make an answer of this size at, for `client` (a user, or the address of a stranger), as soon as there
    /// is one.
    pub async fn place(&self, client: &str, size: Size) -> Place {
        self.place_for(client, size, UNKNOWN).await
    }

    /// The same for an answer that is expected to take so long.
    pub async fn place_for(&self, client: &str, size: Size, expected: Duration) -> Place {
        let desk = match size {
            Size::Whole => &self.whole,
            Size::Page => &self.pages,
            Size::Search => &self.searches,
        };
        let _asking = Asking::begin(&self.asking);
        // The client's own first: however many requests one has waiting, only a few of them wait for the places of all.
        let (client, of_client) = desk.admit(client).await;
        let turn = desk.turn(&client, expected).await;
        Place { turn, client, of_client, room: self.room.clone() }
    }

    /// What is to be sent of an answer to `client` that was made without a place, being small as a rule.
    ///
    /// # Errors
    /// [`NoRoom`] when neither the disk nor the memory for answers takes it.
    pub fn body(&self, client: &str, mut answer: Vec<u8>) -> Result<Body, NoRoom> {
        if answer.len() <= body::SMALL {
            return Ok(answer.into());
        }
        answer.shrink_to_fit();
        body::of(&self.room, &client.into(), None, answer.into(), None)
    }

    /// How many requests wait for a place.
    pub fn asking(&self) -> usize {
        self.asking.load(Ordering::Relaxed)
    }

    /// Bytes in memory of answers that wait to be taken.
    pub fn in_memory(&self) -> usize {
        self.room.in_memory()
    }

    /// Bytes that the file of such answers has on the disk.
    pub fn on_disk(&self) -> usize {
        self.room.spool.size()
    }
}

impl Place {
    /// What is to be sent of an answer that was made in one piece.
    ///
    /// # Errors
    /// [`NoRoom`] when neither the disk nor the memory for answers takes it.
    pub fn body(self, answer: Bytes) -> Result<Body, NoRoom> {
        if answer.len() <= body::SMALL {
            return Ok(answer.into());
        }
        let Self { turn: _turn, client, of_client, room } = self;
        body::of(&room, &client.name, None, answer, Some(of_client))
    }

    /// Whether others go first by now.
    pub(super) fn is_over(&mut self) -> bool {
        self.turn.is_over()
    }

    /// Waits for the client's next turn.
    pub(super) async fn again(&mut self) {
        self.turn.again().await;
    }
}

/// Does `work`, which may take long, where it keeps no other request waiting.
pub async fn aside<T>(work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    // On the one thread of the other kind of runtime there is nowhere to go.
    let has_others = Handle::current().runtime_flavor() == RuntimeFlavor::MultiThread;
    poll_fn(|context| {
        if has_others { block_in_place(|| work.as_mut().poll(context)) } else { work.as_mut().poll(context) }
    })
    .await
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

#[cfg(test)]
mod tests {
    use std::ops::Deref;

    use http_body_util::BodyExt;
    use hyper::body::Body as _;
    use tokio::time::timeout;

    use super::*;
    use crate::server::{
        answers::{room::MEMORY, sheet::Sheet},
        json::Writer,
    };

    /// Answers in a folder of their own.
    struct World(Answers, PathBuf);

    impl World {
        fn new(name: &str) -> Self {
            let folder =
                std::env::temp_dir().join(format!("pilotlight-answers-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&folder).expect("a folder");
            Self(Answers::new(folder.clone()), folder)
        }

        /// Whether there is a place for `client` at once.
        async fn is_free(&self, client: &str, size: Size) -> bool {
            timeout(Duration::ZERO, self.place(client, size)).await.is_ok()
        }

        /// An answer of about so many bytes, in pieces.
        async fn answer(&self, client: &str, bytes: usize) -> Body {
            let mut sheet = Sheet::new(self.place(client, Size::Whole).await);
            let mut out = Writer::array();
            let element = format!("\"{}\"", "x".repeat(997));
            for _ in 0..bytes / 1000 {
                out.element(&element);
                sheet.take(&mut out).await.expect("there is room");
            }
            sheet.body(out).expect("there is room")
        }
    }

    impl Deref for World {
        type Target = Answers;

        fn deref(&self) -> &Answers {
            &self.0
        }
    }

    impl Drop for World {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.1).expect("can be removed");
        }
    }

    #[tokio::test]
    async fn one_client_has_a_few_places_and_leaves_some_to_others() {
        let answers = World::new("few");
        for (size, of_one) in
            [(Size::Whole, WHOLE_OF_ONE), (Size::Page, PAGES_OF_ONE), (Size::Search, SEARCHES_OF_ONE)]
        {
            let mut held = Vec::new();
            for _ in 0..of_one {
                held.push(answers.place("@a:x", size).await);
            }
            assert!(!answers.is_free("@a:x", size).await, "{size:?}");
            assert!(answers.is_free("@b:x", size).await, "{size:?}");
            drop(held.pop());
            assert!(answers.is_free("@a:x", size).await, "{size:?}");
        }
    }

    #[tokio::test]
    async fn who_looks_through_messages_keeps_no_page_waiting() {
        let answers = World::new("searches");
        let _held = [answers.place("@a:x", Size::Search).await, answers.place("@b:x", Size::Search).await];
        assert!(!answers.is_free("@c:x", Size::Search).await);
        assert!(answers.is_free("@a:x", Size::Page).await && answers.is_free("@a:x", Size::Whole).await);
    }

    #[tokio::test]
    async fn those_who_wait_beyond_their_own_places_do_not_stand_before_others() {
        let world = Arc::new(World::new("beyond"));
        let held = [world.place("@a:x", Size::Whole).await, world.place("@a:x", Size::Whole).await];
        let waiting: Vec<_> = (0..100)
            .map(|_| {
                let world = Arc::clone(&world);
                tokio::spawn(async move { drop(world.place("@a:x", Size::Whole).await) })
            })
            .collect();
        tokio::task::yield_now().await;
        assert!(world.is_free("@b:x", Size::Whole).await);
        drop(held);
        for place in waiting {
            place.await.expect("is given one");
        }
        assert_eq!(world.whole.free(), WHOLE_AT_ONCE);
    }

    #[tokio::test]
    async fn an_answer_is_whole_whatever_its_size_and_gives_back_what_it_held() {
        let answers = World::new("whole");
        for bytes in [0, 1_000, 16_000, 17_000, 65_000, 66_000, 1_000_000, 5_000_000] {
            let body = answers.answer("@a:x", bytes).await;
            let said = body.size_hint().exact().expect("is known");
            let text = body.collect().await.expect("is whole").to_bytes();
            assert_eq!(text.len() as u64, said);
            let list: Vec<String> = serde_json::from_slice(&text).expect("is JSON");
            assert!(list.len() == bytes / 1000 && list.iter().all(|text| text.len() == 997), "{bytes}");
            assert_eq!((answers.in_memory(), answers.on_disk()), (0, 0));
        }
        for bytes in [20_000, 100_000] {
            let made = vec![b'x'; bytes];
            let body =
                answers.place("@a:x", Size::Page).await.body(made.clone().into()).expect("there is room");
            assert!(body.collect().await.expect("is whole").to_bytes() == made);
            let body = answers.body("@a:x", made.clone()).expect("there is room");
            assert!(body.collect().await.expect("is whole").to_bytes() == made);
        }
    }

    #[tokio::test]
    async fn what_is_not_taken_is_on_the_disk_and_keeps_nobody_waiting() {
        let answers = World::new("untaken");
        let mut untaken = Vec::new();
        for user in 0..40 {
            for _ in 0..WHOLE_OF_ONE {
                untaken.push(answers.answer(&format!("@u{user}:x"), 2_000_000).await);
            }
        }
        assert!(answers.in_memory() < 8 << 20, "{} bytes", answers.in_memory());
        assert!(answers.on_disk() > 150_000_000);
        assert_eq!(answers.whole.free(), WHOLE_AT_ONCE, "nothing is being made");
        assert!(!answers.is_free("@u0:x", Size::Whole).await, "who takes none of theirs gets no more");
        let body = timeout(Duration::from_secs(1), answers.answer("@other:x", 2_000_000));
        assert!(body.await.expect("does not wait").collect().await.is_ok());
        drop(untaken);
        assert_eq!((answers.in_memory(), answers.on_disk()), (0, 0));
    }

    #[tokio::test]
    async fn answers_that_fill_the_memory_send_the_next_ones_to_the_disk() {
        let answers = World::new("memory");
        let untaken: Vec<_> = (0..MEMORY / (60 << 10) + 10)
            .map(|n| answers.body(&format!("@u{n}:x"), vec![b'x'; 60 << 10]).expect("there is room"))
            .collect();
        assert!(answers.in_memory() <= MEMORY && answers.on_disk() > 0);
        for body in untaken {
            assert_eq!(body.collect().await.expect("is whole").to_bytes().len(), 60 << 10);
        }
    }

    #[tokio::test]
    async fn when_the_disk_takes_nothing_small_answers_wait_in_memory_and_large_ones_are_refused() {
        let mut world = World::new("gone");
        world.0 = Answers::new(world.1.join("there is no such folder"));
        let body = world.answer("@a:x", 1_000_000).await;
        assert!(world.in_memory() >= 900_000);
        let text = body.collect().await.expect("is whole").to_bytes();
        assert_eq!(serde_json::from_slice::<Vec<String>>(&text).expect("is JSON").len(), 1_000);
        let mut sheet = Sheet::new(world.place("@a:x", Size::Whole).await);
        let mut out = Writer::array();
        let element = format!("\"{}\"", "x".repeat(100_000));
        let mut taken = Ok(());
        for _ in 0..100 {
            out.element(&element);
            taken = taken.and(sheet.take(&mut out).await);
        }
        assert!(taken.is_err(), "10 MB");
        drop(sheet);
        assert_eq!(world.in_memory(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_taken_too_slowly_ends() {
        let answers = World::new("slow");
        let mut body = answers.answer("@a:x", 4_000_000).await;
        let len = body.size_hint().exact().expect("is known");
        let allowed = Duration::from_secs(60 + len / (32 << 10));
        tokio::time::advance(allowed).await;
        assert!(body.frame().await.expect("there is more").is_ok());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(body.frame().await.expect("says so").is_err());
        assert!(body.frame().await.is_none());
        assert_eq!((answers.in_memory(), answers.on_disk()), (0, 0));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn the_only_worker_does_other_things_while_an_answer_is_made() {
        let (ask, answer) = std::sync::mpsc::channel();
        let maker = tokio::spawn(aside(async move { answer.recv_timeout(Duration::from_secs(10)) }));
        let other = tokio::spawn(async move { ask.send(()) });
        other.await.expect("runs").expect("is waited for");
        maker.await.expect("runs").expect("was told by the other task");
    }
}
