//! Asking for the event stream: answered at once when there is something, else when there is.

use std::{pin::pin, sync::Arc, time::Duration};

use axum::body::Body;
use tokio::sync::Notify;

use super::{
    chunk::{self, Written},
    page::{MAX_EVENTS, Page},
    scope::Scope,
};
use crate::{
    core::{
        presence::{DeviceType, SetPresence},
        time::Instant,
    },
    server::{
        answers::{Sheet, Size, aside},
        change::position::{LivePosition, LogPosition},
        event::client::ClientFormat,
        session::Session,
        stream::{
            behind::PresenceLook,
            entered::Entered,
            filter::{Filter, Whose},
            listener::Listener,
            look::{Look, Stretch},
            reader::Reader,
            refusal::Refusal,
            sources::Sources,
            sync::{Form, StateTold},
            token::Token,
            wait::MAX_WAIT,
        },
    },
};

/// Changes of a room since the reader's token that are looked through quickly.
const FEW_CHANGES: u64 = 4096;

/// Of no room the device has the answer to its join: that is for `/sync` alone.
const NONE_ENTERED: &Vec<Entered> = &Vec::new();

/// A request to be told what is new, once.
#[derive(Debug)]
pub struct Poll {
    /// Where the client is; `None`: here and now.
    pub from: Option<Token>,
    /// Of which rooms it wants to know.
    pub scope: Scope,
    /// What it wants to know of them.
    pub filter: Arc<Filter>,
    /// Events of rooms in the answer; [`MAX_EVENTS`] at most.
    pub limit: usize,
    /// How long to wait for news at most.
    pub timeout: Duration,
    /// What the device says of itself; `None`: it does not count as connected.
    pub set_presence: Option<SetPresence>,
    /// What kind of device it is, if it says so.
    pub device_type: Option<DeviceType>,
}

/// A reader who is there.
struct Reading<'a> {
    poll: &'a Poll,
    sources: &'a Sources,
    listener: Listener<'a>,
    wakes: Arc<Notify>,
    session: &'a Session,
    /// Wakes those who look into a room.
    at_room: Option<Arc<Notify>>,
    /// Where the client is.
    start: Token,
}

impl Poll {
    /// Answers with what is new as soon as there is something; when there is nothing in time, with where to go on.
    ///
    /// # Errors
    /// [`Refusal::Store`]; [`Refusal::LoggedOut`] when the device is logged out while it waits; [`Refusal::NoRoom`].
    pub async fn answer(&self, sources: &Sources, session: &Session) -> Result<Body, Refusal> {
        let parts = sources.parts();
        let deadline = parts.clock.now() + self.timeout.min(MAX_WAIT);
        let says = self.set_presence.map(|says| (says, self.device_type));
        let listener = Listener::begin(sources, session, (&self.filter, NONE_ENTERED), says).await?;
        let wakes = parts.wakers.listen(&session.user);
        let at_room = match &self.scope {
            Scope::Peek(room) => Some(parts.wakers.listen_at(room)),
            Scope::Everything | Scope::Room(_) => None,
        };
        let start = self.from.clone().unwrap_or_else(|| {
            // Messages for the device are told by `/sync` alone.
            let here = Token::new(parts.store.log_position(), parts.live.position());
            here.with_to_device(LogPosition::START)
        });
        let mut since = start.clone();
        let reading = Reading { poll: self, sources, listener, wakes, session, at_room, start };
        loop {
            if let Some(body) = reading.look_or_wait(&mut since, deadline).await? {
                return Ok(body);
            }
            reading.listener.check_logged_in().await?;
        }
    }
}

impl Reading<'_> {
    /// One look; when there is nothing new, waits until there may be. `None`: look again, from where this look ended.
    async fn look_or_wait(&self, since: &mut Token, deadline: Instant) -> Result<Option<Body>, Refusal> {
        let parts = self.sources.parts();
        let wakes = &*self.wakes;
        let at_room = self.at_room.as_deref().unwrap_or(wakes);
        // Registered before the look: what happens in between still wakes.
        let (mut woken, mut woken_at_room) = (pin!(wakes.notified()), pin!(at_room.notified()));
        woken.as_mut().enable();
        woken_at_room.as_mut().enable();
        // Boxed, and gone before the waiting begins: what it takes to look is not kept meanwhile.
        let (has_news, upto, body) = Box::pin(self.look(since)).await?;
        if has_news || parts.clock.now() >= deadline || parts.wakers.is_closed() {
            return Ok(Some(body));
        }
        drop(body);
        *since = upto;
        let _waiting = parts.metrics.open_polls.enter();
        tokio::select! {
            () = woken => {}
            () = woken_at_room => {}
            () = parts.clock.sleep_until(deadline) => {}
        }
        Ok(None)
    }

    /// What is new after `since`. What may be much is written where it keeps nobody else waiting.
    async fn look(&self, since: &Token) -> Result<(bool, Token, Body), Refusal> {
        let (parts, user) = (self.sources.parts(), self.session.user.as_str());
        let (scope, limit) = (&self.poll.scope, self.poll.limit.min(MAX_EVENTS));
        let reader = self.reader(since);
        if let Some(page) = quick_page(&reader, scope, limit).await? {
            let Written { has_news, upto, out } =
                chunk::write(reader, scope, (since, &self.start), page, self.form(), None).await?;
            return Ok((has_news, upto, parts.answers.body(user, out.finish())?));
        }
        let place = parts.answers.place(user, Size::Page).await;
        let mut sheet = Sheet::new(place);
        aside(async {
            // A reader who had to wait for a place is told what came meanwhile.
            let reader = self.reader(since);
            let page = Page::next(&reader, scope, limit).await?;
            let tokens = (since, &self.start);
            let Written { has_news, upto, out } =
                chunk::write(reader, scope, tokens, page, self.form(), Some(&mut sheet)).await?;
            Ok((has_news, upto, sheet.body(out)?))
        })
        .await
    }

    fn form(&self) -> Form<'_> {
        let filter = &self.poll.filter;
        let events = match filter.format() {
            ClientFormat::InRoom | ClientFormat::Full => ClientFormat::Full,
            ClientFormat::Federation => ClientFormat::Federation,
        };
        let now = self.sources.parts().clock.now();
        Form { viewer: self.session, events, fields: filter.fields(), now, state: StateTold::Before }
    }

    /// A reader who was told everything up to `since`.
    fn reader(&self, since: &Token) -> Reader<'_> {
        let parts = self.sources.parts();
        // Where the reader will be is read before what they are told: later things come with the next.
        let (log, live) = (parts.store.log_position(), parts.live.position());
        let live_since = if parts.live.knows(since.live()) { since.live() } else { LivePosition::START };
        let whose = match self.poll.scope {
            Scope::Everything => self.sources.whose_presence(self.session, &self.poll.filter),
            Scope::Room(_) | Scope::Peek(_) => Whose::Nobodys,
        };
        let look = Look {
            session: self.session,
            filter: &self.poll.filter,
            ignored: parts.contacts.ignored_by(&self.session.user),
            is_first: false,
            goes_on: true,
            full_state: false,
            state_at_end: false,
            log: Stretch { since: since.log(), upto: log },
            live: Stretch { since: live_since, upto: live },
            to_device: since.to_device(),
            presence: PresenceLook::new(whose, Some(since), true, &parts.live),
            entered: &[],
            uncounted: &[],
            now: parts.clock.now(),
        };
        Reader { sources: self.sources, parts, look }
    }
}

/// The page of a look that is quick and whose answer is small; `None`: of any other.
async fn quick_page(reader: &Reader<'_>, scope: &Scope, limit: usize) -> Result<Option<Page>, Refusal> {
    let log = reader.look.log;
    match scope {
        Scope::Everything | Scope::Room(_) => match reader.quick_outline().await? {
            Some(outline) => Page::quick(reader, scope, limit, &outline).await,
            None => Ok(None),
        },
        Scope::Peek(_) if log.upto.get().saturating_sub(log.since.get()) <= FEW_CHANGES => {
            Page::next(reader, scope, limit).await.map(Some)
        }
        Scope::Peek(_) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As in `/sync`: what it takes to look has a box of its own while it looks.
    #[test]
    fn what_waits_for_events_is_small() {
        fn size<'a, F: Future>(_: impl FnOnce(&'a Poll, &'a Sources, &'a Session) -> F) -> usize {
            size_of::<F>()
        }
        let size = size(Poll::answer);
        assert!(size <= 1024, "{size} bytes");
    }
}
