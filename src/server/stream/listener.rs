//! A reader who is there: what they are told when they look.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use axum::body::Body;
use ruma::OwnedRoomId;

use super::{
    behind::PresenceLook,
    entered::Entered,
    filter::{Filter, Whose},
    look::{Look, Stretch},
    news::News,
    parts::Parts,
    reader::Reader,
    reading::Reading,
    refusal::Refusal,
    sources::Sources,
    sync::{self, Form, StateTold, Written},
    telling,
    token::Token,
};
use crate::{
    core::presence::{DeviceType, SetPresence},
    server::{
        answers::{Sheet, Size, aside},
        change::position::{LivePosition, LogPosition},
        presence::Connected,
        session::Session,
    },
};

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
    /// It may be much: an answer of `/sync`, to be sent.
    Answer(Body),
}

/// What a look found.
#[derive(Debug)]
pub(super) struct Looked {
    /// Whether there is anything that a reader would not want to wait for.
    pub(super) has_news: bool,
    /// Up to where it went.
    pub(super) upto: Token,
    pub(super) told: Told,
}

/// A reader who is there: as long as this is held, the device counts as connected, if it says so, and the servers
/// of others are asked for their presence (L8).
#[derive(Debug)]
pub(super) struct Listener<'a> {
    sources: &'a Sources,
    session: &'a Session,
    filter: &'a Filter,
    entered: &'a Vec<Entered>,
    state: StateTold,
    sessions_ended: AtomicU64,
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
        let sessions_ended = sources.parts().accounts.sessions_ended();
        Ok(Self {
            sources,
            session,
            filter,
            entered,
            state: StateTold::Before,
            sessions_ended: AtomicU64::new(sessions_ended),
            _connected: connected,
            _reading: reading,
        })
    }

    /// From here on they are told this state of rooms.
    pub(super) fn tell_state(&mut self, state: StateTold) {
        self.state = state;
    }

    /// What is read.
    pub(super) fn parts(&self) -> &'a Parts {
        self.sources.parts()
    }

    /// The device has what it was told up to its token.
    pub(super) async fn acknowledge(&self, since: &Token) -> Result<(), Refusal> {
        if self.sources.has_messages(self.session) {
            // Boxed, as all that is seldom needed: else every waiting poll has room for it.
            Box::pin(self.sources.acknowledge(self.session, since)).await?;
        }
        Ok(())
    }

    /// What is new after `since`, and how much is unread where a stream may not have told it. What may be much is written
    /// where it keeps nobody else waiting.
    pub(super) async fn look(&self, since: Option<&Token>, full_state: bool) -> Result<Looked, Refusal> {
        let uncounted = match since.filter(|since| since.is_brief()) {
            // Boxed, as it is needed once.
            Some(since) => Box::pin(self.sources.rooms_before(&self.session.user, since.log())).await?,
            None => Vec::new(),
        };
        self.look_at(since, full_state, (self.entered, &uncounted)).await
    }

    /// The same for a device that has these answers to joins by now, on a stream, which tells by itself how much is unread.
    pub(super) async fn look_having(
        &self,
        since: Option<&Token>,
        entered: &[Entered],
    ) -> Result<Looked, Refusal> {
        self.look_at(since, false, (entered, &[])).await
    }

    async fn look_at(
        &self,
        since: Option<&Token>,
        full_state: bool,
        rooms: (&[Entered], &[OwnedRoomId]),
    ) -> Result<Looked, Refusal> {
        let parts = self.sources.parts();
        let reader = self.reader(since, full_state, rooms);
        if let Some(outline) = reader.quick_outline().await? {
            let news = telling::news(reader, outline).await?;
            return Ok(Looked { has_news: news.has_news(), upto: news.upto.clone(), told: Told::News(news) });
        }
        let (user, expected) = (&self.session.user, self.expected().await?);
        let place = parts.answers.place_for(user.as_str(), Size::Whole, expected).await;
        self.check_still_logged_in().await?;
        let (filter, now) = (self.filter, parts.clock.now());
        let form = Form {
            viewer: self.session,
            events: filter.format(),
            fields: filter.fields(),
            now,
            state: self.state,
        };
        // A reader who had to wait for a place is told what came meanwhile.
        let written = sync::written(self.reader(since, full_state, rooms), form, Sheet::new(place));
        let Written { has_news, upto, body } = aside(written).await?;
        Ok(Looked { has_news, upto, told: Told::Answer(body) })
    }

    /// How long it takes to write all that there is for the reader, about: little goes before much.
    pub(super) async fn expected(&self) -> Result<Duration, Refusal> {
        let store = &self.sources.parts().store;
        Ok(PER_STATE_EVENT * store.state_events_of(&self.session.user, MANY_STATE_EVENTS).await?)
    }

    /// A reader who was told everything up to `since`, and is told everything that there is.
    pub(super) fn reader<'r>(
        &'r self,
        since: Option<&Token>,
        full_state: bool,
        (entered, uncounted): (&'r [Entered], &'r [OwnedRoomId]),
    ) -> Reader<'r> {
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
            state_at_end: self.state.is_at_end(),
            log: Stretch { since: log_since, upto: log },
            live: Stretch { since: live_since.unwrap_or(LivePosition::START), upto: live },
            to_device: since.map_or(LogPosition::START, Token::to_device),
            presence: PresenceLook::new(whose, since, goes_on, &parts.live),
            entered,
            uncounted,
            now: parts.clock.now(),
        };
        Reader { sources: self.sources, parts, look }
    }

    /// An error when the device was logged out since this was asked last.
    pub(super) async fn check_logged_in(&self) -> Result<(), Refusal> {
        let ended = self.sources.parts().accounts.sessions_ended();
        self.check_still_logged_in().await?;
        self.sessions_ended.store(ended, Ordering::Relaxed);
        Ok(())
    }

    /// Asks the store only after somebody was logged out.
    pub(super) async fn check_still_logged_in(&self) -> Result<(), Refusal> {
        let parts = self.sources.parts();
        let ended = self.sessions_ended.load(Ordering::Relaxed);
        if parts.accounts.sessions_ended() == ended || !self.session.has_device() {
            return Ok(());
        }
        match Box::pin(parts.store.device(&self.session.user, &self.session.device)).await? {
            Some(_) => Ok(()),
            None => Err(Refusal::LoggedOut),
        }
    }
}
