//! Requests that come at the same time: of what excludes each other one is done, and everybody sees the same.

use std::sync::{
    Barrier,
    atomic::{AtomicBool, Ordering},
};

use serde_json::{Value, json};

use crate::support::{Answer, Client, PASSWORD, TestServer};

const REGISTER: &str = "/_matrix/client/v3/register";
const LOGIN: &str = "/_matrix/client/v3/login";
const WHOAMI: &str = "/_matrix/client/v3/account/whoami";
const CLAIM: &str = "/_matrix/client/v3/keys/claim";
const UPLOAD: &str = "/_matrix/client/v3/keys/upload";

/// Requests at once; fewer than wait for a password's hash at most.
const MANY: usize = 20;

fn unlimited() -> TestServer {
    TestServer::start_with(|config| config.rate_limits.enabled = false)
}

/// The answers to `ask`, asked so often at the same time.
fn all_at_once<T: Send>(count: usize, ask: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let ready = Barrier::new(count);
    std::thread::scope(|scope| {
        let asked: Vec<_> = (0..count)
            .map(|n| {
                let (ask, ready) = (&ask, &ready);
                scope.spawn(move || {
                    ready.wait();
                    ask(n)
                })
            })
            .collect();
        asked.into_iter().map(|asked| asked.join().expect("is answered")).collect()
    })
}

#[test]
fn of_many_who_register_one_name_one_gets_it() {
    let server = unlimited();
    let auth = json!({ "type": "m.login.dummy" });
    let answers = all_at_once(MANY, |n| {
        let name = if n % 2 == 0 { "ann" } else { "Ann" };
        let body = json!({ "username": name, "password": format!("{PASSWORD} {n}"), "auth": auth });
        server.anonymous().post(REGISTER, body)
    });
    let (taken, refused): (Vec<_>, Vec<_>) = (0..MANY).partition(|n| answers[*n].status == 200);
    assert_eq!(taken.len(), 1, "{answers:?}");
    for n in refused {
        assert_eq!((answers[n].status, &answers[n].body["errcode"]), (400, &json!("M_USER_IN_USE")));
    }
    let log_in = |n: usize| {
        let password = format!("{PASSWORD} {n}");
        let body = json!({ "type": "m.login.password", "user": "ann", "password": password });
        server.anonymous().post(LOGIN, body).status
    };
    assert_eq!(
        (log_in(taken[0]), log_in((taken[0] + 1) % MANY)),
        (200, 403),
        "with the password of that one"
    );
}

#[test]
fn of_many_logins_on_one_device_the_last_ones_token_is_good() {
    let server = unlimited();
    server.register("ann");
    let body =
        json!({ "type": "m.login.password", "user": "ann", "password": PASSWORD, "device_id": "PHONE" });
    let answers = all_at_once(8, |_| server.anonymous().post(LOGIN, body.clone()).ok());
    let good =
        |answer: &&Value| server.anonymous().with_token(&answer["access_token"]).get(WHOAMI).status == 200;
    assert_eq!(answers.iter().filter(good).count(), 1);
}

#[test]
fn a_device_that_is_removed_while_it_is_used_does_nothing_after_that() {
    let server = unlimited();
    let ann = server.register("ann");
    let phone = server.log_in("ann");
    let auth = json!({ "type": "m.login.password", "user": "ann", "password": PASSWORD });
    let name = format!("/_matrix/client/v3/profile/{}/displayname", ann.user);
    let gone = AtomicBool::new(false);
    let uses = |n: usize| -> Vec<(u16, bool)> {
        (0..)
            .map(|m| {
                let after = gone.load(Ordering::SeqCst);
                (phone.put(&name, json!({ "displayname": format!("{n} {m}") })).status, after)
            })
            .scan(false, |ended, (status, after)| {
                (!std::mem::replace(ended, after)).then_some((status, after))
            })
            .collect()
    };
    let statuses = std::thread::scope(|scope| {
        let users: Vec<_> = (0..4).map(|n| scope.spawn(move || uses(n))).collect();
        std::thread::sleep(std::time::Duration::from_millis(50));
        ann.post("/_matrix/client/v3/delete_devices", json!({ "devices": [phone.device], "auth": auth }))
            .ok();
        gone.store(true, Ordering::SeqCst);
        users.into_iter().map(|user| user.join().expect("ends")).collect::<Vec<_>>()
    });
    let after = ann.get(&name).ok();
    for used in &statuses {
        let first = used.iter().position(|(status, _)| *status == 401).unwrap_or(used.len());
        assert!(used[..first].iter().all(|(status, _)| *status == 200), "{used:?}");
        assert!(used[first..].iter().all(|(status, _)| *status == 401), "never let in again: {used:?}");
        assert!(used.iter().all(|(status, after)| *status == 401 || !after), "{used:?}");
    }
    phone.get(WHOAMI).refused(401, "M_UNKNOWN_TOKEN");
    assert_eq!(ann.get(&name).ok(), after);
}

#[test]
fn the_last_one_time_key_is_claimed_by_one_of_many_and_the_others_get_the_fallback_key() {
    let server = unlimited();
    let (ann, ben) = (server.register("ann"), server.register("ben"));
    let key = |key: &str| json!({ "key": key, "signatures": { (&ann.user): { (format!("ed25519:{}", ann.device)): "signed" } } });
    let request = json!({ "one_time_keys": { (&ann.user): { (&ann.device): "signed_curve25519" } } });
    let claimed = || {
        let answers = all_at_once(MANY, |_| ben.post(CLAIM, request.clone()).ok());
        let got = |id: &str| {
            let got = |answer: &&Value| !answer["one_time_keys"][&ann.user][&ann.device][id].is_null();
            answers.iter().filter(got).count()
        };
        (got("signed_curve25519:ONCE"), got("signed_curve25519:EVER"))
    };
    ann.post(UPLOAD, json!({ "one_time_keys": { "signed_curve25519:ONCE": key("once") } })).ok();
    assert_eq!(claimed(), (1, 0));
    let fallback = json!({ "signed_curve25519:EVER": key("ever") });
    let again =
        json!({ "one_time_keys": { "signed_curve25519:ONCE": key("once more") }, "fallback_keys": fallback });
    ann.post(UPLOAD, again).ok();
    assert_eq!(claimed(), (1, MANY - 1));
}

#[test]
fn account_data_is_read_whole_while_it_is_written_and_is_what_the_last_one_wrote() {
    let server = unlimited();
    let ann = server.register("ann");
    let path = format!("/_matrix/client/v3/user/{}/account_data/org.test", ann.user);
    let value = |n: usize, m: usize| json!({ "n": n, "m": m, "padding": format!("{n} {m} ").repeat(500) });
    ann.put(&path, value(0, 0)).ok();
    let done = AtomicBool::new(false);
    let read = |client: &Client| {
        let content = client.get(&path).ok();
        let of = |key: &str| usize::try_from(content[key].as_u64().expect("a number")).expect("small");
        let (n, m) = (of("n"), of("m"));
        assert_eq!(content, value(n, m), "whole");
        (n, m)
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut last = [0; 4];
            while !done.load(Ordering::SeqCst) {
                let (n, m) = read(&ann);
                assert!(m >= last[n], "{n} went back from {} to {m}", last[n]);
                last[n] = m;
            }
        });
        all_at_once(4, |n| (1..=25).for_each(|m| drop(ann.put(&path, value(n, m)).ok())));
        done.store(true, Ordering::SeqCst);
    });
    let (n, m) = read(&ann);
    assert_eq!(m, 25, "the last of {n}");
    let sync = ann.get("/_matrix/client/v3/sync").ok();
    let events = sync["account_data"]["events"].as_array().expect("a list").clone();
    let event = events.iter().find(|event| event["type"] == "org.test").expect("is told");
    assert_eq!(event["content"], value(n, m));
    let server = server.restart();
    assert_eq!(read(&server.anonymous().with_token(&json!(ann.token))), (n, m));
}

#[test]
fn of_a_login_and_a_logout_everywhere_at_once_no_token_is_half_alive() {
    let server = unlimited();
    let ann = server.register("ann");
    let body = json!({ "type": "m.login.password", "user": "ann", "password": PASSWORD });
    let answers: Vec<Option<Answer>> = all_at_once(9, |n| match n {
        0 => {
            ann.post("/_matrix/client/v3/logout/all", json!({})).ok();
            None
        }
        _ => Some(server.anonymous().post(LOGIN, body.clone())),
    });
    let tokens: Vec<_> =
        answers.into_iter().flatten().map(|answer| answer.ok()["access_token"].clone()).collect();
    ann.get(WHOAMI).refused(401, "M_UNKNOWN_TOKEN");
    let alive = |server: &TestServer| -> Vec<u16> {
        tokens.iter().map(|token| server.anonymous().with_token(token).get(WHOAMI).status).collect()
    };
    let before = alive(&server);
    let server = server.restart_with(|config| config.rate_limits.enabled = false);
    assert_eq!(alive(&server), before, "what is known in memory is what is on the disk");
}
