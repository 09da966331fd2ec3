//! Presence between two homeservers over TLS, as clients on both sides see it.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
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
    authority::{Authority, free_address},
    contacts::{add, answer, list_path, requests, standing},
    support::{Client, TestServer},
    sync::same,
};

/// The batch window in these tests.
const WINDOW: Duration = Duration::from_millis(400);

/// Everything shortened: a promise holds for 4 s.
fn quick(config: &mut Config) {
    config.presence.batch_window = WINDOW;
    config.presence.short_watchdog = Duration::from_secs(2);
    config.presence.long_watchdog = Duration::from_secs(60);
    config.presence.offline_grace = Duration::from_millis(500);
    config.rate_limits.enabled = false;
}

/// Whoever syncs once is there for the rest of the test, and no promise runs out in it.
fn patient(config: &mut Config) {
    quick(config);
    config.presence.batch_window = PATIENT_WINDOW;
    config.presence.short_watchdog = Duration::from_secs(60);
    config.presence.offline_grace = Duration::from_secs(60);
}

/// The batch window of [`patient`] servers: everybody's change fits into it.
const PATIENT_WINDOW: Duration = Duration::from_secs(4);

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

fn now<T>(what: impl Future<Output = T>) -> T {
    // One for all: connections live as long as the runtime in which they were made.
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| tokio::runtime::Runtime::new().expect("a runtime")).block_on(what)
}

/// `observer`, of `a`, has `observed`, of `b`, on their list, who has accepted.
fn observe(a: &TestServer, observer: &str, b: &TestServer, observed: &str) {
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

fn drop_from_list(who: &Client, whom: &Client) {
    who.post(&list_path(who), json!({ "drop": [whom.user] })).ok();
}

/// Waits until `holds`, and fails the test when it does not within 20 s.
#[track_caller]
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
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
    add(&alice, &bob);
    until("Bob is asked", || requests(&bob) == json!([alice.user]));
    answer(&bob, &alice, "accept");
    until("Bob accepted", || standing(&alice, &bob) == "accepted");
    // Alice has Bob on her list already: he is accepted unasked.
    add(&bob, &alice);
    until("Alice accepted", || standing(&bob, &alice) == "accepted");
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
fn f8_a_server_that_stops_in_order_sends_what_waits_for_the_end_of_the_window_and_says_nobody_is_gone() {
    let ca = Authority::new();
    let ((_, a), (_, b)) = (ca.server(&ca.file("ca.pem"), patient), ca.server(&ca.file("ca.pem"), patient));
    let (alice, bob) = (a.register("alice"), b.register("bob"));
    observe(&b, &bob.user, &a, &alice.user);
    sync(&alice);
    let bob = Watcher::new(&bob);
    bob.sees(&alice.user, "online");
    let path = format!("/_matrix/client/v3/presence/{}/status", alice.user);
    alice.put(&path, json!({ "presence": "busy", "status_msg": "restarting" })).ok();
    let begun = Instant::now();
    let stopped = a.stop();
    bob.sees(&alice.user, "busy (restarting)");
    assert!(begun.elapsed() < PATIENT_WINDOW, "before the window ends by itself");
    let a = stopped.start();
    sync(&same(&a, &alice));
    std::thread::sleep(PATIENT_WINDOW + Duration::from_secs(1));
    assert_eq!(bob.history(&alice.user), ["online", "busy (restarting)"], "nobody saw the restart");
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

/// Makes accounts, ten at a time.
fn register_all(server: &TestServer, count: usize) -> Vec<Client> {
    let names: Vec<String> = (0..count).map(|n| format!("user{n}")).collect();
    let of_ten = |names: &[String]| names.iter().map(|name| server.register(name)).collect::<Vec<_>>();
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            names.chunks(count / 10).map(|names| scope.spawn(move || of_ten(names))).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("they register")).collect()
    })
}

fn sync(client: &Client) -> serde_json::Value {
    client.get("/_matrix/client/v3/sync?timeout=0").ok()
}

#[test]
fn f2_f8_a_hundred_contacts_cost_one_message_to_log_in_one_to_answer_and_one_for_each_change() {
    let ca = Authority::new();
    let ((a_name, a), (b_name, b)) =
        (ca.server(&ca.file("ca.pem"), patient), ca.server(&ca.file("ca.pem"), patient));
    let alice = a.register("alice");
    let contacts = register_all(&b, 100);
    for contact in &contacts {
        observe(&a, &alice.user, &b, &contact.user);
        observe(&b, &contact.user, &a, &alice.user);
        sync(contact);
    }
    quiet(&a, &a_name, &b, &b_name);
    let spent = |before: &(Peer, Peer)| {
        let (to_b, to_a) = (sent(&a, &b_name), sent(&b, &a_name));
        let of =
            |after: Peer, before: &Peer| (after.sent - before.sent, after.sent_bytes - before.sent_bytes);
        (of(to_b, &before.0), of(to_a, &before.1))
    };
    let count = || (sent(&a, &b_name), sent(&b, &a_name));

    // A login: the status and the poll, the answer with a hundred statuses.
    let before = count();
    let alice_watches = Watcher::new(&alice);
    contacts.iter().for_each(|contact| alice_watches.sees(&contact.user, "online"));
    quiet(&a, &a_name, &b, &b_name); // what has arrived is counted when it is acknowledged
    let ((to_b, b_bytes), (to_a, a_bytes)) = spent(&before);
    assert_eq!((to_b, to_a), (1, 1), "one message and one answer");
    assert!(b_bytes + a_bytes <= 8_000, "{b_bytes} + {a_bytes}");

    // A change of one whom a hundred watch.
    let before = count();
    alice_watches.choose("busy");
    std::thread::sleep(PATIENT_WINDOW + Duration::from_secs(1));
    let ((to_b, bytes), _) = spent(&before);
    assert_eq!(to_b, 1);
    assert!(bytes <= 250, "{bytes}");

    // A burst: a hundred change within a window.
    quiet(&a, &a_name, &b, &b_name);
    let before = count();
    for contact in &contacts {
        let path = format!("/_matrix/client/v3/presence/{}/status", contact.user);
        contact.put(&path, json!({ "presence": "busy" })).ok();
    }
    contacts.iter().for_each(|contact| alice_watches.sees(&contact.user, "busy"));
    quiet(&a, &a_name, &b, &b_name);
    let (_, (to_a, bytes)) = spent(&before);
    assert_eq!(to_a, 1);
    assert!(bytes <= 6_000, "{bytes}");
}

#[test]
fn l8_who_has_no_client_open_asks_for_nobody_and_stops_to_know_them() {
    let ca = Authority::new();
    let ((a_name, a), (b_name, b)) =
        (ca.server(&ca.file("ca.pem"), quick), ca.server(&ca.file("ca.pem"), quick));
    let (alice, bob) = (a.register("alice"), b.register("bob"));
    observe(&a, &alice.user, &b, &bob.user);
    let bob = Watcher::new(&bob);
    let alice_watches = Watcher::new(&alice);
    alice_watches.sees(&bob.client.user, "online");
    drop(alice_watches);
    // The request itself opens no stream: nothing is asked for its sake.
    let state = || {
        let path = format!("/_matrix/client/v3/presence/{}/status", bob.client.user);
        alice.get(&path).ok()["org.pilotlight.presence"]["state"].clone()
    };
    until("he is not asked for", || state() == "unknown");
    quiet(&a, &a_name, &b, &b_name);
    let before = sent(&b, &a_name).sent;
    bob.say("does anybody care?");
    std::thread::sleep(WINDOW * 3);
    assert_eq!(sent(&b, &a_name).sent, before, "nobody does");
    let alice = Watcher::new(&alice);
    alice.sees(&bob.client.user, "online (does anybody care?)");
    // Nor is anybody who was taken off the list.
    drop_from_list(&alice.client, &bob.client);
    quiet(&a, &a_name, &b, &b_name);
    let before = sent(&b, &a_name).sent_edus;
    bob.say("and now?");
    std::thread::sleep(WINDOW * 3);
    assert_eq!(sent(&b, &a_name).sent_edus, before, "nobody does");
}

#[test]
fn l2_who_is_revoked_or_not_shared_with_ceases_to_see() {
    let ca = Authority::new();
    let ((_, a), (_, b)) = (ca.server(&ca.file("ca.pem"), quick), ca.server(&ca.file("ca.pem"), quick));
    let (alice, bob) = (a.register("alice"), b.register("bob"));
    observe(&a, &alice.user, &b, &bob.user);
    let (bob, alice) = (Watcher::new(&bob), Watcher::new(&alice));
    alice.sees(&bob.client.user, "online");
    let settings = format!("/_matrix/client/unstable/org.pilotlight/presence/settings/{}", bob.client.user);
    bob.client.put(&settings, json!({ "share": "nobody" })).ok();
    alice.sees(&bob.client.user, "unknown");
    bob.client.put(&settings, json!({ "share": "list" })).ok();
    alice.sees(&bob.client.user, "online");
}

#[test]
fn a_repeated_transaction_with_presence_has_no_second_effect() {
    let ca = Authority::new();
    let ((a_name, a), (b_name, b)) =
        (ca.server(&ca.file("ca.pem"), quick), ca.server(&ca.file("ca.pem"), quick));
    let (alice, bob) = (a.register("alice"), b.register("bob"));
    observe(&a, &alice.user, &b, &bob.user);
    let alice = Watcher::new(&alice);
    // As a stock server would say it, which numbers nothing: only the transaction's ID tells.
    let status = |state: &str| {
        json!({ "origin": b_name, "origin_server_ts": 1, "pdus": [], "edus": [{ "edu_type": "m.presence", "content": {
            "push": [{ "user_id": bob.user, "presence": state, "last_active_ago": 10 }] } }] })
    };
    let send = |id: &str, body: &serde_json::Value| {
        let client = &b.app().federation.as_ref().expect("federates").client;
        let path = format!("/_matrix/federation/v1/send/{id}");
        let sent = client.request(&a_name, http::Method::PUT, &path, Some(body.to_string().into()));
        now(sent).expect("an answer");
    };
    send("1", &status("online"));
    alice.sees(&bob.user, "online");
    send("2", &status("unavailable"));
    alice.sees(&bob.user, "unavailable");
    send("1", &status("online"));
    std::thread::sleep(WINDOW * 2);
    assert_eq!(alice.history(&bob.user).last().map(String::as_str), Some("unavailable"));
}

/// Passes on what goes to a server, and counts it: TLS and all, in both directions.
struct Relay {
    bytes: Arc<AtomicU64>,
    connections: Arc<AtomicU64>,
}

impl Relay {
    fn start(listen: SocketAddr, to: SocketAddr) -> Self {
        let relay = Self { bytes: Arc::default(), connections: Arc::default() };
        let (bytes, connections) = (Arc::clone(&relay.bytes), Arc::clone(&relay.connections));
        let listener = std::net::TcpListener::bind(listen).expect("the address is free");
        let pump = |mut from: TcpStream, mut to: TcpStream, bytes: Arc<AtomicU64>| {
            std::thread::spawn(move || {
                let mut buffer = [0; 16_384];
                while let Ok(read @ 1..) = from.read(&mut buffer) {
                    bytes.fetch_add(read as u64, Ordering::Relaxed);
                    if to.write_all(&buffer[..read]).is_err() {
                        break;
                    }
                }
                to.shutdown(std::net::Shutdown::Both).ok();
            })
        };
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(to) else { continue };
                connections.fetch_add(1, Ordering::Relaxed);
                let clone = |stream: &TcpStream| stream.try_clone().expect("a handle");
                pump(clone(&client), clone(&server), Arc::clone(&bytes));
                pump(server, client, Arc::clone(&bytes));
            }
        });
        relay
    }

    fn count(&self) -> (u64, u64) {
        (self.bytes.load(Ordering::Relaxed), self.connections.load(Ordering::Relaxed))
    }
}

#[test]
fn f5_a_reminder_between_silent_servers_costs_no_more_than_400_bytes_on_the_wire() {
    let ca = Authority::new();
    let behind_relay = || {
        let (outer, inner) = (free_address(), free_address());
        let (name, server) = ca.server(&ca.file("ca.pem"), |config| {
            quick(config);
            // Reminders sooner than every minute; that the promise has to be said costs some bytes more.
            config.presence.short_watchdog = Duration::from_secs(3);
            config.server_name = format!("localhost:{}", outer.port()).try_into().expect("a name");
            config.federation.listen = Some(inner);
        });
        drop(name);
        (server.app().server_name().to_owned(), server, Relay::start(outer, inner))
    };
    let ((a_name, a, to_a), (b_name, b, to_b)) = (behind_relay(), behind_relay());
    let (alice, bob) = (a.register("alice"), b.register("bob"));
    observe(&a, &alice.user, &b, &bob.user);
    let (bob, alice) = (Watcher::new(&bob), Watcher::new(&alice));
    alice.sees(&bob.client.user, "online");
    quiet(&a, &a_name, &b, &b_name);
    let count = || {
        let peers = (sent(&a, &b_name), sent(&b, &a_name));
        (peers.0.sent + peers.1.sent, to_a.count().0 + to_b.count().0, to_a.count().1 + to_b.count().1)
    };
    let before = count();
    until("four reminders", || count().0 >= before.0 + 4);
    std::thread::sleep(Duration::from_millis(200));
    let after = count();
    let (reminders, bytes) = (after.0 - before.0, after.1 - before.1);
    assert_eq!(after.2, before.2, "no new connections");
    assert!(bytes / reminders <= 400, "{reminders} reminders, {bytes} bytes");
    assert_eq!(alice.history(&bob.client.user).last().map(String::as_str), Some("online"));
}
