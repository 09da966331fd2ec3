//! What becomes of one held stream, from its first look to its end.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::body::Body;
use http_body_util::BodyExt;
use ruma::OwnedRoomId;
use rustix::net::sockopt::set_tcp_user_timeout;
use tokio::{
    net::TcpStream,
    time::{Instant as Timer, sleep_until, timeout_at},
};

use super::{
    frames::{self, Frames, write_id},
    hub::{BEAT, EARLY, HEARTBEAT, Hub, Seat},
    line::{Left, Line},
    pass::Tells,
    recount::Recount,
    told::Told,
};
use crate::{
    core::presence::{DeviceType, SetPresence},
    server::{
        change::wakers::Place,
        http::{Socket, Talk},
        session::{Session, TokenHash},
        stream::{
            entered::Entered,
            filter::{Filter, Timelines, Whose},
            listener::{Listener, Looked, Told as Found},
            refusal::Refusal,
            sources::Sources,
            sync::{Form, StateTold},
            token::Token,
        },
    },
};

/// How long a reader may take for the next [`MORSEL`] of what is written.
const PATIENCE: Duration = Duration::from_secs(60);

/// What has to be taken within [`PATIENCE`], in bytes, unless all is.
const MORSEL: usize = 16 << 10;

/// How long what was written may go without being acknowledged by the reader's system, as it is when that is gone without
/// a word: with the heartbeat, after which time a device that lost its network no longer counts as connected.
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

/// Bytes that a reader may say on a connection on which there is nothing to say.
const MAX_SAID: usize = 4 << 10;

/// What a stream has of answers to joins is kept by its line.
static NONE: Vec<Entered> = Vec::new();

/// A request for a held stream.
#[derive(Debug)]
pub struct Open {
    /// Where the client is; `None`: at the very beginning.
    pub since: Option<Token>,
    /// What it wants to know of.
    pub filter: Arc<Filter>,
    /// What the device says of itself; `None`: it does not count as connected.
    pub set_presence: Option<SetPresence>,
    /// What kind of device it is, if it says so.
    pub device_type: Option<DeviceType>,
    /// The answers to joins that the device has.
    pub entered: Vec<Entered>,
    /// With what the device was let in: the stream ends when that is valid no longer, though the device may be.
    pub token: TokenHash,
}

/// Why a stream ends.
#[derive(Debug)]
enum End {
    /// The reader went, or did not take what was written: it ends amid an event, and nothing can be said after it.
    Gone,
    /// Their device opened many others.
    Replaced,
    /// The server stops.
    Stopping,
    /// They cannot be told any more.
    Refused(Refusal),
}

/// One stream.
struct Conversation<'a> {
    sources: &'a Sources,
    line: &'a Line,
    listener: Listener<'a>,
    filter: &'a Arc<Filter>,
    told: Told,
    recount: Recount,
    /// Bytes that the reader has said.
    said: usize,
    token: TokenHash,
    /// How often somebody had been logged out when the token was valid last; `None`: not asked yet.
    sessions_ended: Option<u64>,
}

impl Open {
    /// Tells the reader on a socket what is new, until one of both ends it.
    pub fn begin(
        self,
        hub: &Arc<Hub>,
        sources: Sources,
        session: Session,
    ) -> impl FnOnce(Socket) -> Talk + Send + 'static {
        let hub = Arc::clone(hub);
        move |Socket { stream, head }| {
            let milliseconds = u32::try_from(UNACKNOWLEDGED.as_millis()).unwrap_or(u32::MAX);
            if let Err(e) = set_tcp_user_timeout(&stream, milliseconds) {
                tracing::debug!(error = %e, "who is gone without a word is noticed late");
            }
            let seat = hub.enter(session, stream);
            // Boxed by itself: what follows waits for hours, and has no room for the beginning.
            Box::pin(async move { self.talk(seat, sources, head).await })
        }
    }

    async fn talk(self, seat: Seat, sources: Sources, head: Vec<u8>) {
        let _open = sources.parts().metrics.open_streams.enter();
        let line = &*seat.line;
        let end = match Box::pin(self.converse(&seat, &sources, head)).await {
            Ok(never) => match never {},
            Err(end) => end,
        };
        tracing::trace!(?end, user = %line.session.user, "a held stream ends");
        let told = match &end {
            End::Gone => return,
            End::Replaced => frames::end("replaced", None),
            End::Stopping => frames::end("stopping", None),
            End::Refused(Refusal::LoggedOut) => {
                frames::end("error", Some(("M_UNKNOWN_TOKEN", "the device was logged out")))
            }
            End::Refused(refusal) => {
                tracing::warn!(?refusal, "a held stream cannot go on");
                frames::end("error", None)
            }
        };
        if let Err(e) = line.stream.try_write(&told) {
            tracing::trace!(error = %e, "who loses a stream is not told why");
        }
    }

    async fn converse(
        self,
        seat: &Seat,
        sources: &Sources,
        mut head: Vec<u8>,
    ) -> Result<std::convert::Infallible, End> {
        let line = &*seat.line;
        let heartbeat_ms = HEARTBEAT.as_millis();
        let mut hello = Frames::default();
        hello.event("hello", |out| {
            out.extend_from_slice(format!(r#"{{"heartbeat_ms":{heartbeat_ms}}}"#).as_bytes());
        });
        head.extend_from_slice(&hello.alone());
        write(&line.stream, &head).await?;
        drop(head);
        let says = self.set_presence.map(|says| (says, self.device_type));
        let listener = Listener::begin(sources, &line.session, (&self.filter, &NONE), says).await?;
        for entered in self.entered {
            line.joining(|joining| joining.confirm(entered));
        }
        if let Some(since) = &self.since {
            listener.acknowledge(since).await?;
        }
        let (filter, token) = (&self.filter, self.token);
        let mut conversation = Conversation {
            sources,
            line,
            listener,
            filter,
            told: Told::default(),
            recount: Recount::default(),
            said: 0,
            token,
            sessions_ended: None,
        };
        let mut since = self.since;
        // A stream that ended before it had told how much is unread.
        let mut uncounted = match &since {
            Some(since) => sources.rooms_before(&line.session.user, since.log()).await?,
            None => Vec::new(),
        };
        loop {
            let upto = Box::pin(conversation.look(since.as_ref(), uncounted)).await?;
            conversation.check().await?;
            let left;
            (left, uncounted) = conversation.follow(&upto).await?;
            since = Some(left.map_or_else(|| upto.clone(), |at| upto.clone().moved_to(at.log, at.live)));
        }
    }
}

impl Conversation<'_> {
    /// Waits while the device comes into a room that it has in the answer to that.
    async fn await_joins(&mut self) -> Result<(), End> {
        let mut was_called = false;
        let mut beat_at = Timer::from_std(self.line.written()) + (HEARTBEAT - EARLY);
        while let Some(until) = self.line.joining(|joining| joining.until(Timer::now())) {
            if self.line.is_replaced() {
                return Err(End::Replaced);
            }
            self.check().await?;
            if Timer::now() >= beat_at {
                write(&self.line.stream, BEAT).await?;
                beat_at = Timer::now() + (HEARTBEAT - EARLY);
            }
            tokio::select! {
                () = self.line.slot.called() => was_called = true,
                () = sleep_until(until.min(beat_at)) => {}
                ready = self.line.stream.readable() => {
                    ready.map_err(|_| End::Gone)?;
                    self.hear()?;
                }
            }
        }
        if was_called {
            // For whom follows later: there may be more than what the look finds.
            self.line.slot.call();
        }
        Ok(())
    }

    /// One look, and the writing of what it finds; answers up to where it went.
    async fn look(&mut self, since: Option<&Token>, uncounted: Vec<OwnedRoomId>) -> Result<Token, End> {
        self.await_joins().await?;
        self.line.begin_look();
        let entered = self.line.joining(|joining| joining.entered().to_vec());
        // Boxed, as it is seldom more than a look at memory.
        Box::pin(self.recount.handle_look(self.sources, &self.line.session.user, self.filter)).await?;
        let Looked { has_news, upto, told } = self.listener.look_having(since, &entered).await?;
        let mut frames = Frames::default();
        match told {
            Found::News(news) => {
                let (events, now) = (self.filter.format(), self.sources.parts().clock.now());
                let form = Form {
                    viewer: &self.line.session,
                    events,
                    fields: self.filter.fields(),
                    now,
                    state: StateTold::Before,
                };
                frames.news(news, form, &mut self.told);
            }
            Found::Answer(body) if has_news || since.is_none() => {
                self.answer(body, &upto).await?;
                self.told.all();
            }
            Found::Answer(_) => {}
        }
        self.line.joining(|joining| joining.forget(upto.log()));
        for room in uncounted.into_iter().chain(self.recount.poll_rooms()) {
            if let Some(counts) = self.sources.unread(&self.line.session.user, &room, upto.log()).await? {
                frames.unread(&room, counts, &mut self.told);
            }
        }
        if !frames.is_empty() {
            write(&self.line.stream, &frames.up_to(&upto)).await?;
        }
        Ok(upto)
    }

    /// Writes what may be much, piece by piece.
    async fn answer(&self, mut body: Body, upto: &Token) -> Result<(), End> {
        write(&self.line.stream, b"event:sync\ndata:").await?;
        while let Some(piece) = body.frame().await {
            let piece = piece.map_err(|e| {
                tracing::debug!(error = %e, "a large answer ends early");
                End::Gone
            })?;
            if let Ok(piece) = piece.into_data() {
                write(&self.line.stream, &piece).await?;
            }
        }
        let mut end = b"\n".to_vec();
        write_id(&mut end, upto);
        write(&self.line.stream, &end).await
    }

    /// Follows from `upto` on until there is something to look at; answers from where, unless it was missed already,
    /// and of which rooms the reader does not know how much they have not read.
    async fn follow(&mut self, upto: &Token) -> Result<(Option<Place>, Vec<OwnedRoomId>), End> {
        if upto.to_device() != upto.log() || self.recount.is_due() {
            // There are more messages for the device than one look tells, or more rooms to count.
            return Ok((None, Vec::new()));
        }
        let at = Place { log: upto.log(), live: upto.live() };
        let session = &self.line.session;
        let whose = self.sources.whose_presence(session, self.filter);
        let ignored = self.sources.parts().contacts.ignored_by(&session.user);
        // In each write stands where to go on, as who is told everything has it.
        let is_all = upto.behind().is_none();
        let presence = is_all && whose == Whose::Everybodys;
        let timelines = if is_all { self.filter.timelines() } else { Timelines::Chosen };
        let ephemeral = is_all.then(|| Arc::clone(self.filter));
        if self.line.follow(at, Tells { presence, timelines, ephemeral, ignored }, Instant::now()) {
            self.wait().await?;
        }
        let followed = self.sources.parts().wakers.followed();
        let Left { since, rest, uncounted, is_broken, is_replaced } = self.line.leave(followed);
        if is_broken {
            return Err(End::Gone);
        }
        if !rest.is_empty() {
            write(&self.line.stream, &rest).await?;
        }
        if is_replaced {
            return Err(End::Replaced);
        }
        self.check().await?;
        Ok((Some(since.max(at)), uncounted))
    }

    /// Waits until there is something to look at.
    async fn wait(&mut self) -> Result<(), End> {
        loop {
            tokio::select! {
                () = self.line.slot.called() => {
                    if self.line.is_to_look() || self.sources.parts().wakers.is_closed() {
                        return Ok(());
                    }
                }
                ready = self.line.stream.readable() => {
                    ready.map_err(|_| End::Gone)?;
                    self.hear()?;
                }
            }
        }
    }

    /// Takes what the reader says, which is nothing but that they go.
    fn hear(&mut self) -> Result<(), End> {
        match self.line.stream.try_read(&mut [0; 512]) {
            Ok(0) => Err(End::Gone),
            Ok(count) => {
                self.said += count;
                if self.said > MAX_SAID { Err(End::Gone) } else { Ok(()) }
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(_) => Err(End::Gone),
        }
    }

    /// Whether the stream may go on.
    async fn check(&mut self) -> Result<(), End> {
        if self.sources.parts().wakers.is_closed() {
            return Err(End::Stopping);
        }
        let parts = self.sources.parts();
        let ended = Some(parts.accounts.sessions_ended());
        if self.sessions_ended != ended && self.line.session.has_device() {
            let known = parts.store.known(&self.token).await.map_err(Refusal::from)?;
            if known.is_none_or(|known| known.session != self.line.session) {
                return Err(Refusal::LoggedOut.into());
            }
            self.sessions_ended = ended;
        }
        Ok(())
    }
}

impl From<Refusal> for End {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Writes all of it, however long the reader takes, as long as they take it in morsels.
async fn write(stream: &TcpStream, mut bytes: &[u8]) -> Result<(), End> {
    let (mut until, mut taken) = (Timer::now() + PATIENCE, 0);
    while !bytes.is_empty() {
        match stream.try_write(bytes) {
            Ok(count) => {
                (bytes, taken) = (&bytes[count..], taken + count);
                if taken >= MORSEL {
                    (until, taken) = (Timer::now() + PATIENCE, 0);
                }
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                match timeout_at(until, stream.writable()).await {
                    Ok(Ok(())) if Timer::now() < until => {}
                    Ok(_) | Err(_) => return Err(End::Gone),
                }
            }
            Err(_) => return Err(End::Gone),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::{io::AsyncReadExt, net::TcpListener, time::sleep};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_reader_who_takes_nothing_or_a_byte_a_second_is_given_up_after_a_minute() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("has one");
        for drips in [false, true] {
            let (end, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
            let ((ours, _), mut end) = (accepted.expect("is accepted"), end.expect("connects"));
            while ours.try_write(&[b'x'; 4096]).is_ok() {}
            let dripping = tokio::spawn(async move {
                while drips && end.read(&mut [0]).await.is_ok_and(|count| count > 0) {
                    sleep(Duration::from_secs(1)).await;
                }
                sleep(PATIENCE * 2).await;
            });
            let begun = Timer::now();
            let written = write(&ours, &vec![b'x'; 16 << 20]).await;
            assert!(matches!(written, Err(End::Gone)) && begun.elapsed() <= PATIENCE * 2);
            dripping.abort();
        }
    }
}
