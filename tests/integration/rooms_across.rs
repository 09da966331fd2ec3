//! Rooms that users of several of our servers come into: by groups, by knocking, by another room, by invites that are not
//! wanted; and in the order in which a device says so.

use std::{thread::spawn, time::Duration};

use ruma::OwnedServerName;
use serde_json::{Value, json};

use super::{
    authority::Authority,
    contacts::OURS,
    driven::Time,
    room_visits::{Scene, V3},
    rooms_life::bodies,
    support::{Answer, Client, TestServer},
};

/// Three servers that speak with each other on one time.
struct Three {
    _ca: Authority,
    time: Time,
    names: [OwnedServerName; 3],
    servers: [TestServer; 3],
}

impl Three {
    fn new() -> Self {
        let (ca, time) = (Authority::new(), Time::new());
        let [a, b, c] = [(); 3].map(|()| ca.driven(&time, |_| {}));
        Self { _ca: ca, time, names: [a.0, b.0, c.0], servers: [a.1, b.1, c.1] }
    }

    fn user(&self, server: usize, name: &str) -> Client {
        self.servers[server].register(name)
    }

    /// Joins a room by the first server.
    fn join(&self, who: &Client, room: &str) -> Answer {
        let answer = who.post(&format!("{V3}/join/{room}?via={}", self.names[0]), json!({}));
        self.time.settle();
        answer
    }
}

fn rooms(who: &Client, which: &str) -> Vec<String> {
    let answer = who.get(&format!("{V3}/sync?timeout=0")).ok();
    answer["rooms"][which].as_object().map(|rooms| rooms.keys().cloned().collect()).unwrap_or_default()
}

fn membership(by: &Client, room: &str, of: &Client) -> Value {
    by.get(&format!("{V3}/rooms/{room}/state/m.room.member/{}", of.user)).body["membership"].clone()
}

fn say(by: &Client, room: &str, text: &str) -> Answer {
    by.put(
        &format!("{V3}/rooms/{room}/send/m.room.message/{text}"),
        json!({ "msgtype": "m.text", "body": text }),
    )
}

fn said(by: &Client, room: &str) -> Vec<String> {
    let page = by.get(&format!("{V3}/rooms/{room}/messages?dir=b&limit=50")).ok();
    let mut bodies: Vec<String> = bodies(&page).into_iter().map(str::to_owned).collect();
    bodies.reverse();
    bodies
}

#[test]
fn l4_a_group_of_contacts_on_three_servers_is_invited_as_it_is_at_the_time() {
    let three = Three::new();
    let alice = three.user(0, "alice");
    let (bob, carol, dora) = (three.user(1, "bob"), three.user(2, "carol"), three.user(2, "dora"));
    let asked = json!({ "invite": [bob.user, carol.user, dora.user] });
    alice.post(&format!("{V3}/presence/list/{}", alice.user), asked).ok();
    let group = format!("{OURS}/groups/{}/team", alice.user);
    for member in [&bob, &carol] {
        alice.put(&format!("{group}/members/{}", member.user), json!({})).ok();
    }
    let invite = || {
        let answer = alice.post(&format!("{group}/invite"), json!({})).ok();
        three.time.settle();
        assert_eq!(answer["not_invited"], json!([]));
        let mut invited: Vec<Value> = answer["invited"].as_array().expect("a list").clone();
        invited.sort_by_key(ToString::to_string);
        (answer["room_id"].as_str().expect("a room").to_owned(), invited)
    };
    let sorted = |users: [&Client; 2]| {
        let mut users: Vec<Value> = users.iter().map(|client| json!(client.user)).collect();
        users.sort_by_key(ToString::to_string);
        users
    };
    let (first, invited) = invite();
    assert_eq!(invited, sorted([&bob, &carol]));
    assert!(rooms(&dora, "invite").is_empty());
    for who in [&bob, &carol] {
        assert_eq!(rooms(who, "invite"), [first.as_str()]);
        three.join(who, &first).ok();
        say(who, &first, who.user.split(':').next().expect("a name").trim_start_matches('@')).ok();
        three.time.settle();
    }
    say(&alice, &first, "alice").ok();
    three.time.settle();
    for who in [&alice, &carol] {
        assert_eq!(said(who, &first), ["bob", "carol", "alice"]);
    }

    // Who comes into the group is invited from then on, and who was taken out is not.
    alice.put(&format!("{group}/members/{}", dora.user), json!({})).ok();
    alice.delete(&format!("{group}/members/{}", bob.user), json!({})).ok();
    let (second, invited) = invite();
    assert_eq!(invited, sorted([&carol, &dora]));
    assert!(rooms(&bob, "invite").is_empty());
    for who in [&carol, &dora] {
        three.join(who, &second).ok();
        assert_eq!(rooms(who, "join").len(), if who.user == dora.user { 1 } else { 2 });
    }
    say(&dora, &second, "dora").ok();
    three.time.settle();
    assert_eq!(
        (said(&alice, &second), said(&carol, &second)),
        (vec!["dora".to_owned()], vec!["dora".to_owned()])
    );
    // Who is taken out of the group stays in the rooms that it made.
    say(&bob, &first, "still").ok();
    three.time.settle();
    assert_eq!(said(&alice, &first).last().map(String::as_str), Some("still"));
}

#[test]
fn l7_who_does_not_want_a_chat_is_not_invited_from_another_server_and_who_declines_is_gone_there_too() {
    let three = Three::new();
    let (alice, bob, carol) = (three.user(0, "alice"), three.user(1, "bob"), three.user(2, "carol"));
    let settings = format!("{OURS}/settings/{}", bob.user);
    bob.put(&settings, json!({ "invites": { "offline": "nobody", "online": "nobody" } })).ok();
    let room =
        alice.post(&format!("{V3}/createRoom"), json!({ "preset": "private_chat" })).ok()["room_id"].clone();
    let room = room.as_str().expect("a room");
    let invite = |who: &Client| {
        let answer = alice.post(&format!("{V3}/rooms/{room}/invite"), json!({ "user_id": who.user }));
        three.time.settle();
        answer
    };
    let refused = invite(&bob).refused(403, "M_FORBIDDEN");
    for word in ["nobody", "online", "busy", "offline"] {
        assert!(!refused["error"].as_str().expect("words").contains(word), "{refused}");
    }
    assert_eq!((rooms(&bob, "invite"), membership(&alice, room, &bob)), (vec![], Value::Null));
    bob.put(&settings, json!({ "invites": { "offline": "everybody", "online": "everybody" } })).ok();
    for who in [&bob, &carol] {
        invite(who).ok();
        let sync = who.get(&format!("{V3}/sync?timeout=0")).ok();
        assert!(sync["rooms"]["invite"][room].is_object(), "{sync}");
        who.post(&format!("{V3}/rooms/{room}/leave"), json!({})).ok();
        three.time.settle();
        let since = sync["next_batch"].as_str().expect("a token");
        let sync = who.get(&format!("{V3}/sync?timeout=0&since={since}")).ok();
        let left = &sync["rooms"]["leave"][room]["timeline"]["events"][0];
        assert_eq!((&left["content"]["membership"], &left["sender"]), (&json!("leave"), &json!(who.user)));
        assert!(rooms(who, "invite").is_empty());
        assert_eq!(membership(&alice, room, who), "leave");
        three.join(who, room).refused(403, "M_FORBIDDEN");
    }
    // Asked again, they can come.
    invite(&bob).ok();
    three.join(&bob, room).ok();
    assert_eq!(membership(&alice, room, &bob), "join");
}

#[test]
fn a_room_that_lets_in_members_of_another_and_whom_somebody_answers_does_so_across_servers() {
    for version in ["10", "11", "12"] {
        let three = Three::new();
        let (alice, bob, carol) = (three.user(0, "alice"), three.user(1, "bob"), three.user(2, "carol"));
        let create = |request: Value| {
            let made = alice.post(&format!("{V3}/createRoom"), request).ok();
            made["room_id"].as_str().expect("a room").to_owned()
        };
        let club = create(json!({ "preset": "public_chat", "room_version": version }));
        let rule = json!({ "join_rule": "knock_restricted",
            "allow": [{ "type": "m.room_membership", "room_id": club }] });
        let rules = json!([{ "type": "m.room.join_rules", "state_key": "", "content": rule }]);
        let room =
            create(json!({ "preset": "private_chat", "room_version": version, "initial_state": rules }));
        // A member of the club comes in, and nobody else.
        three.join(&bob, &club).ok();
        three.join(&bob, &room).ok();
        assert_eq!(membership(&alice, &room, &bob), "join", "{version}");
        three.join(&carol, &room).refused(403, "M_FORBIDDEN");
        // What he is called afterwards nobody has to vouch for, whichever way he says it.
        let name = |name: &str| json!({ "displayname": name });
        bob.put(&format!("{V3}/profile/{}/displayname", bob.user), name("Bob B.")).ok();
        three.time.settle();
        let own = bob.get(&format!("{V3}/rooms/{room}/state/m.room.member/{}", bob.user)).ok().clone();
        assert_eq!(own, json!({ "membership": "join", "displayname": "Bob B." }), "{version}");
        let mut again = own;
        again["displayname"] = "Bobby".into();
        again["join_authorised_via_users_server"] = alice.user.clone().into();
        bob.put(&format!("{V3}/rooms/{room}/state/m.room.member/{}", bob.user), again).ok();
        say(&bob, &room, "here").ok();
        three.time.settle();
        assert_eq!(said(&alice, &room), ["here"], "{version}");
        let shown = alice.get(&format!("{V3}/rooms/{room}/state/m.room.member/{}", bob.user));
        assert_eq!(shown.ok()["displayname"], "Bobby", "{version}");
        // She knocks, and is answered.
        let knock = format!("{V3}/knock/{room}?via={}", three.names[0]);
        carol.post(&knock, json!({ "reason": "please" })).ok();
        three.time.settle();
        assert_eq!(rooms(&carol, "knock"), [room.as_str()], "{version}");
        for who in [&alice, &bob] {
            assert_eq!(membership(who, &room, &carol), "knock", "{version}");
        }
        three.join(&carol, &room).refused(403, "M_FORBIDDEN");
        alice.post(&format!("{V3}/rooms/{room}/invite"), json!({ "user_id": carol.user })).ok();
        three.time.settle();
        assert_eq!(rooms(&carol, "invite"), [room.as_str()], "{version}");
        three.join(&carol, &room).ok();
        say(&carol, &room, "thanks").ok();
        three.time.settle();
        assert_eq!(said(&bob, &room), ["here", "thanks"], "{version}");
    }
}

#[test]
fn a_server_that_has_left_a_room_lets_nobody_in_by_what_it_knew_of_that_room() {
    let three = Three::new();
    let (alice, bob, carol) = (three.user(0, "alice"), three.user(1, "bob"), three.user(2, "carol"));
    let create = |request: Value| {
        let made = alice.post(&format!("{V3}/createRoom"), request).ok();
        made["room_id"].as_str().expect("a room").to_owned()
    };
    let club = create(json!({ "preset": "public_chat" }));
    let rule =
        json!({ "join_rule": "restricted", "allow": [{ "type": "m.room_membership", "room_id": club }] });
    let rules = json!([{ "type": "m.room.join_rules", "state_key": "", "content": rule }]);
    let room = create(json!({ "preset": "private_chat", "initial_state": rules }));
    for who in [&bob, &carol] {
        three.join(who, &club).ok();
    }
    three.join(&bob, &room).ok();
    bob.post(&format!("{V3}/rooms/{club}/leave"), json!({})).ok();
    three.time.settle();
    alice.post(&format!("{V3}/rooms/{club}/ban"), json!({ "user_id": carol.user })).ok();
    three.time.settle();
    let by_bobs = format!("{V3}/join/{room}?via={}", three.names[1]);
    carol.post(&by_bobs, json!({})).refused(400, "M_UNABLE_TO_AUTHORISE_JOIN");
    assert_eq!(membership(&alice, &room, &carol), Value::Null);
}

#[test]
fn what_was_said_while_somebody_was_away_stands_before_their_coming_back() {
    let three = Three::new();
    let (alice, bob) = (three.user(0, "alice"), three.user(1, "bob"));
    for syncs_between in [true, false] {
        let made = alice.post(&format!("{V3}/createRoom"), json!({ "preset": "public_chat" })).ok();
        let room = made["room_id"].as_str().expect("a room").to_owned();
        let mut since = String::new();
        let mut sync = || {
            let news = bob.get(&format!("{V3}/sync?timeout=0{since}")).ok().clone();
            since = format!("&since={}", news["next_batch"].as_str().expect("a token"));
            news["rooms"]["join"][&room]["timeline"].clone()
        };
        three.join(&bob, &room).ok();
        say(&bob, &room, "here").ok();
        three.time.settle();
        sync();
        bob.post(&format!("{V3}/rooms/{room}/leave"), json!({})).ok();
        three.time.settle();
        if syncs_between {
            sync();
        }
        for text in ["one", "two", "three"] {
            say(&alice, &room, text).ok();
        }
        three.time.settle();
        three.join(&bob, &room).ok();
        let timeline = sync();
        assert_eq!(
            (&timeline["limited"], bodies_of(&timeline["events"]).len()),
            (&json!(true), 0),
            "{timeline}"
        );
        let from = timeline["prev_batch"].as_str().expect("a token");
        let before = bob.get(&format!("{V3}/rooms/{room}/messages?dir=b&limit=50&from={from}")).ok().clone();
        assert_eq!(bodies_of(&before["chunk"]), ["three", "two", "one", "here"], "{syncs_between}");
    }
}

#[test]
fn an_upgrade_that_was_made_elsewhere_is_followed_by_the_directory_when_the_first_comes_in() {
    let three = Three::new();
    let (alice, bob) = (three.user(0, "alice"), three.user(1, "bob"));
    let made = alice.post(&format!("{V3}/createRoom"), json!({ "preset": "public_chat" })).ok();
    let old = made["room_id"].as_str().expect("a room").to_owned();
    three.join(&bob, &old).ok();
    let alias = format!("{V3}/directory/room/%23garden:{}", three.names[1]);
    bob.put(&alias, json!({ "room_id": old })).ok();
    let upgrade = alice.post(&format!("{V3}/rooms/{old}/upgrade"), json!({ "new_version": "12" })).ok();
    let new = upgrade["replacement_room"].as_str().expect("a room").to_owned();
    three.time.settle();
    assert_eq!(bob.get(&alias).ok()["room_id"], old, "nobody here is in the new one");
    three.join(&bob, &new).ok();
    assert_eq!(bob.get(&alias).ok()["room_id"], new);
}

fn bodies_of(events: &Value) -> Vec<&str> {
    events.as_array().expect("a list").iter().filter_map(|event| event["content"]["body"].as_str()).collect()
}

#[test]
fn m9_what_a_device_says_in_a_room_elsewhere_waits_until_it_has_come_in_however_long_that_takes() {
    let scene = Scene::slow(Duration::from_millis(1_200));
    scene.lets("join", "join", &scene.all());
    let path = format!("{V3}/rooms/{}/send/m.room.message/2?org.pilotlight.after=1", scene.room);
    let early = scene.alice.clone();
    let sent = spawn(move || early.put(&path, json!({ "msgtype": "m.text", "body": "here" })));
    let join = format!(
        "{V3}/join/{}?via={}&org.pilotlight.action=1&org.pilotlight.after=0",
        scene.room, scene.peer.name
    );
    scene.alice.post(&join, json!({})).ok();
    let id = sent.join().expect("is answered").ok()["event_id"].clone();
    let page = scene
        .alice
        .get(&format!("{V3}/rooms/{}/messages?dir=b&limit=2&org.pilotlight.backfill=false", scene.room));
    let page = page.ok();
    assert_eq!(
        (&page["chunk"][0]["event_id"], &page["chunk"][1]["state_key"]),
        (&id, &json!(scene.alice.user))
    );
}

#[test]
fn people_of_other_servers_are_found_by_their_names_in_rooms_that_one_shares_with_them() {
    let three = Three::new();
    let (alice, bob, carol) = (three.user(0, "alice"), three.user(1, "bob"), three.user(0, "carol"));
    for (field, value) in [("displayname", "Christopher"), ("avatar_url", "mxc://x/y")] {
        bob.put(&format!("{V3}/profile/{}/{field}", bob.user), json!({ field: value })).ok();
    }
    let found = |by: &Client, term: &str| {
        let answer = by.post(&format!("{V3}/user_directory/search"), json!({ "search_term": term })).ok();
        answer["results"].clone()
    };
    assert_eq!(found(&alice, "christ"), json!([]));
    let made = alice.post(&format!("{V3}/createRoom"), json!({ "preset": "public_chat" })).ok();
    let room = made["room_id"].as_str().expect("a room").to_owned();
    three.join(&bob, &room).ok();
    let his = |name: &str| json!([{ "user_id": bob.user, "display_name": name, "avatar_url": "mxc://x/y" }]);
    assert_eq!(found(&alice, "christ"), his("Christopher"));
    assert_eq!(found(&alice, &bob.user), his("Christopher"));
    assert_eq!(found(&carol, "christ"), json!([]), "who shares no room");
    bob.put(&format!("{V3}/profile/{}/displayname", bob.user), json!({ "displayname": "Kit" })).ok();
    three.time.settle();
    assert_eq!((found(&alice, "christ"), found(&alice, "kit")), (json!([]), his("Kit")));
    bob.post(&format!("{V3}/rooms/{room}/leave"), json!({})).ok();
    three.time.settle();
    assert_eq!(found(&alice, "kit"), json!([]));
}
