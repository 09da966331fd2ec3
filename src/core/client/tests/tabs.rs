//! Several tabs of one device: one has the stream, and all show the same.

use std::time::Duration;

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::stream::{first, frame, streaming};
use super::*;

const SECOND: Duration = Duration::from_secs(1);
const HELLO: &str = "event: hello\ndata: {\"heartbeat_ms\":25000}\n\n";

/// What one tab says, the others hear, in order.
fn carry(tabs: &mut [&mut Fixture]) {
    loop {
        let Some(from) = tabs.iter().position(|tab| !tab.told.is_empty()) else { return };
        let message = tabs[from].told.remove(0);
        for (at, tab) in tabs.iter_mut().enumerate() {
            if at != from {
                tab.client.handle_tab(tab.now, &message);
                tab.drain();
            }
        }
    }
}

/// A tab that has the stream, and one that hears of it.
fn two_tabs() -> (Fixture, Fixture) {
    let mut leader = Fixture::new();
    leader.client.handle_lead(leader.now, false);
    leader.start();
    leader.client.handle_lead(leader.now, true);
    leader.drain();
    leader.respond("versions", 200, streaming());
    leader.chunk(HELLO);
    leader.chunk(&first());
    let mut other = follower(&mut leader);
    other.sync(json!({"rooms": {"join": {ROOM: {"timeline": {"events": [], "prev_batch": "p0"}}}}}));
    assert_eq!((other.count("/sync"), other.client.connection()), (0, Connection::Online));
    (leader, other)
}

/// A tab that has begun, and asks for what there is.
fn follower(leader: &mut Fixture) -> Fixture {
    let mut other = Fixture::new();
    other.client.handle_lead(other.now, false);
    other.start();
    carry(&mut [leader, &mut other]);
    other.respond("versions", 200, streaming());
    assert!(other.take_back("/sync").contains("timeout=0"));
    other
}

impl Fixture {
    /// The path of the one request with these words, which stays.
    fn take_back(&mut self, what: &str) -> String {
        let request = self.take(what);
        let path = request.path.clone();
        self.requests.push(request);
        path
    }
}

fn said(id: &str, position: &str) -> String {
    let mut event = message(id, "@b:hs", id, None);
    event["room_id"] = json!(ROOM);
    frame("e", &event, position)
}

fn bodies(f: &Fixture) -> Vec<String> {
    f.shown().into_iter().map(|(body, _)| body).collect()
}

#[test]
fn w3_one_tab_has_the_stream_and_all_show_what_it_tells() {
    let (mut leader, mut other) = two_tabs();
    leader.chunk(&said("$1", "2"));
    leader.chunk(&[said("$2", ""), frame("message", &json!({"u": "@a:hs", "s": "busy"}), "3")].concat());
    carry(&mut [&mut leader, &mut other]);
    assert_eq!(
        (bodies(&leader), bodies(&other)),
        (vec!["$1".into(), "$2".into()], vec!["$1".into(), "$2".into()])
    );
    assert_eq!(other.client.presence_of("@a:hs"), leader.client.presence_of("@a:hs"));
    for _ in 0..20 {
        other.pass(25 * SECOND);
        leader.pass(25 * SECOND);
        leader.chunk(":\n\n");
        carry(&mut [&mut leader, &mut other]);
    }
    assert_eq!((other.count("/sync"), other.count("/stream")), (0, 0), "it asks for nothing by itself");
}

#[test]
fn w3_a_tab_that_begins_misses_nothing_and_shows_nothing_twice() {
    let (mut leader, _) = two_tabs();
    let mut other = follower(&mut leader);
    leader.chunk(&said("$1", "2"));
    leader.chunk(&said("$2", "3"));
    carry(&mut [&mut leader, &mut other]);
    assert_eq!(bodies(&other), [""; 0], "what is told waits for the state before it");
    let events = json!([message("$1", "@b:hs", "$1", None)]);
    other.sync(json!({"rooms": {"join": {ROOM: {"timeline": {"events": events, "prev_batch": "p0"}}}}}));
    assert_eq!(bodies(&other), ["$1", "$2"]);
    leader.chunk(&said("$3", "4"));
    carry(&mut [&mut leader, &mut other]);
    assert_eq!((bodies(&other).len(), other.count("/sync")), (3, 0));
}

#[test]
fn w3_a_tab_that_missed_something_asks_for_it() {
    let (mut leader, mut other) = two_tabs();
    leader.chunk(&said("$1", "2"));
    carry(&mut [&mut leader, &mut other]);
    leader.chunk(&said("$2", "3"));
    leader.told.clear();
    leader.chunk(&said("$3", "4"));
    carry(&mut [&mut leader, &mut other]);
    assert_eq!(bodies(&other), ["$1"], "a hole is never shown");
    let path = other.take_back("/sync");
    assert!(path.contains("since=2") && path.contains("timeout=0"), "{path}");
    let events = json!([message("$2", "@b:hs", "$2", None), message("$3", "@b:hs", "$3", None)]);
    other.events(events);
    assert_eq!((bodies(&other).len(), other.count("/sync")), (3, 0));
    leader.chunk(&said("$4", "5"));
    carry(&mut [&mut leader, &mut other]);
    assert_eq!(bodies(&other), ["$1", "$2", "$3", "$4"]);
}

#[test]
fn w3_when_the_leader_goes_another_goes_on_from_where_it_is() {
    let (mut leader, mut other) = two_tabs();
    let mut third = follower(&mut leader);
    third.sync(json!({"rooms": {"join": {ROOM: {"timeline": {"events": [], "prev_batch": "p0"}}}}}));
    leader.chunk(&said("$1", "2"));
    carry(&mut [&mut leader, &mut other, &mut third]);
    // It crashes, without a word; its lock is free.
    other.client.handle_lead(other.now, true);
    other.drain();
    assert!(other.take_back("/stream").contains("since=2"));
    other.chunk(HELLO);
    other.chunk(&said("$2", "3"));
    carry(&mut [&mut other, &mut third]);
    assert_eq!(bodies(&other), ["$1", "$2"]);
    assert_eq!(
        (bodies(&third), third.count("/sync")),
        (vec!["$1".into(), "$2".into()], 0),
        "nobody had to ask"
    );
    assert_eq!(
        (other.client.connection(), third.client.connection()),
        (Connection::Online, Connection::Online)
    );
}

#[test]
fn w3_without_a_stream_each_tab_follows_by_itself() {
    let (mut leader, mut other) = two_tabs();
    leader.lose("/stream");
    carry(&mut [&mut leader, &mut other]);
    let path = other.take_back("/sync");
    assert!(path.contains("timeout=30000"), "{path}");
    other.events(json!([message("$1", "@b:hs", "$1", None)]));
    assert_eq!(bodies(&other), ["$1"]);
    leader.pass(2 * SECOND);
    leader.chunk(HELLO);
    carry(&mut [&mut leader, &mut other]);
    assert!(other.take_back("/sync").contains("timeout=0"), "the leader is back");
    leader.chunk(&said("$1", "2"));
    carry(&mut [&mut leader, &mut other]);
    other.sync(json!({}));
    assert_eq!((bodies(&other), other.count("/sync")), (vec!["$1".into()], 0));
}

#[test]
fn w3_a_leader_that_is_not_heard_is_not_waited_for() {
    let (_, mut other) = two_tabs();
    other.pass(36 * SECOND);
    assert!(other.take_back("/sync").contains("timeout=30000"));
}

#[test]
fn w3_a_leader_that_begins_anew_is_followed_from_there() {
    let (mut leader, mut other) = two_tabs();
    leader.lose("/stream");
    leader.pass(SECOND);
    leader.respond("/stream", 400, json!({"errcode": "M_UNKNOWN_POS"}));
    leader.respond("/sync", 400, json!({"errcode": "M_UNKNOWN_POS"}));
    carry(&mut [&mut leader, &mut other]);
    assert_eq!(other.count("/sync"), 1);
}

#[test]
fn w3_a_tab_that_stops_hears_nothing() {
    let (mut leader, mut other) = two_tabs();
    other.client.stop(other.now);
    other.drain();
    leader.chunk(&said("$1", "2"));
    carry(&mut [&mut leader, &mut other]);
    assert_eq!((bodies(&other), other.client.connection()), (vec![], Connection::Stopped));
    other.start();
    carry(&mut [&mut leader, &mut other]);
    other.respond("versions", 200, streaming());
    other.events(json!([message("$1", "@b:hs", "$1", None)]));
    leader.chunk(&said("$2", "3"));
    carry(&mut [&mut leader, &mut other]);
    assert_eq!((bodies(&other), other.count("/sync")), (vec!["$1".into(), "$2".into()], 0));
}

#[test]
fn w3_who_is_active_in_one_tab_is_idle_in_none() {
    let (mut leader, mut other) = two_tabs();
    for _ in 0..20 {
        leader.pass(30 * SECOND);
        leader.chunk(":\n\n");
        other.pass(30 * SECOND);
        other.client.handle_activity(other.now);
        other.drain();
        carry(&mut [&mut leader, &mut other]);
    }
    assert!(!leader.client.is_idle() && !other.client.is_idle());
    assert_eq!(leader.count("/device") + other.count("/device"), 0, "nobody tells the server anything");
}

#[test]
fn w3_what_one_tab_sends_the_others_show_once() {
    let (mut leader, mut other) = two_tabs();
    let id = other.send("hi");
    let mut event = message("$1", ME, "hi", Some(id));
    event["room_id"] = json!(ROOM);
    leader.chunk(&frame("e", &event, "2"));
    carry(&mut [&mut leader, &mut other]);
    for tab in [&leader, &other] {
        assert_eq!(tab.shown(), [("hi".into(), "placed")]);
    }
    other.respond("/send/", 200, json!({"event_id": "$1"}));
    assert_eq!(other.shown().len(), 1);
}

#[test]
fn words_of_other_tabs_that_are_none_change_nothing() {
    let (mut leader, mut other) = two_tabs();
    for message in [
        "",
        "live",
        "live\nx",
        "write",
        "write\n",
        "write\n1\n\n",
        "write\n1\n2",
        "write\n\n\n",
        "away\nx",
        "x",
    ] {
        leader.client.handle_tab(leader.now, message);
        leader.drain();
        other.client.handle_tab(other.now, message);
        other.drain();
    }
    assert_eq!(leader.count("/stream"), 1);
    assert!(other.count("/sync") <= 1);
}
