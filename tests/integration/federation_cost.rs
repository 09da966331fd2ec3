//! What presence between two homeservers costs: transactions, bytes of their bodies, bytes on the wire.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use pilotlight::server::{Config, federation::queue::Peer};
use serde_json::json;

use super::{
    authority::{Authority, free_address},
    driven::Time,
    poll::Poll,
    presence::TICK,
    support::{Client, TestServer},
    watching::{Pair, SHORT_WATCHDOG, WINDOW, Watcher, observe, quiet, sent, sync},
};

/// Whoever syncs once is there for the rest of the test, and nobody is reminded of anything in it.
fn patient(config: &mut Config) {
    config.presence.offline_grace = Duration::from_secs(3_600);
    config.presence.short_watchdog = Duration::from_secs(1_500);
}

#[test]
fn f8_changes_within_a_window_are_one_transaction_and_one_undone_is_none() {
    let pair = Pair::with(patient);
    let Pair { time, a, b_name, b, .. } = &pair;
    let names = ["u1", "u2", "u3", "u4", "u5"];
    let users: Vec<_> = names.iter().map(|name| a.register(name)).collect();
    let bob = b.register("bob");
    for user in &users {
        observe(b, &bob.user, a, &user.user);
    }
    let users: Vec<_> = users.iter().map(Watcher::new).collect();
    let bob = Watcher::new(&bob);
    time.pass(WINDOW);
    users.iter().for_each(|user| bob.sees(&user.client.user, "online"));
    pair.quiet();
    let before = sent(a, b_name);
    for state in ["unavailable", "free_for_chat", "busy"] {
        users.iter().for_each(|user| user.choose(state));
        time.pass(WINDOW / 4);
    }
    time.pass(WINDOW / 4 - TICK);
    assert_eq!(sent(a, b_name), before, "the window has not ended");
    time.pass(TICK);
    users.iter().for_each(|user| bob.sees(&user.client.user, "busy"));
    let spent = || {
        let after = sent(a, b_name);
        (after.sent - before.sent, after.sent_edus - before.sent_edus)
    };
    assert_eq!(spent(), (1, 1));
    pair.quiet();
    assert_eq!(spent(), (1, 1), "nor anything later");
    assert!(!bob.history(&users[0].client.user).contains(&"free_for_chat".to_owned()));
    users[0].choose("free_for_chat");
    users[0].choose("busy");
    time.pass(WINDOW * 2);
    assert_eq!(spent(), (1, 1), "it was undone");
    bob.sees(&users[0].client.user, "busy");
}

#[test]
fn f8_what_arrives_together_is_told_together() {
    let pair = Pair::with(patient);
    let Pair { time, a, b, .. } = &pair;
    let users: Vec<_> = ["u1", "u2", "u3", "u4", "u5"].iter().map(|name| a.register(name)).collect();
    let bob = b.register("bob");
    for user in &users {
        observe(b, &bob.user, a, &user.user);
    }
    let users: Vec<_> = users.iter().map(Watcher::new).collect();
    let watching = Watcher::new(&bob);
    time.pass(WINDOW);
    users.iter().for_each(|user| watching.sees(&user.client.user, "online"));
    pair.quiet();
    let since = sync(&bob)["next_batch"].as_str().expect("a token").to_owned();
    let poll = Poll::open(&bob, &since);
    users.iter().for_each(|user| user.choose("busy"));
    time.pass(WINDOW * 2);
    let answer = poll.answer();
    let told = answer["presence"]["events"].as_array().expect("events").len();
    assert_eq!(told, users.len(), "one answer for all who changed: {answer}");
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

#[test]
fn f2_f8_a_hundred_contacts_cost_one_message_to_log_in_one_to_answer_and_one_for_each_change() {
    let pair = Pair::with(patient);
    let Pair { time, a_name, a, b_name, b, .. } = &pair;
    let alice = a.register("alice");
    let contacts = register_all(b, 100);
    for contact in &contacts {
        observe(a, &alice.user, b, &contact.user);
        observe(b, &contact.user, a, &alice.user);
        sync(contact);
    }
    pair.quiet();
    let spent = |before: &(Peer, Peer)| {
        let (to_b, to_a) = (sent(a, b_name), sent(b, a_name));
        let of =
            |after: Peer, before: &Peer| (after.sent - before.sent, after.sent_bytes - before.sent_bytes);
        (of(to_b, &before.0), of(to_a, &before.1))
    };
    let count = || (sent(a, b_name), sent(b, a_name));

    // A login: the status and the poll, the answer with a hundred statuses.
    let before = count();
    let alice_watches = Watcher::new(&alice);
    time.pass(WINDOW);
    contacts.iter().for_each(|contact| alice_watches.sees(&contact.user, "online"));
    pair.quiet();
    let ((to_b, b_bytes), (to_a, a_bytes)) = spent(&before);
    assert_eq!((to_b, to_a), (1, 1), "one message and one answer");
    assert!(b_bytes + a_bytes <= 8_000, "{b_bytes} + {a_bytes}");

    // A change of one whom a hundred watch.
    let before = count();
    alice_watches.choose("busy");
    time.pass(WINDOW);
    let ((to_b, bytes), _) = spent(&before);
    assert_eq!(to_b, 1);
    assert!(bytes <= 250, "{bytes}");

    // A burst: a hundred change within a window.
    pair.quiet();
    let before = count();
    for contact in &contacts {
        let path = format!("/_matrix/client/v3/presence/{}/status", contact.user);
        contact.put(&path, json!({ "presence": "busy" })).ok();
    }
    time.pass(WINDOW - TICK);
    assert_eq!(spent(&before), ((0, 0), (0, 0)));
    time.pass(TICK);
    contacts.iter().for_each(|contact| alice_watches.sees(&contact.user, "busy"));
    pair.quiet();
    let (_, (to_a, bytes)) = spent(&before);
    assert_eq!(to_a, 1);
    assert!(bytes <= 6_000, "{bytes}");
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
    let (ca, time) = (Authority::new(), Time::new());
    let behind_relay = || {
        let (outer, inner) = (free_address(), free_address());
        let (_, server) = ca.driven(&time, |config| {
            config.server_name = format!("localhost:{}", outer.port()).try_into().expect("a name");
            config.federation.listen = Some(inner);
        });
        (server.app().server_name().to_owned(), server, Relay::start(outer, inner))
    };
    let ((a_name, a, to_a), (b_name, b, to_b)) = (behind_relay(), behind_relay());
    let (alice, bob) = (a.register("alice"), b.register("bob"));
    observe(&a, &alice.user, &b, &bob.user);
    let (bob, alice) = (Watcher::new(&bob), Watcher::new(&alice));
    time.pass(WINDOW);
    alice.sees(&bob.client.user, "online");
    quiet(&time, [(&a, &b_name), (&b, &a_name)]);
    let count = || {
        let peers = (sent(&a, &b_name), sent(&b, &a_name));
        (peers.0.sent + peers.1.sent, to_a.count().0 + to_b.count().0, to_a.count().1 + to_b.count().1)
    };
    let before = count();
    time.pass(SHORT_WATCHDOG * 10);
    let after = count();
    let (reminders, bytes) = (after.0 - before.0, after.1 - before.1);
    assert!(reminders >= 9, "{reminders}");
    assert_eq!(after.2, before.2, "no new connections");
    assert!(bytes / reminders <= 400, "{reminders} reminders, {bytes} bytes");
    assert_eq!(alice.history(&bob.client.user), ["online"]);
}
