//! M11: the local echo in all orders, M9: action IDs.

use std::time::Duration;

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn m11_answer_first_then_stream() {
    let mut f = Fixture::online();
    let id = f.send("hi");
    assert_eq!(f.shown(), [("hi".into(), "sending")]);
    let key = f.view[0].key.clone();
    f.respond("/send/", 200, json!({"event_id": "$1"}));
    assert_eq!(f.shown(), [("hi".into(), "sent")]);
    f.events(json!([message("$1", ME, "hi", Some(id))]));
    assert_eq!(f.shown(), [("hi".into(), "placed")]);
    assert_eq!(f.view[0].key, key, "the key is stable over the life of the echo");
    assert!(f.stored.keys().all(|key| !key.starts_with("action.")), "nothing is left to re-send");
}

#[test]
fn m11_stream_first_then_answer() {
    let mut f = Fixture::online();
    let id = f.send("hi");
    f.events(json!([message("$1", ME, "hi", Some(id))]));
    assert_eq!(f.shown(), [("hi".into(), "placed")]);
    f.respond("/send/", 200, json!({"event_id": "$1"}));
    assert_eq!(f.shown(), [("hi".into(), "placed")]);
}

#[test]
fn m11_without_an_action_id_in_the_stream_the_event_id_matches() {
    let mut f = Fixture::online();
    f.send("answer first");
    f.respond("/send/", 200, json!({"event_id": "$1"}));
    f.events(json!([message("$1", ME, "answer first", None)]));
    assert_eq!(f.shown(), [("answer first".into(), "placed")]);

    f.send("stream first");
    f.events(json!([message("$2", ME, "stream first", None)]));
    f.respond("/send/", 200, json!({"event_id": "$2"}));
    assert_eq!(f.shown(), [("answer first".into(), "placed"), ("stream first".into(), "placed")]);
}

#[test]
fn m11_the_stream_says_where_it_stands() {
    let mut f = Fixture::online();
    let (first, second) = (f.send("one"), f.send("two"));
    f.events(json!([message("$x", "@b:hs", "theirs", None)]));
    let bodies: Vec<String> = f.shown().into_iter().map(|(body, _)| body).collect();
    assert_eq!(bodies, ["theirs", "one", "two"], "what is placed stands before what is not");
    f.events(json!([message("$2", ME, "two", Some(second)), message("$y", "@b:hs", "more", None)]));
    f.events(json!([message("$1", ME, "one", Some(first))]));
    let bodies: Vec<String> = f.shown().into_iter().map(|(body, _)| body).collect();
    assert_eq!(bodies, ["theirs", "two", "more", "one"]);
}

#[test]
fn m9_a_room_sends_in_order_and_rooms_do_not_wait_for_each_other() {
    let mut f = Fixture::online();
    let ids = [f.send("one"), f.send("two"), f.send("three")];
    assert!(ids.is_sorted() && ids[0] < ids[1] && ids[1] < ids[2]);
    assert_eq!(f.count("/send/"), 1);
    f.sync(json!({"rooms": {"join": {"!other:hs": {}}}}));
    f.client.send(f.now, "!other:hs", "m.room.message", "{}").unwrap();
    f.drain();
    assert_eq!(f.count("/send/"), 2);
    for id in ids {
        let request = f.take(&format!("%21r%3Ahs /send/m.room.message/{id}"));
        let body: Value = serde_json::from_str(request.body.as_deref().unwrap()).unwrap();
        assert_eq!(body["msgtype"], "m.text");
        f.client.handle_response(f.now, request.id, 200, None, br#"{"event_id":"$e"}"#);
        f.drain();
    }
}

#[test]
fn m11_lost_on_the_way_it_is_sent_again_with_the_same_id() {
    let mut f = Fixture::online();
    let id = f.send("hi");
    f.lose("/send/");
    assert_eq!(f.shown(), [("hi".into(), "queued")]);
    assert_eq!(f.count("/send/"), 0);
    f.sync(json!({}));
    f.pass(2 * SECOND);
    f.respond(&format!("/send/m.room.message/{id}"), 503, json!({}));
    f.pass(4 * SECOND);
    f.respond(&format!("/send/m.room.message/{id}"), 200, json!({"event_id": "$1"}));
    assert_eq!(f.shown(), [("hi".into(), "sent")]);
}

#[test]
fn a_delay_that_nothing_waits_for_any_more_wakes_nobody_for_ever() {
    let mut f = Fixture::online();
    f.send("sent");
    f.respond("/send/", 200, json!({"event_id": "$1"}));
    let id = f.send("lost");
    f.lose("/send/");
    f.events(json!([message("$2", ME, "lost", Some(id))]));
    f.pass(10 * SECOND);
    assert_eq!(f.count("/send/"), 0);
}

#[test]
fn m11_a_server_that_asks_to_wait_is_obeyed() {
    let mut f = Fixture::online();
    f.send("hi");
    f.respond("/send/", 429, json!({"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 20_000}));
    f.pass(19 * SECOND);
    assert_eq!(f.count("/send/"), 0);
    f.pass(3 * SECOND);
    assert_eq!(f.count("/send/"), 1);
}

#[test]
fn m11_an_answer_that_never_comes_is_given_up_for() {
    let mut f = Fixture::online();
    f.send("hi");
    f.pass(30 * SECOND);
    f.sync(json!({}));
    f.pass(29 * SECOND);
    assert_eq!(f.shown(), [("hi".into(), "sending")]);
    f.pass(3 * SECOND);
    assert_eq!(f.count("/send/"), 1, "the first attempt was cancelled, the second is under way");
}

#[test]
fn m11_refused_it_steps_aside_and_can_be_retried_or_cancelled() {
    let mut f = Fixture::online();
    let (bad, _) = (f.send("bad"), f.send("good"));
    f.respond("/send/", 403, json!({"errcode": "M_FORBIDDEN", "error": "no"}));
    assert_eq!(f.shown(), [("bad".into(), "failed"), ("good".into(), "sending")]);
    assert_eq!(f.view[0].error.as_deref(), Some("M_FORBIDDEN: no"));
    f.respond("/send/", 200, json!({"event_id": "$2"}));
    f.client.retry(f.now, bad);
    f.drain();
    assert_eq!(f.shown()[0], ("bad".into(), "sending"));
    f.respond("/send/", 403, json!({"errcode": "M_FORBIDDEN"}));
    f.client.cancel(f.now, bad);
    f.drain();
    assert_eq!(f.shown(), [("good".into(), "sent")]);
    assert_eq!(f.stored.keys().filter(|key| key.starts_with("action.")).count(), 0);
}

#[test]
fn m11_cancelled_too_late_the_stream_shows_it_once() {
    let mut f = Fixture::online();
    let id = f.send("hi");
    f.client.cancel(f.now, id);
    f.drain();
    assert_eq!((f.shown().len(), f.count("/send/")), (0, 0));
    f.events(json!([message("$1", ME, "hi", Some(id))]));
    assert_eq!(f.shown(), [("hi".into(), "placed")]);
}

#[test]
fn m11_a_reload_sends_again_what_had_no_answer_and_counts_on() {
    let mut f = Fixture::online();
    let (one, two) = (f.send("one"), f.send("two"));
    let mut g = Fixture::with_storage("D", f.stored.clone(), f.now);
    g.go_online(true);
    assert_eq!(g.shown(), [("one".into(), "sending"), ("two".into(), "queued")]);
    g.respond(&format!("/send/m.room.message/{one}"), 200, json!({"event_id": "$1"}));
    g.respond(&format!("/send/m.room.message/{two}"), 200, json!({"event_id": "$2"}));
    assert!(g.send("three") > two);
}

#[test]
fn m11_a_reload_whose_first_sync_has_it_does_not_show_or_send_it_twice() {
    let f = &mut Fixture::online();
    let id = f.send("hi");
    let mut g = Fixture::with_storage("D", f.stored.clone(), f.now);
    g.start();
    g.respond("versions", 200, json!({}));
    g.sync(json!({"rooms": {"join": {ROOM: {"timeline": {"events": [message("$1", ME, "hi", Some(id))],
        "limited": true, "prev_batch": "p"}}}}}));
    assert_eq!(g.shown(), [("hi".into(), "placed")]);
    assert!(g.stored.keys().all(|key| !key.starts_with("action.")));
}

#[test]
fn m11_what_another_device_left_is_not_sent_by_itself() {
    let f = &mut Fixture::online();
    let id = f.send("hi");
    let mut g = Fixture::with_storage("OTHER", f.stored.clone(), f.now);
    g.go_online(true);
    assert_eq!(g.shown(), [("hi".into(), "failed")]);
    assert_eq!(g.count("/send/"), 0);
    g.client.retry(g.now, id);
    g.drain();
    assert_eq!(g.count("/send/"), 1);
}

#[test]
fn m11_a_failure_survives_a_reload_and_a_retry_of_it_does_too() {
    let f = &mut Fixture::online();
    let id = f.send("bad");
    f.respond("/send/", 400, json!({"errcode": "M_BAD_JSON"}));
    let mut g = Fixture::with_storage("D", f.stored.clone(), f.now);
    g.go_online(true);
    assert_eq!(g.shown(), [("bad".into(), "failed")]);
    g.client.retry(g.now, id);
    g.drain();
    let mut h = Fixture::with_storage("D", g.stored.clone(), g.now);
    h.go_online(true);
    assert_eq!(h.shown(), [("bad".into(), "sending")]);
}

#[test]
fn m11_a_gap_that_swallowed_it_leaves_it_to_the_history() {
    let mut f = Fixture::online();
    f.send("hi");
    f.respond("/send/", 200, json!({"event_id": "$1"}));
    let gap = json!({"rooms": {"join": {ROOM: {"timeline": {"limited": true, "prev_batch": "p1",
        "events": [message("$9", "@b:hs", "late", None)]}}}}});
    f.sync(gap);
    assert_eq!(
        f.shown(),
        [("late".into(), "placed"), ("hi".into(), "sent")],
        "the sync had begun before the answer came: its place may still be to come"
    );
    f.events(json!([]));
    assert_eq!(f.shown(), [("late".into(), "placed")]);
    f.client.scroll_back(f.now, ROOM, 10);
    f.drain();
    f.respond("/messages", 200, json!({"chunk": [message("$1", ME, "hi", None)]}));
    assert_eq!(f.shown(), [("hi".into(), "placed"), ("late".into(), "placed")]);
}

#[test]
fn m11_found_while_scrolling_back_it_is_placed_there() {
    let mut f = Fixture::online();
    let id = f.send("hi");
    f.sync(
        json!({"rooms": {"join": {ROOM: {"timeline": {"limited": true, "prev_batch": "p1", "events": []}}}}}),
    );
    f.client.scroll_back(f.now, ROOM, 10);
    f.drain();
    f.sync(json!({"rooms": {"join": {ROOM: {"timeline": {"limited": true, "prev_batch": "p1",
        "events": [message("$9", "@b:hs", "late", None)]}}}}}));
    f.respond("/messages", 200, json!({"chunk": [message("$1", ME, "hi", Some(id))], "end": "p0"}));
    assert_eq!(f.shown(), [("hi".into(), "placed"), ("late".into(), "placed")]);
}

#[test]
fn the_queue_is_bounded_and_refuses_what_cannot_be_an_event() {
    let mut f = Fixture::online();
    let mut send = |content: &str| f.client.send(f.now, ROOM, "t", content).map_err(|failure| failure.code);
    for bad in ["", "7", "[]", "{", "null"] {
        assert_eq!(send(bad), Err("BAD_CONTENT".into()), "{bad}");
    }
    let large = json!({"body": "x".repeat(60_000)}).to_string();
    assert_eq!(send(&large), Err("TOO_LARGE".into()));
    for _ in 0..1_000 {
        send("{}").unwrap();
    }
    assert_eq!(send("{}"), Err("QUEUE_FULL".into()));
}

#[test]
fn m13_what_i_said_is_read_once_somebody_elses_receipt_covers_it() {
    let mut f = Fixture::online();
    let receipt = |user: &str, event: &str| {
        json!({"rooms": {"join": {ROOM: {"ephemeral": {"events": [
            {"type": "m.receipt", "content": {event: {"m.read": {user: {"ts": 1}}}}}]}}}}})
    };
    let read = |f: &Fixture| f.client.timeline(ROOM).iter().map(|item| item.read).collect::<Vec<_>>();
    f.events(json!([
        message("$1", ME, "one", None),
        message("$2", "@b:hs", "two", None),
        message("$3", ME, "three", None)
    ]));
    f.sync(receipt(ME, "$3"));
    assert_eq!(read(&f), [false, false, false], "my own receipt is none");
    f.sync(receipt("@b:hs", "$2"));
    assert_eq!(read(&f), [true, false, false], "others' messages are not mine to be read");
    f.sync(receipt("@c:hs", "$1"));
    assert_eq!(read(&f), [true, false, false], "it goes forwards only");
    f.sync(receipt("@c:hs", "$3"));
    assert_eq!(read(&f), [true, false, true]);
    assert_eq!(
        f.view.iter().map(|item| item.read).collect::<Vec<_>>(),
        [true, false, true],
        "the edits tell it"
    );

    f.client.scroll_back(f.now, ROOM, 10);
    f.drain();
    f.respond("/messages", 200, json!({"chunk": [message("$0", ME, "zero", None)]}));
    assert_eq!(read(&f), [true, true, false, true], "what is older is read too");
}

#[test]
fn m13_a_receipt_for_what_was_not_held_yet_counts_once_it_is() {
    let mut f = Fixture::online();
    f.sync(json!({"rooms": {"join": {ROOM: {"timeline": {"limited": true, "prev_batch": "p",
        "events": [message("$9", ME, "nine", None)]},
        "ephemeral": {"events": [{"type": "m.receipt", "content": {"$1": {"m.read": {"@b:hs": {"ts": 1}}}}}]}}}}}));
    f.client.scroll_back(f.now, ROOM, 10);
    f.drain();
    let older = json!([message("$2", ME, "two", None), message("$1", ME, "one", None)]);
    f.respond("/messages", 200, json!({"chunk": older}));
    let read: Vec<bool> = f.client.timeline(ROOM).iter().map(|item| item.read).collect();
    assert_eq!(read, [true, false, false]);
}
