//! Files of other servers, asked of the server that has them.
//!
//! Source: Matrix server-server API, "Content repository". A file that is somewhere else than its server says is not
//! followed there.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::body::{Body, Bytes};
use http::StatusCode;
use http_body_util::BodyExt;
use hyper::body::Frame;
use ruma::ServerName;

use super::{
    client::RequestError,
    multipart::{Malformed, Multipart, PartHead, Piece, file_name},
    parts::Federation,
};

/// What may come before the file, in bytes: what is said of it, of which nothing is known yet.
const MAX_BEFORE: usize = 64 << 10;

/// What may come after it: with more the connection is of no use any longer.
const MAX_AFTER: usize = 64 << 10;

/// How long its server may take to answer, asked once or twice.
const TIME_TO_ANSWER: Duration = Duration::from_secs(30);

/// How long what comes before the file may take.
const TIME_BEFORE: Duration = Duration::from_secs(30);

/// Why there is no file.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The operator does not want that server to be spoken with, or it has no such file.
    #[error("that server has no such file for this one")]
    Unknown,
    /// That server could not be asked.
    #[error("the server of the file cannot be asked: {0}")]
    Request(#[from] RequestError),
    /// What it said is no file.
    #[error("the server of the file answered with something else: {0}")]
    Answer(#[from] Malformed),
}

/// A file as it comes.
#[derive(Debug)]
pub struct Coming {
    /// What kind it is, as that server says.
    pub content_type: Option<String>,
    /// What it is called.
    pub file_name: Option<String>,
    /// What is in it.
    pub body: Body,
}

impl Federation {
    /// Asks `server` for its file `id`: letters, digits, `_` and `-`.
    ///
    /// # Errors
    /// [`FileError`] says whether there is none, or who is at fault.
    pub async fn file(&self, server: &ServerName, id: &str) -> Result<Coming, FileError> {
        if !self.policy.speaks_with(server) {
            return Err(FileError::Unknown);
        }
        let path = format!("/_matrix/federation/v1/media/download/{id}");
        let asking = async {
            match self.client.open(server, &path).await {
                // A connection that was kept can have ended meanwhile; to ask twice for a file changes nothing.
                Err(RequestError::Network(_)) => self.client.open(server, &path).await,
                answer => answer,
            }
        };
        let answer = tokio::time::timeout(TIME_TO_ANSWER, asking).await;
        let answer = answer.unwrap_or_else(|_| Err(RequestError::Network("timed out".to_owned())));
        let answer = answer.map_err(|e| match e {
            RequestError::Status(StatusCode::NOT_FOUND | StatusCode::FORBIDDEN, _) => FileError::Unknown,
            e => FileError::Request(e),
        })?;
        let kind = answer.headers().get(http::header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let parts = Multipart::of(kind.unwrap_or_default()).ok_or(Malformed)?;
        let mut file = File { parts, body: Body::new(answer.into_body()), after: 0 };
        let head = file.head_in_time().await?;
        if head.location.is_some() {
            return Err(Malformed.into());
        }
        let file_name = head.disposition.as_deref().and_then(file_name);
        Ok(Coming { content_type: head.content_type, file_name, body: Body::new(file) })
    }
}

/// The second part of an answer.
struct File {
    parts: Multipart,
    body: Body,
    /// What came after it, in bytes.
    after: usize,
}

impl File {
    async fn head_in_time(&mut self) -> Result<PartHead, FileError> {
        match tokio::time::timeout(TIME_BEFORE, self.head()).await {
            Ok(head) => head,
            Err(_) => Err(RequestError::Network("the file did not begin in time".to_owned()).into()),
        }
    }

    /// Passes the first part over; the head of the second.
    async fn head(&mut self) -> Result<PartHead, FileError> {
        let (mut heads, mut before) = (0, 0);
        loop {
            match self.parts.next_piece()? {
                Some(Piece::Head(head)) if heads == 1 => return Ok(head),
                Some(Piece::Head(_)) => heads += 1,
                Some(Piece::Content(_)) => {}
                Some(Piece::End) => return Err(Malformed.into()),
                None => {
                    let frame = self.body.frame().await.ok_or(Malformed)?;
                    let frame = frame.map_err(|e| RequestError::Network(e.to_string()))?;
                    let data = frame.into_data().unwrap_or_default();
                    // Of what came before this: the file begins in the same frame, which can be large.
                    if before > MAX_BEFORE {
                        return Err(Malformed.into());
                    }
                    before += data.len();
                    self.parts.take(&data);
                }
            }
        }
    }
}

impl hyper::body::Body for File {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        loop {
            match self.parts.next_piece() {
                Ok(Some(Piece::Content(bytes))) => return Poll::Ready(Some(Ok(Frame::data(bytes)))),
                Ok(Some(Piece::Head(_))) => return Poll::Ready(None),
                Ok(Some(Piece::End)) => {
                    // To the end of the answer: then the connection does for the next one.
                    while self.after <= MAX_AFTER {
                        let Some(Ok(frame)) = ready!(Pin::new(&mut self.body).poll_frame(cx)) else { break };
                        // Frames count, too: an empty one is not for nothing.
                        self.after += frame.data_ref().map_or(0, Bytes::len) + 1;
                    }
                    return Poll::Ready(None);
                }
                Ok(None) => {}
                Err(e) => return Poll::Ready(Some(Err(axum::Error::new(e)))),
            }
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => self.parts.take(&frame.into_data().unwrap_or_default()),
                Some(Err(e)) => return Poll::Ready(Some(Err(e))),
                None => return Poll::Ready(Some(Err(axum::Error::new(Malformed)))),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
    };

    use super::*;

    const BEGIN: &str = "--b\r\n\r\n{}\r\n--b\r\nContent-Type: text/plain\r\n\r\nfile\r\n--b--";

    fn file(body: Body) -> File {
        let parts = Multipart::of("multipart/mixed; boundary=b").expect("it has parts");
        File { parts, body, after: 0 }
    }

    /// `first`, and then the same piece again and again.
    struct Endless {
        first: Option<&'static str>,
        told: Arc<AtomicUsize>,
        piece: &'static [u8],
    }

    impl hyper::body::Body for Endless {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            let piece = match self.first.take() {
                Some(first) => Bytes::from_static(first.as_bytes()),
                None if self.piece.is_empty() => return Poll::Pending,
                None => Bytes::from_static(self.piece),
            };
            self.told.fetch_add(piece.len(), Ordering::Relaxed);
            Poll::Ready(Some(Ok(Frame::data(piece))))
        }
    }

    #[tokio::test]
    async fn what_comes_after_the_file_without_end_is_not_read() {
        let told = Arc::new(AtomicUsize::new(0));
        let body = Endless { first: Some(BEGIN), told: Arc::clone(&told), piece: &[b'x'; 4096] };
        let mut file = file(Body::new(body));
        assert_eq!(file.head().await.expect("a head").content_type.as_deref(), Some("text/plain"));
        let kept = Body::new(file).collect().await.expect("a file").to_bytes();
        assert_eq!(kept, "file");
        let told = told.load(Ordering::Relaxed);
        assert!(told <= BEGIN.len() + MAX_AFTER + 2 * 4096, "{told} bytes were read");
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_does_not_begin_is_given_up() {
        let told = Arc::new(AtomicUsize::new(0));
        let body = Endless { first: Some("--b\r\n\r\n{}"), told, piece: &[] };
        let begun = tokio::time::Instant::now();
        let given_up = file(Body::new(body)).head_in_time().await;
        assert!(matches!(given_up, Err(FileError::Request(RequestError::Network(_)))));
        assert_eq!(begun.elapsed(), TIME_BEFORE);
    }
}
