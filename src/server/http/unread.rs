//! Bodies of requests that are refused before they are read.
//!
//! Who has sent one goes on with the next request on the same connection, and would find it closed: what HTTP is left
//! with ends it. So what is small is read to its end all the same, and who sends more is told to begin anew.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::body::{Body, Bytes};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use parking_lot::Mutex;

/// How much is read that nobody wants, in bytes.
const SMALL: usize = 64 << 10;

/// How long it may take to come.
const SOON: Duration = Duration::from_secs(1);

type Home = Arc<Mutex<Option<Incoming>>>;

/// What will be left of a body.
#[derive(Debug)]
pub(super) struct Unread(Home);

/// A body that is read. What is left of it goes home.
struct Lent {
    body: Option<Incoming>,
    home: Home,
}

impl Unread {
    /// A body to be read, and what will be left of it; `None`: there is nothing to read.
    pub(super) fn of(body: Incoming) -> (Body, Option<Self>) {
        if body.is_end_stream() {
            return (Body::new(body), None);
        }
        let home = Home::default();
        (Body::new(Lent { body: Some(body), home: Arc::clone(&home) }), Some(Self(home)))
    }

    /// Reads what is left, if it is little, and the sender does not wait to be asked for it. `false`: there is more.
    pub(super) async fn pass_over(self, waits_to_send: bool) -> bool {
        let Some(mut body) = self.0.lock().take() else { return true };
        if waits_to_send {
            return false;
        }
        let read = async {
            let mut passed = 0;
            while let Some(frame) = body.frame().await {
                let Ok(frame) = frame else { return false };
                passed += frame.data_ref().map_or(0, Bytes::len);
                if passed > SMALL {
                    return false;
                }
            }
            true
        };
        tokio::time::timeout(SOON, read).await.unwrap_or(false)
    }
}

impl hyper::body::Body for Lent {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, Incoming::size_hint)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        *self.home.lock() = self.body.take().filter(|body| !body.is_end_stream());
    }
}
