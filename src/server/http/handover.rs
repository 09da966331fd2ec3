//! An answer that does not end: its connection is handed over to whoever made it, and HTTP is done with it.
//!
//! What is said on it from then on costs a write to the socket and nothing else, and what a request needs while it is
//! answered (buffers, tasks, routes) is given back.

use std::{fmt, pin::Pin, sync::Arc};

use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use parking_lot::Mutex;
use tokio::net::TcpStream;

use super::places::Guest;

/// What is done with a connection until it ends.
pub type Talk = Pin<Box<dyn Future<Output = ()> + Send>>;

type Begin = Box<dyn FnOnce(Socket) -> Talk + Send>;

/// Among the extensions of an answer: its head is this answer's, its body is whatever is written to the socket, until
/// it is closed. Can be taken once.
#[derive(Clone)]
pub struct Handover(Arc<Mutex<Option<Begin>>>);

/// A connection on which nobody speaks HTTP any longer.
#[derive(Debug)]
pub struct Socket {
    /// The connection.
    pub stream: TcpStream,
    /// The head of the answer, to be written first.
    pub head: Vec<u8>,
}

impl Handover {
    /// The connection is for `begin`.
    pub fn to(begin: impl FnOnce(Socket) -> Talk + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(Some(Box::new(begin)))))
    }
}

impl fmt::Debug for Handover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handover")
    }
}

/// Where an answer waits until HTTP has let the connection go.
#[derive(Default)]
pub(super) struct Counter(Mutex<Option<Waiting>>);

/// An answer of which only the head is said.
struct Waiting {
    head: Vec<u8>,
    guest: Option<Guest>,
    begin: Begin,
}

impl Counter {
    /// Takes what an answer wants done with its connection, if it does; `guest` is held until that ends.
    pub(super) fn put(&self, answer: &Response, guest: Option<Guest>) -> bool {
        let begin = answer.extensions().get::<Handover>().and_then(|handover| handover.0.lock().take());
        let Some(begin) = begin else { return false };
        *self.0.lock() = Some(Waiting { head: head(answer), guest, begin });
        true
    }

    /// What is done with `stream` from here on; `None`: it ends.
    pub(super) fn hand_over(&self, stream: TcpStream) -> Option<Talk> {
        let Waiting { head, guest, begin } = self.0.lock().take()?;
        let talk = begin(Socket { stream, head });
        Some(match guest {
            None => talk,
            Some(guest) => Box::pin(async move {
                talk.await;
                drop(guest);
            }),
        })
    }
}

/// The head of an answer whose body ends with the connection.
fn head(answer: &Response) -> Vec<u8> {
    let mut out = b"HTTP/1.1 ".to_vec();
    out.extend_from_slice(answer.status().as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(answer.status().canonical_reason().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
    let framing = [header::CONNECTION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING];
    let own: HeaderMap = [(header::CONNECTION, HeaderValue::from_static("close"))].into_iter().collect();
    let said = answer.headers().iter().filter(|(name, _): &(&HeaderName, _)| !framing.contains(name));
    for (name, value) in said.chain(&own) {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    #[test]
    fn the_head_is_the_answers_but_for_how_its_end_is_found() {
        let answer = Response::builder().status(200).header("content-type", "text/event-stream");
        let answer = answer.header("content-length", "0").header("vary", "origin");
        let head =
            String::from_utf8(head(&answer.body(Body::empty()).expect("an answer"))).expect("is ASCII");
        let lines = [
            "HTTP/1.1 200 OK",
            "content-type: text/event-stream",
            "vary: origin",
            "connection: close",
            "",
            "",
        ];
        assert_eq!(head, lines.join("\r\n"));
    }

    #[test]
    fn an_answer_without_a_handover_keeps_http() {
        assert!(!Counter::default().put(&Response::new(Body::empty()), None));
    }
}
