//! A file, or a part of one, on its way out.

use std::{
    io,
    ops::Range,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::body::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::Semaphore;

use super::folder::{Folder, Readable};

/// Bytes that are read at once: as much is in memory of each file that is read.
const PIECE: u64 = 32 << 10;

/// Pieces that are read at the same moment, of all files: each has one open meanwhile.
pub(super) const READERS: usize = 16;

type Reading = Pin<Box<dyn Future<Output = io::Result<Bytes>> + Send>>;

/// The body of an answer.
pub(super) struct Pieces {
    pub(super) folder: Arc<Folder>,
    pub(super) readers: Arc<Semaphore>,
    pub(super) what: Readable,
    pub(super) left: Range<u64>,
    pub(super) reading: Option<Reading>,
    /// What is said before it, and after it.
    pub(super) before: Bytes,
    pub(super) after: Bytes,
}

impl Pieces {
    fn read(&self) -> Reading {
        let (folder, readers, what) =
            (Arc::clone(&self.folder), Arc::clone(&self.readers), self.what.clone());
        let at = self.left.start;
        let len = usize::try_from((self.left.end - at).min(PIECE)).unwrap_or_default();
        Box::pin(async move {
            let _turn = readers.acquire().await.map_err(io::Error::other)?;
            let read = tokio::task::spawn_blocking(move || folder.read(&what, at, len)).await;
            read.unwrap_or_else(|e| Err(io::Error::other(e)))
        })
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if !self.before.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.before)))));
        }
        if self.left.is_empty() {
            let after = std::mem::take(&mut self.after);
            return Poll::Ready((!after.is_empty()).then(|| Ok(Frame::data(after))));
        }
        let mut reading = self.reading.take().unwrap_or_else(|| self.read());
        let Poll::Ready(read) = reading.as_mut().poll(cx) else {
            self.reading = Some(reading);
            return Poll::Pending;
        };
        match read {
            Ok(piece) => {
                self.left.start += piece.len() as u64;
                Poll::Ready(Some(Ok(Frame::data(piece))))
            }
            Err(e) => {
                tracing::warn!(error = %e, file = self.what.name.as_str(), "a file cannot be read to its end");
                self.left.start = self.left.end;
                self.after = Bytes::new();
                Poll::Ready(Some(Err(e)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.before.is_empty() && self.left.is_empty() && self.after.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let around = (self.before.len() + self.after.len()) as u64;
        SizeHint::with_exact(around + self.left.end - self.left.start)
    }
}
