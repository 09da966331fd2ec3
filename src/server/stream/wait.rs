//! Waiting: a reader is answered at once when there is news, else when there is some.

use std::{pin::pin, sync::Arc, time::Duration};

use tokio::sync::Notify;

use super::{
    behind::PresenceLook,
    entered::Entered,
    filter::Filter,
    listener::{Listener, Looked, Told},
    look::{Look, Stretch},
    news::DeviceLists,
    reader::Reader,
    refusal::Refusal,
    sources::Sources,
    sync::StateTold,
    token::Token,
};
use crate::{
    core::{
        presence::{DeviceType, SetPresence},
        time::Instant,
    },
    server::{
        change::position::{LivePosition, LogPosition},
        session::Session,
    },
};

/// The longest that a reader waits, whatever the client asks for.
pub(super) const MAX_WAIT: Duration = Duration::from_secs(120);

/// A request to be told what is new, once.
#[derive(Debug)]
pub struct Poll {
    /// Where the client is; `None`: at the very beginning. Moves on while there is nothing.
    pub since: Option<Token>,
    /// What it wants to know of.
    pub filter: Arc<Filter>,
    /// All state of all rooms, though it has it.
    pub full_state: bool,
    /// How long to wait for news at most.
    pub timeout: Duration,
    /// What the device says of itself; `None`: it does not count as connected.
    pub set_presence: Option<SetPresence>,
    /// What kind of device it is, if it says so.
    pub device_type: Option<DeviceType>,
    /// Of which rooms it has the answer to its join, and is not told again what that told.
    pub entered: Vec<Entered>,
    /// Which state of rooms it wants beside their timelines.
    pub state: StateTold,
}

impl Poll {
    /// Answers with what is new as soon as there is something; when there is nothing in time, with
    /// where to go on.
    ///
    /// # Errors
    /// [`Refusal::Store`]; [`Refusal::LoggedOut`] when the device is logged out while it waits.
    pub async fn answer(&mut self, sources: &Sources, session: &Session) -> Result<Told, Refusal> {
        let deadline = sources.parts().clock.now() + self.timeout.min(MAX_WAIT);
        let says = self.set_presence.map(|says| (says, self.device_type));
        let listener = Listener::begin(sources, session, (&self.filter, &self.entered), says).await?;
        let mut waiting = Waiting { listener, wakes: sources.parts().wakers.listen(&session.user) };
        waiting.listener.tell_state(self.state);
        let told = waiting.news(&mut self.since, self.full_state, deadline).await?;
        let Some(answered) = sources.parts().in_flight.answered(session) else { return Ok(told) };
        // What is told is not kept in here, or all who wait would be larger.
        let told = Box::new(told);
        answered.await;
        Ok(*told)
    }
}

/// A reader who waits.
#[derive(Debug)]
struct Waiting<'a> {
    listener: Listener<'a>,
    wakes: Arc<Notify>,
}

impl Waiting<'_> {
    /// What is new after `since`: as soon as there is something, and at the `deadline` whatever there is. Who is at
    /// the very beginning, or asks for all state, is answered at once.
    async fn news(
        &mut self,
        since: &mut Option<Token>,
        full_state: bool,
        deadline: Instant,
    ) -> Result<Told, Refusal> {
        if let Some(since) = since {
            self.listener.acknowledge(since).await?;
        }
        loop {
            if let Some(told) = self.look_or_wait(since, full_state, deadline).await? {
                return Ok(told);
            }
            self.listener.check_logged_in().await?;
        }
    }

    /// One look; when there is nothing new, waits until there may be. `None`: look again, from where this look ended.
    async fn look_or_wait(
        &self,
        since: &mut Option<Token>,
        full_state: bool,
        deadline: Instant,
    ) -> Result<Option<Told>, Refusal> {
        let parts = self.listener.parts();
        // Registered before the look: what happens in between still wakes.
        let mut woken = pin!(self.wakes.notified());
        woken.as_mut().enable();
        // Boxed, and gone before the waiting begins: what it takes to look is not kept meanwhile.
        let looked = Box::pin(self.listener.look(since.as_ref(), full_state));
        if let Some(told) = self.tell(since, full_state, deadline, looked.await?) {
            return Ok(Some(told));
        }
        let _waiting = parts.metrics.open_polls.enter();
        tokio::select! {
            () = woken => {}
            () = parts.clock.sleep_until(deadline) => {}
        }
        Ok(None)
    }

    /// What was found, if it cannot wait; else the next look, which may be much less to look through, begins there.
    fn tell(
        &self,
        since: &mut Option<Token>,
        full_state: bool,
        deadline: Instant,
        looked: Looked,
    ) -> Option<Told> {
        let parts = self.listener.parts();
        let is_last = parts.clock.now() >= deadline || parts.wakers.is_closed();
        if looked.has_news || since.is_none() || full_state || is_last {
            return Some(looked.told);
        }
        *since = Some(looked.upto);
        None
    }
}

/// Whose devices changed after the position `since`, up to `upto`, and who came to share a room with the user or ceased
/// to, as `/sync` would have told it.
///
/// # Errors
/// [`Refusal::Store`].
pub async fn device_lists_between(
    sources: &Sources,
    session: &Session,
    since: LogPosition,
    upto: LogPosition,
) -> Result<DeviceLists, Refusal> {
    let parts = sources.parts();
    let filter = Filter::default();
    let look = Look {
        session,
        filter: &filter,
        ignored: Arc::default(),
        is_first: false,
        goes_on: true,
        full_state: false,
        state_at_end: false,
        log: Stretch { since, upto: upto.min(parts.store.log_position()) },
        live: Stretch { since: LivePosition::START, upto: LivePosition::START },
        to_device: since,
        presence: PresenceLook::NONE,
        entered: &[],
        uncounted: &[],
        now: parts.clock.now(),
    };
    Reader { sources, parts, look }.device_lists().await
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use ruma::user_id;
    use tokio::task::{JoinHandle, yield_now};

    use super::*;
    use crate::{
        core::time::UnixMillis,
        server::{
            answers::Size, app::App, change::feed::Change, clock::Clock, config::Config,
            store::AccountDataKey,
        },
    };

    /// A server on a clock that stands still, and one reader of it.
    struct World {
        app: Arc<App>,
        session: Session,
        data_dir: PathBuf,
    }

    impl World {
        async fn new(name: &str) -> Self {
            let data_dir =
                std::env::temp_dir().join(format!("pilotlight-wait-{name}-{}", std::process::id()));
            let config = Config { data_dir: data_dir.clone(), ..Config::default() };
            let app = App::open(config, Clock::driven(UnixMillis(1_000_000))).await.expect("opens");
            let session = Session { user: user_id!("@a:localhost").to_owned(), device: "A".into() };
            Self { app, session, data_dir }
        }

        /// A poll from here on, which waits for news when this returns.
        async fn poll(&self, timeout: Duration) -> JoinHandle<Result<Told, Refusal>> {
            let (sources, session) = (Sources::new(Arc::clone(&self.app.stream)), self.session.clone());
            let mut poll = Poll {
                since: Some(Token::new(self.app.store.log_position(), self.app.live.position())),
                filter: Arc::default(),
                full_state: false,
                timeout,
                set_presence: None,
                device_type: None,
                entered: Vec::new(),
                state: StateTold::Before,
            };
            let answer = tokio::spawn(async move { poll.answer(&sources, &session).await });
            while self.app.metrics.open_polls.value() == 0 {
                yield_now().await;
            }
            answer
        }

        async fn pass(&self, milliseconds: u64) {
            self.app.clock.advance(Duration::from_millis(milliseconds));
            for _ in 0..10 {
                yield_now().await;
            }
        }

        async fn end(self) {
            self.app.close().await;
            std::fs::remove_dir_all(&self.data_dir).expect("is there");
        }
    }

    #[tokio::test]
    async fn a_poll_without_news_ends_when_its_time_has_come_and_no_later_than_it_may() {
        let world = World::new("time").await;
        for (timeout, waits_ms) in [(30, 30_000), (1_000_000, 120_000)] {
            let answer = world.poll(Duration::from_secs(timeout)).await;
            world.pass(waits_ms - 1).await;
            assert!(!answer.is_finished());
            world.pass(1).await;
            let Told::News(news) = answer.await.expect("no panic").expect("is answered") else {
                panic!("a small answer needs no place")
            };
            assert!(!news.has_news());
            assert_eq!(news.upto, Token::new(world.app.store.log_position(), world.app.live.position()));
        }
        world.end().await;
    }

    #[tokio::test]
    async fn news_end_a_poll_at_once_and_it_goes_up_to_them() {
        let world = World::new("news").await;
        let answer = world.poll(Duration::from_secs(30)).await;
        let key = AccountDataKey { user: world.session.user.clone(), room: None, kind: "x".to_owned() };
        world.app.own_data.set(key, "{}".to_owned()).await.expect("is written");
        let Told::News(news) = answer.await.expect("no panic").expect("is answered") else {
            panic!("a small answer needs no place")
        };
        assert_eq!(news.own_data.changed.len(), 1);
        assert_eq!(news.upto.log(), world.app.store.log_position());
        world.end().await;
    }

    #[tokio::test]
    async fn a_poll_that_found_nothing_looks_on_from_where_it_looked() {
        let world = World::new("onwards").await;
        let (sources, session) = (Sources::new(Arc::clone(&world.app.stream)), world.session.clone());
        let mut poll = Poll {
            // What lives is of another run: everything is looked through, in a place for large answers.
            since: Some(Token::at(world.app.store.log_position())),
            filter: Arc::new(Filter::parse(r#"{"presence":{"types":[]}}"#).expect("is a filter")),
            full_state: false,
            timeout: Duration::from_secs(30),
            set_presence: None,
            device_type: None,
            entered: Vec::new(),
            state: StateTold::Before,
        };
        let answer = tokio::spawn(async move { poll.answer(&sources, &session).await });
        while world.app.metrics.open_polls.value() == 0 {
            yield_now().await;
        }
        let place = || world.app.answers.place(world.session.user.as_str(), Size::Whole);
        let _held = [place().await, place().await];
        let key = AccountDataKey { user: world.session.user.clone(), room: None, kind: "x".to_owned() };
        world.app.own_data.set(key, "{}".to_owned()).await.expect("is written");
        let told = tokio::time::timeout(Duration::from_secs(10), answer).await.expect("needs no place");
        let told = told.expect("no panic").expect("is answered");
        let Told::News(news) = told else { panic!("a small answer needs no place") };
        assert_eq!(news.own_data.changed.len(), 1);
        world.end().await;
    }

    #[tokio::test]
    async fn who_is_logged_out_while_waiting_is_told_so() {
        let world = World::new("logout").await;
        let answer = world.poll(Duration::from_secs(30)).await;
        let ended = Change::SessionsEnded {
            user: world.session.user.clone(),
            tokens: Vec::new(),
            devices: vec![world.session.device.clone()],
            none_left: true,
        };
        world.app.feed.follow(&ended);
        world.app.feed.tell(&[ended]);
        let answer = answer.await.expect("no panic");
        assert!(matches!(answer, Err(Refusal::LoggedOut)), "{answer:?}");
        world.end().await;
    }

    /// Tens of thousands wait at once. What it takes to look has a box of its own while it looks.
    #[test]
    fn what_waits_is_small() {
        fn size<'a, F: Future>(_: impl FnOnce(&'a mut Poll, &'a Sources, &'a Session) -> F) -> usize {
            size_of::<F>()
        }
        let size = size(Poll::answer);
        assert!(size <= 592, "{size} bytes");
    }
}
