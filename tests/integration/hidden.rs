//! P4: whatever a hidden user does, others and other servers see what they would see of one who is offline, byte for
//! byte. Two users live the same life until one hides and the other one goes; the first goes on, in every way there is.

use std::{collections::HashMap, time::Duration};

use pilotlight::core::list::Kind;
use ruma::UserId;
use serde_json::{Value, json};

use super::{
    authority::Authority,
    driven::Time,
    peer::Peer,
    presence::{device, put, status_path},
    support::{Client, TestServer},
    sync::{Reader, create_room, room_of, send},
    watching::{PROMISE, WINDOW, now},
};

/// What the user of a [`Scene`] does from then on.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Hides,
    Goes,
}

/// Alice, whom Bob sees by a room and a user of another server by her list.
struct Scene {
    time: Time,
    server: TestServer,
    peer: Peer,
    alice: Client,
    bob: Client,
    bobs: Reader,
    room: String,
    other_room: String,
    sent: u32,
    /// Everything that was seen by others.
    log: Vec<String>,
    _ca: Authority,
}

impl Scene {
    fn new() -> Self {
        let (ca, time) = (Authority::new(), Time::new());
        let (name, server) = ca.driven(&time, |config| config.rate_limits.enabled = false);
        let peer = Peer::start(&ca, Duration::ZERO);
        let (alice, bob) = (server.register("alice"), server.register("bob"));
        let room = room_of(&alice, &[&bob]);
        let other_room = create_room(&bob, json!({ "preset": "public_chat" }));
        let carol = format!("@carol:{}", peer.name);
        let owner = UserId::parse(&alice.user).expect("a user");
        now(server.app().contacts.change(&owner, |list| {
            list.handle_message(&carol.as_str().into(), Kind::Invite, Some(1));
            list.handle_accept(&carol.as_str().into()).expect("a request");
            Ok(())
        }))
        .expect("can be written");
        let poll = json!({ "edu_type": "m.presence",
            "content": { "org.pilotlight": { "at": [1, 1], "hello": true, "poll": ["alice"] } } });
        peer.send(&name, &peer.transaction(&name, "1", &[poll])).ok();
        let bobs = Reader::new(&bob);
        let log = Vec::new();
        Self { time, server, peer, alice, bob, bobs, room, other_room, sent: 0, log, _ca: ca }
    }

    fn say(&mut self, who: &Client) -> String {
        self.sent += 1;
        send(who, &self.room, &format!("t{}", self.sent), "text")
    }

    fn pass(&mut self, seconds: u64) {
        self.time.pass(Duration::from_secs(seconds));
        self.look(&format!("{seconds} s later"));
    }

    /// Notes what Bob sees, who goes on, comes anew, and asks.
    fn look(&mut self, when: &str) {
        self.time.settle();
        let mut news = self.bobs.now();
        let mut fresh = Reader { since: String::new(), ..Reader::new(&self.bob) }.now();
        for answer in [&mut news, &mut fresh] {
            answer["next_batch"].take();
            // Room IDs are random, and so is their order.
            let join = answer["rooms"]["join"].take();
            answer["rooms"]["join"] = json!([join[&self.room], join[&self.other_room]]);
        }
        let status = self.bob.get(&status_path(&self.alice.user)).ok();
        self.log.extend([format!("{when}: {news}"), format!("{when}, anew: {fresh}"), status.to_string()]);
    }

    /// Together until one of the two hides: present, speaking, reading, typing, with a message and a picture.
    fn life(&mut self) {
        let (alice, bob) = (self.alice.clone(), self.bob.clone());
        Reader::with(&alice, "&set_presence=online&org.pilotlight.device_type=web");
        put(&alice, json!({ "presence": "online", "status_msg": "hello" }));
        let name = format!("/_matrix/client/v3/profile/{}/displayname", alice.user);
        alice.put(&name, json!({ "displayname": "Alice" })).ok();
        self.look("at first");
        self.say(&alice);
        let read = self.say(&bob);
        let receipt = format!("/_matrix/client/v3/rooms/{}/receipt/m.read/{read}", self.room);
        alice.post(&receipt, json!({})).ok();
        let typing = format!("/_matrix/client/v3/rooms/{}/typing/{}", self.room, alice.user);
        alice.put(&typing, json!({ "typing": true, "timeout": 1000 })).ok();
        self.look("when she was there");
        self.pass(2);
        device(&alice, json!({ "idle_ms": 200_000 }));
        self.pass(20);
        device(&alice, json!({ "idle_ms": 0 }));
        self.time.pass(WINDOW);
        self.look("online");
        assert!(self.log[self.log.len() - 1].contains("\"state\":\"online\""), "{:?}", self.log);
    }

    /// What shows by itself, whoever does it: the same for both.
    fn open_acts(&mut self) {
        let (alice, bob) = (self.alice.clone(), self.bob.clone());
        let name = format!("/_matrix/client/v3/profile/{}/displayname", alice.user);
        alice.put(&name, json!({ "displayname": "Alice the second" })).ok();
        self.look("another name");
        alice.post(&format!("/_matrix/client/v3/join/{}", self.other_room), json!({})).ok();
        self.look("another room");
        self.say(&alice);
        self.look("a message");
        self.say(&bob);
    }

    /// What must not show.
    fn secret_acts(&mut self, read: &str) {
        let (alice, room) = (self.alice.clone(), self.room.clone());
        let rooms = format!("/_matrix/client/v3/rooms/{room}");
        let ours = format!("/_matrix/client/unstable/org.pilotlight/presence/{}", alice.user);
        for with in
            ["", "&set_presence=online", "&set_presence=unavailable", "&org.pilotlight.device_type=mobile"]
        {
            Reader::with(&alice, with);
        }
        put(&alice, json!({ "presence": "hidden", "status_msg": "a secret" }));
        put(&alice, json!({ "presence": "offline", "status_msg": "another one" }));
        put(&alice, json!({ "presence": "hidden", "status_msg": null }));
        for idle in [0, 60_000, 0] {
            device(&alice, json!({ "idle_ms": idle, "device_type": "desktop" }));
        }
        alice.post(&format!("{rooms}/receipt/m.read/{read}"), json!({})).ok();
        alice.post(&format!("{rooms}/receipt/m.read/{read}"), json!({ "thread_id": "main" })).ok();
        alice.post(&format!("{rooms}/receipt/m.read.private/{read}"), json!({})).ok();
        let marks = json!({ "m.fully_read": read, "m.read": read });
        alice.post(&format!("{rooms}/read_markers"), marks).ok();
        for typing in [true, true, false] {
            let notice = json!({ "typing": typing, "timeout": 60_000 });
            alice.put(&format!("{rooms}/typing/{}", alice.user), notice).ok();
        }
        let to_device = json!({ "messages": { &alice.user: { "*": { "n": 1 } } } });
        let path = format!("/_matrix/client/v3/sendToDevice/org.x.test/s{}", self.sent);
        alice.put(&path, to_device).ok();
        let data = format!("/_matrix/client/v3/user/{}/account_data/org.x.test", alice.user);
        alice.put(&data, json!({ "n": self.sent })).ok();
        alice.put(&format!("{ours}/delivery"), json!({ "enabled": false })).ok();
        alice.put(&format!("{ours}/delivery"), json!({ "enabled": true })).ok();
        alice.get(&format!("/_matrix/client/v3/presence/list/{}", alice.user)).ok();
        alice.get(&format!("{rooms}/messages?dir=b")).ok();
        alice.get(&status_path(&self.bob.user)).ok();
        Reader::with(&alice, "&set_presence=online");
    }

    fn run(mut self, way: Way) -> Vec<String> {
        self.life();
        match way {
            Way::Hides => put(&self.alice, json!({ "presence": "hidden", "status_msg": "to the doctor" })),
            Way::Goes => put(&self.alice, json!({ "presence": "offline" })),
        }
        self.look("gone");
        for seconds in [29, 31, 59, 70, 3_700, 90_000] {
            let bob = self.bob.clone();
            let read = self.say(&bob);
            self.look("a message of his");
            if way == Way::Hides {
                self.secret_acts(&read);
            }
            self.look("nothing");
            self.open_acts();
            if way == Way::Hides {
                self.secret_acts(&read);
            }
            self.pass(seconds);
        }
        self.time.pass(PROMISE);
        self.plain()
    }

    /// Away for a while first; then one hides, in every way, and the other one goes on to be away.
    fn run_away(mut self, way: Way) -> Vec<String> {
        let phone = self.server.log_in("alice");
        self.life();
        self.pass(100);
        assert!(self.log[self.log.len() - 1].contains("\"state\":\"offline\""), "{:?}", self.log);
        for seconds in [200, 700, 4_000] {
            self.pass(seconds);
            if way == Way::Hides {
                for word in ["hidden", "offline"] {
                    put(&self.alice, json!({ "presence": word, "status_msg": "to the doctor" }));
                    put(&phone, json!({ "presence": word }));
                }
            }
            self.look("nothing");
        }
        self.time.pass(PROMISE);
        self.look("in the end");
        self.plain()
    }

    /// The log and what the other server was told, with names in place of what is made up at random.
    fn plain(self) -> Vec<String> {
        let pushes = self.peer.heard().into_iter().flat_map(|heard| {
            let edus = heard.body["edus"].as_array().cloned().unwrap_or_default();
            edus.into_iter().map(|edu| edu["content"].clone())
        });
        let pushes = pushes.map(|content| match &content["push"] {
            Value::Null => content["org.pilotlight"]["push"].clone(),
            matrix => matrix.clone(),
        });
        let mut pushes: Vec<_> = pushes.filter(|push| !push.is_null()).collect();
        // When it is told again, in hours, is drawn at random.
        for push in &mut pushes {
            let offline = push[0][1] == "offline";
            for at in [3, 6] {
                let ago = push.get_mut(0).and_then(|push| push.get_mut(at)).map(Value::take);
                let coarse = ago.and_then(|ago| ago.as_u64()).is_none_or(|ago| ago % 60_000 == 0);
                assert!(coarse || !offline, "{push}");
            }
        }
        pushes.dedup();
        let pushes = pushes.into_iter().map(|push| format!("told the other server: {push}"));
        let mut names = HashMap::new();
        let lines: Vec<_> = self.log.iter().cloned().chain(pushes).collect();
        let own = self.server.app().server_name().as_str().to_owned();
        lines.iter().map(|line| without_ids(&line.replace(&own, "own"), &mut names)).collect()
    }
}

/// Room and event IDs, hashes and signatures are random: each becomes a number, in the order in which they come.
fn without_ids(line: &str, names: &mut HashMap<String, usize>) -> String {
    let is_id = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let (mut out, mut rest) = (String::new(), line);
    while let Some(at) = rest.find(['$', '!']) {
        let (before, after) = rest.split_at(at + 1);
        let end = after.find(|c| !is_id(c)).unwrap_or(after.len());
        let count = names.len();
        let number = *names.entry(after[..end].to_owned()).or_insert(count);
        out += &format!("{before}{number}");
        rest = &after[end..];
    }
    let mut plain = out + rest;
    // Tokens count what happens to anybody.
    while let Some(at) = plain.find("\"prev_batch\":\"") {
        let from = at + "\"prev_batch\":\"".len();
        let end = from + plain[from..].find('"').expect("a string");
        plain.replace_range(at..=end, "");
    }
    plain
}

#[test]
fn p4_others_and_other_servers_cannot_tell_a_hidden_user_from_one_who_is_gone() {
    let [hidden, gone] = [Way::Hides, Way::Goes].map(|way| Scene::new().run(way));
    for (hidden, gone) in hidden.iter().zip(&gone) {
        assert_eq!(hidden, gone);
    }
    assert_eq!(hidden.len(), gone.len());
    assert!(hidden.iter().any(|line| line.starts_with("told the other server")), "it was told something");
    let last = hidden.iter().rev().find(|line| line.starts_with('{')).expect("a status");
    assert!(last.contains("\"status_msg\":\"hello\"") && last.contains("\"state\":\"offline\""), "{last}");
}

#[test]
fn p4_who_hides_while_away_cannot_be_told_from_one_who_is_only_away() {
    let [hidden, gone] = [Way::Hides, Way::Goes].map(|way| Scene::new().run_away(way));
    for (hidden, gone) in hidden.iter().zip(&gone) {
        assert_eq!(hidden, gone);
    }
    assert_eq!(hidden.len(), gone.len());
}

#[test]
fn p9_times_of_who_is_offline_are_coarse_on_the_way_to_other_servers() {
    let mut scene = Scene::new();
    scene.life();
    put(&scene.alice, json!({ "presence": "offline" }));
    scene.time.pass(Duration::from_secs(154));
    let name = scene.server.app().server_name().to_owned();
    let poll = json!({ "edu_type": "m.presence",
        "content": { "org.pilotlight": { "at": [1, 2], "poll": ["alice"] } } });
    let before = scene.peer.heard().len();
    scene.peer.send(&name, &scene.peer.transaction(&name, "2", &[poll])).ok();
    scene.time.pass(WINDOW);
    let answers = scene.peer.heard()[before..].to_vec();
    let pushes = answers.iter().map(|heard| &heard.body["edus"][0]["content"]["org.pilotlight"]["push"]);
    let push = pushes.rev().find(|push| !push.is_null()).expect("an answer").clone();
    assert_eq!((&push[0][1], &push[0][6]), (&json!("offline"), &json!(120_000)), "{push}");
    assert_eq!(push[0][3].as_u64().expect("a time") % 60_000, 0, "{push}");
}

#[test]
fn p4_a_receipt_of_a_hidden_user_leaves_the_one_that_others_saw_and_counts_for_their_own_devices() {
    let scene = Scene::new();
    let (alice, bob, room) = (&scene.alice, &scene.bob, &scene.room);
    let phone = scene.server.log_in("alice");
    let receipt = |event: &str| {
        let path = format!("/_matrix/client/v3/rooms/{room}/receipt/m.read/{event}");
        alice.post(&path, json!({})).ok();
    };
    let shown = |client: &Client| {
        let answer = Reader { client: client.clone(), since: String::new(), with: String::new() }.now();
        let joined = &answer["rooms"]["join"][room];
        let receipts = joined["ephemeral"]["events"][0]["content"].clone();
        let unread = joined["unread_notifications"]["notification_count"].clone();
        let mut read: Vec<_> =
            receipts.as_object().into_iter().flatten().map(|(event, _)| event.clone()).collect();
        read.sort();
        (read, unread)
    };
    let first = send(bob, room, "r1", "one");
    receipt(&first);
    put(alice, json!({ "presence": "hidden" }));
    let second = send(bob, room, "r2", "two");
    assert_eq!(shown(&phone).1, 1);
    receipt(&second);
    assert_eq!(shown(bob).0, std::slice::from_ref(&first), "what others saw");
    let mut both = vec![first, second.clone()];
    both.sort();
    assert_eq!(shown(&phone), (both, json!(0)), "what her own devices see");
    put(alice, json!({ "presence": "online" }));
    receipt(&second);
    assert_eq!(shown(bob).0, [second]);
}
