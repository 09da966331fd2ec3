//! A real homeserver in this process, on a port of its own, and a client that speaks to it.
//!
//! Tests wait for conditions, never for time:
//!
//! - To let a grace, a window or a watchdog pass, start the server on a time of its own with
//!   [`TestServer::driven`], and call [`TestServer::pass`]: half an hour costs a few milliseconds, everything
//!   happens at its very instant, and is done when the call returns. So one asserts what holds one millisecond
//!   before a deadline and at the deadline, with the configuration that people use.
//! - To prove that nothing happens, let time pass and look: what was not there then does not come.
//! - Two servers share a time: `ca.driven(&time, …)` for each, and `time.pass(…)`.
//! - To have a client wait in a long poll, hold a [`super::poll::Poll`]: after [`TestServer::settle`] it waits at
//!   the server. Other requests to a driven server ask for no timeout, since its polls wait for its own time.
//! - What the test itself caused is done when it is answered. What other threads or programs do is waited for
//!   with [`until`].
//!
//! On the system's clock ([`TestServer::start`]) are the tests for which no time has to pass, and those about the
//! network, which has its own time: a peer that answers slowly, a program that ends in time.

use std::{
    net::SocketAddr,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use pilotlight::server::{Config, app::App, clock::Clock, serve::Server};
use serde_json::{Value, json};
use tokio::{
    runtime::{Handle, Runtime},
    sync::oneshot,
};
use ureq::Agent;
pub use ureq::http;

use super::driven::{Life, Polls, Threads, Time};

/// The password of every account that [`TestServer::register`] makes.
pub const PASSWORD: &str = "correct horse battery staple";

/// How many times as long as usual whatever takes chances goes on: `TEST_TIMES`, as in `make test-long`.
pub fn times() -> usize {
    std::env::var("TEST_TIMES").map_or(1, |n| n.parse().expect("TEST_TIMES is a number"))
}

/// A folder that is removed at the end.
pub struct TempDir(PathBuf);

impl TempDir {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("pilotlight-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        // As a server makes its own: of one that others can enter it warns.
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .expect("a temporary folder can be made");
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        if let Err(e) = std::fs::remove_dir_all(&self.0) {
            eprintln!("cannot remove {}: {e}", self.0.display());
        }
    }
}

/// A homeserver named `localhost` on real SQLite, in a thread and a folder of its own.
///
/// Ends in order when dropped.
pub struct TestServer {
    address: SocketAddr,
    app: Arc<App>,
    shutdown: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    data: Arc<TempDir>,
    config: Config,
    life: Arc<Life>,
    /// `None`: on the system's clock.
    time: Option<Time>,
}

/// A server that ended in order, and can go on where it was.
pub struct Stopped {
    data: Arc<TempDir>,
    config: Config,
    time: Option<Time>,
}

impl Stopped {
    /// The folder of its data.
    pub fn data_dir(&self) -> &Path {
        self.data.path()
    }

    /// Starts with the same configuration on the same data, and the same time if it is driven, a second later.
    pub fn start(self) -> TestServer {
        let Self { data, config, time } = self;
        if let Some(time) = &time {
            time.pass(Duration::from_secs(1));
        }
        // A program that another test starts has every file of this process open, this one's lock too, until it
        // runs.
        let lock = std::fs::File::open(data.path().join("pilotlight.lock")).expect("the server left it");
        until("nobody has the store", || lock.try_lock().is_ok());
        drop(lock);
        TestServer::start_in(data, time, |changed| *changed = config)
    }
}

impl TestServer {
    pub fn start() -> Self {
        Self::start_with(|_| {})
    }

    /// Starts with a changed configuration; `listen` and `data_dir` are chosen by the test server.
    pub fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        Self::start_in(Arc::new(TempDir::new()), None, change)
    }

    /// Starts on a time of its own, which stands still until the test lets it pass.
    pub fn driven() -> Self {
        Self::driven_with(|_| {})
    }

    /// The same with a changed configuration.
    pub fn driven_with(change: impl FnOnce(&mut Config)) -> Self {
        Self::driven_on(&Time::new(), change)
    }

    /// The same on a time that it shares with other servers.
    pub fn driven_on(time: &Time, change: impl FnOnce(&mut Config)) -> Self {
        Self::start_in(Arc::new(TempDir::new()), Some(time.clone()), change)
    }

    fn start_in(data: Arc<TempDir>, time: Option<Time>, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        change(&mut config);
        config.data_dir = data.path().to_owned();
        config.listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let kept = config.clone();
        let (shutdown, stopped) = oneshot::channel();
        let (started, wait) = std::sync::mpsc::channel();
        let clock = time.as_ref().map_or_else(Clock::system, |time| time.clock().clone());
        let thread = std::thread::spawn(move || {
            let (runtime, threads) = Threads::runtime();
            runtime.block_on(async move {
                let server = Server::bind_with(config, clock).await.expect("the server starts");
                let (app, polls) = (Arc::clone(server.app()), Polls::default());
                let life = Life { app, runtime: Handle::current(), threads, polls };
                started.send((server.address(), life)).expect("the test waits");
                // A task like any other: what it does shows in the runtime's threads.
                let running = tokio::spawn(server.run(async { stopped.await.unwrap_or(()) }));
                running.await.expect("the server does not panic");
            });
        });
        let (address, life) = wait.recv().expect("the server starts");
        let (app, life) = (Arc::clone(&life.app), Arc::new(life));
        if let Some(time) = &time {
            time.add(&life);
        }
        Self { address, app, shutdown: Some(shutdown), thread: Some(thread), data, config: kept, life, time }
    }

    /// Stops in order.
    pub fn stop(self) -> Stopped {
        Stopped { data: Arc::clone(&self.data), config: self.config.clone(), time: self.time.clone() }
    }

    /// Stops in order and starts again on the same data, with the configuration of [`Self::start`]. On a driven
    /// clock a second passes meanwhile.
    pub fn restart(self) -> Self {
        self.restart_with(|_| {})
    }

    /// The same with a changed configuration.
    pub fn restart_with(self, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        change(&mut config);
        Stopped { config, ..self.stop() }.start()
    }

    /// The time of a driven server.
    #[track_caller]
    pub fn time(&self) -> &Time {
        self.time.as_ref().expect("only a driven server has a time that can pass")
    }

    /// Lets time pass; what was due by then is done when this returns. See [`Time::pass`].
    #[track_caller]
    pub fn pass(&self, duration: Duration) {
        self.time().pass(duration);
    }

    /// Waits, while no time passes, until the server has nothing left to do. See [`Time::settle`].
    #[track_caller]
    pub fn settle(&self) {
        self.time().settle();
    }

    /// The parts of the server, for looking inside.
    pub fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// Where its data is.
    pub fn data_dir(&self) -> &Path {
        self.data.path()
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A client without an account.
    pub fn anonymous(&self) -> Client {
        let polls = self.life.polls.clone();
        Client { polls, is_driven: self.time.is_some(), ..Client::new(&self.url()) }
    }

    /// A new account `name` with its first device, and a client that is logged in as it.
    pub fn register(&self, name: &str) -> Client {
        self.anonymous().register(name)
    }

    /// One more device of an account made by [`Self::register`].
    pub fn log_in(&self, name: &str) -> Client {
        self.anonymous().log_in(name)
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        drop(self.shutdown.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            eprintln!("the server panicked");
        }
    }
}

/// A client of one server; after `register` or `log_in` it sends its access token with each request.
#[derive(Clone)]
pub struct Client {
    pub agent: Agent,
    pub base: String,
    pub token: Option<String>,
    pub user: String,
    pub device: String,
    /// The polls that are held open at its server.
    pub polls: Polls,
    /// Its server is on a driven clock: a poll must not wait for a time that does not pass.
    pub is_driven: bool,
}

/// What the server answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: http::HeaderMap,
    /// The body as JSON; null when it is something else.
    pub body: Value,
    pub text: String,
}

impl Client {
    pub fn new(base: &str) -> Self {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(60)))
            .build()
            .into();
        Self {
            agent,
            base: base.to_owned(),
            token: None,
            user: String::new(),
            device: String::new(),
            polls: Polls::default(),
            is_driven: false,
        }
    }

    /// The same client with another access token.
    pub fn with_token(self, token: &Value) -> Self {
        Self { token: Some(token.as_str().expect("a token").to_owned()), ..self }
    }

    pub fn register(mut self, name: &str) -> Self {
        let auth = json!({ "type": "m.login.dummy" });
        let body = json!({ "username": name, "password": PASSWORD, "auth": auth });
        let answer = self.post("/_matrix/client/v3/register", body).ok();
        self.come_in(&answer);
        self
    }

    pub fn log_in(mut self, name: &str) -> Self {
        let answer = self
            .post(
                "/_matrix/client/v3/login",
                json!({
                    "type": "m.login.password",
                    "identifier": { "type": "m.id.user", "user": name },
                    "password": PASSWORD,
                }),
            )
            .ok();
        self.come_in(&answer);
        self
    }

    fn come_in(&mut self, answer: &Value) {
        let text = |key: &str| answer[key].as_str().expect(key).to_owned();
        self.token = Some(text("access_token"));
        self.user = text("user_id");
        self.device = text("device_id");
    }

    pub fn get(&self, path: &str) -> Answer {
        self.send("GET", path, None)
    }

    pub fn post(&self, path: &str, body: Value) -> Answer {
        self.send("POST", path, Some(body.to_string().as_bytes()))
    }

    pub fn put(&self, path: &str, body: Value) -> Answer {
        self.send("PUT", path, Some(body.to_string().as_bytes()))
    }

    pub fn delete(&self, path: &str, body: Value) -> Answer {
        self.send("DELETE", path, Some(body.to_string().as_bytes()))
    }

    /// Sends anything; a body goes out as it is, as `application/json`.
    pub fn send(&self, method: &str, path: &str, body: Option<&[u8]>) -> Answer {
        self.send_with(method, path, &[], body)
    }

    /// Sends anything, with further headers.
    pub fn send_with(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> Answer {
        let mut request = http::Request::builder().method(method).uri(format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = match body {
            Some(body) => {
                let request = request.header("content-type", "application/json");
                self.agent.run(request.body(body).expect("a request"))
            }
            None => self.agent.run(request.body(()).expect("a request")),
        };
        let mut response = response.expect("the server answers");
        let bytes = response.body_mut().read_to_vec().expect("a body");
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Answer {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: serde_json::from_slice(&bytes).unwrap_or_default(),
            text,
        }
    }
}

impl Answer {
    /// The body of a 200; anything else fails the test.
    #[track_caller]
    pub fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text);
        self.body
    }

    /// Asserts a Matrix error.
    #[track_caller]
    pub fn refused(self, status: u16, errcode: &str) -> Value {
        assert_eq!((self.status, self.body["errcode"].as_str()), (status, Some(errcode)), "{}", self.text);
        assert!(self.body["error"].is_string(), "an error has a sentence: {}", self.text);
        self.body
    }
}

/// Of the whole process: connections of a server's client outlive a request.
pub fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::new().expect("a runtime"))
}

/// Waits until `holds`, and fails the test when it does not within a minute: for what other threads or programs
/// do in their own time. On a driven clock no time passes meanwhile.
#[track_caller]
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what}");
        // Not more often than a user may ask.
        std::thread::sleep(Duration::from_millis(20));
    }
}
