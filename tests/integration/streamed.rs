//! A held stream as a client reads it: events, and what an `id` makes one piece.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    sync::{
        Arc, Condvar, Mutex,
        mpsc::{Receiver, Sender, channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{poll::connect, support::Client};

/// Where the held stream is.
pub const STREAM: &str = "/_matrix/client/unstable/org.pilotlight/stream";

/// How long, of real time, what is expected may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// One event of a stream.
#[derive(Clone, Debug)]
pub struct Told {
    pub name: String,
    pub data: Value,
    /// From here the reader can go on.
    pub id: Option<String>,
}

/// A held stream, read as fast as it comes, until it is dropped.
pub struct Held {
    pub head: String,
    stream: TcpStream,
    told: Receiver<Told>,
    reader: Option<JoinHandle<()>>,
    gate: Arc<Gate>,
}

/// Whether reading waits.
#[derive(Default)]
struct Gate {
    is_paused: Mutex<bool>,
    opened: Condvar,
}

impl Held {
    /// Goes on from `from`, an `id` or a token; empty: from the beginning.
    pub fn open(client: &Client, from: &str) -> Self {
        Self::open_with(client, from, "")
    }

    /// The same with further query parameters, as `key=value&…`.
    pub fn open_with(client: &Client, from: &str, query: &str) -> Self {
        let last = if from.is_empty() { String::new() } else { format!("last-event-id: {from}\r\n") };
        let token = client.token.as_deref().expect("a token");
        let request = format!(
            "GET {STREAM}?{query} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n{last}\r\n"
        );
        Self::on(connect(client), &request)
    }

    /// On a connection that is there.
    pub fn on(mut stream: TcpStream, request: &str) -> Self {
        stream.write_all(request.as_bytes()).expect("is sent");
        let mut own = stream.try_clone().expect("a handle");
        own.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && own.read(&mut byte).expect("an answer") == 1 {
            head.push(byte[0]);
        }
        own.set_read_timeout(None).expect("none");
        let (tell, told) = channel();
        let gate = Arc::<Gate>::default();
        let readers = Arc::clone(&gate);
        let reader = std::thread::spawn(move || read(own, &tell, &readers));
        let head = String::from_utf8(head).expect("is text");
        Self { head, stream, told, reader: Some(reader), gate }
    }

    /// The next event; `None`: the stream has ended.
    #[track_caller]
    pub fn next(&self) -> Option<Told> {
        match self.told.recv_timeout(PATIENCE) {
            Ok(told) => Some(told),
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => None,
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => panic!("nothing comes"),
        }
    }

    /// The next one if it comes soon.
    pub fn within(&self, time: Duration) -> Option<Told> {
        self.told.recv_timeout(time).ok()
    }

    /// Everything up to and with the first event that is `wanted`.
    #[track_caller]
    pub fn until(&self, what: &str, wanted: impl Fn(&Told) -> bool) -> Vec<Told> {
        let (mut all, begun) = (Vec::new(), Instant::now());
        loop {
            assert!(begun.elapsed() < PATIENCE, "{what} does not come: {all:?}");
            match self.next() {
                Some(told) => {
                    let found = wanted(&told);
                    all.push(told);
                    if found {
                        return all;
                    }
                }
                None => panic!("the stream ended before {what}: {all:?}"),
            }
        }
    }

    /// Everything up to the message `body`, and on to the next `id`.
    #[track_caller]
    pub fn until_body(&self, body: &str) -> Vec<Told> {
        let mut all = self.until(body, |told| bodies_of(told).iter().any(|said| said == body));
        while all.last().is_some_and(|told| told.id.is_none()) {
            all.push(self.next().expect("an id"));
        }
        all
    }

    /// Everything to the end of the stream.
    pub fn rest(&self) -> Vec<Told> {
        std::iter::from_fn(|| self.next()).collect()
    }

    /// Takes nothing from here on, or goes on.
    pub fn pause(&self, is_paused: bool) {
        *self.gate.is_paused.lock().expect("a lock") = is_paused;
        self.gate.opened.notify_all();
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.pause(false);
        self.stream.shutdown(Shutdown::Both).ok();
        self.reader.take().map(JoinHandle::join);
    }
}

/// The bodies of the messages that an event tells.
pub fn bodies_of(told: &Told) -> Vec<String> {
    let body = |event: &Value| event["content"]["body"].as_str().map(str::to_owned);
    let rooms = match told.name.as_str() {
        "e" => return body(&told.data).into_iter().collect(),
        "room" => &told.data["join"],
        "sync" => &told.data["rooms"]["join"],
        _ => return Vec::new(),
    };
    let rooms = rooms.as_object().into_iter().flat_map(|rooms| rooms.values());
    let events = rooms.flat_map(|room| room["timeline"]["events"].as_array().cloned().unwrap_or_default());
    events.filter_map(|event| body(&event)).collect()
}

/// The last place from which the reader can go on.
pub fn last_id(told: &[Told]) -> String {
    told.iter().rev().find_map(|told| told.id.clone()).expect("an id")
}

fn read(mut stream: TcpStream, tell: &Sender<Told>, gate: &Gate) {
    let (mut line, mut event) = (Vec::new(), (String::new(), String::new(), None));
    let mut piece = [0; 4096];
    loop {
        let mut is_paused = gate.is_paused.lock().expect("a lock");
        while *is_paused {
            is_paused = gate.opened.wait(is_paused).expect("a lock");
        }
        drop(is_paused);
        let count = match stream.read(&mut piece) {
            Ok(0) | Err(_) => return,
            Ok(count) => count,
        };
        for byte in &piece[..count] {
            if *byte != b'\n' {
                line.push(*byte);
                continue;
            }
            let text = String::from_utf8(std::mem::take(&mut line)).expect("is UTF-8");
            match text.split_once(':') {
                None if text.is_empty() => {
                    let (name, data, id) = std::mem::take(&mut event);
                    if !data.is_empty() {
                        // Presence has no name.
                        let name = if name.is_empty() { "p".to_owned() } else { name };
                        let data = serde_json::from_str(&data).unwrap_or_else(|e| panic!("{e}: {data}"));
                        if tell.send(Told { name, data, id }).is_err() {
                            return;
                        }
                    }
                }
                Some(("event", name)) => event.0 = name.to_owned(),
                Some(("data", data)) => event.1 += data,
                Some(("id", id)) => event.2 = Some(id.to_owned()),
                Some(("", comment)) => {
                    // A sign of life.
                    let told = Told { name: ":".into(), data: comment.into(), id: None };
                    if tell.send(told).is_err() {
                        return;
                    }
                }
                _ => panic!("no line of a stream: {text:?}"),
            }
        }
    }
}
