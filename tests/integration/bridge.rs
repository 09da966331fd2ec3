//! An application service of the tests: a real HTTP server, which keeps what it is sent and answers as it is told to.

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::Mutex;
use serde_json::Value;

/// One request that came.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    /// With its query.
    pub path: String,
    pub authorization: String,
    pub body: Value,
    pub text: String,
}

/// How a request is answered.
#[derive(Clone, Debug)]
pub enum Reply {
    Status(u16, String),
    /// The request is taken, and the connection closed.
    Dropped,
}

/// What it does before it answers a request.
type Before = Box<dyn Fn(&Asked) -> Reply + Send + Sync>;

pub struct Bridge {
    address: SocketAddr,
    inner: Arc<Inner>,
}

struct Inner {
    asked: Mutex<Vec<Asked>>,
    replies: Mutex<VecDeque<Reply>>,
    before: Mutex<Option<Before>>,
    is_down: AtomicBool,
}

impl Bridge {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let inner = Arc::new(Inner {
            asked: Mutex::default(),
            replies: Mutex::default(),
            before: Mutex::default(),
            is_down: AtomicBool::new(false),
        });
        let of_all = Arc::clone(&inner);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, inner) = (stream.expect("a connection"), Arc::clone(&of_all));
                std::thread::spawn(move || inner.serve(stream));
            }
        });
        Self { address, inner }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next requests are answered so; all others with `200 {}`.
    pub fn reply(&self, replies: impl IntoIterator<Item = Reply>) {
        self.inner.replies.lock().extend(replies);
    }

    /// What answers every request that [`Self::reply`] does not.
    pub fn answer_by(&self, answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) {
        *self.inner.before.lock() = Some(Box::new(answer));
    }

    /// Nobody is there, or somebody is again.
    pub fn be_down(&self, is_down: bool) {
        self.inner.is_down.store(is_down, Ordering::SeqCst);
    }

    /// Every request so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.inner.asked.lock().clone()
    }

    /// The transactions so far, as often as they came.
    pub fn transactions(&self) -> Vec<Asked> {
        let mut all = self.asked();
        all.retain(|asked| asked.path.contains("/transactions/"));
        all
    }

    /// What was in them, each transaction once.
    pub fn told(&self, key: &str) -> Vec<Value> {
        let mut seen = std::collections::BTreeSet::new();
        let mut all = self.transactions();
        all.retain(|asked| seen.insert(asked.path.clone()));
        all.iter().flat_map(|asked| asked.body[key].as_array().cloned().unwrap_or_default()).collect()
    }
}

impl Inner {
    fn serve(&self, stream: TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
        let mut stream = stream;
        while let Some(asked) = read(&mut reader) {
            if self.is_down.load(Ordering::SeqCst) {
                return;
            }
            self.asked.lock().push(asked.clone());
            let told = self.replies.lock().pop_front();
            let reply = told.unwrap_or_else(|| match &*self.before.lock() {
                Some(before) => before(&asked),
                None => Reply::Status(200, "{}".into()),
            });
            let Reply::Status(status, body) = reply else { return };
            let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n", body.len());
            if stream.write_all(format!("{head}{body}").as_bytes()).is_err() {
                return;
            }
        }
    }
}

fn read(reader: &mut impl BufRead) -> Option<Asked> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let mut words = line.split(' ').map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let (mut length, mut authorization) = (0, String::new());
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let Some((name, value)) = header.trim_end().split_once(": ") else { break };
        match &*name.to_lowercase() {
            "content-length" => length = value.parse().expect("a length"),
            "authorization" => authorization = value.to_owned(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let text = String::from_utf8(body).expect("JSON is UTF-8");
    let body = serde_json::from_str(&text).unwrap_or_default();
    Some(Asked { method, path, authorization, body, text })
}
