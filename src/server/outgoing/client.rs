//! Requests to places that are named by URL, each with a bounded answer in bounded time.

use std::{
    fmt, io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use rustls::pki_types::ServerName as TlsName;

use super::{
    addresses::Allowed,
    connect::{USER_AGENT, connect, connect_plain},
    lines::Lines,
    look_ups::{LookUps, MAX_LOOK_UPS},
    pool::{Pool, Wire, innermost, pool},
    tls::Trust,
};

/// How long a connection on which nothing is said is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);

/// Where a client may go.
#[derive(Clone, Debug)]
pub enum Reach {
    /// To public addresses and those that are allowed: the URLs come from users.
    Public(Allowed),
    /// Anywhere: the URLs come from the operator.
    Anywhere,
}

/// What one request may take.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// From the turn to ask until the whole answer is there, and for the wait before it as well.
    pub timeout: Duration,
    /// The largest body of an answer, in bytes.
    pub largest_answer: usize,
}

/// Asks places that are named by URL. Cheap to clone: clones share connections.
#[derive(Clone)]
pub struct Client {
    pool: Pool<Dialer>,
    lines: Lines,
}

/// Why a request has no answer. It says what the network said, never what is in the request.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// This is no URL with `http` or `https` and a host.
    #[error("no URL with http or https and a host")]
    Url,
    /// Nobody answered, in time, within the bounds, and as HTTP has it.
    #[error("no answer: {0}")]
    Network(String),
}

impl Client {
    /// A client that goes where `reach` lets it, believes whom `trust` names, and has at most so many `connections` at a time,
    /// of which half may be kept while nothing is said on them. One host is asked `for_one` things at a time.
    pub fn new(reach: Reach, trust: Arc<Trust>, connections: usize, for_one: usize) -> Self {
        let lines = Lines::with(connections, for_one);
        let look_ups = LookUps::new(MAX_LOOK_UPS);
        let dialer = Dialer { reach, trust, lines: lines.clone(), look_ups };
        Self { pool: pool(dialer, for_one, IDLE_TIMEOUT), lines }
    }

    /// Sends a request, and returns the answer whatever its status is. Redirects are not followed. Requests to one host wait
    /// for each other, beyond a few at a time.
    ///
    /// # Errors
    /// [`SendError`] says whether the URL or the network is at fault.
    pub async fn send(
        &self,
        mut request: Request<Bytes>,
        bounds: Bounds,
    ) -> Result<Response<Bytes>, SendError> {
        let origin = origin(request.uri()).ok_or(SendError::Url)?;
        request.headers_mut().insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        let late = |_| SendError::Network("timed out".to_owned());
        let _turn = tokio::time::timeout(bounds.timeout, self.lines.turn(&origin)).await.map_err(late)?;
        let exchange = self.exchange(request.map(Full::new), bounds.largest_answer);
        tokio::time::timeout(bounds.timeout, exchange).await.map_err(late)?
    }

    async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
        largest_answer: usize,
    ) -> Result<Response<Bytes>, SendError> {
        let network = |e: &(dyn std::error::Error + 'static)| SendError::Network(innermost(e));
        let (head, body) = self.pool.request(request).await.map_err(|e| network(&e))?.into_parts();
        let body = Limited::new(body, largest_answer).collect().await.map_err(|e| network(e.as_ref()))?;
        Ok(Response::from_parts(head, body.to_bytes()))
    }
}

/// The scheme, host and port of a URL that can be asked: with another scheme it is another place.
pub fn origin(url: &Uri) -> Option<String> {
    let scheme = url.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https"))?;
    let authority = url.authority().filter(|authority| !authority.host().is_empty())?;
    // What stands before an @ is a name and a password, which nobody here sends.
    (!authority.as_str().contains('@')).then(|| format!("{scheme}://{authority}"))
}

/// Turns the host in a URL into a connection.
#[derive(Clone)]
struct Dialer {
    reach: Reach,
    trust: Arc<Trust>,
    lines: Lines,
    look_ups: LookUps,
}

impl Dialer {
    async fn dial(self, url: Uri) -> io::Result<Wire> {
        let host = url.host().ok_or(io::ErrorKind::InvalidInput)?;
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let is_tls = url.scheme_str() == Some("https");
        let port = url.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let found = self.look_ups.find(bare, port).await?;
        let addresses = match &self.reach {
            Reach::Public(allowed) => allowed.among(&found)?,
            Reach::Anywhere => found,
        };
        let line = self.lines.take().await?;
        if !is_tls {
            return Ok(Wire::plain(connect_plain(&addresses).await?, line));
        }
        let name = TlsName::try_from(bare.to_owned()).map_err(io::Error::other)?;
        let tls = self.trust.client_config().map_err(io::Error::other)?;
        Ok(Wire::tls(connect(&addresses, &name, &tls).await?, line))
    }
}

impl tower::Service<Uri> for Dialer {
    type Response = Wire;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Wire>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, url: Uri) -> Self::Future {
        Box::pin(self.clone().dial(url))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::{SocketAddr, TcpListener},
        thread,
    };

    use super::{super::lines::FOR_ONE, *};

    const BOUNDS: Bounds = Bounds { timeout: Duration::from_secs(10), largest_answer: 64 };

    fn client(reach: Reach) -> Client {
        let trust = Trust::new(&[] as &[std::path::PathBuf]).expect("nothing to read");
        Client::new(reach, Arc::new(trust), 2, FOR_ONE)
    }

    fn loopback() -> Reach {
        Reach::Public(Allowed(vec!["127.0.0.0/8".parse().expect("a network")]))
    }

    /// Answers each connection with the next of `answers`, or with silence; then nobody is there.
    fn peer(answers: Vec<Option<String>>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        thread::spawn(move || {
            let mut silent = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().expect("a connection");
                let mut head = [0; 4096];
                assert!(stream.read(&mut head).expect("a request") > 0);
                match answer {
                    Some(answer) => stream.write_all(answer.as_bytes()).expect("is sent"),
                    None => silent.push(stream),
                }
            }
            thread::park();
        });
        address
    }

    fn answer(status: &str, body: &str) -> Option<String> {
        let length = body.len();
        Some(format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"))
    }

    fn request(url: &str) -> Request<Bytes> {
        Request::post(url).body(Bytes::from_static(b"{}")).expect("a request")
    }

    #[tokio::test]
    async fn an_answer_comes_with_its_status_and_a_redirect_is_one() {
        let at = peer(vec![
            answer("404 Not Found", "{}"),
            answer("302 Found\r\nlocation: http://127.0.0.1:1/", ""),
        ]);
        let client = client(loopback());
        let url = format!("http://{at}/x");
        let got = client.send(request(&url), BOUNDS).await.expect("is answered");
        assert_eq!((got.status().as_u16(), &got.body()[..]), (404, &b"{}"[..]));
        assert_eq!(client.send(request(&url), BOUNDS).await.expect("is answered").status().as_u16(), 302);
    }

    #[tokio::test]
    async fn an_answer_is_bounded_in_size_and_time() {
        let at = peer(vec![answer("200 OK", &"x".repeat(65)), None]);
        let client = client(Reach::Anywhere);
        let url = format!("http://{at}/x");
        let long = client.send(request(&url), BOUNDS).await.expect_err("is too long").to_string();
        assert!(long.contains("length limit"), "{long}");
        let hasty = Bounds { timeout: Duration::from_millis(100), ..BOUNDS };
        let late = client.send(request(&url), hasty).await.expect_err("is silent").to_string();
        assert_eq!(late, "no answer: timed out");
    }

    #[tokio::test]
    async fn who_is_named_by_a_user_is_not_private_unless_allowed() {
        let at = peer(vec![answer("200 OK", ""), answer("200 OK", "")]);
        let (port, strict) = (at.port(), client(Reach::Public(Allowed::default())));
        for host in ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0x7f.1", "2130706433", "0"] {
            let refused = strict.send(request(&format!("http://{host}:{port}/")), BOUNDS).await;
            let refused = refused.expect_err(host).to_string();
            assert!(refused.contains("may not be dialled"), "{host}: {refused}");
        }
        for reach in [loopback(), Reach::Anywhere] {
            let got = client(reach).send(request(&format!("http://{at}/")), BOUNDS).await;
            assert_eq!(got.expect("is answered").status().as_u16(), 200);
        }
    }

    #[tokio::test]
    async fn what_is_no_web_address_is_not_asked() {
        let client = client(Reach::Anywhere);
        for url in ["/x", "ftp://a.example/", "http://user:word@a.example/", "file:///etc/passwd"] {
            let Ok(request) = Request::get(url).body(Bytes::new()) else { continue };
            assert!(matches!(client.send(request, BOUNDS).await, Err(SendError::Url)), "{url}");
        }
    }
}
