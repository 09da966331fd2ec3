//! M16: keys for encryption are kept and handed out, so that clients that encrypt do not break.

use ruma::{
    CanonicalJsonObject,
    serde::{Base64, base64::Standard},
    signatures::{Ed25519KeyPair, sign_json},
};
use serde_json::{Value, json};

use crate::support::{Client, PASSWORD, TestServer};

pub const UPLOAD: &str = "/_matrix/client/v3/keys/upload";
pub const QUERY: &str = "/_matrix/client/v3/keys/query";
pub const CLAIM: &str = "/_matrix/client/v3/keys/claim";
pub const CROSS: &str = "/_matrix/client/v3/keys/device_signing/upload";
pub const SIGNATURES: &str = "/_matrix/client/v3/keys/signatures/upload";

pub fn device_keys(client: &Client) -> Value {
    json!({
        "user_id": client.user,
        "device_id": client.device,
        "algorithms": ["m.olm.v1.curve25519-aes-sha2"],
        "keys": { format!("ed25519:{}", client.device): "pub" },
        "signatures": { client.user.as_str(): { format!("ed25519:{}", client.device): "own" } },
    })
}

fn signed_key(by: &Client, key: &str) -> Value {
    json!({ "key": key, "signatures": { by.user.as_str(): { format!("ed25519:{}", by.device): "signed" } } })
}

pub fn fallback_keys(by: &Client) -> Value {
    let mut key = signed_key(by, "f");
    key["fallback"] = true.into();
    json!({ "signed_curve25519:F": key })
}

pub fn one_time_keys(by: &Client, names: std::ops::Range<u32>) -> Value {
    names
        .map(|n| (format!("signed_curve25519:K{n:03}"), signed_key(by, &n.to_string())))
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
    let upload = json!({ "one_time_keys": one_time_keys(&ann, 0..3), "fallback_keys": fallback_keys(&ann) });
    assert_eq!(counts(ann.post(UPLOAD, upload.clone()).ok()), 3);
    assert_eq!(counts(ann.post(UPLOAD, upload).ok()), 3, "a retransmission adds nothing");
    let other = json!({ "one_time_keys": { "signed_curve25519:K001": signed_key(&ann, "other") } });
    ann.post(UPLOAD, other).refused(400, "M_INVALID_PARAM");
    assert_eq!(claim(&ben, &ann), one_time_keys(&ann, 0..1));
    assert_eq!(counts(ann.post(UPLOAD, json!({})).ok()), 2);
    let server = server.restart();
    let ben = server.anonymous().with_token(&json!(ben.token));
    assert_eq!(claim(&ben, &ann), one_time_keys(&ann, 1..2));
    assert_eq!(claim(&ben, &ann), one_time_keys(&ann, 2..3));
    for _ in 0..2 {
        assert_eq!(claim(&ben, &ann), fallback_keys(&ann));
    }
}

#[test]
fn one_time_keys_are_bounded_and_named() {
    let server = TestServer::start();
    let ann = server.register("ann");
    ann.post(UPLOAD, json!({ "one_time_keys": one_time_keys(&ann, 0..250) })).ok();
    ann.post(UPLOAD, json!({ "one_time_keys": one_time_keys(&ann, 250..251) })).refused(413, "M_TOO_LARGE");
    ann.post(UPLOAD, json!({ "one_time_keys": { "nameless": "x" } })).refused(400, "M_INVALID_PARAM");
    let huge = json!({ "one_time_keys": { "a:b": "x".repeat(17_000) } });
    ann.post(UPLOAD, huge).refused(413, "M_TOO_LARGE");
}

#[test]
fn one_key_is_never_claimed_twice_at_once() {
    let server = TestServer::start();
    let (ann, ben) = (server.register("ann"), server.register("ben"));
    ann.post(UPLOAD, json!({ "one_time_keys": one_time_keys(&ann, 0..20) })).ok();
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
fn an_upload_with_one_bad_key_is_refused_and_nothing_of_it_is_kept() {
    let server = TestServer::start();
    let (ann, ben) = (server.register("ann"), server.register("ben"));
    let (empty, own) = (json!({}), format!("ed25519:{}", ann.device));
    let with = |part: &str, value: &Value| {
        let mut keys = device_keys(&ann);
        keys[part] = value.clone();
        json!({ "device_keys": keys })
    };
    let one_time = |name: &str, key: Value| json!({ "device_keys": device_keys(&ann), "one_time_keys": { "curve25519:GOOD": "k", name: key } });
    let fallback = |name: &str, key: Value| json!({ "device_keys": device_keys(&ann), "fallback_keys": { "curve25519:GOOD": "k", name: key } });
    let (of_ben, unsigned) = (signed_key(&ben, "k"), json!({ "key": "k", "signatures": {} }));
    let table = [
        (json!({ "device_keys": null }), "M_BAD_JSON"),
        (json!({ "device_keys": {} }), "M_BAD_JSON"),
        (json!({ "device_keys": device_keys(&ben) }), "M_INVALID_PARAM"),
        (with("algorithms", &json!([])), "M_INVALID_PARAM"),
        (with("keys", &empty), "M_INVALID_PARAM"),
        (with("keys", &json!({ "ed25519:OTHER": "k" })), "M_INVALID_PARAM"),
        (with("signatures", &empty), "M_INVALID_PARAM"),
        (with("signatures", &json!({ ben.user.as_str(): { own.as_str(): "s" } })), "M_INVALID_PARAM"),
        (json!({ "one_time_keys": [] }), "M_BAD_JSON"),
        (json!({ "one_time_keys": { "curve25519:A": 5 } }), "M_BAD_JSON"),
        (one_time("nameless", json!("k")), "M_INVALID_PARAM"),
        (one_time("signed_curve25519:A", json!("k")), "M_INVALID_PARAM"),
        (one_time("signed_curve25519:A", json!({ "key": "k" })), "M_BAD_JSON"),
        (one_time("signed_curve25519:A", unsigned.clone()), "M_INVALID_PARAM"),
        (one_time("signed_curve25519:A", of_ben.clone()), "M_INVALID_PARAM"),
        (json!({ "fallback_keys": "k" }), "M_BAD_JSON"),
        (fallback("signed_curve25519:A", json!(5)), "M_BAD_JSON"),
        (fallback("signed_curve25519:A", unsigned), "M_INVALID_PARAM"),
        (fallback("signed_curve25519:A", of_ben), "M_INVALID_PARAM"),
        (fallback("signed_curve25519:A:B", json!("k")), "M_INVALID_PARAM"),
        (fallback("curve25519:SECOND", json!("k")), "M_INVALID_PARAM"),
    ];
    for (upload, errcode) in table {
        ann.post(UPLOAD, upload).refused(400, errcode);
    }
    let found = ben.post(QUERY, json!({ "device_keys": { ann.user.as_str(): [] } })).ok();
    assert_eq!(found["device_keys"][&ann.user], json!({}));
    let sync = ann.get("/_matrix/client/v3/sync").ok();
    assert_eq!(
        (&sync["device_one_time_keys_count"], &sync["device_unused_fallback_key_types"]),
        (&json!({}), &json!([]))
    );
    // Null is none where Matrix has a key that may be left out.
    ann.post(UPLOAD, json!({ "one_time_keys": null, "fallback_keys": null })).ok();
    ann.post(UPLOAD, one_time("signed_curve25519:A", signed_key(&ann, "k"))).ok();
}

/// A key for cross-signing; it goes by its public part.
pub struct CrossKey {
    pair: Ed25519KeyPair,
    pub public: String,
}

impl CrossKey {
    pub fn new() -> Self {
        let document = Ed25519KeyPair::generate();
        let unnamed = Ed25519KeyPair::from_der(&document, "1".to_owned()).expect("a key");
        let public = Base64::<Standard, _>::new(unnamed.public_key()).encode();
        let pair = Ed25519KeyPair::from_der(&document, public.clone()).expect("a key");
        Self { pair, public }
    }

    /// `object` with the signature of this key, which is `of`.
    pub fn sign(&self, of: &Client, object: &Value) -> Value {
        let mut object: CanonicalJsonObject = serde_json::from_value(object.clone()).expect("an object");
        sign_json(&of.user, &self.pair, &mut object).expect("can be signed");
        serde_json::to_value(object).expect("is JSON")
    }

    /// The key as its user uploads it, without a signature.
    pub fn plain(&self, of: &Client, usage: &str) -> Value {
        let keys = json!({ format!("ed25519:{}", self.public): self.public });
        json!({ "user_id": of.user, "usage": [usage], "keys": keys })
    }
}

/// The cross-signing keys of one user.
pub struct Cross {
    pub master: CrossKey,
    pub own: CrossKey,
    pub users: CrossKey,
}

impl Cross {
    pub fn new() -> Self {
        Self { master: CrossKey::new(), own: CrossKey::new(), users: CrossKey::new() }
    }

    pub fn upload(&self, of: &Client) -> Value {
        json!({
            "master_key": self.master.plain(of, "master"),
            "self_signing_key": self.master.sign(of, &self.own.plain(of, "self_signing")),
            "user_signing_key": self.master.sign(of, &self.users.plain(of, "user_signing")),
        })
    }
}

#[test]
fn cross_signing_keys_come_first_without_and_then_with_the_password() {
    let server = TestServer::start();
    let (ann, ben) = (server.register("ann"), server.register("ben"));
    let keys = Cross::new();
    let first = keys.upload(&ann);
    let with = |part: &str, key: Value| {
        let mut upload = first.clone();
        upload[part] = key;
        upload
    };
    let (own, forged) = (keys.own.plain(&ann, "self_signing"), CrossKey::new());
    let named = json!({ "user_id": ann.user, "usage": ["master"], "keys": { "ed25519:M": "M" } });
    let table = [
        (json!({ "self_signing_key": first["self_signing_key"] }), 400, "M_MISSING_PARAM"),
        (json!({ "master_key": own }), 400, "M_INVALID_PARAM"),
        (json!({ "master_key": named }), 400, "M_INVALID_PARAM"),
        (json!({ "master_key": null }), 400, "M_INVALID_PARAM"),
        (with("self_signing_key", own.clone()), 400, "M_INVALID_SIGNATURE"),
        (with("self_signing_key", forged.sign(&ann, &own)), 400, "M_INVALID_SIGNATURE"),
        (with("self_signing_key", first["user_signing_key"].clone()), 400, "M_INVALID_PARAM"),
        (with("user_signing_key", keys.users.plain(&ann, "user_signing")), 400, "M_INVALID_SIGNATURE"),
    ];
    for (upload, status, errcode) in table {
        ann.post(CROSS, upload).refused(status, errcode);
    }
    ben.post(CROSS, first.clone()).refused(400, "M_INVALID_PARAM");
    let called = json!({
        "type": "m.login.password", "user": "ann", "password": PASSWORD, "device_id": keys.own.public,
    });
    let called_so = server.anonymous().post("/_matrix/client/v3/login", called).ok();
    ann.post(CROSS, first.clone()).refused(403, "M_FORBIDDEN");
    let query = json!({ "device_keys": { ann.user.as_str(): [] } });
    assert_eq!(ann.post(QUERY, query.clone()).ok()["master_keys"], json!({}), "nothing is kept of it");
    let other = server.anonymous().with_token(&called_so["access_token"]);
    other.post("/_matrix/client/v3/logout", json!({})).ok();
    ann.post(CROSS, first.clone()).ok();
    ann.post(CROSS, first.clone()).ok();
    let found = ann.post(QUERY, query).ok();
    assert_eq!(found["user_signing_keys"][&ann.user], first["user_signing_key"]);

    let second = Cross::new().upload(&ann);
    let challenge = ann.post(CROSS, second.clone());
    assert_eq!(
        (challenge.status, &challenge.body["flows"][0]["stages"][0]),
        (401, &json!("m.login.password"))
    );
    let mut second = second;
    second["auth"] = json!({ "type": "m.login.password", "user": "ann", "password": PASSWORD });
    ann.post(CROSS, second).ok();
    // A part that comes later is signed by the master key of then.
    ann.post(CROSS, json!({ "self_signing_key": first["self_signing_key"] }))
        .refused(400, "M_INVALID_SIGNATURE");
}

#[test]
fn of_first_cross_signing_keys_that_come_at_once_one_set_is_taken_without_the_password() {
    let server = TestServer::start_with(|config| config.rate_limits.enabled = false);
    let ann = server.register("ann");
    let uploads: Vec<_> = (0..6).map(|_| Cross::new().upload(&ann)).collect();
    let statuses: Vec<_> = std::thread::scope(|scope| {
        let all: Vec<_> =
            uploads.iter().map(|upload| scope.spawn(|| ann.post(CROSS, upload.clone()).status)).collect();
        all.into_iter().map(|upload| upload.join().expect("is answered")).collect()
    });
    let taken: Vec<_> = (0..6).filter(|n| statuses[*n] == 200).collect();
    assert_eq!(taken.len(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|status| matches!(status, 200 | 401 | 403)), "{statuses:?}");
    let found = ann.post(QUERY, json!({ "device_keys": { ann.user.as_str(): [] } })).ok();
    assert_eq!(found["master_keys"][&ann.user], uploads[taken[0]]["master_key"]);
}

#[test]
fn a_signature_is_kept_where_it_fits_and_seen_by_whom_it_concerns() {
    let server = TestServer::start();
    let (ann, ben) = (server.register("ann"), server.register("ben"));
    let (of_ann, of_ben, stranger) = (Cross::new(), Cross::new(), CrossKey::new());
    for (client, keys) in [(&ann, &of_ann), (&ben, &of_ben)] {
        client.post(UPLOAD, json!({ "device_keys": device_keys(client) })).ok();
        client.post(CROSS, keys.upload(client)).ok();
    }
    let failed = |by: &Client, of: &Client, key: &str, object: Value| {
        let answer = by.post(SIGNATURES, json!({ of.user.as_str(): { key: object } })).ok();
        answer["failures"][&of.user][key]["errcode"].as_str().unwrap_or("none").to_owned()
    };
    let (device, master) = (device_keys(&ann), of_ann.master.plain(&ann, "master"));
    let mut other = device.clone();
    other["keys"][format!("ed25519:{}", ann.device)] = json!("another");
    let (mine, name) = (ann.device.as_str(), of_ann.master.public.as_str());
    let self_signing = of_ann.own.plain(&ann, "self_signing");
    let table = [
        (&ann, "NONE", of_ann.own.sign(&ann, &device), "M_NOT_FOUND"),
        (&ann, mine, device.clone(), "M_INVALID_SIGNATURE"),
        (&ann, mine, stranger.sign(&ann, &device), "M_INVALID_SIGNATURE"),
        (&ann, mine, of_ann.users.sign(&ann, &device), "M_INVALID_SIGNATURE"),
        (&ann, mine, of_ann.own.sign(&ann, &other), "M_INVALID_PARAM"),
        (&ann, name, of_ann.own.sign(&ann, &master), "M_INVALID_SIGNATURE"),
        (&ann, &of_ann.own.public, of_ann.master.sign(&ann, &self_signing), "M_NOT_FOUND"),
        (&ben, mine, of_ben.users.sign(&ben, &device), "M_NOT_FOUND"),
        (&ben, name, of_ben.own.sign(&ben, &master), "M_INVALID_SIGNATURE"),
        (&ben, name, stranger.sign(&ben, &master), "M_INVALID_SIGNATURE"),
    ];
    let query = json!({ "device_keys": { ann.user.as_str(): [] } });
    let before = ann.post(QUERY, query.clone()).ok();
    for (by, key, object, errcode) in table {
        assert_eq!(failed(by, &ann, key, object.clone()), errcode, "{key}: {object}");
    }
    assert_eq!(ann.post(QUERY, query.clone()).ok(), before, "nothing is kept of it");
    for wrong in
        [json!({ ann.user.as_str(): { mine: "signed" } }), json!({ ann.user.as_str(): [] }), json!([])]
    {
        ann.post(SIGNATURES, wrong).refused(400, "M_BAD_JSON");
    }

    assert_eq!(failed(&ann, &ann, mine, of_ann.own.sign(&ann, &device)), "none");
    assert_eq!(failed(&ben, &ann, name, of_ben.users.sign(&ben, &master)), "none");
    let (by_ben, by_ann) = (ben.post(QUERY, query.clone()).ok(), ann.post(QUERY, query).ok());
    let signatures = &by_ben["device_keys"][&ann.user][mine]["signatures"][&ann.user];
    assert!(signatures[format!("ed25519:{}", of_ann.own.public)].is_string(), "{signatures}");
    assert_eq!(signatures[format!("ed25519:{mine}")], "own");
    let by = format!("ed25519:{}", of_ben.users.public);
    assert!(by_ben["master_keys"][&ann.user]["signatures"][&ben.user][&by].is_string());
    assert!(by_ann["master_keys"][&ann.user].get("signatures").is_none(), "seen by its maker only");
    assert!(by_ben["user_signing_keys"].get(&ann.user).is_none());
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
    ann.post(
        UPLOAD,
        json!({ "one_time_keys": one_time_keys(&ann, 0..2), "fallback_keys": fallback_keys(&ann) }),
    )
    .ok();
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
