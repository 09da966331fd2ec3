//! Users of this server come into rooms of another one, are invited there, and knock: whatever that server says.

use std::{collections::BTreeMap, time::Duration};

use pilotlight::server::config::Config;
use ruma::{OwnedEventId, OwnedServerName, RoomVersionId, room_version_rules::RoomVersionRules};
use serde_json::{Value, json};

use super::{
    authority::Authority,
    peer::Peer,
    support::{Answer, Client, TestServer, until},
};

pub const V3: &str = "/_matrix/client/v3";

/// This server with Alice, and another one of which the test decides every byte, with Rita and a room of hers.
pub struct Scene {
    pub name: OwnedServerName,
    pub server: TestServer,
    pub alice: Client,
    pub peer: Peer,
    pub rita: String,
    pub version: RoomVersionId,
    pub rules: RoomVersionRules,
    pub room: String,
    pub state: Vec<(OwnedEventId, Value)>,
}

impl Scene {
    pub fn new(version: RoomVersionId) -> Self {
        Self::with(version, json!({ "join_rule": "public" }))
    }

    pub fn with(version: RoomVersionId, join_rules: Value) -> Self {
        Self::configured(version, join_rules, |_| {})
    }

    /// Whose other server takes this long for every answer.
    pub fn slow(delay: Duration) -> Self {
        let ca = Authority::new();
        let (name, server) = ca.trusting_server();
        Self::of(
            (name, server),
            Peer::start(&ca, delay),
            RoomVersionId::V11,
            json!({ "join_rule": "public" }),
        )
    }

    pub fn configured(version: RoomVersionId, join_rules: Value, change: impl FnOnce(&mut Config)) -> Self {
        let ca = Authority::new();
        let server = ca.server(&ca.file("ca.pem"), change);
        Self::of(server, Peer::start(&ca, Duration::ZERO), version, join_rules)
    }

    fn of(
        (name, server): (OwnedServerName, TestServer),
        peer: Peer,
        version: RoomVersionId,
        join_rules: Value,
    ) -> Self {
        let alice = server.register("alice");
        let rita = format!("@rita:{}", peer.name);
        let rules = version.rules().expect("a known version");
        let room = format!("!room:{}", peer.name);
        let mut scene = Self { name, server, alice, peer, rita, version, rules, room, state: Vec::new() };
        let create = json!({ "room_version": scene.version, "creator": scene.rita });
        let create = scene.add("m.room.create", "", create, &[]);
        if scene.version == RoomVersionId::V12 {
            scene.room = create.as_str().replace('$', "!");
        }
        let rita = scene.rita.clone();
        let join = scene.add("m.room.member", &rita, json!({ "membership": "join" }), &[&create]);
        let users = if scene.version == RoomVersionId::V12 { json!({}) } else { json!({ &rita: 100 }) };
        let levels = scene.add("m.room.power_levels", "", json!({ "users": users }), &[&create, &join]);
        scene.add("m.room.join_rules", "", join_rules, &[&create, &join, &levels]);
        scene.add("m.room.name", "", json!({ "name": "Rita's" }), &[&create, &join, &levels]);
        scene
    }

    /// An event of Rita's after those that are there.
    pub fn event(
        &self,
        kind: &str,
        key: &str,
        content: Value,
        auth: &[&OwnedEventId],
    ) -> (OwnedEventId, Value) {
        self.event_by(&self.rita, (kind, key), content, auth)
    }

    fn event_by(
        &self,
        sender: &str,
        (kind, key): (&str, &str),
        content: Value,
        auth: &[&OwnedEventId],
    ) -> (OwnedEventId, Value) {
        let mut event = json!({ "type": kind, "state_key": key, "sender": sender, "content": content,
            "room_id": self.room, "origin_server_ts": 1_700_000_000_000_u64, "depth": self.state.len() + 1,
            "prev_events": self.state.last().map(|(id, _)| vec![id.clone()]).unwrap_or_default() });
        let named = self.version == RoomVersionId::V12;
        if named && kind == "m.room.create" {
            event.as_object_mut().expect("an object").remove("room_id");
        }
        let first = self.state.first().map(|(id, _)| id);
        let auth: Vec<_> = auth.iter().filter(|id| !named || Some(**id) != first).collect();
        event["auth_events"] = json!(auth);
        self.peer.event(&self.rules, event)
    }

    /// A message of Rita's.
    pub fn message(&self, prev: &[&OwnedEventId], depth: u64, body: &str) -> (OwnedEventId, Value) {
        let auth: Vec<_> = (0..3).map(|at| self.id(at)).collect();
        let event = json!({ "type": "m.room.message", "sender": self.rita, "room_id": self.room,
            "content": { "msgtype": "m.text", "body": body }, "depth": depth, "origin_server_ts": 1_700_000_000_000_u64,
            "prev_events": prev, "auth_events": auth });
        self.peer.event(&self.rules, event)
    }

    pub fn add(&mut self, kind: &str, key: &str, content: Value, auth: &[&OwnedEventId]) -> OwnedEventId {
        let (id, event) = self.event(kind, key, content, auth);
        self.state.push((id.clone(), event));
        id
    }

    /// Others of the same server come into the room.
    fn add_members(&mut self, count: usize) {
        for n in 0..count {
            let user = format!("@member{n}:{}", self.peer.name);
            let (kind, join) = (("m.room.member", user.as_str()), json!({ "membership": "join" }));
            let event = self.event_by(&user, kind, join, &[self.id(0), self.id(2), self.id(3)]);
            self.state.push(event);
        }
    }

    pub fn id(&self, at: usize) -> &OwnedEventId {
        &self.state[at].0
    }

    /// Lets the other server answer as one does that lets Alice do `what`, with this state.
    pub fn lets(&self, what: &str, membership: &str, state: &[Value]) {
        self.lets_user(&self.alice.user, (what, membership), state);
    }

    /// The same of another user here.
    pub fn lets_user(&self, user: &str, (what, membership): (&str, &str), state: &[Value]) {
        let auth: Vec<_> =
            (0..4).filter(|at| *at > 0 || self.version != RoomVersionId::V12).map(|at| self.id(at)).collect();
        let event = json!({ "type": "m.room.member", "room_id": self.room, "sender": user,
            "state_key": user, "content": { "membership": membership }, "depth": 9,
            "origin_server_ts": 1, "prev_events": [self.state.last().expect("one").0], "auth_events": auth });
        let made = json!({ "room_version": self.version, "event": event });
        self.peer.says(&format!("/_matrix/federation/v1/make_{what}/"), 200, made);
        let chain: Vec<_> = self.state.iter().map(|(_, event)| event.clone()).collect();
        let answer = json!({ "origin": self.peer.name, "auth_chain": chain, "state": state, "members_omitted": false });
        self.peer.says(&format!("/_matrix/federation/v2/send_{what}/"), 200, answer);
    }

    pub fn all(&self) -> Vec<Value> {
        self.state.iter().map(|(_, event)| event.clone()).collect()
    }

    pub fn join(&self) -> Answer {
        let path = format!("{V3}/join/{}?via={}", self.room, self.peer.name);
        self.alice.post(&path, json!({}))
    }

    pub fn state_of(&self, kind: &str, key: &str) -> Value {
        self.alice.get(&format!("{V3}/rooms/{}/state/{kind}/{key}", self.room)).body.clone()
    }

    pub fn invite(&self, change: impl FnOnce(&mut Value)) -> (OwnedEventId, Answer) {
        self.invite_user(&self.alice.user, change)
    }

    pub fn invite_user(&self, user: &str, change: impl FnOnce(&mut Value)) -> (OwnedEventId, Answer) {
        let (id, event) = self.event(
            "m.room.member",
            user,
            json!({ "membership": "invite" }),
            &[self.id(0), self.id(1), self.id(2), self.id(3)],
        );
        let shown = json!([{ "type": "m.room.name", "state_key": "", "sender": self.rita, "content": { "name": "Rita's" } }]);
        let mut body = json!({ "room_version": self.version, "event": event, "invite_room_state": shown });
        change(&mut body);
        let path = format!("/_matrix/federation/v2/invite/{}/{}", self.room, id);
        let request = self.peer.signed(&self.name, "PUT", &path, body.to_string().as_bytes());
        (id, self.peer.send(&self.name, &request))
    }

    pub fn sync(&self) -> Value {
        self.alice.get(&format!("{V3}/sync")).ok()["rooms"].clone()
    }
}

#[test]
fn a_user_here_comes_into_a_room_of_every_version_by_another_server() {
    for version in 3..=12 {
        let version = RoomVersionId::try_from(version.to_string()).expect("a version");
        let scene = Scene::new(version.clone());
        scene.lets("join", "join", &scene.all());
        assert_eq!(scene.join().ok()["room_id"], scene.room, "{version}");
        assert_eq!(scene.state_of("m.room.name", "")["name"], "Rita's", "{version}");
        assert_eq!(scene.state_of("m.room.member", &scene.alice.user)["displayname"], "alice", "{version}");
        let joined = &scene.sync()["join"][&scene.room];
        assert_eq!(joined["summary"]["m.joined_member_count"], 2, "{version}: {joined}");
        assert_eq!(joined["timeline"]["limited"], true, "{version}: what was before can be asked for");
        let asked: Vec<String> = scene.peer.heard().into_iter().map(|heard| heard.path).collect();
        let make = asked.iter().find(|path| path.contains("/make_join/")).expect("asked for a template");
        assert!(make.contains("ver=3&") && make.ends_with("ver=12"), "{make}");
        // Whoever is there already stays as they are, and nobody is asked again.
        scene.join().ok();
        let again = scene.peer.heard().into_iter().filter(|heard| heard.path.contains("/make_join/")).count();
        assert_eq!(again, 1, "{version}");
    }
}

#[test]
fn of_a_room_that_another_server_tells_what_is_forged_or_not_allowed_is_left_out() {
    let mut scene = Scene::new(RoomVersionId::V11);
    let allowed: Vec<OwnedEventId> = (0..3).map(|at| scene.id(at).clone()).collect();
    let [create, join, levels] = &allowed[..] else { panic!("three") };
    let topic = |scene: &Scene, key: &str| {
        scene.event("x.topic", key, json!({ "topic": key }), &[create, join, levels]).1
    };
    let good = topic(&scene, "good");
    let mut forged = topic(&scene, "forged");
    forged["signatures"][scene.peer.name.as_str()]["ed25519:1"] = "A".repeat(86).into();
    // Its content is not what was hashed: what is signed of it stays.
    let mut changed = topic(&scene, "changed");
    changed["content"]["topic"] = "something else".into();
    let mut unallowed = scene.event("x.topic", "unallowed", json!({ "topic": "x" }), &[create]).1;
    unallowed["sender"] = scene.rita.as_str().into();
    let mallory = format!("@mallory:{}", scene.peer.name);
    let by_mallory = {
        let (_, mut event) = scene.event("x.topic", "mallory", json!({ "topic": "x" }), &[create, levels]);
        event["sender"] = mallory.into();
        for key in ["hashes", "signatures"] {
            event.as_object_mut().expect("an object").remove(key);
        }
        scene.peer.event(&scene.rules, event).1
    };
    let of_other_room = {
        let mut event = topic(&scene, "elsewhere");
        event["room_id"] = "!other:x".into();
        event
    };
    let mut state = scene.all();
    state.extend([
        good,
        forged,
        changed,
        unallowed,
        by_mallory,
        of_other_room,
        json!({ "type": 1 }),
        json!(null),
    ]);
    scene.add("m.room.topic", "", json!({ "topic": "t" }), &[create, join, levels]);
    scene.lets("join", "join", &state);
    scene.join().ok();
    assert_eq!(scene.state_of("x.topic", "good")["topic"], "good");
    assert_eq!(scene.state_of("x.topic", "changed"), json!({}), "its content is nobody's word");
    for key in ["forged", "unallowed", "mallory", "elsewhere"] {
        assert_eq!(scene.state_of("x.topic", key)["errcode"], "M_NOT_FOUND", "{key}");
    }
}

#[test]
fn a_room_of_much_state_is_entered_whole_and_again_with_what_it_is_by_then() {
    let mut scene = Scene::new(RoomVersionId::V11);
    let allowed: Vec<OwnedEventId> = (0..3).map(|at| scene.id(at).clone()).collect();
    let [create, join, levels] = &allowed[..] else { panic!("three") };
    let begin = scene.state.len();
    for n in 0..250 {
        scene.add("x.part", &n.to_string(), json!({ "n": n }), &[create, join, levels]);
    }
    let parts = |scene: &Scene| {
        let state = scene.alice.get(&format!("{V3}/rooms/{}/state", scene.room)).ok();
        let events = state.as_array().expect("a list").clone();
        let parts = events.iter().filter(|event| event["type"] == "x.part");
        let parts: BTreeMap<u64, u64> = parts
            .map(|event| {
                let key = event["state_key"].as_str().and_then(|key| key.parse().ok()).expect("a number");
                (key, event["content"]["n"].as_u64().expect("a number"))
            })
            .collect();
        (parts, events.len())
    };
    scene.lets("join", "join", &scene.all());
    scene.join().ok();
    assert_eq!(parts(&scene), ((0..250).map(|n| (n, n)).collect(), begin + 250 + 1));
    scene.alice.post(&format!("{V3}/rooms/{}/leave", scene.room), json!({})).ok();
    // Nobody of this server is there while some of it goes, and some is replaced.
    let mut state = scene.all();
    state.drain(begin..begin + 120);
    for n in 200..230_u64 {
        let kind = ("x.part", n.to_string());
        let (id, event) = scene.event(kind.0, &kind.1, json!({ "n": n + 1000 }), &[create, join, levels]);
        state.retain(|event| event["state_key"].as_str() != Some(&n.to_string()));
        state.push(event.clone());
        scene.state.push((id, event));
    }
    scene.lets("join", "join", &state);
    scene.join().ok();
    let expected = (120..250).map(|n| (n, if (200..230).contains(&n) { n + 1000 } else { n })).collect();
    assert_eq!(parts(&scene), (expected, begin + 130 + 1));
    let said = format!("{V3}/rooms/{}/send/m.room.message/1", scene.room);
    scene.alice.put(&said, json!({ "msgtype": "m.text", "body": "back" })).ok();
}

#[test]
fn all_of_a_room_of_many_are_tied_though_they_come_at_once_and_nobody_is_when_it_is_too_large() {
    for (most, tied) in [(0, 301), (100, 0)] {
        let mut scene = Scene::configured(RoomVersionId::V11, json!({ "join_rule": "public" }), |config| {
            config.presence.max_room_members = most;
        });
        scene.add_members(300);
        scene.lets("join", "join", &scene.all());
        scene.join().ok();
        scene.sync();
        let presence = &scene.server.app().federation.as_ref().expect("has some").presence;
        assert_eq!(presence.tied_rooms().len(), usize::from(tied > 0));
        let asked = |scene: &Scene| {
            let federation = scene.server.app().federation.as_ref().expect("has some");
            federation.presence.peers().get(scene.peer.name.as_str()).map_or(0, |peer| peer.asked)
        };
        until("all are asked for", || asked(&scene) == tied);
        scene.alice.post(&format!("{V3}/rooms/{}/leave", scene.room), json!({})).ok();
        until("the room ties nobody", || presence.tied_rooms().is_empty());
    }
}

#[test]
fn an_answer_that_is_no_room_is_refused_and_the_next_server_is_asked() {
    let scene = Scene::new(RoomVersionId::V11);
    let without_create: Vec<Value> = scene.all().into_iter().skip(1).collect();
    for bad in [json!([]), json!({}), json!({ "state": 1 }), json!({ "state": [], "auth_chain": [] })] {
        scene.lets("join", "join", &scene.all());
        scene.peer.says("/_matrix/federation/v2/send_join/", 200, bad);
        scene.join().refused(502, "M_UNKNOWN");
    }
    scene.lets("join", "join", &without_create);
    scene.join().refused(502, "M_UNKNOWN");
    for made in [
        json!({}),
        json!({ "room_version": "99", "event": {} }),
        json!({ "room_version": "11", "event": [] }),
    ] {
        scene.peer.says("/_matrix/federation/v1/make_join/", 200, made);
        let answer = scene.join();
        assert!(matches!(answer.status, 400 | 502), "{}", answer.body);
    }
    assert_eq!(scene.sync()["join"], Value::Null);
    // One that is not there does not keep the user out.
    scene.lets("join", "join", &scene.all());
    let path = format!("{V3}/join/{}?via=localhost:1&via={}", scene.room, scene.peer.name);
    scene.alice.post(&path, json!({})).ok();
}

#[test]
fn what_another_server_refuses_is_told_in_its_words() {
    let scene = Scene::new(RoomVersionId::V11);
    let rows = [
        (403, json!({ "errcode": "M_FORBIDDEN", "error": "You are not invited" }), 403, "M_FORBIDDEN"),
        (404, json!({ "errcode": "M_NOT_FOUND", "error": "no room" }), 404, "M_NOT_FOUND"),
        (
            400,
            json!({ "errcode": "M_UNABLE_TO_AUTHORISE_JOIN", "error": "?" }),
            400,
            "M_UNABLE_TO_AUTHORISE_JOIN",
        ),
        (400, json!({ "errcode": "M_UNABLE_TO_GRANT_JOIN", "error": "?" }), 400, "M_UNABLE_TO_GRANT_JOIN"),
        (
            400,
            json!({ "errcode": "M_INCOMPATIBLE_ROOM_VERSION", "error": "?", "room_version": "99" }),
            400,
            "M_INCOMPATIBLE_ROOM_VERSION",
        ),
        (400, json!({ "errcode": "ORG_EXAMPLE_FULL", "error": "?" }), 400, "ORG_EXAMPLE_FULL"),
        // Clients would take these for words of their own server about their session.
        (400, json!({ "errcode": "M_UNKNOWN_TOKEN", "error": "?" }), 502, "M_UNKNOWN"),
        (400, json!({ "errcode": "x".repeat(65), "error": "?" }), 502, "M_UNKNOWN"),
        (401, json!({ "errcode": "ORG_EXAMPLE_FULL", "error": "?" }), 502, "M_UNKNOWN"),
        (500, json!({ "errcode": "ORG_EXAMPLE_FULL", "error": "?" }), 502, "M_UNKNOWN"),
        (500, json!({}), 502, "M_UNKNOWN"),
    ];
    for (status, said, told, errcode) in rows {
        scene.peer.says("/_matrix/federation/v1/make_join/", status, said);
        scene.join().refused(told, errcode);
    }
    let unnamed = format!("{V3}/join/!nobody");
    scene.alice.post(&unnamed, json!({})).refused(404, "M_NOT_FOUND");
}

#[test]
fn by_a_server_that_is_denied_nobody_comes_in_and_is_told_so() {
    let deny = |config: &mut Config| {
        config.federation.deny_servers = vec!["denied.example".try_into().expect("a name")];
    };
    let scene = Scene::configured(RoomVersionId::V11, json!({ "join_rule": "public" }), deny);
    let post = |path: &str, body: Value| scene.alice.post(&format!("{V3}/{path}"), body);
    for entrance in ["join", "knock"] {
        let by = |server: &str| format!("{entrance}/!room:denied.example?via={server}");
        post(&by("denied.example"), json!({})).refused(403, "M_FORBIDDEN");
        // Nor into a room that it made: nobody else is troubled with it.
        post(&by(scene.peer.name.as_str()), json!({})).refused(403, "M_FORBIDDEN");
    }
    post("join/%23room:denied.example", json!({})).refused(403, "M_FORBIDDEN");
    let made = post("createRoom", json!({})).ok()["room_id"].as_str().expect("a room").to_owned();
    let invite = json!({ "user_id": "@mallory:denied.example" });
    post(&format!("rooms/{made}/invite"), invite).refused(403, "M_FORBIDDEN");
    assert!(scene.peer.heard().is_empty());
}

#[test]
fn an_invite_of_another_server_is_signed_shown_and_declined() {
    let scene = Scene::with(RoomVersionId::V11, json!({ "join_rule": "invite" }));
    let since =
        scene.alice.get(&format!("{V3}/sync")).ok()["next_batch"].as_str().expect("a token").to_owned();
    let (_, answer) = scene.invite(|_| {});
    let signatures = answer.ok()["event"]["signatures"].clone();
    assert!(signatures[scene.name.as_str()].is_object() && signatures[scene.peer.name.as_str()].is_object());
    let told = scene.alice.get(&format!("{V3}/sync?since={since}&timeout=5000")).ok();
    let invite = &told["rooms"]["invite"][&scene.room]["invite_state"]["events"];
    assert_eq!(invite[0]["content"]["name"], "Rita's", "{told}");
    assert_eq!(invite[1]["content"]["membership"], "invite", "{told}");
    // Told to the other server, if it answers.
    scene.lets("leave", "leave", &[]);
    scene.alice.post(&format!("{V3}/rooms/{}/leave", scene.room), json!({ "reason": "no" })).ok();
    let sent =
        scene.peer.heard().into_iter().find(|heard| heard.path.contains("/send_leave/")).expect("is told");
    assert_eq!(
        (sent.body["content"]["membership"].as_str(), sent.body["content"]["reason"].as_str()),
        (Some("leave"), Some("no"))
    );
    assert_eq!(scene.sync()["invite"], Value::Null);
    // And again, while it refuses.
    scene.invite(|_| {}).1.ok();
    assert!(scene.sync()["invite"][&scene.room].is_object());
    scene.peer.says("/_matrix/federation/v1/make_leave/", 500, json!({}));
    scene.alice.post(&format!("{V3}/rooms/{}/leave", scene.room), json!({})).ok();
    assert_eq!(scene.sync()["invite"], Value::Null);
    let server = scene.server.restart_with(|config| config.server_name = scene.name.clone());
    let alice = server.log_in("alice");
    assert_eq!(alice.get(&format!("{V3}/sync")).ok()["rooms"]["invite"], Value::Null);
}

#[test]
fn what_comes_with_an_invite_is_whole_events_or_stripped_ones_and_clients_see_no_more_of_it() {
    for version in [RoomVersionId::V11, RoomVersionId::V12] {
        let scene = Scene::with(version.clone(), json!({ "join_rule": "invite" }));
        let other = Scene::new(version.clone());
        let of_other = |body: &mut Value| body["invite_room_state"] = json!([other.state[0].1]);
        scene.invite(of_other).1.refused(400, "M_INVALID_PARAM");
        scene.invite(|body| body["invite_room_state"] = scene.all().into()).1.ok();
        let invite = scene.sync()["invite"][&scene.room]["invite_state"]["events"].clone();
        let create = &invite[0];
        assert_eq!(create["content"]["room_version"], version.as_str(), "{invite}");
        let keys: Vec<_> = create.as_object().expect("an object").keys().cloned().collect();
        // The time of the first event says how old the room is; of the others nothing more is shown.
        assert_eq!(keys, ["content", "origin_server_ts", "sender", "state_key", "type"], "{version}");
        let name = invite.as_array().and_then(|all| all.iter().find(|event| event["type"] == "m.room.name"));
        let keys: Vec<_> = name.and_then(Value::as_object).expect("a name").keys().cloned().collect();
        assert_eq!(keys, ["content", "sender", "state_key", "type"], "{version}");
    }
}

#[test]
fn who_is_invited_elsewhere_is_shown_whole_events_with_the_first_of_the_room_before_all() {
    for version in [RoomVersionId::V11, RoomVersionId::V12] {
        let scene = Scene::new(version.clone());
        let request = json!({ "preset": "private_chat", "name": "Hers", "room_version": version });
        let room = scene.alice.post(&format!("{V3}/createRoom"), request).ok()["room_id"].clone();
        scene.peer.says(
            "/_matrix/federation/v2/invite/",
            403,
            json!({ "errcode": "M_FORBIDDEN", "error": "no" }),
        );
        let path = format!("{V3}/rooms/{}/invite", room.as_str().expect("an ID"));
        let answer = scene.alice.post(&path, json!({ "user_id": scene.rita }));
        assert_eq!(answer.status, 403);
        let heard = scene.peer.heard().into_iter().find(|heard| heard.path.contains("/v2/invite/"));
        let shown = heard.expect("was asked").body["invite_room_state"].clone();
        let shown = shown.as_array().expect("a list");
        assert_eq!(shown[0]["type"], "m.room.create");
        let object = serde_json::from_value(shown[0].clone()).expect("canonical");
        let hash = ruma::signatures::reference_hash(&object, &scene.rules).expect("a whole event");
        if version == RoomVersionId::V12 {
            assert_eq!(room, format!("!{hash}"));
        }
        let mut others = shown.iter().skip(1).map(|event| (&event["room_id"], event["hashes"].is_object()));
        assert!(others.all(|shows| shows == (&room, true)), "{shown:?}");
        assert!(shown.iter().any(|event| event["state_key"] == scene.alice.user.as_str()), "who invites");
        let answer = json!({ "event": { "content": { "fraction": 1.5 } } });
        scene.peer.says("/_matrix/federation/v2/invite/", 200, answer);
        scene.alice.post(&path, json!({ "user_id": scene.rita })).refused(400, "M_BAD_JSON");
    }
}

#[test]
fn invites_that_are_none_or_are_not_wanted_are_refused() {
    let scene = Scene::new(RoomVersionId::V11);
    let refused = |status, errcode, change: &dyn Fn(&mut Value)| {
        scene.invite(|body| change(body)).1.refused(status, errcode);
    };
    refused(400, "M_INCOMPATIBLE_ROOM_VERSION", &|body| body["room_version"] = "2".into());
    refused(400, "M_UNSUPPORTED_ROOM_VERSION", &|body| body["room_version"] = "".into());
    refused(400, "M_BAD_JSON", &|body| body["event"]["content"]["membership"] = "join".into());
    refused(400, "M_BAD_JSON", &|body| drop(body.as_object_mut().expect("an object").remove("event")));
    refused(403, "M_FORBIDDEN", &|body| body["event"]["sender"] = "@other:x".into());
    refused(400, "M_INVALID_PARAM", &|body| body["event"]["depth"] = 77.into());
    let other = Scene::new(RoomVersionId::V11);
    refused(400, "M_INVALID_PARAM", &|body| body["invite_room_state"] = json!([other.state[0].1]));
    let v1 = format!("/_matrix/federation/v1/invite/{}/$x", scene.room);
    let request = scene.peer.signed(&scene.name, "PUT", &v1, b"{}");
    scene.peer.send(&scene.name, &request).refused(400, "M_INCOMPATIBLE_ROOM_VERSION");
    let block = json!({ "default_action": "block" });
    let path = format!("{V3}/user/{}/account_data/m.invite_permission_config", scene.alice.user);
    scene.alice.put(&path, block).ok();
    refused(403, "M_INVITE_BLOCKED", &|_| {});
    scene.alice.put(&path, json!({})).ok();
    assert_eq!(scene.sync()["invite"], Value::Null);
    scene.invite(|_| {}).1.ok();
}

#[test]
fn a_room_is_of_the_version_that_its_first_event_says_whatever_a_stranger_said_before() {
    let scene = Scene::new(RoomVersionId::V11);
    let peer = &scene.peer;
    // An invite in the form of another version, by somebody who may know no more of the room than its ID.
    let rules = RoomVersionId::V10.rules().expect("a known version");
    let invite = json!({ "type": "m.room.member", "state_key": scene.alice.user, "sender": scene.rita,
        "content": { "membership": "invite" }, "room_id": scene.room, "origin_server_ts": 1, "depth": 9,
        "prev_events": [scene.id(4)], "auth_events": [scene.id(0), scene.id(1), scene.id(2)] });
    let (id, event) = peer.event(&rules, invite);
    let body = json!({ "room_version": "10", "event": event, "invite_room_state": [] });
    let path = format!("/_matrix/federation/v2/invite/{}/{}", scene.room, id);
    let request = peer.signed(&scene.name, "PUT", &path, body.to_string().as_bytes());
    peer.send(&scene.name, &request).ok();
    scene.lets("join", "join", &scene.all());
    scene.join().ok();
    let path = format!("{V3}/rooms/{}/send/m.room.message/1", scene.room);
    scene.alice.put(&path, json!({ "msgtype": "m.text", "body": "here" })).ok();
}

#[test]
fn a_user_here_knocks_at_a_room_of_another_server_and_takes_it_back() {
    // The ID of a room of version 12 says nothing of where it is.
    for version in [RoomVersionId::V11, RoomVersionId::V12] {
        knocks_and_takes_it_back(version);
    }
}

fn knocks_and_takes_it_back(version: RoomVersionId) {
    let scene = Scene::with(version, json!({ "join_rule": "knock" }));
    scene.lets("knock", "knock", &[]);
    let shown = json!({ "knock_room_state": [{ "type": "m.room.name", "state_key": "", "sender": scene.rita,
        "content": { "name": "Rita's" } }] });
    scene.peer.says("/_matrix/federation/v1/send_knock/", 200, shown);
    let path = format!("{V3}/knock/{}?via={}", scene.room, scene.peer.name);
    scene.alice.post(&path, json!({ "reason": "please" })).ok();
    let knock = scene.sync()["knock"][&scene.room]["knock_state"]["events"].clone();
    assert_eq!(knock[0]["content"]["name"], "Rita's", "{knock}");
    let sent =
        scene.peer.heard().into_iter().find(|heard| heard.path.contains("/send_knock/")).expect("is told");
    assert_eq!(sent.body["content"]["reason"], "please");
    scene.lets("leave", "leave", &[]);
    scene.alice.post(&format!("{V3}/rooms/{}/leave", scene.room), json!({})).ok();
    assert_eq!(scene.sync()["knock"], Value::Null);
    let told = scene.peer.heard().into_iter().any(|heard| heard.path.contains("/send_leave/"));
    assert!(told, "{}: the other server knows too", scene.version);
}

#[test]
fn what_was_said_while_somebody_scrolled_back_is_told_to_all_who_come_later() {
    let scene = Scene::new(RoomVersionId::V11);
    scene.lets("join", "join", &scene.all());
    scene.join().ok();
    let bob = scene.server.register("bob");
    let made = bob.post(&format!("{V3}/createRoom"), json!({ "preset": "public_chat" })).ok();
    let room = made["room_id"].as_str().expect("an ID").to_owned();
    scene.alice.post(&format!("{V3}/join/{room}"), json!({})).ok();
    let since = scene.alice.get(&format!("{V3}/sync")).ok()["next_batch"].clone();
    let said = json!({ "msgtype": "m.text", "body": "did you see?" });
    bob.put(&format!("{V3}/rooms/{room}/send/m.room.message/1"), said).ok();
    // What was state when Alice came, and stands in the past.
    let past: Vec<Value> = scene.all().into_iter().rev().collect();
    scene.peer.says("/_matrix/federation/v1/backfill/", 200, json!({ "pdus": past }));
    let page = scene.alice.get(&format!("{V3}/rooms/{}/messages?dir=b&limit=50", scene.room)).ok();
    assert!(page["chunk"].as_array().is_some_and(|events| events.len() > 3), "{page}");
    let since = since.as_str().expect("a token");
    let news = scene.alice.get(&format!("{V3}/sync?since={since}")).ok()["rooms"]["join"][&room].clone();
    assert_eq!(news["timeline"]["events"][0]["content"]["body"], "did you see?", "{news}");
    assert_eq!(news["unread_notifications"]["notification_count"], 1);
}
