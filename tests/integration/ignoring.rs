//! Whom a user ignores (`m.ignored_user_list`): neither is told of the other's presence, requests and invites come to
//! nothing, and what they say is not shown.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    contacts::{OURS, add, answer, choose, entry, list_path, requests, standing, status, told},
    federation_lists::Pair,
    rooms_life::{bodies, say},
    streamed::{Held, Told},
    support::{Client, TestServer, until},
    sync::{Reader, create_room, room_of, same},
};

fn ignore(who: &Client, whom: &[&Client]) {
    let ignored: serde_json::Map<String, Value> =
        whom.iter().map(|client| (client.user.clone(), json!({}))).collect();
    let path = format!("/_matrix/client/v3/user/{}/account_data/m.ignored_user_list", who.user);
    who.put(&path, json!({ "ignored_users": ignored })).ok();
}

fn first_sync(who: &Client) -> Value {
    Reader { client: who.clone(), since: String::new(), with: String::new() }.now()
}

#[test]
fn l6_neither_of_two_sees_the_other_while_one_ignores_the_other() {
    let server = TestServer::driven();
    let [alice, bob] = ["alice", "bob"].map(|name| server.register(name));
    add(&bob, &alice);
    answer(&alice, &bob, "accept");
    add(&alice, &bob);
    let room = room_of(&alice, &[&bob]);
    let (mut alices, mut bobs) = (Reader::new(&alice), Reader::new(&bob));
    assert_eq!((status(&alice, &bob), status(&bob, &alice)), (200, 200));
    alices.now();
    bobs.now();
    ignore(&alice, &[&bob]);
    assert_eq!(
        (told(&alices.now(), &bob), told(&bobs.now(), &alice)),
        (vec!["unknown".into()], vec!["unknown".into()])
    );
    let apart = |server: &TestServer| {
        let (alice, bob) = (same(server, &alice), same(server, &bob));
        for (one, other) in [(&alice, &bob), (&bob, &alice)] {
            assert_eq!(status(one, other), 403);
            assert_eq!(told(&first_sync(one), other), Vec::<String>::new());
            assert_eq!(entry(one, other)["content"]["org.pilotlight.presence"]["state"], "unknown");
        }
    };
    choose(&bob, "busy");
    choose(&alice, "busy");
    server.pass(Duration::from_secs(1));
    assert_eq!((told(&alices.now(), &bob), told(&bobs.now(), &alice)), (vec![], vec![]));
    apart(&server);
    let server = server.restart();
    apart(&server);
    let (alice, bob) = (same(&server, &alice), same(&server, &bob));
    (alices.client, bobs.client) = (alice.clone(), bob.clone());
    alices.now();
    bobs.now();
    // Nothing is lost by it: the lists are as they were.
    ignore(&alice, &[]);
    let told = (told(&alices.now(), &bob), told(&bobs.now(), &alice));
    assert_eq!(told, (vec!["busy".into()], vec!["busy".into()]));
    assert_eq!((standing(&bob, &alice), status(&bob, &alice)), (json!("accepted"), 200));
    alice.get(&format!("/_matrix/client/v3/rooms/{room}/members")).ok();
}

#[test]
fn l2_requests_of_who_is_ignored_are_not_shown_and_not_answered() {
    let server = TestServer::start();
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| server.register(name));
    // Of one who asked before: not shown as long as they are ignored.
    add(&carol, &alice);
    ignore(&alice, &[&bob, &carol]);
    let mut phones = Reader::new(&server.log_in("alice"));
    let tells = |answer: &Value| {
        let events = answer["account_data"]["events"].as_array().cloned().unwrap_or_default();
        events.iter().any(|e| e["type"] == "org.pilotlight.presence_list")
    };
    // Not even by those who accept everybody, or observe them.
    let settings = format!("{OURS}/settings/{}", alice.user);
    alice.put(&settings, json!({ "auto_accept": "everybody" })).ok();
    phones.now();
    add(&bob, &alice);
    assert_eq!((standing(&bob, &alice), requests(&alice)), (json!("pending"), json!([])));
    assert!(!tells(&phones.now()));
    ignore(&alice, &[]);
    assert_eq!(requests(&alice), json!([carol.user]), "what was missed is not made up for");
}

#[test]
fn what_an_ignored_user_says_is_not_told_but_state_is() {
    let server = TestServer::start();
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| server.register(name));
    let id = create_room(&alice, json!({ "preset": "public_chat", "room_version": "12" }));
    for other in [&bob, &carol] {
        other.post(&format!("/_matrix/client/v3/join/{id}"), json!({})).ok();
    }
    let room = format!("/_matrix/client/v3/rooms/{id}");
    let power = json!({ "users": { bob.user.clone(): 50 } });
    alice.put(&format!("{room}/state/m.room.power_levels"), power).ok();
    let early = say(&bob, &room, "1", "early");
    let mut reader = Reader::new(&alice);
    ignore(&alice, &[&bob]);
    reader.now();
    say(&bob, &room, "2", "hidden");
    let from_carol = say(&carol, &room, "3", "seen");
    bob.put(&format!("{room}/typing/{}", bob.user), json!({ "typing": true })).ok();
    bob.put(&format!("{room}/state/m.room.topic"), json!({ "topic": "bob's" })).ok();
    let news = reader.now()["rooms"]["join"][&id].clone();
    let events = news["timeline"]["events"].as_array().expect("a list").clone();
    let of_bob: Vec<_> = events.iter().filter(|e| e["sender"] == bob.user.as_str()).collect();
    assert_eq!(of_bob.iter().map(|e| &e["type"]).collect::<Vec<_>>(), ["m.room.topic"]);
    assert_eq!(events.iter().filter(|e| e["event_id"] == from_carol.as_str()).count(), 1);
    assert_eq!(news["unread_notifications"]["notification_count"], 1, "only carol's");
    let typing = news["ephemeral"]["events"].as_array().cloned().unwrap_or_default();
    assert!(!typing.iter().any(|e| e["type"] == "m.typing" && e["content"]["user_ids"] != json!([])));
    let first = first_sync(&alice)["rooms"]["join"][&id]["timeline"]["events"].clone();
    let said = |events: &Value| events.to_string().contains("hidden") || events.to_string().contains("early");
    assert!(!said(&first));
    assert_eq!(bodies(&alice.get(&format!("{room}/messages?dir=b&limit=100")).ok()), ["seen"]);
    assert!(!said(&alice.get(&format!("{room}/context/{from_carol}?limit=50")).ok()));
    for path in [format!("{room}/event/{early}"), format!("{room}/context/{early}")] {
        alice.get(&path).refused(404, "M_NOT_FOUND");
    }
    assert!(said(&carol.get(&format!("{room}/messages?dir=b&limit=100")).ok()), "others are told");
    // Heard again: from here on, and all of it by who begins anew.
    ignore(&alice, &[]);
    let again = reader.now();
    assert!(!said(&again));
    say(&bob, &room, "4", "hidden no more");
    assert!(said(&reader.now()));
    assert!(said(&first_sync(&alice)));
}

#[test]
fn l3_who_accepts_everybody_does_not_accept_whom_they_ignore() {
    let server = TestServer::start();
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| server.register(name));
    add(&bob, &alice);
    add(&carol, &alice);
    ignore(&alice, &[&bob]);
    let settings = format!("{OURS}/settings/{}", alice.user);
    for auto_accept in ["everybody", "reverse", "everybody"] {
        alice.put(&settings, json!({ "auto_accept": auto_accept })).ok();
        assert_eq!((standing(&bob, &alice), standing(&carol, &alice)), (json!("pending"), json!("accepted")));
    }
    ignore(&alice, &[]);
    assert_eq!(requests(&alice), json!([bob.user]), "it waits as it did");
    alice.put(&settings, json!({ "auto_accept": "everybody" })).ok();
    assert_eq!(standing(&bob, &alice), "accepted");
}

#[test]
fn receipts_and_messages_to_devices_of_who_is_ignored_are_not_told() {
    let server = TestServer::start();
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| server.register(name));
    let id = room_of(&alice, &[&bob, &carol]);
    let room = format!("/_matrix/client/v3/rooms/{id}");
    let said = say(&alice, &room, "1", "a text");
    let mut reader = Reader::new(&alice);
    let send = |who: &Client, kind: &str, n: u32| {
        let path = format!("/_matrix/client/v3/sendToDevice/{kind}/{n}");
        who.put(&path, json!({ "messages": { &alice.user: { "*": { "n": n } } } })).ok();
    };
    let read = |who: &Client| {
        who.post(&format!("{room}/receipt/m.read/{said}"), json!({})).ok();
    };
    // Sent before, and not told yet.
    send(&bob, "org.x.test", 0);
    ignore(&alice, &[&bob]);
    for (n, who) in [(1, &bob), (2, &carol), (3, &bob)] {
        send(who, "org.x.test", n);
        read(who);
    }
    // It brings keys, and cannot be asked for again.
    send(&bob, "m.room.encrypted", 4);
    let told = |answer: &Value| {
        let events = answer["to_device"]["events"].as_array().cloned().unwrap_or_default();
        events.iter().map(|e| e["content"]["n"].as_u64().expect("a number")).collect::<Vec<_>>()
    };
    let readers = |answer: &Value| {
        let events =
            answer["rooms"]["join"][&id]["ephemeral"]["events"].as_array().cloned().unwrap_or_default();
        let receipts = events.iter().find(|e| e["type"] == "m.receipt").cloned().unwrap_or_default();
        let of = receipts["content"][&said]["m.read"].as_object().cloned().unwrap_or_default();
        of.into_iter().map(|(user, _)| user).collect::<Vec<_>>()
    };
    let (first, news) = (first_sync(&alice), reader.now());
    assert_eq!((told(&first), readers(&first)), (vec![2, 4], vec![carol.user.clone()]));
    assert_eq!((told(&news), readers(&news)), (vec![2, 4], vec![carol.user.clone()]));
    // What is not told wakes nobody, and does not come later.
    send(&bob, "org.x.test", 5);
    assert_eq!(told(&reader.now()), Vec::<u64>::new());
    ignore(&alice, &[]);
    assert_eq!(told(&reader.now()), Vec::<u64>::new());
    send(&bob, "org.x.test", 6);
    assert_eq!(told(&reader.now()), [6]);
    assert_eq!(readers(&first_sync(&alice)), [bob.user.clone(), carol.user.clone()]);
}

#[test]
fn invites_of_who_is_ignored_are_not_told() {
    let server = TestServer::start();
    let [alice, bob] = ["alice", "bob"].map(|name| server.register(name));
    ignore(&alice, &[&bob]);
    let mut reader = Reader::new(&alice);
    let room = create_room(&bob, json!({ "invite": [alice.user] }));
    let invited = |answer: &Value| answer["rooms"]["invite"][&room].is_object();
    assert!(!invited(&reader.now()) && !invited(&first_sync(&alice)));
    ignore(&alice, &[]);
    assert!(invited(&first_sync(&alice)));
    let other = create_room(&bob, json!({ "invite": [alice.user] }));
    assert!(reader.now()["rooms"]["invite"][&other].is_object());
}

#[test]
fn who_left_is_told_so_though_somebody_whom_they_ignore_has_them_back_in_at_once() {
    let server = TestServer::driven();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    for is_ignored_before in [true, false] {
        for act in ["kick", "ban", "leave"] {
            ignore(&bob, &[]);
            let room = room_of(&alice, &[&bob]);
            if is_ignored_before {
                ignore(&bob, &[&alice]);
            }
            let mut reader = Reader::new(&bob);
            let events = reader.since.clone();
            let of_room = |act: &str| format!("/_matrix/client/v3/rooms/{room}/{act}");
            match act {
                "leave" => bob.post(&of_room(act), json!({})),
                act => alice.post(&of_room(act), json!({ "user_id": bob.user })),
            }
            .ok();
            if act == "ban" {
                alice.post(&of_room("unban"), json!({ "user_id": bob.user })).ok();
            }
            alice.post(&of_room("invite"), json!({ "user_id": bob.user })).ok();
            ignore(&bob, &[&alice]);
            let held = Held::open_with(&bob, &events, "");
            let rooms = reader.now()["rooms"].clone();
            let left = &rooms["leave"][&room]["timeline"]["events"];
            let last = left.as_array().and_then(|events| events.last()).expect("is told");
            let case = format!("{act}, ignored before: {is_ignored_before}: {rooms}");
            assert_eq!(
                (&last["state_key"], &last["content"]["membership"]),
                (&json!(bob.user), &json!("leave")),
                "{case}"
            );
            assert!(rooms["invite"].get(&room).is_none() && rooms["join"].get(&room).is_none(), "{case}");
            let is_told = |told: &Told| {
                [&told.data["leave"], &told.data["rooms"]["leave"]]
                    .iter()
                    .any(|left| left.get(&room).is_some())
            };
            held.until("that the room was left", is_told);
            assert!(reader.now()["rooms"]["leave"].get(&room).is_none(), "{case}");
            assert!(first_sync(&bob)["rooms"]["invite"].get(&room).is_none(), "{case}");
        }
    }
}

#[test]
fn l2_somebody_denied_is_not_heard_again_at_once_nor_after_a_restart() {
    let server = TestServer::driven();
    let [alice, bob] = ["alice", "bob"].map(|name| server.register(name));
    let ask_again = |bob: &Client| {
        bob.post(&list_path(bob), json!({ "drop": [alice.user] })).ok();
        add(bob, &alice);
    };
    let mut phones = Reader::new(&server.log_in("alice"));
    let tells = |answer: &Value| {
        let events = answer["account_data"]["events"].as_array().cloned().unwrap_or_default();
        events.iter().any(|e| e["type"] == "org.pilotlight.presence_list")
    };
    add(&bob, &alice);
    answer(&alice, &bob, "deny");
    phones.now();
    for _ in 0..3 {
        ask_again(&bob);
        assert_eq!((standing(&bob, &alice), requests(&alice)), (json!("pending"), json!([])));
        assert!(!tells(&phones.now()), "no device is told");
    }
    let server = server.restart();
    let (alice, bob) = (same(&server, &alice), same(&server, &bob));
    assert_eq!(requests(&alice), json!([]));
    server.pass(Duration::from_secs(60 * 60));
    assert_eq!(requests(&alice), json!([bob.user]), "who waits is heard in the end");
    answer(&alice, &bob, "deny");
    ask_again(&bob);
    server.pass(Duration::from_secs(60 * 60));
    assert_eq!(requests(&alice), json!([]), "longer each time");
    server.pass(Duration::from_secs(60 * 60));
    assert_eq!(requests(&alice), json!([bob.user]));
    // Whom the user adds on their own is accepted as ever.
    answer(&alice, &bob, "deny");
    ask_again(&bob);
    add(&alice, &bob);
    answer(&bob, &alice, "accept");
    assert_eq!(standing(&bob, &alice), "accepted");
}

#[test]
fn what_was_redacted_is_not_unread_before_a_restart_and_after_it() {
    let server = TestServer::start();
    let [alice, bob] = ["alice", "bob"].map(|name| server.register(name));
    let id = room_of(&alice, &[&bob]);
    let room = format!("/_matrix/client/v3/rooms/{id}");
    let mention = |n: u32, user: &str| {
        let body = json!({ "msgtype": "m.text", "body": "you", "m.mentions": { "user_ids": [user] } });
        let sent = alice.put(&format!("{room}/send/m.room.message/m{n}"), body).ok();
        sent["event_id"].as_str().expect("text").to_owned()
    };
    let mut reader = Reader::new(&bob);
    let counts = |answer: &Value| {
        let unread = &answer["rooms"]["join"][&id]["unread_notifications"];
        (unread["notification_count"].as_u64(), unread["highlight_count"].as_u64())
    };
    let (first, _second) = (mention(1, &bob.user), mention(2, &bob.user));
    let plain = say(&alice, &room, "p", "plain");
    say(&alice, &room, "q", "plain, too");
    assert_eq!(counts(&reader.now()), (Some(4), Some(2)));
    for (n, event) in [first, plain].iter().enumerate() {
        alice.put(&format!("{room}/redact/{event}/r{n}"), json!({})).ok();
    }
    assert_eq!(counts(&reader.now()), (Some(2), Some(1)));
    assert_eq!(counts(&first_sync(&bob)), (Some(2), Some(1)));
    let server = server.restart();
    assert_eq!(counts(&first_sync(&same(&server, &bob))), (Some(2), Some(1)));
}

#[test]
fn l2_across_servers_who_is_ignored_or_was_denied_lately_is_not_heard_and_learns_nothing() {
    let pair = Pair::new();
    let (alice, bob) = (&pair.alice, &pair.bob);
    let ask_again = || {
        bob.post(&list_path(bob), json!({ "drop": [alice.user] })).ok();
        add(bob, alice);
        pair.settle();
    };
    pair.bob_asks("deny");
    until("Bob hears of it", || standing(bob, alice) == "denied");
    for _ in 0..2 {
        ask_again();
        assert_eq!((standing(bob, alice), requests(alice)), (json!("pending"), json!([])));
    }
    let [carol, dave] = [pair.a.register("carol"), pair.a.register("dave")];
    ignore(&carol, &[bob]);
    add(bob, &carol);
    // Of one whom they ignore nobody hears; of one whom they do not, they do: by then the other was handled, too.
    add(bob, &dave);
    until("Dave is asked", || requests(&dave) == json!([bob.user]));
    pair.settle();
    assert_eq!((standing(bob, &carol), requests(&carol)), (json!("pending"), json!([])));

    // Who observed before is told nothing while they are ignored, and after it as before.
    answer(&dave, bob, "accept");
    until("Bob hears of it", || standing(bob, &dave) == "accepted");
    let (_daves, mut bobs) = (Reader::new(&dave), Reader::new(bob));
    bobs.until(|answer| told(answer, &dave).pop().filter(|state| state == "online"));
    add(&dave, bob);
    until("Dave sees Bob", || status(&dave, bob) == 200);
    ignore(&dave, &[bob]);
    assert_eq!(status(&dave, bob), 403);
}
