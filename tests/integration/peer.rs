//! A server of which the test decides every byte: keys, TLS and signatures are real, the rest is said here.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    time::Duration,
};

use pilotlight::server::outgoing::tls;
use ruma::{
    CanonicalJsonObject, OwnedEventId, OwnedServerName, ServerName,
    api::federation::authentication::{XMatrix, XMatrixSigningInput},
    room_version_rules::RoomVersionRules,
    serde::{Base64, base64::Standard},
    signatures::{Ed25519KeyPair, KeyPair, hash_and_sign_event, reference_hash, sign_json},
};
use rustls::{ClientConfig, ClientConnection, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use super::{
    authority::Authority,
    support::{Answer, http},
};

/// How long a server may stay silent.
const TIMEOUT: Duration = Duration::from_secs(60);

/// One server that follows a script.
pub struct Peer {
    pub name: OwnedServerName,
    key: Ed25519KeyPair,
    tls: Arc<ClientConfig>,
    heard: Arc<Mutex<Vec<Heard>>>,
    answers: Answers,
}

/// What it answers to requests whose path begins so: a status and a body, made of the path and the body of the request. With the
/// status 0 it never answers, with 1 it says all of a good answer but its last byte.
type Answers = Arc<Mutex<Vec<(String, Said)>>>;
type Said = Arc<dyn Fn(&str, &Value) -> (u16, Value) + Send + Sync>;

/// A request that came in.
#[derive(Clone, Debug)]
pub struct Heard {
    pub path: String,
    /// Null when there is none.
    pub body: Value,
    /// Whether it was answered with a good word.
    pub taken: bool,
}

/// A request to send; all of it can be changed before it is.
#[derive(Clone)]
pub struct Request {
    pub method: &'static str,
    pub path: String,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

/// A connection over TLS.
pub type Stream = StreamOwned<ClientConnection, TcpStream>;

impl Peer {
    /// Listens under a name of its own, and answers for its keys after `delay`; what Matrix does not have it
    /// does not know, and to everything else it answers as to a transaction that it liked. The listener ends
    /// with the process.
    pub fn start(ca: &Authority, delay: Duration) -> Self {
        Self::start_with_keys(ca, delay, |keys| keys)
    }

    /// The same, with something else in place of the document of its keys.
    pub fn start_with_keys(ca: &Authority, delay: Duration, said: impl FnOnce(String) -> String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let name: OwnedServerName = format!("localhost:{port}").try_into().expect("a server name");
        let key = Ed25519KeyPair::from_der(&Ed25519KeyPair::generate(), "1".to_owned()).expect("a key");
        let keys = Arc::<str>::from(said(key_document(&name, &key)));
        let config = tls::server_config(&ca.file("cert.pem"), &ca.file("key.pem")).expect("a certificate");
        let heard = Arc::<Mutex<Vec<Heard>>>::default();
        let log = Arc::clone(&heard);
        let answers = Answers::default();
        let said = Arc::clone(&answers);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (config, keys, log) = (Arc::clone(&config), Arc::clone(&keys), Arc::clone(&log));
                let said = Arc::clone(&said);
                std::thread::spawn(move || {
                    let connection = ServerConnection::new(config).expect("a connection");
                    let stream = StreamOwned::new(connection, stream.expect("a connection"));
                    answer(stream, &keys, delay, (&log, &said));
                });
            }
        });
        let tls = tls::client_config(&[ca.file("ca.pem")]).expect("an authority");
        Self { name, key, tls, heard, answers }
    }

    /// What others have said to this server.
    pub fn heard(&self) -> Vec<Heard> {
        self.heard.lock().expect("no panic").clone()
    }

    /// From here on answers so to requests whose path begins with `path`; what was said last counts. With the status 0
    /// it never answers.
    pub fn says(&self, path: &str, status: u16, body: Value) {
        self.answers_with(path, move |_| (status, body.clone()));
    }

    /// The same with an answer that is made of the body of each request.
    pub fn answers_with(&self, path: &str, said: impl Fn(&Value) -> (u16, Value) + Send + Sync + 'static) {
        self.answers_with_path(path, move |_, body| said(body));
    }

    /// The same with an answer that is made of the path and the body.
    pub fn answers_with_path(
        &self,
        path: &str,
        said: impl Fn(&str, &Value) -> (u16, Value) + Send + Sync + 'static,
    ) {
        self.answers.lock().expect("no panic").push((path.to_owned(), Arc::new(said)));
    }

    /// An event of a room with these rules, hashed and signed by this server; and its ID.
    pub fn event(&self, rules: &RoomVersionRules, event: Value) -> (OwnedEventId, Value) {
        let mut object: CanonicalJsonObject = serde_json::from_value(event).expect("canonical");
        hash_and_sign_event(self.name.as_str(), &self.key, &mut object, &rules.redaction)
            .expect("can be signed");
        let hash = reference_hash(&object, rules).expect("can be hashed");
        let id = OwnedEventId::try_from(format!("${hash}")).expect("an ID");
        (id, serde_json::to_value(object).expect("JSON"))
    }

    /// A transaction with these events, signed for the server `to`.
    pub fn pdus(&self, to: &ServerName, id: &str, pdus: &[Value]) -> Request {
        let body = json!({ "origin": self.name, "origin_server_ts": 1, "pdus": pdus });
        let path = format!("/_matrix/federation/v1/send/{id}");
        self.signed(to, "PUT", &path, body.to_string().as_bytes())
    }

    /// From here on no transaction is taken, or every one is again.
    pub fn refuse(&self, refuses: bool) {
        let (status, body) = if refuses {
            (503, json!({ "errcode": "M_UNKNOWN", "error": "away" }))
        } else {
            (200, json!({ "pdus": {} }))
        };
        self.says("/_matrix/federation/v1/send/", status, body);
    }

    /// The events in the transactions that were taken, in the order in which they came.
    pub fn events(&self) -> Vec<Value> {
        let pdus = |heard: Heard| heard.body["pdus"].as_array().cloned().unwrap_or_default();
        self.heard().into_iter().filter(|heard| heard.taken).flat_map(pdus).collect()
    }

    /// The EDUs of one type in the transactions that were taken: their contents, in the order in which they came.
    pub fn edus(&self, kind: &str) -> Vec<Value> {
        let edus = |heard: Heard| heard.body["edus"].as_array().cloned().unwrap_or_default();
        let all = self.heard().into_iter().filter(|heard| heard.taken).flat_map(edus);
        all.filter(|edu| edu["edu_type"] == kind).map(|edu| edu["content"].clone()).collect()
    }

    /// A request, signed for the server `to`.
    pub fn signed(&self, to: &ServerName, method: &'static str, path: &str, body: &[u8]) -> Request {
        let mut request =
            Request { method, path: path.to_owned(), headers: Vec::new(), body: body.to_owned() };
        request.headers.push(("authorization", self.authorization(&self.name, to, &request)));
        request
    }

    /// A request with a body that is no canonical JSON by the specification, signed as it is.
    pub fn signed_as_it_is(&self, to: &ServerName, method: &'static str, path: &str, body: &[u8]) -> Request {
        let body = str::from_utf8(body).expect("UTF-8").to_owned();
        let signed = format!(
            r#"{{"content":{body},"destination":"{to}","method":"{method}","origin":"{}","uri":"{path}"}}"#,
            self.name
        );
        let signature = self.key.sign(signed.as_bytes());
        let header = format!(
            r#"X-Matrix origin="{}",destination="{to}",key="{}",sig="{}""#,
            self.name,
            signature.id(),
            signature.base64()
        );
        let headers = vec![("authorization", header)];
        Request { method, path: path.to_owned(), headers, body: body.into_bytes() }
    }

    /// A transaction with these EDUs, signed for the server `to`.
    pub fn transaction(&self, to: &ServerName, id: &str, edus: &[Value]) -> Request {
        let body = json!({ "origin": self.name, "origin_server_ts": 1, "pdus": [], "edus": edus });
        let path = format!("/_matrix/federation/v1/send/{id}");
        self.signed(to, "PUT", &path, body.to_string().as_bytes())
    }

    /// The header that signs `request` with this server's key, as `origin` says it to `destination`.
    pub fn authorization(&self, origin: &ServerName, destination: &ServerName, request: &Request) -> String {
        let input = XMatrixSigningInput::new(origin.to_owned(), destination.to_owned(), &self.key);
        let content = http::Request::builder()
            .method(request.method)
            .uri(&request.path)
            .body(&request.body[..])
            .expect("a request");
        XMatrix::sign_http_request(&content, input).expect("can be signed").to_string()
    }

    /// Opens a connection to the server `to`.
    pub fn connect(&self, to: &ServerName) -> Stream {
        let stream = TcpStream::connect(("127.0.0.1", to.port().expect("a port"))).expect("it listens");
        stream.set_read_timeout(Some(TIMEOUT)).expect("a timeout");
        stream.set_write_timeout(Some(TIMEOUT)).expect("a timeout");
        let host = to.host().to_owned().try_into().expect("a name");
        let connection = ClientConnection::new(Arc::clone(&self.tls), host).expect("a connection");
        StreamOwned::new(connection, stream)
    }

    /// Sends a request over a connection of its own.
    pub fn send(&self, to: &ServerName, request: &Request) -> Answer {
        Self::exchange(&mut self.connect(to), to, request)
    }

    /// Sends a request over a connection that is open, and reads the answer.
    pub fn exchange(stream: &mut Stream, to: &ServerName, request: &Request) -> Answer {
        Self::try_exchange(stream, to, request).unwrap_or_else(|sent| panic!("no answer: {sent:?}"))
    }

    /// Sends a request; what became of the sending, if no answer comes before the connection ends.
    pub fn try_exchange(
        stream: &mut Stream,
        to: &ServerName,
        request: &Request,
    ) -> Result<Answer, std::io::Result<()>> {
        let mut bytes = request.head(to);
        bytes.extend_from_slice(&request.body);
        // Who is refused early may find that nobody reads the rest: the answer counts.
        let sent = stream.write_all(&bytes).and_then(|()| stream.flush());
        read_answer(stream).ok_or(sent)
    }
}

impl Request {
    /// The request line and the headers.
    pub fn head(&self, to: &ServerName) -> Vec<u8> {
        let Self { method, path, headers, body } = self;
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {to}\r\n");
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        if !body.is_empty() {
            head += &format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len());
        }
        (head + "\r\n").into_bytes()
    }
}

fn key_document(name: &ServerName, key: &Ed25519KeyPair) -> String {
    let public = Base64::<Standard>::new(key.public_key().to_vec()).encode();
    let document = json!({
        "server_name": name,
        "verify_keys": { "ed25519:1": { "key": public } },
        "old_verify_keys": {},
        "valid_until_ts": 4_000_000_000_000_u64,
    });
    let mut document: CanonicalJsonObject = serde_json::from_value(document).expect("canonical");
    sign_json(name.as_str(), key, &mut document).expect("can be signed");
    serde_json::to_string(&document).expect("JSON")
}

/// Answers the one request of a connection.
fn answer(
    mut stream: StreamOwned<ServerConnection, TcpStream>,
    keys: &str,
    delay: Duration,
    (log, said): (&Mutex<Vec<Heard>>, &Answers),
) {
    let Some((head, body)) = read_message(&mut stream) else { return };
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let body = serde_json::from_slice(&body).unwrap_or_default();
    let scripted = {
        let answers = said.lock().expect("no panic");
        let found = answers.iter().rev().find(|(prefix, _)| path.starts_with(prefix));
        found.map(|(_, said)| Arc::clone(said))
    };
    let scripted = scripted.map(|said| said(&path, &body));
    let scripted = scripted.map(|(status, body)| (format!("{status} As Said"), body.to_string()));
    if scripted.as_ref().is_some_and(|(status, _)| status.starts_with("0 ")) {
        log.lock().expect("no panic").push(Heard { path, body, taken: false });
        // Whoever asked goes away at some time.
        return assert!(read_message(&mut stream).is_none(), "nobody asks twice on one connection");
    }
    let (status, answer) = match &scripted {
        Some((status, answer)) => (&**status, &**answer),
        None if path == "/_matrix/key/v2/server" => ("200 OK", keys),
        None if path.starts_with("/_matrix/federation/unstable/") => {
            ("404 Not Found", r#"{"errcode":"M_UNRECOGNIZED"}"#)
        }
        None => ("200 OK", r#"{"pdus":{}}"#),
    };
    let taken = status.starts_with("200");
    log.lock().expect("no panic").push(Heard { path, body, taken });
    std::thread::sleep(delay);
    let answer_length = answer.len();
    let (length, status) = match status.starts_with("1 ") {
        true => (answer.len() + 1, "200 OK"),
        false => (answer.len(), status),
    };
    let answer =
        format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{answer}");
    let sent = stream.write_all(answer.as_bytes()).and_then(|()| stream.flush());
    if let Err(e) = sent {
        eprintln!("the peer could not answer: {e}");
    } else if length > answer_length {
        assert!(read_message(&mut stream).is_none(), "nobody asks twice on one connection");
    }
}

fn read_answer(stream: &mut Stream) -> Option<Answer> {
    let (head, body) = read_message(stream)?;
    let headers = head.lines().skip(1).filter_map(|line| {
        let (name, value) = line.split_once(": ")?;
        Some((name.parse::<http::HeaderName>().ok()?, value.parse().ok()?))
    });
    Some(Answer {
        status: head.split(' ').nth(1)?.parse().ok()?,
        headers: headers.collect(),
        body: serde_json::from_slice(&body).unwrap_or_default(),
        text: String::from_utf8_lossy(&body).into_owned(),
    })
}

/// The head of a message, and as much of the body as `content-length` says.
pub fn read_message(stream: &mut impl Read) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 16 << 10];
    loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..at]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let end = at + 4 + length.map_or(0, |length| length.trim().parse().expect("a length"));
            if bytes.len() >= end {
                let head = String::from_utf8_lossy(&bytes[..at]).into_owned();
                return Some((head, bytes[at + 4..end].to_vec()));
            }
        }
        match stream.read(&mut buffer) {
            Ok(n) if n > 0 => bytes.extend_from_slice(&buffer[..n]),
            _ => return None,
        }
    }
}
