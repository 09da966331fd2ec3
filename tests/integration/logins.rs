//! Who comes in while the door is being shut, and what a session of authentication is good for.

use std::{
    io::{Read, Write},
    sync::Barrier,
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    poll::connect,
    support::{Client, PASSWORD, TestServer},
};

const REGISTER: &str = "/_matrix/client/v3/register";
const LOGIN: &str = "/_matrix/client/v3/login";
const WHOAMI: &str = "/_matrix/client/v3/account/whoami";
const CHANGE: &str = "/_matrix/client/v3/account/password";
const DEACTIVATE: &str = "/_matrix/client/v3/account/deactivate";

/// Logins that are on their way at once: no more than may wait for a hash.
const LOGINS: usize = 60;

/// An open server on which nobody is limited.
fn server() -> TestServer {
    TestServer::start_with(|config| config.rate_limits.enabled = false)
}

fn login(name: &str, password: &str) -> Value {
    json!({ "type": "m.login.password", "identifier": { "type": "m.id.user", "user": name }, "password": password })
}

/// Lets logins with the old password come in while `act` happens; how many of their tokens are good after both.
fn alive_after(server: &TestServer, name: &str, act: impl FnOnce()) -> usize {
    let ready = Barrier::new(LOGINS + 1);
    let answers: Vec<_> = std::thread::scope(|scope| {
        let logins: Vec<_> = (0..LOGINS)
            .map(|n| {
                let (client, ready) = (server.anonymous(), &ready);
                scope.spawn(move || {
                    ready.wait();
                    // A third before the act, a third with it, a third while it is under way.
                    std::thread::sleep(Duration::from_millis(n as u64 * 3));
                    client.post(LOGIN, login(name, PASSWORD))
                })
            })
            .collect();
        ready.wait();
        std::thread::sleep(Duration::from_millis(LOGINS as u64));
        act();
        logins.into_iter().map(|login| login.join().expect("is answered")).collect()
    });
    let refused = |status| answers.iter().filter(|answer| answer.status == status).count();
    assert_eq!(refused(200) + refused(403), LOGINS, "each is let in or refused");
    let tokens = answers.iter().filter_map(|answer| answer.body.get("access_token"));
    tokens.filter(|token| server.anonymous().with_token(token).get(WHOAMI).status == 200).count()
}

#[test]
fn no_login_that_is_on_its_way_outlives_the_end_of_the_account() {
    let server = server();
    let ann = server.register("ann");
    let alive = alive_after(&server, "ann", || {
        ann.post(DEACTIVATE, json!({ "auth": login("ann", PASSWORD) })).ok();
    });
    assert_eq!(alive, 0, "of {LOGINS}");
    server.anonymous().post(LOGIN, login("ann", PASSWORD)).refused(403, "M_USER_DEACTIVATED");
}

#[test]
fn no_login_with_the_old_password_outlives_its_change() {
    let server = server();
    let ann = server.register("ann");
    let user = ruma::UserId::parse(ann.user.as_str()).expect("a user");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let app = server.app();
    let passwords = &app.accounts.passwords;
    let hash = runtime.block_on(passwords.hash("new words".to_owned())).expect("is hashed");
    let proof = runtime.block_on(app.accounts.check_password(&user, PASSWORD.to_owned()));
    let proof = proof.expect("is checked").expect("is right");
    // The write alone: its own hashing would have to wait for all the logins'.
    let alive = alive_after(&server, "ann", || {
        runtime
            .block_on(app.store.set_password(proof, hash, Some(ann.device.clone().into())))
            .expect("holds");
    });
    assert_eq!(alive, 0, "of {LOGINS}");
    ann.get(WHOAMI).ok();
    server.anonymous().post(LOGIN, login("ann", "new words")).ok();
}

#[test]
fn of_two_changes_of_a_password_at_once_one_holds() {
    let server = server();
    let ann = server.register("ann");
    let change = |to: &str| {
        let body = json!({ "new_password": to, "logout_devices": false, "auth": login("ann", PASSWORD) });
        ann.post(CHANGE, body).status
    };
    let statuses = std::thread::scope(|scope| {
        let other = scope.spawn(|| change("one one"));
        [change("two two"), other.join().expect("is answered")]
    });
    let log_in = |password| server.anonymous().post(LOGIN, login("ann", password)).status;
    let let_in = [log_in("two two"), log_in("one one")];
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert_eq!(statuses.map(|status| status == 200), let_in.map(|status| status == 200));
}

/// The session of the challenge to a request.
fn session(client: &Client, path: &str, body: &Value) -> Value {
    let challenge = client.post(path, body.clone());
    assert_eq!(challenge.status, 401, "{}", challenge.text);
    assert!(challenge.body["session"].as_str().is_some_and(|name| name.len() >= 22), "cannot be guessed");
    challenge.body["session"].clone()
}

fn with_auth(body: &Value, mut auth: Value, session: &Value) -> Value {
    let mut body = body.clone();
    auth["session"] = session.clone();
    body["auth"] = auth;
    body
}

#[test]
fn a_session_begun_for_one_act_is_good_for_no_other() {
    let server = server();
    let (ann, ben) = (server.register("ann"), server.register("ben"));
    let other = server.log_in("ann");
    let harmless = json!({ "devices": ["NONE"] });
    let delete = "/_matrix/client/v3/delete_devices";
    let begun = session(&ann, delete, &harmless);
    let auth = || login("ann", PASSWORD);
    let grave = json!({ "devices": [other.device] });
    let acts = [
        (&ann, DEACTIVATE, with_auth(&json!({}), auth(), &begun)),
        (&ann, CHANGE, with_auth(&json!({ "new_password": "x x x x x" }), auth(), &begun)),
        (&ann, delete, with_auth(&grave, auth(), &begun)),
        (&other, delete, with_auth(&harmless, auth(), &begun)),
        (&ben, delete, with_auth(&harmless, login("ben", PASSWORD), &begun)),
        (&server.anonymous(), REGISTER, with_auth(&json!({}), json!({ "type": "m.login.dummy" }), &begun)),
    ];
    for (client, path, body) in acts {
        client.post(path, body).refused(403, "M_FORBIDDEN");
    }
    other.get(WHOAMI).ok();
    // What it was begun for can be asked for again, without the password, when it is done.
    ann.post(delete, with_auth(&harmless, login("ann", "wrong"), &begun)).refused(401, "M_FORBIDDEN");
    ann.post(delete, with_auth(&harmless, auth(), &begun)).ok();
    ann.post(delete, with_auth(&harmless, json!({}), &begun)).ok();
    ann.post(delete, with_auth(&grave, json!({}), &begun)).refused(403, "M_FORBIDDEN");
    // A server that started anew knows no sessions: what comes with the request counts.
    let forgotten = with_auth(&grave, auth(), &json!("forgotten"));
    ann.post(delete, forgotten).ok();
    other.get(WHOAMI).refused(401, "M_UNKNOWN_TOKEN");
}

#[test]
fn what_a_registration_asked_for_first_is_remembered_and_the_answer_can_be_had_again() {
    let server = server();
    let client = server.anonymous();
    let asked = json!({
        "username": "ann", "password": PASSWORD, "device_id": "PHONE", "initial_device_display_name": "Phone",
    });
    let begun = session(&client, REGISTER, &asked);
    let dummy = || json!({ "type": "m.login.dummy" });
    let first = client.post(REGISTER, with_auth(&json!({}), dummy(), &begun)).ok();
    assert_eq!((&first["user_id"], &first["device_id"]), (&json!("@ann:localhost"), &json!("PHONE")));
    let name = |client: &Client| client.get("/_matrix/client/v3/devices/PHONE").ok()["display_name"].clone();
    assert_eq!(name(&client.clone().with_token(&first["access_token"])), "Phone");
    for repeated in [with_auth(&asked, dummy(), &begun), with_auth(&json!({}), json!({}), &begun)] {
        let again = client.post(REGISTER, repeated).ok();
        assert_eq!((&again["user_id"], &again["device_id"]), (&first["user_id"], &first["device_id"]));
        let ann = client.clone().with_token(&again["access_token"]);
        assert_eq!(ann.get(WHOAMI).ok()["user_id"], "@ann:localhost");
        assert_eq!(name(&ann), "Phone");
        assert_eq!(ann.get("/_matrix/client/v3/devices").ok()["devices"].as_array().map(Vec::len), Some(1));
    }
    server.log_in("ann");
    // It is over when the account says so.
    let ann = server.log_in("ann");
    ann.post(DEACTIVATE, json!({ "auth": login("ann", PASSWORD) })).ok();
    client.post(REGISTER, with_auth(&json!({}), dummy(), &begun)).refused(403, "M_FORBIDDEN");
}

#[test]
fn a_registration_can_be_corrected_and_leaves_out_the_login_if_that_was_asked_for() {
    let server = server();
    server.register("taken");
    let client = server.anonymous();
    let dummy = || json!({ "type": "m.login.dummy" });
    let asked = json!({ "username": "free", "password": PASSWORD, "inhibit_login": true });
    let begun = session(&client, REGISTER, &asked);
    client
        .post(REGISTER, with_auth(&json!({ "username": "taken" }), dummy(), &begun))
        .refused(400, "M_USER_IN_USE");
    let corrected = with_auth(&json!({ "username": "better" }), dummy(), &begun);
    for _ in 0..2 {
        let answer = client.post(REGISTER, corrected.clone()).ok();
        assert_eq!(answer["user_id"], "@better:localhost");
        assert!(answer.get("access_token").is_none() && answer.get("device_id").is_none());
    }
    server.log_in("better");
    // Nobody gets an account of any name by a session that is not known.
    let unknown = with_auth(&json!({}), dummy(), &json!("unknown"));
    client.post(REGISTER, unknown).refused(400, "M_UNKNOWN");
}

#[test]
fn a_registration_that_is_finished_twice_at_once_makes_one_account() {
    let server = server();
    let client = server.anonymous();
    let dummy = json!({ "type": "m.login.dummy" });
    let begun = session(&client, REGISTER, &json!({ "password": PASSWORD }));
    let body = with_auth(&json!({}), dummy, &begun);
    let users: Vec<_> = std::thread::scope(|scope| {
        let requests: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| client.post(REGISTER, body.clone()).ok()["user_id"].clone()))
            .collect();
        requests.into_iter().map(|request| request.join().expect("is answered")).collect()
    });
    assert!(users.iter().all(|user| *user == users[0]), "{users:?}");
}

#[test]
fn a_request_whose_body_comes_after_the_logout_is_not_let_in() {
    let server = server();
    let ann = server.register("ann");
    let other = server.log_in("ann");
    let body = json!({ "displayname": "Mallory" }).to_string();
    let head = format!(
        "PUT /_matrix/client/v3/profile/{}/displayname HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\
         connection: close\r\ncontent-length: {}\r\n\r\n",
        ann.user,
        ann.token.as_deref().expect("a token"),
        body.len()
    );
    let late = |out: &dyn Fn()| {
        let mut stream = connect(&ann);
        stream
            .write_all(head.as_bytes())
            .and_then(|()| stream.write_all(&body.as_bytes()[..5]))
            .expect("is sent");
        // Another request after it: the head has been read by then, or is read together with the rest.
        other.get(WHOAMI).ok();
        out();
        stream.write_all(&body.as_bytes()[5..]).expect("is sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("is answered");
        answer
    };
    assert!(late(&|| ()).starts_with("HTTP/1.1 200"), "as long as the session lasts");
    let answer = late(&|| drop(ann.post("/_matrix/client/v3/logout", json!({})).ok()));
    assert!(answer.starts_with("HTTP/1.1 401") && answer.contains("M_UNKNOWN_TOKEN"), "{answer}");
}

#[test]
fn a_password_is_as_long_as_the_operator_asks_for() {
    let server = TestServer::start_with(|config| config.min_password_length = 8);
    let ann = server.register("ann");
    let auth = json!({ "type": "m.login.dummy" });
    let short = json!({ "username": "ben", "password": "1234567", "auth": auth });
    server.anonymous().post(REGISTER, short).refused(400, "M_WEAK_PASSWORD");
    let change = |to: &str| ann.post(CHANGE, json!({ "new_password": to, "auth": login("ann", PASSWORD) }));
    change("1234567").refused(400, "M_WEAK_PASSWORD");
    change("12345678").ok();
}
