//! What applications ask for: the request it makes, and what its answer means.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::core::client::commands::{NewRoom, Told};
use crate::core::presence::{Choice, StatusMsg};

fn body(request: &Request) -> Value {
    serde_json::from_str(request.body.as_deref().unwrap()).unwrap()
}

#[test]
fn a_direct_room_is_created_and_remembered_as_such() {
    let mut f = Fixture::online();
    let new = NewRoom {
        alias: Some("#tea:hs".into()),
        invite: vec!["@b:hs".into()],
        direct: true,
        ..NewRoom::default()
    };
    f.client.create_room(f.now, &new);
    f.drain();
    let request = f.take("POST createRoom");
    assert_eq!(
        body(&request),
        json!({"preset": "trusted_private_chat", "visibility": "private", "room_alias_name": "tea",
            "invite": ["@b:hs"], "is_direct": true})
    );
    f.client.handle_response(f.now, request.id, 200, None, br#"{"room_id":"!n:hs"}"#);
    f.drain();
    assert_eq!(f.answers.pop().unwrap().unwrap(), "\"!n:hs\"");
    assert_eq!(body(&f.take("PUT m.direct")), json!({"@b:hs": ["!n:hs"]}));
}

#[test]
fn p2_a_message_is_kept_set_or_cleared_and_these_are_three_things() {
    for (words, expected) in [
        (StatusMsg::Keep, json!({"presence": "busy"})),
        (StatusMsg::Set("tea".into()), json!({"presence": "busy", "status_msg": "tea"})),
        (StatusMsg::Clear, json!({"presence": "busy", "status_msg": null})),
    ] {
        let mut f = Fixture::online();
        f.client.set_presence(f.now, Choice::Busy, words);
        f.drain();
        let request = f.take("PUT status");
        assert_eq!(body(&request), expected);
        f.client.handle_response(f.now, request.id, 200, None, b"{}");
        f.drain();
        assert_eq!(f.client.me().state, Choice::Busy);
    }
}

#[test]
fn a_refusal_reaches_the_one_who_asked_with_the_servers_words() {
    let mut f = Fixture::online();
    f.client.join_room(f.now, "#x/y:hs");
    f.drain();
    f.respond("POST /join/%23x%2Fy%3Ahs", 403, json!({"errcode": "M_FORBIDDEN", "error": "not you"}));
    let failure = f.answers.pop().unwrap().unwrap_err();
    assert_eq!((&*failure.code, &*failure.message, failure.status), ("M_FORBIDDEN", "not you", Some(403)));
}

#[test]
fn a_message_ends_the_own_typing_notice_which_it_does_not_do_by_itself() {
    let mut f = Fixture::online();
    f.client.set_typing(f.now, ROOM, true);
    f.drain();
    f.take("PUT typing");
    f.client.send(f.now, ROOM, "m.room.message", r#"{"msgtype":"m.text","body":"x"}"#).expect("is taken");
    f.drain();
    assert_eq!(body(&f.take("PUT typing")), json!({"typing": false}));
}

#[test]
fn typing_is_told_once_while_it_lasts() {
    let mut f = Fixture::online();
    for _ in 0..5 {
        f.client.set_typing(f.now, ROOM, true);
    }
    f.drain();
    assert_eq!(body(&f.take("PUT typing")), json!({"typing": true, "timeout": 30_000}));
    f.now = f.now + Duration::from_secs(21);
    f.client.set_typing(f.now, ROOM, true);
    f.drain();
    f.take("PUT typing");
    f.client.set_typing(f.now, ROOM, false);
    f.client.set_typing(f.now, ROOM, false);
    f.drain();
    assert_eq!(body(&f.take("PUT typing")), json!({"typing": false}));
}

#[test]
fn read_is_told_once_for_the_newest_event() {
    let mut f = Fixture::online();
    f.events(json!([message("$1", "@b:hs", "hi", None)]));
    f.send("an echo is not read by its sender");
    f.client.mark_read(f.now, ROOM, None, Told::Everybody);
    f.client.mark_read(f.now, ROOM, None, Told::Everybody);
    f.drain();
    f.respond("POST receipt/m.read/%241", 200, json!({}));
    assert_eq!(f.count("receipt"), 0);
}

#[test]
fn logging_out_leaves_nothing_to_send_and_is_done_even_if_the_server_forgot() {
    for status in [200, 401] {
        let mut f = Fixture::online();
        f.send("unsent");
        f.client.log_out(f.now);
        f.drain();
        f.respond("POST logout", status, json!({"errcode": "M_UNKNOWN_TOKEN"}));
        assert_eq!(f.client.connection(), Connection::LoggedOut);
        assert!(f.requests.is_empty());
        assert!(f.answers.pop().unwrap().is_ok());
        assert!(f.stored.keys().all(|key| !key.starts_with("action.")), "{:?}", f.stored);
    }
}

#[test]
fn what_other_tabs_have_stored_counts_among_what_waits() {
    let mut f = Fixture::online();
    let id = f.send("unsent");
    let (own, other) = (format!("action.{}", id.0), String::from("action.99"));
    let count = |f: &Fixture, keys: &[&str]| f.client.waiting_with(keys.iter().copied());
    assert_eq!(count(&f, &[&own, "last", "wish", "action.x"]), 1, "once");
    assert_eq!(count(&f, &[&own, &other]), 2);
    assert_eq!(count(&f, &[]), 1, "where nothing can be stored");
    f.respond("/send/", 200, json!({"event_id": "$1"}));
    assert_eq!(count(&f, &[&own, &other]), 1, "what the server has is stored until it is placed");
}

#[test]
fn logging_out_forgets_what_is_kept_at_once_and_says_so_when_the_server_could_not_be_told() {
    for end in ["NETWORK", "TIMEOUT", "502"] {
        let mut f = Fixture::online();
        f.send("unsent");
        f.client.set_presence(f.now, Choice::Busy, StatusMsg::Set("at home".into()));
        f.drain();
        assert_eq!(f.client.waiting(), 1);
        f.stored.insert("choice".into(), "busy".into());
        f.stored.insert("action.99".into(), "of another tab".into());
        f.client.log_out(f.now);
        f.drain();
        assert_eq!((f.client.waiting(), f.count("/sync")), (0, 0), "nothing is asked that would be refused");
        assert_eq!(f.stored.keys().collect::<Vec<_>>(), ["last"], "before any answer");
        match end {
            "NETWORK" => f.lose("POST logout"),
            "502" => f.respond("POST logout", 502, json!({})),
            _ => {
                f.now = f.now + Duration::from_secs(600);
                f.client.handle_timeout(f.now);
                f.drain();
            }
        }
        let refused = f.answers.pop().unwrap().unwrap_err();
        assert_eq!(refused.code, if end == "502" { "BAD_ANSWER" } else { end });
        assert_eq!(f.client.connection(), Connection::LoggedOut);
        assert!(f.requests.is_empty(), "{:?}", f.requests);
        assert_eq!(f.stored.keys().collect::<Vec<_>>(), ["last"]);
        assert!(f.client.timeline(ROOM).is_empty());
    }
}

#[test]
fn logging_out_forgets_what_an_earlier_run_left_in_rooms_that_are_not_known_yet() {
    let mut before = Fixture::online();
    before.send("unsent");
    let mut f = Fixture::with_storage("D", before.stored, before.now);
    assert_eq!(f.client.waiting(), 1);
    f.start();
    f.lose("versions");
    f.client.log_out(f.now);
    f.drain();
    f.lose("POST logout");
    assert_eq!(f.stored.keys().collect::<Vec<_>>(), ["last"]);
    assert_eq!((f.client.waiting(), f.client.connection()), (0, Connection::LoggedOut));
}

#[test]
fn a_logging_out_that_ends_late_leaves_alone_what_a_new_session_keeps() {
    let mut f = Fixture::online();
    f.client.log_out(f.now);
    f.drain();
    for key in ["action.7", "wish", "choice"] {
        f.stored.insert(key.into(), "new".into());
    }
    f.lose("POST logout");
    assert_eq!(f.stored.len(), 3, "{:?}", f.stored);
}

#[test]
fn a_session_that_another_tab_has_ended_is_over_and_nothing_of_it_is_kept_again() {
    for online in [true, false] {
        let mut f = Fixture::online();
        if !online {
            f.lose("/sync");
        }
        f.send("unsent");
        f.client.set_presence(f.now, Choice::Busy, StatusMsg::Set("at home".into()));
        f.drain();
        f.client.handle_logged_out_elsewhere(f.now);
        f.drain();
        let over = |f: &Fixture| {
            assert_eq!((f.client.connection(), f.client.waiting()), (Connection::LoggedOut, 0));
            assert_eq!(f.stored.keys().collect::<Vec<_>>(), ["last"]);
            assert!(f.requests.is_empty(), "{:?}", f.requests);
        };
        over(&f);
        f.answers.clear();
        assert_eq!(f.client.send(f.now, ROOM, "m.room.message", "{}").unwrap_err().code, "LOGGED_OUT");
        f.client.call(f.now, "setPresence", r#"["hidden"]"#).unwrap();
        f.client.stop(f.now);
        f.client.start(f.now);
        f.drain();
        assert_eq!(f.answers.pop().unwrap().unwrap_err().code, "LOGGED_OUT");
        over(&f);
    }
}

#[test]
fn what_a_new_session_keeps_stays_when_a_tab_of_the_old_one_hears_late() {
    let mut f = Fixture::online();
    for key in ["action.7", "wish", "choice"] {
        f.stored.insert(key.into(), "new".into());
    }
    f.client.handle_logged_out_elsewhere(f.now);
    f.drain();
    assert_eq!(f.stored.len(), 3, "{:?}", f.stored);
}

#[test]
fn nothing_is_kept_while_a_logging_out_is_under_way() {
    let mut f = Fixture::online();
    f.client.log_out(f.now);
    f.drain();
    let stored = f.stored.clone();
    assert_eq!(f.client.send(f.now, ROOM, "m.room.message", "{}").unwrap_err().code, "LOGGED_OUT");
    f.client.call(f.now, "setPresence", r#"["hidden"]"#).unwrap();
    f.drain();
    assert_eq!(f.stored, stored);
}

#[test]
fn a_forgotten_room_is_gone() {
    let mut f = Fixture::online();
    f.client.forget_room(f.now, ROOM);
    f.drain();
    f.respond("POST forget", 200, json!({}));
    assert!(f.client.rooms().is_empty());
}

#[test]
fn a_logging_out_that_another_request_hears_of_first_has_succeeded() {
    let mut f = Fixture::online();
    f.client.join_room(f.now, "#x:hs");
    f.client.log_out(f.now);
    f.drain();
    f.respond("POST /join", 401, json!({"errcode": "M_UNKNOWN_TOKEN"}));
    assert_eq!((f.answers.pop().unwrap().is_ok(), f.requests.len()), (true, 0));
    assert_eq!(f.client.connection(), Connection::LoggedOut);
}
