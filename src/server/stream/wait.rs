//! Waiting: a reader is answered at once when there is news, else when there is some.

use std::{pin::pin, sync::Arc, time::Duration};

use axum::body::Body;
use tokio::sync::Notify;

use super::{
    behind::PresenceLook,
    entered::Entered,
    filter::{Filter, Whose},
    look::{Look, Stretch},
    news::{DeviceLists, News},
    reader::Reader,
    reading::Reading,
    refusal::Refusal,
    sources::Sources,
    sync::{self, Form, Written},
    telling,
    token::Token,
};
use crate::{
    core::{
        presence::{DeviceType, SetPresence},
        time::Instant,
    },
    server::{
        answers::{Sheet, Size, aside},
        change::position::{LivePosition, LogPosition},
        presence::Connected,
        session::Session,
    },
};

/// The longest that a reader waits, whatever the client asks for.
pub(super) const MAX_WAIT: Duration = Duration::from_secs(120);

/// How long it takes to write a state event, about.
const PER_STATE_EVENT: Duration = Duration::from_micros(250);

/// State events of a reader's rooms from which on it does not matter how many they are.
const MANY_STATE_EVENTS: u32 = 4_000;

/// What a reader is told.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "lives for a moment, in the box of the look")]
pub enum Told {
    /// It is little: not written yet.
    News(News),
    /// It may be much: what is to be sent.
    Answer(Body),
}

/// What came of a look.
#[expect(clippy::large_enum_variant, reason = "lives for a moment, in the box of the look")]
enum Looked {
    /// There is something, or it is time.
    Told(Told),
    /// There is nothing up to here: the next look, which may be much less to look through, begins here.
    NothingUpTo(Token),
}

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
        let mut listener = Listener::begin(sources, session, (&self.filter, &self.entered), says).await?;
        listener.news(&mut self.since, self.full_state, deadline).await
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
        now: parts.clock.now(),
    };
    Reader { sources, parts, look }.device_lists().await
}

/// A reader who is there: as long as this is held, the device counts as connected, if it says so, and the servers
/// of others are asked for their presence (L8).
#[derive(Debug)]
pub(super) struct Listener<'a> {
    sources: &'a Sources,
    session: &'a Session,
    filter: &'a Filter,
    entered: &'a Vec<Entered>,
    wakes: Arc<Notify>,
    sessions_ended: u64,
    _connected: Option<Connected>,
    _reading: Option<Reading>,
}

impl<'a> Listener<'a> {
    pub(super) async fn begin(
        sources: &'a Sources,
        session: &'a Session,
        (filter, entered): (&'a Filter, &'a Vec<Entered>),
        says: Option<(SetPresence, Option<DeviceType>)>,
    ) -> Result<Self, Refusal> {
        let reading = match sources.whose_presence(session, filter) {
            Whose::Nobodys => None,
            Whose::Somebodys(_) | Whose::Everybodys => Some(sources.read_presence(session)),
        };
        let connected = match says {
            Some((says, device_type)) => Some(sources.connect(session, says, device_type).await?),
            None => None,
        };
        let parts = sources.parts();
        Ok(Self {
            sources,
            session,
            filter,
            entered,
            wakes: parts.wakers.listen(&session.user),
            sessions_ended: parts.accounts.sessions_ended(),
            _connected: connected,
            _reading: reading,
        })
    }

    /// What wakes the user's readers.
    pub(super) fn wakes(&self) -> &Notify {
        &self.wakes
    }

    /// What is new after `since`: as soon as there is something, and at the `deadline` whatever there is. Who is at
    /// the very beginning, or asks for all state, is answered at once.
    async fn news(
        &mut self,
        since: &mut Option<Token>,
        full_state: bool,
        deadline: Instant,
    ) -> Result<Told, Refusal> {
        if let Some(since) = since {
            self.acknowledge(since).await?;
        }
        loop {
            if let Some(told) = self.look_or_wait(since, full_state, deadline).await? {
                return Ok(told);
            }
            self.check_logged_in().await?;
        }
    }

    /// What the device was told up to its token it has: its messages need not be kept any longer. A token that
    /// this server's log has not reached says nothing of what was told: it is of another database.
    async fn acknowledge(&self, since: &Token) -> Result<(), Refusal> {
        let (parts, Session { user, device }) = (self.sources.parts(), self.session);
        let inboxes = &parts.inboxes;
        if !since.is_reached(parts.store.log_position()) {
            return Ok(());
        }
        if inboxes.has_news(self.session, LogPosition::START) {
            // Boxed, as all that is seldom needed: else every waiting poll has room for it.
            Box::pin(inboxes.acknowledge(user, device, since.to_device())).await?;
        }
        Ok(())
    }

    /// One look; when there is nothing new, waits until there may be. `None`: look again, from where this look ended.
    async fn look_or_wait(
        &self,
        since: &mut Option<Token>,
        full_state: bool,
        deadline: Instant,
    ) -> Result<Option<Told>, Refusal> {
        let parts = self.sources.parts();
        // Registered before the look: what happens in between still wakes.
        let mut woken = pin!(self.wakes.notified());
        woken.as_mut().enable();
        // Boxed, and gone before the waiting begins: what it takes to look is not kept meanwhile.
        match Box::pin(self.look(since.as_ref(), full_state, deadline)).await? {
            Looked::Told(told) => return Ok(Some(told)),
            Looked::NothingUpTo(token) => *since = Some(token),
        }
        let _waiting = parts.metrics.open_polls.enter();
        tokio::select! {
            () = woken => {}
            () = parts.clock.sleep_until(deadline) => {}
        }
        Ok(None)
    }

    /// What is new after `since`, if it cannot wait. What may be much is written where it keeps nobody else waiting.
    async fn look(
        &self,
        since: Option<&Token>,
        full_state: bool,
        deadline: Instant,
    ) -> Result<Looked, Refusal> {
        let parts = self.sources.parts();
        let reader = self.reader(since, full_state);
        let (has_news, upto, told) = match reader.quick_outline().await? {
            Some(outline) => {
                let news = telling::news(reader, outline).await?;
                (news.has_news(), news.upto.clone(), Told::News(news))
            }
            None => {
                let (user, expected) = (&self.session.user, self.expected().await?);
                let place = parts.answers.place_for(user.as_str(), Size::Whole, expected).await;
                self.check_still_logged_in().await?;
                let (filter, now) = (self.filter, parts.clock.now());
                let form =
                    Form { viewer: self.session, events: filter.format(), fields: filter.fields(), now };
                // A reader who had to wait for a place is told what came meanwhile.
                let written = sync::written(self.reader(since, full_state), form, Sheet::new(place));
                let Written { has_news, upto, body } = aside(written).await?;
                (has_news, upto, Told::Answer(body))
            }
        };
        let is_last = parts.clock.now() >= deadline || parts.wakers.is_closed();
        let is_told = has_news || since.is_none() || full_state || is_last;
        Ok(if is_told { Looked::Told(told) } else { Looked::NothingUpTo(upto) })
    }

    /// How long it takes to write all that there is for the reader, about: little goes before much.
    async fn expected(&self) -> Result<Duration, Refusal> {
        let store = &self.sources.parts().store;
        Ok(PER_STATE_EVENT * store.state_events_of(&self.session.user, MANY_STATE_EVENTS).await?)
    }

    /// A reader who was told everything up to `since`, and is told everything that there is.
    fn reader(&self, since: Option<&Token>, full_state: bool) -> Reader<'_> {
        let parts = self.sources.parts();
        // Where the reader will be is read before what they are told: later things come with the next.
        let (log, live) = (parts.store.log_position(), parts.live.position());
        let goes_on = since.is_some();
        // A position that the log has not reached is from another database: everything is new.
        let since = since.filter(|since| since.is_reached(log));
        let log_since = since.map_or(LogPosition::START, Token::log);
        let live_since = since.map(Token::live).filter(|live| parts.live.knows(*live));
        let whose = self.sources.whose_presence(self.session, self.filter);
        let look = Look {
            session: self.session,
            filter: self.filter,
            ignored: parts.contacts.ignored_by(&self.session.user),
            is_first: since.is_none(),
            goes_on,
            full_state,
            state_at_end: false,
            log: Stretch { since: log_since, upto: log },
            live: Stretch { since: live_since.unwrap_or(LivePosition::START), upto: live },
            to_device: since.map_or(LogPosition::START, Token::to_device),
            presence: PresenceLook::new(whose, since, goes_on, &parts.live),
            entered: self.entered,
            now: parts.clock.now(),
        };
        Reader { sources: self.sources, parts, look }
    }

    /// Whether the device was logged out since this was asked last.
    pub(super) async fn check_logged_in(&mut self) -> Result<(), Refusal> {
        let ended = self.sources.parts().accounts.sessions_ended();
        self.check_still_logged_in().await?;
        self.sessions_ended = ended;
        Ok(())
    }

    /// Asks the store only after somebody was logged out.
    async fn check_still_logged_in(&self) -> Result<(), Refusal> {
        let parts = self.sources.parts();
        if parts.accounts.sessions_ended() == self.sessions_ended {
            return Ok(());
        }
        match Box::pin(parts.store.device(&self.session.user, &self.session.device)).await? {
            Some(_) => Ok(()),
            None => Err(Refusal::LoggedOut),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use ruma::user_id;
    use tokio::task::{JoinHandle, yield_now};

    use super::*;
    use crate::{
        core::time::UnixMillis,
        server::{app::App, change::feed::Change, clock::Clock, config::Config, store::AccountDataKey},
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
        assert!(size <= 576, "{size} bytes");
    }
}
