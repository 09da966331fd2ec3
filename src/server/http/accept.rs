//! The accept loop: small buffers per connection, a place for each, and an orderly end.

use std::{
    convert::Infallible,
    future::poll_fn,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, Method, Request, StatusCode, header};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};
use tower::Service;

use super::{
    handover::{Counter, Talk},
    patience::{Patient, Phase},
    places::{Guest, Places},
    proxies::Proxies,
    unread::Unread,
};
use crate::server::metrics::{Class, Requests};

/// How long requests in flight may take to end after the shutdown began.
const DRAIN: Duration = Duration::from_millis(2500);

/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a client's connection may be silent between two requests: longer than those who keep connections for
/// themselves, as proxies and clients do, so that it is they who end one, and none is ended while a request begins.
const CLIENT_SILENCE: Duration = Duration::from_secs(120);

/// How long another server's connection may be silent: longer than [`crate::server::federation::client`] lets
/// it be, and longer than the time between two reminders.
const SERVER_SILENCE: Duration = Duration::from_secs(210);

/// What somebody is told who has too many connections or requests under way, and when to come again.
const TOO_MANY: &str = r#"{"errcode":"M_LIMIT_EXCEEDED","error":"too many connections from one address","retry_after_ms":10000}"#;
const RETRY_AFTER_S: u64 = 10;

/// One listener's door.
#[derive(Debug)]
pub struct Door {
    /// Where connections come in.
    pub listener: TcpListener,
    /// With it, as between servers, each connection begins with a handshake, and is kept open longer; and answers
    /// have no `Date`, which nobody there reads.
    pub tls: Option<Arc<ServerConfig>>,
    /// How many there may be.
    pub places: Places,
    /// Who is believed about others' addresses.
    pub proxies: Proxies,
    /// Counts the answers.
    pub requests: Arc<Requests>,
}

/// All that HTTP does on one connection; what is left is done without it.
type Connection = Pin<Box<dyn Future<Output = Result<Option<Talk>, hyper::Error>> + Send>>;

/// The answer to one request. Boxed: a connection has no room for it while there is none.
type Answer = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

impl Door {
    /// Serves `router` until `shutdown` completes, then lets requests in flight end.
    pub async fn serve(self, router: Router, shutdown: impl Future<Output = ()>) {
        let (stop, stopped) = watch::channel(false);
        let mut shutdown = pin!(shutdown);
        loop {
            let accepted = async {
                // A place first: who finds none waits in the system's queue, and the files the database needs
                // are not taken.
                let place = self.places.free().await;
                (self.listener.accept().await, place)
            };
            let ((stream, peer), place) = tokio::select! {
                () = &mut shutdown => break,
                accepted = accepted => match accepted {
                    (Ok(accepted), place) => (accepted, place),
                    (Err(e), _) => {
                        // Out of file descriptors, or a connection gone before it was accepted: go on, slowly.
                        tracing::warn!(error = %e, "cannot accept a connection");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        continue;
                    }
                },
            };
            let Some(guest) = self.admit(peer) else {
                tracing::debug!("too many connections from one address");
                self.turn_away(&stream);
                continue;
            };
            if let Err(e) = stream.set_nodelay(true) {
                tracing::debug!(error = %e, "cannot set TCP_NODELAY");
            }
            let connection = self.connection(stream, peer, router.clone(), stopped.clone());
            let open = stopped.clone();
            tokio::spawn(async move {
                match connection.await {
                    Ok(Some(talk)) => talk.await,
                    Ok(None) => {}
                    Err(e) => tracing::trace!(error = %e, "connection ended early"),
                }
                drop((place, guest, open));
            });
        }
        drop((self.listener, stopped));
        stop.send_replace(true);
        tokio::select! {
            () = stop.closed() => {}
            () = tokio::time::sleep(DRAIN) => tracing::warn!("requests were still in flight at the end"),
        }
    }

    /// Lets a connection in, unless there are enough of its address. A proxy's are as many as it likes: what it
    /// hands in counts for others.
    fn admit(&self, peer: SocketAddr) -> Option<Option<Guest>> {
        if self.proxies.contain(peer.ip()) {
            return Some(None);
        }
        self.places.admit(self.proxies.origin(Some(peer.ip()), &http::HeaderMap::new())).map(Some)
    }

    /// Tells a client why it is not let in, if that can be done at once.
    fn turn_away(&self, stream: &TcpStream) {
        if self.tls.is_some() {
            return;
        }
        let length = TOO_MANY.len();
        let answer = format!(
            "HTTP/1.1 429 Too Many Requests\r\ncontent-type: application/json\r\ncache-control: no-store\r\n\
             access-control-allow-origin: *\r\nretry-after: {RETRY_AFTER_S}\r\nconnection: close\r\n\
             content-length: {length}\r\n\r\n{TOO_MANY}"
        );
        if let Err(e) = stream.try_write(answer.as_bytes()) {
            tracing::trace!(error = %e, "who is not let in is not told");
        }
    }

    /// What is done with a connection. Boxed, each kind by itself: a task would hold what it is given twice, and
    /// room for TLS with it.
    fn connection(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        router: Router,
        stopped: watch::Receiver<bool>,
    ) -> Connection {
        let phase = Phase::new();
        let serve = Serve {
            router,
            peer,
            phase: Arc::clone(&phase),
            places: self.places.clone(),
            proxies: self.proxies.clone(),
            requests: Arc::clone(&self.requests),
            stopped,
        };
        match self.tls.clone() {
            None => Box::pin(async move {
                let counter = Arc::new(Counter::default());
                let stream = Patient::new(stream, phase, CLIENT_SILENCE);
                let stream = serve.http(http(), stream, Some(Arc::clone(&counter))).await?;
                Ok(stream.and_then(|stream| counter.hand_over(stream)))
            }),
            Some(tls) => Box::pin(async move {
                let handshake = TlsAcceptor::from(tls).accept(stream);
                match tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await {
                    Ok(Ok(stream)) => {
                        let mut http = http();
                        http.auto_date_header(false);
                        let stream = Patient::new(stream, phase, SERVER_SILENCE);
                        serve.http(http, stream, None).await?;
                        Ok(None)
                    }
                    Ok(Err(e)) => {
                        tracing::debug!(error = %e, "TLS handshake failed");
                        Ok(None)
                    }
                    Err(_) => {
                        tracing::debug!("TLS handshake timed out");
                        Ok(None)
                    }
                }
            }),
        }
    }
}

/// What one connection needs to be served.
struct Serve {
    router: Router,
    peer: SocketAddr,
    phase: Arc<Phase>,
    places: Places,
    proxies: Proxies,
    requests: Arc<Requests>,
    stopped: watch::Receiver<bool>,
}

impl Serve {
    /// Speaks HTTP until that ends. Answers with the stream when an answer took it for itself, at the `counter`.
    async fn http<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        self,
        http: http1::Builder,
        stream: Patient<S>,
        counter: Option<Arc<Counter>>,
    ) -> Result<Option<S>, hyper::Error> {
        let Self { router, peer, phase, places, proxies, requests, mut stopped } = self;
        let answering = Arc::clone(&phase);
        let service = service_fn(move |request: Request<Incoming>| -> Answer {
            answering.begin_answer();
            let class = Class::of(request.uri().path());
            let waits_to_send = request.headers().contains_key(header::EXPECT);
            let (head, body) = request.into_parts();
            let (body, unread) = Unread::of(body);
            let mut request = Request::from_parts(head, body);
            let origin = proxies.origin(Some(peer.ip()), request.headers());
            let forwarded = proxies.forwarded(peer.ip(), request.headers()).is_some();
            request.extensions_mut().insert(origin);
            let counter = counter.clone().filter(|_| request.method() == Method::GET);
            let guest = if forwarded { places.admit(origin).map(Some) } else { Some(None) };
            let answer = guest.map(|guest| (router.clone().call(request), guest));
            let (phase, requests) = (Arc::clone(&answering), Arc::clone(&requests));
            Box::pin(async move {
                let (answer, guest) = match answer {
                    Some((answer, guest)) => (answer.await, guest),
                    None => (Ok(too_many()), None),
                };
                let Ok(answer) = answer;
                requests.count(class, answer.status());
                if counter.is_some_and(|counter| counter.put(&answer, guest)) {
                    phase.hand_over().await;
                    return Ok(last());
                }
                let goes_on = match unread {
                    Some(unread) => unread.pass_over(waits_to_send).await,
                    None => true,
                };
                let answer = if goes_on { answer } else { ends(answer) };
                phase.end_answer();
                Ok(answer)
            })
        });
        let mut connection = http.serve_connection(TokioIo::new(stream), service);
        let mut is_stopping = false;
        loop {
            tokio::select! {
                served = poll_fn(|cx| connection.poll_without_shutdown(cx)) => break served?,
                // Nobody is left to say it when the door is gone.
                _ = stopped.wait_for(|stopped| *stopped), if !is_stopping => {
                    is_stopping = true;
                    Pin::new(&mut connection).graceful_shutdown();
                }
            }
        }
        let mut stream = connection.into_parts().io.into_inner();
        if phase.is_handed_over() {
            return Ok(Some(stream.into_inner()));
        }
        if let Err(e) = stream.shutdown().await {
            tracing::trace!(error = %e, "a connection was closed before");
        }
        Ok(None)
    }
}

/// What ends HTTP on a connection that is handed over; nobody reads it.
fn last() -> Response {
    ends(Response::new(Body::empty()))
}

/// An answer after which there is no other on its connection.
fn ends(mut answer: Response) -> Response {
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    answer
}

/// How connections speak. A long poll holds one for minutes: its memory is these buffers. The times are
/// [`Patient`]'s.
fn http() -> http1::Builder {
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
