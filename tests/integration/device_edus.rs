//! What another server says of its users' devices, as it comes: in order, with gaps, again, wrong, and too much.

use std::time::Duration;

use ruma::{OwnedServerName, RoomVersionId};
use serde_json::{Value, json};

use super::{
    authority::Authority,
    keys::{QUERY, device_keys},
    peer::Peer,
    support::{Client, TestServer, runtime, until},
};

const V3: &str = "/_matrix/client/v3";
const DEVICES: &str = "/_matrix/federation/v1/user/devices/";
const KEYS: &str = "/_matrix/federation/v1/user/keys/";

/// A server with Alice, and another one whose user Rita is in a room with her.
struct Scene {
    name: OwnedServerName,
    _server: TestServer,
    alice: Client,
    peer: Peer,
    rita: String,
    transactions: std::cell::Cell<usize>,
}

impl Scene {
    fn new() -> Self {
        Self::with(Duration::ZERO)
    }

    /// The other server takes so long to answer.
    fn with(delay: Duration) -> Self {
        let ca = Authority::new();
        let (name, server) = ca.trusting_server();
        let (peer, alice) = (Peer::start(&ca, delay), server.register("alice"));
        let rita = format!("@rita:{}", peer.name);
        let room =
            alice.post(&format!("{V3}/createRoom"), json!({ "preset": "public_chat", "room_version": "11" }));
        let room: ruma::OwnedRoomId = serde_json::from_value(room.ok()["room_id"].clone()).expect("an ID");
        let store = &server.app().store;
        let of =
            |kind| runtime().block_on(store.state_event(&room, kind, "")).expect("reads").expect("is there");
        let auth = ["m.room.create", "m.room.power_levels", "m.room.join_rules"]
            .map(|kind| of(kind).event_id.clone());
        let ends = runtime().block_on(store.extremities(&room)).expect("reads");
        let ends: Vec<_> = ends.into_iter().map(|end| end.event_id).collect();
        let join = json!({ "type": "m.room.member", "room_id": room, "sender": rita, "state_key": rita,
            "content": { "membership": "join" }, "origin_server_ts": 1_700_000_000_000_u64, "depth": 50,
            "prev_events": ends, "auth_events": auth });
        let (id, join) = peer.event(&RoomVersionId::V11.rules().expect("known"), join);
        let answer = peer.send(&name, &peer.pdus(&name, "join", &[join])).ok();
        assert_eq!(answer["pdus"], json!({ id.as_str(): {} }));
        Self { name, _server: server, alice, peer, rita, transactions: std::cell::Cell::default() }
    }

    /// The keys of a device of Rita's.
    fn keys(&self, device: &str) -> Value {
        let rita = Client { user: self.rita.clone(), device: device.to_owned(), ..self.alice.clone() };
        device_keys(&rita)
    }

    /// Rita's server says from here on that these are her devices.
    fn has(&self, stream_id: i64, devices: &[&str]) {
        let devices: Vec<_> =
            devices.iter().map(|id| json!({ "device_id": id, "keys": self.keys(id) })).collect();
        let list = json!({ "user_id": self.rita, "stream_id": stream_id, "devices": devices });
        self.peer.says(DEVICES, 200, list);
    }

    fn send(&self, edus: &[Value]) {
        self.transactions.set(self.transactions.get() + 1);
        let id = self.transactions.get().to_string();
        self.peer.send(&self.name, &self.peer.transaction(&self.name, &id, edus)).ok();
    }

    /// A device of Rita's is new.
    fn update(&self, device: &str, stream_id: i64, previous: &[i64]) -> Value {
        json!({ "edu_type": "m.device_list_update", "content": {
            "user_id": self.rita, "device_id": device, "stream_id": stream_id, "prev_id": previous,
            "keys": self.keys(device), "device_display_name": "Rita's",
        } })
    }

    /// How often her server was asked for all of them.
    fn asked(&self) -> usize {
        self.peer.heard().iter().filter(|heard| heard.path.starts_with(DEVICES)).count()
    }

    /// What Alice finds.
    fn found(&self) -> Vec<String> {
        let found = self.alice.post(QUERY, json!({ "device_keys": { self.rita.as_str(): [] } })).ok();
        let devices = found["device_keys"][&self.rita].as_object();
        devices.map_or_else(Vec::new, |devices| devices.keys().cloned().collect())
    }

    fn now(&self) -> String {
        self.alice.get(&format!("{V3}/sync?timeout=0")).ok()["next_batch"]
            .as_str()
            .expect("a token")
            .to_owned()
    }

    /// Whether Alice is told to look again, after a position.
    fn is_told(&self, since: &str) -> bool {
        let answer = self.alice.get(&format!("{V3}/sync?timeout=0&since={since}")).ok();
        answer["device_lists"]["changed"].as_array().is_some_and(|users| users.contains(&json!(self.rita)))
    }
}

#[test]
fn changes_in_order_are_taken_over_and_a_gap_has_all_be_asked_for() {
    let scene = Scene::new();
    scene.has(5, &["ONE"]);
    assert_eq!((scene.found(), scene.found()), (vec!["ONE".to_owned()], vec!["ONE".to_owned()]));
    assert_eq!(scene.asked(), 1);

    let since = scene.now();
    scene.send(&[scene.update("TWO", 6, &[5]), scene.update("THREE", 7, &[6])]);
    assert!(scene.is_told(&since));
    assert_eq!(
        (scene.found(), scene.asked()),
        (vec!["ONE".to_owned(), "THREE".to_owned(), "TWO".to_owned()], 1)
    );
    let gone = json!({ "edu_type": "m.device_list_update", "content": {
        "user_id": scene.rita, "device_id": "TWO", "stream_id": 8, "prev_id": [7], "deleted": true } });
    scene.send(&[gone]);
    assert_eq!((scene.found(), scene.asked()), (vec!["ONE".to_owned(), "THREE".to_owned()], 1));

    // The same again is no news; what comes after something that did not is.
    let since = scene.now();
    scene.send(&[scene.update("TWO", 8, &[7])]);
    assert!(!scene.is_told(&since));
    let mut asked = 1;
    for (stream_id, previous, then) in
        [(10, &[9_i64][..], 10), (11, &[], 11), (3, &[2], 3), (12, &[3, 11], 12)]
    {
        scene.has(then, &["ONE", &format!("AT{then}")]);
        let since = scene.now();
        scene.send(&[scene.update("LOST", stream_id, previous)]);
        asked += 1;
        until("all are asked for, without a client that wants them", || scene.asked() == asked);
        until("Alice is told", || scene.is_told(&since));
        let mut expected = vec!["ONE".to_owned(), format!("AT{then}")];
        expected.sort();
        assert_eq!((scene.found(), scene.asked()), (expected, asked), "{stream_id}");
    }
    scene.send(&[scene.update("MORE", 13, &[12])]);
    assert_eq!((scene.found().len(), scene.asked()), (3, asked), "and it goes on from there");
}

#[test]
fn cross_signing_keys_are_taken_over_as_their_server_says_them() {
    let scene = Scene::new();
    scene.has(5, &["ONE"]);
    scene.found();
    let public = "XGX0JRS2Af3be3knz2fBiRbApjm2Dh61gXDJA8kcJNI";
    let key = |user: &str, usage: &str| {
        json!({ "user_id": user, "usage": [usage],
        "keys": { format!("ed25519:{public}"): public } })
    };
    let update = |user: &str, master: Value| {
        json!({ "edu_type": "m.signing_key_update",
        "content": { "user_id": user, "master_key": master } })
    };
    let since = scene.now();
    scene.send(&[
        update(&scene.rita, key(&scene.rita, "self_signing")),
        update(&scene.rita, key(&scene.alice.user, "master")),
        update(&scene.alice.user, key(&scene.alice.user, "master")),
        update(&scene.rita, json!(5)),
    ]);
    assert!(!scene.is_told(&since), "none of these");
    scene.send(&[update(&scene.rita, key(&scene.rita, "master"))]);
    assert!(scene.is_told(&since));
    let wanted = json!({ "device_keys": { scene.rita.as_str(): [], scene.alice.user.as_str(): [] } });
    let found = scene.alice.post(QUERY, wanted).ok();
    assert_eq!(found["master_keys"], json!({ scene.rita.as_str(): key(&scene.rita, "master") }));
    assert_eq!(scene.asked(), 1);
}

#[test]
fn what_is_not_for_a_server_to_say_of_devices_changes_nothing_and_costs_no_request() {
    let scene = Scene::new();
    scene.has(5, &["ONE"]);
    scene.found();
    let since = scene.now();
    let with = |change: &dyn Fn(&mut Value)| {
        let mut edu = scene.update("BAD", 6, &[5]);
        change(&mut edu["content"]);
        edu
    };
    let stranger = format!("@stranger:{}", scene.peer.name);
    let edus = [
        with(&|c| c["user_id"] = json!(scene.alice.user)),
        with(&|c| c["user_id"] = json!("@rita:elsewhere.example")),
        with(&|c| c["user_id"] = json!("rita")),
        with(&|c| c["user_id"] = json!(stranger)),
        with(&|c| c["device_id"] = json!("")),
        with(&|c| c["device_id"] = json!("OTHER")),
        with(&|c| c["device_id"] = json!("x".repeat(300))),
        with(&|c| c["stream_id"] = json!("six")),
        with(&|c| c["stream_id"] = json!(null)),
        with(&|c| c["prev_id"] = json!("5")),
        with(&|c| c["prev_id"] = json!((0..200).collect::<Vec<_>>())),
        with(&|c| c["keys"] = json!([])),
        with(&|c| c["keys"]["user_id"] = json!(scene.alice.user)),
        with(&|c| c["keys"]["more"] = json!("x".repeat(20_000))),
        json!({ "edu_type": "m.device_list_update", "content": [] }),
    ];
    scene.send(&edus);
    assert!(!scene.is_told(&since));
    assert_eq!((scene.found(), scene.asked()), (vec!["ONE".to_owned()], 1));
    scene.send(&[scene.update("TWO", 6, &[5])]);
    assert_eq!(scene.found().len(), 2, "the list goes on where it was");
}

#[test]
fn a_server_that_says_no_end_of_changes_is_asked_now_and_then() {
    let scene = Scene::with(Duration::from_millis(100));
    scene.has(5, &["ONE"]);
    scene.found();
    for transaction in 0..20 {
        let edus: Vec<_> =
            (0..100).map(|n| scene.update(&format!("D{n}"), 100_000 - transaction * 100 - n, &[1])).collect();
        scene.send(&edus);
    }
    assert_eq!(scene.found(), ["ONE"]);
    assert!(scene.asked() <= 1 + 20 + 1, "{} requests for 2,000 changes", scene.asked());
}

#[test]
fn of_a_user_with_too_many_devices_none_is_known_and_others_are_not_affected() {
    let scene = Scene::new();
    let devices: Vec<_> = (0..1_001).map(|n| format!("D{n}")).collect();
    scene.has(5, &devices.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(scene.found(), Vec::<String>::new());
    scene.has(6, &devices.iter().map(String::as_str).take(1_000).collect::<Vec<_>>());
    scene.send(&[scene.update("D1", 6, &[4])]);
    until("they are asked for", || scene.asked() == 2);
    until("they are known", || scene.found().len() == 1_000);
}

#[test]
fn answers_that_are_wrong_slow_or_huge_are_failures_and_what_is_not_asked_for_is_left_out() {
    let scene = Scene::new();
    let (alice, peer) = (&scene.alice, &scene.peer);
    let stranger = format!("@stranger:{}", peer.name);
    let server = peer.name.as_str();
    let keys = |user: &str, device: &str| {
        device_keys(&Client { user: user.to_owned(), device: device.to_owned(), ..alice.clone() })
    };
    peer.says(&format!("{KEYS}query"), 200, json!({
        "device_keys": {
            stranger.as_str(): { "GOOD": keys(&stranger, "GOOD"), "OTHERS": keys(&alice.user, "OTHERS"), "NAMED": keys(&stranger, "ELSE") },
            alice.user.as_str(): { "FORGED": keys(&alice.user, "FORGED") },
        },
        "master_keys": { alice.user.as_str(): {}, stranger.as_str(): { "user_id": stranger } },
    }));
    let query = json!({ "device_keys": { stranger.as_str(): [], alice.user.as_str(): [] } });
    let found = alice.post(QUERY, query.clone()).ok();
    assert_eq!(found["failures"], json!({}));
    let names: Vec<_> = found["device_keys"][&stranger].as_object().expect("devices").keys().collect();
    assert_eq!(names, ["GOOD"]);
    assert_eq!(found["device_keys"][&alice.user], json!({}));
    assert_eq!(found["master_keys"], json!({}));

    let claim = format!("{V3}/keys/claim");
    let wanted = json!({ "one_time_keys": { stranger.as_str(): { "GOOD": "signed_curve25519" } } });
    let one = |name: &str| json!({ name: { "key": "k" } });
    for (answer, taken) in [
        (json!({ stranger.as_str(): { "GOOD": one("signed_curve25519:A") } }), true),
        (json!({ stranger.as_str(): { "GOOD": one("curve25519:A") } }), false),
        (json!({ stranger.as_str(): { "OTHER": one("signed_curve25519:A") } }), false),
        (json!({ alice.user.as_str(): { "GOOD": one("signed_curve25519:A") } }), false),
        (
            json!({ stranger.as_str(): { "GOOD": { "signed_curve25519:A": {}, "signed_curve25519:B": {} } } }),
            false,
        ),
        (json!({ stranger.as_str(): { "GOOD": { "signed_curve25519:A": 5 } } }), false),
    ] {
        peer.says(&format!("{KEYS}claim"), 200, json!({ "one_time_keys": answer }));
        let found = alice.post(&claim, wanted.clone()).ok();
        let expected = if taken { answer.clone() } else { json!({}) };
        assert_eq!((&found["one_time_keys"], &found["failures"]), (&expected, &json!({})));
    }
    for (status, answer) in [
        (200, json!("no object")),
        (200, json!({ "one_time_keys": [], "device_keys": [] })),
        (500, json!({ "errcode": "M_UNKNOWN" })),
        (200, json!({ "one_time_keys": {}, "device_keys": {}, "of": "x".repeat(5 << 20) })),
    ] {
        peer.says(KEYS, status, answer);
        let found = alice.post(QUERY, query.clone()).ok();
        assert!(
            found["failures"][server].is_object() && found["device_keys"].get(&stranger).is_none(),
            "{status}"
        );
        assert!(found["device_keys"][&alice.user].is_object());
        assert!(alice.post(&claim, wanted.clone()).ok()["failures"][server].is_object(), "{status}");
        scene.send(&[]);
    }
}

#[test]
fn a_server_that_never_answers_costs_who_asks_no_more_time_than_they_give_it() {
    let ca = Authority::new();
    let (_name, server) = ca.trusting_server();
    let (silent, alice) = (Peer::start(&ca, Duration::from_secs(600)), server.register("alice"));
    let wanted = json!({ "device_keys": { format!("@a:{}", silent.name): [], alice.user.as_str(): [] }, "timeout": 300 });
    let begun = std::time::Instant::now();
    let found = alice.post(QUERY, wanted).ok();
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    assert!(
        found["failures"][silent.name.as_str()].is_object() && found["device_keys"][&alice.user].is_object()
    );
}
