//! P3: whose word a request is. Clients that know only Matrix's presence module send `online` and `unavailable` from
//! idle timers: that is their device's attendance, and no choice of the user's.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    presence::{GRACE, device, pair, put, server, state, status_path, told},
    support::Client,
    sync::{Reader, same},
};

fn seen(by: &Client, of: &Client) -> Value {
    by.get(&status_path(&of.user)).ok()
}

/// What the user's own devices see: what was chosen, and what comes of it.
fn own(client: &Client) -> (String, String) {
    let content = client.get(&status_path(&client.user)).ok();
    let own = &content["org.pilotlight.presence"];
    let word = |key: &str| own[key].as_str().expect(key).to_owned();
    (word("choice"), word("state"))
}

fn poll(client: &Client, set_presence: &str) {
    Reader::with(client, set_presence);
}

#[test]
fn p3_a_stock_device_ends_no_choice_that_it_has_no_word_for_and_its_offline_is_the_users_wish() {
    for (chosen, word, choice, shown) in [
        ("busy", "online", "busy", "busy"),
        ("busy", "unavailable", "busy", "busy"),
        ("busy", "offline", "offline", "offline"),
        ("free_for_chat", "online", "free_for_chat", "free_for_chat"),
        ("free_for_chat", "unavailable", "free_for_chat", "unavailable"),
        ("free_for_chat", "offline", "offline", "offline"),
        ("hidden", "online", "hidden", "offline"),
        ("hidden", "unavailable", "hidden", "offline"),
        ("hidden", "offline", "hidden", "offline"),
        ("offline", "online", "offline", "offline"),
        ("offline", "unavailable", "offline", "offline"),
        ("online", "unavailable", "online", "unavailable"),
        ("online", "online", "online", "online"),
        ("unavailable", "online", "unavailable", "unavailable"),
        ("unavailable", "unavailable", "unavailable", "unavailable"),
    ] {
        let server = server();
        let (alice, bob, _) = pair(&server);
        let stock = server.log_in("alice");
        put(&alice, json!({ "presence": "busy" }));
        put(&alice, json!({ "presence": chosen }));
        // The device that chose is gone: the other one speaks alone.
        server.pass(GRACE);
        poll(&stock, "");
        put(&stock, json!({ "presence": word }));
        let what = format!("{chosen}, then a stock device says {word}");
        assert_eq!(own(&stock).0, choice, "{what}");
        assert_eq!(state(&seen(&bob, &alice)), shown, "{what}");
        put(&alice, json!({ "presence": "online" }));
        assert_eq!(own(&stock).0, "online", "{what}: the device that uses our words chooses again");
    }
}

#[test]
fn what_was_chosen_comes_back_after_a_stock_devices_offline_and_what_was_hidden_is_never_shown() {
    for (chosen, signed_off) in [
        ("offline", "offline"),
        ("hidden", "hidden"),
        ("unavailable", "offline"),
        ("busy", "offline"),
        ("online", "offline"),
        ("free_for_chat", "offline"),
    ] {
        let mut server = server();
        let (mut alice, mut bob, _) = pair(&server);
        let mut stock = server.log_in("alice");
        put(&alice, json!({ "presence": "busy" }));
        put(&alice, json!({ "presence": chosen, "status_msg": "at the doctor" }));
        let shown = |choice: &str| if choice == "hidden" { "offline" } else { choice }.to_owned();
        let hides = shown(chosen) == "offline";
        // A `PUT` of the stock device, and what is chosen then.
        for (word, holds) in [
            ("offline", signed_off),
            ("offline", signed_off),
            ("online", chosen),
            ("online", chosen),
            ("offline", signed_off),
            ("unavailable", chosen),
        ] {
            put(&stock, json!({ "presence": word }));
            for restarted in [false, true] {
                let what = format!("{chosen}, then a stock device says {word}, restarted: {restarted}");
                poll(&alice, "&set_presence=online");
                assert_eq!(own(&stock).0, holds, "{what}");
                let content = seen(&bob, &alice);
                assert_eq!(state(&content), shown(holds), "{what}");
                assert_eq!(content["status_msg"] == json!("at the doctor"), !hides, "{what}");
                if !restarted {
                    server = server.restart();
                    (alice, bob, stock) = (same(&server, &alice), same(&server, &bob), same(&server, &stock));
                }
            }
        }
        put(&stock, json!({ "presence": "offline" }));
        put(&alice, json!({ "presence": "online" }));
        assert_eq!(
            own(&stock),
            ("online".to_owned(), "online".to_owned()),
            "{chosen}: our words replace both"
        );
    }
}

#[test]
fn p3_a_put_of_unavailable_survives_the_next_sync_and_a_restart_until_the_device_says_otherwise() {
    let server = server();
    let (alice, bob, _) = pair(&server);
    poll(&alice, "");
    put(&alice, json!({ "presence": "unavailable", "status_msg": "at lunch" }));
    for with in ["", "", "&set_presence=unavailable", ""] {
        poll(&alice, with);
        assert_eq!(seen(&bob, &alice)["presence"], "unavailable", "{with}");
    }
    poll(&alice, "&set_presence=online");
    assert_eq!(seen(&bob, &alice)["presence"], "online", "its word as long as it says it");
    poll(&alice, "");
    assert_eq!(seen(&bob, &alice)["presence"], "unavailable", "that is taken back, and nothing else");
    server.pass(GRACE);
    assert_eq!(seen(&bob, &alice)["presence"], "offline");
    poll(&alice, "");
    assert_eq!(seen(&bob, &alice)["presence"], "unavailable", "nobody has come to the device");
    let server = server.restart();
    let (alice, bob) = (same(&server, &alice), same(&server, &bob));
    poll(&alice, "");
    assert_eq!(seen(&bob, &alice)["presence"], "unavailable", "nor while the server was away");
    put(&alice, json!({ "presence": "online" }));
    let content = seen(&bob, &alice);
    assert_eq!((&content["presence"], &content["status_msg"]), (&json!("online"), &json!("at lunch")));
}

#[test]
fn p3_p6_a_sync_that_says_nothing_takes_back_what_syncs_said_and_cancels_no_report() {
    let server = server();
    let (alice, bob, _) = pair(&server);
    for (says, then) in [("&set_presence=unavailable", "unavailable"), ("", "online")] {
        poll(&alice, says);
        assert_eq!(state(&seen(&bob, &alice)), then, "{says}");
    }
    device(&alice, json!({ "idle_ms": 60_000 }));
    poll(&alice, "");
    poll(&alice, "&set_presence=unavailable");
    poll(&alice, "");
    let content = seen(&bob, &alice);
    assert_eq!(
        (state(&content), &content["org.pilotlight.presence"]["idle_ms"]),
        ("unavailable", &json!(60_000))
    );
    device(&alice, json!({ "idle_ms": 0 }));
    assert_eq!(state(&seen(&bob, &alice)), "online");
}

#[test]
fn p3_p5_two_stock_devices_are_merged() {
    let server = server();
    let (alice, bob, _) = pair(&server);
    let phone = server.log_in("alice");
    for client in [&alice, &phone] {
        poll(client, "");
    }
    put(&alice, json!({ "presence": "unavailable" }));
    assert_eq!(state(&seen(&bob, &alice)), "online", "somebody is at the phone");
    put(&phone, json!({ "presence": "unavailable" }));
    assert_eq!(state(&seen(&bob, &alice)), "unavailable");
    put(&alice, json!({ "presence": "online" }));
    assert_eq!(state(&seen(&bob, &alice)), "online");
}

#[test]
fn p3_who_used_our_words_once_chooses_for_good_also_after_a_restart() {
    type Uses = fn(&Client);
    let uses: [(&str, Uses); 5] = [
        ("a choice", |client| put(client, json!({ "presence": "free_for_chat" }))),
        ("hidden", |client| put(client, json!({ "presence": "hidden" }))),
        ("an idle report", |client| device(client, json!({ "idle_ms": 0 }))),
        ("a kind", |client| device(client, json!({ "device_type": "web" }))),
        ("a kind in a poll", |client| poll(client, "&org.pilotlight.device_type=web")),
    ];
    for (how, uses) in uses {
        let server = server();
        let (alice, _, _) = pair(&server);
        let phone = server.log_in("alice");
        uses(&alice);
        let server = server.restart();
        let [alice, phone] = [&alice, &phone].map(|client| same(&server, client));
        server.pass(GRACE);
        put(&phone, json!({ "presence": "busy" }));
        put(&alice, json!({ "presence": "unavailable" }));
        assert_eq!(own(&alice).0, "unavailable", "{how}");
        put(&phone, json!({ "presence": "busy" }));
        put(&alice, json!({ "presence": "online" }));
        assert_eq!(own(&alice), ("online".to_owned(), "online".to_owned()), "{how}");
    }
}

#[test]
fn p6_others_see_for_how_long_somebody_is_idle_in_coarse_steps_and_as_it_is_when_they_look() {
    let server = server();
    let (alice, bob, _) = pair(&server);
    poll(&alice, "");
    let idle = |content: &Value| content["org.pilotlight.presence"]["idle_ms"].clone();
    assert_eq!(idle(&seen(&bob, &alice)), Value::Null, "online");
    for choice in ["online", "busy"] {
        put(&alice, json!({ "presence": "busy" }));
        put(&alice, json!({ "presence": choice }));
        let mut bobs = Reader::new(&bob);
        device(&alice, json!({ "idle_ms": 185_000 }));
        let events = told(&bobs.now(), &alice.user);
        assert_eq!(idle(events.last().expect("is told")), 180_000, "{choice}");
        server.pass(Duration::from_secs(20));
        poll(&alice, "");
        assert_eq!(idle(&seen(&bob, &alice)), 180_000, "{choice}: in whole minutes");
        server.pass(Duration::from_secs(29));
        poll(&alice, "");
        server.pass(Duration::from_secs(20));
        assert_eq!(idle(&seen(&bob, &alice)), 240_000, "{choice}");
        let first = Reader { since: String::new(), ..Reader::new(&bob) }.now();
        assert_eq!(idle(&told(&first, &alice.user)[0]), 240_000, "{choice}: a first sync");
        device(&alice, json!({ "idle_ms": 0 }));
        let events = told(&bobs.now(), &alice.user);
        assert_eq!(idle(events.last().expect("is told")), Value::Null, "{choice}: somebody is back");
    }
    device(&alice, json!({ "idle_ms": 60_000 }));
    put(&alice, json!({ "presence": "hidden" }));
    assert_eq!(idle(&seen(&bob, &alice)), Value::Null, "hidden");
}
