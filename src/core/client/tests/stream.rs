//! The held stream: what it tells, how it is lost and found, and when `/sync` takes its place.

use std::time::Duration;

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::core::presence::State;

const SECOND: Duration = Duration::from_secs(1);
const HELLO: &str = "event: hello\ndata: {\"heartbeat_ms\":25000}\n\n";
const BEAT: &str = ":\n\n";

impl Fixture {
    /// Bytes of the stream that is asked for.
    pub fn chunk(&mut self, bytes: &str) {
        let id = self.requests.iter().find(|request| request.held).expect("a stream is asked for").id;
        self.client.handle_chunk(self.now, id, bytes.as_bytes());
        self.drain();
    }

    /// Started, on a server that has the stream.
    pub fn announced(&mut self) {
        self.start();
        self.respond("versions", 200, streaming());
        self.respond("profile", 200, json!({}));
        self.respond("GET status", 200, json!({"presence": "online"}));
    }

    /// Following by the stream, with the room joined.
    pub fn streaming() -> Self {
        let mut f = Self::new();
        f.announced();
        f.chunk("");
        f.chunk(HELLO);
        f.chunk(&first());
        assert_eq!(f.client.connection(), Connection::Online);
        f
    }
}

pub fn streaming() -> Value {
    json!({"unstable_features": {"org.pilotlight.presence": true, "org.pilotlight.stream": true}})
}

/// One event of the stream; the last of a write has an `id`.
pub fn frame(kind: &str, data: &Value, id: &str) -> String {
    let id = if id.is_empty() { String::new() } else { format!("id: {id}\n") };
    format!("event: {kind}\ndata: {data}\n{id}\n")
}

/// The first write: the room, empty.
pub fn first() -> String {
    let rooms = json!({"join": {ROOM: {"timeline": {"events": [], "prev_batch": "p0"}}}});
    frame("sync", &json!({"next_batch": "long", "rooms": rooms}), "1")
}

fn said(id: &str, body: &str, position: &str) -> String {
    let mut event = message(id, "@b:hs", body, None);
    event["room_id"] = json!(ROOM);
    frame("e", &event, position)
}

fn bodies(f: &Fixture) -> Vec<String> {
    f.shown().into_iter().map(|(body, _)| body).collect()
}

/// Lets the stream end as a connection does.
fn lose_stream(f: &mut Fixture) {
    f.lose("/org.pilotlight/stream");
}

#[test]
fn where_it_is_announced_the_stream_is_used_and_nothing_else() {
    let mut f = Fixture::new();
    f.announced();
    assert_eq!(f.count("/sync"), 0);
    let request = f.requests.iter().find(|request| request.held).expect("a stream").path.clone();
    assert!(
        request.contains("set_presence=online") && request.contains("filter=") && !request.contains("since")
    );
    f.chunk("");
    f.chunk(HELLO);
    assert_eq!(f.client.connection(), Connection::Connecting, "nothing was told");
    f.chunk(&first());
    assert_eq!(f.client.connection(), Connection::Online);
    for _ in 0..100 {
        f.pass(25 * SECOND);
        f.chunk(BEAT);
    }
    assert_eq!((f.count("/sync"), f.count("/stream")), (0, 1), "one, for as long as it is heard");
}

#[test]
fn half_a_write_is_never_applied() {
    let mut f = Fixture::streaming();
    f.chunk(&said("$1", "one", ""));
    f.chunk(&said("$2", "two", "")[..20]);
    assert_eq!(bodies(&f), [""; 0]);
    f.chunk(&said("$2", "two", "")[20..]);
    f.chunk("id: 2\n\n");
    assert_eq!(bodies(&f), ["one", "two"]);
    f.chunk(&said("$3", "three", ""));
    lose_stream(&mut f);
    f.pass(2 * SECOND);
    let request = f.requests.iter().find(|request| request.held).expect("asked for again");
    assert!(request.path.contains("since=2"), "{}", request.path);
    f.chunk(HELLO);
    f.chunk(&said("$3", "three", ""));
    f.chunk(&said("$4", "four", "3"));
    assert_eq!(bodies(&f), ["one", "two", "three", "four"]);
}

#[test]
fn every_kind_of_event_does_what_sync_does() {
    let mut f = Fixture::streaming();
    let presence = json!({"u": "@a:hs", "s": "busy", "m": "here", "n": "Ann", "d": "web", "a": 0, "c": 1});
    f.chunk(
        &[
            frame("message", &presence, ""),
            frame("typing", &json!({"room_id": ROOM, "user_ids": ["@a:hs"]}), ""),
            frame("unread", &json!({"room_id": ROOM, "notification_count": 3, "highlight_count": 1}), ""),
            frame("room", &json!({"invite": {"!i:hs": {"invite_state": {"events": []}}}}), ""),
            frame("account_data", &json!({"type": "m.direct", "content": {"@a:hs": [ROOM]}}), ""),
            frame("device_lists", &json!({"changed": ["@a:hs"]}), ""),
            said("$1", "hi", "2"),
        ]
        .concat(),
    );
    let ann = f.client.presence_of("@a:hs").expect("told");
    assert_eq!((ann.state, ann.status_msg.as_deref()), (State::Busy, Some("here")));
    assert!(ann.currently_active && ann.display_name.as_deref() == Some("Ann"));
    let rooms = f.client.rooms();
    assert_eq!(rooms.iter().map(|room| &*room.room_id).collect::<Vec<_>>(), ["!i:hs", ROOM]);
    assert_eq!((rooms[1].unread, rooms[1].highlight, rooms[1].is_direct), (3, 1, true));
    assert_eq!(bodies(&f), ["hi"]);
    f.chunk(&frame("receipt", &json!({"room_id": ROOM, "content": {"$1": {"m.read": {"@a:hs": {}}}}}), "3"));
    f.chunk(&frame("room", &json!({"leave": {"!i:hs": {}}}), "4"));
    assert_eq!(f.client.rooms().len(), 1);
}

#[test]
fn one_goes_back_from_before_the_first_event_that_is_held_however_it_came() {
    let mut f = Fixture::streaming();
    f.chunk(&said("$1", "one", "2"));
    assert_eq!(f.client.rooms["!r:hs"].timeline.back_token(), Some("1"));
    for number in 3..4_100 {
        f.chunk(&said(&format!("${number}"), "x", &number.to_string()));
    }
    let timeline = &f.client.rooms["!r:hs"].timeline;
    assert_eq!(timeline.items().count(), 2_000 + 1, "as many are held as of a room that /sync tells of");
    let oldest = timeline.items().next().and_then(|item| item.event_id.as_deref()).expect("held");
    let oldest: u64 = oldest[1..].parse().unwrap();
    assert_eq!(timeline.back_token(), Some(&*(oldest - 1).to_string()));
}

#[test]
fn a_stream_that_is_silent_for_longer_than_it_said_is_lost_and_asked_for_again() {
    let mut f = Fixture::streaming();
    f.chunk(&frame("message", &json!({"u": "@a:hs", "s": "online"}), "2"));
    let state = |f: &Fixture| f.client.presence_of("@a:hs").unwrap().state;
    f.pass(34 * SECOND);
    assert_eq!((f.count("/stream"), f.client.connection()), (1, Connection::Online));
    f.requests.clear();
    f.pass(3 * SECOND);
    assert_eq!(f.count("since=2"), 1, "asked for again");
    assert_eq!(
        (state(&f), f.client.connection()),
        (State::Online, Connection::Online),
        "nobody is shown anything"
    );
    f.pass(16 * SECOND);
    assert_eq!(state(&f), State::Online);
    f.pass(3 * SECOND);
    assert_eq!(state(&f), State::Unknown, "half a minute after it should have been heard");
}

#[test]
fn presence_comes_back_without_a_step_between() {
    let mut f = Fixture::streaming();
    f.chunk(&frame("message", &json!({"u": "@a:hs", "s": "online"}), ""));
    f.chunk(&frame("message", &json!({"u": "@b:hs", "s": "busy"}), "2"));
    for _ in 0..60 {
        while f.count("/stream") > 0 {
            lose_stream(&mut f);
        }
        f.pass(SECOND);
    }
    assert_eq!(f.client.connection(), Connection::Offline);
    f.changes.clear();
    while f.count("/stream") == 0 {
        f.pass(SECOND);
    }
    f.chunk("");
    f.chunk(HELLO);
    assert_eq!(f.changes.len(), 0, "who says hello has told nothing");
    f.chunk(&frame("message", &json!({"u": "@b:hs", "s": "offline"}), "3"));
    let sets = f.changes.iter().filter_map(|change| match change {
        Change::Presence(who) => Some(who.iter().map(|one| one.state).collect::<Vec<_>>()),
        _ => None,
    });
    assert_eq!(sets.collect::<Vec<_>>(), [[State::Online, State::Offline]]);
    assert_eq!(f.client.connection(), Connection::Online);
}

#[test]
fn a_stream_that_goes_on_with_nothing_to_tell_is_back_at_once() {
    for heard in ["", BEAT] {
        let mut f = Fixture::streaming();
        f.chunk(&frame("message", &json!({"u": "@a:hs", "s": "online"}), "2"));
        lose_stream(&mut f);
        while f.count("/stream") == 0 {
            f.pass(SECOND / 10);
        }
        f.lose("/stream");
        assert_eq!(f.client.connection(), Connection::Offline);
        while f.count("/stream") == 0 {
            f.pass(SECOND / 10);
        }
        f.chunk(HELLO);
        f.chunk(heard);
        f.pass(SECOND);
        assert_eq!(f.client.connection(), Connection::Online, "{heard:?}");
        f.pass(30 * SECOND);
        assert_eq!(f.client.presence_of("@a:hs").unwrap().state, State::Online);
    }
}

#[test]
fn a_server_that_is_away_is_asked_later_each_time_and_by_the_stream_again() {
    let mut f = Fixture::streaming();
    for attempt in 0..6 {
        lose_stream(&mut f);
        let from = f.now;
        while f.count("/stream") == 0 {
            f.pass(SECOND / 10);
        }
        assert!(f.now.since(from) <= if attempt == 0 { SECOND * 7 / 10 } else { 10 * SECOND });
        assert_eq!(f.count("/sync"), 0, "nothing holds it back: there is no server");
    }
    f.chunk(HELLO);
    f.pass(SECOND);
    assert_eq!(f.client.connection(), Connection::Online);
}

#[test]
fn why_the_server_ends_it_says_what_to_do() {
    let end = |f: &mut Fixture, data: Value| {
        f.chunk(&frame("end", &data, ""));
        assert_eq!(f.count("/stream"), 0, "it is over");
    };
    let mut f = Fixture::streaming();
    end(&mut f, json!({"reason": "slow"}));
    assert_eq!(f.client.connection(), Connection::Online);
    f.pass(SECOND);
    assert_eq!(f.count("since=1"), 1, "taken up where it was");

    let mut f = Fixture::streaming();
    end(&mut f, json!({"reason": "stopping"}));
    f.pass(SECOND);
    assert_eq!(f.count("since=1"), 1);

    let mut f = Fixture::streaming();
    end(&mut f, json!({"reason": "error", "errcode": "M_UNKNOWN_TOKEN", "error": "gone"}));
    assert_eq!((f.client.connection(), f.requests.len()), (Connection::LoggedOut, 0));

    for data in [json!({"reason": "error", "errcode": "M_NOT_NOW"}), json!({"reason": "replaced"})] {
        let mut f = Fixture::streaming();
        end(&mut f, data);
        assert_eq!(f.count("/sync"), 1, "for good: /sync may say why");
    }
}

#[test]
fn what_a_refusal_means() {
    let mut f = Fixture::new();
    f.announced();
    f.respond("/stream", 401, json!({"errcode": "M_UNKNOWN_TOKEN"}));
    assert_eq!(f.client.connection(), Connection::LoggedOut);
    for status in [400, 404, 405] {
        let mut f = Fixture::streaming();
        lose_stream(&mut f);
        f.pass(SECOND);
        f.respond("/stream", status, json!({"errcode": "M_UNRECOGNIZED"}));
        assert_eq!((f.count("/sync"), f.count("since=1")), (1, 1), "{status}");
    }
    let mut f = Fixture::new();
    f.announced();
    f.respond("/stream", 429, json!({"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 20_000}));
    f.pass(19 * SECOND);
    assert_eq!(f.requests.len(), 0, "a server that asks to wait is obeyed");
    f.pass(2 * SECOND);
    assert_eq!(f.count("/stream"), 1);
}

#[test]
fn what_is_held_back_on_the_way_is_noticed_and_sync_goes_on_from_there() {
    type Case = (&'static str, fn(&mut Fixture));
    let cases: [Case; 6] = [
        ("no head", |f| f.pass(5 * SECOND)),
        ("a head, and no hello", |f| {
            f.pass(4 * SECOND);
            f.chunk("");
            f.pass(4 * SECOND);
            assert_eq!(f.count("/sync"), 0, "five seconds from the head");
            f.pass(SECOND);
        }),
        ("an answer that ends", |f| f.respond("/stream", 200, json!({}))),
        ("two that end before they tell anything", |f| {
            f.chunk(HELLO);
            lose_stream(f);
            f.pass(3 * SECOND);
            f.chunk("");
            lose_stream(f);
        }),
        ("two answers of a proxy", |f| {
            f.respond("/stream", 502, json!({}));
            f.pass(3 * SECOND);
            f.respond("/stream", 504, json!({}));
        }),
        ("no event stream at all", |f| f.chunk("event: hello\ndata: {}\n\ndata: <html>\nid: 1\n\n")),
    ];
    for (name, hold_back) in cases {
        let mut f = Fixture::new();
        f.announced();
        hold_back(&mut f);
        assert_eq!((f.count("/sync"), f.count("/stream")), (1, 0), "{name}");
        f.sync(json!({"rooms": {"join": {ROOM: {"timeline": {"events": [message("$1", "@b:hs", "one", None)]}}}}}));
        assert_eq!(f.client.connection(), Connection::Online, "{name}");
        let from = f.now;
        while f.count("/stream") == 0 {
            f.pass(20 * SECOND);
            if f.count("/sync") > 0 {
                f.sync(json!({}));
            }
        }
        let after = f.now.since(from);
        assert!(after >= 240 * SECOND && after <= 400 * SECOND, "{name}: tried again after {after:?}");
        assert_eq!(f.count("since=s"), 1, "{name}: the position is one");
        f.chunk(HELLO);
        f.chunk(&[said("$1", "one", ""), said("$2", "two", "9")].concat());
        assert_eq!(bodies(&f), ["one", "two"], "{name}: nothing is doubled, nothing lost");
        assert_eq!(f.count("/sync"), 0, "{name}");
    }
}

#[test]
fn a_server_that_answers_neither_way_was_not_held_back() {
    let mut f = Fixture::streaming();
    lose_stream(&mut f);
    f.pass(SECOND);
    f.pass(5 * SECOND);
    assert_eq!(f.count("/sync"), 1);
    f.lose("/sync");
    while f.requests.is_empty() {
        f.pass(SECOND);
    }
    assert_eq!((f.count("/sync"), f.count("/stream")), (0, 1), "the stream is not given up for it");
}

#[test]
fn a_client_that_stops_or_hears_no_network_lets_the_stream_go() {
    let mut f = Fixture::streaming();
    f.client.stop(f.now);
    f.drain();
    assert_eq!(f.requests.len(), 0);
    let mut f = Fixture::streaming();
    f.client.handle_network_down(f.now);
    f.drain();
    assert_eq!((f.count("/stream"), f.client.connection()), (0, Connection::Offline));
    f.client.try_now(f.now);
    f.drain();
    assert_eq!(f.count("/stream"), 1);
}

#[test]
fn m11_a_gap_in_the_stream_that_swallowed_an_echo_leaves_it_to_the_history() {
    for next in [BEAT.to_owned(), frame("message", &json!({"u": "@a:hs", "s": "online"}), "3")] {
        let mut f = Fixture::streaming();
        f.send("hi");
        f.respond("/send/", 200, json!({"event_id": "$1"}));
        let gap = json!({"join": {ROOM: {"timeline": {"limited": true, "prev_batch": "p1",
            "events": [message("$9", "@b:hs", "late", None)]}}}});
        f.chunk(&frame("room", &gap, "2"));
        assert_eq!(
            f.shown(),
            [("late".into(), "placed"), ("hi".into(), "sent")],
            "it may still be on its way"
        );
        f.chunk(&next);
        assert_eq!(f.shown(), [("late".into(), "placed")]);
    }
}
