//! How long what somebody has shown is good for: sessions of user-interactive authentication that are finished.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Client, PASSWORD, TestServer};

const REGISTER: &str = "/_matrix/client/v3/register";
const LOGIN: &str = "/_matrix/client/v3/login";
const LOGOUT: &str = "/_matrix/client/v3/logout";
const WHOAMI: &str = "/_matrix/client/v3/account/whoami";
const CHANGE: &str = "/_matrix/client/v3/account/password";
const DEACTIVATE: &str = "/_matrix/client/v3/account/deactivate";
const DELETE: &str = "/_matrix/client/v3/delete_devices";

/// How long the answer to a finished session can be had again.
const PASSED: Duration = Duration::from_secs(600);

fn unlimited() -> TestServer {
    TestServer::driven_with(|config| config.rate_limits.enabled = false)
}

fn password(name: &str, password: &str) -> Value {
    json!({ "type": "m.login.password", "identifier": { "type": "m.id.user", "user": name }, "password": password })
}

fn with_auth(body: &Value, mut auth: Value, session: &Value) -> Value {
    let mut body = body.clone();
    auth["session"] = session.clone();
    body["auth"] = auth;
    body
}

/// Something that needs the password, and that can be done again and again.
struct Act {
    method: &'static str,
    path: String,
    body: Value,
}

impl Act {
    fn all() -> [Self; 2] {
        let device = "/_matrix/client/v3/devices/NONE".to_owned();
        [
            Self { method: "POST", path: DELETE.to_owned(), body: json!({ "devices": ["NONE"] }) },
            Self { method: "DELETE", path: device, body: json!({}) },
        ]
    }

    fn ask(&self, client: &Client, body: &Value) -> (u16, Value) {
        let answer = client.send(self.method, &self.path, Some(body.to_string().as_bytes()));
        (answer.status, answer.body)
    }

    /// Goes through with it; the name of the session.
    fn finish(&self, client: &Client, auth: Value) -> Value {
        let (status, challenge) = self.ask(client, &self.body);
        assert_eq!(status, 401, "{challenge}");
        let session = challenge["session"].clone();
        assert_eq!(self.ask(client, &with_auth(&self.body, auth, &session)).0, 200);
        assert!(self.is_done_again(client, &session), "the answer can be had again");
        session
    }

    /// Whether it is done by the session alone; else the client is told what to show, or that it may not.
    fn is_done_again(&self, client: &Client, session: &Value) -> bool {
        let (status, answer) = self.ask(client, &with_auth(&self.body, json!({}), session));
        match status {
            200 => true,
            401 => {
                let asked = &answer["flows"][0]["stages"][0];
                assert!(answer["errcode"] == "M_UNKNOWN_TOKEN" || *asked == "m.login.password", "{answer}");
                false
            }
            403 => false,
            _ => panic!("{status}: {answer}"),
        }
    }
}

/// Finishes one session for each act, lets `end` happen, and looks which of them are still good for something.
fn good_after(end: impl Fn(&TestServer, &Client, &Client) -> Client) -> Vec<String> {
    let server = unlimited();
    let (ann, other) = (server.register("ann"), server.log_in("ann"));
    let sessions = Act::all().map(|act| (act.finish(&ann, password("ann", PASSWORD)), act));
    let ann = end(&server, &ann, &other);
    let good = sessions.into_iter().filter(|(session, act)| act.is_done_again(&ann, session));
    good.map(|(_, act)| act.path).collect()
}

fn change(by: &Client, from: &str, to: &str) {
    let body = json!({ "new_password": to, "logout_devices": false, "auth": password("ann", from) });
    by.post(CHANGE, body).ok();
}

/// Logs `ann` in on the very device of `before`.
fn return_on(server: &TestServer, before: &Client) -> Client {
    let mut login = password("ann", PASSWORD);
    login["device_id"] = before.device.clone().into();
    let answer = server.anonymous().post(LOGIN, login).ok();
    before.clone().with_token(&answer["access_token"])
}

#[test]
fn a_finished_session_ends_with_the_password_the_token_and_the_time_that_it_was_finished_with() {
    let none = Vec::<String>::new();
    let by_other = good_after(|_, ann, other| {
        change(other, PASSWORD, "new words");
        ann.clone()
    });
    assert_eq!(by_other, none, "another device changed the password");
    let to_the_same = good_after(|_, ann, _| {
        change(ann, PASSWORD, PASSWORD);
        ann.clone()
    });
    assert_eq!(to_the_same, none, "the password was set anew");
    let logged_out = good_after(|server, ann, _| {
        ann.post(LOGOUT, json!({})).ok();
        return_on(server, ann)
    });
    assert_eq!(logged_out, none, "the device was logged out, and came back under its name");
    assert_eq!(good_after(|server, ann, _| return_on(server, ann)), none, "the token was replaced");
    let later = good_after(|server, ann, _| {
        server.pass(PASSED);
        ann.clone()
    });
    assert_eq!(later, none, "it was too long ago");
    let still = good_after(|server, ann, other| {
        server.pass(PASSED - Duration::from_secs(1));
        other.post(LOGOUT, json!({})).ok();
        ann.clone()
    });
    assert_eq!(still.len(), 2, "what others do has no part in it");
}

#[test]
fn a_change_of_the_password_cannot_be_had_again_nor_can_a_session_begun_before_it_be_finished_with_the_old_one()
 {
    let server = unlimited();
    let (ann, other) = (server.register("ann"), server.log_in("ann"));
    let asked = json!({ "new_password": "new words", "logout_devices": false });
    let begun = [&ann, &other].map(|device| device.post(CHANGE, asked.clone()).body["session"].clone());
    ann.post(CHANGE, with_auth(&asked, password("ann", PASSWORD), &begun[0])).ok();
    let again = ann.post(CHANGE, with_auth(&asked, json!({}), &begun[0]));
    assert_eq!((again.status, &again.body["flows"][0]["stages"][0]), (401, &json!("m.login.password")));
    let old = with_auth(&asked, password("ann", PASSWORD), &begun[1]);
    other.post(CHANGE, old).refused(401, "M_FORBIDDEN");
    other.post(CHANGE, with_auth(&asked, password("ann", "new words"), &begun[1])).ok();
}

/// A registration that is finished: what was sent for it, and the answer.
fn registered(server: &TestServer, more: Value) -> (Value, Value) {
    let client = server.anonymous();
    let mut asked = json!({ "username": "ann", "password": PASSWORD, "device_id": "PHONE" });
    for (key, value) in more.as_object().expect("an object") {
        asked[key] = value.clone();
    }
    let session = client.post(REGISTER, asked.clone()).body["session"].clone();
    let last = with_auth(&asked, json!({ "type": "m.login.dummy" }), &session);
    let answer = client.post(REGISTER, last.clone()).ok();
    (last, answer)
}

#[test]
fn a_finished_registration_that_is_repeated_is_answered_with_the_same_token_as_long_as_that_is_good() {
    let server = unlimited();
    let client = server.anonymous();
    let (last, first) = registered(&server, json!({}));
    for _ in 0..3 {
        assert_eq!(client.post(REGISTER, last.clone()).ok(), first, "the very answer");
    }
    let ann = client.clone().with_token(&first["access_token"]);
    assert_eq!(ann.get(WHOAMI).ok()["device_id"], "PHONE");
    // Of somebody or something else it is not.
    for (key, value) in [("username", "ben"), ("device_id", "TABLET"), ("username", "b e n")] {
        let mut other = last.clone();
        other[key] = value.into();
        client.post(REGISTER, other).refused(403, "M_FORBIDDEN");
    }
    server.pass(PASSED);
    client.post(REGISTER, last).refused(400, "M_USER_IN_USE");
    ann.get(WHOAMI).ok();
}

#[test]
fn a_finished_registration_lets_nobody_in_when_its_token_its_password_or_its_account_is_gone() {
    type End = fn(&TestServer, &Client);
    let ends: [(&str, End); 6] = [
        ("a logout", |_, ann| drop(ann.post(LOGOUT, json!({})).ok())),
        ("a logout everywhere", |_, ann| {
            drop(ann.post("/_matrix/client/v3/logout/all", json!({})).ok());
        }),
        ("a login on the same device", |server, ann| drop(return_on(server, ann))),
        ("another password", |_, ann| change(ann, PASSWORD, "new words")),
        ("another password, set by another device, that ends the rest", |server, _| {
            let body = json!({ "new_password": "new words", "auth": password("ann", PASSWORD) });
            server.log_in("ann").post(CHANGE, body).ok();
        }),
        ("the end of the account", |_, ann| {
            ann.post(DEACTIVATE, json!({ "auth": password("ann", PASSWORD) })).ok();
        }),
    ];
    for (what, end) in ends {
        let server = unlimited();
        let (last, first) = registered(&server, json!({}));
        let ann = server.anonymous().with_token(&first["access_token"]);
        let ann = Client { device: "PHONE".to_owned(), ..ann };
        end(&server, &ann);
        let alive = ann.get(WHOAMI).status;
        let devices = || {
            let user = ruma::user_id!("@ann:localhost");
            crate::support::runtime().block_on(server.app().store.devices(user)).expect("reads").len()
        };
        let before = devices();
        for repeated in [last.clone(), with_auth(&json!({}), json!({}), &last["auth"]["session"])] {
            let answer = server.anonymous().post(REGISTER, repeated);
            assert!(answer.body.get("access_token").is_none(), "{what}: {}", answer.text);
            answer.refused(403, "M_FORBIDDEN");
        }
        assert_eq!((devices(), ann.get(WHOAMI).status), (before, alive), "{what}: nothing was changed");
    }
}

#[test]
fn a_finished_registration_without_a_login_says_the_same_until_the_account_ends() {
    let server = unlimited();
    let (last, first) = registered(&server, json!({ "inhibit_login": true }));
    assert_eq!(server.anonymous().post(REGISTER, last.clone()).ok(), first);
    let ann = server.log_in("ann");
    assert_eq!(server.anonymous().post(REGISTER, last.clone()).ok(), first);
    ann.post(DEACTIVATE, json!({ "auth": password("ann", PASSWORD) })).ok();
    server.anonymous().post(REGISTER, last).refused(403, "M_FORBIDDEN");
}

#[test]
fn a_registration_that_is_finished_many_times_at_once_gives_one_token() {
    let server = unlimited();
    let client = server.anonymous();
    let session = client.post(REGISTER, json!({ "password": PASSWORD })).body["session"].clone();
    let last = with_auth(&json!({}), json!({ "type": "m.login.dummy" }), &session);
    let answers: Vec<_> = std::thread::scope(|scope| {
        let asked: Vec<_> =
            (0..8).map(|_| scope.spawn(|| client.post(REGISTER, last.clone()).ok())).collect();
        asked.into_iter().map(|answer| answer.join().expect("is answered")).collect()
    });
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    client.clone().with_token(&answers[0]["access_token"]).get(WHOAMI).ok();
}
