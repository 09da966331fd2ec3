//! The system's clock is set while the server runs: what people are told follows, what waits does not.

use std::time::Duration;

use serde_json::{Value, json};

use super::support::{Client, TestServer};

const HOUR_MS: i64 = 3_600_000;

/// Sends a message and answers when it says that it was sent.
fn say(client: &Client, room: &str, text: &str) -> u64 {
    let path = format!("/_matrix/client/v3/rooms/{room}/send/m.room.message/{text}");
    let id = client.put(&path, json!({ "msgtype": "m.text", "body": text })).ok()["event_id"].clone();
    let path = format!("/_matrix/client/v3/rooms/{room}/event/{}", id.as_str().expect("an ID"));
    client.get(&path).ok()["origin_server_ts"].as_u64().expect("a time")
}

fn texts(sync: &Value, room: &str) -> Vec<String> {
    let events = sync["rooms"]["join"][room]["timeline"]["events"].as_array().expect("a timeline").clone();
    events.iter().filter_map(|event| Some(event["content"]["body"].as_str()?.to_owned())).collect()
}

#[test]
fn times_of_events_follow_the_clock_and_their_order_does_not() {
    let server = TestServer::driven();
    let ann = server.register("ann");
    let room = ann.post("/_matrix/client/v3/createRoom", json!({})).ok()["room_id"].clone();
    let room = room.as_str().expect("a room");
    let clock = server.time().clock();
    let start = clock.unix_ms();
    assert_eq!(say(&ann, room, "first"), start);
    clock.set_ahead(HOUR_MS);
    assert_eq!(say(&ann, room, "later"), start + 3_600_000);
    clock.set_ahead(-2 * HOUR_MS);
    assert_eq!(say(&ann, room, "earlier"), start - 3_600_000);
    assert_eq!(texts(&ann.get("/_matrix/client/v3/sync").ok(), room), ["first", "later", "earlier"]);
    let other = server.log_in("ann");
    let device = other.get(&format!("/_matrix/client/v3/devices/{}", other.device)).ok();
    assert_eq!(device["last_seen_ts"], start - 3_600_000);
}

#[test]
fn setting_the_clock_neither_refills_a_rate_limit_nor_stops_it_from_filling() {
    let server = TestServer::driven_with(|config| {
        config.rate_limits.user_per_second = 1;
        config.rate_limits.user_burst = 3;
    });
    let ann = server.register("ann");
    let whoami = || ann.get("/_matrix/client/v3/account/whoami");
    for _ in 0..3 {
        whoami().ok();
    }
    let clock = server.time().clock();
    for step in [HOUR_MS, -2 * HOUR_MS] {
        clock.set_ahead(step);
        whoami().refused(429, "M_LIMIT_EXCEEDED");
        server.pass(Duration::from_secs(1));
        whoami().ok();
    }
}

#[test]
fn setting_the_clock_makes_nobody_idle_or_offline() {
    let server = TestServer::driven();
    let ann = server.register("ann");
    ann.get("/_matrix/client/v3/sync?set_presence=online").ok();
    let status = format!("/_matrix/client/v3/presence/{}/status", ann.user);
    let before = ann.get(&status).ok();
    assert_eq!(before["presence"], "online");
    for step in [HOUR_MS, -2 * HOUR_MS] {
        server.time().clock().set_ahead(step);
        server.settle();
        assert_eq!(ann.get(&status).ok(), before);
    }
}
