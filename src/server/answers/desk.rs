//! The places at which answers of one kind are made, and whose turn it is.
//!
//! Who asks while all are taken waits, and whoever has used the places least lately goes first; of those who have not yet,
//! whose answer is expected to take least. An answer that takes long is interrupted now and then to let such a one go
//! before it: so who asks for little does not wait for what others have in work, but for the turns that go on.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::Instant,
};

/// How long a turn lasts while somebody waits who goes first.
const TURN: Duration = Duration::from_millis(50);

/// Who comes after a while goes before others until they have used the places for so long, too.
const CREDIT: Duration = Duration::from_secs(1);

/// While nobody waits, what was used is forgotten at this fraction of the time that passes.
const FORGOTTEN: u32 = 8;

#[derive(Debug)]
pub(super) struct Desk {
    of_one: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    free: usize,
    /// Who waits for a place, by when they asked; as many as there are requests.
    waiting: HashMap<u64, Asker>,
    /// The same in their order. Who uses a place while another request of theirs waits moves back when it is their turn.
    order: BTreeSet<Rank>,
    asked: u64,
    /// What everybody counts as having used, at least. It grows with what is used by those who wait for places: so who
    /// was away, or comes for the first time, gains no more by that than [`CREDIT`], and keeps nobody waiting for ever.
    floor: Duration,
    /// When that was looked at.
    at: Instant,
    /// Bounded by the number of clients who used a place lately, or have a request that waits, is made or is taken.
    clients: HashMap<Arc<str>, Arc<Client>>,
}

/// Who goes first: whoever has used less, with what their answer is expected to take; of two, who asked first.
type Rank = (Duration, u64);

/// Somebody in the order.
#[derive(Debug)]
struct Asker {
    client: Arc<Client>,
    expected: Duration,
    due: Duration,
    give: oneshot::Sender<()>,
}

/// One client at one desk.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) name: Arc<str>,
    answers: Arc<Semaphore>,
    used: Mutex<Used>,
}

#[derive(Debug)]
struct Used {
    /// How long the client had places lately.
    time: Duration,
    /// Places that they have.
    places: u32,
}

/// A place, for a while.
#[derive(Debug)]
pub(super) struct Turn {
    desk: Arc<Desk>,
    client: Arc<Client>,
    /// `None`: it is somebody else's turn.
    begun: Option<Instant>,
}

/// Somebody who waits for a place.
struct Waiting<'a> {
    desk: &'a Desk,
    client: &'a Client,
    asked: u64,
    is_given: bool,
}

impl Desk {
    pub(super) fn new(places: usize, of_one: usize) -> Self {
        let state = State {
            free: places,
            waiting: HashMap::new(),
            order: BTreeSet::new(),
            asked: 0,
            floor: Duration::ZERO,
            at: Instant::now(),
            clients: HashMap::new(),
        };
        Self { of_one, state: Mutex::new(state) }
    }

    /// The client's right to one more answer, as soon as they have one, and who they are.
    pub(super) async fn admit(&self, client: &str) -> (Arc<Client>, OwnedSemaphorePermit) {
        let client = self.client(client);
        let answers = Arc::clone(&client.answers).acquire_owned().await;
        (client, answers.expect("these semaphores are never closed"))
    }

    /// A place, as soon as it is the client's turn, for an answer that is expected to take so long.
    pub(super) async fn turn(self: &Arc<Self>, client: &Arc<Client>, expected: Duration) -> Turn {
        let mut turn = Turn { desk: Arc::clone(self), client: Arc::clone(client), begun: None };
        turn.wait(expected).await;
        turn
    }

    /// `None`: there is a place.
    fn wait<'a>(
        &'a self,
        client: &'a Arc<Client>,
        expected: Duration,
    ) -> Option<(Waiting<'a>, oneshot::Receiver<()>)> {
        let mut state = self.state.lock();
        state.forget();
        client.used.lock().at_least(state.floor);
        if state.free > 0 {
            state.free -= 1;
            client.used.lock().places += 1;
            return None;
        }
        let (asked, (give, given)) = (state.asked, oneshot::channel());
        state.asked += 1;
        let due = client.used.lock().due() + expected;
        state.order.insert((due, asked));
        state.waiting.insert(asked, Asker { client: Arc::clone(client), expected, due, give });
        Some((Waiting { desk: self, client, asked, is_given: false }, given))
    }

    /// Gives a place to whoever goes first.
    fn pass_on(&self) {
        let mut state = self.state.lock();
        state.forget();
        match state.next() {
            Some(next) => {
                let used = {
                    let mut used = next.client.used.lock();
                    used.places += 1;
                    used.time
                };
                state.floor = state.floor.max(used.saturating_sub(CREDIT));
                if next.give.send(()).is_err() {
                    tracing::trace!("who is gone before they took their turn passes it on");
                }
            }
            None => state.free += 1,
        }
    }

    /// Whether somebody waits who goes before `client`.
    fn has_before(&self, client: &Client) -> bool {
        let first = self.state.lock().order.first().map(|(due, _)| *due);
        first.is_some_and(|due| due < client.used.lock().time)
    }

    fn client(&self, name: &str) -> Arc<Client> {
        let mut state = self.state.lock();
        state.forget();
        let State { clients, floor, .. } = &mut *state;
        if let Some(client) = clients.get(name) {
            return Arc::clone(client);
        }
        // Those who have nothing here and used nothing lately are dropped when the map is about to grow.
        if clients.len() == clients.capacity() {
            clients.retain(|_, client| client.is_known(*floor));
        }
        let name: Arc<str> = name.into();
        let used = Mutex::new(Used { time: *floor, places: 0 });
        let answers = Arc::new(Semaphore::new(self.of_one));
        let client = Arc::new(Client { name: Arc::clone(&name), answers, used });
        clients.insert(name, Arc::clone(&client));
        client
    }

    /// Places that nobody has.
    #[cfg(test)]
    pub(super) fn free(&self) -> usize {
        self.state.lock().free
    }
}

impl State {
    /// Lets what was used be forgotten, while nobody waits: who has used less goes before others as long as they do.
    fn forget(&mut self) {
        let now = Instant::now();
        if self.order.is_empty() {
            self.floor += now.saturating_duration_since(self.at) / FORGOTTEN;
        }
        self.at = now;
    }

    /// Whoever goes first, by what they have used up to now.
    fn next(&mut self) -> Option<Asker> {
        while let Some((_, asked)) = self.order.pop_first() {
            let Some(asker) = self.waiting.get_mut(&asked) else { continue };
            let due = asker.client.used.lock().due() + asker.expected;
            if due <= asker.due {
                return self.waiting.remove(&asked);
            }
            asker.due = due;
            self.order.insert((due, asked));
        }
        None
    }
}

impl Client {
    /// Whether the client has something here, or used something lately.
    fn is_known(self: &Arc<Self>, floor: Duration) -> bool {
        let has_answers = Arc::strong_count(&self.answers) > 1;
        has_answers || Arc::strong_count(self) > 1 || self.used.lock().time > floor
    }
}

impl Used {
    fn at_least(&mut self, floor: Duration) {
        self.time = self.time.max(floor);
    }

    /// What is used when the turns that go on are over.
    fn due(&self) -> Duration {
        self.time + TURN * self.places
    }
}

impl Turn {
    /// Whether the turn is over: it lasted long enough, and somebody waits who goes first.
    pub(super) fn is_over(&mut self) -> bool {
        if self.begun.is_none_or(|begun| begun.elapsed() < TURN) {
            return false;
        }
        self.count();
        self.begun = Some(Instant::now());
        self.desk.has_before(&self.client)
    }

    /// Lets others go first. Of an answer that is begun nothing more is expected than of those who have used as much.
    pub(super) async fn again(&mut self) {
        self.end();
        self.wait(Duration::ZERO).await;
    }

    /// Waits for a place.
    async fn wait(&mut self, expected: Duration) {
        if let Some((mut waiting, given)) = self.desk.wait(&self.client, expected) {
            // The sender is dropped by nobody but who removes the entry, which is the one that waits.
            waiting.is_given = given.await.is_ok();
        }
        self.begun = Some(Instant::now());
    }

    fn end(&mut self) {
        self.count();
        if self.begun.take().is_some() {
            self.client.used.lock().places -= 1;
            self.desk.pass_on();
        }
    }

    /// Counts the time up to now for the client.
    fn count(&self) {
        let Some(begun) = self.begun else { return };
        self.client.used.lock().time += begun.elapsed();
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.end();
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.is_given {
            return;
        }
        let asker = {
            let mut state = self.desk.state.lock();
            let asker = state.waiting.remove(&self.asked);
            if let Some(asker) = &asker {
                state.order.remove(&(asker.due, self.asked));
            }
            asker
        };
        // Given a place and gone before taking it: it is the next one's.
        if asker.is_none() {
            self.client.used.lock().places -= 1;
            self.desk.pass_on();
        }
    }
}

#[cfg(test)]
mod tests;
