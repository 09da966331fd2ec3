//! Guests, where the operator lets them in.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    support::{Client, TestServer, until},
    sync::{Reader, bodies, create_room, same, send},
};

const REGISTER: &str = "/_matrix/client/v3/register?kind=guest";

fn guest(server: &TestServer) -> Client {
    let answer = server.anonymous().post(REGISTER, json!({ "initial_device_display_name": "Browser" })).ok();
    let text = |key: &str| answer[key].as_str().expect(key).to_owned();
    let client = server.anonymous().with_token(&answer["access_token"]);
    Client { user: text("user_id"), device: text("device_id"), ..client }
}

fn open_room(alice: &Client, access: &str) -> String {
    let state = json!([
        { "type": "m.room.guest_access", "state_key": "", "content": { "guest_access": access } },
        { "type": "m.room.history_visibility", "state_key": "", "content": { "history_visibility": "world_readable" } },
    ]);
    create_room(alice, json!({ "preset": "public_chat", "initial_state": state }))
}

fn join(client: &Client, room: &str) -> super::support::Answer {
    client.post(&format!("/_matrix/client/v3/join/{room}"), json!({}))
}

#[test]
fn nobody_is_a_guest_unless_the_operator_says_so() {
    let server = TestServer::start();
    server.anonymous().post(REGISTER, json!({})).refused(403, "M_GUEST_ACCESS_FORBIDDEN");
}

#[test]
fn a_guest_reads_joins_and_speaks_where_guests_are_let_in_and_does_nothing_else() {
    let server = TestServer::start_with(|config| config.guests = true);
    let alice = server.register("alice");
    let (open, closed) = (open_room(&alice, "can_join"), open_room(&alice, "forbidden"));
    // Without a word of guests none comes in; a private chat says that they may.
    let silent = create_room(&alice, json!({ "preset": "public_chat", "visibility": "private" }));
    let private = create_room(&alice, json!({ "preset": "private_chat" }));
    send(&alice, &open, "1", "welcome");
    let guest = guest(&server);
    let whoami = guest.get("/_matrix/client/v3/account/whoami").ok();
    assert_eq!(whoami, json!({ "user_id": guest.user, "device_id": guest.device, "is_guest": true }));
    assert_eq!(alice.get("/_matrix/client/v3/account/whoami").ok()["is_guest"], false);
    // A look in, a step in, a word.
    let messages = format!("/_matrix/client/v3/rooms/{open}/messages?dir=b");
    assert_eq!(guest.get(&messages).ok()["chunk"][0]["content"]["body"], "welcome");
    join(&guest, &closed).refused(403, "M_GUEST_ACCESS_FORBIDDEN");
    alice.post(&format!("/_matrix/client/v3/rooms/{silent}/invite"), json!({ "user_id": guest.user })).ok();
    join(&guest, &silent).refused(403, "M_GUEST_ACCESS_FORBIDDEN");
    alice.post(&format!("/_matrix/client/v3/rooms/{private}/invite"), json!({ "user_id": guest.user })).ok();
    join(&guest, &private).ok();
    let member = format!("/_matrix/client/v3/rooms/{closed}/state/m.room.member/{}", guest.user);
    guest.put(&member, json!({ "membership": "join" })).refused(403, "M_GUEST_ACCESS_FORBIDDEN");
    join(&guest, &open).ok();
    send(&guest, &open, "1", "thank you");
    assert!(
        bodies(&Reader { client: alice.clone(), since: String::new(), with: String::new() }.now(), &open)
            .contains(&"thank you".to_owned())
    );
    guest
        .put(&format!("/_matrix/client/v3/profile/{}/displayname", guest.user), json!({ "displayname": "G" }))
        .ok();
    guest.get("/_matrix/client/v3/sync").ok();
    guest.post(&format!("/_matrix/client/v3/rooms/{open}/leave"), json!({})).ok();
    let user = &guest.user;
    for (method, path, body) in [
        ("POST", "/_matrix/client/v3/createRoom".to_owned(), json!({})),
        ("POST", format!("/_matrix/client/v3/rooms/{open}/invite"), json!({ "user_id": alice.user })),
        (
            "PUT",
            format!("/_matrix/client/v3/profile/{user}/avatar_url"),
            json!({ "avatar_url": "mxc://x/y" }),
        ),
        ("POST", "/_matrix/client/v3/account/password".to_owned(), json!({ "new_password": "x" })),
        ("POST", "/_matrix/client/v3/account/deactivate".to_owned(), json!({})),
        ("PUT", format!("/_matrix/client/v3/user/{user}/account_data/x.y"), json!({})),
        ("POST", format!("/_matrix/client/v3/presence/list/{user}"), json!({})),
        ("POST", "/_matrix/client/v3/pushers/set".to_owned(), json!({})),
        ("PUT", "/_matrix/client/v3/directory/room/%23a:localhost".to_owned(), json!({ "room_id": open })),
        ("POST", "/_matrix/client/v3/user_directory/search".to_owned(), json!({ "search_term": "a" })),
        ("POST", "/_matrix/client/v3/room_keys/version".to_owned(), json!({})),
        ("DELETE", format!("/_matrix/client/v3/devices/{}", guest.device), json!({})),
    ] {
        let body = body.to_string();
        guest.send(method, &path, Some(body.as_bytes())).refused(403, "M_GUEST_ACCESS_FORBIDDEN");
    }
    guest.post("/_matrix/client/v3/logout", json!({})).ok();
    guest.get("/_matrix/client/v3/account/whoami").refused(401, "M_UNKNOWN_TOKEN");
}

#[test]
fn guests_leave_a_room_that_lets_them_in_no_longer_and_are_guests_after_a_restart() {
    let server = TestServer::driven_with(|config| config.guests = true);
    let alice = server.register("alice");
    let room = open_room(&alice, "can_join");
    let guest = guest(&server);
    join(&guest, &room).ok();
    let server = server.stop().start();
    let (alice, guest) = (same(&server, &alice), same(&server, &guest));
    guest.post("/_matrix/client/v3/createRoom", json!({})).refused(403, "M_GUEST_ACCESS_FORBIDDEN");
    let members = |state: &str| -> Vec<Value> {
        let members = alice.get(&format!("/_matrix/client/v3/rooms/{room}/members?membership={state}")).ok();
        members["chunk"].as_array().expect("a list").iter().map(|e| e["state_key"].clone()).collect()
    };
    assert!(members("join").contains(&json!(guest.user)));
    let access = format!("/_matrix/client/v3/rooms/{room}/state/m.room.guest_access/");
    alice.put(&access, json!({ "guest_access": "forbidden" })).ok();
    until("the guest is seen off", || members("leave") == [json!(guest.user)]);
    assert_eq!(members("join"), [json!(alice.user)]);
}

#[test]
fn a_guest_who_is_not_seen_for_a_month_is_gone() {
    let server = TestServer::driven_with(|config| config.guests = true);
    let alice = server.register("alice");
    let room = open_room(&alice, "can_join");
    let (gone, stays) = (guest(&server), guest(&server));
    join(&gone, &room).ok();
    let days = |n: u64| Duration::from_secs(n * 24 * 3600);
    let last_seen = |client: &Client| {
        let device = client.get(&format!("/_matrix/client/v3/devices/{}", client.device)).ok();
        device["last_seen_ts"].as_u64().expect("a time")
    };
    // That is noted a little after the answer.
    let begun = last_seen(&gone);
    let is_seen = |client: &Client, after: u64| {
        let after_ms = begun + u64::try_from(days(after).as_millis()).expect("a time");
        until("who asks is seen", || last_seen(client) > after_ms);
    };
    server.pass(days(29));
    is_seen(&stays, 28);
    is_seen(&gone, 28);
    server.settle();
    server.pass(days(29));
    is_seen(&stays, 57);
    server.settle();
    server.pass(days(2));
    // Not asked of the guest, who would be seen for it.
    let members =
        || alice.get(&format!("/_matrix/client/v3/rooms/{room}/joined_members")).ok()["joined"].clone();
    until("who was not seen is gone", || members().as_object().is_some_and(|members| members.len() == 1));
    until("and logged out", || gone.get("/_matrix/client/v3/account/whoami").status == 401);
    stays.get("/_matrix/client/v3/account/whoami").ok();
}

#[test]
fn a_guest_becomes_somebody_by_the_guests_own_token() {
    let server = TestServer::start_with(|config| config.guests = true);
    let alice = server.register("alice");
    let open = open_room(&alice, "can_join");
    let (guest, other) = (guest(&server), guest(&server));
    join(&guest, &open).ok();
    let name = guest.user.trim_start_matches('@').split(':').next().expect("a name").to_owned();
    let token = |client: &Client| client.token.clone().expect("a token");
    let upgrade = |token: &str, name: Option<&str>| {
        let mut body = json!({ "auth": { "type": "m.login.dummy" }, "guest_access_token": token, "password": "secret word" });
        if let Some(name) = name {
            body["username"] = json!(name);
        }
        server.anonymous().post("/_matrix/client/v3/register", body)
    };
    upgrade("zz", Some(&name)).refused(403, "M_FORBIDDEN");
    upgrade(&token(&other), Some(&name)).refused(403, "M_FORBIDDEN");
    upgrade(&token(&alice), Some("alice")).refused(403, "M_FORBIDDEN");
    upgrade(&token(&guest), Some("anybody")).refused(403, "M_FORBIDDEN");
    upgrade(&token(&guest), None).refused(400, "M_MISSING_PARAM");
    guest.get("/_matrix/client/v3/account/whoami").ok();

    let answer = upgrade(&token(&guest), Some(&name)).ok();
    assert_eq!(answer["user_id"], guest.user);
    let user = server.anonymous().with_token(&answer["access_token"]);
    assert_eq!(user.get("/_matrix/client/v3/account/whoami").ok()["is_guest"], false);
    assert_eq!(user.get("/_matrix/client/v3/joined_rooms").ok()["joined_rooms"], json!([open]));
    guest.get("/_matrix/client/v3/account/whoami").refused(401, "M_UNKNOWN_TOKEN");
    user.post("/_matrix/client/v3/createRoom", json!({})).ok();
    upgrade(&token(&guest), Some(&name)).refused(403, "M_FORBIDDEN");
    // It is somebody after a restart, too, and comes back by the password.
    let server = server.restart_with(|config| config.guests = true);
    let login = json!({ "type": "m.login.password", "identifier": { "type": "m.id.user", "user": name }, "password": "secret word" });
    let again = server.anonymous().post("/_matrix/client/v3/login", login).ok();
    let user = server.anonymous().with_token(&again["access_token"]);
    assert_eq!(user.get("/_matrix/client/v3/account/whoami").ok()["is_guest"], false);
}
