//! What clients are told of the TURN server.

use std::time::Duration;

use pilotlight::server::{Config, config::Secret};
use serde_json::json;

use crate::support::TestServer;

const V3: &str = "/_matrix/client/v3/voip/turnServer";

fn with_turn(config: &mut Config) {
    config.turn.uris = vec!["turn:turn.example.org?transport=udp".into()];
    config.turn.shared_secret = Some(Secret::new("north"));
    config.turn.user_lifetime = Duration::from_secs(600);
}

#[test]
fn m14_a_user_gets_credentials_of_their_own_that_hold_from_the_moment_they_are_asked_for() {
    let server = TestServer::driven_with(with_turn);
    let (ann, ben) = (server.register("ann"), server.register("ben"));
    let until = |told: &serde_json::Value, user: &str| -> u64 {
        let name = told["username"].as_str().expect("a name");
        let (until, of) = name.split_once(':').expect("two parts");
        assert_eq!(of, user);
        until.parse().expect("seconds")
    };
    let first = ann.get(V3).ok();
    assert_eq!(
        (&first["ttl"], &first["uris"]),
        (&json!(600), &json!(["turn:turn.example.org?transport=udp"]))
    );
    assert_eq!(first["password"].as_str().map(str::len), Some(28), "a signature of 20 bytes");
    assert_eq!(ann.get("/_matrix/client/r0/voip/turnServer").ok(), first);
    server.pass(Duration::from_secs(60));
    let later = ann.get(V3).ok();
    assert_eq!(until(&later, "@ann:localhost"), until(&first, "@ann:localhost") + 60);
    let other = ben.get(V3).ok();
    assert_eq!(until(&other, "@ben:localhost"), until(&later, "@ann:localhost"));
    assert!(first["password"] != later["password"] && later["password"] != other["password"]);
}

#[test]
fn m14_nobody_is_told_of_the_turn_server_without_a_session() {
    let server = TestServer::start_with(with_turn);
    server.anonymous().get(V3).refused(401, "M_MISSING_TOKEN");
    let ann = server.register("ann");
    ann.post(V3, json!({})).refused(405, "M_UNRECOGNIZED");
    ann.post("/_matrix/client/v3/logout", json!({})).ok();
    ann.get(V3).refused(401, "M_UNKNOWN_TOKEN");
}

#[test]
fn m14_without_a_turn_server_the_answer_is_an_empty_object() {
    let server = TestServer::start();
    assert_eq!(server.register("ann").get(V3).ok(), json!({}));
}
