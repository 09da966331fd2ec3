//! Users of another server come into rooms here, leave them, knock, and are told of them: what that server is answered,
//! byte for byte as it asks.

use std::time::Duration;

use ruma::{OwnedEventId, OwnedServerName, RoomVersionId, room_version_rules::RoomVersionRules};
use serde_json::{Value, json};

use super::{
    authority::Authority,
    peer::Peer,
    support::{Answer, Client, TestServer},
};

const V3: &str = "/_matrix/client/v3";
const V1: &str = "/_matrix/federation/v1";
const V2: &str = "/_matrix/federation/v2";

/// This server with Alice, and another one of which the test decides every byte, with Rita.
struct Scene {
    name: OwnedServerName,
    server: TestServer,
    alice: Client,
    peer: Peer,
    rita: String,
}

impl Scene {
    fn new() -> Self {
        let ca = Authority::new();
        let (name, server) = ca.trusting_server();
        let peer = Peer::start(&ca, Duration::ZERO);
        let alice = server.register("alice");
        let rita = format!("@rita:{}", peer.name);
        Self { name, server, alice, peer, rita }
    }

    fn room(&self, mut request: Value) -> String {
        if request.get("preset").is_none() {
            request["preset"] = "public_chat".into();
        }
        let made = self.alice.post(&format!("{V3}/createRoom"), request).ok();
        made["room_id"].as_str().expect("an ID").to_owned()
    }

    fn ask(&self, method: &'static str, path: &str, body: &Value) -> Answer {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        self.peer.send(&self.name, &self.peer.signed(&self.name, method, path, &body))
    }

    fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &Value::Null)
    }

    /// What `make_join` and the like answer about Rita.
    fn make(&self, what: &str, room: &str, versions: &str) -> Answer {
        self.get(&format!("{V1}/make_{what}/{}/{}?{versions}", encoded(room), encoded(&self.rita)))
    }

    /// What the template of such an answer becomes when Rita's server signs it.
    fn signed(&self, made: &Value) -> (OwnedEventId, Value) {
        self.peer.event(&rules(made), made["event"].clone())
    }

    fn send(&self, version: &str, what: &str, room: &str, (id, event): &(OwnedEventId, Value)) -> Answer {
        let path = format!("{version}/send_{what}/{}/{}", encoded(room), encoded(id.as_str()));
        self.ask("PUT", &path, event)
    }

    /// Brings Rita into a room; answers with what her server is told of it.
    fn join(&self, room: &str) -> (OwnedEventId, Value) {
        let made = self.make("join", room, ALL).ok();
        let signed = self.signed(&made);
        let answer = self.send(V2, "join", room, &signed).ok();
        (signed.0, answer)
    }

    fn membership(&self, room: &str, user: &str) -> Value {
        let answer = self.alice.get(&format!("{V3}/rooms/{room}/state/m.room.member/{user}"));
        answer.body["membership"].clone()
    }

    fn say(&self, room: &str, transaction: &str) -> String {
        let path = format!("{V3}/rooms/{room}/send/m.room.message/{transaction}");
        let sent = self.alice.put(&path, json!({ "msgtype": "m.text", "body": transaction })).ok();
        sent["event_id"].as_str().expect("an ID").to_owned()
    }
}

const ALL: &str = "ver=1&ver=2&ver=3&ver=4&ver=5&ver=6&ver=7&ver=8&ver=9&ver=10&ver=11&ver=12";

fn rules(made: &Value) -> RoomVersionRules {
    let version: RoomVersionId = serde_json::from_value(made["room_version"].clone()).expect("a version");
    version.rules().expect("a known version")
}

fn encoded(id: &str) -> String {
    id.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

fn kinds(events: &Value) -> Vec<&str> {
    let mut kinds: Vec<_> =
        events.as_array().expect("a list").iter().map(|e| e["type"].as_str().expect("a type")).collect();
    kinds.sort_unstable();
    kinds
}

#[test]
fn a_user_of_another_server_joins_and_leaves_rooms_of_every_version_by_either_version_of_the_endpoints() {
    let scene = Scene::new();
    for version in 3..=12 {
        let room = scene.room(json!({ "room_version": version.to_string() }));
        let made = scene.make("join", &room, ALL).ok();
        assert_eq!(made["room_version"], version.to_string());
        let event = &made["event"];
        let said = ["type", "state_key", "sender", "room_id"].map(|key| event[key].as_str().expect("a text"));
        assert_eq!(said, ["m.room.member", &scene.rita, &scene.rita, &room], "{version}");
        assert_eq!(event["content"], json!({ "membership": "join" }));
        assert_eq!(event["origin"], scene.name.as_str());
        let signed = scene.signed(&made);
        let answer = scene.send(V2, "join", &room, &signed).ok();
        assert_eq!(answer["origin"], scene.name.as_str());
        assert_eq!(answer["members_omitted"], false);
        assert_eq!(answer["event"]["hashes"], signed.1["hashes"], "{version}");
        // The state before the join; what allows it is in the auth chain, whatever else is.
        let state = kinds(&answer["state"]);
        assert!(state.contains(&"m.room.join_rules") && state.contains(&"m.room.power_levels"), "{state:?}");
        assert_eq!(state.iter().filter(|kind| **kind == "m.room.member").count(), 1, "{version}");
        assert!(kinds(&answer["auth_chain"]).contains(&"m.room.create"), "{version}");
        assert_eq!(scene.membership(&room, &scene.rita), "join");
        // The same once more is answered alike, and changes nothing.
        assert_eq!(scene.send(V2, "join", &room, &signed).ok()["state"], answer["state"], "{version}");

        let made = scene.make("leave", &room, "").ok();
        assert_eq!(made["room_version"], version.to_string());
        assert_eq!(scene.send(V2, "leave", &room, &scene.signed(&made)).ok(), json!({}));
        assert_eq!(scene.membership(&room, &scene.rita), "leave");
        // And again, as servers of old do.
        let signed = scene.signed(&scene.make("join", &room, ALL).ok());
        let answer = scene.send(V1, "join", &room, &signed).ok();
        assert_eq!(
            (answer[0].clone(), answer[1]["origin"].as_str()),
            (json!(200), Some(scene.name.as_str()))
        );
        let signed = scene.signed(&scene.make("leave", &room, "").ok());
        assert_eq!(scene.send(V1, "leave", &room, &signed).ok(), json!([200, {}]));
    }
}

#[test]
fn who_may_not_come_in_is_told_why_in_the_words_of_the_specification() {
    let scene = Scene::new();
    let open = scene.room(json!({}));
    let shut = scene.room(json!({ "preset": "private_chat" }));
    let banned = scene.room(json!({}));
    scene.alice.post(&format!("{V3}/rooms/{banned}/ban"), json!({ "user_id": scene.rita })).ok();
    let keeps_out = scene.room(json!({ "initial_state": [{ "type": "m.room.server_acl", "state_key": "",
        "content": { "allow": ["*"], "deny": ["localhost"] } }] }));
    let left = scene.room(json!({}));
    scene.alice.post(&format!("{V3}/rooms/{left}/leave"), json!({})).ok();
    let old = scene.make("join", &open, "ver=1&ver=2").refused(400, "M_INCOMPATIBLE_ROOM_VERSION");
    assert_eq!(old["room_version"], "12");
    // Who says nothing has rooms of the first version only.
    scene.make("join", &open, "").refused(400, "M_INCOMPATIBLE_ROOM_VERSION");
    scene.make("join", "!none:x", ALL).refused(404, "M_NOT_FOUND");
    scene.make("join", &left, ALL).refused(404, "M_NOT_FOUND");
    scene.make("join", &shut, ALL).refused(403, "M_FORBIDDEN");
    scene.make("join", &banned, ALL).refused(403, "M_FORBIDDEN");
    scene.make("join", &keeps_out, ALL).refused(403, "M_FORBIDDEN");
    scene.make("leave", &open, "").refused(403, "M_FORBIDDEN");
    scene.make("knock", &open, ALL).refused(403, "M_FORBIDDEN");
    let alice = scene.alice.user.as_str();
    let other = format!("{V1}/make_join/{}/{}?{ALL}", encoded(&open), encoded(alice));
    scene.get(&other).refused(403, "M_FORBIDDEN");
}

#[test]
fn no_other_event_comes_in_by_the_endpoints_for_members() {
    let scene = Scene::new();
    let room = scene.room(json!({}));
    let made = scene.make("join", &room, ALL).ok();
    let change = |change: &dyn Fn(&mut Value)| {
        let mut event = made["event"].clone();
        change(&mut event);
        scene.peer.event(&rules(&made), event)
    };
    let bad: [(&str, u16, (OwnedEventId, Value)); 6] = [
        ("M_BAD_JSON", 400, change(&|e| e["type"] = "m.room.message".into())),
        ("M_BAD_JSON", 400, change(&|e| e["content"]["membership"] = "leave".into())),
        ("M_BAD_JSON", 400, change(&|e| drop(e.as_object_mut().expect("an object").remove("state_key")))),
        ("M_BAD_JSON", 400, change(&|e| e["state_key"] = "@other:x".into())),
        (
            "M_FORBIDDEN",
            403,
            change(&|e| {
                e["sender"] = "@other:x".into();
                e["state_key"] = "@other:x".into();
            }),
        ),
        ("M_BAD_JSON", 400, change(&|e| e["room_id"] = "!other:x".into())),
    ];
    for (errcode, status, event) in &bad {
        scene.send(V2, "join", &room, event).refused(*status, errcode);
        scene.send(V1, "join", &room, event).refused(*status, errcode);
    }
    let good = scene.signed(&made);
    let (id, mut forged) = good.clone();
    forged["signatures"][scene.peer.name.as_str()]["ed25519:1"] = "A".repeat(86).into();
    scene.send(V2, "join", &room, &(id, forged)).refused(403, "M_FORBIDDEN");
    let elsewhere = OwnedEventId::try_from("$other").expect("an ID");
    scene.send(V2, "join", &room, &(elsewhere, good.1.clone())).refused(400, "M_INVALID_PARAM");
    scene.send(V2, "leave", &room, &good).refused(400, "M_BAD_JSON");
    scene.send(V1, "knock", &room, &good).refused(400, "M_BAD_JSON");
    assert_eq!(scene.membership(&room, &scene.rita), Value::Null, "none of it had an effect");
    scene.send(V2, "join", &room, &good).ok();
}

#[test]
fn a_restricted_room_is_vouched_for_by_who_may_invite_and_by_nobody_else() {
    let scene = Scene::new();
    for version in ["8", "9", "10", "11", "12"] {
        let club = scene.room(json!({ "room_version": version }));
        let allow = |room: &str| {
            json!({ "room_version": version, "preset": "private_chat", "initial_state": [{
                "type": "m.room.join_rules", "state_key": "",
                "content": { "join_rule": "restricted", "allow": [{ "type": "m.room_membership", "room_id": room }] },
            }] })
        };
        let room = scene.room(allow(&club));
        let unknown = scene.room(allow("!elsewhere:x"));
        scene.make("join", &room, ALL).refused(403, "M_FORBIDDEN");
        scene.make("join", &unknown, ALL).refused(400, "M_UNABLE_TO_AUTHORISE_JOIN");
        scene.join(&club);
        let made = scene.make("join", &room, ALL).ok();
        let alice = scene.alice.user.as_str();
        assert_eq!(made["event"]["content"]["join_authorised_via_users_server"], alice, "{version}");
        let (id, event) = scene.signed(&made);
        let answer = scene.send(V2, "join", &room, &(id, event)).ok();
        let signatures = answer["event"]["signatures"].as_object().expect("an object");
        assert!(
            signatures.contains_key(scene.name.as_str()) && signatures.contains_key(scene.peer.name.as_str())
        );
        assert_eq!(scene.membership(&room, &scene.rita), "join", "{version}");
    }
}

#[test]
fn somebody_who_knocks_is_told_what_the_room_shows_of_itself() {
    let scene = Scene::new();
    let rule = json!({ "type": "m.room.join_rules", "state_key": "", "content": { "join_rule": "knock" } });
    let room = scene.room(json!({ "preset": "private_chat", "name": "Knock", "initial_state": [rule] }));
    let signed = scene.signed(&scene.make("knock", &room, ALL).ok());
    let answer = scene.send(V1, "knock", &room, &signed).ok();
    let shown = kinds(&answer["knock_room_state"]);
    assert!(shown.contains(&"m.room.name") && shown.contains(&"m.room.create"), "{shown:?}");
    let first = &answer["knock_room_state"][0];
    assert_eq!(first["type"], "m.room.create");
    let mut whole = answer["knock_room_state"].as_array().expect("events").iter();
    assert!(whole.all(|event| event["signatures"].is_object()), "{answer}");
    assert_eq!(scene.membership(&room, &scene.rita), "knock");
    scene.make("join", &room, ALL).refused(403, "M_FORBIDDEN");
    // Taken back.
    let signed = scene.signed(&scene.make("leave", &room, "").ok());
    scene.send(V2, "leave", &room, &signed).ok();
    assert_eq!(scene.membership(&room, &scene.rita), "leave");
}

#[test]
fn what_was_refused_is_refused_when_it_is_sent_again() {
    let scene = Scene::new();
    let rule = json!({ "type": "m.room.join_rules", "state_key": "", "content": { "join_rule": "knock" } });
    let room = scene.room(json!({ "preset": "private_chat", "name": "Knock", "initial_state": [rule] }));
    let knock = scene.signed(&scene.make("knock", &room, ALL).ok());
    let set = |rule: &str| {
        let path = format!("{V3}/rooms/{room}/state/m.room.join_rules/");
        scene.alice.put(&path, json!({ "join_rule": rule })).ok();
    };
    set("invite");
    for _ in 0..2 {
        scene.send(V1, "knock", &room, &knock).refused(403, "M_FORBIDDEN");
    }
    set("public");
    let join = scene.signed(&scene.make("join", &room, ALL).ok());
    set("invite");
    for version in [V2, V1, V2] {
        scene.send(version, "join", &room, &join).refused(403, "M_FORBIDDEN");
    }
    // A knock that was taken is so again, as long as it is one.
    set("knock");
    let knock = scene.signed(&scene.make("knock", &room, ALL).ok());
    for _ in 0..2 {
        assert!(scene.send(V1, "knock", &room, &knock).ok()["knock_room_state"].is_array());
    }
    scene.alice.post(&format!("{V3}/rooms/{room}/ban"), json!({ "user_id": scene.rita })).ok();
    scene.send(V1, "knock", &room, &knock).refused(403, "M_FORBIDDEN");
}

#[test]
fn nobody_is_asked_for_what_an_event_by_these_endpoints_names() {
    let scene = Scene::new();
    let room = scene.room(json!({}));
    for what in ["join", "knock", "leave"] {
        let mut made = scene.make("join", &room, ALL).ok();
        made["event"]["content"]["membership"] = what.into();
        made["event"]["prev_events"] = json!(["$unknown"]);
        let version = if what == "knock" { V1 } else { V2 };
        scene.send(version, what, &room, &scene.signed(&made)).refused(403, "M_FORBIDDEN");
    }
    let asked: Vec<String> = scene.peer.heard().into_iter().map(|heard| heard.path).collect();
    let of_events = ["/event", "/state", "/get_missing_events", "/backfill"];
    assert!(!asked.iter().any(|path| of_events.iter().any(|part| path.contains(part))), "{asked:?}");
}

#[test]
fn who_is_in_a_room_reads_its_graph_and_who_is_not_reads_nothing() {
    let scene = Scene::new();
    let room = scene.room(json!({ "room_version": "11" }));
    let said: Vec<String> = (0..5).map(|n| scene.say(&room, &n.to_string())).collect();
    let paths = [
        format!("{V1}/event/{}", encoded(&said[0])),
        format!("{V1}/state/{}?event_id={}", encoded(&room), encoded(&said[0])),
        format!("{V1}/state_ids/{}?event_id={}", encoded(&room), encoded(&said[0])),
        format!("{V1}/event_auth/{}/{}", encoded(&room), encoded(&said[0])),
        format!("{V1}/backfill/{}?limit=10&v={}", encoded(&room), encoded(&said[4])),
        format!("{V1}/timestamp_to_event/{}?ts=0&dir=f", encoded(&room)),
    ];
    let missing = |latest: &str, earliest: &str| {
        let body =
            json!({ "latest_events": [latest], "earliest_events": [earliest], "limit": 10, "min_depth": 0 });
        scene.ask("POST", &format!("{V1}/get_missing_events/{}", encoded(&room)), &body)
    };
    for path in &paths {
        scene.get(path).refused(403, "M_FORBIDDEN");
    }
    missing(&said[4], &said[0]).refused(403, "M_FORBIDDEN");
    let (join, _) = scene.join(&room);
    let [event, state, state_ids, auth, backfill, near] = paths.each_ref().map(|path| scene.get(path).ok());
    assert_eq!(event["pdus"][0]["content"]["body"], "0");
    assert_eq!(
        (event["origin"].as_str(), event["pdus"].as_array().map(Vec::len)),
        (Some(scene.name.as_str()), Some(1))
    );
    assert_eq!(state["pdus"].as_array().map(Vec::len), state_ids["pdu_ids"].as_array().map(Vec::len));
    assert_eq!(
        state["auth_chain"].as_array().map(Vec::len),
        state_ids["auth_chain_ids"].as_array().map(Vec::len)
    );
    assert!(kinds(&state["pdus"]).contains(&"m.room.power_levels"));
    assert_eq!(kinds(&auth["auth_chain"]), ["m.room.create", "m.room.member", "m.room.power_levels"]);
    let bodies: Vec<_> =
        backfill["pdus"].as_array().expect("a list").iter().map(|e| e["content"]["body"].clone()).collect();
    assert_eq!(&bodies[..5], ["4", "3", "2", "1", "0"]);
    assert_eq!(bodies.len(), 10);
    assert!(near["event_id"].is_string() && near["origin_server_ts"].is_u64(), "{near}");
    let between = missing(&said[4], &said[0]).ok();
    let bodies: Vec<_> =
        between["events"].as_array().expect("a list").iter().map(|e| e["content"]["body"].clone()).collect();
    assert_eq!(bodies, ["1", "2", "3"]);
    assert_eq!(missing(join.as_str(), &said[4]).ok(), json!({ "events": [] }));
    // Who says nothing of what it wants is answered nothing.
    let nothing = scene.ask("POST", &format!("{V1}/get_missing_events/{}", encoded(&room)), &json!({}));
    assert_eq!(nothing.ok(), json!({ "events": [] }));
    scene.get(&format!("{V1}/event/$nothing")).refused(404, "M_NOT_FOUND");
    scene.get(&format!("{V1}/state/{}", encoded(&room))).refused(400, "M_MISSING_PARAM");
    scene.get(&format!("{V1}/state/{}?event_id=$nothing", encoded(&room))).refused(404, "M_NOT_FOUND");
    scene
        .get(&format!("{V1}/backfill/{}?v={}", encoded(&room), encoded(&said[4])))
        .refused(400, "M_MISSING_PARAM");
}

#[test]
fn what_a_server_may_not_see_comes_without_its_content() {
    let scene = Scene::new();
    // Of what was sent before anybody of the server was there.
    for (visibility, is_seen) in
        [("world_readable", true), ("shared", true), ("invited", false), ("joined", false)]
    {
        let setting = json!({ "type": "m.room.history_visibility", "state_key": "",
            "content": { "history_visibility": visibility } });
        let room = scene.room(json!({ "initial_state": [setting] }));
        let before = scene.say(&room, "before");
        scene
            .alice
            .post(&format!("{V3}/rooms/{room}/invite"), json!({ "user_id": scene.rita }))
            .refused(502, "M_UNKNOWN");
        scene.join(&room);
        let after = scene.say(&room, "after");
        let body = |id: &str| {
            let event = scene.get(&format!("{V1}/event/{}", encoded(id))).ok();
            event["pdus"][0]["content"]["body"].as_str().map(str::to_owned)
        };
        assert_eq!(body(&before).is_some(), is_seen, "{visibility}");
        assert_eq!(body(&after).as_deref(), Some("after"), "{visibility}");
        let page = scene.get(&format!("{V1}/backfill/{}?limit=3&v={}", encoded(&room), encoded(&after))).ok();
        let bodies: Vec<_> =
            page["pdus"].as_array().expect("a list").iter().map(|e| e["content"]["body"].clone()).collect();
        assert_eq!(bodies[0], "after", "{visibility}");
        assert_eq!(bodies[2].is_string(), is_seen, "{visibility}: {page}");
        assert_eq!(page["pdus"][2]["type"], "m.room.message", "the graph can be followed all the same");
    }
}

#[test]
fn aliases_directories_and_spaces_are_told_as_far_as_the_other_server_may_know() {
    let scene = Scene::new();
    let listed = scene.room(json!({ "room_alias_name": "listed", "visibility": "public", "name": "Listed" }));
    let secret = scene.room(json!({ "preset": "private_chat", "name": "Secret" }));
    let space = scene.room(json!({ "creation_content": { "type": "m.space" }, "name": "Space" }));
    for room in [&listed, &secret] {
        let path = format!("{V3}/rooms/{space}/state/m.space.child/{room}");
        scene.alice.put(&path, json!({ "via": [scene.name] })).ok();
    }
    let alias = encoded(&format!("#listed:{}", scene.name));
    let found = scene.get(&format!("{V1}/query/directory?room_alias={alias}")).ok();
    assert_eq!(found, json!({ "room_id": listed, "servers": [scene.name] }));
    let none = encoded(&format!("#none:{}", scene.name));
    scene.get(&format!("{V1}/query/directory?room_alias={none}")).refused(404, "M_NOT_FOUND");
    scene.get(&format!("{V1}/query/directory")).refused(400, "M_MISSING_PARAM");
    let directory = scene.get(&format!("{V1}/publicRooms")).ok();
    assert_eq!(directory["chunk"][0]["room_id"], listed);
    let sought = |term: &str| {
        let body = json!({ "filter": { "generic_search_term": term }, "limit": 5 });
        scene.ask("POST", &format!("{V1}/publicRooms"), &body).ok()["total_room_count_estimate"].clone()
    };
    assert_eq!((sought("list"), sought("nothing")), (json!(1), json!(0)));
    let told = scene.get(&format!("{V1}/hierarchy/{}", encoded(&space))).ok();
    assert_eq!(
        (told["room"]["name"].as_str(), told["room"]["room_type"].as_str()),
        (Some("Space"), Some("m.space"))
    );
    assert_eq!(told["room"]["children_state"].as_array().map(Vec::len), Some(2));
    assert_eq!(told["children"][0]["room_id"], listed);
    assert_eq!(told["inaccessible_children"], json!([secret]));
    scene.get(&format!("{V1}/hierarchy/{}", encoded(&secret))).refused(404, "M_NOT_FOUND");
    drop(scene.server);
}
