//! M16: register, log in and out, devices, passwords, profiles.

use pilotlight::server::config::{Registration, Secret};
use serde_json::{Value, json};

use crate::support::{PASSWORD, TestServer};

const REGISTER: &str = "/_matrix/client/v3/register";
const LOGIN: &str = "/_matrix/client/v3/login";
const WHOAMI: &str = "/_matrix/client/v3/account/whoami";

pub fn password_auth(user: &str, password: &str) -> Value {
    json!({
        "type": "m.login.password",
        "identifier": { "type": "m.id.user", "user": user },
        "password": password,
    })
}

#[test]
fn where_nobody_has_to_log_in_a_token_that_is_no_longer_good_is_refused_all_the_same() {
    let server = TestServer::start();
    let (alice, gone) = (server.register("alice"), server.log_in("alice"));
    let made = alice.post("/_matrix/client/v3/createRoom", json!({ "preset": "public_chat" })).ok();
    let room = made["room_id"].as_str().expect("a room");
    gone.post("/_matrix/client/v3/logout", json!({})).ok();
    for path in [
        format!("/_matrix/client/v3/profile/{}", alice.user),
        format!("/_matrix/client/v3/profile/{}/displayname", alice.user),
        format!("/_matrix/client/v1/room_summary/{room}"),
        "/_matrix/client/v3/publicRooms".to_owned(),
    ] {
        gone.get(&path).refused(401, "M_UNKNOWN_TOKEN");
        server.anonymous().get(&path).ok();
        alice.get(&path).ok();
    }
    // What leads back in is not kept from who was put out.
    gone.get("/_matrix/client/v3/login").ok();
    gone.get("/_matrix/client/versions").ok();
}

#[test]
fn registration_goes_through_the_dummy_flow_as_stock_clients_do_it() {
    let server = TestServer::start();
    let client = server.anonymous();
    let request = json!({ "username": "Alice", "password": PASSWORD, "device_id": "PHONE" });
    let challenge = client.post(REGISTER, request.clone());
    assert_eq!(challenge.status, 401);
    assert_eq!(challenge.body["flows"], json!([{ "stages": ["m.login.dummy"] }]));
    assert!(challenge.body.get("errcode").is_none(), "the first answer is not an error");
    let mut request = request;
    request["auth"] = json!({ "type": "m.login.dummy", "session": challenge.body["session"] });
    let answer = client.post(REGISTER, request).ok();
    assert_eq!(answer["user_id"], "@alice:localhost");
    assert_eq!(answer["device_id"], "PHONE");

    let alice = client.with_token(&answer["access_token"]);
    let me = alice.get(WHOAMI).ok();
    assert_eq!(me, json!({ "user_id": "@alice:localhost", "device_id": "PHONE", "is_guest": false }));
}

#[test]
fn a_registration_is_refused_for_a_reason_that_the_client_can_read() {
    let server = TestServer::start();
    let client = server.anonymous();
    client.clone().register("bob");
    let dummy = json!({ "type": "m.login.dummy" });
    let long = "x".repeat(513);
    let table = [
        (json!({ "username": "bob", "auth": dummy }), 400, "M_USER_IN_USE"),
        (json!({ "username": "BOB" }), 400, "M_USER_IN_USE"),
        (json!({ "username": "bo b", "auth": dummy }), 400, "M_INVALID_USERNAME"),
        (json!({ "username": "", "auth": dummy }), 400, "M_INVALID_USERNAME"),
        (json!({ "username": 7, "auth": dummy }), 400, "M_BAD_JSON"),
        (json!({ "username": "c", "password": "", "auth": dummy }), 400, "M_WEAK_PASSWORD"),
        (json!({ "username": "c", "password": long, "auth": dummy }), 400, "M_INVALID_PARAM"),
        (json!({ "username": "c", "device_id": "", "auth": dummy }), 400, "M_INVALID_PARAM"),
        (json!({ "username": "c", "auth": { "type": "m.login.magic" } }), 401, "M_UNRECOGNIZED"),
    ];
    for (request, status, errcode) in table {
        client.post(REGISTER, request).refused(status, errcode);
    }
    client.post(&format!("{REGISTER}?kind=guest"), json!({})).refused(403, "M_GUEST_ACCESS_FORBIDDEN");
    client.send("POST", REGISTER, Some(b"{")).refused(400, "M_NOT_JSON");
    client.get(&format!("{REGISTER}/available?username=bob")).refused(400, "M_USER_IN_USE");
    assert_eq!(client.get(&format!("{REGISTER}/available?username=c")).ok()["available"], true);
}

#[test]
fn inhibit_login_makes_an_account_without_a_device() {
    let server = TestServer::start();
    let auth = json!({ "type": "m.login.dummy" });
    let answer = server
        .anonymous()
        .post(
            REGISTER,
            json!({ "username": "carl", "password": PASSWORD, "inhibit_login": true, "auth": auth }),
        )
        .ok();
    assert!(answer.get("access_token").is_none() && answer.get("device_id").is_none());
    assert_eq!(
        server.log_in("carl").get("/_matrix/client/v3/devices").ok()["devices"][0]["device_id"]
            .as_str()
            .map(str::len),
        Some(10)
    );
}

#[test]
fn closed_and_token_registration_let_nobody_else_in() {
    let closed = TestServer::start_with(|config| config.registration = Registration::Closed);
    let request = json!({ "username": "a", "password": PASSWORD, "auth": { "type": "m.login.dummy" } });
    closed.anonymous().post(REGISTER, request.clone()).refused(403, "M_FORBIDDEN");
    closed.anonymous().get(&format!("{REGISTER}/available?username=a")).refused(403, "M_FORBIDDEN");

    let server = TestServer::start_with(|config| {
        config.registration = Registration::Token;
        config.registration_token = Some(Secret::new("sesame"));
    });
    let client = server.anonymous();
    client.post(REGISTER, request).refused(401, "M_UNRECOGNIZED");
    let with = |token: &str| json!({ "username": "a", "auth": { "type": "m.login.registration_token", "token": token } });
    let refused = client.post(REGISTER, with("guess")).refused(401, "M_FORBIDDEN");
    assert_eq!(refused["flows"], json!([{ "stages": ["m.login.registration_token"] }]));
    client.post(REGISTER, with("sesame")).ok();
    let valid = |token: &str| {
        client
            .get(&format!("/_matrix/client/v1/register/m.login.registration_token/validity?token={token}"))
            .ok()["valid"]
            .clone()
    };
    assert_eq!((valid("sesame"), valid("guess")), (json!(true), json!(false)));
}

#[test]
fn a_user_logs_in_by_any_name_and_not_with_a_wrong_password() {
    let server = TestServer::start();
    server.register("dora");
    let client = server.anonymous();
    let flows = client.get(LOGIN).ok();
    assert_eq!(flows["flows"][0]["type"], "m.login.password");
    for user in ["dora", "Dora", "@dora:localhost"] {
        client.post(LOGIN, password_auth(user, PASSWORD)).ok();
    }
    client.post(LOGIN, json!({ "type": "m.login.password", "user": "dora", "password": PASSWORD })).ok();
    let table = [
        (password_auth("dora", "wrong"), 403, "M_FORBIDDEN"),
        (password_auth("nobody", PASSWORD), 403, "M_FORBIDDEN"),
        (password_auth("@dora:elsewhere", PASSWORD), 403, "M_FORBIDDEN"),
        (json!({ "type": "m.login.sso", "token": "x" }), 400, "M_UNKNOWN"),
        (json!({ "password": PASSWORD }), 400, "M_MISSING_PARAM"),
        (json!({ "type": "m.login.password", "user": "dora" }), 400, "M_MISSING_PARAM"),
        (json!([]), 400, "M_BAD_JSON"),
        (json!(["m.login.password"]), 400, "M_BAD_JSON"),
    ];
    for (request, status, errcode) in table {
        client.post(LOGIN, request).refused(status, errcode);
    }
}

#[test]
fn logging_out_ends_the_token_at_once_also_when_it_was_just_used() {
    let server = TestServer::start();
    let first = server.register("eve");
    let second = server.log_in("eve");
    first.get(WHOAMI).ok();
    first.post("/_matrix/client/v3/logout", json!({})).ok();
    let refused = first.get(WHOAMI).refused(401, "M_UNKNOWN_TOKEN");
    assert_eq!(refused["soft_logout"], false);
    second.get(WHOAMI).ok();
    second.post("/_matrix/client/v3/logout/all", json!({})).ok();
    second.get(WHOAMI).refused(401, "M_UNKNOWN_TOKEN");
    server.anonymous().get(WHOAMI).refused(401, "M_MISSING_TOKEN");
}

#[test]
fn logging_in_with_the_same_device_replaces_its_token() {
    let server = TestServer::start();
    let first = server.register("fay");
    let mut request = password_auth("fay", PASSWORD);
    request["device_id"] = first.device.clone().into();
    first.get(WHOAMI).ok();
    let answer = first.post(LOGIN, request).ok();
    assert_eq!(answer["device_id"], first.device.as_str());
    first.get(WHOAMI).refused(401, "M_UNKNOWN_TOKEN");
    let again = first.with_token(&answer["access_token"]);
    assert_eq!(again.get("/_matrix/client/v3/devices").ok()["devices"].as_array().map(Vec::len), Some(1));
}

#[test]
fn devices_are_listed_named_and_removed_with_the_password() {
    let server = TestServer::start();
    let gus = server.register("gus");
    let other = server.log_in("gus");
    let third = server.log_in("gus");
    let path = format!("/_matrix/client/v3/devices/{}", other.device);
    gus.put(&path, json!({ "display_name": "Old phone" })).ok();
    let device = gus.get(&path).ok();
    assert_eq!(device["display_name"], "Old phone");
    assert!(device["last_seen_ts"].is_u64());
    gus.put(&path, json!({ "display_name": "x".repeat(257) })).refused(400, "M_INVALID_PARAM");
    gus.put("/_matrix/client/v3/devices/NONE", json!({ "display_name": "x" })).refused(404, "M_NOT_FOUND");

    let challenge = gus.delete(&path, json!({}));
    assert_eq!(challenge.body["flows"], json!([{ "stages": ["m.login.password"] }]));
    gus.delete(&path, json!({ "auth": password_auth("gus", "wrong") })).refused(401, "M_FORBIDDEN");
    server.register("hal");
    gus.delete(&path, json!({ "auth": password_auth("hal", PASSWORD) })).refused(401, "M_FORBIDDEN");
    other.get(WHOAMI).ok();
    gus.delete(&path, json!({ "auth": password_auth("@gus:localhost", PASSWORD) })).ok();
    other.get(WHOAMI).refused(401, "M_UNKNOWN_TOKEN");
    let request = json!({ "devices": [third.device, "NONE"], "auth": password_auth("gus", PASSWORD) });
    gus.post("/_matrix/client/v3/delete_devices", request).ok();
    third.get(WHOAMI).refused(401, "M_UNKNOWN_TOKEN");
    gus.get(WHOAMI).ok();
}

#[test]
fn a_new_password_logs_the_other_devices_out() {
    let server = TestServer::start();
    let ida = server.register("ida");
    let other = server.log_in("ida");
    let change = json!({ "new_password": "new words", "auth": password_auth("ida", PASSWORD) });
    ida.post("/_matrix/client/v3/account/password", change).ok();
    ida.get(WHOAMI).ok();
    other.get(WHOAMI).refused(401, "M_UNKNOWN_TOKEN");
    ida.post(LOGIN, password_auth("ida", PASSWORD)).refused(403, "M_FORBIDDEN");
    ida.post(LOGIN, password_auth("ida", "new words")).ok();
}

#[test]
fn a_deactivated_account_is_gone_and_its_name_stays_taken() {
    let server = TestServer::start();
    let jon = server.register("jon");
    jon.put("/_matrix/client/v3/profile/@jon:localhost/displayname", json!({ "displayname": "Jon" })).ok();
    jon.post("/_matrix/client/v3/account/deactivate", json!({ "auth": password_auth("jon", PASSWORD) })).ok();
    jon.get(WHOAMI).refused(401, "M_UNKNOWN_TOKEN");
    jon.post(LOGIN, password_auth("jon", PASSWORD)).refused(403, "M_USER_DEACTIVATED");
    let anonymous = server.anonymous();
    anonymous.get("/_matrix/client/v3/profile/@jon:localhost").refused(404, "M_NOT_FOUND");
    anonymous.post(REGISTER, json!({ "username": "jon" })).refused(400, "M_USER_IN_USE");
}

#[test]
fn a_profile_is_set_by_its_owner_and_read_by_anybody() {
    let server = TestServer::start();
    let kim = server.register("kim");
    let profile = "/_matrix/client/v3/profile/@kim:localhost";
    assert_eq!(kim.get(profile).ok(), json!({}));
    kim.put(&format!("{profile}/displayname"), json!({ "displayname": "Kim 🦊" })).ok();
    kim.put(&format!("{profile}/avatar_url"), json!({ "avatar_url": "mxc://localhost/fox" })).ok();
    let whole = json!({ "displayname": "Kim 🦊", "avatar_url": "mxc://localhost/fox" });
    assert_eq!(server.anonymous().get(profile).ok(), whole);
    let old = server.anonymous().get("/_matrix/client/r0/profile/@kim:localhost/displayname").ok();
    assert_eq!(old, json!({ "displayname": "Kim 🦊" }));
    kim.delete(&format!("{profile}/avatar_url"), json!({})).ok();
    assert_eq!(kim.get(&format!("{profile}/avatar_url")).ok(), json!({}));

    let table = [
        ("displayname", json!({ "displayname": "x".repeat(257) }), 400, "M_INVALID_PARAM"),
        ("displayname", json!({ "displayname": 1 }), 400, "M_BAD_JSON"),
        ("displayname", json!({}), 400, "M_MISSING_PARAM"),
        ("avatar_url", json!({ "avatar_url": "https://example.org/x.png" }), 400, "M_INVALID_PARAM"),
        ("Shoe-size", json!({ "Shoe-size": 43 }), 400, "M_INVALID_PARAM"),
    ];
    for (field, body, status, errcode) in table {
        kim.put(&format!("{profile}/{field}"), body).refused(status, errcode);
    }
    let lee = server.register("lee");
    lee.put(&format!("{profile}/displayname"), json!({ "displayname": "Not Kim" }))
        .refused(403, "M_FORBIDDEN");
    lee.get("/_matrix/client/v3/profile/@nobody:localhost").refused(404, "M_NOT_FOUND");
    lee.get("/_matrix/client/v3/profile/nobody").refused(400, "M_INVALID_PARAM");
}

#[test]
fn accounts_and_sessions_outlive_the_server() {
    let server = TestServer::start();
    let before = server.register("mia");
    let server = server.restart();
    let after = server.anonymous().with_token(&before.token.into());
    assert_eq!(after.get(WHOAMI).ok()["user_id"], "@mia:localhost");
    server.log_in("mia");
}

#[test]
fn the_database_holds_neither_password_nor_token() {
    let server = TestServer::start();
    let nora = server.register("nora");
    let token = nora.token.clone().expect("logged in");
    let mut seen = 0;
    for file in std::fs::read_dir(server.data_dir()).expect("a folder") {
        let file = file.expect("a file");
        if !file.file_type().expect("a type").is_file() {
            continue; // the socket that a running server is asked at
        }
        let bytes = std::fs::read(file.path()).expect("readable");
        seen += bytes.len();
        for secret in [token.as_bytes(), PASSWORD.as_bytes()] {
            assert!(!bytes.windows(secret.len()).any(|window| window == secret));
        }
    }
    assert!(seen > 4096, "there is a database");
}
