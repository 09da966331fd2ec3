//! Tokens with which users show to others who they are.

use std::time::Duration;

use serde_json::json;

use super::{
    support::{Client, TestServer},
    sync::same,
};

const USERINFO: &str = "/_matrix/federation/v1/openid/userinfo";

fn token(client: &Client) -> String {
    let path = format!("/_matrix/client/v3/user/{}/openid/request_token", client.user);
    let answer = client.post(&path, json!({})).ok();
    assert_eq!(
        (&answer["token_type"], &answer["matrix_server_name"]),
        (&json!("Bearer"), &json!("localhost"))
    );
    assert_eq!(answer["expires_in"], 3600);
    answer["access_token"].as_str().expect("a token").to_owned()
}

#[test]
fn a_token_says_whose_it_is_for_an_hour_over_a_restart_and_to_nobody_without_it() {
    let server = TestServer::driven();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let (alices, bobs) = (token(&alice), token(&bob));
    assert_ne!(alices, token(&alice));
    let server = server.restart();
    let (asker, alice) = (server.anonymous(), same(&server, &alice));
    let asked = |token: &str| asker.get(&format!("{USERINFO}?access_token={token}"));
    assert_eq!(asked(&alices).ok(), json!({ "sub": "@alice:localhost" }));
    assert_eq!(asked(&bobs).ok(), json!({ "sub": "@bob:localhost" }));
    asker.get(USERINFO).refused(401, "M_MISSING_TOKEN");
    asked("x").refused(401, "M_UNKNOWN_TOKEN");
    // It is no access token, and an access token is none.
    asker
        .clone()
        .with_token(&json!(alices))
        .get("/_matrix/client/v3/account/whoami")
        .refused(401, "M_UNKNOWN_TOKEN");
    asked(alice.token.as_deref().expect("is logged in")).refused(401, "M_UNKNOWN_TOKEN");
    alice
        .post("/_matrix/client/v3/user/@bob:localhost/openid/request_token", json!({}))
        .refused(403, "M_FORBIDDEN");
    asker
        .post("/_matrix/client/v3/user/@bob:localhost/openid/request_token", json!({}))
        .refused(401, "M_MISSING_TOKEN");
    for _ in 0..99 {
        token(&alice);
    }
    server.pass(Duration::from_secs(3598));
    asked(&bobs).ok();
    server.pass(Duration::from_secs(2));
    asked(&bobs).refused(401, "M_UNKNOWN_TOKEN");
}

#[test]
fn of_one_users_tokens_so_many_are_valid_at_once() {
    let server = TestServer::driven();
    let alice = server.register("alice");
    let first = token(&alice);
    server.pass(Duration::from_secs(1));
    for _ in 0..100 {
        token(&alice);
    }
    server.anonymous().get(&format!("{USERINFO}?access_token={first}")).refused(401, "M_UNKNOWN_TOKEN");
}
