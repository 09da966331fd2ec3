//! O5: how often somebody may ask, and how much they may send.

use std::{
    io::{Read, Write},
    time::Duration,
};

use pilotlight::server::accounts::tokens::Lasting;
use serde_json::json;

use crate::{
    poll::connect,
    support::{Client, PASSWORD, TestServer, until},
};

const WHOAMI: &str = "/_matrix/client/v3/account/whoami";
const LOGIN: &str = "/_matrix/client/v3/login";
const VERSIONS: &str = "/_matrix/client/versions";

#[test]
fn a_user_who_asks_too_often_is_told_when_to_come_again_and_others_are_not() {
    let server = TestServer::start_with(|config| {
        config.rate_limits.user_per_second = 1;
        config.rate_limits.user_burst = 5;
    });
    let (ann, ben) = (server.register("ann"), server.register("ben"));
    let other = server.log_in("ann");
    for n in 0..5 {
        [&ann, &other][n % 2].get(WHOAMI).ok();
    }
    let answer = ann.get(WHOAMI);
    let seconds = answer.headers["retry-after"].to_str().expect("text").to_owned();
    let refused = answer.refused(429, "M_LIMIT_EXCEEDED");
    assert!(refused["retry_after_ms"].as_u64().is_some_and(|ms| (1..=1000).contains(&ms)));
    assert_eq!(seconds, "1");
    other.get(WHOAMI).refused(429, "M_LIMIT_EXCEEDED");
    ben.get(WHOAMI).ok();
    server.anonymous().get(VERSIONS).ok();
}

#[test]
fn an_address_without_an_account_is_limited_also_with_made_up_tokens() {
    let server = TestServer::start_with(|config| {
        config.rate_limits.address_per_second = 1;
        config.rate_limits.address_burst = 10;
    });
    let ann = server.register("ann");
    let mut answers = Vec::new();
    for n in 0..12 {
        let stranger = server.anonymous().with_token(&json!(format!("guess{n}")));
        answers.push(stranger.get(WHOAMI).status);
    }
    assert_eq!(answers.iter().filter(|status| **status == 401).count(), 9, "{answers:?}");
    server.anonymous().get(VERSIONS).refused(429, "M_LIMIT_EXCEEDED");
    let behind = |address: &str| {
        server.anonymous().send_with("GET", VERSIONS, &[("x-forwarded-for", address)], None).status
    };
    assert_eq!(behind("198.51.100.7"), 200, "another address behind a proxy on this machine");
    ann.get(WHOAMI).ok();
}

#[test]
fn guessing_passwords_is_slowed_down_for_the_account_and_the_guesser_only() {
    let server = TestServer::start_with(|config| {
        config.rate_limits.login_per_minute = 1;
        config.rate_limits.login_burst = 3;
    });
    let ann = server.register("ann");
    server.register("ben");
    let client = server.anonymous();
    let login = |password: &str| json!({ "type": "m.login.password", "user": "ann", "password": password });
    for _ in 0..5 {
        client.post(LOGIN, login(PASSWORD)).ok();
    }
    for _ in 0..3 {
        client.post(LOGIN, login("guess")).refused(403, "M_FORBIDDEN");
    }
    client.post(LOGIN, login("guess")).refused(429, "M_LIMIT_EXCEEDED");
    client.post(LOGIN, login(PASSWORD)).refused(429, "M_LIMIT_EXCEEDED");
    let auth = json!({ "type": "m.login.password", "password": "guess" });
    let change = json!({ "new_password": "x", "auth": auth });
    ann.post("/_matrix/client/v3/account/password", change).refused(429, "M_LIMIT_EXCEEDED");
    server.log_in("ben");
    let elsewhere = [("x-forwarded-for", "198.51.100.7")];
    let body = login(PASSWORD).to_string();
    let answer = client.send_with("POST", LOGIN, &elsewhere, Some(body.as_bytes()));
    assert_eq!(answer.status, 200, "the owner, from another address");
}

#[test]
fn presence_beyond_the_rate_is_delayed_and_the_last_state_is_never_dropped() {
    let server = TestServer::driven_with(|config| {
        config.rate_limits.presence_per_second = 1;
        config.rate_limits.presence_burst = 2;
        config.rate_limits.user_per_second = 1;
        config.rate_limits.user_burst = 3;
    });
    let (ann, ben) = (server.register("ann"), server.register("ben"));
    let status = format!("/_matrix/client/v3/presence/{}/status", ann.user);
    let device = format!("/_matrix/client/unstable/org.pilotlight/presence/{}/device", ann.user);
    // Within the burst nothing waits: both are answered though no time passes.
    for state in ["busy", "online"] {
        ann.put(&status, json!({ "presence": state })).ok();
    }
    let chosen = |state: &str| format!("choice: Some({state})");
    let said = [
        (&status, json!({ "presence": "busy", "status_msg": "first" }), chosen("Busy")),
        (&status, json!({ "presence": "free_for_chat", "status_msg": "last" }), chosen("FreeForChat")),
        (&device, json!({ "device_type": "mobile" }), "mobile".to_owned()),
        (&status, json!({ "presence": "busy" }), chosen("Busy")),
    ];
    let waiting = said.map(|(path, body, shown)| {
        let (ann, path) = (ann.clone(), path.clone());
        let waiting = std::thread::spawn(move || ann.put(&path, body).ok());
        until("it waits", || held(&server).contains(&shown));
        waiting
    });
    server.pass(Duration::from_millis(999));
    assert!(waiting.iter().all(|answer| !answer.is_finished()));
    assert_eq!(ann.get(&status).ok()["org.pilotlight.presence"]["choice"], "online");
    server.pass(Duration::from_millis(1));
    // One turn for all.
    for answer in waiting {
        assert_eq!(answer.join().expect("is answered"), json!({}));
    }
    let seen = ann.get(&status).ok();
    assert_eq!(
        (&seen["org.pilotlight.presence"]["choice"], &seen["status_msg"]),
        (&json!("busy"), &json!("last"))
    );
    assert_eq!(seen["org.pilotlight.presence"]["device_type"], "mobile");
    // Nor does what is said eat up what other requests need, or the other way round.
    for _ in 0..3 {
        ben.get(WHOAMI).ok();
    }
    ben.get(WHOAMI).refused(429, "M_LIMIT_EXCEEDED");
    ben.get("/_matrix/client/v3/sync").refused(429, "M_LIMIT_EXCEEDED");
    ben.put(&format!("/_matrix/client/v3/presence/{}/status", ben.user), json!({ "presence": "busy" })).ok();
    server.anonymous().put(&status, json!({ "presence": "busy" })).refused(401, "M_MISSING_TOKEN");
}

#[test]
fn a_last_state_that_waits_is_taken_though_its_client_went_away() {
    let server = TestServer::driven_with(|config| {
        config.rate_limits.presence_per_second = 1;
        config.rate_limits.presence_burst = 1;
    });
    let ann = server.register("ann");
    let status = format!("/_matrix/client/v3/presence/{}/status", ann.user);
    ann.put(&status, json!({ "presence": "online" })).ok();
    let mut impatient = connect(&ann);
    let (body, token) = (r#"{"presence":"busy"}"#, ann.token.clone().expect("a token"));
    let request = format!(
        "PUT {status} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    impatient.write_all(request.as_bytes()).expect("is sent");
    until("it waits", || held(&server).contains("Busy"));
    impatient.shutdown(std::net::Shutdown::Write).expect("it is connected");
    assert_eq!(impatient.read(&mut [0]).expect("the server goes away too"), 0);
    let choice = || ann.get(&status).ok()["org.pilotlight.presence"]["choice"].clone();
    server.pass(Duration::from_millis(999));
    assert_eq!(choice(), "online", "it waits");
    server.pass(Duration::from_millis(1));
    until("it is taken", || choice() == "busy");
}

/// What users said that waits for the rate limit, as it shows in no other way.
fn held(server: &TestServer) -> String {
    let presence = format!("{:?}", server.app().presence);
    let waiting = presence.split("waiting: Waiting(").last().expect("a field");
    waiting.split("earlier: ").next().expect("what comes before").to_owned()
}

#[test]
fn users_behind_one_proxy_do_not_share_a_bucket() {
    let server = TestServer::start_with(|config| {
        config.rate_limits.user_per_second = 1;
        config.rate_limits.user_burst = 3;
        config.rate_limits.address_per_second = 1;
        config.rate_limits.address_burst = 10;
    });
    let users = ["ann", "ben", "cid"].map(|name| server.register(name));
    let behind =
        |client: &Client| client.send_with("GET", WHOAMI, &[("x-forwarded-for", "198.51.100.7")], None);
    for user in &users {
        for _ in 0..3 {
            behind(user).ok();
        }
        behind(user).refused(429, "M_LIMIT_EXCEEDED");
    }
}

#[test]
fn limits_can_be_switched_off() {
    let server = TestServer::start_with(|config| {
        config.rate_limits.enabled = false;
        config.rate_limits.user_burst = 1;
        config.rate_limits.address_burst = 1;
        config.rate_limits.login_burst = 1;
    });
    let ann = server.register("ann");
    for _ in 0..5 {
        ann.get(WHOAMI).ok();
        server.log_in("ann");
    }
}

#[test]
fn a_body_that_is_too_large_is_refused_and_the_server_goes_on() {
    let server = TestServer::start();
    let ann = server.register("ann");
    let body = json!({ "x": "y".repeat(1 << 20) });
    ann.put("/_matrix/client/v3/user/@ann:localhost/account_data/x", body).refused(413, "M_TOO_LARGE");
    ann.get(WHOAMI).ok();
}

#[test]
fn one_device_too_many_displaces_the_one_that_was_seen_longest_ago() {
    let server = TestServer::start_with(|config| config.rate_limits.enabled = false);
    let first = server.register("ann");
    let second = server.log_in("ann");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let user = ruma::UserId::parse(first.user.as_str()).expect("a user");
    let proof = runtime.block_on(server.app().accounts.check_password(&user, PASSWORD.to_owned()));
    let proof = proof.expect("is checked").expect("is right");
    for n in 2..200 {
        let log_in =
            server.app().accounts.log_in(proof.clone(), Some(format!("D{n}").into()), None, Lasting::Long);
        runtime.block_on(log_in).expect("logs in");
    }
    // In use, though older.
    first.get(WHOAMI).ok();
    let last = server.log_in("ann");
    second.get(WHOAMI).refused(401, "M_UNKNOWN_TOKEN");
    first.get(WHOAMI).ok();
    let devices = last.get("/_matrix/client/v3/devices").ok();
    assert_eq!(devices["devices"].as_array().map(Vec::len), Some(200));
}
