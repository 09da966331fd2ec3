//! Backups of room keys.

use serde_json::{Value, json};

use super::{
    support::{Client, PASSWORD, TestServer},
    sync::same,
};

const VERSION: &str = "/_matrix/client/v3/room_keys/version";
const KEYS: &str = "/_matrix/client/v3/room_keys/keys";
const ALGORITHM: &str = "m.megolm_backup.v1.curve25519-aes-sha2";

fn create(client: &Client) -> String {
    let body = json!({ "algorithm": ALGORITHM, "auth_data": { "public_key": "abc" } });
    client.post(VERSION, body).ok()["version"].as_str().expect("a version").to_owned()
}

fn key(is_verified: bool, first_message_index: u32, forwarded_count: u32, text: &str) -> Value {
    json!({
        "is_verified": is_verified, "first_message_index": first_message_index,
        "forwarded_count": forwarded_count, "session_data": { "ciphertext": text },
    })
}

fn one(room: &str, session: &str, version: &str) -> String {
    format!("{KEYS}/{room}/{session}?version={version}")
}

#[test]
fn a_backup_is_made_looked_at_changed_and_ended() {
    let server = TestServer::start();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    alice.get(VERSION).refused(404, "M_NOT_FOUND");
    let first = create(&alice);
    let info = json!({ "algorithm": ALGORITHM, "auth_data": { "public_key": "abc" }, "count": 0, "etag": "0",
        "version": first });
    assert_eq!(alice.get(VERSION).ok(), info);
    assert_eq!(alice.get(&format!("{VERSION}/{first}")).ok(), info);
    bob.get(&format!("{VERSION}/{first}")).refused(404, "M_NOT_FOUND");
    let second = create(&alice);
    assert_ne!(first, second);
    assert_eq!(alice.get(VERSION).ok()["version"], json!(second));
    let server = server.restart();
    let alice = same(&server, &alice);
    assert_eq!(alice.get("/_matrix/client/r0/room_keys/version").ok()["version"], json!(second));
    assert_eq!(alice.get("/_matrix/client/unstable/room_keys/version").ok()["version"], json!(second));

    let at = format!("{VERSION}/{first}");
    let changed = json!({ "algorithm": ALGORITHM, "auth_data": { "public_key": "def" }, "version": first });
    alice.put(&at, changed.clone()).ok();
    assert_eq!(alice.get(&at).ok()["auth_data"], changed["auth_data"]);
    let with = |key: &str, value: Value| {
        let mut body = changed.clone();
        body[key] = value;
        body
    };
    for (path, body, status, errcode) in [
        (&at, with("algorithm", json!("other")), 400, "M_INVALID_PARAM"),
        (&at, with("version", json!("7")), 400, "M_INVALID_PARAM"),
        (&at, json!({ "algorithm": ALGORITHM }), 400, "M_BAD_JSON"),
        (&at, with("auth_data", json!("x")), 400, "M_BAD_JSON"),
        (&format!("{VERSION}/7"), with("version", json!("7")), 404, "M_NOT_FOUND"),
        (&format!("{VERSION}/x"), json!({ "algorithm": ALGORITHM, "auth_data": {} }), 404, "M_NOT_FOUND"),
    ] {
        alice.put(path, body).refused(status, errcode);
    }
    alice.post(VERSION, json!({ "algorithm": ALGORITHM })).refused(400, "M_BAD_JSON");
    alice.post(VERSION, json!({ "algorithm": 7, "auth_data": {} })).refused(400, "M_BAD_JSON");
    let long = json!({ "algorithm": ALGORITHM, "auth_data": { "x": "y".repeat(20_000) } });
    alice.post(VERSION, long).refused(413, "M_TOO_LARGE");

    // Of two the older one is the current one, when the newer one is gone; and no version is given twice.
    alice.delete(&format!("{VERSION}/{second}"), json!({})).ok();
    alice.delete(&format!("{VERSION}/{second}"), json!({})).ok();
    alice.get(&format!("{VERSION}/{second}")).refused(404, "M_NOT_FOUND");
    assert_eq!(alice.get(VERSION).ok()["version"], json!(first));
    alice.delete(&at, json!({})).ok();
    alice.get(VERSION).refused(404, "M_NOT_FOUND");
    alice.delete(&format!("{VERSION}/99"), json!({})).refused(404, "M_NOT_FOUND");
    alice.delete(&format!("{VERSION}/0"), json!({})).refused(404, "M_NOT_FOUND");
    let third = create(&alice);
    assert!(![first.clone(), second.clone()].contains(&third));
    alice.delete(&at, json!({})).ok();
    server.anonymous().get(VERSION).refused(401, "M_MISSING_TOKEN");
    for _ in 1..20 {
        create(&alice);
    }
    let body = json!({ "algorithm": ALGORITHM, "auth_data": {} });
    alice.post(VERSION, body).refused(413, "M_TOO_LARGE");
}

#[test]
fn keys_are_backed_up_one_by_one_by_room_and_all_together() {
    let server = TestServer::start();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let version = create(&alice);
    let (a, b, c) = (key(true, 0, 0, "a"), key(false, 1, 2, "b"), key(true, 3, 0, "c"));
    let answer = alice.put(&one("!r:x", "a/+=", &version).replace("a/+=", "a%2F%2B%3D"), a.clone()).ok();
    assert_eq!(answer["count"], 1);
    let etag = answer["etag"].clone();
    let room = json!({ "sessions": { "b": b } });
    let answer = alice.put(&format!("{KEYS}/!r:x?version={version}"), room).ok();
    assert!(answer["count"] == 2 && answer["etag"] != etag && answer["etag"].is_string(), "{answer}");
    let all = json!({ "rooms": { "!r:x": { "sessions": { "b": b } }, "!s:x": { "sessions": { "c": c } } } });
    let answer = alice.put(&format!("{KEYS}?version={version}"), all).ok();
    assert_eq!(answer["count"], 3);
    let info = alice.get(VERSION).ok();
    assert_eq!((&info["count"], &info["etag"]), (&answer["count"], &answer["etag"]));

    let server = server.restart();
    let (alice, bob) = (same(&server, &alice), same(&server, &bob));
    let get = |path: &str| alice.get(&format!("{KEYS}{path}?version={version}"));
    let everything = json!({ "rooms": { "!r:x": { "sessions": { "a/+=": a, "b": b } }, "!s:x": { "sessions": { "c": c } } } });
    assert_eq!(get("").ok(), everything);
    assert_eq!(get("/!r:x").ok(), everything["rooms"]["!r:x"]);
    assert_eq!(get("/!none:x").ok(), json!({ "sessions": {} }));
    assert_eq!(get("/!s:x/c").ok(), c);
    get("/!s:x/none").refused(404, "M_NOT_FOUND");
    alice.get(&format!("{KEYS}?version=99")).refused(404, "M_NOT_FOUND");
    alice.get(KEYS).refused(400, "M_MISSING_PARAM");
    bob.get(&format!("{KEYS}?version={version}")).refused(404, "M_NOT_FOUND");

    let delete = |path: &str| alice.delete(&format!("{KEYS}{path}?version={version}"), json!({}));
    assert_eq!(delete("/!r:x/b").ok()["count"], 2);
    let etag = alice.get(VERSION).ok()["etag"].clone();
    assert_eq!(delete("/!r:x/b").ok(), json!({ "count": 2, "etag": etag }));
    assert_eq!(delete("/!r:x").ok()["count"], 1);
    let answer = delete("").ok();
    assert!(answer["count"] == 0 && answer["etag"] != etag);
    assert_eq!(get("").ok(), json!({ "rooms": {} }));
    alice.delete(&format!("{KEYS}?version=99"), json!({})).refused(404, "M_NOT_FOUND");
}

#[test]
fn a_key_is_replaced_by_a_better_one_only_and_what_is_not_changed_keeps_its_etag() {
    let server = TestServer::start();
    let alice = server.register("alice");
    let version = create(&alice);
    let path = one("!r:x", "s", &version);
    let kept =
        |answer: Value| (answer["etag"].clone(), alice.get(&path).ok()["session_data"]["ciphertext"].clone());
    let mut before = kept(alice.put(&path, key(false, 5, 5, "first")).ok());
    for (better, worse) in [
        (key(false, 5, 4, "forwarded less"), key(false, 5, 5, "more")),
        (key(false, 4, 9, "earlier"), key(false, 5, 0, "later")),
        (key(true, 9, 9, "verified"), key(false, 0, 0, "not verified")),
    ] {
        let after = kept(alice.put(&path, better.clone()).ok());
        assert_ne!(after.0, before.0);
        assert_eq!(after.1, better["session_data"]["ciphertext"]);
        assert_eq!(kept(alice.put(&path, worse).ok()), after);
        let mut again = better;
        again["session_data"]["ciphertext"] = json!("as good");
        assert_eq!(kept(alice.put(&path, again).ok()), after);
        before = after;
    }
}

#[test]
fn only_the_current_backup_takes_keys_and_what_is_no_key_is_refused() {
    let server = TestServer::start();
    let alice = server.register("alice");
    alice.put(&one("!r:x", "s", "1"), key(true, 0, 0, "x")).refused(404, "M_NOT_FOUND");
    let (old, current) = (create(&alice), create(&alice));
    for wrong in [&*old, "99", "x"] {
        let refused = alice.put(&one("!r:x", "s", wrong), key(true, 0, 0, "x"));
        let refused = refused.refused(403, "M_WRONG_ROOM_KEYS_VERSION");
        assert_eq!(refused["current_version"], json!(current));
    }
    let path = one("!r:x", "s", &current);
    let with = |name: &str, value: Value| {
        let mut body = key(true, 0, 0, "x");
        body[name] = value;
        body
    };
    for (body, status, errcode) in [
        (json!({}), 400, "M_BAD_JSON"),
        (with("is_verified", json!("yes")), 400, "M_BAD_JSON"),
        (with("first_message_index", json!(-1)), 400, "M_BAD_JSON"),
        (with("forwarded_count", json!(1.5)), 400, "M_BAD_JSON"),
        (with("session_data", json!("x")), 400, "M_BAD_JSON"),
        (with("session_data", json!({ "x": "y".repeat(20_000) })), 413, "M_TOO_LARGE"),
    ] {
        alice.put(&path, body).refused(status, errcode);
    }
    alice.put(&format!("{KEYS}?version={current}"), json!({ "rooms": [] })).refused(400, "M_BAD_JSON");
    alice.put(&format!("{KEYS}/!r:x?version={current}"), json!({})).refused(400, "M_BAD_JSON");
    alice.put(KEYS, json!({ "rooms": {} })).refused(400, "M_MISSING_PARAM");
    assert_eq!(alice.get(VERSION).ok()["count"], 0);
}

#[test]
fn a_large_backup_comes_whole_and_goes_with_the_account() {
    let server = TestServer::start();
    let alice = server.register("alice");
    let version = create(&alice);
    let text = "x".repeat(800);
    let mut rooms = serde_json::Map::new();
    for room in 0..5 {
        let sessions: serde_json::Map<String, Value> =
            (0..150).map(|n| (format!("s{n:03}"), key(true, n, 0, &text))).collect();
        rooms.insert(format!("!r{room}:x"), json!({ "sessions": sessions }));
    }
    let all = json!({ "rooms": rooms });
    let path = format!("{KEYS}?version={version}");
    assert_eq!(alice.put(&path, all.clone()).ok()["count"], 750);
    assert_eq!(alice.get(&path).ok(), all);
    assert_eq!(alice.get(&format!("{KEYS}/!r3:x?version={version}")).ok(), all["rooms"]["!r3:x"]);
    let session = alice.post("/_matrix/client/v3/account/deactivate", json!({})).body["session"].clone();
    let auth = json!({ "type": "m.login.password", "password": PASSWORD, "session": session,
        "identifier": { "type": "m.id.user", "user": "alice" } });
    alice.post("/_matrix/client/v3/account/deactivate", json!({ "auth": auth })).ok();
    let kept = server.app().store.backup(ruma::user_id!("@alice:localhost"), None);
    assert_eq!(super::support::runtime().block_on(kept).expect("reads"), None);
}
