//! Presence between two homeservers over TLS, as clients on both sides see it.

use std::time::Duration;

use ruma::UserId;
use serde_json::{Value, json};

use super::{
    contacts::{add, answer, requests, standing},
    presence::{TICK, device},
    streamed::{Held, Told},
    support::{Client, TestServer},
    watching::{
        GRACE, PROMISE, Pair, SHORT_WATCHDOG, WINDOW, Watcher, drop_from_list, now, observe, sent, sync,
    },
};

/// Time enough for who comes to ask and be answered: a poll waits a moment for what else a login brings.
const LOGIN: Duration = Duration::from_secs(1);

/// What the server of `client` holds of `of`, without asking for it.
fn held(server: &TestServer, client: &Client, of: &Client) -> Value {
    let [client, of] = [client, of].map(|client| UserId::parse(&client.user).expect("a user ID"));
    let content = server.app().presence_content(&client, &of);
    let content: Value = serde_json::from_slice(&content).expect("JSON");
    content["org.pilotlight.presence"]["state"].clone()
}

/// What `client` sees of `of` when it asks; no stream is opened for it.
fn seen(client: &Client, of: &Client) -> Value {
    let path = format!("/_matrix/client/v3/presence/{}/status", of.user);
    client.get(&path).ok()["org.pilotlight.presence"]["state"].clone()
}

#[test]
fn f1_f2_presence_travels_in_both_directions() {
    let pair = Pair::new();
    let (alice, bob) = (pair.a.register("alice"), pair.b.register("bob"));
    add(&alice, &bob);
    pair.time.settle();
    assert_eq!(requests(&bob), json!([alice.user]));
    answer(&bob, &alice, "accept");
    pair.time.settle();
    assert_eq!(standing(&alice, &bob), "accepted");
    // Alice has Bob on her list already: he is accepted unasked.
    add(&bob, &alice);
    pair.time.settle();
    assert_eq!(standing(&bob, &alice), "accepted");
    assert_eq!(seen(&alice, &bob), "offline", "he is asked for, and was never there");
    let (alice, bob) = (Watcher::new(&alice), Watcher::new(&bob));
    pair.time.pass(LOGIN);
    alice.sees(&bob.client.user, "online");
    bob.sees(&alice.client.user, "online");
    pair.time.pass(WINDOW);
    alice.choose("busy");
    pair.time.pass(WINDOW - TICK);
    bob.sees(&alice.client.user, "online");
    pair.time.pass(TICK);
    bob.sees(&alice.client.user, "busy");
    bob.choose("free_for_chat");
    pair.time.pass(WINDOW);
    alice.sees(&bob.client.user, "free_for_chat");
    let status = |of: &str| format!("/_matrix/client/v3/presence/{of}/status");
    let content = alice.client.get(&status(&bob.client.user)).ok();
    assert_eq!(content["presence"], "online");
    // Who has nobody's leave sees nothing, whichever server the other is of.
    let mallory = pair.a.register("mallory");
    mallory.get(&status(&bob.client.user)).refused(403, "M_FORBIDDEN");
}

#[test]
fn f1_a_held_stream_is_told_of_users_of_the_other_server() {
    let pair = Pair::new();
    let (alice, bob) = (pair.a.register("alice"), pair.b.register("bob"));
    observe(&pair.a, &alice.user, &pair.b, &bob.user);
    let held = Held::open(&alice, "");
    held.until("the beginning", |told| told.name == "sync");
    let sees = |state: &str| {
        let is = |told: &Told| {
            let brief = told.name == "p" && told.data["u"] == *bob.user && told.data["s"] == state;
            let events = told.data["presence"]["events"].as_array().cloned().unwrap_or_default();
            let whole = |event: &Value| event["content"]["org.pilotlight.presence"]["state"] == state;
            brief || events.iter().any(|event| event["sender"] == *bob.user && whole(event))
        };
        held.until(state, is);
    };
    let bob_is = Watcher::new(&bob);
    pair.time.pass(LOGIN);
    sees("online");
    for state in ["busy", "free_for_chat"] {
        bob_is.choose(state);
        pair.time.pass(WINDOW);
        sees(state);
    }
    drop(bob_is);
    pair.time.pass(GRACE + WINDOW);
    sees("offline");
}

#[test]
fn p4_a_hidden_user_is_offline_to_the_other_server_and_sees_it_all_the_same() {
    let pair = Pair::new();
    let (alice, bob) = (pair.a.register("alice"), pair.b.register("bob"));
    observe(&pair.a, &alice.user, &pair.b, &bob.user);
    observe(&pair.b, &bob.user, &pair.a, &alice.user);
    let (alice, bob) = (Watcher::new(&alice), Watcher::new(&bob));
    pair.time.pass(LOGIN);
    bob.sees(&alice.client.user, "online");
    alice.choose("hidden");
    pair.time.pass(WINDOW);
    bob.sees(&alice.client.user, "offline");
    bob.say("here");
    pair.time.pass(WINDOW);
    alice.sees(&bob.client.user, "online (here)");
    // Whatever keeps her there does not give her away.
    pair.time.pass(PROMISE * 2);
    assert_eq!(bob.history(&alice.client.user), ["online", "offline"]);
    alice.choose("online");
    pair.time.pass(WINDOW);
    bob.sees(&alice.client.user, "online");
}

#[test]
fn p6_how_long_somebody_is_idle_is_seen_on_the_other_server_whether_busy_or_not() {
    let pair = Pair::new();
    let (alice, bob) = (pair.a.register("alice"), pair.b.register("bob"));
    observe(&pair.b, &bob.user, &pair.a, &alice.user);
    let (alice, bob) = (Watcher::new(&alice), Watcher::new(&bob));
    let idle = || {
        let path = format!("/_matrix/client/v3/presence/{}/status", alice.client.user);
        bob.client.get(&path).ok()["org.pilotlight.presence"]["idle_ms"].clone()
    };
    for choice in ["free_for_chat", "busy"] {
        alice.choose(choice);
        pair.time.pass(WINDOW * 2);
        assert_eq!(idle(), Value::Null, "{choice}");
        device(&alice.client, json!({ "idle_ms": 130_000 }));
        pair.time.pass(WINDOW);
        let state = if choice == "busy" { "busy" } else { "unavailable" };
        bob.sees(&alice.client.user, state);
        assert_eq!(idle(), 120_000, "{choice}");
        pair.time.pass(SHORT_WATCHDOG);
        assert_eq!(idle(), 180_000, "{choice}: it goes on by itself");
        device(&alice.client, json!({ "idle_ms": 0 }));
        pair.time.pass(WINDOW);
        bob.sees(&alice.client.user, choice);
        assert_eq!(idle(), Value::Null, "{choice}: she is back");
    }
}

#[test]
fn f6_a_server_that_stops_becomes_unknown_and_is_seen_again_when_it_is_back() {
    let Pair { ca: _ca, time, a, b, .. } = Pair::new();
    let (alice, bob) = (a.register("alice"), b.register("bob"));
    observe(&a, &alice.user, &b, &bob.user);
    let alice_watches = Watcher::new(&alice);
    let bob_is_there = Watcher::new(&bob);
    time.pass(LOGIN);
    alice_watches.sees(&bob.user, "online");
    drop(bob_is_there);
    let stopped = b.stop();
    let told = || alice_watches.history(&bob.user);
    let took = time.pass_until("his server's promise runs out", PROMISE, || told() != ["online"]);
    assert_eq!(told(), ["online", "unknown"]);
    assert!(took > PROMISE - LOGIN, "{took:?}");
    let b = stopped.start();
    let bob = Watcher::new(&b.log_in("bob"));
    bob.say("back");
    time.pass_until("he is seen", PROMISE, || told().len() > 2);
    time.pass(WINDOW);
    alice_watches.sees(&bob.client.user, "online (back)");
}

#[test]
fn f8_a_server_that_stops_in_order_sends_what_waits_for_the_end_of_the_window_and_says_nobody_is_gone() {
    let Pair { ca: _ca, time, a, b, .. } = Pair::new();
    let (alice, bob) = (a.register("alice"), b.register("bob"));
    observe(&b, &bob.user, &a, &alice.user);
    sync(&alice);
    let bob = Watcher::new(&bob);
    time.pass(LOGIN);
    bob.sees(&alice.user, "online");
    time.pass(WINDOW);
    let path = format!("/_matrix/client/v3/presence/{}/status", alice.user);
    alice.put(&path, json!({ "presence": "busy", "status_msg": "restarting" })).ok();
    time.settle();
    bob.sees(&alice.user, "online");
    let stopped = a.stop();
    time.settle();
    // No time has passed: the window has not ended by itself.
    bob.sees(&alice.user, "busy (restarting)");
    let a = stopped.start();
    let _alice = Watcher::new(&a.log_in("alice"));
    time.pass(PROMISE * 2);
    assert_eq!(bob.history(&alice.user), ["online", "busy (restarting)"], "nobody saw the restart");
}

#[test]
fn a_server_that_restarts_is_asked_and_answered_again() {
    let Pair { ca: _ca, time, a, b, .. } = Pair::new();
    let (alice, bob) = (a.register("alice"), b.register("bob"));
    observe(&a, &alice.user, &b, &bob.user);
    observe(&b, &bob.user, &a, &alice.user);
    let bob = Watcher::new(&bob);
    let first = Watcher::new(&alice);
    bob.say("first");
    time.pass(WINDOW);
    first.sees(&bob.client.user, "online (first)");
    drop(first);
    // The one who watches forgets all: it asks again.
    let a = a.stop().start();
    let alice = Watcher::new(&a.log_in("alice"));
    time.pass(LOGIN);
    alice.sees(&bob.client.user, "online (first)");
    alice.say("again");
    time.pass(WINDOW);
    bob.sees(&alice.client.user, "online (again)");
}

#[test]
fn a_server_that_was_away_gets_the_last_state_only() {
    let Pair { ca: _ca, time, a, b, .. } = Pair::new();
    let (alice, bob) = (a.register("alice"), b.register("bob"));
    observe(&b, &bob.user, &a, &alice.user);
    let alice = Watcher::new(&alice);
    let bob_watches = Watcher::new(&bob);
    alice.say("one");
    time.pass(WINDOW);
    bob_watches.sees(&alice.client.user, "online (one)");
    drop(bob_watches);
    let stopped = b.stop();
    for text in ["two", "three", "four"] {
        alice.say(text);
        time.pass(WINDOW * 2);
    }
    let b = stopped.start();
    let bob = Watcher::new(&b.log_in("bob"));
    time.pass(LOGIN);
    bob.sees(&alice.client.user, "online (four)");
    time.pass(PROMISE * 2);
    let told: Vec<_> = bob.history(&alice.client.user).into_iter().filter(|s| s != "unknown").collect();
    assert_eq!(told, ["online (four)"]);
}

#[test]
fn l8_who_has_no_client_open_asks_for_nobody_and_stops_to_know_them() {
    let pair = Pair::new();
    let (alice, bob) = (pair.a.register("alice"), pair.b.register("bob"));
    observe(&pair.a, &alice.user, &pair.b, &bob.user);
    let bob = Watcher::new(&bob);
    let alice_watches = Watcher::new(&alice);
    pair.time.pass(LOGIN);
    alice_watches.sees(&bob.client.user, "online");
    drop(alice_watches);
    // The request itself opens no stream: nothing is asked for its sake.
    // The grace, and the window at the end of which Bob's server is told.
    pair.time.pass(GRACE + WINDOW - TICK);
    assert_eq!(held(&pair.a, &alice, &bob.client), "online");
    pair.time.pass(TICK);
    assert_eq!(held(&pair.a, &alice, &bob.client), "unknown");
    pair.quiet();
    let before = sent(&pair.b, &pair.a_name).sent;
    bob.say("does anybody care?");
    pair.time.pass(SHORT_WATCHDOG * 3);
    assert_eq!(sent(&pair.b, &pair.a_name).sent, before, "nobody does");
    let alice = Watcher::new(&alice);
    pair.time.pass(LOGIN);
    alice.sees(&bob.client.user, "online (does anybody care?)");
    // Nor is anybody who was taken off the list.
    drop_from_list(&alice.client, &bob.client);
    pair.quiet();
    let before = sent(&pair.b, &pair.a_name).sent_edus;
    bob.say("and now?");
    pair.time.pass(SHORT_WATCHDOG * 3);
    assert_eq!(sent(&pair.b, &pair.a_name).sent_edus, before, "nobody does");
}

#[test]
fn l2_who_is_revoked_or_not_shared_with_ceases_to_see() {
    let pair = Pair::new();
    let (alice, bob) = (pair.a.register("alice"), pair.b.register("bob"));
    observe(&pair.a, &alice.user, &pair.b, &bob.user);
    let (bob, alice) = (Watcher::new(&bob), Watcher::new(&alice));
    pair.time.pass(LOGIN);
    alice.sees(&bob.client.user, "online");
    let settings = format!("/_matrix/client/unstable/org.pilotlight/presence/settings/{}", bob.client.user);
    bob.client.put(&settings, json!({ "share": "nobody" })).ok();
    pair.time.pass(WINDOW);
    alice.sees(&bob.client.user, "unknown");
    bob.client.put(&settings, json!({ "share": "list" })).ok();
    pair.time.pass(WINDOW);
    alice.sees(&bob.client.user, "online");
}

#[test]
fn a_repeated_transaction_with_presence_has_no_second_effect() {
    let Pair { ca: _ca, time, a_name, a, b_name, b } = Pair::new();
    let (alice, bob) = (a.register("alice"), b.register("bob"));
    observe(&a, &alice.user, &b, &bob.user);
    let alice = Watcher::new(&alice);
    time.settle();
    // As a stock server would say it, which numbers nothing: only the transaction's ID tells.
    let status = |state: &str| {
        json!({ "origin": b_name, "origin_server_ts": 1, "pdus": [], "edus": [{ "edu_type": "m.presence", "content": {
            "push": [{ "user_id": bob.user, "presence": state, "last_active_ago": 10 }] } }] })
    };
    let send = |id: &str, body: &Value| {
        let client = &b.app().federation.as_ref().expect("federates").client;
        let path = format!("/_matrix/federation/v1/send/{id}");
        let sent = client.request(&a_name, http::Method::PUT, &path, Some(body.to_string().into()));
        now(sent).expect("an answer");
        time.settle();
    };
    send("1", &status("online"));
    alice.sees(&bob.user, "online");
    send("2", &status("unavailable"));
    alice.sees(&bob.user, "unavailable");
    send("1", &status("online"));
    time.pass(LOGIN);
    alice.sees(&bob.user, "unavailable");
}
