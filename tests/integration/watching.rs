//! Two homeservers with everything shortened, and clients on both that watch each other.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use pilotlight::{
    core::list::Kind,
    server::{Config, federation::queue::Peer},
};
use ruma::{OwnedServerName, OwnedUserId, UserId};
use serde_json::json;

use super::{
    contacts::list_path,
    support::{Client, TestServer},
};

/// The batch window in these tests.
pub const WINDOW: Duration = Duration::from_millis(400);

/// Everything shortened: a promise holds for 4 s.
pub fn quick(config: &mut Config) {
    config.presence.batch_window = WINDOW;
    config.presence.short_watchdog = Duration::from_secs(2);
    config.presence.long_watchdog = Duration::from_secs(60);
    config.presence.offline_grace = Duration::from_millis(500);
    config.rate_limits.enabled = false;
}

/// Whoever syncs once is there for the rest of the test, and no promise runs out in it.
pub fn patient(config: &mut Config) {
    quick(config);
    config.presence.batch_window = PATIENT_WINDOW;
    config.presence.short_watchdog = Duration::from_secs(60);
    config.presence.offline_grace = Duration::from_secs(60);
}

/// The batch window of [`patient`] servers: everybody's change fits into it.
pub const PATIENT_WINDOW: Duration = Duration::from_secs(4);

/// A client with a poll always open, that notes every presence it is told of.
pub struct Watcher {
    pub client: Client,
    seen: Arc<Mutex<BTreeMap<String, Vec<String>>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    pub fn new(client: &Client) -> Self {
        let seen: Arc<Mutex<BTreeMap<String, Vec<String>>>> = Arc::default();
        let stop = Arc::new(AtomicBool::new(false));
        let thread = {
            let (client, seen, stop) = (client.clone(), Arc::clone(&seen), Arc::clone(&stop));
            std::thread::spawn(move || {
                let mut since = String::new();
                while !stop.load(Ordering::Relaxed) {
                    let path = format!("/_matrix/client/v3/sync?timeout=250{since}");
                    let answer = client.get(&path).ok();
                    for event in answer["presence"]["events"].as_array().into_iter().flatten() {
                        let user = event["sender"].as_str().expect("a sender").to_owned();
                        let state = event["content"]["org.pilotlight.presence"]["state"].as_str();
                        let text = event["content"]["status_msg"].as_str().map(|m| format!(" ({m})"));
                        let shown = format!("{}{}", state.expect("a state"), text.unwrap_or_default());
                        seen.lock().expect("no panic").entry(user).or_default().push(shown);
                    }
                    since = format!("&since={}", answer["next_batch"].as_str().expect("a token"));
                }
            })
        };
        Self { client: client.clone(), seen, stop, thread: Some(thread) }
    }

    /// Everything that was shown of `user`, in order.
    pub fn history(&self, user: &str) -> Vec<String> {
        self.seen.lock().expect("no panic").get(user).cloned().unwrap_or_default()
    }

    /// Waits until the last that was shown of `user` is `state`.
    #[track_caller]
    pub fn sees(&self, user: &str, state: &str) {
        let begun = Instant::now();
        while self.history(user).last().is_none_or(|last| last != state) {
            assert!(
                begun.elapsed() < Duration::from_secs(20),
                "{user}: {state}, not {:?}",
                self.history(user)
            );
            std::thread::sleep(Duration::from_millis(10));
        }
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
    now(a.app().change_list(&near, |list| {
        list.handle_add(&Arc::from(observed), None).expect("room");
        Ok(())
    }))
    .expect("it can be written");
    now(b.app().change_list(&far, |list| {
        list.handle_message(&Arc::from(observer), Kind::Invite, Some(1));
        list.handle_accept(&Arc::from(observer)).expect("a request");
        Ok(())
    }))
    .expect("it can be written");
    now(a.app().change_list(&near, |list| {
        list.handle_message(&Arc::from(observed), Kind::Accept, Some(1));
        Ok(())
    }))
    .expect("it can be written");
}

/// Takes `whom` off the list of `who`.
pub fn drop_from_list(who: &Client, whom: &Client) {
    who.post(&list_path(who), json!({ "drop": [whom.user] })).ok();
}

/// Waits until `holds`, and fails the test when it does not within 20 s.
#[track_caller]
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What `from` sent to `to` so far.
pub fn sent(from: &TestServer, to: &OwnedServerName) -> Peer {
    let federation = from.app().federation.as_ref().expect("federates");
    federation.queue.peers().remove(to).unwrap_or_default()
}

/// Waits until no more transactions are sent by either, for a while.
pub fn quiet(a: &TestServer, a_name: &OwnedServerName, b: &TestServer, b_name: &OwnedServerName) {
    let count = || (sent(a, b_name).sent, sent(b, a_name).sent);
    let mut last = (count(), Instant::now());
    let begun = Instant::now();
    while last.1.elapsed() < WINDOW * 2 {
        assert!(begun.elapsed() < Duration::from_secs(20), "they do not stop talking");
        std::thread::sleep(Duration::from_millis(20));
        if count() != last.0 {
            last = (count(), Instant::now());
        }
    }
}

/// What a client is told by one sync that does not wait.
pub fn sync(client: &Client) -> serde_json::Value {
    client.get("/_matrix/client/v3/sync?timeout=0").ok()
}
