//! Fields of profiles beyond name and picture: how they are kept, who may read which (L5), and the two that are a part of
//! presence (MSC4426).

use serde_json::{Value, json};

use super::{
    contacts::{OURS, add, answer},
    federation_lists::Pair,
    support::{Client, TestServer, until},
};

const STATUS: &str = "m.status";
const CALL: &str = "m.call";

fn path(of: &Client, field: &str) -> String {
    format!("/_matrix/client/v3/profile/{}/{field}", of.user)
}

fn readers_path(of: &Client, field: &str) -> String {
    format!("/_matrix/client/unstable/org.pilotlight/profile/{}/readers/{field}", of.user)
}

#[track_caller]
fn put(who: &Client, field: &str, value: Value) {
    who.put(&path(who, field), json!({ field: value })).ok();
}

/// What `reader` sees of a field; asked for alone and with the whole profile it is the same.
#[track_caller]
fn seen(reader: &Client, of: &Client, field: &str) -> Option<Value> {
    let whole = reader.get(&format!("/_matrix/client/v3/profile/{}", of.user)).ok();
    let in_whole = whole.get(field).cloned();
    let alone = reader.get(&path(of, field));
    let alone = match alone.status {
        404 => {
            alone.refused(404, "M_NOT_FOUND");
            None
        }
        _ => Some(alone.ok()[field].clone()),
    };
    assert_eq!(alone, in_whole, "{whole}");
    alone
}

fn let_read(who: &Client, field: &str, readers: Value) {
    who.put(&readers_path(who, field), json!({ "readers": readers })).ok();
}

fn put_in_group(who: &Client, group: &str, contact: &Client) {
    who.put(&format!("{OURS}/groups/{}/{group}/members/{}", who.user, contact.user), json!({})).ok();
}

fn message(reader: &Client, of: &Client) -> Value {
    reader.get(&format!("/_matrix/client/v3/presence/{}/status", of.user)).ok()["status_msg"].clone()
}

fn choose(who: &Client, body: Value) {
    who.put(&format!("/_matrix/client/v3/presence/{}/status", who.user), body).ok();
}

#[test]
fn l5_a_field_is_any_json_kept_over_a_restart_and_gone_with_the_account() {
    let server = TestServer::driven();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let values =
        [json!("Europe/Paris"), json!({ "a": [1, { "b": null }] }), json!(null), json!(0), json!(false)];
    for (n, value) in values.iter().enumerate() {
        put(&alice, &format!("org.example.f{n}"), value.clone());
    }
    put(&alice, "org.example.f0", json!("Europe/London"));
    alice.delete(&path(&alice, "org.example.f3"), json!({})).ok();
    alice.delete(&path(&alice, "org.example.f3"), json!({})).ok();
    let whole = json!({ "org.example.f0": "Europe/London", "org.example.f1": values[1], "org.example.f2": null, "org.example.f4": false });
    let profile = format!("/_matrix/client/v3/profile/{}", alice.user);
    assert_eq!(bob.get(&profile).ok(), whole);
    assert_eq!(server.anonymous().get(&profile).ok(), whole, "where nothing is said everybody reads");

    let server = server.stop().start();
    let reader = server.anonymous();
    assert_eq!(reader.get(&profile).ok(), whole);
    let old = "/_matrix/client/unstable/uk.tcpip.msc4133/profile";
    assert_eq!(
        reader.get(&format!("{old}/{}/org.example.f4", alice.user)).ok(),
        json!({ "org.example.f4": false })
    );
    let alice = server.log_in("alice");
    let auth = json!({ "type": "m.login.password", "identifier": { "type": "m.id.user", "user": "alice" }, "password": super::support::PASSWORD });
    alice.post("/_matrix/client/v3/account/deactivate", json!({ "auth": auth })).ok();
    reader.get(&profile).refused(404, "M_NOT_FOUND");
}

#[test]
fn l5_what_is_no_field_is_refused_and_changes_nothing() {
    let server = TestServer::driven();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    put(&alice, "org.example.kept", json!(1));
    put(&alice, STATUS, json!({ "text": "Here", "emoji": "H" }));
    let text = |bytes: usize| "x".repeat(bytes);
    let long_name = "a".repeat(256);
    let rows: Vec<(&str, Value, &str)> = vec![
        ("Upper", json!({ "Upper": 1 }), "M_INVALID_PARAM"),
        ("1digit", json!({ "1digit": 1 }), "M_INVALID_PARAM"),
        ("sp%20ace", json!({ "sp ace": 1 }), "M_INVALID_PARAM"),
        (&long_name, json!({ &long_name: 1 }), "M_KEY_TOO_LARGE"),
        ("org.example.kept", json!({ "org.example.other": 1 }), "M_MISSING_PARAM"),
        ("org.example.kept", json!({ "org.example.kept": text(64 << 10) }), "M_PROFILE_TOO_LARGE"),
        (STATUS, json!({ STATUS: "words" }), "M_BAD_JSON"),
        (STATUS, json!({ STATUS: { "text": 1 } }), "M_BAD_JSON"),
        (STATUS, json!({ STATUS: { "text": text(257) } }), "M_TOO_LARGE"),
        (STATUS, json!({ STATUS: { "text": "a", "emoji": text(33) } }), "M_TOO_LARGE"),
        (CALL, json!({ CALL: true }), "M_BAD_JSON"),
        (CALL, json!({ CALL: { "call_joined_ts": "now" } }), "M_BAD_JSON"),
    ];
    for (field, body, errcode) in rows {
        alice.put(&path(&alice, field), body.clone()).refused(400, errcode);
    }
    alice.put(&path(&alice, "org.example.kept"), json!([])).refused(400, "M_BAD_JSON");
    alice.get(&path(&alice, "Upper")).refused(400, "M_INVALID_PARAM");
    alice.delete(&path(&alice, &long_name), json!({})).refused(400, "M_KEY_TOO_LARGE");
    for (method, body) in [("PUT", Some(br#"{"m.tz":"x"}"#.as_slice())), ("DELETE", None)] {
        bob.send(method, &path(&alice, "m.tz"), body).refused(403, "M_FORBIDDEN");
        server.anonymous().send(method, &path(&alice, "m.tz"), body).refused(401, "M_MISSING_TOKEN");
    }
    for readers in [json!("some"), json!({ "group": "" }), json!(null), json!({ "groups": [1] })] {
        alice.put(&readers_path(&alice, "m.tz"), json!({ "readers": readers })).refused(400, "M_BAD_JSON");
    }
    // What is told in other words, too, cannot be kept from who hears those.
    for field in ["displayname", "avatar_url", STATUS, CALL, "org.matrix.msc4426.status"] {
        alice.put(&readers_path(&alice, field), json!({ "readers": "list" })).refused(400, "M_INVALID_PARAM");
    }
    let of_alice = readers_path(&alice, "m.tz");
    bob.put(&of_alice, json!({ "readers": "nobody" })).refused(403, "M_FORBIDDEN");
    bob.get(of_alice.strip_suffix("/m.tz").expect("is its end")).refused(403, "M_FORBIDDEN");
    assert_eq!(seen(&alice, &alice, "org.example.kept"), Some(json!(1)));
    assert_eq!(seen(&alice, &alice, STATUS), Some(json!({ "text": "Here", "emoji": "H" })));
    // Just below the limit there is room, name and all.
    let most = (64 << 10) - alice.get(&format!("/_matrix/client/v3/profile/{}", alice.user)).text.len();
    assert!(most > 60_000);
    put(&alice, "org.example.most", json!(text(60_000)));
}

/// Rule × reader: a stranger, on the list, in one group, in another.
#[test]
fn l5_each_field_is_read_by_whom_its_owner_lets() {
    let server = TestServer::driven();
    let alice = server.register("alice");
    let readers: Vec<Client> =
        ["stranger", "listed", "friend", "colleague"].map(|name| server.register(name)).into();
    for contact in &readers[1..] {
        add(&alice, contact);
    }
    put_in_group(&alice, "friends", &readers[2]);
    put_in_group(&alice, "work", &readers[3]);
    let rules = [
        ("a.everybody", json!("everybody"), [true, true, true, true]),
        ("a.list", json!("list"), [false, true, true, true]),
        ("a.friends", json!({ "group": "friends" }), [false, false, true, false]),
        ("a.both", json!({ "groups": ["friends", "work"] }), [false, false, true, true]),
        ("a.nobody", json!("nobody"), [false, false, false, false]),
    ];
    for (n, (field, rule, _)) in rules.iter().enumerate() {
        // What is said of who reads a field holds whether it is there already or not.
        if n % 2 == 0 {
            put(&alice, field, json!("value"));
        }
        let_read(&alice, field, rule.clone());
        put(&alice, field, json!("value"));
    }
    let check = |server: &TestServer| {
        for (field, rule, may_read) in &rules {
            assert_eq!(
                seen(&alice_again(server), &alice_again(server), field),
                Some(json!("value")),
                "their own"
            );
            for (reader, may_read) in readers.iter().zip(may_read) {
                let reader = server.log_in(&reader.user[1..reader.user.len() - ":localhost".len()]);
                let value = may_read.then(|| json!("value"));
                assert_eq!(seen(&reader, &alice, field), value, "{rule} {}", reader.user);
            }
            let is_for_everybody = *field == "a.everybody";
            assert_eq!(seen(&server.anonymous(), &alice, field).is_some(), is_for_everybody, "{rule}");
        }
    };
    check(&server);
    let server = server.stop().start();
    check(&server);

    // Out of the group, and let again.
    let alice = alice_again(&server);
    let friend = server.log_in("friend");
    alice.delete(&format!("{OURS}/groups/{}/friends/members/{}", alice.user, friend.user), json!({})).ok();
    assert_eq!(seen(&friend, &alice, "a.friends"), None);
    alice.delete(&readers_path(&alice, "a.friends"), json!({})).ok();
    assert_eq!(seen(&server.anonymous(), &alice, "a.friends"), Some(json!("value")));
    let all = readers_path(&alice, "");
    let said = alice.get(all.trim_end_matches('/')).ok()["readers"].clone();
    assert_eq!(said.as_object().expect("an object").len(), rules.len() - 1, "{said}");
}

fn alice_again(server: &TestServer) -> Client {
    server.log_in("alice")
}

#[test]
fn l5_a_status_is_the_status_message_in_other_words_both_ways() {
    let server = TestServer::driven();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    add(&bob, &alice);
    answer(&alice, &bob, "accept");
    choose(&alice, json!({ "presence": "online" }));
    alice.get("/_matrix/client/v3/sync?timeout=0").ok();
    assert_eq!(seen(&bob, &alice, STATUS), None);

    let swimming = json!({ "text": "Swimming", "emoji": "S", "org.example.where": "lake" });
    put(&alice, "org.matrix.msc4426.status", swimming.clone());
    for name in [STATUS, "org.matrix.msc4426.status"] {
        assert_eq!(seen(&bob, &alice, name), Some(swimming.clone()));
        assert_eq!(seen(&alice, &alice, name), Some(swimming.clone()));
        assert_eq!(seen(&server.anonymous(), &alice, name), None, "who sees no presence sees no status");
    }
    assert_eq!(message(&bob, &alice), "Swimming");
    // A client that knows presence only keeps the message, changes it, clears it.
    choose(&alice, json!({ "presence": "busy" }));
    assert_eq!(seen(&bob, &alice, STATUS), Some(swimming));
    choose(&alice, json!({ "presence": "busy", "status_msg": "Reading" }));
    let reading = seen(&bob, &alice, STATUS).expect("a status");
    assert_eq!(reading["text"], "Reading");
    assert!(reading["emoji"].as_str().is_some_and(|emoji| !emoji.is_empty()));
    choose(&alice, json!({ "presence": "busy", "status_msg": null }));
    assert_eq!(seen(&bob, &alice, STATUS), None);
    put(&alice, STATUS, json!({ "text": "", "emoji": "Z" }));
    assert_eq!(message(&bob, &alice), "Z");
    alice.delete(&path(&alice, STATUS), json!({})).ok();
    assert_eq!((message(&bob, &alice), seen(&bob, &alice, STATUS)), (Value::Null, None));
    // That the state was chosen stays as it is.
    let state = bob.get(&format!("/_matrix/client/v3/presence/{}/status", alice.user)).ok();
    assert_eq!(state["org.pilotlight.presence"]["state"], "busy");
}

#[test]
fn l5_who_is_in_a_call_and_says_nothing_else_says_that() {
    let server = TestServer::driven();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    add(&bob, &alice);
    answer(&alice, &bob, "accept");
    choose(&alice, json!({ "presence": "online" }));
    alice.get("/_matrix/client/v3/sync?timeout=0").ok();
    let call = json!({ "call_joined_ts": 1_770_140_640 });
    put(&alice, CALL, call.clone());
    assert_eq!(seen(&bob, &alice, CALL), Some(call.clone()));
    assert_eq!(seen(&bob, &alice, STATUS), None, "there is no status but the call");
    assert_eq!(message(&bob, &alice), "In a call");
    alice.delete(&path(&alice, CALL), json!({})).ok();
    assert_eq!((seen(&bob, &alice, CALL), message(&bob, &alice)), (None, Value::Null));

    // Their own words stand, and stay.
    put(&alice, STATUS, json!({ "text": "Busy with taxes", "emoji": "T" }));
    put(&alice, CALL, call.clone());
    assert_eq!(message(&bob, &alice), "Busy with taxes");
    put(&alice, CALL, Value::Null);
    assert_eq!(message(&bob, &alice), "Busy with taxes");
}

#[test]
fn p4_l5_who_hides_is_in_no_call_and_shows_no_new_status() {
    let server = TestServer::driven();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    add(&bob, &alice);
    answer(&alice, &bob, "accept");
    choose(&alice, json!({ "presence": "online" }));
    alice.get("/_matrix/client/v3/sync?timeout=0").ok();
    let before = json!({ "text": "Before", "emoji": "B" });
    put(&alice, STATUS, before.clone());
    choose(&alice, json!({ "presence": "hidden" }));
    let status = json!({ "text": "Secret", "emoji": "S" });
    put(&alice, STATUS, status.clone());
    put(&alice, CALL, json!({}));
    assert_eq!(
        (seen(&alice, &alice, STATUS), seen(&alice, &alice, CALL)),
        (Some(status.clone()), Some(json!({})))
    );
    let shown = seen(&bob, &alice, STATUS).expect("what they left with");
    assert_eq!(shown["text"], "Before");
    assert_eq!(seen(&bob, &alice, CALL), None);
    choose(&alice, json!({ "presence": "online" }));
    assert_eq!((seen(&bob, &alice, STATUS), seen(&bob, &alice, CALL)), (Some(status), Some(json!({}))));
    // Whoever may no longer see them sees neither.
    answer(&alice, &bob, "revoke");
    assert_eq!((seen(&bob, &alice, STATUS), seen(&bob, &alice, CALL)), (None, None));
}

#[test]
fn l5_across_servers_a_field_is_read_by_whom_its_owner_lets() {
    let pair = Pair::new();
    let (alice, bob) = (&pair.alice, &pair.bob);
    for (field, readers) in
        [("a.everybody", json!("everybody")), ("a.list", json!("list")), ("a.nobody", json!("nobody"))]
    {
        let_read(alice, field, readers);
        put(alice, field, json!("value"));
    }
    choose(alice, json!({ "presence": "online" }));
    alice.get("/_matrix/client/v3/sync?timeout=0").ok();
    put(alice, STATUS, json!({ "text": "Here", "emoji": "H" }));
    let value = Some(json!("value"));
    assert_eq!(seen(bob, alice, "a.everybody"), value);
    for field in ["a.list", "a.nobody", STATUS] {
        assert_eq!(seen(bob, alice, field), None, "{field}");
    }
    add(alice, bob);
    pair.settle();
    assert_eq!((seen(bob, alice, "a.list"), seen(bob, alice, "a.nobody")), (value, None));
    pair.bob_asks("accept");
    pair.settle();
    until("Bob sees Alice", || seen(bob, alice, STATUS).is_some());
    assert_eq!(seen(bob, alice, STATUS), Some(json!({ "text": "Here", "emoji": "H" })));
}
