//! A push gateway of the tests: counts what it is told, and answers what the test wants.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

/// How the gateway answers.
#[derive(Clone, Debug)]
pub enum Mood {
    /// Takes everything.
    Takes,
    /// Rejects these pushkeys.
    Rejects(Vec<String>),
    /// Answers with this status.
    Refuses(u16),
    /// The same of this pushkey, and takes the others.
    RefusesOne(String, u16),
    /// Does not answer.
    Silent,
}

/// What it was told, and its mood.
struct Inner {
    told: Vec<Value>,
    /// Requests that came, answered or not.
    asked: usize,
    mood: Mood,
}

type Shared = Arc<(Mutex<Inner>, Condvar)>;

/// A gateway on a port of its own.
pub struct Gateway {
    shared: Shared,
    port: u16,
}

impl Gateway {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let inner = Inner { told: Vec::new(), asked: 0, mood: Mood::Takes };
        let shared: Shared = Arc::new((Mutex::new(inner), Condvar::new()));
        let of_thread = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&of_thread);
                thread::spawn(move || serve(&stream, &shared));
            }
        });
        Self { shared, port }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/_matrix/push/v1/notify", self.port)
    }

    pub fn set(&self, mood: Mood) {
        self.shared.0.lock().expect("no panic").mood = mood;
        self.shared.1.notify_all();
    }

    /// What it was told and took, in order.
    pub fn told(&self) -> Vec<Value> {
        self.shared.0.lock().expect("no panic").told.clone()
    }

    /// How many requests came, answered or not.
    pub fn asked(&self) -> usize {
        self.shared.0.lock().expect("no panic").asked
    }

    /// Of which events it was told, in order.
    pub fn events(&self) -> Vec<String> {
        let told = self.told();
        told.iter().filter_map(|n| n["event_id"].as_str().map(str::to_owned)).collect()
    }

    /// Waits until it was told so many things, and answers all of them.
    #[track_caller]
    pub fn until_told(&self, count: usize) -> Vec<Value> {
        let begun = Instant::now();
        let mut inner = self.shared.0.lock().expect("no panic");
        while inner.told.len() < count {
            let left = Duration::from_secs(30).checked_sub(begun.elapsed());
            let left = left.unwrap_or_else(|| panic!("told {:?}, not {count} things", inner.told));
            inner = self.shared.1.wait_timeout(inner, left).expect("no panic").0;
        }
        inner.told.clone()
    }
}

fn serve(stream: &TcpStream, shared: &Shared) {
    let mut lines = BufReader::new(stream);
    loop {
        let mut length = 0;
        let mut line = String::new();
        if lines.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        assert!(line.starts_with("POST /_matrix/push/v1/notify HTTP/1.1"), "{line}");
        while line.trim() != "" {
            line.clear();
            if lines.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
        }
        let mut body = vec![0; length];
        if lines.read_exact(&mut body).is_err() {
            return;
        }
        let body: Value = serde_json::from_slice(&body).expect("is JSON");
        let (status, rejected) = {
            let mut inner = shared.0.lock().expect("no panic");
            inner.asked += 1;
            while matches!(inner.mood, Mood::Silent) {
                inner = shared.1.wait(inner).expect("no panic");
            }
            // Of one that refuses a pushkey the others are taken.
            let mood = match inner.mood.clone() {
                Mood::RefusesOne(key, status) => {
                    let is_it = body["notification"]["devices"][0]["pushkey"] == json!(key);
                    if is_it { Mood::Refuses(status) } else { Mood::Takes }
                }
                mood => mood,
            };
            if !matches!(mood, Mood::Refuses(_)) {
                inner.told.push(body["notification"].clone());
                shared.1.notify_all();
            }
            match mood {
                Mood::Refuses(status) => (status, Vec::new()),
                Mood::Rejects(keys) => (200, keys),
                Mood::Takes | Mood::Silent | Mood::RefusesOne(..) => (200, Vec::new()),
            }
        };
        let answer = json!({ "rejected": rejected }).to_string();
        let head = format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            answer.len()
        );
        let mut out = stream;
        if out.write_all(head.as_bytes()).and_then(|()| out.write_all(answer.as_bytes())).is_err() {
            return;
        }
    }
}
