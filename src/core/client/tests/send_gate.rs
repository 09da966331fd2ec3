//! What is not sent: plain text into encrypted rooms, anything into rooms that the user is not in.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

fn encryption() -> Value {
    json!({"type": "m.room.encryption", "state_key": "", "sender": ME, "event_id": "$c",
        "content": {"algorithm": "m.megolm.v1.aes-sha2"}})
}

fn sent(f: &mut Fixture, room: &str, kind: &str) -> Result<(), String> {
    let sent = f.client.send(f.now, room, kind, r#"{"body":"secret"}"#).map_err(|failure| failure.code);
    f.drain();
    sent.map(|_| ())
}

#[test]
fn plain_text_is_never_sent_into_an_encrypted_room() {
    let mut f = Fixture::online();
    f.events(json!([encryption()]));
    assert!(f.client.rooms()[0].encrypted);
    for kind in ["m.room.message", "m.sticker", "org.example.custom", "m.call.invite"] {
        assert_eq!(sent(&mut f, ROOM, kind), Err("ENCRYPTED_ROOM".into()), "{kind}");
    }
    assert_eq!((f.count("/send/"), f.stored.keys().filter(|key| key.starts_with("action.")).count()), (0, 0));
    // What an application has encrypted by itself goes out, and what Matrix leaves in the clear.
    assert_eq!(sent(&mut f, ROOM, "m.room.encrypted"), Ok(()));
    assert_eq!(sent(&mut f, ROOM, "m.reaction"), Ok(()));
}

#[test]
fn encryption_is_never_taken_back() {
    for after in [
        json!({"type": "m.room.encryption", "state_key": "", "sender": ME, "event_id": "$d", "content": {}}),
        json!({"type": "m.room.redaction", "redacts": "$c", "sender": ME, "event_id": "$d", "content": {"redacts": "$c"}}),
    ] {
        let mut f = Fixture::online();
        f.events(json!([encryption()]));
        f.events(json!([after]));
        assert_eq!(sent(&mut f, ROOM, "m.room.message"), Err("ENCRYPTED_ROOM".into()), "{after}");
        f.respond("/sync", 400, json!({"errcode": "M_UNKNOWN_POS"}));
        f.sync(json!({"rooms": {"join": {ROOM: {"timeline": {"events": [], "limited": true}}}}}));
        assert_eq!(sent(&mut f, ROOM, "m.room.message"), Err("ENCRYPTED_ROOM".into()));
    }
}

#[test]
fn the_request_that_an_application_makes_by_itself_is_refused_too() {
    for (method, path, refused) in [
        ("PUT", "/_matrix/client/v3/rooms/!r:hs/send/m.room.message/1", true),
        ("PUT", "/_matrix/client/r0/rooms/%21r%3ahs/send/m%2eroom.message/1?x=y", true),
        ("PUT", "/_matrix/client/v3//rooms/!r:hs/send/m.room.message/1", true),
        ("PUT", "/_matrix/client/v3/rooms/!r:hs/send/m.room.encrypted/1", false),
        ("PUT", "/_matrix/client/v3/rooms/!other:hs/send/m.room.message/1", false),
        ("GET", "/_matrix/client/v3/rooms/!r:hs/event/$1", false),
    ] {
        let mut f = Fixture::online();
        f.events(json!([encryption()]));
        let requests = f.requests.len();
        f.client.call(f.now, "request", &json!([method, path, {"body": "secret"}]).to_string()).unwrap();
        f.drain();
        assert_eq!(f.requests.len() == requests, refused, "{method} {path}");
        let code = f.answers.pop().map(|answer| answer.unwrap_err().code);
        assert_eq!(code, refused.then(|| "ENCRYPTED_ROOM".into()), "{method} {path}");
    }
}

#[test]
fn what_waits_in_a_room_that_is_encrypted_meanwhile_fails_and_is_kept() {
    let mut f = Fixture::online();
    f.lose("/sync");
    let id = f.send("secret");
    assert_eq!(f.count("/send/"), 0, "without the stream nobody knows what the room has become");
    f.client.try_now(f.now);
    f.drain();
    f.events(json!([encryption()]));
    f.pass(Duration::from_secs(20));
    assert_eq!(f.count("/send/"), 0);
    let items = f.client.timeline(ROOM);
    let echo = items.last().unwrap();
    assert_eq!(
        (echo.echo.as_str(), echo.error.as_deref().unwrap().split(':').next()),
        ("failed", Some("ENCRYPTED_ROOM"))
    );
    f.client.retry(f.now, id);
    f.drain();
    assert_eq!((f.count("/send/"), f.client.timeline(ROOM).last().unwrap().echo.as_str()), (0, "failed"));
}

#[test]
fn what_a_reload_found_waits_for_the_stream_and_fails_where_it_says_so() {
    let f = &mut Fixture::online();
    f.send("secret");
    let mut g = Fixture::with_storage("D", f.stored.clone(), f.now);
    g.start();
    g.respond("versions", 200, json!({}));
    assert_eq!(g.count("/send/"), 0);
    g.sync(
        json!({"rooms": {"join": {ROOM: {"state": {"events": [encryption()]}, "timeline": {"events": []}}}}}),
    );
    assert_eq!((g.count("/send/"), g.client.timeline(ROOM)[0].echo.as_str()), (0, "failed"));
}

#[test]
fn into_a_room_that_the_user_is_not_in_nothing_is_sent() {
    let mut f = Fixture::online();
    assert_eq!(sent(&mut f, "!unknown:hs", "m.room.message"), Err("NOT_IN_ROOM".into()));
    f.sync(
        json!({"rooms": {"invite": {"!asked:hs": {"invite_state": {"events": []}}}, "leave": {ROOM: {}}}}),
    );
    assert_eq!(sent(&mut f, "!asked:hs", "m.room.message"), Err("NOT_IN_ROOM".into()));
    assert_eq!(sent(&mut f, ROOM, "m.room.message"), Err("NOT_IN_ROOM".into()));
    assert_eq!(f.count("/send/"), 0);
}

#[test]
fn into_a_room_that_was_just_entered_it_waits_until_the_stream_says_what_that_is() {
    for (state, requests, echo) in [(json!([]), 1, "sending"), (json!([encryption()]), 0, "failed")] {
        let mut f = Fixture::online();
        f.client.join_room(f.now, "!new:hs");
        f.drain();
        f.respond("POST /join", 200, json!({"room_id": "!new:hs"}));
        assert_eq!(sent(&mut f, "!new:hs", "m.room.message"), Ok(()));
        assert_eq!(f.count("/send/"), 0);
        f.sync(
            json!({"rooms": {"join": {"!new:hs": {"state": {"events": state}, "timeline": {"events": []}}}}}),
        );
        assert_eq!(f.count("/send/"), requests);
        assert_eq!(f.client.timeline("!new:hs")[0].echo.as_str(), echo);
    }
}
