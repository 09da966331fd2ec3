//! Signed requests to other servers, over pooled connections.

use std::{
    fmt, io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::{
    client::legacy::{
        Client as Pool,
        connect::{Connected, Connection},
    },
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use ruma::ServerName;
use rustls::ClientConfig;
use serde_json::value::RawValue;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::server::keys::Signer;

use super::{
    connect::{USER_AGENT, connect},
    lines::{Line, Lines},
    resolve::{ResolveError, Resolver},
};

/// The largest answer that is read, in bytes: keys, a profile, or what became of a transaction without PDUs.
/// Anybody can have us ask a server of theirs for its keys, so it is small.
const MAX_ANSWER: usize = 64 << 10;

/// How long a peer may take to answer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Idle connections kept to one server, and for how long: past the two minutes after which a silent server
/// is reminded again, as a handshake costs ten reminders; and not as long as our own servers keep them.
const IDLE_CONNECTIONS: usize = 1;
const IDLE_TIMEOUT: Duration = Duration::from_secs(200);

/// Sends signed requests to other servers.
#[derive(Clone)]
pub struct Client {
    pool: Pool<Dialer, Full<Bytes>>,
    resolver: Arc<Resolver>,
    signer: Arc<Signer>,
    lines: Lines,
}

/// Why a request to another server has no (good) answer.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The server's name leads nowhere.
    #[error("{0}")]
    Resolve(ResolveError),
    /// Nobody answered, not over TLS, or not as HTTP has it.
    #[error("no answer: {0}")]
    Network(String),
    /// The server answered with an error.
    #[error("{0}: {1}")]
    Status(StatusCode, String),
    /// The answer is not what was asked for.
    #[error("unusable answer: {0}")]
    Answer(String),
}

impl Client {
    /// A client whose requests `signer` signs, over some of `lines`.
    pub fn new(resolver: Arc<Resolver>, tls: Arc<ClientConfig>, signer: Arc<Signer>, lines: Lines) -> Self {
        let dialer = Dialer { resolver: Arc::clone(&resolver), tls, lines: lines.clone() };
        Self { pool: pool(dialer, IDLE_TIMEOUT), resolver, signer, lines }
    }

    /// Sends a signed request with an optional JSON body, and returns the JSON of the answer.
    ///
    /// # Errors
    /// [`RequestError`] says whether the name, the network, the peer or its answer was at fault.
    pub async fn request(
        &self,
        destination: &ServerName,
        method: Method,
        path: &str,
        body: Option<Bytes>,
    ) -> Result<Box<RawValue>, RequestError> {
        let request = Request::builder().method(method).header(header::USER_AGENT, USER_AGENT);
        self.send(destination, request, path, body).await
    }

    /// Sends a signed request without anything that is not needed, to which there is no answer but that
    /// it was taken.
    ///
    /// # Errors
    /// Like [`Self::request`].
    pub async fn tell(&self, destination: &ServerName, path: &str) -> Result<(), RequestError> {
        self.send(destination, Request::builder().method(Method::GET), path, None).await.map(drop)
    }

    async fn send(
        &self,
        destination: &ServerName,
        request: http::request::Builder,
        path: &str,
        body: Option<Bytes>,
    ) -> Result<Box<RawValue>, RequestError> {
        let route = self.resolver.route(destination).await.map_err(RequestError::Resolve)?;
        // The pool keys its connections by this URI's authority; the dialer turns it back into a route.
        let uri: Uri = format!("https://{destination}{path}")
            .parse()
            .map_err(|e| RequestError::Answer(format!("{path}: {e}")))?;
        let mut request = request.uri(uri).header(header::HOST, &route.host);
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let request =
            request.body(body.unwrap_or_default()).map_err(|e| RequestError::Answer(e.to_string()))?;
        let signature = self
            .signer
            .sign_request(&request, destination)
            .map_err(|e| RequestError::Answer(e.to_string()))?;
        let mut request = request.map(Full::new);
        request.headers_mut().insert(header::AUTHORIZATION, (&signature).into());
        let exchange = async {
            let _turn = self.lines.turn(destination).await;
            self.exchange(request).await
        };
        tokio::time::timeout(TIMEOUT, exchange)
            .await
            .unwrap_or_else(|_| Err(RequestError::Network("timed out".to_owned())))
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Box<RawValue>, RequestError> {
        let network = |e: &(dyn std::error::Error + 'static)| RequestError::Network(innermost(e));
        let response = self.pool.request(request).await.map_err(|e| network(&e))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER)
            .collect()
            .await
            .map_err(|e| network(e.as_ref()))?
            .to_bytes();
        if !status.is_success() {
            let text: String = String::from_utf8_lossy(&body).chars().take(500).collect();
            return Err(RequestError::Status(status, text));
        }
        if status == StatusCode::NO_CONTENT {
            return Ok(RawValue::NULL.to_owned());
        }
        serde_json::from_slice(&body).map_err(|e| RequestError::Answer(e.to_string()))
    }
}

/// Connections made by `dialer`; one that was not used for as long as `idle` is closed.
fn pool<C>(dialer: C, idle: Duration) -> Pool<C, Full<Bytes>>
where
    C: hyper_util::client::legacy::connect::Connect + Clone,
{
    Pool::builder(TokioExecutor::new())
        .pool_max_idle_per_host(IDLE_CONNECTIONS)
        .pool_idle_timeout(idle)
        // Without it nobody looks for those that are idle for too long.
        .pool_timer(TokioTimer::new())
        .build(dialer)
}

/// The cause at the bottom of an error: "certificate expired" rather than "client error".
fn innermost(mut e: &(dyn std::error::Error + 'static)) -> String {
    while let Some(source) = e.source() {
        e = source;
    }
    e.to_string()
}

/// Turns the server name in a URI into a connection.
#[derive(Clone)]
struct Dialer {
    resolver: Arc<Resolver>,
    tls: Arc<ClientConfig>,
    lines: Lines,
}

impl tower::Service<Uri> for Dialer {
    type Response = Tls;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Tls>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let Self { resolver, tls, lines } = self.clone();
        Box::pin(async move {
            let name = uri.authority().map_or("", |a| a.as_str());
            let server = <&ServerName>::try_from(name).map_err(io::Error::other)?;
            let route = resolver.route(server).await.map_err(io::Error::other)?;
            let addresses = resolver.addresses(&route).await.map_err(io::Error::other)?;
            let line = lines.take().await?;
            let stream = connect(&addresses, &route.tls_name, &tls).await?;
            Ok(Tls(TokioIo::new(stream), line))
        })
    }
}

/// A TLS stream with what the pool asks of a connection.
struct Tls(TokioIo<TlsStream<TcpStream>>, Line);

impl Connection for Tls {
    fn connected(&self) -> Connected {
        let connected = Connected::new();
        if !self.1.is_kept() {
            // Good for one request: there has to be a line for the next server.
            connected.poison();
        }
        connected
    }
}

impl Read for Tls {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl Write for Tls {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("signer", &self.signer).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    #[tokio::test]
    async fn a_connection_on_which_nothing_is_said_is_closed() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let peer = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut head = [0; 4096];
            assert!(stream.read(&mut head).expect("a request") > 0);
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").expect("is sent");
            stream.set_read_timeout(Some(Duration::from_secs(60))).expect("can be set");
            stream.read(&mut head).expect("is closed in time")
        });
        let dialer = tower::service_fn(move |_: Uri| {
            Box::pin(async move { TcpStream::connect(address).await.map(TokioIo::new) })
        });
        let pool = pool(dialer, Duration::from_millis(100));
        let request = Request::get("http://peer/").body(Full::default()).expect("a request");
        assert_eq!(pool.request(request).await.expect("is answered").status(), StatusCode::OK);
        let closed = tokio::task::spawn_blocking(move || peer.join().expect("no panic"));
        assert_eq!(closed.await.expect("ends"), 0);
    }
}
