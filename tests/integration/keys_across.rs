//! Keys and messages of devices on two servers: asked for, claimed, handed on once.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    authority::Authority,
    device_lists_across::Pair,
    driven::Time,
    keys::{CLAIM, CROSS, Cross, QUERY, UPLOAD, device_keys, fallback_keys, one_time_keys},
    peer::Peer,
    support::Client,
};

fn query(by: &Client, user: &str, devices: &[&str]) -> Value {
    by.post(QUERY, json!({ "device_keys": { user: devices } })).ok()
}

fn claim(by: &Client, of: &Client) -> Value {
    let wanted = json!({ of.user.as_str(): { of.device.as_str(): "signed_curve25519" } });
    by.post(CLAIM, json!({ "one_time_keys": wanted })).ok()
}

/// Sends `content` to a device, or to all with `*`, under a transaction ID.
fn send(by: &Client, txn: &str, to: &str, device: &str, content: &Value) {
    let path = format!("/_matrix/client/v3/sendToDevice/org.example.note/{txn}");
    by.put(&path, json!({ "messages": { to: { device: content } } })).ok();
}

/// The messages that wait for a device, by their number `n`, with who sent them; acknowledged.
fn received(by: &Client) -> Vec<(String, i64)> {
    let (mut since, mut all) = (String::new(), Vec::new());
    loop {
        let answer = by.get(&format!("/_matrix/client/v3/sync?timeout=0{since}")).ok();
        let events = answer["to_device"]["events"].as_array().cloned().unwrap_or_default();
        since = format!("&since={}", answer["next_batch"].as_str().expect("a token"));
        if events.is_empty() {
            return all;
        }
        all.extend(events.iter().map(|event| {
            assert_eq!(event["type"], "org.example.note");
            (
                event["sender"].as_str().expect("a sender").to_owned(),
                event["content"]["n"].as_i64().expect("n"),
            )
        }));
    }
}

#[test]
fn keys_of_a_user_of_another_server_are_found_and_claimed_there() {
    let pair = Pair::new();
    let (alice, bob) = (&pair.alice, &pair.bob);
    let phone = pair.b.log_in("bob");
    bob.post(UPLOAD, json!({ "device_keys": device_keys(bob), "one_time_keys": one_time_keys(bob, 0..2), "fallback_keys": fallback_keys(bob) })).ok();
    phone.post(UPLOAD, json!({ "device_keys": device_keys(&phone) })).ok();
    bob.put(&format!("/_matrix/client/v3/devices/{}", bob.device), json!({ "display_name": "secret lair" }))
        .ok();
    let cross = Cross::new().upload(bob);
    bob.post(CROSS, cross.clone()).ok();

    let found = query(alice, &bob.user, &[]);
    assert_eq!(found["failures"], json!({}));
    let devices = &found["device_keys"][&bob.user];
    assert_eq!(devices.as_object().expect("devices").len(), 2);
    assert_eq!(devices[&bob.device]["keys"], device_keys(bob)["keys"]);
    assert_eq!(devices[&bob.device]["unsigned"], json!({}), "what people call their devices is not told");
    for (part, key) in [("master_keys", "master_key"), ("self_signing_keys", "self_signing_key")] {
        assert_eq!(found[part][&bob.user]["keys"], cross[key]["keys"], "{part}");
    }
    assert!(found["user_signing_keys"].get(&bob.user).is_none());
    let one = query(alice, &bob.user, &[&phone.device]);
    assert_eq!(one["device_keys"][&bob.user].as_object().expect("devices").len(), 1);

    for names in [0..1, 1..2] {
        let claimed = claim(alice, bob);
        assert_eq!(claimed["failures"], json!({}));
        assert_eq!(claimed["one_time_keys"][&bob.user][&bob.device], one_time_keys(bob, names));
    }
    let last = claim(alice, bob);
    assert_eq!(last["one_time_keys"][&bob.user][&bob.device], fallback_keys(bob));
    let nobody = format!("@nobody:{}", pair.names[1]);
    assert_eq!(query(alice, &nobody, &[])["failures"], json!({}));
}

#[test]
fn a_server_that_is_away_is_named_among_the_failures_and_keeps_nobody_waiting() {
    let pair = Pair::new();
    let (alice, bob, away) = (&pair.alice, &pair.bob, pair.names[1].as_str());
    alice.post(UPLOAD, json!({ "device_keys": device_keys(alice) })).ok();
    drop(pair.b);
    let body = json!({ "device_keys": { bob.user.as_str(): [], alice.user.as_str(): [] } });
    let found = alice.post(QUERY, body).ok();
    assert_eq!(found["failures"][away]["status"], 503, "{found}");
    assert!(found["device_keys"][&alice.user].is_object() && found["device_keys"].get(&bob.user).is_none());
    let claimed = claim(alice, bob);
    assert!(claimed["failures"][away].is_object(), "{claimed}");
    assert_eq!(claimed["one_time_keys"], json!({}));
}

#[test]
fn a_message_reaches_the_device_of_another_server_once_though_both_servers_were_away() {
    let Pair { _ca, time, a, b, alice, bob, .. } = Pair::new();
    let phone = b.log_in("bob");
    send(&alice, "first", &bob.user, &bob.device, &json!({ "n": 0 }));
    send(&alice, "first", &bob.user, &bob.device, &json!({ "n": 0 }));
    send(&alice, "all", &bob.user, "*", &json!({ "n": 1 }));
    send(&alice, "gone", &bob.user, "NODEVICE", &json!({ "n": 2 }));
    time.settle();
    let from_alice =
        |numbers: std::ops::Range<i64>| -> Vec<_> { numbers.map(|n| (alice.user.clone(), n)).collect() };
    assert_eq!(received(&bob), from_alice(0..2));
    assert_eq!(received(&phone), from_alice(1..2));

    let stopped = b.stop();
    for n in 0..150 {
        send(&alice, &format!("while-away-{n}"), &bob.user, &bob.device, &json!({ "n": n }));
    }
    time.settle();
    let a = a.stop().start();
    let b = stopped.start();
    time.pass_until("all are there", Duration::from_secs(3_600), || {
        a.app().federation.as_ref().expect("federates").queue.peers().values().all(|peer| peer.waiting == 0)
    });
    let bob = Client { base: b.url(), ..bob };
    assert_eq!(received(&bob), from_alice(0..150));
    assert_eq!(received(&bob), []);
}

#[test]
fn what_a_server_says_to_devices_is_taken_once_and_only_of_its_own_users() {
    let (ca, time) = (Authority::new(), Time::new());
    let (name, server) = ca.driven(&time, |_| {});
    let (peer, bob) = (Peer::start(&ca, Duration::ZERO), server.register("bob"));
    let them = format!("@mallory:{}", peer.name);
    let direct = |id: &str, sender: &str, messages: Value| {
        json!({ "edu_type": "m.direct_to_device", "content": {
            "sender": sender, "type": "org.example.note", "message_id": id, "messages": messages,
        } })
    };
    let note = |n: i64| json!({ bob.user.as_str(): { bob.device.as_str(): { "n": n } } });
    let edus = [
        direct("a", &them, note(1)),
        direct("a", &them, note(2)),
        direct("b", &bob.user, note(3)),
        direct("c", "@mallory:elsewhere.example", note(4)),
        direct("d", &them, json!({ bob.user.as_str(): { bob.device.as_str(): "no object" } })),
        direct("e", &them, json!({ bob.user.as_str(): [] })),
        direct("f", &them, json!({ "@bob:elsewhere.example": { bob.device.as_str(): { "n": 5 } } })),
        direct("g", &them, json!({ "no user": {} })),
        direct(
            "h",
            &them,
            json!({ bob.user.as_str(): { bob.device.as_str(): { "n": 6, "of": "x".repeat(70_000) } } }),
        ),
        direct("i".repeat(300).as_str(), &them, note(7)),
        json!({ "edu_type": "m.direct_to_device", "content": 5 }),
        json!({ "edu_type": "m.direct_to_device", "content": { "sender": them } }),
        direct("j", &them, note(8)),
    ];
    peer.send(&name, &peer.transaction(&name, "1", &edus)).ok();
    assert_eq!(received(&bob), [(them.clone(), 1), (them.clone(), 8)]);
    peer.send(&name, &peer.transaction(&name, "2", &edus)).ok();
    assert_eq!(received(&bob), [], "whatever the transaction is called");
    let server = server.stop().start();
    let bob = Client { base: server.url(), ..bob };
    peer.send(&name, &peer.transaction(&name, "3", &edus)).ok();
    assert_eq!(received(&bob), [], "after a restart too");
}

#[test]
fn another_server_is_told_the_devices_of_users_here_and_of_nobody_else() {
    let (ca, time) = (Authority::new(), Time::new());
    let (name, server) = ca.driven(&time, |_| {});
    let (peer, bob) = (Peer::start(&ca, Duration::ZERO), server.register("bob"));
    let devices = |user: &str| {
        let user = user.replace('@', "%40").replace(':', "%3A");
        let path = format!("/_matrix/federation/v1/user/devices/{user}");
        peer.send(&name, &peer.signed(&name, "GET", &path, b""))
    };
    let before = devices(&bob.user).ok();
    assert_eq!((&before["user_id"], &before["devices"]), (&json!(bob.user), &json!([])));
    bob.post(UPLOAD, json!({ "device_keys": device_keys(&bob) })).ok();
    let cross = Cross::new().upload(&bob);
    bob.post(CROSS, cross.clone()).ok();
    let after = devices(&bob.user).ok();
    assert!(after["stream_id"].as_u64() > before["stream_id"].as_u64(), "{after}");
    assert_eq!(after["devices"][0]["device_id"], bob.device.as_str());
    assert_eq!(after["devices"][0]["keys"]["keys"], device_keys(&bob)["keys"]);
    assert_eq!(after["master_key"]["keys"], cross["master_key"]["keys"]);
    assert_eq!(after["self_signing_key"]["keys"], cross["self_signing_key"]["keys"]);
    assert!(
        after.get("user_signing_key").is_none() && after["devices"][0].get("device_display_name").is_none()
    );
    devices("@bob:elsewhere.example").refused(400, "M_INVALID_PARAM");
    devices("bob").refused(400, "M_INVALID_PARAM");

    let post = |what: &str, body: &Value| {
        let path = format!("/_matrix/federation/v1/user/keys/{what}");
        peer.send(&name, &peer.signed(&name, "POST", &path, body.to_string().as_bytes()))
    };
    let wanted = json!({ "device_keys": { bob.user.as_str(): [], "@bob:elsewhere.example": [] } });
    let found = post("query", &wanted).ok();
    assert_eq!(found["device_keys"].as_object().expect("users").len(), 1);
    assert!(found.get("user_signing_keys").is_none(), "{found}");
    for bad in [json!({}), json!({ "device_keys": [] }), json!({ "device_keys": { "bob": [] } })] {
        post("query", &bad).refused(400, "M_BAD_JSON");
    }
    let many: serde_json::Map<_, _> = (0..1_001).map(|n| (format!("@u{n}:{name}"), json!([]))).collect();
    post("query", &json!({ "device_keys": many })).refused(413, "M_TOO_LARGE");
    let unsigned = peer.send(
        &name,
        &super::peer::Request {
            method: "POST",
            path: "/_matrix/federation/v1/user/keys/query".to_owned(),
            headers: Vec::new(),
            body: wanted.to_string().into_bytes(),
        },
    );
    unsigned.refused(401, "M_UNAUTHORIZED");
}
