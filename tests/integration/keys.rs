//! M16: keys for encryption are kept and handed out, so that clients that encrypt do not break.

use serde_json::{Value, json};

use crate::support::{Client, PASSWORD, TestServer};

const UPLOAD: &str = "/_matrix/client/v3/keys/upload";
const QUERY: &str = "/_matrix/client/v3/keys/query";
const CLAIM: &str = "/_matrix/client/v3/keys/claim";
const CROSS: &str = "/_matrix/client/v3/keys/device_signing/upload";

fn device_keys(client: &Client) -> Value {
    json!({
        "user_id": client.user,
        "device_id": client.device,
        "algorithms": ["m.olm.v1.curve25519-aes-sha2"],
        "keys": { format!("ed25519:{}", client.device): "pub" },
        "signatures": { client.user.as_str(): { format!("ed25519:{}", client.device): "own" } },
    })
}

fn one_time_keys(names: std::ops::Range<u32>) -> Value {
    names
        .map(|n| (format!("signed_curve25519:K{n:03}"), json!({ "key": n })))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn claim(by: &Client, of: &Client) -> Value {
    let request =
        json!({ "one_time_keys": { of.user.as_str(): { of.device.as_str(): "signed_curve25519" } } });
    let answer = by.post(CLAIM, request).ok();
    answer["one_time_keys"][&of.user][&of.device].clone()
}

#[test]
fn device_keys_are_found_by_others_and_go_with_the_device() {
    let server = TestServer::start();
    let (ann, ben) = (server.register("ann"), server.register("ben"));
    let phone = server.log_in("ann");
    for device in [&ann, &phone] {
        device.post(UPLOAD, json!({ "device_keys": device_keys(device) })).ok();
    }
    let device = format!("/_matrix/client/v3/devices/{}", phone.device);
    ann.put(&device, json!({ "display_name": "Phone" })).ok();
    let query = json!({ "device_keys": { ann.user.as_str(): [], "@x:elsewhere": [] } });
    let answer = ben.post(QUERY, query.clone()).ok();
    let found = &answer["device_keys"][&ann.user];
    assert_eq!(found[&phone.device]["unsigned"]["device_display_name"], "Phone");
    assert_eq!(found[&phone.device]["keys"], device_keys(&phone)["keys"]);
    assert_eq!(found.as_object().map(serde_json::Map::len), Some(2));
    let one = json!({ "device_keys": { ann.user.as_str(): [ann.device] } });
    assert!(ben.post(QUERY, one).ok()["device_keys"][&ann.user].get(&phone.device).is_none());
    phone.post("/_matrix/client/v3/logout", json!({})).ok();
    assert!(ben.post(QUERY, query).ok()["device_keys"][&ann.user].get(&phone.device).is_none());
    ben.post(UPLOAD, json!({ "device_keys": device_keys(&ann) })).refused(400, "M_INVALID_PARAM");
}

#[test]
fn a_one_time_key_is_handed_out_once_and_the_fallback_key_when_none_is_left() {
    let server = TestServer::start();
    let (ann, ben) = (server.register("ann"), server.register("ben"));
    let counts = |answer: Value| answer["one_time_key_counts"]["signed_curve25519"].clone();
    let fallback = json!({ "signed_curve25519:F": { "key": "f", "fallback": true } });
    let upload = json!({ "one_time_keys": one_time_keys(0..3), "fallback_keys": fallback });
    assert_eq!(counts(ann.post(UPLOAD, upload.clone()).ok()), 3);
    assert_eq!(counts(ann.post(UPLOAD, upload).ok()), 3, "a retransmission adds nothing");
    let other = json!({ "one_time_keys": { "signed_curve25519:K001": { "key": "other" } } });
    ann.post(UPLOAD, other).refused(400, "M_INVALID_PARAM");
    assert_eq!(claim(&ben, &ann), json!({ "signed_curve25519:K000": { "key": 0 } }));
    assert_eq!(counts(ann.post(UPLOAD, json!({})).ok()), 2);
    let server = server.restart();
    let ben = server.anonymous().with_token(&json!(ben.token));
    assert_eq!(claim(&ben, &ann), json!({ "signed_curve25519:K001": { "key": 1 } }));
    assert_eq!(claim(&ben, &ann), json!({ "signed_curve25519:K002": { "key": 2 } }));
    for _ in 0..2 {
        assert_eq!(claim(&ben, &ann), json!({ "signed_curve25519:F": { "key": "f", "fallback": true } }));
    }
}

#[test]
fn one_time_keys_are_bounded_and_named() {
    let server = TestServer::start();
    let ann = server.register("ann");
    ann.post(UPLOAD, json!({ "one_time_keys": one_time_keys(0..250) })).ok();
    ann.post(UPLOAD, json!({ "one_time_keys": one_time_keys(250..251) })).refused(413, "M_TOO_LARGE");
    ann.post(UPLOAD, json!({ "one_time_keys": { "nameless": "x" } })).refused(400, "M_INVALID_PARAM");
    let huge = json!({ "one_time_keys": { "a:b": "x".repeat(17_000) } });
    ann.post(UPLOAD, huge).refused(413, "M_TOO_LARGE");
}

#[test]
fn one_key_is_never_claimed_twice_at_once() {
    let server = TestServer::start();
    let (ann, ben) = (server.register("ann"), server.register("ben"));
    ann.post(UPLOAD, json!({ "one_time_keys": one_time_keys(0..20) })).ok();
    let claims: Vec<_> = (0..20)
        .map(|_| {
            let (ann, ben) = (ann.clone(), ben.clone());
            std::thread::spawn(move || claim(&ben, &ann).to_string())
        })
        .collect();
    let mut keys: Vec<String> = claims.into_iter().map(|claim| claim.join().expect("claims")).collect();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 20);
}

#[test]
fn cross_signing_keys_come_first_without_and_then_with_the_password() {
    let server = TestServer::start();
    let (ann, ben) = (server.register("ann"), server.register("ben"));
    ann.post(UPLOAD, json!({ "device_keys": device_keys(&ann) })).ok();
    let key = |usage: &str, id: &str| json!({ "user_id": ann.user, "usage": [usage], "keys": { format!("ed25519:{id}"): id } });
    let first = json!({
        "master_key": key("master", "M1"),
        "self_signing_key": key("self_signing", "S1"),
        "user_signing_key": key("user_signing", "U1"),
    });
    ann.post(CROSS, json!({ "self_signing_key": key("self_signing", "S1") })).refused(400, "M_MISSING_PARAM");
    ann.post(CROSS, json!({ "master_key": key("self_signing", "M1") })).refused(400, "M_INVALID_PARAM");
    ben.post(CROSS, first.clone()).refused(400, "M_INVALID_PARAM");
    ann.post(CROSS, first.clone()).ok();
    ann.post(CROSS, first).ok();

    let signed = json!({ "signatures": { ann.user.as_str(): { "ed25519:S1": "by S1" } } });
    let upload = json!({ ann.user.as_str(): { ann.device.as_str(): signed, "NONE": signed } });
    let answer = ann.post("/_matrix/client/v3/keys/signatures/upload", upload).ok();
    assert_eq!(answer["failures"][&ann.user]["NONE"]["errcode"], "M_INVALID_SIGNATURE");
    let mine = json!({ "signatures": { ben.user.as_str(): { "ed25519:UB": "by Ben" } } });
    ben.post("/_matrix/client/v3/keys/signatures/upload", json!({ ann.user.as_str(): { "M1": mine } })).ok();

    let query = json!({ "device_keys": { ann.user.as_str(): [] } });
    let (by_ben, by_ann) = (ben.post(QUERY, query.clone()).ok(), ann.post(QUERY, query).ok());
    let signatures = &by_ben["device_keys"][&ann.user][&ann.device]["signatures"][&ann.user];
    assert_eq!(signatures["ed25519:S1"], "by S1");
    assert_eq!(signatures[format!("ed25519:{}", ann.device)], "own");
    assert_eq!(by_ben["master_keys"][&ann.user]["signatures"][&ben.user]["ed25519:UB"], "by Ben");
    assert!(by_ann["master_keys"][&ann.user].get("signatures").is_none(), "seen by its maker only");
    assert!(by_ben["user_signing_keys"].get(&ann.user).is_none());
    assert_eq!(by_ann["user_signing_keys"][&ann.user]["keys"]["ed25519:U1"], "U1");

    let second = json!({ "master_key": key("master", "M2") });
    let challenge = ann.post(CROSS, second.clone());
    assert_eq!(
        (challenge.status, &challenge.body["flows"][0]["stages"][0]),
        (401, &json!("m.login.password"))
    );
    let mut second = second;
    second["auth"] = json!({ "type": "m.login.password", "user": "ann", "password": PASSWORD });
    ann.post(CROSS, second).ok();
}

#[test]
fn those_who_share_a_room_are_told_whose_devices_changed() {
    let server = TestServer::start();
    let (ann, ben, eve) = (server.register("ann"), server.register("ben"), server.register("eve"));
    let room = ann.post("/_matrix/client/v3/createRoom", json!({ "preset": "public_chat" })).ok();
    let room = room["room_id"].as_str().expect("an id").to_owned();
    ben.post(&format!("/_matrix/client/v3/join/{room}"), json!({})).ok();
    let since = server.app().store.log_position();
    ann.post(UPLOAD, json!({ "device_keys": device_keys(&ann) })).ok();
    let changes = format!("/_matrix/client/v3/keys/changes?from=p{since}_0&to=p{}_0", since.get() + 50);
    for (reader, expected) in
        [(&ben, json!(["@ann:localhost"])), (&ann, json!(["@ann:localhost"])), (&eve, json!([]))]
    {
        assert_eq!(reader.get(&changes).ok()["changed"], expected);
    }
    ben.get("/_matrix/client/v3/keys/changes?from=nonsense").refused(400, "M_INVALID_PARAM");
}

#[test]
fn a_sync_tells_of_changed_devices_and_of_the_keys_that_are_left() {
    let server = TestServer::start();
    let (ann, ben) = (server.register("ann"), server.register("ben"));
    let room = ann.post("/_matrix/client/v3/createRoom", json!({ "preset": "public_chat" })).ok();
    let room = room["room_id"].as_str().expect("an id").to_owned();
    let sync = |of: &Client, since: &Value, timeout: u32| {
        let since = since.as_str().map_or(String::new(), |since| format!("&since={since}"));
        of.get(&format!("/_matrix/client/v3/sync?timeout={timeout}{since}")).ok()
    };
    let fallback = json!({ "signed_curve25519:F": { "key": "f", "fallback": true } });
    ann.post(UPLOAD, json!({ "one_time_keys": one_time_keys(0..2), "fallback_keys": fallback })).ok();
    let first = sync(&ann, &Value::Null, 0);
    assert_eq!(first["device_one_time_keys_count"], json!({ "signed_curve25519": 2 }));
    assert_eq!(first["device_unused_fallback_key_types"], json!(["signed_curve25519"]));

    ben.post(&format!("/_matrix/client/v3/join/{room}"), json!({})).ok();
    let joined = sync(&ann, &first["next_batch"], 0);
    assert_eq!(joined["device_lists"]["changed"], json!(["@ben:localhost"]), "shares a room from here on");
    for _ in 0..3 {
        claim(&ben, &ann);
    }
    ben.post(UPLOAD, json!({ "device_keys": device_keys(&ben) })).ok();
    let changed = sync(&ann, &joined["next_batch"], 10_000);
    assert_eq!(changed["device_lists"]["changed"], json!(["@ben:localhost"]));
    assert_eq!(changed["device_one_time_keys_count"], json!({}));
    assert_eq!(changed["device_unused_fallback_key_types"], json!([]));
    assert!(sync(&ann, &changed["next_batch"], 0).get("device_lists").is_none());
}
