//! Presence lists over HTTP: asking, answering, revoking, groups, sharing, and who may begin a chat.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    support::{Client, TestServer},
    sync::{Reader, create_room, room_of, same},
};

pub const OURS: &str = "/_matrix/client/unstable/org.pilotlight/presence";

pub fn list_path(of: &Client) -> String {
    format!("/_matrix/client/v3/presence/list/{}", of.user)
}

pub fn add(who: &Client, whom: &Client) {
    who.post(&list_path(who), json!({ "invite": [whom.user] })).ok();
}

pub fn answer(who: &Client, to: &Client, word: &str) {
    who.post(&format!("{OURS}/requests/{}/{}", who.user, to.user), json!({ "answer": word })).ok();
}

pub fn entry(of: &Client, whom: &Client) -> Value {
    let list = of.get(&list_path(of)).ok();
    let entries = list.as_array().expect("a list");
    entries.iter().find(|e| e["sender"] == whom.user.as_str()).cloned().unwrap_or_default()
}

pub fn standing(of: &Client, whom: &Client) -> Value {
    entry(of, whom)["org.pilotlight.list"]["state"].clone()
}

pub fn requests(of: &Client) -> Value {
    of.get(&format!("{OURS}/requests/{}", of.user)).ok()["requests"].clone()
}

pub fn status(observer: &Client, of: &Client) -> u16 {
    observer.get(&format!("/_matrix/client/v3/presence/{}/status", of.user)).status
}

pub fn told(answer: &Value, user: &Client) -> Vec<String> {
    let events = answer["presence"]["events"].as_array().cloned().unwrap_or_default();
    let of_user = events.iter().filter(|e| e["sender"] == user.user.as_str());
    of_user
        .map(|e| e["content"]["org.pilotlight.presence"]["state"].as_str().expect("state").to_owned())
        .collect()
}

pub fn choose(who: &Client, word: &str) {
    let path = format!("/_matrix/client/v3/presence/{}/status", who.user);
    who.put(&path, json!({ "presence": word })).ok();
}

#[test]
fn l1_l2_who_is_accepted_sees_at_once_and_who_is_revoked_no_longer() {
    let server = TestServer::driven();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let (mut alices, mut bobs) = (Reader::new(&alice), Reader::new(&bob));
    add(&bob, &alice);
    assert_eq!((standing(&bob, &alice), requests(&alice)), (json!("pending"), json!([bob.user])));
    let entry_of_alice = entry(&bob, &alice);
    assert_eq!(entry_of_alice["content"]["org.pilotlight.presence"]["state"], "unknown");
    assert_eq!(entry_of_alice["type"], "m.presence");
    assert_eq!(status(&bob, &alice), 403, "asking is not being allowed");
    let tells_of_it = |answer: &Value| {
        let events = answer["account_data"]["events"].as_array().cloned().unwrap_or_default();
        events.iter().any(|e| e["type"] == "org.pilotlight.presence_list").then_some(())
    };
    alices.until(tells_of_it);

    answer(&alice, &bob, "accept");
    assert_eq!((standing(&bob, &alice), requests(&alice)), (json!("accepted"), json!([])));
    let seen = bobs.until(|answer| told(answer, &alice).pop());
    assert_eq!(seen, "online");
    choose(&alice, "busy");
    assert_eq!(bobs.until(|answer| told(answer, &alice).pop()), "busy");
    assert_eq!(status(&alice, &bob), 403, "it is not mutual by itself");
    let server = server.restart();
    let (alice, bob) = (same(&server, &alice), same(&server, &bob));
    assert_eq!((standing(&bob, &alice), status(&bob, &alice)), (json!("accepted"), 200));

    answer(&alice, &bob, "revoke");
    assert_eq!((standing(&bob, &alice), status(&bob, &alice)), (json!("denied"), 403));
    bobs.client = bob.clone();
    bobs.now();
    choose(&alice, "online");
    server.pass(Duration::from_secs(1));
    assert_eq!(told(&bobs.now(), &alice), Vec::<String>::new());
    assert_eq!(entry(&bob, &alice)["content"]["org.pilotlight.presence"]["state"], "unknown");
}

#[test]
fn l3_the_reverse_of_an_accepted_request_is_accepted_by_itself() {
    let server = TestServer::start();
    let (alice, bob, carol) = (server.register("alice"), server.register("bob"), server.register("carol"));
    add(&bob, &alice);
    answer(&alice, &bob, "accept");
    add(&alice, &bob);
    assert_eq!(standing(&alice, &bob), "accepted");
    add(&carol, &alice);
    assert_eq!(standing(&carol, &alice), "pending");
    let settings = format!("{OURS}/settings/{}", alice.user);
    alice.put(&settings, json!({ "auto_accept": "everybody" })).ok();
    assert_eq!(standing(&carol, &alice), "accepted");
    bob.post(&list_path(&bob), json!({ "drop": [alice.user] })).ok();
    assert_eq!((standing(&bob, &alice), status(&bob, &alice)), (Value::Null, 403));
    assert_eq!(status(&alice, &bob), 200);
}

#[test]
fn l4_l5_groups_and_pointers_are_kept_and_a_group_is_invited_in_one_call() {
    let server = TestServer::start();
    let (alice, bob, carol) = (server.register("alice"), server.register("bob"), server.register("carol"));
    let invite = json!({ "invite": [{ "user_id": bob.user, "acl": "acl:7" }, carol.user] });
    alice.post(&list_path(&alice), invite).ok();
    for (group, member) in [("work", &bob), ("work", &carol), ("tea", &bob)] {
        alice.put(&format!("{OURS}/groups/{}/{group}/members/{}", alice.user, member.user), json!({})).ok();
    }
    let groups = || alice.get(&format!("{OURS}/groups/{}", alice.user)).ok()["groups"].clone();
    assert_eq!(groups(), json!({ "tea": [bob.user], "work": [bob.user, carol.user] }));
    assert_eq!(entry(&alice, &bob)["org.pilotlight.list"]["acl"], "acl:7");
    assert_eq!(entry(&alice, &bob)["org.pilotlight.list"]["groups"], json!(["tea", "work"]));
    let path = format!("{OURS}/groups/{}/work/invite", alice.user);
    let room = alice.post(&path, json!({})).ok()["room_id"].as_str().expect("room_id").to_owned();
    for member in [&bob, &carol] {
        let mut reader = Reader { client: member.clone(), since: String::new(), with: String::new() };
        assert!(reader.now()["rooms"]["invite"][&room].is_object());
    }
    alice.delete(&format!("{OURS}/groups/{}/tea/members/{}", alice.user, bob.user), json!({})).ok();
    assert_eq!(groups(), json!({ "work": [bob.user, carol.user] }));
    alice.post(&format!("{OURS}/groups/{}/tea/invite", alice.user), json!({})).refused(404, "M_NOT_FOUND");
    let stranger = format!("{OURS}/groups/{}/tea/members/@dave:localhost", alice.user);
    alice.put(&stranger, json!({})).refused(400, "M_INVALID_PARAM");
}

/// Every way out, for a stranger, somebody denied, a former contact, one who is accepted, and a room mate.
#[test]
fn l6_every_exit_shows_what_may_be_seen_and_nothing_more() {
    let server = TestServer::start_with(|config| config.presence.max_room_members = 2);
    let alice = server.register("alice");
    let names = ["stranger", "denied", "former", "accepted", "mate"];
    let observers: Vec<Client> = names.iter().map(|name| server.register(name)).collect();
    let [_, denied, former, accepted, mate] = &observers[..] else { panic!("five observers") };
    for observer in [denied, former, accepted] {
        add(observer, &alice);
    }
    answer(&alice, denied, "deny");
    for observer in [former, accepted] {
        answer(&alice, observer, "accept");
    }
    answer(&alice, former, "revoke");
    let room = room_of(&alice, &[mate]);
    let crowd = server.register("crowd");
    let _alices = Reader::new(&alice);
    let join = |who: &Client| who.post(&format!("/_matrix/client/v3/join/{room}"), json!({})).ok();
    for (members, share, visible) in [
        (2, "shared_rooms", [false, false, false, true, true]),
        (2, "list", [false, false, false, true, false]),
        (2, "nobody", [false; 5]),
        (3, "shared_rooms", [false, false, false, true, false]),
        (3, "nobody", [false; 5]),
    ] {
        if members == 3 {
            join(&crowd);
        }
        alice.put(&format!("{OURS}/settings/{}", alice.user), json!({ "share": share })).ok();
        for (observer, visible) in observers.iter().zip(visible) {
            let mut reader = Reader { client: observer.clone(), since: String::new(), with: String::new() };
            let first = reader.now();
            choose(&alice, "busy");
            choose(&alice, "online");
            let change = reader.now();
            let on_list = entry(observer, &alice)["content"]["org.pilotlight.presence"]["state"].clone();
            let exits = [
                ("GET status", status(observer, &alice) == 200),
                ("first sync", !told(&first, &alice).is_empty()),
                ("later sync", !told(&change, &alice).is_empty()),
                ("list", on_list != Value::Null && on_list != "unknown"),
            ];
            for (exit, shown) in exits {
                // Who has nobody on their list sees nobody by it.
                let expected = visible && (exit != "list" || observer.user != mate.user);
                assert_eq!(shown, expected, "{exit}, {}, {share}, {members} in the room", observer.user);
            }
        }
    }
    mate.get(&format!("/_matrix/client/v3/rooms/{room}/members")).ok();
}

#[test]
fn l7_who_may_begin_a_chat_follows_the_state_and_a_refusal_tells_nothing() {
    let server = TestServer::start();
    let (alice, bob, carol) = (server.register("alice"), server.register("bob"), server.register("carol"));
    alice.post(&list_path(&alice), json!({ "invite": [bob.user] })).ok();
    let rules = json!({ "online": "list", "offline": "nobody", "free_for_chat": "everybody" });
    alice.put(&format!("{OURS}/settings/{}", alice.user), json!({ "invites": rules })).ok();
    let _alices = Reader::new(&alice);
    let begin = |who: &Client| {
        let body = json!({ "is_direct": true, "preset": "trusted_private_chat", "invite": [alice.user] });
        who.post("/_matrix/client/v3/createRoom", body)
    };
    let invite_alone = |who: &Client| {
        let room = create_room(who, json!({}));
        who.post(&format!("/_matrix/client/v3/rooms/{room}/invite"), json!({ "user_id": alice.user }))
    };
    begin(&bob).ok();
    let refused = begin(&carol).refused(403, "M_FORBIDDEN");
    assert_eq!(invite_alone(&carol).refused(403, "M_FORBIDDEN"), refused);
    choose(&alice, "free_for_chat");
    begin(&carol).ok();
    invite_alone(&carol).ok();
    choose(&alice, "hidden");
    assert_eq!(begin(&bob).refused(403, "M_FORBIDDEN"), refused, "as if offline");
    let room = room_of(&bob, &[&carol]);
    // A room that is in use already is no new chat.
    bob.post(&format!("/_matrix/client/v3/rooms/{room}/invite"), json!({ "user_id": alice.user })).ok();
}

#[test]
fn l4_a_group_is_invited_but_for_those_who_cannot_be() {
    let server = TestServer::start_with(|config| config.rate_limits.enabled = false);
    let alice = server.register("alice");
    let (willing, unwilling) = (server.register("willing"), server.register("unwilling"));
    let settings = format!("{OURS}/settings/{}", unwilling.user);
    unwilling.put(&settings, json!({ "invites": { "offline": "nobody", "online": "nobody" } })).ok();
    alice.post(&list_path(&alice), json!({ "invite": [willing.user, unwilling.user] })).ok();
    let join = |who: &Client, group: &str| {
        alice.put(&format!("{OURS}/groups/{}/{group}/members/{}", alice.user, who.user), json!({})).ok();
    };
    join(&unwilling, "shy");
    join(&unwilling, "all");
    join(&willing, "all");
    let invite = |group: &str| alice.post(&format!("{OURS}/groups/{}/{group}/invite", alice.user), json!({}));
    let answer = invite("all").ok();
    assert_eq!(
        (&answer["invited"], &answer["not_invited"]),
        (&json!([willing.user]), &json!([unwilling.user]))
    );
    let mut reader = Reader { client: willing.clone(), since: String::new(), with: String::new() };
    let room = answer["room_id"].as_str().expect("a room");
    assert!(reader.now()["rooms"]["invite"][room].is_object());
    invite("shy").refused(403, "M_FORBIDDEN");

    // More than one createRoom can invite.
    let crowd: Vec<Client> = (0..103).map(|n| server.register(&format!("user{n}"))).collect();
    let named: Vec<&str> = crowd.iter().map(|client| client.user.as_str()).collect();
    alice.post(&list_path(&alice), json!({ "invite": named })).ok();
    for member in &crowd {
        join(member, "crowd");
    }
    assert_eq!(invite("crowd").ok()["invited"].as_array().map(Vec::len), Some(103));
}

#[test]
fn a_group_is_invited_but_for_those_who_have_no_room_for_another_invitation() {
    let server = TestServer::start_with(|config| config.rate_limits.enabled = false);
    let (alice, bob, carol) = (server.register("alice"), server.register("bob"), server.register("carol"));
    let rooms = "/_matrix/client/v3/createRoom";
    for _ in 0..50 {
        alice.post(rooms, json!({ "invite": [bob.user] })).ok();
    }
    let refused = alice.post(rooms, json!({ "invite": [bob.user] })).refused(403, "M_FORBIDDEN");
    assert!(!refused.to_string().contains("50"), "{refused}");
    alice.post(&list_path(&alice), json!({ "invite": [bob.user, carol.user] })).ok();
    for member in [&bob.user, &carol.user] {
        alice.put(&format!("{OURS}/groups/{}/all/members/{member}", alice.user), json!({})).ok();
    }
    let answer = alice.post(&format!("{OURS}/groups/{}/all/invite", alice.user), json!({})).ok();
    assert_eq!((&answer["invited"], &answer["not_invited"]), (&json!([carol.user]), &json!([bob.user])));
}

#[test]
fn l6_l7_all_devices_are_told_of_changed_settings_once() {
    let server = TestServer::start();
    let alice = server.register("alice");
    let mut phones = Reader::new(&server.log_in("alice"));
    let settings = format!("{OURS}/settings/{}", alice.user);
    let tells = |reader: &mut Reader| {
        let events = reader.now()["account_data"]["events"].as_array().cloned().unwrap_or_default();
        events.iter().filter(|e| e["type"] == "org.pilotlight.presence_list").count()
    };
    for expected in [1, 0] {
        alice.put(&settings, json!({ "share": "list", "invites": { "busy": "list" } })).ok();
        assert_eq!(tells(&mut phones), expected);
    }
    assert_eq!(alice.get(&settings).ok()["share"], "list");
}

#[test]
fn nonsense_is_refused_and_lists_are_ones_own() {
    let server = TestServer::start();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let rows = [
        ("GET", list_path(&bob), json!({}), 403, "M_FORBIDDEN"),
        ("POST", list_path(&bob), json!({ "invite": [alice.user] }), 403, "M_FORBIDDEN"),
        ("GET", format!("{OURS}/requests/{}", bob.user), json!({}), 403, "M_FORBIDDEN"),
        ("GET", format!("{OURS}/groups/{}", bob.user), json!({}), 403, "M_FORBIDDEN"),
        ("GET", format!("{OURS}/settings/{}", bob.user), json!({}), 403, "M_FORBIDDEN"),
        ("POST", list_path(&alice), json!({ "invite": ["nobody"] }), 400, "M_BAD_JSON"),
        ("POST", list_path(&alice), json!({ "invite": ["@nobody:localhost"] }), 404, "M_NOT_FOUND"),
        ("POST", list_path(&alice), json!({ "invite": [alice.user] }), 400, "M_INVALID_PARAM"),
        (
            "POST",
            format!("{OURS}/requests/{}/{}", alice.user, bob.user),
            json!({ "answer": "accept" }),
            404,
            "M_NOT_FOUND",
        ),
        (
            "POST",
            format!("{OURS}/requests/{}/{}", alice.user, bob.user),
            json!({ "answer": "maybe" }),
            400,
            "M_BAD_JSON",
        ),
        ("PUT", format!("{OURS}/settings/{}", alice.user), json!({ "share": "some" }), 400, "M_BAD_JSON"),
        ("PUT", format!("{OURS}/settings/{}", alice.user), json!({ "shares": "list" }), 400, "M_BAD_JSON"),
    ];
    for (method, path, body, status, errcode) in rows {
        let body = body.to_string();
        let answer = alice.send(method, &path, (method != "GET").then_some(body.as_bytes()));
        assert_eq!(
            (answer.status, &answer.body["errcode"]),
            (status, &json!(errcode)),
            "{method} {path} {body}"
        );
    }
    assert_eq!(alice.get(&list_path(&alice)).ok(), json!([]));
}

#[test]
fn what_could_not_be_written_is_not_on_the_list() {
    let server = TestServer::start();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    add(&alice, &bob);
    // Once known, a session is not asked of the store, which answers nobody when it is closed.
    assert_eq!(requests(&bob), json!([alice.user]));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(server.app().store.close());
    alice.post(&list_path(&alice), json!({ "drop": [bob.user] })).refused(500, "M_UNKNOWN");
    assert_eq!((standing(&alice, &bob), requests(&bob)), (json!("pending"), json!([alice.user])));
}

#[test]
fn a_change_of_a_list_is_made_as_a_whole_or_not_at_all() {
    let server = TestServer::start();
    let (alice, bob, carol) = (server.register("alice"), server.register("bob"), server.register("carol"));
    let both = json!({ "invite": [bob.user, alice.user] });
    alice.post(&list_path(&alice), both).refused(400, "M_INVALID_PARAM");
    add(&alice, &carol);
    assert_eq!((standing(&alice, &bob), requests(&bob)), (Value::Null, json!([])));
    let server = server.restart();
    let (alice, carol) = (same(&server, &alice), same(&server, &carol));
    assert_eq!(alice.get(&list_path(&alice)).ok().as_array().map(Vec::len), Some(1));
    assert_eq!(standing(&alice, &carol), "pending");
}
