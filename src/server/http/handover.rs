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
    use axum::{Router, body::Body, routing::get};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
        sync::oneshot,
    };

    use super::*;
    use crate::server::http::{Door, Places, proxies::Proxies};

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

    #[tokio::test]
    async fn what_was_asked_before_is_answered_whole_and_what_is_asked_after_is_not() {
        const LARGE: usize = 16 << 20;
        let talk = || async {
            let mut answer = Response::new(Body::empty());
            answer.extensions_mut().insert(Handover::to(|Socket { mut stream, head }| {
                Box::pin(async move {
                    for bytes in [&head[..], b"the end"] {
                        stream.write_all(bytes).await.expect("is taken");
                    }
                })
            }));
            answer
        };
        let router = Router::new();
        let router = router.route("/large", get(|| async { vec![b'x'; LARGE] })).route("/talk", get(talk));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("has one");
        let places = Places::new(8, 8);
        let door =
            Door { listener, tls: None, places, proxies: Proxies::new(Vec::new()), requests: Arc::default() };
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(door.serve(router, async move { drop(stopped.await) }));
        let mut client = TcpStream::connect(address).await.expect("connects");
        for path in ["/large", "/talk", "/large"] {
            let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
            client.write_all(request.as_bytes()).await.expect("is sent");
        }
        let mut all = Vec::new();
        // What was asked after it and never read may end the connection with a reset.
        client.read_to_end(&mut all).await.ok();
        let body = all.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
        let rest = all.get(body + LARGE..).unwrap_or_default();
        let rest = str::from_utf8(rest).expect("is text");
        assert!(rest.starts_with("HTTP/1.1 200 OK\r\n") && rest.ends_with("\r\n\r\nthe end"), "{rest}");
        drop(stop);
        server.await.expect("ends");
    }

    #[test]
    fn an_answer_without_a_handover_keeps_http() {
        assert!(!Counter::default().put(&Response::new(Body::empty()), None));
    }
}
