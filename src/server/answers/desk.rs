//! The places at which answers of one kind are made, and whose turn it is.
//!
//! Who asks while all are taken waits, and whoever has used the places least lately goes first. An answer that takes
//! long is interrupted now and then to let such a one go before it: so nobody waits for what others have in work,
//! but for one turn of each who asked for little until then.

use std::{
    collections::{BTreeMap, HashMap},
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

/// What was used is forgotten at this fraction of the time that passes.
const FORGOTTEN: u32 = 8;

#[derive(Debug)]
pub(super) struct Desk {
    of_one: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    free: usize,
    /// Who waits for a place; as many as there are requests.
    waiting: BTreeMap<Rank, oneshot::Sender<()>>,
    asked: u64,
    /// Bounded by the number of clients who used a place lately, or have a request that waits, is made or is taken.
    clients: HashMap<Arc<str>, Arc<Client>>,
}

/// Who goes first: whoever has used less; of two, who asked first.
type Rank = (Duration, u64);

/// One client at one desk.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) name: Arc<str>,
    answers: Arc<Semaphore>,
    used: Mutex<Used>,
}

#[derive(Debug)]
struct Used {
    time: Duration,
    at: Instant,
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
    rank: Rank,
    is_given: bool,
}

impl Desk {
    pub(super) fn new(places: usize, of_one: usize) -> Self {
        let state = State { free: places, waiting: BTreeMap::new(), asked: 0, clients: HashMap::new() };
        Self { of_one, state: Mutex::new(state) }
    }

    /// The client's right to one more answer, as soon as they have one, and who they are.
    pub(super) async fn admit(&self, client: &str) -> (Arc<Client>, OwnedSemaphorePermit) {
        let client = self.client(client);
        let answers = Arc::clone(&client.answers).acquire_owned().await;
        (client, answers.expect("these semaphores are never closed"))
    }

    /// A place, as soon as it is the client's turn.
    pub(super) async fn turn(self: &Arc<Self>, client: &Arc<Client>) -> Turn {
        let mut turn = Turn { desk: Arc::clone(self), client: Arc::clone(client), begun: None };
        turn.wait().await;
        turn
    }

    /// `None`: there is a place.
    fn wait(&self, client: &Client) -> Option<(Waiting<'_>, oneshot::Receiver<()>)> {
        let mut state = self.state.lock();
        if state.free > 0 {
            state.free -= 1;
            return None;
        }
        let rank = (client.used(), state.asked);
        state.asked += 1;
        let (give, given) = oneshot::channel();
        state.waiting.insert(rank, give);
        Some((Waiting { desk: self, rank, is_given: false }, given))
    }

    /// Gives a place to whoever goes first.
    fn pass_on(&self) {
        let mut state = self.state.lock();
        while let Some((_, next)) = state.waiting.pop_first() {
            if next.send(()).is_ok() {
                return;
            }
        }
        state.free += 1;
    }

    /// Whether somebody waits who goes before `client`.
    fn has_before(&self, client: &Client) -> bool {
        let first = self.state.lock().waiting.first_key_value().map(|((used, _), _)| *used);
        first.is_some_and(|used| used < client.used())
    }

    fn client(&self, name: &str) -> Arc<Client> {
        let clients = &mut self.state.lock().clients;
        if let Some(client) = clients.get(name) {
            return Arc::clone(client);
        }
        // Those who have nothing here and used nothing lately are dropped when the map is about to grow.
        if clients.len() == clients.capacity() {
            clients.retain(|_, client| client.is_known());
        }
        let name: Arc<str> = name.into();
        let used = Mutex::new(Used { time: Duration::ZERO, at: Instant::now() });
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

impl Client {
    /// Whether the client has something here, or used something lately.
    fn is_known(self: &Arc<Self>) -> bool {
        let has_answers = Arc::strong_count(&self.answers) > 1;
        has_answers || Arc::strong_count(self) > 1 || self.used() > Duration::ZERO
    }

    /// How long the client had places lately.
    fn used(&self) -> Duration {
        self.used.lock().by_now()
    }
}

impl Used {
    fn by_now(&mut self) -> Duration {
        let now = Instant::now();
        self.time = self.time.saturating_sub(now.saturating_duration_since(self.at) / FORGOTTEN);
        self.at = now;
        self.time
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

    /// Lets others go first.
    pub(super) async fn again(&mut self) {
        self.end();
        self.wait().await;
    }

    /// Waits for a place.
    async fn wait(&mut self) {
        if let Some((mut waiting, given)) = self.desk.wait(&self.client) {
            // The sender is dropped by nobody but who removes the entry, which is the one that waits.
            waiting.is_given = given.await.is_ok();
        }
        self.begun = Some(Instant::now());
    }

    fn end(&mut self) {
        self.count();
        if self.begun.take().is_some() {
            self.desk.pass_on();
        }
    }

    /// Counts the time up to now for the client.
    fn count(&self) {
        let Some(begun) = self.begun else { return };
        let mut used = self.client.used.lock();
        used.by_now();
        used.time += begun.elapsed();
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.end();
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let gone = self.desk.state.lock().waiting.remove(&self.rank).is_none();
        // Given a place and gone before taking it: it is the next one's.
        if gone && !self.is_given {
            self.desk.pass_on();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lets the client have used a place for so long.
    fn use_up(desk: &Desk, client: &str, time: Duration) -> Arc<Client> {
        let client = desk.client(client);
        client.used.lock().time = time;
        client
    }

    #[tokio::test(start_paused = true)]
    async fn who_used_the_places_least_lately_goes_first_whoever_asked_first() {
        let desk = Arc::new(Desk::new(1, 9));
        let turn = desk.turn(&desk.client("@x:x")).await;
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        for (name, used) in
            [("@much:x", 30), ("@some:x", 20), ("@none:x", 0), ("@none:x", 0), ("@less:x", 10)]
        {
            let (desk, tell) = (Arc::clone(&desk), tell.clone());
            let client = use_up(&desk, name, Duration::from_secs(used));
            tokio::spawn(async move {
                let turn = desk.turn(&client).await;
                tell.send(name).expect("is waited for");
                drop(turn);
            });
            tokio::task::yield_now().await;
        }
        drop((turn, tell));
        let mut order = Vec::new();
        while let Some(name) = told.recv().await {
            order.push(name);
        }
        assert_eq!(order, ["@none:x", "@none:x", "@less:x", "@some:x", "@much:x"]);
        assert_eq!(desk.free(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_turn_is_over_when_somebody_waits_who_goes_first() {
        let desk = Arc::new(Desk::new(1, 9));
        let mut long = desk.turn(&desk.client("@a:x")).await;
        tokio::time::advance(TURN).await;
        assert!(!long.is_over(), "nobody waits");
        let waits = |name: &'static str, used| {
            let client = use_up(&desk, name, Duration::from_secs(used));
            let desk = Arc::clone(&desk);
            tokio::spawn(async move { desk.turn(&client).await })
        };
        let later = waits("@b:x", 10);
        tokio::task::yield_now().await;
        tokio::time::advance(TURN).await;
        assert!(!long.is_over(), "who waits has used more");
        let first = waits("@c:x", 0);
        tokio::task::yield_now().await;
        assert!(!long.is_over(), "it has hardly begun");
        tokio::time::advance(TURN).await;
        assert!(long.is_over());
        let mut again = Box::pin(long.again());
        tokio::select! {
            biased;
            () = &mut again => panic!("it is the other's turn"),
            turn = first => drop(turn.expect("no panic")),
        }
        again.await;
        drop(long);
        drop(later.await.expect("no panic"));
        assert_eq!(desk.free(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_used_is_forgotten() {
        let desk = Desk::new(1, 1);
        let client = use_up(&desk, "@a:x", Duration::from_secs(2));
        tokio::time::advance(Duration::from_secs(8)).await;
        assert_eq!(client.used(), Duration::from_secs(1));
        tokio::time::advance(Duration::from_secs(9)).await;
        assert_eq!(client.used(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_that_is_given_to_who_has_gone_is_the_next_ones() {
        let desk = Arc::new(Desk::new(1, 9));
        let client = desk.client("@a:x");
        let turn = desk.turn(&client).await;
        let mut gone = Box::pin(desk.turn(&client));
        let mut next = Box::pin(desk.turn(&client));
        for waiting in [&mut gone, &mut next] {
            assert!(tokio::time::timeout(Duration::ZERO, waiting).await.is_err());
        }
        drop(turn);
        drop(gone);
        drop(tokio::time::timeout(Duration::from_secs(1), next).await.expect("is given one"));
        assert_eq!(desk.free(), 1);
    }

    #[test]
    fn clients_without_requests_are_forgotten() {
        let desk = Desk::new(1, 1);
        for n in 0..10_000 {
            drop(desk.client(&format!("@u{n}:x")));
        }
        assert!(desk.state.lock().clients.len() < 100);
    }
}
