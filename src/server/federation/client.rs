//! Signed requests to other servers, over pooled connections.

use std::{
    fmt, io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use ruma::ServerName;
use rustls::ClientConfig;
use serde_json::value::RawValue;

use super::resolve::{ResolveError, Resolver};
use crate::server::{
    keys::Signer,
    outgoing::{
        connect::{USER_AGENT, connect},
        lines::Lines,
        pool::{Pool, Wire, innermost, pool},
        shares::{Held, Lost, Shares},
    },
};

/// The largest answer that is read, in bytes: keys, a profile, or what became of a transaction without PDUs.
/// Anybody can have us ask a server of theirs for its keys, so it is small.
const MAX_ANSWER: usize = 64 << 10;

/// Bytes that all answers beyond that have in memory together, and those of one server. They are counted twice: what is read is
/// copied.
const LARGE: (usize, usize) = (64 << 20, 32 << 20);

/// Bytes of an answer beyond which it is one of the largest, which are counted by themselves; and what these have.
const LARGEST: usize = 16 << 20;
const LARGEST_SHARES: (usize, usize) = (96 << 20, 48 << 20);

/// How long a peer may take to answer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes of what a server says about an error that are kept, at most: enough for the words of the specification.
const MAX_COMPLAINT: usize = 2_000;

/// How much of an answer is read, and how long it may take.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Bytes, at most.
    pub bytes: usize,
    /// From the look-up of the server to the last byte.
    pub time: Duration,
}

impl Bounds {
    /// What is small: keys, a profile, a template of an event.
    pub const SMALL: Self = Self { bytes: MAX_ANSWER, time: TIMEOUT };
}

/// Idle connections kept to one server, and for how long: past the two minutes after which a silent server
/// is reminded again, as a handshake costs ten reminders; and not as long as our own servers keep them.
const IDLE_CONNECTIONS: usize = 1;
const IDLE_TIMEOUT: Duration = Duration::from_secs(200);

/// Sends signed requests to other servers.
#[derive(Clone)]
pub struct Client {
    pool: Pool<Dialer>,
    resolver: Arc<Resolver>,
    signer: Arc<Signer>,
    lines: Lines,
    large: Shares,
    largest: Shares,
}

/// The JSON of an answer.
#[derive(Debug)]
pub struct Answer {
    text: Box<RawValue>,
    held: Option<Held>,
}

impl Answer {
    /// The JSON.
    pub fn get(&self) -> &str {
        self.text.get()
    }

    /// The same, not looked at.
    pub fn json(&self) -> &RawValue {
        &self.text
    }

    /// Whether it takes something of what all large answers may take.
    pub fn is_large(&self) -> bool {
        self.held.is_some()
    }

    /// What a large one takes of what all large answers may take: for who keeps what stands in it.
    pub fn held(self) -> Option<Held> {
        self.held
    }
}

/// Why a request to another server has no (good) answer.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The operator does not want that server to be spoken with.
    #[error("this server does not federate with it")]
    Refused,
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

impl From<Lost> for RequestError {
    fn from(lost: Lost) -> Self {
        Self::Answer(lost.to_string())
    }
}

impl RequestError {
    fn timed_out() -> Self {
        Self::Network("timed out".to_owned())
    }

    /// What the server says of the error, if it said something that can be read.
    pub fn complaint(&self) -> Option<Complaint> {
        let Self::Status(status, text) = self else { return None };
        let mut complaint: Complaint = serde_json::from_str(text).ok()?;
        complaint.status = *status;
        Some(complaint)
    }

    /// Whether the same request may be answered later: the server was not reached, or could not answer just then.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Resolve(_) | Self::Network(_) => true,
            Self::Status(status, _) => status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS,
            Self::Refused | Self::Answer(_) => false,
        }
    }

    /// Whether the server has no such endpoint, as opposed to no such thing.
    pub fn is_unrecognized(&self) -> bool {
        match self {
            Self::Status(StatusCode::METHOD_NOT_ALLOWED, _) => true,
            // Before there was a word for it, servers answered with a page of their own.
            Self::Status(StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST, _) => {
                self.complaint().is_none_or(|complaint| complaint.errcode == "M_UNRECOGNIZED")
            }
            Self::Refused | Self::Resolve(_) | Self::Network(_) | Self::Status(..) | Self::Answer(_) => false,
        }
    }
}

/// An error as a server words it.
#[derive(Clone, Debug, serde::Deserialize)]
pub struct Complaint {
    /// The HTTP status.
    #[serde(skip)]
    pub status: StatusCode,
    /// Such as `M_FORBIDDEN`.
    pub errcode: String,
    /// For people.
    #[serde(default)]
    pub error: String,
    /// Of a room whose version the asking server does not have.
    pub room_version: Option<String>,
}

impl Client {
    /// A client whose requests `signer` signs, over some of `lines`.
    pub fn new(resolver: Arc<Resolver>, tls: Arc<ClientConfig>, signer: Arc<Signer>, lines: Lines) -> Self {
        let dialer = Dialer { resolver: Arc::clone(&resolver), tls, lines: lines.clone() };
        let pool = pool(dialer, IDLE_CONNECTIONS, IDLE_TIMEOUT);
        let [large, largest] = [LARGE, LARGEST_SHARES].map(|(all, for_one)| Shares::new(all, for_one));
        Self { pool, resolver, signer, lines, large, largest }
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
    ) -> Result<Answer, RequestError> {
        self.ask(destination, (method, path), body, Bounds::SMALL).await
    }

    /// The same for an answer that may be larger, or take longer. A large one may have to end for others.
    ///
    /// # Errors
    /// Like [`Self::request`].
    pub async fn ask(
        &self,
        destination: &ServerName,
        (method, path): (Method, &str),
        body: Option<Bytes>,
        bounds: Bounds,
    ) -> Result<Answer, RequestError> {
        let request = Request::builder().method(method).header(header::USER_AGENT, USER_AGENT);
        self.send(destination, (request, path), body, bounds).await
    }

    /// Sends a signed request without anything that is not needed, to which there is no answer but that
    /// it was taken.
    ///
    /// # Errors
    /// Like [`Self::request`].
    pub async fn tell(&self, destination: &ServerName, path: &str) -> Result<(), RequestError> {
        let request = Request::builder().method(Method::GET);
        self.send(destination, (request, path), None, Bounds::SMALL).await.map(drop)
    }

    /// Sends a signed request, and returns the answer as it comes, if it is a good one.
    ///
    /// # Errors
    /// Like [`Self::request`].
    pub async fn open(
        &self,
        destination: &ServerName,
        path: &str,
    ) -> Result<Response<Incoming>, RequestError> {
        self.open_with(destination, (Method::GET, path), None, TIMEOUT).await
    }

    /// The same for a request of any kind, of which the answer may take `patience` to begin.
    ///
    /// # Errors
    /// Like [`Self::request`].
    pub async fn open_with(
        &self,
        destination: &ServerName,
        (method, path): (Method, &str),
        body: Option<Bytes>,
        patience: Duration,
    ) -> Result<Response<Incoming>, RequestError> {
        let request = Request::builder().method(method).header(header::USER_AGENT, USER_AGENT);
        let exchange = async {
            let request = self.signed(destination, request, path, body).await?;
            // Without a turn: those are for what is small.
            let answer =
                self.pool.request(request).await.map_err(|e| RequestError::Network(innermost(&e)))?;
            match answer.status() {
                StatusCode::OK => Ok(answer),
                status => Err(complaint(status, answer).await),
            }
        };
        tokio::time::timeout(patience, exchange).await.unwrap_or_else(|_| Err(RequestError::timed_out()))
    }

    async fn send(
        &self,
        destination: &ServerName,
        (request, path): (http::request::Builder, &str),
        body: Option<Bytes>,
        bounds: Bounds,
    ) -> Result<Answer, RequestError> {
        let exchange = async {
            let request = self.signed(destination, request, path, body).await?;
            let _turn = self.lines.turn(destination.as_str()).await;
            self.exchange(destination, request, bounds.bytes).await
        };
        tokio::time::timeout(bounds.time, exchange).await.unwrap_or_else(|_| Err(RequestError::timed_out()))
    }

    async fn signed(
        &self,
        destination: &ServerName,
        request: http::request::Builder,
        path: &str,
        body: Option<Bytes>,
    ) -> Result<Request<Full<Bytes>>, RequestError> {
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
        Ok(request)
    }

    async fn exchange(
        &self,
        destination: &ServerName,
        request: Request<Full<Bytes>>,
        most: usize,
    ) -> Result<Answer, RequestError> {
        let response = self.pool.request(request).await.map_err(|e| RequestError::Network(innermost(&e)))?;
        let status = response.status();
        if !status.is_success() {
            return Err(complaint(status, response).await);
        }
        let (body, held) = self.read(destination, response, most).await?;
        if status == StatusCode::NO_CONTENT {
            return Ok(Answer { text: RawValue::NULL.to_owned(), held: None });
        }
        let parse = move || serde_json::from_slice(&body).map_err(|e| RequestError::Answer(e.to_string()));
        let text = match held {
            // What is large takes a while.
            Some(_) => tokio::task::spawn_blocking(parse)
                .await
                .map_err(|e| RequestError::Answer(e.to_string()))??,
            None => parse()?,
        };
        Ok(Answer { text, held })
    }

    /// Reads an answer; what is beyond a small one, as long as there is room for it.
    async fn read(
        &self,
        destination: &ServerName,
        answer: Response<Incoming>,
        most: usize,
    ) -> Result<(Vec<u8>, Option<Held>), RequestError> {
        let shares = if most > LARGEST { &self.largest } else { &self.large };
        let (mut body, mut bytes, mut held) = (answer.into_body(), Vec::new(), None::<Held>);
        loop {
            let frame = match &held {
                Some(held) => held.or_lost(body.frame()).await?,
                None => body.frame().await,
            };
            let Some(frame) = frame else { break };
            let frame = frame.map_err(|e| RequestError::Network(innermost(&e)))?;
            let Ok(piece) = frame.into_data() else { continue };
            let length = bytes.len() + piece.len();
            if length > most {
                return Err(RequestError::Answer(format!("it has more than {most} bytes")));
            }
            if length > MAX_ANSWER {
                let held = held.get_or_insert_with(|| shares.open(destination.as_str()));
                held.grow(2 * length).await?;
            }
            bytes.extend_from_slice(&piece);
        }
        if let Some(held) = &mut held {
            held.shrink(2 * bytes.len());
        }
        Ok((bytes, held))
    }
}

/// What a server says about an error.
async fn complaint(status: StatusCode, answer: Response<Incoming>) -> RequestError {
    match read(answer, MAX_ANSWER).await {
        Ok(body) => {
            RequestError::Status(status, String::from_utf8_lossy(&body).chars().take(MAX_COMPLAINT).collect())
        }
        Err(e) => e,
    }
}

async fn read(answer: Response<Incoming>, most: usize) -> Result<Bytes, RequestError> {
    let body = Limited::new(answer.into_body(), most).collect().await;
    body.map(|body| body.to_bytes()).map_err(|e| RequestError::Network(innermost(e.as_ref())))
}

/// Turns the server name in a URI into a connection.
#[derive(Clone)]
struct Dialer {
    resolver: Arc<Resolver>,
    tls: Arc<ClientConfig>,
    lines: Lines,
}

impl tower::Service<Uri> for Dialer {
    type Response = Wire;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Wire>> + Send>>;

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
            Ok(Wire::tls(stream, line))
        })
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("signer", &self.signer).finish_non_exhaustive()
    }
}
