//! Presence between two homeservers over TLS, as clients on both sides see it.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{
    authority::Authority,
    contacts::{add, answer, requests, standing},
    sync::same,
    watching::{
        PATIENT_WINDOW, WINDOW, Watcher, drop_from_list, now, observe, patient, quick, quiet, sent, sync,
        until,
    },
};

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
