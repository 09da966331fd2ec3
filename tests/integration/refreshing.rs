//! Access tokens that end, refresh tokens, and tokens by which one device lets another in.

use std::time::Duration;

use serde_json::{Value, json};

use super::support::{Answer, Client, PASSWORD, TestServer};

const LOGIN: &str = "/_matrix/client/v3/login";
const REFRESH: &str = "/_matrix/client/v3/refresh";
const GET_TOKEN: &str = "/_matrix/client/v1/login/get_token";
const WHOAMI: &str = "/_matrix/client/v3/account/whoami";
const MINUTES: Duration = Duration::from_secs(300);

fn text(answer: &Value, key: &str) -> String {
    answer[key].as_str().unwrap_or_else(|| panic!("{key} in {answer}")).to_owned()
}

fn log_in(server: &TestServer, more: Value) -> Value {
    let mut body = json!({ "type": "m.login.password", "password": PASSWORD,
        "identifier": { "type": "m.id.user", "user": "alice" } });
    for (key, value) in more.as_object().expect("an object") {
        body[key] = value.clone();
    }
    server.anonymous().post(LOGIN, body).ok()
}

fn refresh(server: &TestServer, token: &str) -> Answer {
    server.anonymous().post(REFRESH, json!({ "refresh_token": token }))
}

/// Who an access token is.
fn whoami(server: &TestServer, token: &str) -> Answer {
    Client { token: Some(token.to_owned()), ..server.anonymous() }.get(WHOAMI)
}

fn has_ended(answer: Answer) {
    let body = answer.refused(401, "M_UNKNOWN_TOKEN");
    assert_eq!(body["soft_logout"], true, "{body}");
}

#[test]
fn who_asks_for_it_gets_tokens_that_end_and_others_do_not() {
    let server = TestServer::driven();
    let alice = server.register("alice");
    let lasting = log_in(&server, json!({}));
    assert!(lasting.get("refresh_token").is_none() && lasting.get("expires_in_ms").is_none(), "{lasting}");
    let no = log_in(&server, json!({ "refresh_token": false }));
    assert!(no.get("refresh_token").is_none(), "{no}");
    let short = log_in(&server, json!({ "refresh_token": true }));
    assert_eq!(short["expires_in_ms"], 300_000);
    let (access, first) = (text(&short, "access_token"), text(&short, "refresh_token"));
    server.pass(MINUTES - Duration::from_millis(1));
    assert_eq!(whoami(&server, &access).ok()["device_id"], short["device_id"]);
    server.pass(Duration::from_millis(1));
    has_ended(whoami(&server, &access));
    has_ended(Client { token: Some(access), ..server.anonymous() }.get("/_matrix/client/v3/publicRooms"));
    whoami(&server, &text(&lasting, "access_token")).ok();
    alice.get(WHOAMI).ok();
    let next = refresh(&server, &first).ok();
    assert_eq!(next["expires_in_ms"], 300_000);
    assert_ne!(text(&next, "refresh_token"), first);
    assert_eq!(whoami(&server, &text(&next, "access_token")).ok()["device_id"], short["device_id"]);
    // Also for who registers.
    let body = json!({ "username": "bob", "password": PASSWORD, "refresh_token": true,
        "auth": { "type": "m.login.dummy" } });
    let bob = server.anonymous().post("/_matrix/client/v3/register", body).ok();
    assert_eq!(bob["expires_in_ms"], 300_000);
    refresh(&server, &text(&bob, "refresh_token")).ok();
}

#[test]
fn a_refresh_token_is_good_until_what_it_brought_is_used_and_restarts_change_nothing() {
    let server = TestServer::driven();
    server.register("alice");
    let begun = log_in(&server, json!({ "refresh_token": true }));
    let (access, first) = (text(&begun, "access_token"), text(&begun, "refresh_token"));
    // The answer got lost: once more.
    let lost = refresh(&server, &first).ok();
    let server = server.stop().start();
    let next = refresh(&server, &first).ok();
    whoami(&server, &text(&lost, "access_token")).refused(401, "M_UNKNOWN_TOKEN");
    refresh(&server, &text(&lost, "refresh_token")).refused(401, "M_UNKNOWN_TOKEN");
    whoami(&server, &access).ok();
    whoami(&server, &text(&next, "access_token")).ok();
    let server = server.stop().start();
    let gone = refresh(&server, &first).refused(401, "M_UNKNOWN_TOKEN");
    assert_eq!(gone["soft_logout"], false);
    whoami(&server, &access).ok();
    // It is used too by who shows the refresh token that came with it.
    let second = refresh(&server, &text(&next, "refresh_token")).ok();
    let third = refresh(&server, &text(&second, "refresh_token")).ok();
    refresh(&server, &text(&next, "refresh_token")).refused(401, "M_UNKNOWN_TOKEN");
    whoami(&server, &text(&second, "access_token")).ok();
    whoami(&server, &text(&third, "access_token")).ok();
    whoami(&server, &access).refused(401, "M_UNKNOWN_TOKEN");
    // One device all the time.
    let devices = Client { token: Some(text(&third, "access_token")), ..server.anonymous() };
    let devices = devices.get("/_matrix/client/v3/devices").ok();
    assert_eq!(devices["devices"].as_array().map(Vec::len), Some(2), "{devices}");
}

#[test]
fn every_token_of_a_device_goes_with_it() {
    let server = TestServer::driven();
    let alice = server.register("alice");
    let all = |with: &Value| {
        let next = refresh(&server, &text(with, "refresh_token")).ok();
        whoami(&server, &text(&next, "access_token")).ok();
        let after = refresh(&server, &text(&next, "refresh_token")).ok();
        [with, &next, &after]
            .map(|one| text(one, "access_token"))
            .into_iter()
            .chain([text(&after, "refresh_token"), text(&next, "refresh_token")])
    };
    let gone = |tokens: Vec<String>| {
        for token in tokens {
            let body = whoami(&server, &token).refused(401, "M_UNKNOWN_TOKEN");
            assert_eq!(body["soft_logout"], false);
            refresh(&server, &token).refused(401, "M_UNKNOWN_TOKEN");
        }
    };
    let first = log_in(&server, json!({ "refresh_token": true }));
    let tokens: Vec<_> = all(&first).collect();
    let device = Client { token: Some(tokens[0].clone()), ..server.anonymous() };
    device.post("/_matrix/client/v3/logout", json!({})).ok();
    gone(tokens);
    let second = log_in(&server, json!({ "refresh_token": true, "device_id": "D" }));
    let tokens: Vec<_> = all(&second).collect();
    log_in(&server, json!({ "device_id": "D" }));
    gone(tokens);
    let third = log_in(&server, json!({ "refresh_token": true, "device_id": "D" }));
    let tokens: Vec<_> = all(&third).collect();
    alice.post("/_matrix/client/v3/logout/all", json!({})).ok();
    gone(tokens);
    for (body, status, errcode) in [
        (json!({}), 400, "M_BAD_JSON"),
        (json!({ "refresh_token": 7 }), 400, "M_BAD_JSON"),
        (json!({ "refresh_token": "pltl_nobodys" }), 401, "M_UNKNOWN_TOKEN"),
    ] {
        server.anonymous().post(REFRESH, body).refused(status, errcode);
    }
}

/// A login token, got as a client does.
fn login_token(client: &Client, password: &str) -> Answer {
    let challenge = client.post(GET_TOKEN, json!({}));
    assert_eq!(
        (challenge.status, &challenge.body["flows"][0]["stages"][0]),
        (401, &json!("m.login.password"))
    );
    let auth = json!({ "type": "m.login.password", "password": password, "session": challenge.body["session"],
        "identifier": { "type": "m.id.user", "user": client.user } });
    client.post(GET_TOKEN, json!({ "auth": auth }))
}

#[test]
fn one_device_lets_another_in_once_and_within_two_minutes() {
    let server = TestServer::driven();
    let alice = server.register("alice");
    let flows = server.anonymous().get(LOGIN).ok()["flows"].clone();
    assert!(
        flows.as_array().is_some_and(|all| {
            all.contains(&json!({ "type": "m.login.token", "get_login_token": true }))
        }),
        "{flows}"
    );
    server.anonymous().post(GET_TOKEN, json!({})).refused(401, "M_MISSING_TOKEN");
    assert_eq!(login_token(&alice, "wrong").status, 401);
    let given = login_token(&alice, PASSWORD).ok();
    assert_eq!(given["expires_in_ms"], 120_000);
    let enter = |token: &str| {
        server
            .anonymous()
            .post(LOGIN, json!({ "type": "m.login.token", "token": token, "refresh_token": true }))
    };
    let token = text(&given, "login_token");
    let new = enter(&token).ok();
    assert_eq!((&new["user_id"], &new["expires_in_ms"]), (&json!(alice.user), &json!(300_000)));
    enter(&token).refused(403, "M_FORBIDDEN");
    let late = text(&login_token(&alice, PASSWORD).ok(), "login_token");
    server.pass(Duration::from_secs(120));
    enter(&late).refused(403, "M_FORBIDDEN");
    enter("").refused(403, "M_FORBIDDEN");
    server.anonymous().post(LOGIN, json!({ "type": "m.login.token" })).refused(400, "M_MISSING_PARAM");
    // With another password nobody comes in by what the old one was shown for.
    let token = text(&login_token(&alice, PASSWORD).ok(), "login_token");
    let auth = json!({ "type": "m.login.password", "password": PASSWORD,
        "identifier": { "type": "m.id.user", "user": "alice" } });
    let change = json!({ "new_password": "another", "logout_devices": false, "auth": auth });
    alice.post("/_matrix/client/v3/account/password", change).ok();
    enter(&token).refused(403, "M_FORBIDDEN");
}

#[test]
fn accounts_have_no_addresses_and_say_so() {
    let server = TestServer::start();
    let alice = server.register("alice");
    let account = "/_matrix/client/v3/account";
    assert_eq!(alice.get(&format!("{account}/3pid")).ok(), json!({ "threepids": [] }));
    let ask = json!({ "client_secret": "s", "email": "a@x", "send_attempt": 1 });
    for medium in ["email", "msisdn"] {
        let path = format!("{account}/3pid/{medium}/requestToken");
        server.anonymous().post(&path, ask.clone()).refused(403, "M_THREEPID_DENIED");
        let path = format!("/_matrix/client/v3/register/{medium}/requestToken");
        server.anonymous().post(&path, ask.clone()).refused(403, "M_THREEPID_DENIED");
        let path = format!("{account}/password/{medium}/requestToken");
        server.anonymous().post(&path, ask.clone()).refused(400, "M_THREEPID_NOT_FOUND");
    }
    for end in ["", "/add", "/bind"] {
        let path = format!("{account}/3pid{end}");
        alice.post(&path, json!({ "sid": "1", "client_secret": "s" })).refused(403, "M_THREEPID_DENIED");
        server.anonymous().post(&path, json!({})).refused(401, "M_MISSING_TOKEN");
        alice.post(&path, json!([])).refused(400, "M_BAD_JSON");
    }
    for end in ["delete", "unbind"] {
        let body = json!({ "medium": "email", "address": "a@x" });
        let gone = alice.post(&format!("{account}/3pid/{end}"), body).ok();
        assert_eq!(gone, json!({ "id_server_unbind_result": "no-support" }));
    }
}
