//! Presence along rooms that users of two servers share (F10), with no list between them.

use std::time::Duration;

use pilotlight::server::event::stored::Membership;
use serde_json::{Value, json};

use super::{
    authority::Authority,
    driven::Time,
    federation_outgoing::bring,
    peer::Peer,
    support::{Client, TestServer},
    watching::{GRACE, Pair, WINDOW, Watcher},
};

/// Time enough for who comes to ask and be answered.
const LOGIN: Duration = Duration::from_secs(1);

fn create(client: &Client) -> String {
    let room = client.post("/_matrix/client/v3/createRoom", json!({ "preset": "public_chat" })).ok();
    room["room_id"].as_str().expect("a room").to_owned()
}

fn join(client: &Client, room: &str, via: &str) {
    let path = format!("/_matrix/client/v3/join/{room}?server_name={via}&via={via}");
    client.post(&path, json!({})).ok();
}

fn leave(client: &Client, room: &str) {
    client.post(&format!("/_matrix/client/v3/rooms/{room}/leave"), json!({})).ok();
}

fn edu(user: &str, presence: &str) -> Value {
    let push =
        json!({ "user_id": user, "presence": presence, "last_active_ago": 5, "currently_active": true });
    json!({ "edu_type": "m.presence", "content": { "push": [push] } })
}

#[test]
fn f10_who_shares_a_room_with_users_of_another_server_sees_them_and_is_seen() {
    let pair = Pair::new();
    let (alice, bob) = (pair.a.register("alice"), pair.b.register("bob"));
    let room = create(&alice);
    join(&bob, &room, pair.a_name.as_str());
    let (alice, bob) = (Watcher::new(&alice), Watcher::new(&bob));
    pair.time.pass(LOGIN + WINDOW);
    alice.sees(&bob.client.user, "online");
    bob.sees(&alice.client.user, "online");
    alice.choose("busy");
    pair.time.pass(WINDOW);
    bob.sees(&alice.client.user, "busy");
    bob.say("here");
    pair.time.pass(WINDOW);
    alice.sees(&bob.client.user, "online (here)");
    leave(&bob.client, &room);
    pair.time.pass(WINDOW);
    alice.sees(&bob.client.user, "unknown");
    bob.sees(&alice.client.user, "unknown");
    alice.choose("online");
    pair.time.pass(WINDOW * 2);
    bob.sees(&alice.client.user, "unknown");
}

#[test]
fn f10_a_server_that_starts_again_sees_and_shows_who_shares_its_rooms() {
    let pair = Pair::new();
    let (alice, bob) = (pair.a.register("alice"), pair.b.register("bob"));
    let room = create(&alice);
    join(&bob, &room, pair.a_name.as_str());
    let watching = Watcher::new(&alice);
    pair.time.pass(LOGIN);
    let Pair { time, b, .. } = pair;
    let b = b.stop().start();
    let bob = Watcher::new(&b.log_in("bob"));
    time.pass(LOGIN + WINDOW * 2);
    watching.sees(&bob.client.user, "online");
    bob.sees(&watching.client.user, "online");
}

#[test]
fn p10_a_new_name_comes_with_the_presence_in_one_event_across_servers() {
    let pair = Pair::new();
    let (alice, bob) = (pair.a.register("alice"), pair.b.register("bob"));
    let room = create(&alice);
    join(&bob, &room, pair.a_name.as_str());
    let (alice, bob) = (Watcher::new(&alice), Watcher::new(&bob));
    pair.time.pass(LOGIN + WINDOW);
    alice.sees(&bob.client.user, "online");
    let before = alice.contents(&bob.client.user).len();
    let profile = |key: &str| format!("/_matrix/client/v3/profile/{}/{key}", bob.client.user);
    bob.client.put(&profile("displayname"), json!({ "displayname": "Robert" })).ok();
    bob.client.put(&profile("avatar_url"), json!({ "avatar_url": "mxc://b/face" })).ok();
    bob.say("renamed");
    pair.time.pass(WINDOW * 2);
    let told: Vec<_> = alice.contents(&bob.client.user).split_off(before);
    let shown = |content: &Value| {
        ["displayname", "avatar_url", "status_msg"]
            .map(|key| content[key].as_str().unwrap_or_default().to_owned())
    };
    let told: Vec<_> = told.iter().map(shown).collect();
    assert_eq!(told, [["Robert", "mxc://b/face", "renamed"].map(str::to_owned)]);
}

#[test]
fn l6_a_room_beyond_the_limit_ties_nobody_across_servers_either() {
    let pair = Pair::with(|config| config.presence.max_room_members = 2);
    let (alice, bob, carol) = (pair.a.register("alice"), pair.b.register("bob"), pair.b.register("carol"));
    let room = create(&alice);
    [&bob, &carol].into_iter().for_each(|user| join(user, &room, pair.a_name.as_str()));
    pair.time.settle();
    let (alice, bob) = (Watcher::new(&alice), Watcher::new(&bob));
    pair.time.pass(LOGIN + WINDOW);
    assert_eq!((alice.history(&bob.client.user), bob.history(&alice.client.user)), (vec![], vec![]));
    leave(&carol, &room);
    pair.time.pass(LOGIN + WINDOW);
    alice.sees(&bob.client.user, "online");
    bob.sees(&alice.client.user, "online");
    join(&carol, &room, pair.a_name.as_str());
    pair.time.pass(LOGIN + WINDOW);
    alice.sees(&bob.client.user, "unknown");
    bob.sees(&alice.client.user, "unknown");
}

/// A server of ours with one user in a room with another of a scripted server, which is a stock one.
fn with_stock() -> (Authority, Time, TestServer, Client, Peer) {
    let (ca, time) = (Authority::new(), Time::new());
    let (_, server) = ca.driven(&time, |config| config.rate_limits.enabled = false);
    let alice = server.register("alice");
    let room = create(&alice);
    let peer = Peer::start(&ca, Duration::ZERO);
    bring(&server, &room, &format!("@bob:{}", peer.name), Membership::Join);
    time.settle();
    (ca, time, server, alice, peer)
}

#[test]
fn f10_a_stock_server_is_pushed_who_shares_its_rooms_and_what_it_pushes_is_seen() {
    let (_ca, time, server, alice, peer) = with_stock();
    let name = server.app().server_name().to_owned();
    let alice = Watcher::new(&alice);
    time.pass(LOGIN + WINDOW);
    let pushed = |state: &str| {
        let pushes = peer.edus("m.presence").into_iter().flat_map(|edu| edu["push"].as_array().cloned());
        let of_alice = |push: &Value| push["user_id"] == *alice.client.user && push["presence"] == state;
        pushes.flatten().filter(of_alice).count()
    };
    assert_eq!(pushed("online"), 1);
    let [bob, stranger] = ["bob", "stranger"].map(|user| format!("@{user}:{}", peer.name));
    let said = peer.transaction(&name, "1", &[edu(&bob, "online"), edu(&stranger, "online")]);
    assert_eq!(peer.send(&name, &said).status, 200);
    time.pass(LOGIN);
    alice.sees(&bob, "online");
    assert_eq!(alice.history(&stranger), Vec::<String>::new());
    let polls = || peer.edus("m.presence").iter().filter(|edu| !edu["poll"].is_null()).count();
    time.pass(Duration::from_secs(120));
    let asked = polls();
    let user = alice.client.user.clone();
    drop(alice);
    time.pass(GRACE + WINDOW);
    let gone = peer.edus("m.presence").into_iter().flat_map(|edu| edu["push"].as_array().cloned()).flatten();
    assert!(gone.filter(|push| push["user_id"] == *user).any(|push| push["presence"] == "offline"));
    assert_eq!(polls(), asked, "it is not asked again for whom it does not say");
}
