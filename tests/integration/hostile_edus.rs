//! What a server that proved who it is may not say of presence and of lists: each such EDU is passed over,
//! and changes nothing of what people see, of what is kept, and of what others are told.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

use serde_json::{Value, json};

use super::{
    contacts::{OURS, add, answer, list_path, requests},
    hostile_peer::{Scene, edu},
    peer::Peer,
    support::{Client, until},
};

/// A client that always has a poll open, until dropped.
struct Present {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Present {
    fn new(client: &Client) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (client, stopped) = (client.clone(), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut since = String::new();
            while !stopped.load(Ordering::Relaxed) {
                let answer = client.get(&format!("/_matrix/client/v3/sync?timeout=250{since}")).ok();
                since = format!("&since={}", answer["next_batch"].as_str().expect("a token"));
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            eprintln!("a client's server was gone");
        }
    }
}

/// A user of a scripted server, as a client of this one names them.
fn at(peer: &Peer, name: &str, like: &Client) -> Client {
    Client { user: format!("@{name}:{}", peer.name), ..like.clone() }
}

fn list_edu(kind: &str, observer: &str, observed: &str) -> Value {
    edu(kind, json!({ "observer_user": observer, "observed_user": observed }))
}

fn push(user: &str, presence: &str, status_msg: &str) -> Value {
    let status = json!({ "user_id": user, "presence": presence, "status_msg": status_msg });
    edu("m.presence", json!({ "push": [status] }))
}

fn tell(scene: &Scene, peer: &Peer, id: &str, edus: &[Value]) {
    let request = peer.transaction(&scene.name, id, edus);
    peer.send(&scene.name, &request).ok();
}

/// The state in which Alice sees a user, and their status message.
fn seen(alice: &Client, user: &Client) -> (Value, Value) {
    let status = alice.get(&format!("/_matrix/client/v3/presence/{}/status", user.user)).body;
    (status["org.pilotlight.presence"]["state"].clone(), status["status_msg"].clone())
}

/// Everything that the people of this server are shown of lists.
fn lists(scene: &Scene) -> Value {
    [&scene.alice, &scene.bob]
        .map(|who| {
            let list = who.get(&list_path(who)).ok();
            let entries = list.as_array().expect("a list").iter();
            let entries: Vec<_> =
                entries.map(|entry| json!([entry["sender"], entry["org.pilotlight.list"]])).collect();
            json!([entries, who.get(&format!("{OURS}/requests/{}", who.user)).ok()])
        })
        .into()
}

/// What was pushed to a scripted server: the texts of all EDUs that say how somebody is.
fn pushed_to(peer: &Peer) -> Vec<String> {
    let heard = peer.heard();
    let edus = heard.iter().flat_map(|heard| heard.body["edus"].as_array().into_iter().flatten());
    let contents = edus.filter(|edu| edu["edu_type"] == "m.presence").map(|edu| &edu["content"]);
    let says = |content: &&Value| {
        [&content["push"], &content["org.pilotlight"]["push"]]
            .iter()
            .any(|push| push.as_array().is_some_and(|push| !push.is_empty()))
    };
    contents.filter(says).map(Value::to_string).collect()
}

/// Presence that does not count, sent by the server of `dave`.
fn presence(scene: &Scene, dave: &str, carol: &str) -> Vec<(&'static str, Value)> {
    let one = |status: Value| edu("m.presence", json!({ "push": [status] }));
    let dave_with = |key: &str, value: Value| {
        let mut status = json!({ "user_id": dave, "presence": "unavailable" });
        status[key] = value;
        one(status)
    };
    let ours = |content: Value| edu("m.presence", json!({ "org.pilotlight": content }));
    let many = |n: u32| -> Vec<String> { (0..n).map(|n| format!("@u{n}:{}", scene.name)).collect() };
    let deep = (0..50).fold(json!(1), |inner, _| json!({ "push": [inner] }));
    vec![
        ("another server's user", push(carol, "unavailable", "lies")),
        ("our own user", push(&scene.alice.user, "unavailable", "lies")),
        (
            "its own user beside another's",
            edu(
                "m.presence",
                json!({ "push": [
            { "user_id": dave, "presence": "unavailable" }, { "user_id": carol, "presence": "unavailable" },
        ] }),
            ),
        ),
        ("a user ID that is none", push("dave", "unavailable", "")),
        ("a state that does not exist", push(dave, "invisible", "")),
        ("a state that cannot be said", dave_with("org.pilotlight.presence", json!({ "state": 7 }))),
        ("active before it began", dave_with("last_active_ago", json!(-1))),
        ("active two hundred years ago", dave_with("last_active_ago", json!(6_311_390_400_000_u64))),
        ("active at a word", dave_with("last_active_ago", json!("yesterday"))),
        ("a push that is no list", edu("m.presence", json!({ "push": { "user_id": dave } }))),
        ("a push of nothing", edu("m.presence", json!({ "push": [null, 1, {}] }))),
        ("a message of a megabyte", push(dave, "unavailable", &"x".repeat(1 << 20))),
        (
            "5,001 users",
            edu(
                "m.presence",
                json!({ "push": vec![json!({ "user_id": dave, "presence": "offline" }); 5_001] }),
            ),
        ),
        ("a poll for 100,000 users", edu("m.presence", json!({ "poll": many(100_000) }))),
        ("a poll for users of others", edu("m.presence", json!({ "poll": [carol, dave] }))),
        ("50 lists of objects in each other", edu("m.presence", deep)),
        ("a number below zero", ours(json!({ "at": [-1, 1], "push": [["dave", "unavailable"]] }))),
        ("a number that is a word", ours(json!({ "at": ["1", "1"], "push": [["dave", "unavailable"]] }))),
        ("no number", ours(json!({ "push": [["dave", "unavailable"]] }))),
        ("hidden, which cannot be said", ours(json!({ "at": [1, 1], "push": [["dave", "hidden"]] }))),
        ("no content", json!({ "edu_type": "m.presence" })),
        ("no type", json!({ "content": { "push": [] } })),
        ("a content that is a list", edu("m.presence", json!([{ "push": [] }]))),
    ]
}

/// List messages that are not for the hostile server to say.
fn list_messages(scene: &Scene, carol: &str, erin: &str) -> Vec<(&'static str, Value)> {
    let (alice, bob) = (&scene.alice.user, &scene.bob.user);
    let frank = format!("@frank:{}", scene.mallory.name);
    vec![
        ("asks for another server's user", list_edu("m.presence_invite", &format!("{erin}x"), alice)),
        ("asks in the name of ours", list_edu("m.presence_invite", alice, bob)),
        (
            "asks somebody who does not exist",
            list_edu("m.presence_invite", &frank, &format!("@no:{}", scene.name)),
        ),
        ("denies for another server's user", list_edu("m.presence_deny", alice, carol)),
        ("accepts for ours", list_edu("m.presence_accept", &frank, alice)),
        ("accepts what nobody asked", list_edu("m.presence_accept", bob, &frank)),
        ("drops for another server's user", list_edu("org.pilotlight.presence_drop", erin, bob)),
        (
            "a user ID of a megabyte",
            list_edu("m.presence_invite", &format!("@{}:x", "x".repeat(1 << 20)), alice),
        ),
        ("half of it", edu("m.presence_invite", json!({ "observer_user": frank }))),
        ("nothing of it", edu("m.presence_invite", json!([]))),
    ]
}

#[test]
fn what_is_not_for_a_server_to_say_changes_nothing_and_tells_it_nothing() {
    let scene = Scene::start_with(&["rate_limits.enabled=false"]);
    let Scene { alice, bob, mallory, honest, .. } = &scene;
    let (dave, carol, erin) =
        (at(mallory, "dave", alice), at(honest, "carol", alice), at(honest, "erin", bob));
    let _present = (Present::new(alice), Present::new(bob));
    // Alice sees Dave of the hostile server and Carol of the other one; Erin sees Bob.
    for (peer, user) in [(mallory, &dave), (honest, &carol)] {
        add(alice, user);
        tell(&scene, peer, "accept", &[list_edu("m.presence_accept", &alice.user, &user.user)]);
    }
    tell(&scene, honest, "ask", &[list_edu("m.presence_invite", &erin.user, &bob.user)]);
    assert_eq!(requests(bob), json!([erin.user]));
    answer(bob, &erin, "accept");
    tell(&scene, mallory, "dave", &[push(&dave.user, "online", "here")]);
    tell(&scene, honest, "carol", &[push(&carol.user, "online", "there")]);
    until("Alice sees both", || {
        seen(alice, &dave) == (json!("online"), json!("here"))
            && seen(alice, &carol) == (json!("online"), json!("there"))
    });
    until("Erin's server is told of Bob", || pushed_to(honest).iter().any(|text| text.contains("bob")));

    let (rows, shown, memory) = (scene.rows(), lists(&scene), scene.memory_kib());
    let hostile = presence(&scene, &dave.user, &carol.user).into_iter();
    let hostile = hostile.chain(list_messages(&scene, &carol.user, &erin.user));
    for (n, (what, edu)) in hostile.enumerate() {
        tell(&scene, mallory, &format!("hostile{n}"), &[edu]);
        assert_eq!(seen(alice, &dave), (json!("online"), json!("here")), "{what}");
        assert_eq!(seen(alice, &carol), (json!("online"), json!("there")), "{what}");
        assert_eq!(lists(&scene), shown, "{what}");
    }
    let polls = json!({ "poll": [alice.user, bob.user], "org.pilotlight": { "at": [9, 9], "hello": true } });
    tell(&scene, mallory, "polls", &[edu("m.presence", polls)]);
    assert_eq!(scene.rows(), rows);
    let grown = scene.memory_kib().saturating_sub(memory);
    assert!(grown < 64 << 10, "{grown} KiB");

    bob.put(&format!("/_matrix/client/v3/presence/{}/status", bob.user), json!({ "presence": "busy" })).ok();
    until("Erin's server is told that Bob is busy", || {
        pushed_to(honest).iter().any(|text| text.contains("busy"))
    });
    assert_eq!(pushed_to(mallory), Vec::<String>::new(), "whom nobody accepted is told of nobody");
    tell(&scene, mallory, "still", &[push(&dave.user, "unavailable", "still there")]);
    until("it can still speak for its own", || seen(alice, &dave).1 == json!("still there"));
}
