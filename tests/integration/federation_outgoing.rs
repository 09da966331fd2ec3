//! Events of rooms that another server is in, as they go to that server: all of them, in their order, over outages and
//! restarts; and what goes beside them. The other server is scripted, and is in the room without a word.

use std::time::Duration;

use pilotlight::server::{
    event::stored::Membership,
    store::{NewEvent, RoomChange, RoomCommit},
};
use serde_json::{Value, json};

use super::{
    authority::Authority,
    driven::Time,
    peer::Peer,
    support::{Client, TestServer, runtime},
};

/// Has `user`, of another server, be something in `room`, as if their server had said so.
pub fn bring(server: &TestServer, room: &str, user: &str, is: Membership) -> String {
    let store = &server.app().store;
    let room: ruma::OwnedRoomId = room.try_into().expect("a room ID");
    let ends = runtime().block_on(store.extremities(&room)).expect("the store is open");
    let depth = ends.iter().map(|end| end.depth).max().expect("the room has events") + 1;
    let event_id = format!("$brought-{depth}-{}", is.as_str());
    let pdu = json!({
        "type": "m.room.member", "state_key": user, "sender": user, "room_id": room,
        "content": { "membership": is.as_str() }, "depth": depth, "origin_server_ts": 1,
        "prev_events": ends.iter().map(|end| end.event_id.as_str()).collect::<Vec<_>>(), "auth_events": [],
    });
    let event = NewEvent {
        room: room.clone(),
        event_id: event_id.as_str().try_into().expect("an event ID"),
        kind: "m.room.member".to_owned(),
        state_key: Some(user.to_owned()),
        sender: user.try_into().expect("a user ID"),
        origin_server_ts: 1,
        depth,
        pdu: pdu.to_string(),
        prev_events: ends.into_iter().map(|end| end.event_id).collect(),
        auth_events: Vec::new(),
        relates_to: None,
        transaction: None,
        membership: Some((is, None)),
        unasked: false,
        hidden: false,
        on_behalf: false,
    };
    let commit = RoomCommit { changes: vec![RoomChange::Append(Box::new(event))], ..RoomCommit::default() };
    runtime().block_on(async {
        let written = store.commit_rooms(commit).await.expect("the store is open");
        written.await.expect("is written");
    });
    event_id
}

/// A server with a user in a room with users of scripted servers, on a time of their own.
struct Scene {
    time: Time,
    server: TestServer,
    alice: Client,
    room: String,
    peers: Vec<Peer>,
    _ca: Authority,
}

impl Scene {
    fn new(peers: usize) -> Self {
        let (ca, time) = (Authority::new(), Time::new());
        let (_, server) = ca.driven(&time, |config| config.rate_limits.enabled = false);
        let alice = server.register("alice");
        let room = alice.post("/_matrix/client/v3/createRoom", json!({ "preset": "public_chat" })).ok();
        let room = room["room_id"].as_str().expect("a room").to_owned();
        let peers: Vec<_> = (0..peers).map(|_| Peer::start(&ca, Duration::ZERO)).collect();
        for peer in &peers {
            bring(&server, &room, &format!("@bob:{}", peer.name), Membership::Join);
        }
        time.settle();
        Self { time, server, alice, room, peers, _ca: ca }
    }

    fn say(&self, body: &str) -> String {
        let path = format!("/_matrix/client/v3/rooms/{}/send/m.room.message/{body}", self.room);
        let sent = self.alice.put(&path, json!({ "msgtype": "m.text", "body": body })).ok();
        sent["event_id"].as_str().expect("an event ID").to_owned()
    }

    fn restart(self) -> Self {
        let Self { time, server, alice, room, peers, _ca } = self;
        let server = server.stop().start();
        let alice = Client { base: server.url(), ..alice };
        Self { time, server, alice, room, peers, _ca }
    }

    /// What was said, as the first peer heard it.
    fn heard(&self) -> Vec<String> {
        self.peers[0].events().iter().map(body).collect()
    }

    /// How the queue stands with the first peer.
    fn queue(&self) -> pilotlight::server::federation::queue::Peer {
        let federation = self.server.app().federation.as_ref().expect("federates");
        federation.queue.peers().remove(&self.peers[0].name).unwrap_or_default()
    }
}

fn body(pdu: &Value) -> String {
    let content = &pdu["content"];
    content["body"].as_str().or(content["membership"].as_str()).unwrap_or_default().to_owned()
}

#[test]
fn what_is_said_in_a_room_goes_to_every_other_server_in_it_whole_and_once() {
    let scene = Scene::new(2);
    let bystander = scene.server.register("bystander");
    let lonely = bystander.post("/_matrix/client/v3/createRoom", json!({})).ok();
    for n in 0..3 {
        scene.say(&n.to_string());
        let path = format!(
            "/_matrix/client/v3/rooms/{}/send/m.room.message/{n}",
            lonely["room_id"].as_str().expect("a room")
        );
        bystander.put(&path, json!({ "msgtype": "m.text", "body": "unheard" })).ok();
    }
    scene.time.settle();
    for peer in &scene.peers {
        let events = peer.events();
        assert_eq!(events.iter().map(body).collect::<Vec<_>>(), ["0", "1", "2"]);
        for pdu in &events {
            for key in ["auth_events", "prev_events", "hashes", "signatures", "depth", "origin_server_ts"] {
                assert!(!pdu[key].is_null(), "{key}: {pdu}");
            }
            assert_eq!(pdu["room_id"], *scene.room);
            assert!(pdu["unsigned"].is_null() && pdu["event_id"].is_null(), "{pdu}");
        }
        let sent = peer.heard().into_iter().filter(|heard| heard.path.contains("/send/"));
        for heard in sent {
            let pdus = heard.body["pdus"].as_array().expect("a list").len();
            assert!((1..=50).contains(&pdus) && heard.body["origin_server_ts"].is_u64(), "{:?}", heard.body);
        }
    }
}

#[test]
fn who_is_put_out_of_a_room_is_told_and_then_no_more_and_an_invite_that_is_taken_back_too() {
    let scene = Scene::new(2);
    let [bob, carol] = [("bob", 0), ("carol", 1)].map(|(name, n)| format!("@{name}:{}", scene.peers[n].name));
    bring(&scene.server, &scene.room, &format!("@bob:{}", scene.peers[1].name), Membership::Leave);
    bring(&scene.server, &scene.room, &carol, Membership::Invite);
    let path = |act: &str| format!("/_matrix/client/v3/rooms/{}/{act}", scene.room);
    scene.alice.post(&path("ban"), json!({ "user_id": bob })).ok();
    scene.alice.post(&path("kick"), json!({ "user_id": carol })).ok();
    scene.say("alone");
    scene.time.settle();
    for (peer, user, is) in [(&scene.peers[0], &bob, "ban"), (&scene.peers[1], &carol, "leave")] {
        let events = peer.events();
        let told: Vec<_> = events.iter().map(|pdu| (pdu["state_key"].clone(), body(pdu))).collect();
        assert_eq!(told, [(json!(user), is.to_owned())]);
    }
}

#[test]
fn an_outage_of_the_other_server_takes_nothing_and_the_pauses_end_when_it_is_heard_of() {
    let scene = Scene::new(1);
    scene.peers[0].refuse(true);
    let said: Vec<_> = (0..120).map(|n| n.to_string()).collect();
    said.iter().for_each(|body| {
        scene.say(body);
    });
    scene.time.pass(Duration::from_secs(600));
    assert_eq!(scene.heard(), Vec::<String>::new());
    let queue = scene.queue();
    assert!(queue.waiting_events == 120 && queue.failures > 4 && queue.next_attempt.is_some(), "{queue:?}");
    scene.peers[0].refuse(false);
    let name = scene.server.app().server_name().to_owned();
    let empty = scene.peers[0].transaction(&name, "1", &[]);
    assert_eq!(scene.peers[0].send(&name, &empty).status, 200);
    scene.time.settle();
    assert_eq!(scene.heard(), said);
    let sent = scene.queue();
    assert_eq!((sent.waiting, sent.failures, sent.sent_events), (0, 0, 120));
}

#[test]
fn what_was_not_acknowledged_is_sent_after_a_restart_and_what_was_is_not_again() {
    let scene = Scene::new(2);
    scene.say("first");
    scene.time.pass(Duration::from_secs(2));
    scene.peers[0].refuse(true);
    scene.say("second");
    scene.time.pass(Duration::from_secs(2));
    let scene = scene.restart();
    scene.time.settle();
    assert_eq!(scene.heard(), ["first"]);
    let scene = scene.restart();
    scene.peers[0].refuse(false);
    scene.time.pass(Duration::from_secs(20));
    assert_eq!(scene.heard(), ["first", "second"]);
    scene.say("third");
    scene.time.pass(Duration::from_secs(2));
    let scene = scene.restart();
    scene.time.settle();
    for peer in &scene.peers {
        assert_eq!(peer.events().iter().map(body).collect::<Vec<_>>(), ["first", "second", "third"]);
    }
}

#[test]
fn who_was_away_for_long_is_told_the_newest_of_each_room_and_then_what_follows() {
    let scene = Scene::new(1);
    scene.peers[0].refuse(true);
    for n in 0..30 {
        scene.say(&n.to_string());
    }
    // Far longer than the hour after which nothing is kept for it.
    scene.time.pass(Duration::from_secs(3 * 3_600));
    assert!(scene.queue().is_behind);
    scene.say("last");
    scene.peers[0].refuse(false);
    scene.time.pass(Duration::from_secs(2 * 3_600));
    assert_eq!(scene.heard(), ["last"], "from which it finds the others");
    scene.say("after");
    scene.time.settle();
    assert_eq!(scene.heard(), ["last", "after"]);
    assert!(!scene.queue().is_behind);
}

#[test]
fn typing_and_receipts_are_told_and_private_ones_are_not() {
    let scene = Scene::new(1);
    let event = scene.say("hi");
    let typing = format!("/_matrix/client/v3/rooms/{}/typing/{}", scene.room, scene.alice.user);
    let notice =
        |user: &str, typing: bool| json!({ "room_id": scene.room, "user_id": user, "typing": typing });
    scene.alice.put(&typing, json!({ "typing": true, "timeout": 60_000 })).ok();
    scene.time.pass(Duration::from_secs(30));
    scene.alice.put(&typing, json!({ "typing": true, "timeout": 60_000 })).ok();
    scene.time.settle();
    let alice = &*scene.alice.user;
    assert_eq!(scene.peers[0].edus("m.typing"), [notice(alice, true)]);
    scene.time.pass(Duration::from_secs(15));
    scene.alice.put(&typing, json!({ "typing": true, "timeout": 5_000 })).ok();
    scene.time.settle();
    assert_eq!(scene.peers[0].edus("m.typing").len(), 2, "before it would end there by itself");
    scene.time.pass(Duration::from_secs(5));
    assert_eq!(scene.peers[0].edus("m.typing").last(), Some(&notice(alice, false)));
    let receipt = |kind: &str| format!("/_matrix/client/v3/rooms/{}/receipt/{kind}/{event}", scene.room);
    scene.alice.post(&receipt("m.read.private"), json!({})).ok();
    scene.alice.post(&receipt("m.read"), json!({})).ok();
    scene.alice.post(&receipt("m.read"), json!({ "thread_id": "main" })).ok();
    scene.time.settle();
    assert!(scene.peers[0].edus("m.receipt").is_empty(), "they wait for others");
    scene.time.pass(Duration::from_secs(2));
    let told = scene.peers[0].edus("m.receipt");
    assert_eq!(told.len(), 2, "{told:?}");
    let of = |content: &Value| content[&scene.room]["m.read"][alice].clone();
    assert_eq!(
        (&of(&told[0])["event_ids"], &of(&told[0])["data"]["thread_id"]),
        (&json!([event]), &Value::Null)
    );
    assert!(of(&told[0])["data"]["ts"].is_u64());
    assert_eq!(of(&told[1])["data"]["thread_id"], "main");
}

#[test]
fn receipts_of_many_within_two_seconds_are_one_edu_of_one_transaction() {
    let scene = Scene::new(1);
    let event = scene.say("hi");
    let others: Vec<Client> = (0..20).map(|n| scene.server.register(&format!("u{n}"))).collect();
    for other in &others {
        other.post(&format!("/_matrix/client/v3/join/{}", scene.room), json!({})).ok();
    }
    scene.time.settle();
    let before = scene.queue().sent;
    for other in &others {
        other
            .post(&format!("/_matrix/client/v3/rooms/{}/receipt/m.read/{event}", scene.room), json!({}))
            .ok();
    }
    scene.time.pass(Duration::from_secs(3));
    assert_eq!(scene.queue().sent, before + 1);
    let told = scene.peers[0].edus("m.receipt");
    assert_eq!(told.len(), 1, "{told:?}");
    let readers = told[0][&scene.room]["m.read"].as_object().expect("users").keys().cloned();
    let mut expected: Vec<String> = others.iter().map(|other| other.user.clone()).collect();
    expected.sort();
    assert_eq!(readers.collect::<Vec<_>>(), expected);
}

#[test]
fn what_a_server_never_takes_is_given_up_and_what_else_waits_arrives() {
    for status in [400, 413] {
        let scene = Scene::new(1);
        scene.peers[0].answers_with("/_matrix/federation/v1/send/", move |body| {
            match body.to_string().contains("poison") {
                true => (status, json!({ "errcode": "M_UNKNOWN", "error": "no" })),
                false => (200, json!({ "pdus": {} })),
            }
        });
        let mut said: Vec<String> = (0..70).map(|n| n.to_string()).collect();
        said[0] = "poison1".to_owned();
        said[40] = "poison2".to_owned();
        said.iter().for_each(|body| {
            scene.say(body);
        });
        let send = format!("/_matrix/client/v3/sendToDevice/m.test/{status}");
        let bob = format!("@bob:{}", scene.peers[0].name);
        for (n, body) in ["one", "poison", "three"].into_iter().enumerate() {
            let messages = json!({ "messages": { &bob: { "D": { "body": body } } } });
            scene.alice.put(&format!("{send}{n}"), messages).ok();
        }
        scene.time.pass(Duration::from_secs(3_600));
        said.retain(|body| !body.starts_with("poison"));
        assert_eq!(scene.heard(), said, "{status}");
        let told = scene.peers[0].edus("m.direct_to_device");
        let told: Vec<_> = told.iter().map(|edu| edu["messages"][&bob]["D"]["body"].clone()).collect();
        assert_eq!(told, ["one", "three"]);
        let queue = scene.queue();
        assert_eq!((queue.waiting, queue.failures), (0, 0), "{queue:?}");
    }
}

#[test]
fn who_types_and_who_has_read_there_is_seen_here_and_only_of_members() {
    let scene = Scene::new(2);
    let event = scene.say("hi");
    let name = scene.server.app().server_name().to_owned();
    let edu = |kind: &str, content: Value| json!({ "edu_type": kind, "content": content });
    let [bob, stranger] = ["bob", "stranger"].map(|user| format!("@{user}:{}", scene.peers[0].name));
    let typing = |user: &str, typing: bool| {
        edu("m.typing", json!({ "room_id": scene.room, "user_id": user, "typing": typing }))
    };
    let read = |user: &str, kind: &str| {
        let said = json!({ "data": { "ts": 7 }, "event_ids": [event] });
        edu("m.receipt", json!({ &scene.room: { kind: { user: said } } }))
    };
    let others = format!("@bob:{}", scene.peers[1].name);
    let edus = [
        typing(&others, true),
        typing(&stranger, true),
        typing(&bob, true),
        typing(&scene.alice.user, true),
        read(&others, "m.read"),
        read(&stranger, "m.read"),
        read(&bob, "m.read.private"),
        read(&bob, "m.read"),
        edu("m.receipt", json!([])),
        edu("m.typing", json!({ "room_id": "!none:x", "user_id": bob, "typing": true })),
    ];
    let said = scene.peers[0].transaction(&name, "1", &edus);
    assert_eq!(scene.peers[0].send(&name, &said).status, 200);
    let ephemeral = |since: &str| {
        let sync = scene.alice.get(&format!("/_matrix/client/v3/sync?timeout=0{since}")).ok();
        let room = &sync["rooms"]["join"][&scene.room];
        let of = |kind: &str| {
            let events = room["ephemeral"]["events"].as_array().cloned().unwrap_or_default();
            let found = events.into_iter().find(|event| event["type"] == kind);
            found.map_or(Value::Null, |event| event["content"].clone())
        };
        (of("m.typing"), of("m.receipt"), sync["next_batch"].as_str().expect("a token").to_owned())
    };
    let (typing_now, receipts, since) = ephemeral("");
    assert_eq!(typing_now, json!({ "user_ids": [bob] }));
    assert_eq!(receipts, json!({ &event: { "m.read": { &bob: { "ts": 7 } } } }));
    // Said to have ceased, or not said again for a minute.
    scene.time.pass(Duration::from_secs(60));
    assert_eq!(ephemeral(&format!("&since={since}")).0, json!({ "user_ids": [] }));
}
