//! How long a connection may keep us waiting: for a request's head, between two requests, and with an answer that it
//! does not take.

use std::{
    io,
    mem::MaybeUninit,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::TcpStream,
    sync::Notify,
    time::{Sleep, sleep},
};

/// How long a client may take to send a request's head, from its first byte; and to begin, on a new connection.
const HEAD: Duration = Duration::from_secs(30);

/// How long a client may take for the next [`MORSEL`] of an answer.
const ANSWER: Duration = Duration::from_secs(60);

/// What has to be taken of an answer within [`ANSWER`], in bytes.
const MORSEL: usize = 16 << 10;

/// Bytes that are read at once of what comes ahead of its time.
const GULP: usize = 4 << 10;

/// Bytes that are kept of it: who says more is listened to when the answer is made.
const MAX_AHEAD: usize = 8 << 10;

/// How often is looked whether who said more has gone: what they said last stands before that, unread.
const LOOK: Duration = Duration::from_secs(1);

/// What a connection is about; shared with whoever answers its requests.
#[derive(Debug)]
pub struct Phase {
    is: AtomicU8,
    flushed: Notify,
}

const HEAD_COMES: u8 = 0;
const IS_ANSWERED: u8 = 1;
const IS_IDLE: u8 = 2;
const IS_ENDING: u8 = 3;
const IS_HANDED_OVER: u8 = 4;

impl Phase {
    /// A new connection, on which a request is to begin soon.
    pub fn new() -> Arc<Self> {
        Arc::new(Self { is: AtomicU8::new(HEAD_COMES), flushed: Notify::new() })
    }

    /// A head is complete: its body has times of its own, and the answer takes as long as it takes.
    pub fn begin_answer(&self) {
        self.is.store(IS_ANSWERED, Ordering::Release);
    }

    /// The answer is made: once it is taken, the next request may be a while in coming.
    pub fn end_answer(&self) {
        self.is.store(IS_IDLE, Ordering::Release);
    }

    /// The connection is somebody else's, once the answers before are written: what HTTP has still to say on it then is
    /// not said.
    pub async fn hand_over(&self) {
        self.is.store(IS_ENDING, Ordering::Release);
        self.flushed.notified().await;
        self.is.store(IS_HANDED_OVER, Ordering::Release);
    }

    /// Whether it is somebody else's.
    pub fn is_handed_over(&self) -> bool {
        self.is.load(Ordering::Acquire) == IS_HANDED_OVER
    }
}

/// A connection that ends when it keeps us waiting too long. While a request is answered it has no timer.
#[derive(Debug)]
pub struct Patient<S> {
    io: S,
    phase: Arc<Phase>,
    idle: Duration,
    /// In which phase bytes are waited for, and until when; while one is answered who said more than is read, until when is
    /// not looked whether they have gone.
    reading: Option<(u8, Pin<Box<Sleep>>)>,
    /// Until when more has to be taken, and how much was.
    writing: Option<(Pin<Box<Sleep>>, usize)>,
    /// What was read before somebody asked for it.
    ahead: BytesMut,
}

impl<S> Patient<S> {
    /// Between two requests there may be the time `idle`.
    pub fn new(io: S, phase: Arc<Phase>, idle: Duration) -> Self {
        Self { io, phase, idle, reading: None, writing: None, ahead: BytesMut::new() }
    }

    /// The connection itself.
    pub fn into_inner(self) -> S {
        self.io
    }

    /// Bytes that were read, and turned out to be for whoever reads next.
    pub fn unread(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            let rest = std::mem::replace(&mut self.ahead, BytesMut::from(bytes));
            self.ahead.extend_from_slice(&rest);
        }
    }

    /// What was read before somebody asked for it.
    pub fn ahead(&self) -> &[u8] {
        &self.ahead
    }

    /// Takes the first of it.
    pub fn take_ahead(&mut self, count: usize) {
        self.ahead.advance(count);
        if self.ahead.is_empty() {
            self.ahead = BytesMut::new();
        }
    }

    /// An error when the time for what is to come is over.
    fn check_reading(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let phase = self.phase.is.load(Ordering::Acquire);
        if matches!(phase, IS_ANSWERED | IS_ENDING) || self.writing.is_some() {
            self.reading = None;
            return Ok(());
        }
        let patience = if phase == IS_IDLE { self.idle } else { HEAD };
        let (_, timer) = match &mut self.reading {
            Some(reading) if reading.0 == phase => reading,
            reading => reading.insert((phase, Box::pin(sleep(patience)))),
        };
        if timer.as_mut().poll(cx).is_ready() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
    }

    /// Looks at how a write of an answer went.
    fn check_writing<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
        bytes: impl FnOnce(&T) -> usize,
    ) -> Poll<io::Result<T>> {
        match written {
            Poll::Pending => {
                let (timer, _) = self.writing.get_or_insert_with(|| (Box::pin(sleep(ANSWER)), 0));
                match timer.as_mut().poll(cx) {
                    Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
                    Poll::Pending => Poll::Pending,
                }
            }
            Poll::Ready(Ok(value)) => {
                if let Some((_, taken)) = &mut self.writing {
                    *taken += bytes(&value);
                    if *taken >= MORSEL {
                        self.writing = None;
                    }
                }
                Poll::Ready(Ok(value))
            }
            Poll::Ready(Err(e)) => Poll::Ready(Err(e)),
        }
    }
}

impl<S: AsyncRead + Unpin> Patient<S> {
    /// Reads something ahead. Ready when there is something, or at the end of what comes, or its time: an error.
    pub fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut space = [MaybeUninit::uninit(); GULP];
        let mut buf = ReadBuf::uninit(&mut space);
        ready!(self.poll_io(cx, &mut buf))?;
        if buf.filled().is_empty() {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        self.ahead.extend_from_slice(buf.filled());
        Poll::Ready(Ok(()))
    }

    /// Reads from the connection itself.
    fn poll_io(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.check_reading(cx)?;
        let before = buf.filled().len();
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.begin_head();
        }
        read
    }

    fn begin_head(&mut self) {
        let next = self.phase.is.compare_exchange(IS_IDLE, HEAD_COMES, Ordering::AcqRel, Ordering::Acquire);
        if next.is_ok() {
            self.reading = None;
        }
    }
}

impl Patient<TcpStream> {
    /// Ready when whoever waits for an answer goes. What they say meanwhile is kept.
    pub fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.ahead.len() < MAX_AHEAD {
            if ready!(self.poll_ahead(cx)).is_err() {
                return Poll::Ready(());
            }
        }
        loop {
            let (_, look) = match &mut self.reading {
                Some(reading) if reading.0 == IS_ANSWERED => reading,
                reading => reading.insert((IS_ANSWERED, Box::pin(sleep(LOOK)))),
            };
            ready!(look.as_mut().poll(cx));
            self.reading = None;
            // Of the readiness that is known; it is there when the end is.
            let known = pin!(self.io.ready(Interest::READABLE)).poll(cx);
            if let Poll::Ready(Err(_)) = known {
                return Poll::Ready(());
            }
            if let Poll::Ready(Ok(is)) = known
                && is.is_read_closed()
            {
                return Poll::Ready(());
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            return self.poll_io(cx, buf);
        }
        let count = self.ahead.len().min(buf.remaining());
        buf.put_slice(&self.ahead[..count]);
        self.take_ahead(count);
        self.begin_head();
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.phase.is_handed_over() {
            return Poll::Ready(Ok(buf.len()));
        }
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        self.check_writing(cx, written, |n| *n)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.phase.is_handed_over() {
            return Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()));
        }
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.check_writing(cx, written, |n| *n)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        if flushed.is_ready() {
            // Everything that was to be written is.
            self.writing = None;
            if self.phase.is.load(Ordering::Acquire) == IS_ENDING {
                self.phase.flushed.notify_one();
            }
        }
        self.check_writing(cx, flushed, |()| 0)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.io).poll_shutdown(cx);
        self.check_writing(cx, shut, |()| 0)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
        time::Instant,
    };

    use super::*;

    const IDLE: Duration = Duration::from_secs(120);

    fn connection() -> (Patient<DuplexStream>, DuplexStream, Arc<Phase>) {
        let (ours, theirs) = duplex(1 << 10);
        let phase = Phase::new();
        (Patient::new(ours, Arc::clone(&phase), IDLE), theirs, phase)
    }

    /// After which time reading on fails.
    async fn gives_up_reading(connection: &mut Patient<DuplexStream>) -> Duration {
        let begun = Instant::now();
        loop {
            match connection.read(&mut [0; 64]).await {
                Ok(n) => assert!(n > 0),
                Err(e) => {
                    assert_eq!(e.kind(), io::ErrorKind::TimedOut);
                    return begun.elapsed();
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_has_its_time_from_its_first_byte_however_it_trickles_in() {
        let (mut ours, mut theirs, phase) = connection();
        assert_eq!(gives_up_reading(&mut ours).await, HEAD, "nothing comes at all");
        let (mut other, mut drips, _) = connection();
        let dripping = tokio::spawn(async move {
            while drips.write_all(b"x").await.is_ok() {
                sleep(Duration::from_secs(7)).await;
            }
        });
        assert_eq!(gives_up_reading(&mut other).await, HEAD, "a byte every 7 seconds");
        drop(other);
        dripping.await.expect("ends");
        // The next one, after a pause.
        phase.end_answer();
        let pause = IDLE - Duration::from_secs(1);
        tokio::spawn(async move {
            sleep(pause).await;
            theirs.write_all(b"GET").await.expect("is open");
            sleep(IDLE).await;
        });
        assert_eq!(gives_up_reading(&mut ours).await, pause + HEAD);
    }

    #[tokio::test(start_paused = true)]
    async fn between_requests_there_is_a_pause_and_in_an_answer_there_is_no_limit() {
        let (mut ours, _theirs, phase) = connection();
        phase.begin_answer();
        let read = tokio::time::timeout(IDLE * 10, ours.read(&mut [0; 64])).await;
        assert!(read.is_err(), "it waits on");
        phase.end_answer();
        assert_eq!(gives_up_reading(&mut ours).await, IDLE);
    }

    /// Who has said more than is read ahead is not heard going: that stands behind what they said.
    #[tokio::test(start_paused = true)]
    async fn who_goes_while_an_answer_is_made_is_gone_however_much_they_had_said() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("has one");
        for said in [0, MAX_AHEAD, MAX_AHEAD * 3] {
            let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
            let (mut client, (ours, _)) = (client.expect("connects"), accepted.expect("is accepted"));
            let phase = Phase::new();
            phase.begin_answer();
            let mut ours = Patient::new(ours, phase, IDLE);
            client.write_all(&vec![b'x'; said]).await.expect("is sent");
            let waited = tokio::time::timeout(LOOK + LOOK / 4, std::future::poll_fn(|cx| ours.poll_gone(cx)));
            assert!(waited.await.is_err(), "{said}: is there");
            drop(client);
            let gone = tokio::time::timeout(LOOK * 3, std::future::poll_fn(|cx| ours.poll_gone(cx)));
            gone.await.unwrap_or_else(|_| panic!("{said}: is not noticed"));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_not_taken_is_given_up_and_a_slow_reader_is_not() {
        let (mut ours, mut theirs, phase) = connection();
        phase.end_answer();
        let begun = Instant::now();
        let answer = vec![b'x'; 256 << 10];
        let failed = ours.write_all(&answer).await.expect_err("nobody reads");
        assert_eq!((failed.kind(), begun.elapsed()), (io::ErrorKind::TimedOut, ANSWER));
        let (mut ours, mut slow, _) = connection();
        let reading = tokio::spawn(async move {
            let mut buffer = vec![0; 1 << 10];
            let mut read = 0;
            while read < 256 << 10 {
                read += slow.read(&mut buffer).await.expect("is open");
                sleep(Duration::from_secs(1)).await;
            }
        });
        ours.write_all(&answer).await.expect("all of it is taken, in minutes");
        reading.await.expect("ends");
        drop(theirs.read(&mut [0; 1]).await);
    }
}
