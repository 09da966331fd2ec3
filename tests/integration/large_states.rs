//! Large answers of other servers, whole states among them, as many at once as they like: together they take no more memory than
//! one should, and what an honest server says meanwhile is taken.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use ruma::{
    CanonicalJsonObject, OwnedEventId, RoomVersionId, room_version_rules::RoomVersionRules,
    signatures::reference_hash,
};
use serde_json::{Value, json};

use super::{
    hostile_peer::Scene,
    peer::Peer,
    shared_room::V3,
    support::{Client, until},
};

const V1: &str = "/_matrix/federation/v1";

/// Rooms in which a state is told at once, and the bytes of each.
const ROOMS: usize = 4;
const JUNK: usize = 6_000_000;

/// What the program may take for that, in MiB.
const MORE: u64 = 40;

/// A room that a user of a peer is in.
struct Room<'a> {
    id: String,
    peer: &'a Peer,
    rules: RoomVersionRules,
    state: BTreeMap<(String, String), OwnedEventId>,
    user: String,
}

impl<'a> Room<'a> {
    fn joined(scene: &Scene, peer: &'a Peer) -> Self {
        let request = json!({ "preset": "public_chat", "room_version": "11" });
        let made = scene.alice.post(&format!("{V3}/createRoom"), request).ok();
        let id = made["room_id"].as_str().expect("an ID").to_owned();
        let rules = RoomVersionId::V11.rules().expect("known");
        let user = format!("@u:{}", peer.name);
        let path = format!("{V1}/make_join/{}/{}?ver=11", encoded(&id), encoded(&user));
        let made = peer.send(&scene.name, &peer.signed(&scene.name, "GET", &path, b"")).ok();
        let (member, join) = peer.event(&rules, made["event"].clone());
        let path = format!("/_matrix/federation/v2/send_join/{}/{}", encoded(&id), encoded(member.as_str()));
        let request = peer.signed(&scene.name, "PUT", &path, join.to_string().as_bytes());
        let answer = peer.send(&scene.name, &request).ok();
        let state = answer["state"].as_array().expect("a list").iter().map(|event| {
            let text = |key: &str| event[key].as_str().expect("text").to_owned();
            ((text("type"), text("state_key")), event_id(&rules, event))
        });
        let mut state: BTreeMap<_, _> = state.collect();
        state.insert(("m.room.member".to_owned(), user.clone()), member);
        Self { id, peer, rules, state, user }
    }

    /// An event of a user whose membership is `member`, after one that nobody here knows.
    fn event(&self, sender: &str, what: Value, member: Option<&OwnedEventId>) -> (OwnedEventId, Value) {
        let mut auth: Vec<&OwnedEventId> = ["m.room.create", "m.room.power_levels"]
            .map(|kind| &self.state[&(kind.to_owned(), String::new())])
            .into();
        auth.push(member.unwrap_or(&self.state[&("m.room.join_rules".to_owned(), String::new())]));
        let unknown = format!("${}", "C".repeat(43));
        let mut event = json!({ "room_id": self.id, "sender": sender, "auth_events": auth,
            "origin_server_ts": 1_700_000_000_000_u64, "depth": 60, "prev_events": [unknown] });
        for (key, value) in what.as_object().expect("an object") {
            event[key] = value.clone();
        }
        self.peer.event(&self.rules, event)
    }

    fn message(&self, sender: &str, member: &OwnedEventId) -> (OwnedEventId, Value) {
        let what = json!({ "type": "m.room.message", "content": { "msgtype": "m.text", "body": "here" } });
        self.event(sender, what, Some(member))
    }
}

fn encoded(id: &str) -> String {
    id.replace('!', "%21").replace('$', "%24").replace('@', "%40").replace(':', "%3A")
}

fn event_id(rules: &RoomVersionRules, event: &Value) -> OwnedEventId {
    let object: CanonicalJsonObject = serde_json::from_value(event.clone()).expect("canonical");
    OwnedEventId::try_from(format!("${}", reference_hash(&object, rules).expect("a hash"))).expect("an ID")
}

#[test]
fn states_that_are_told_in_many_rooms_at_once_take_the_memory_of_none_and_an_honest_one_comes_through() {
    let scene = Scene::start_with(&["rate_limits.enabled=false"]);
    let rooms: Vec<_> = (0..ROOMS).map(|_| Room::joined(&scene, &scene.mallory)).collect();
    let honest = Room::joined(&scene, &scene.honest);
    let nothing = format!("{V1}/get_missing_events/");
    for peer in [&scene.mallory, &scene.honest] {
        peer.says(&nothing, 200, json!({ "events": [] }));
    }
    // One that lies names many events, and tells one of its own, over and over.
    let named: Vec<_> = (0..300).map(|n| format!("${n:A>43}")).collect();
    scene.mallory.says(&format!("{V1}/state_ids/"), 200, json!({ "pdu_ids": named, "auth_chain_ids": [] }));
    let text = "x".repeat(50_000);
    let junk = rooms[0].event(&rooms[0].user, json!({ "type": "m.junk", "content": { "text": text } }), None);
    let junk = json!({ "pdus": vec![junk.1; JUNK / text.len()], "auth_chain": [] });
    scene.mallory.says(&format!("{V1}/state/"), 200, junk);
    // The other one says who joined while nobody here looked.
    let users: Vec<_> = (0..210).map(|n| format!("@u{n}:{}", scene.honest.name)).collect();
    let joins: Vec<_> = users
        .iter()
        .map(|user| {
            let what =
                json!({ "type": "m.room.member", "state_key": user, "content": { "membership": "join" } });
            honest.event(user, what, None)
        })
        .collect();
    let ids: Vec<_> = honest.state.values().chain(joins.iter().map(|(id, _)| id)).cloned().collect();
    scene.honest.says(&format!("{V1}/state_ids/"), 200, json!({ "pdu_ids": ids, "auth_chain_ids": [] }));
    let told: Vec<_> = joins.iter().map(|(_, event)| event.clone()).collect();
    scene.honest.says(&format!("{V1}/state/"), 200, json!({ "pdus": told, "auth_chain": [] }));
    scene.alice.get(&format!("{V3}/sync")).ok();
    let before = scene.memory_kib();
    let done = Arc::new(AtomicBool::new(false));
    let peak = std::thread::scope(|scope| {
        // All in one transaction: those of one server are worked on in turn.
        let events: Vec<_> = rooms
            .iter()
            .map(|room| {
                let member = &room.state[&("m.room.member".to_owned(), room.user.clone())];
                room.message(&room.user, member).1
            })
            .collect();
        let request = scene.mallory.pdus(&scene.name, "junk", &events);
        let (mallory, name) = (&scene.mallory, &scene.name);
        let sending = scope.spawn(move || mallory.send(name, &request));
        let (flag, its_scene) = (Arc::clone(&done), &scene);
        let watching = scope.spawn(move || {
            let mut peak = 0;
            while !flag.load(Ordering::Relaxed) {
                peak = peak.max(its_scene.memory_kib());
                std::thread::sleep(Duration::from_millis(20));
            }
            peak
        });
        let asked = || scene.mallory.heard().iter().filter(|heard| heard.path.contains("/v1/state/")).count();
        until("states come", || asked() > 0);
        let began = Instant::now();
        // By who is in the room as it is now: somebody else would be heard only by the state that they name.
        let member = &honest.state[&("m.room.member".to_owned(), honest.user.clone())];
        let (id, event) = honest.message(&honest.user, member);
        let taken = scene.honest.send(&scene.name, &scene.honest.pdus(&scene.name, "good", &[event])).ok();
        assert_eq!(taken["pdus"], json!({ id.as_str(): {} }), "after {:?}", began.elapsed());
        sending.join().expect("is answered").ok();
        until("all were asked for", || asked() >= ROOMS);
        done.store(true, Ordering::Relaxed);
        watching.join().expect("no panic")
    });
    let more = peak.saturating_sub(before) / 1024;
    assert!(more < MORE, "{more} MiB more");
    let path = format!("{V3}/rooms/{}/joined_members", honest.id);
    until("everybody is there", || {
        let joined = scene.alice.get(&path).ok()["joined"].as_object().map_or(0, serde_json::Map::len);
        joined == users.len() + 2
    });
}

#[test]
fn who_says_much_and_does_not_go_on_keeps_nobody_else_from_being_heard() {
    let scene = Scene::start_with(&["rate_limits.enabled=false"]);
    let others = [scene.another(), scene.another()];
    let directory = "/_matrix/federation/v1/publicRooms";
    // Each is almost a page as large as may be, and they are all that there is room for.
    let much = json!({ "chunk": [], "more": "x".repeat((16 << 20) - 1_000) });
    others.iter().for_each(|peer| peer.says(directory, 1, much.clone()));
    let topic = "t".repeat(1_000);
    let rooms: Vec<_> = (0..400)
        .map(|n| {
            json!({ "room_id": format!("!r{n}:{}", scene.honest.name), "num_joined_members": 1, "topic": topic,
                "world_readable": false, "guest_can_join": false })
        })
        .collect();
    scene.honest.says(directory, 200, json!({ "chunk": rooms }));
    let ask = |client: &Client, peer: &Peer| client.get(&format!("{V3}/publicRooms?server={}", peer.name));
    let before = scene.memory_kib();
    std::thread::scope(|scope| {
        for (client, peer) in [(&scene.alice, &others[0]), (&scene.bob, &others[1])] {
            scope.spawn(move || assert_eq!(ask(client, peer).status, 502));
        }
        until("they say much", || others.iter().all(|peer| !peer.heard().is_empty()));
        until("what they say is held", || scene.memory_kib() > before + (20 << 10));
        let began = Instant::now();
        let told = ask(&scene.alice, &scene.honest).ok();
        assert_eq!(told["chunk"].as_array().map(Vec::len), Some(400));
        assert!(began.elapsed() < Duration::from_secs(10), "after {:?}", began.elapsed());
    });
}
