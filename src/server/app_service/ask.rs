//! Requests to an application service, and what it is asked for.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use serde::Deserialize;
use serde_json::Value;

use crate::server::{
    json::json_depth,
    outgoing::{
        client::{Bounds, Client, Reach, SendError},
        lines::FOR_ONE,
        tls::Trust,
    },
    registration::Registration,
};

/// What an answer may take. Application services do much with a transaction before they answer.
const BOUNDS: Bounds = Bounds { timeout: Duration::from_secs(60), largest_answer: 256 << 10 };

/// Objects and lists within each other in what it tells, at most.
const MAX_DEPTH: usize = 32;

/// What somebody waits for may take.
const QUICK: Bounds = Bounds { timeout: Duration::from_secs(15), ..BOUNDS };

/// The connections to all application services. What users have them asked takes no turn from what they are told.
#[derive(Clone, Debug)]
pub struct Ways {
    telling: Client,
    asking: Client,
}

impl Ways {
    /// So many connections at once, half of them for questions.
    pub fn new(trust: &Arc<Trust>, most: usize) -> Self {
        let half = || Client::new(Reach::Anywhere, Arc::clone(trust), most / 2, FOR_ONE);
        Self { telling: half(), asking: half() }
    }
}

/// The way to one application service.
#[derive(Debug)]
pub(super) struct Line {
    registration: Arc<Registration>,
    ways: Ways,
    /// It has answered at a path that the specification has. It is not asked elsewhere any more: the old paths have its
    /// token in the URL, which logs keep.
    is_specified: AtomicBool,
}

/// Why an application service did not answer a ping.
#[derive(Debug, thiserror::Error)]
pub enum PingError {
    /// It takes nothing.
    #[error("the application service has no URL")]
    NoUrl,
    /// It answered with an error.
    #[error("the application service answers {0}")]
    Status(StatusCode, String),
    /// It did not answer in time.
    #[error("the application service does not answer in time")]
    Timeout,
    /// It did not answer.
    #[error("{0}")]
    Connection(String),
}

impl Line {
    pub(super) fn new(registration: Arc<Registration>, ways: Ways) -> Self {
        Self { registration, ways, is_specified: AtomicBool::new(false) }
    }

    /// Asks at the path that the specification has, and where there is none, at that of before it had one.
    ///
    /// # Errors
    /// Why there is no answer.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
    ) -> Result<StatusCode, String> {
        let bounds = if body.is_some() { BOUNDS } else { QUICK };
        let specified = format!("/_matrix/app/v1/{path}");
        let answer = self.send(method.clone(), &specified, body.clone(), bounds).await;
        let answer = answer.map_err(|e| e.to_string())?;
        let status = answer.status();
        let knows = knows_path(status, answer.body());
        if knows == Some(true) {
            self.is_specified.store(true, Ordering::Relaxed);
        }
        if knows != Some(false) || self.is_specified.load(Ordering::Relaxed) {
            return Ok(status);
        }
        let token = serde_html_form::to_string([("access_token", self.registration.hs_token.as_str())]);
        let old = format!("/{path}?{}", token.unwrap_or_default());
        let answer = self.send(method, &old, body, bounds).await.map_err(|e| e.to_string())?;
        // Of two that know nothing, the first says it.
        let knows = knows_path(answer.status(), answer.body());
        Ok(if knows == Some(false) { status } else { answer.status() })
    }

    /// What it tells at a path.
    pub(super) async fn tell(&self, path: &str) -> Option<Value> {
        let path = format!("/_matrix/app/v1/{path}");
        let answer = self.send(Method::GET, &path, None, QUICK).await.ok()?;
        let is_told = answer.status().is_success() && json_depth(answer.body()) <= MAX_DEPTH;
        serde_json::from_slice(answer.body()).ok().filter(|_| is_told)
    }

    /// Has the application service answer; how long that took is for who asks to measure.
    pub(super) async fn ping(&self, transaction: Option<&str>) -> Result<(), PingError> {
        if self.registration.url.is_none() {
            return Err(PingError::NoUrl);
        }
        let body = transaction.map_or_else(
            || serde_json::json!({}),
            |transaction| serde_json::json!({ "transaction_id": transaction }),
        );
        let body = Some(Bytes::from(body.to_string()));
        let answer = self.send(Method::POST, "/_matrix/app/v1/ping", body, QUICK).await;
        let answer = answer.map_err(|e| match e {
            SendError::Network(why) if why == "timed out" => PingError::Timeout,
            e => PingError::Connection(e.to_string()),
        })?;
        if answer.status().is_success() {
            return Ok(());
        }
        let body = String::from_utf8_lossy(answer.body()).into_owned();
        Err(PingError::Status(answer.status(), body))
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
        bounds: Bounds,
    ) -> Result<Response<Bytes>, SendError> {
        let url = self.registration.url.as_deref().ok_or(SendError::Url)?;
        let request = Request::builder()
            .method(method)
            .uri(format!("{url}{path}"))
            .header(header::AUTHORIZATION, format!("Bearer {}", self.registration.hs_token.as_str()))
            .header(header::CONTENT_TYPE, "application/json")
            .body(body.unwrap_or_default())
            .map_err(|_| SendError::Url)?;
        let is_question = request.method() == Method::GET;
        let client = if is_question { &self.ways.asking } else { &self.ways.telling };
        client.send(request, bounds).await
    }
}

/// Whether an answer shows that its path is known there; `None`: it shows neither. A no that means what was asked for, and not
/// the path, is an object with no code or with another one.
fn knows_path(status: StatusCode, body: &[u8]) -> Option<bool> {
    #[derive(Deserialize)]
    struct Said {
        errcode: Option<String>,
    }
    match status {
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => {
            let said = serde_json::from_slice::<Said>(body);
            Some(said.is_ok_and(|said| said.errcode.as_deref() != Some("M_UNRECOGNIZED")))
        }
        status => status.is_success().then_some(true),
    }
}

/// Something as one part of a path.
pub(super) fn encoded(part: &str) -> String {
    let mut out = String::with_capacity(part.len() + 16);
    for byte in part.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::TcpListener,
        path::Path,
        thread,
    };

    use ruma::server_name;
    use tokio::sync::mpsc;

    use super::*;
    use crate::server::registration::parse;

    /// The first line of each request, in order; each is answered by what `answer` makes of it, or not at all.
    fn peer(answer: fn(&str) -> Option<&'static str>) -> (Arc<Line>, mpsc::UnboundedReceiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (tell, asked) = mpsc::unbounded_channel();
        thread::spawn(move || {
            let mut silent = Vec::new();
            for stream in listener.incoming() {
                let (mut stream, mut head) = (stream.expect("a connection"), [0; 4096]);
                let len = stream.read(&mut head).expect("a request");
                let head = String::from_utf8_lossy(&head[..len]);
                let line = head.lines().next().unwrap_or_default();
                match answer(line) {
                    Some(answer) => stream.write_all(answer.as_bytes()).expect("is sent"),
                    None => silent.push(stream),
                }
                if tell.send(line.to_owned()).is_err() {
                    return;
                }
            }
        });
        let trust = Trust::new(&[] as &[&Path]).expect("nothing to read");
        let ways = Ways::new(&Arc::new(trust), 64);
        let text = format!(
            "id: irc\nurl: '{url}'\nas_token: a\nhs_token: b\nsender_localpart: bot\nnamespaces: {{}}\n"
        );
        let registration = parse(Path::new("irc.yaml"), &text, server_name!("x")).expect("is a registration");
        (Arc::new(Line::new(Arc::new(registration), ways)), asked)
    }

    const YES: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
    const NO: &str = "HTTP/1.1 404 X\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
    const NO_PATH: &str = "HTTP/1.1 404 X\r\ncontent-length: 4\r\nconnection: close\r\n\r\n<p/>";

    async fn ask(line: &Line, name: &str) -> u16 {
        line.ask(Method::GET, name, None).await.expect("is answered").as_u16()
    }

    #[tokio::test]
    async fn questions_that_nobody_answers_keep_no_transaction_waiting() {
        let (line, mut asked) = peer(|line| line.starts_with("PUT").then_some(YES));
        for n in 0..2 * FOR_ONE {
            let line = Arc::clone(&line);
            tokio::spawn(async move { line.ask(Method::GET, &format!("rooms/{n}"), None).await });
        }
        for _ in 0..FOR_ONE {
            assert!(asked.recv().await.expect("a question").starts_with("GET"));
        }
        let told = line.ask(Method::PUT, "transactions/1", Some(Bytes::from_static(b"{}")));
        let told = tokio::time::timeout(Duration::from_secs(10), told).await.expect("does not wait");
        assert_eq!(told, Ok(StatusCode::OK));
    }

    #[tokio::test]
    async fn who_says_no_is_asked_once_and_the_token_is_in_no_url() {
        let (line, mut asked) = peer(|line| Some(if line.contains("odd") { NO_PATH } else { NO }));
        assert_eq!((ask(&line, "users/a").await, ask(&line, "users/odd").await), (404, 404));
        for name in ["a", "odd"] {
            let line = asked.recv().await.expect("a request");
            assert_eq!(line, format!("GET /_matrix/app/v1/users/{name} HTTP/1.1"));
        }
        assert!(asked.try_recv().is_err());
    }

    #[tokio::test]
    async fn who_knows_only_the_paths_of_before_2018_is_asked_there() {
        let (line, mut asked) = peer(|line| Some(if line.contains("/v1/") { NO_PATH } else { YES }));
        assert_eq!((ask(&line, "users/a").await, ask(&line, "users/b").await), (200, 200));
        let mut paths = Vec::new();
        while let Ok(line) = asked.try_recv() {
            paths.push(line.split('?').next().unwrap_or_default().to_owned());
        }
        let (specified, old) = (
            |name| format!("GET /_matrix/app/v1/users/{name} HTTP/1.1"),
            |name| format!("GET /users/{name}"),
        );
        assert_eq!(paths, [specified("a"), old("a"), specified("b"), old("b")]);
    }

    #[test]
    fn a_no_is_of_the_path_or_of_what_was_asked_for() {
        for (status, body, knows) in [
            (200, "", Some(true)),
            (404, "{}", Some(true)),
            (404, r#"{"errcode":"M_NOT_FOUND"}"#, Some(true)),
            (404, r#"{"errcode":"M_UNRECOGNIZED"}"#, Some(false)),
            (405, r#"{"errcode":"M_UNRECOGNIZED","error":"?"}"#, Some(false)),
            (404, "", Some(false)),
            (404, "<html>Cannot GET</html>", Some(false)),
            (502, "{}", None),
            (403, "", None),
        ] {
            let status = StatusCode::from_u16(status).expect("a status");
            assert_eq!(knows_path(status, body.as_bytes()), knows, "{status} {body}");
        }
    }

    #[test]
    fn what_is_part_of_a_path_has_nothing_that_means_something_there() {
        for (part, expected) in [
            ("@_irc_a:x", "%40_irc_a%3Ax"),
            ("#a/b?c&d=e f", "%23a%2Fb%3Fc%26d%3De%20f"),
            ("..", ".."),
            ("ä", "%C3%A4"),
        ] {
            assert_eq!(encoded(part), expected);
        }
    }
}
