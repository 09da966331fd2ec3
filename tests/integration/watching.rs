//! Two homeservers on one time, and clients on both that watch each other.

use std::{
    collections::BTreeMap,
    net::{Shutdown, TcpStream},
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use pilotlight::{
    core::list::Kind,
    server::{Config, federation::queue::Peer},
};
use ruma::{OwnedServerName, OwnedUserId, UserId};
use serde_json::{Value, json};

use super::{
    authority::Authority,
    contacts::list_path,
    driven::Time,
    poll::{ask, connect},
    support::{Client, TestServer},
};

/// The batch window, unless a server is told otherwise.
pub const WINDOW: Duration = Duration::from_secs(10);

/// How long after their last poll users are offline and their polls are over, unless a server is told otherwise.
pub const GRACE: Duration = Duration::from_secs(30);

/// The time between two reminders, unless a server is told otherwise.
pub const SHORT_WATCHDOG: Duration = Duration::from_secs(60);

/// How long what a server said holds without a sign of life from it: twice its short watchdog.
pub const PROMISE: Duration = Duration::from_secs(120);

/// Two servers that trust each other and share a time, with everything as it is unless it is told otherwise.
pub struct Pair {
    pub ca: Authority,
    pub time: Time,
    pub a_name: OwnedServerName,
    pub a: TestServer,
    pub b_name: OwnedServerName,
    pub b: TestServer,
}

impl Pair {
    /// Everything as people have it, but for the limits on how often somebody may ask.
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    /// The same with a changed configuration, for both.
    pub fn with(change: impl Fn(&mut Config)) -> Self {
        let change = |config: &mut Config| {
            config.rate_limits.enabled = false;
            change(config);
        };
        let (ca, time) = (Authority::new(), Time::new());
        let ((a_name, a), (b_name, b)) = (ca.driven(&time, change), ca.driven(&time, change));
        Self { ca, time, a_name, a, b_name, b }
    }

    /// Lets time pass until neither has anything left to send: two windows in which no transaction goes out.
    #[track_caller]
    pub fn quiet(&self) {
        quiet(&self.time, [(&self.a, &self.b_name), (&self.b, &self.a_name)]);
    }
}

/// A client with a poll always open, that notes every presence it is told of.
///
/// When time has passed, everything that it was told by then is noted.
pub struct Watcher {
    pub client: Client,
    seen: Arc<Mutex<BTreeMap<String, Vec<Value>>>>,
    stop: Arc<AtomicBool>,
    connection: TcpStream,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    pub fn new(client: &Client) -> Self {
        let seen: Arc<Mutex<BTreeMap<String, Vec<Value>>>> = Arc::default();
        let stop = Arc::new(AtomicBool::new(false));
        let (connection, held) = (connect(client), client.polls.hold());
        let thread = {
            let (client, seen, stop) = (client.clone(), Arc::clone(&seen), Arc::clone(&stop));
            let mut connection = connection.try_clone().expect("a handle");
            std::thread::spawn(move || {
                let mut since = String::new();
                while let Some(answer) = ask(&mut connection, &client, &since) {
                    for event in answer["presence"]["events"].as_array().into_iter().flatten() {
                        let user = event["sender"].as_str().expect("a sender").to_owned();
                        let content = event["content"].clone();
                        seen.lock().expect("no panic").entry(user).or_default().push(content);
                    }
                    since = answer["next_batch"].as_str().expect("a token").to_owned();
                }
                drop(held);
                assert!(stop.load(Ordering::Relaxed), "the server ended a watcher's connection");
            })
        };
        Self { client: client.clone(), seen, stop, connection, thread: Some(thread) }
    }

    /// Everything that was shown of `user`, in order: the state, and the message if there is one.
    pub fn history(&self, user: &str) -> Vec<String> {
        let shown = |content: Value| {
            let state = content["org.pilotlight.presence"]["state"].as_str();
            let text = content["status_msg"].as_str().map(|m| format!(" ({m})"));
            format!("{}{}", state.expect("a state"), text.unwrap_or_default())
        };
        self.contents(user).into_iter().map(shown).collect()
    }

    /// The contents of all events about `user`, in order.
    pub fn contents(&self, user: &str) -> Vec<Value> {
        self.seen.lock().expect("no panic").get(user).cloned().unwrap_or_default()
    }

    /// Asserts that the last that was shown of `user` is `state`.
    #[track_caller]
    pub fn sees(&self, user: &str, state: &str) {
        let history = self.history(user);
        assert_eq!(history.last().map(String::as_str), Some(state), "{user}: {history:?}");
    }

    pub fn choose(&self, state: &str) {
        let path = format!("/_matrix/client/v3/presence/{}/status", self.client.user);
        self.client.put(&path, json!({ "presence": state })).ok();
    }

    pub fn say(&self, text: &str) {
        let path = format!("/_matrix/client/v3/presence/{}/status", self.client.user);
        self.client.put(&path, json!({ "presence": "online", "status_msg": text })).ok();
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Fails when the server was quicker.
        self.connection.shutdown(Shutdown::Both).ok();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            eprintln!("a watcher's server was gone");
        }
    }
}

fn id(user: &str) -> OwnedUserId {
    UserId::parse(user).expect("a user ID")
}

pub fn now<T>(what: impl Future<Output = T>) -> T {
    // One for all: connections live as long as the runtime in which they were made.
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| tokio::runtime::Runtime::new().expect("a runtime")).block_on(what)
}

/// `observer`, of `a`, has `observed`, of `b`, on their list, who has accepted.
pub fn observe(a: &TestServer, observer: &str, b: &TestServer, observed: &str) {
    let (near, far) = (id(observer), id(observed));
    now(a.app().contacts.change(&near, |list| {
        list.handle_add(&Arc::from(observed), None).expect("room");
        Ok(())
    }))
    .expect("it can be written");
    now(b.app().contacts.change(&far, |list| {
        list.handle_message(&Arc::from(observer), Kind::Invite, Some(1));
        list.handle_accept(&Arc::from(observer)).expect("a request");
        Ok(())
    }))
    .expect("it can be written");
    now(a.app().contacts.change(&near, |list| {
        list.handle_message(&Arc::from(observed), Kind::Accept, Some(1));
        Ok(())
    }))
    .expect("it can be written");
}

/// Takes `whom` off the list of `who`.
pub fn drop_from_list(who: &Client, whom: &Client) {
    who.post(&list_path(who), json!({ "drop": [whom.user] })).ok();
}

/// What `from` sent to `to` so far.
pub fn sent(from: &TestServer, to: &OwnedServerName) -> Peer {
    let federation = from.app().federation.as_ref().expect("federates");
    federation.queue.peers().remove(to).unwrap_or_default()
}

/// Lets time pass until each server has sent no more transactions to the server of that name for two windows.
#[track_caller]
pub fn quiet(time: &Time, pairs: [(&TestServer, &OwnedServerName); 2]) {
    let count = || pairs.map(|(from, to)| sent(from, to).sent);
    for _ in 0..20 {
        let before = count();
        time.pass(WINDOW * 2);
        if count() == before {
            return;
        }
    }
    panic!("they do not stop talking");
}

/// What a client is told by one sync that does not wait.
pub fn sync(client: &Client) -> serde_json::Value {
    client.get("/_matrix/client/v3/sync?timeout=0").ok()
}
