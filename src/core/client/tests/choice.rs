//! A state chosen while the server is away: shown, kept, and told when it is back.

use std::time::Duration;

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::core::presence::{Choice, StatusMsg};

fn body(request: &Request) -> Value {
    serde_json::from_str(request.body.as_deref().unwrap()).unwrap()
}

fn choose(f: &mut Fixture, choice: Choice, words: StatusMsg) {
    f.client.set_presence(f.now, choice, words);
    f.drain();
}

/// The server is away, and back.
fn away(f: &mut Fixture) {
    f.lose("/sync");
    assert_eq!(f.client.connection(), Connection::Offline);
}

fn back(f: &mut Fixture) {
    f.client.try_now(f.now);
    f.drain();
    f.sync(json!({}));
}

#[test]
fn p3_a_state_chosen_while_the_server_is_away_is_shown_kept_and_told_when_it_is_back() {
    let mut f = Fixture::online();
    away(&mut f);
    choose(&mut f, Choice::Busy, StatusMsg::Set("on the train".into()));
    assert_eq!(
        (f.client.me().state, f.client.me().status_msg.as_deref()),
        (Choice::Busy, Some("on the train"))
    );
    assert_eq!((f.count("/status"), f.answers.len()), (0, 0), "it waits");
    back(&mut f);
    let put = f.take("PUT status");
    assert_eq!(body(&put), json!({"presence": "busy", "status_msg": "on the train"}));
    f.client.handle_response(f.now, put.id, 200, None, b"{}");
    f.drain();
    assert!(f.answers.pop().unwrap().is_ok());
    assert!(!f.stored.contains_key("wish"), "{:?}", f.stored);
}

#[test]
fn p3_lost_on_the_way_or_limited_it_is_told_again() {
    let mut f = Fixture::online();
    choose(&mut f, Choice::Busy, StatusMsg::Keep);
    f.lose("PUT status");
    back(&mut f);
    f.pass(Duration::from_secs(2));
    f.respond("PUT status", 429, json!({"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 5000}));
    assert_eq!((f.client.me().state, f.answers.len()), (Choice::Busy, 0));
    f.pass(Duration::from_secs(7));
    f.respond("PUT status", 200, json!({}));
    assert!(f.answers.pop().unwrap().is_ok());
    f.pass(Duration::from_secs(25));
    assert_eq!(f.count("/status"), 0, "once");
}

#[test]
fn p3_a_later_choice_takes_the_place_of_one_that_waits_and_keeps_its_words() {
    let mut f = Fixture::online();
    choose(&mut f, Choice::Busy, StatusMsg::Set("one".into()));
    choose(&mut f, Choice::Unavailable, StatusMsg::Set("two".into()));
    choose(&mut f, Choice::FreeForChat, StatusMsg::Keep);
    assert_eq!(f.count("/status"), 1, "they must not overtake each other");
    f.respond("PUT status", 200, json!({}));
    let put = f.take("PUT status");
    assert_eq!(body(&put), json!({"presence": "free_for_chat", "status_msg": "two"}));
    f.client.handle_response(f.now, put.id, 200, None, b"{}");
    f.drain();
    assert_eq!((f.count("/status"), f.answers.len()), (0, 3), "every promise has ended");
    assert_eq!(f.client.me().state, Choice::FreeForChat);
}

#[test]
fn p3_what_the_server_refuses_is_taken_back() {
    let mut f = Fixture::online();
    choose(&mut f, Choice::Busy, StatusMsg::Set("no".into()));
    f.respond("PUT status", 403, json!({"errcode": "M_FORBIDDEN"}));
    assert_eq!(f.answers.pop().unwrap().unwrap_err().code, "M_FORBIDDEN");
    assert_eq!((f.client.me().state, f.client.me().status_msg.as_deref()), (Choice::Online, None));
    assert!(!f.stored.contains_key("wish"));
}

#[test]
fn p3_what_the_server_says_meanwhile_does_not_undo_it() {
    let mut f = Fixture::online();
    choose(&mut f, Choice::Busy, StatusMsg::Keep);
    let own = json!({"type": "m.presence", "sender": ME, "content": {"presence": "online", "displayname": "Me",
        "org.pilotlight.presence": {"state": "online", "choice": "online"}}});
    f.sync(json!({"presence": {"events": [own]}}));
    assert_eq!((f.client.me().state, f.client.me().display_name.as_deref()), (Choice::Busy, Some("Me")));
}

#[test]
fn p3_it_survives_a_reload_and_a_stop() {
    let mut f = Fixture::online();
    away(&mut f);
    choose(&mut f, Choice::Hidden, StatusMsg::Clear);
    let mut g = Fixture::with_storage("D", f.stored.clone(), f.now);
    assert_eq!(g.client.me().state, Choice::Hidden);
    g.go_online(true);
    let put = g.take("PUT status");
    assert_eq!(body(&put), json!({"presence": "hidden", "status_msg": null}));
    g.client.stop(g.now);
    g.drain();
    g.start();
    g.respond("versions", 200, json!({"unstable_features": {"org.pilotlight.presence": true}}));
    g.sync(json!({}));
    g.respond("PUT status", 200, json!({}));
    assert!(!g.stored.contains_key("wish"));

    f.client.stop(f.now);
    f.drain();
    assert_eq!(f.answers.pop().unwrap().unwrap_err().code, "STOPPED");
}
