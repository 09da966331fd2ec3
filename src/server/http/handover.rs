//! Answers for which HTTP is done with a connection: those that do not end, and those that take a while to come.
//!
//! What is said on it meanwhile costs a write to the socket and nothing else, and what a request needs while it is
//! answered (buffers, tasks, routes) is given back.

use std::{fmt, pin::Pin, sync::Arc};

use axum::response::Response;
use parking_lot::Mutex;
use tokio::net::TcpStream;

use super::{
    head::{self, Framing},
    places::Guest,
};
use crate::server::metrics::Class;

/// What is done with a connection until it ends.
pub type Talk = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The making of an answer.
pub type Making = Pin<Box<dyn Future<Output = Response> + Send>>;

type Begin = Box<dyn FnOnce(Socket) -> Talk + Send>;

/// Among the extensions of a request: its connection can be lent while its answer is made, see [`Handover::while_made`].
#[derive(Clone, Copy, Debug)]
pub struct Lendable;

/// Among the extensions of an answer: what becomes of its connection. Can be taken once.
#[derive(Clone)]
pub struct Handover(Arc<Mutex<Option<Wanted>>>);

enum Wanted {
    Socket(Begin),
    While(Making),
}

/// A connection on which nobody speaks HTTP any longer.
#[derive(Debug)]
pub struct Socket {
    /// The connection.
    pub stream: TcpStream,
    /// The head of the answer, to be written first.
    pub head: Vec<u8>,
}

impl Handover {
    /// The connection is for `begin`: the answer's head is this answer's, its body is whatever is written to the socket,
    /// until it is closed.
    pub fn to(begin: impl FnOnce(Socket) -> Talk + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(Some(Wanted::Socket(Box::new(begin))))))
    }

    /// The connection is nobody's until the answer is made, which is all that is said instead of this one; then HTTP goes
    /// on. Only for a request that says that it is [`Lendable`].
    pub fn while_made(making: Making) -> Self {
        Self(Arc::new(Mutex::new(Some(Wanted::While(making)))))
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

/// What waits there.
pub(super) enum Waiting {
    /// An answer of which only the head is said; `guest` is held until it ends.
    Open { head: Vec<u8>, guest: Option<Guest>, begin: Begin },
    /// An answer that is made.
    Made(Made),
}

/// An answer that is made.
pub(super) struct Made {
    pub(super) class: Class,
    /// Held until it is.
    pub(super) guest: Option<Guest>,
    pub(super) making: Making,
}

impl Counter {
    /// Takes what an answer wants done with its connection, if it does. Answers whether the request was answered by it.
    pub(super) fn put(&self, answer: &Response, class: Class, guest: Option<Guest>) -> Put {
        let wanted = answer.extensions().get::<Handover>().and_then(|handover| handover.0.lock().take());
        let (waiting, put) = match wanted {
            None => return Put::Nothing,
            Some(Wanted::Socket(begin)) => {
                let mut out = Vec::new();
                head::write(&mut out, answer, Framing::Close);
                (Waiting::Open { head: out, guest, begin }, Put::Open)
            }
            Some(Wanted::While(making)) => (Waiting::Made(Made { class, guest, making }), Put::Made),
        };
        *self.0.lock() = Some(waiting);
        put
    }

    /// What was put there.
    pub(super) fn take(&self) -> Option<Waiting> {
        self.0.lock().take()
    }
}

/// What became of an answer at the counter.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Put {
    /// It wants nothing.
    Nothing,
    /// It goes on without HTTP, but it is the answer.
    Open,
    /// The answer is another one, still to come.
    Made,
}

/// What is done with `stream` for an answer of which only the head is said.
pub(super) fn talk(stream: TcpStream, head: Vec<u8>, guest: Option<Guest>, begin: Begin) -> Talk {
    let talk = begin(Socket { stream, head });
    match guest {
        None => talk,
        Some(guest) => Box::pin(async move {
            talk.await;
            drop(guest);
        }),
    }
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
    fn an_answer_without_a_handover_keeps_http_and_one_with_it_is_taken_once() {
        let counter = Counter::default();
        let mut answer = Response::new(Body::empty());
        assert_eq!(counter.put(&answer, Class::Sync, None), Put::Nothing);
        let making = Box::pin(async { Response::new(Body::empty()) });
        answer.extensions_mut().insert(Handover::while_made(making));
        assert_eq!(counter.put(&answer, Class::Sync, None), Put::Made);
        assert_eq!(counter.put(&answer, Class::Sync, None), Put::Nothing);
        assert!(matches!(counter.take(), Some(Waiting::Made(_))));
        assert!(counter.take().is_none());
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
        let (proxies, requests) = (Proxies::new(Vec::new()), Arc::default());
        let door = Door { listener, tls: None, places, proxies, requests, shortcut: None };
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
}
