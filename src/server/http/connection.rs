//! One connection from its first request to its end: HTTP, and what it is not needed for.
//!
//! While an answer is on its way that takes a while, HTTP has let the connection go: all that is kept is the making of
//! the answer. Then the answer is written, and the next request read, and if it is again one that needs no router,
//! answered in the same way; with any other HTTP begins anew.

use std::{
    convert::Infallible,
    future::poll_fn,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    Router,
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use hyper::{
    body::{Body as _, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
};
use tower::Service;

use super::{
    handover::{Counter, Lendable, Made, Making, Put, Talk, Waiting, talk},
    head::{self, Framing},
    patience::{Patient, Phase},
    places::{Guest, Places, RETRY_AFTER_S, TOO_MANY},
    proxies::Proxies,
    unread::Unread,
};
use crate::server::{
    limits::Origin,
    metrics::{Class, Requests},
};

/// Answers requests that come often without a router; `None`: not this one.
pub type Shortcut = Arc<dyn Fn(&Request<()>) -> Option<Making> + Send + Sync>;

/// Bodies up to this size are written together with their heads, in bytes.
const SMALL: usize = 16 << 10;

/// What the connections of a door share.
pub(super) struct House {
    pub(super) router: Router,
    pub(super) shortcut: Option<Shortcut>,
    pub(super) places: Places,
    pub(super) proxies: Proxies,
    pub(super) requests: Arc<Requests>,
}

/// One connection.
pub(super) struct Connection {
    pub(super) house: Arc<House>,
    pub(super) peer: SocketAddr,
    pub(super) phase: Arc<Phase>,
    pub(super) stopped: watch::Receiver<bool>,
}

/// The answer to one request. Boxed: a connection has no room for it while there is none.
type Answer = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

/// Says when connections have to come to their end.
struct Stop(Option<Pin<Box<dyn Future<Output = ()> + Send>>>);

impl Stop {
    fn new(mut stopped: watch::Receiver<bool>) -> Self {
        Self(Some(Box::pin(async move {
            if stopped.wait_for(|stopped| *stopped).await.is_err() {
                tracing::trace!("nobody is left to say it when the door is gone");
            }
        })))
    }

    /// Ready once they have to.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(stopped) = &mut self.0 {
            std::task::ready!(stopped.as_mut().poll(cx));
            self.0 = None;
        }
        Poll::Ready(())
    }
}

impl Connection {
    /// Serves a client. Answers with what is done with the connection without HTTP, until it ends.
    pub(super) async fn serve_client(
        self,
        mut stream: Patient<TcpStream>,
    ) -> Result<Option<Talk>, hyper::Error> {
        let mut stop = Stop::new(self.stopped.clone());
        // Who says nothing has nothing of HTTP.
        while self.begins(&mut stream, &mut stop).await {
            let made = match self.shortcut(&mut stream) {
                Some(made) => made,
                None => {
                    let counter = Arc::new(Counter::default());
                    // Boxed, and gone before the waiting begins.
                    let http = Box::pin(self.http(http(), stream, Some(Arc::clone(&counter)), &mut stop));
                    let Some(handed_over) = http.await? else { return Ok(None) };
                    stream = handed_over;
                    match counter.take() {
                        None => break,
                        Some(Waiting::Open { head, guest, begin }) => {
                            return Ok(Some(talk(stream.into_inner(), head, guest, begin)));
                        }
                        Some(Waiting::Made(made)) => made,
                    }
                }
            };
            if !self.answer_by_itself(&mut stream, made).await {
                break;
            }
        }
        end(stream).await;
        Ok(None)
    }

    /// Serves another server, or whoever comes by TLS.
    pub(super) async fn serve_server<S>(
        self,
        http: http1::Builder,
        stream: Patient<S>,
    ) -> Result<(), hyper::Error>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut stop = Stop::new(self.stopped.clone());
        self.http(http, stream, None, &mut stop).await.map(drop)
    }

    /// Speaks HTTP until that ends. Answers with the stream when an answer took it for itself, at the `counter`.
    async fn http<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        &self,
        http: http1::Builder,
        stream: Patient<S>,
        counter: Option<Arc<Counter>>,
        stop: &mut Stop,
    ) -> Result<Option<Patient<S>>, hyper::Error> {
        let (house, peer, phase) = (Arc::clone(&self.house), self.peer, Arc::clone(&self.phase));
        let service = service_fn(move |request| answer(&house, peer, &phase, counter.as_ref(), request));
        let mut connection = http.serve_connection(TokioIo::new(stream), service);
        let mut is_stopping = false;
        poll_fn(|cx| {
            if !is_stopping && stop.poll(cx).is_ready() {
                is_stopping = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
            connection.poll_without_shutdown(cx)
        })
        .await?;
        let http1::Parts { io, read_buf, .. } = connection.into_parts();
        let mut stream = io.into_inner();
        if self.phase.is_handed_over() {
            stream.unread(&read_buf);
            return Ok(Some(stream));
        }
        end(stream).await;
        Ok(None)
    }

    /// Waits until something of a request has come. `false`: nothing will.
    async fn begins(&self, stream: &mut Patient<TcpStream>, stop: &mut Stop) -> bool {
        let begins = poll_fn(|cx| match stop.poll(cx) {
            Poll::Ready(()) => Poll::Ready(false),
            Poll::Pending if !stream.ahead().is_empty() => Poll::Ready(true),
            Poll::Pending => stream.poll_ahead(cx).map(|read| read.is_ok()),
        });
        begins.await
    }

    /// Writes an answer when it is made. Whether the connection goes on.
    async fn answer_by_itself(&self, stream: &mut Patient<TcpStream>, made: Made) -> bool {
        self.phase.begin_answer();
        let Some(answer) = self.made(stream, made).await else { return false };
        let is_last = *self.stopped.borrow();
        match write(stream, answer, is_last).await {
            Ok(is_last) => {
                self.phase.end_answer();
                !is_last
            }
            Err(e) => {
                tracing::trace!(error = %e, "an answer is not taken");
                false
            }
        }
    }

    /// The answer when it is made; `None`: whoever waits for it has gone.
    async fn made(&self, stream: &mut Patient<TcpStream>, made: Made) -> Option<Response> {
        let Made { class, guest, mut making } = made;
        let answer = poll_fn(|cx| match making.as_mut().poll(cx) {
            Poll::Ready(answer) => Poll::Ready(Some(answer)),
            Poll::Pending => stream.poll_gone(cx).map(|()| None),
        });
        let answer = answer.await?;
        drop(guest);
        self.house.requests.count(class, answer.status());
        Some(answer)
    }

    /// Takes the request that has come, if it needs no router.
    fn shortcut(&self, stream: &mut Patient<TcpStream>) -> Option<Made> {
        let shortcut = self.house.shortcut.as_ref()?;
        let (request, length) = head::brief(stream.ahead())?;
        let (_, guest) = self.house.admit(self.peer, request.headers());
        let (making, guest) = match guest {
            Some(guest) => (shortcut(&request)?, guest),
            None => (Box::pin(std::future::ready(too_many())) as Making, None),
        };
        stream.take_ahead(length);
        Some(Made { class: Class::of(request.uri().path()), guest, making })
    }
}

impl House {
    /// Where a request comes from that `peer` sends, and its place among those from there, which it needs when it was handed
    /// in by a proxy; `None`: there is none.
    fn admit(&self, peer: SocketAddr, headers: &HeaderMap) -> (Origin, Option<Option<Guest>>) {
        let origin = self.proxies.origin(Some(peer.ip()), headers);
        let is_forwarded = self.proxies.forwarded(peer.ip(), headers).is_some();
        (origin, if is_forwarded { self.places.admit(origin).map(Some) } else { Some(None) })
    }
}

/// Answers a request that HTTP has read. With a `counter` the answer may take the connection.
fn answer(
    house: &Arc<House>,
    peer: SocketAddr,
    phase: &Arc<Phase>,
    counter: Option<&Arc<Counter>>,
    request: Request<Incoming>,
) -> Answer {
    phase.begin_answer();
    let class = Class::of(request.uri().path());
    let waits_to_send = request.headers().contains_key(header::EXPECT);
    let (head, body) = request.into_parts();
    let (body, unread) = Unread::of(body);
    let mut request = Request::from_parts(head, body);
    let (origin, guest) = house.admit(peer, request.headers());
    request.extensions_mut().insert(origin);
    // What follows a body of which the end is known is the next request, once the body is read.
    let is_post = request.method() == Method::POST;
    let ends_by_itself = unread.is_none() || is_post && request.body().size_hint().exact().is_some();
    let may_take = request.method() == Method::GET || is_post && ends_by_itself;
    let counter = counter.filter(|_| may_take).cloned();
    if counter.is_some() && ends_by_itself && head::goes_on(&request) {
        request.extensions_mut().insert(Lendable);
    }
    let answer = guest.map(|guest| (house.router.clone().call(request), guest));
    let (house, phase) = (Arc::clone(house), Arc::clone(phase));
    Box::pin(async move {
        let (answer, guest) = match answer {
            Some((answer, guest)) => (answer.await, guest),
            None => (Ok(too_many()), None),
        };
        let Ok(answer) = answer;
        let put = counter.map_or(Put::Nothing, |counter| counter.put(&answer, class, guest));
        if put != Put::Made {
            house.requests.count(class, answer.status());
        }
        if put != Put::Nothing {
            phase.hand_over().await;
            return Ok(ends(Response::new(Body::empty())));
        }
        let goes_on = match unread {
            Some(unread) => unread.pass_over(waits_to_send).await,
            None => true,
        };
        let answer = if goes_on { answer } else { ends(answer) };
        phase.end_answer();
        Ok(answer)
    })
}

/// Writes an answer, and says so if it is the last; answers whether it was.
async fn write(stream: &mut Patient<TcpStream>, answer: Response, is_last: bool) -> std::io::Result<bool> {
    let framing = match (answer.body().size_hint().exact(), is_last) {
        (Some(length), false) => Framing::Length(length),
        (Some(length), true) => Framing::LastLength(length),
        (None, _) => Framing::Close,
    };
    let mut out = Vec::with_capacity(512);
    head::write(&mut out, &answer, framing);
    let mut body = answer.into_body();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(std::io::Error::other)?;
        let Ok(piece) = frame.into_data() else { continue };
        if out.len() + piece.len() > SMALL {
            stream.write_all(&out).await?;
            out.clear();
        }
        if piece.len() > SMALL {
            stream.write_all(&piece).await?;
        } else {
            out.extend_from_slice(&piece);
        }
    }
    stream.write_all(&out).await?;
    stream.flush().await?;
    Ok(framing.is_last())
}

/// Closes a connection in order.
async fn end<S: AsyncWrite + Unpin>(mut stream: Patient<S>) {
    if let Err(e) = stream.shutdown().await {
        tracing::trace!(error = %e, "a connection was closed before");
    }
}

/// An answer after which there is no other on its connection.
fn ends(mut answer: Response) -> Response {
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    answer
}

/// How connections speak. The times are [`Patient`]'s.
pub(super) fn http() -> http1::Builder {
    let mut http = http1::Builder::new();
    http.max_buf_size(8192).timer(TokioTimer::new()).header_read_timeout(None);
    http
}

/// The answer to a request that a proxy handed in for somebody who has enough of them under way.
fn too_many() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    ];
    let mut answer = (StatusCode::TOO_MANY_REQUESTS, headers, TOO_MANY).into_response();
    answer.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER_S.into());
    answer
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, duplex};

    use super::*;
    use crate::server::http::Handover;

    /// Tens of thousands wait at once.
    #[test]
    fn what_is_left_of_a_connection_is_small() {
        fn size<F: Future>(_: impl FnOnce(Connection, Patient<TcpStream>) -> F) -> usize {
            size_of::<F>()
        }
        let size = size(Connection::serve_client);
        assert!(size <= 1280, "{size} bytes");
    }

    /// A connection to a server with two answers: one without a body, and one that takes a while, and those who speak on
    /// its two ends.
    fn connection(room: usize) -> (Connection, Patient<tokio::io::DuplexStream>, tokio::io::DuplexStream) {
        let making = || Box::pin(async { Response::new(Body::empty()) }) as Making;
        let later = move || async move {
            let mut answer = Response::new(Body::empty());
            answer.extensions_mut().insert(Handover::while_made(making()));
            answer
        };
        let house = House {
            router: Router::new().route("/empty", get(|| async {})).route("/later", get(later)),
            shortcut: None,
            places: Places::new(10, 10),
            proxies: Proxies::new(Vec::new()),
            requests: Arc::default(),
        };
        let (phase, (ours, theirs)) = (Phase::new(), duplex(room));
        let peer = ([127, 0, 0, 1], 1).into();
        let stopped = watch::channel(false).1;
        let stream = Patient::new(ours, Arc::clone(&phase), std::time::Duration::from_secs(120));
        (Connection { house: Arc::new(house), peer, phase, stopped }, stream, theirs)
    }

    #[tokio::test]
    async fn answers_before_one_that_takes_the_connection_go_out_and_requests_behind_it_are_given_back() {
        const COUNT: usize = 50;
        let (connection, stream, theirs) = connection(1 << 10);
        let request = |path: &str| format!("GET {path} HTTP/1.1\r\n\r\n");
        let behind = request("/behind");
        let all = request("/empty").repeat(COUNT) + &request("/later") + &behind;
        let counter = Arc::new(Counter::default());
        let at = Arc::clone(&counter);
        let served = tokio::spawn(async move {
            // Nobody says when to stop.
            let mut stop = Stop(Some(Box::pin(std::future::pending())));
            connection.http(http(), stream, Some(at), &mut stop).await
        });
        let (mut reading, mut writing) = tokio::io::split(theirs);
        let written = tokio::spawn(async move {
            writing.write_all(all.as_bytes()).await.expect("is taken");
            writing
        });
        let (mut said, mut piece) = (String::new(), [0; 100]);
        let heads = |said: &str| said.matches("\r\n\r\n").count();
        while heads(&said) < COUNT {
            let count = reading.read(&mut piece).await.expect("comes");
            assert!(count > 0, "{} of {COUNT} answers", heads(&said));
            said += std::str::from_utf8(&piece[..count]).expect("text");
            tokio::task::yield_now().await;
        }
        let stream = served.await.expect("no panic").expect("no error").expect("is handed over");
        assert_eq!(stream.ahead(), behind.as_bytes());
        assert!(matches!(counter.take(), Some(Waiting::Made(_))));
        assert!(said.ends_with("\r\n\r\n") && !said.contains("close"), "{said}");
        drop((stream, written.await.expect("no panic")));
        assert_eq!(reading.read(&mut piece).await.expect("ends"), 0, "nothing else was said");
    }
}
