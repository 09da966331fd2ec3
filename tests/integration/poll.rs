//! Long polls that are held open, and let go of as by a client that crashes.

use std::{
    io::Write,
    net::{Shutdown, TcpStream},
    thread::JoinHandle,
    time::Duration,
};

use serde_json::Value;

use super::{peer::read_message, support::Client};

/// How long a poll waits at most, as long as a server lets it.
pub const LONGEST: Duration = Duration::from_secs(120);

/// How long, of real time, an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks over an open connection for what is new; `None` when the connection ends first.
pub fn ask(stream: &mut TcpStream, client: &Client, since: &str) -> Option<Value> {
    ask_at(stream, client, &sync_path(since), None)
}

/// The path of a `/sync` that waits.
fn sync_path(since: &str) -> String {
    let since = if since.is_empty() { String::new() } else { format!("&since={since}") };
    format!("/_matrix/client/v3/sync?timeout={}{since}", LONGEST.as_millis())
}

/// The same for any request that waits, with a body or without.
pub fn ask_at(stream: &mut TcpStream, client: &Client, path: &str, body: Option<&Value>) -> Option<Value> {
    let token = client.token.as_deref().expect("a token");
    let method = if body.is_some() { "POST" } else { "GET" };
    let body = body.map(Value::to_string).unwrap_or_default();
    let length = if body.is_empty() { String::new() } else { format!("content-length: {}\r\n", body.len()) };
    let request =
        format!("{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n{length}\r\n{body}");
    stream.write_all(request.as_bytes()).ok()?;
    let (head, body) = read_message(stream)?;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    Some(serde_json::from_slice(&body).expect("JSON"))
}

/// A connection to a client's server.
pub fn connect(client: &Client) -> TcpStream {
    TcpStream::connect(client.base.trim_start_matches("http://")).expect("connects")
}

/// A poll on a connection of its own, open until it is answered or this is dropped.
///
/// It waits at the server as soon as that has settled, see [`super::driven::Time::settle`].
pub struct Poll {
    stream: TcpStream,
    reader: Option<JoinHandle<Option<Value>>>,
}

impl Poll {
    pub fn open(client: &Client, since: &str) -> Self {
        Self::open_at(client, &sync_path(since))
    }

    /// The same for any request that waits.
    pub fn open_at(client: &Client, path: &str) -> Self {
        Self::open_with(client, path, None)
    }

    /// The same for one with a body.
    pub fn open_with(client: &Client, path: &str, body: Option<Value>) -> Self {
        let stream = connect(client);
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let (client, path) = (client.clone(), path.to_owned());
        let (held, mut own) = (client.polls.hold(), stream.try_clone().expect("a handle"));
        let reader = std::thread::spawn(move || {
            let answer = ask_at(&mut own, &client, &path, body.as_ref());
            drop(held);
            answer
        });
        Self { stream, reader: Some(reader) }
    }

    /// The answer as soon as it comes. On a driven clock no time passes until then.
    #[track_caller]
    pub fn answer(mut self) -> Value {
        let reader = self.reader.take().expect("nobody has joined it");
        reader.join().expect("an answer").expect("the poll is answered before it is too late")
    }
}

impl Drop for Poll {
    fn drop(&mut self) {
        // Fails when the server was quicker.
        self.stream.shutdown(Shutdown::Both).ok();
        self.reader.take().map(JoinHandle::join);
    }
}
