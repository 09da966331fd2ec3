//! Presence between two homeservers over TLS, as clients on both sides see it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
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
    authority::Authority,
    support::{Client, TestServer},
};

/// The batch window in these tests.
const WINDOW: Duration = Duration::from_millis(400);

/// Everything shortened: a promise holds for 4 s.
fn quick(config: &mut Config) {
    config.presence.batch_window = WINDOW;
    config.presence.short_watchdog = Duration::from_secs(2);
    config.presence.long_watchdog = Duration::from_secs(60);
    config.presence.offline_grace = Duration::from_millis(500);
}

/// A client with a poll always open, that notes every presence it is told of.
struct Watcher {
    client: Client,
    seen: Arc<Mutex<BTreeMap<String, Vec<String>>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    fn new(client: &Client) -> Self {
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
    fn history(&self, user: &str) -> Vec<String> {
        self.seen.lock().expect("no panic").get(user).cloned().unwrap_or_default()
    }

    /// Waits until the last that was shown of `user` is `state`.
    #[track_caller]
    fn sees(&self, user: &str, state: &str) {
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

    fn choose(&self, state: &str) {
        let path = format!("/_matrix/client/v3/presence/{}/status", self.client.user);
        self.client.put(&path, json!({ "presence": state })).ok();
    }

    fn say(&self, text: &str) {
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

fn now(what: impl Future<Output: std::fmt::Debug>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(what);
}

/// `observer`, of `a`, has `observed`, of `b`, on their list, who has accepted.
fn observe(a: &TestServer, observer: &str, b: &TestServer, observed: &str) {
    let (near, far) = (id(observer), id(observed));
    now(a.app().change_list(&near, |list| {
        list.handle_add(&Arc::from(observed), None).expect("room");
        Ok(())
    }));
    now(b.app().change_list(&far, |list| {
        list.handle_message(&Arc::from(observer), Kind::Invite, Some(1));
        list.handle_accept(&Arc::from(observer)).expect("a request");
        Ok(())
    }));
    now(a.app().change_list(&near, |list| {
        list.handle_message(&Arc::from(observed), Kind::Accept, Some(1));
        Ok(())
    }));
}

/// What `from` sent to `to` so far.
fn sent(from: &TestServer, to: &OwnedServerName) -> Peer {
    let federation = from.app().federation.as_ref().expect("federates");
    federation.queue.peers().remove(to).unwrap_or_default()
}

/// Waits until no more transactions are sent by either, for a while.
fn quiet(a: &TestServer, a_name: &OwnedServerName, b: &TestServer, b_name: &OwnedServerName) {
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

#[test]
fn f1_f2_presence_travels_in_both_directions() {
    let ca = Authority::new();
    let ((_, a), (_, b)) = (ca.server(&ca.file("ca.pem"), quick), ca.server(&ca.file("ca.pem"), quick));
    let (alice, bob) = (a.register("alice"), b.register("bob"));
    observe(&a, &alice.user, &b, &bob.user);
    observe(&b, &bob.user, &a, &alice.user);
    let status = |of: &str| format!("/_matrix/client/v3/presence/{of}/status");
    let before = alice.get(&status(&bob.user)).ok();
    assert_eq!(before["org.pilotlight.presence"]["state"], "unknown");
    let (alice, bob) = (Watcher::new(&alice), Watcher::new(&bob));
    alice.sees(&bob.client.user, "online");
    bob.sees(&alice.client.user, "online");
    alice.choose("busy");
    bob.sees(&alice.client.user, "busy");
    bob.choose("free_for_chat");
    alice.sees(&bob.client.user, "free_for_chat");
    let content = alice.client.get(&status(&bob.client.user)).ok();
    assert_eq!(content["presence"], "online");
    // Who has nobody's leave sees nothing, whichever server the other is of.
    let mallory = a.register("mallory");
    mallory.get(&status(&bob.client.user)).refused(403, "M_FORBIDDEN");
}

#[test]
fn f8_changes_within_a_window_are_one_transaction_and_one_undone_is_none() {
    let ca = Authority::new();
    let ((a_name, a), (b_name, b)) =
        (ca.server(&ca.file("ca.pem"), quick), ca.server(&ca.file("ca.pem"), quick));
    let names = ["u1", "u2", "u3", "u4", "u5"];
    let users: Vec<_> = names.iter().map(|name| a.register(name)).collect();
    let bob = b.register("bob");
    for user in &users {
        observe(&b, &bob.user, &a, &user.user);
    }
    let users: Vec<_> = users.iter().map(Watcher::new).collect();
    let bob = Watcher::new(&bob);
    users.iter().for_each(|user| bob.sees(&user.client.user, "online"));
    quiet(&a, &a_name, &b, &b_name);
    let before = sent(&a, &b_name);
    for state in ["unavailable", "free_for_chat", "busy"] {
        users.iter().for_each(|user| user.choose(state));
    }
    users.iter().for_each(|user| bob.sees(&user.client.user, "busy"));
    let after = sent(&a, &b_name);
    assert_eq!((after.sent - before.sent, after.sent_edus - before.sent_edus), (1, 1));
    assert!(!bob.history(&users[0].client.user).contains(&"free_for_chat".to_owned()));
    quiet(&a, &a_name, &b, &b_name);
    let before = sent(&a, &b_name).sent_bytes;
    users[0].choose("free_for_chat");
    users[0].choose("busy");
    std::thread::sleep(WINDOW * 2);
    // A reminder may have been due; a status was not.
    assert_eq!(bob.history(&users[0].client.user).last().map(String::as_str), Some("busy"));
    assert!(sent(&a, &b_name).sent_bytes - before < 400);
}

#[test]
fn p4_a_hidden_user_is_offline_to_the_other_server_and_sees_it_all_the_same() {
    let ca = Authority::new();
    let ((_, a), (_, b)) = (ca.server(&ca.file("ca.pem"), quick), ca.server(&ca.file("ca.pem"), quick));
    let (alice, bob) = (a.register("alice"), b.register("bob"));
    observe(&a, &alice.user, &b, &bob.user);
    observe(&b, &bob.user, &a, &alice.user);
    let (alice, bob) = (Watcher::new(&alice), Watcher::new(&bob));
    bob.sees(&alice.client.user, "online");
    alice.choose("hidden");
    bob.sees(&alice.client.user, "offline");
    bob.say("here");
    alice.sees(&bob.client.user, "online (here)");
    assert_eq!(bob.history(&alice.client.user).last().map(String::as_str), Some("offline"));
    alice.choose("online");
    bob.sees(&alice.client.user, "online");
}

#[test]
fn f6_a_server_that_stops_becomes_unknown_and_is_seen_again_when_it_is_back() {
    let ca = Authority::new();
    let ((_, a), (_, b)) = (ca.server(&ca.file("ca.pem"), quick), ca.server(&ca.file("ca.pem"), quick));
    let (alice, bob) = (a.register("alice"), b.register("bob"));
    observe(&a, &alice.user, &b, &bob.user);
    let alice_watches = Watcher::new(&alice);
    let bob_is_there = Watcher::new(&bob);
    alice_watches.sees(&bob.user, "online");
    drop(bob_is_there);
    let stopped = b.stop();
    alice_watches.sees(&bob.user, "unknown");
    let b = stopped.start();
    let bob = Watcher::new(&b.log_in("bob"));
    bob.say("back");
    alice_watches.sees(&bob.client.user, "online (back)");
}

#[test]
fn a_server_that_restarts_is_asked_and_answered_again() {
    let ca = Authority::new();
    let ((_, a), (_, b)) = (ca.server(&ca.file("ca.pem"), quick), ca.server(&ca.file("ca.pem"), quick));
    let (alice, bob) = (a.register("alice"), b.register("bob"));
    observe(&a, &alice.user, &b, &bob.user);
    observe(&b, &bob.user, &a, &alice.user);
    let bob = Watcher::new(&bob);
    let first = Watcher::new(&alice);
    bob.say("first");
    first.sees(&bob.client.user, "online (first)");
    drop(first);
    // The one who watches forgets all: it asks again.
    let a = a.stop().start();
    let alice = Watcher::new(&a.log_in("alice"));
    alice.sees(&bob.client.user, "online (first)");
    alice.say("again");
    bob.sees(&alice.client.user, "online (again)");
}

#[test]
fn a_server_that_was_away_gets_the_last_state_only() {
    let ca = Authority::new();
    let ((_, a), (_, b)) = (ca.server(&ca.file("ca.pem"), quick), ca.server(&ca.file("ca.pem"), quick));
    let (alice, bob) = (a.register("alice"), b.register("bob"));
    observe(&b, &bob.user, &a, &alice.user);
    let alice = Watcher::new(&alice);
    let bob_watches = Watcher::new(&bob);
    alice.say("one");
    bob_watches.sees(&alice.client.user, "online (one)");
    drop(bob_watches);
    let stopped = b.stop();
    for text in ["two", "three", "four"] {
        alice.say(text);
        std::thread::sleep(WINDOW * 2);
    }
    let b = stopped.start();
    let bob = Watcher::new(&b.log_in("bob"));
    bob.sees(&alice.client.user, "online (four)");
    let told: Vec<_> = bob.history(&alice.client.user).into_iter().filter(|s| s != "unknown").collect();
    assert_eq!(told, ["online (four)"]);
}
