//! A made answer on its way to its client.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::body::{Body, Bytes};
use hyper::body::{Frame, SizeHint};
use tokio::{sync::OwnedSemaphorePermit, time::Instant};

use super::{
    room::{NoRoom, Room, Written},
    spool::{Lost, Spooled},
};

/// Answers up to this size are not counted: a connection's own buffers hold as much.
pub(super) const SMALL: usize = 16 << 10;

/// Bytes at the end of an answer that wait in memory, if there is some.
const KEPT: usize = 64 << 10;

/// What a connection is handed at once of an answer.
const PIECE: usize = 16 << 10;

/// How long taking an answer may last, whatever its size; and for each of its bytes, at this many a second.
const TAKING: Duration = Duration::from_secs(60);
const TAKING_PER_SECOND: usize = 32 << 10;

/// What is to be sent of an answer: what was `written` of it, and the `rest`. `of_client` is given back when it was taken.
pub(super) fn of(
    room: &Room,
    client: &Arc<str>,
    written: Option<Written>,
    rest: Bytes,
    of_client: Option<OwnedSemaphorePermit>,
) -> Result<Body, NoRoom> {
    let mut written = written.unwrap_or_else(|| Written::new(room, client));
    let mut counted: Vec<_> = of_client.into_iter().collect();
    let in_memory =
        if rest.len() <= KEPT && written.kept.is_empty() { room.memory(rest.len()) } else { None };
    let rest = match in_memory {
        Some(permit) => {
            counted.push(permit);
            rest
        }
        None => {
            written.put(&rest)?;
            Bytes::from(std::mem::take(&mut written.kept))
        }
    };
    counted.extend(written.counted.take());
    let len = written.spooled.as_ref().map_or(0, Spooled::len) + rest.len();
    let until = Instant::now() + TAKING + Duration::from_secs((len / TAKING_PER_SECOND) as u64);
    let spooled = written.spooled.filter(|spooled| spooled.len() > 0);
    Ok(Body::new(Pieces { spooled, taken: 0, rest, until, counted }))
}

/// A body that is counted until it was taken.
#[derive(Debug)]
struct Pieces {
    /// What comes first; `None`: nothing, or all of it was taken.
    spooled: Option<Spooled>,
    /// Bytes of that which were taken.
    taken: usize,
    /// What follows.
    rest: Bytes,
    /// When a client that still takes it takes too long.
    until: Instant,
    /// What it holds of the memory, and of what its client may have.
    counted: Vec<OwnedSemaphorePermit>,
}

/// An answer ends before its end, and the connection with it.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("the client takes too long for this answer")]
    TooSlow,
    #[error(transparent)]
    Lost(#[from] Lost),
}

impl Pieces {
    fn remaining(&self) -> usize {
        self.spooled.as_ref().map_or(0, |spooled| spooled.len() - self.taken) + self.rest.len()
    }

    fn piece(&mut self) -> Result<Bytes, Broken> {
        if Instant::now() > self.until {
            return Err(Broken::TooSlow);
        }
        let Some(spooled) = &self.spooled else { return Ok(self.rest.split_to(self.rest.len().min(PIECE))) };
        let piece = spooled.read(self.taken, PIECE)?;
        self.taken += piece.len();
        if self.taken == spooled.len() {
            self.spooled = None;
        }
        Ok(piece.into())
    }

    fn end(&mut self) {
        self.spooled = None;
        self.rest = Bytes::new();
        self.counted.clear();
    }
}

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if self.remaining() == 0 {
            return Poll::Ready(None);
        }
        let piece = self.piece();
        if piece.is_err() {
            self.end();
        }
        Poll::Ready(Some(piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.remaining() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining() as u64)
    }
}
