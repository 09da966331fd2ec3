//! Who may begin a private chat (L7): one rule for every way in which an invite arises, by the user's choice.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    contacts::{OURS, choose, list_path},
    support::{Answer, Client, TestServer},
    sync::{Reader, create_room, same},
};

/// Settings of `who` under which `rules` say who may invite.
fn admit(who: &Client, rules: Value) {
    who.put(&format!("{OURS}/settings/{}", who.user), json!({ "invites": rules })).ok();
}

fn rooms_path(room: &str) -> String {
    format!("/_matrix/client/v3/rooms/{room}")
}

/// Every way in which somebody who is alone, or says that it is a private chat, can invite another.
fn ways(inviter: &Client, target: &Client, mate: &Client) -> Vec<(&'static str, Answer)> {
    let invite = |more: Value| {
        let mut content = json!({ "membership": "invite" });
        content.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        content
    };
    let create = |body: Value| inviter.post("/_matrix/client/v3/createRoom", body);
    let alone = |body: Value| rooms_path(&create_room(inviter, body));
    let put = |room: &str, content: Value| {
        inviter.put(&format!("{room}/state/m.room.member/{}", target.user), content)
    };
    let initial =
        json!([{ "type": "m.room.member", "state_key": target.user, "content": invite(json!({})) }]);
    let user = json!({ "user_id": target.user });
    let together = || {
        let room = alone(json!({ "invite": [mate.user] }));
        mate.post(&format!("{room}/join"), json!({})).ok();
        room
    };
    let mut ways = Vec::new();
    for preset in ["private_chat", "trusted_private_chat", "public_chat"] {
        ways.push(("createRoom", create(json!({ "preset": preset, "invite": [target.user] }))));
        let direct = json!({ "preset": preset, "is_direct": true, "invite": [target.user] });
        ways.push(("createRoom, direct", create(direct)));
        ways.push(("initial_state", create(json!({ "preset": preset, "initial_state": initial }))));
        ways.push((
            "invite",
            inviter.post(&format!("{}/invite", alone(json!({ "preset": preset }))), user.clone()),
        ));
        ways.push(("state", put(&alone(json!({ "preset": preset })), invite(json!({})))));
    }
    ways.push(("direct state among others", put(&together(), invite(json!({ "is_direct": true })))));
    let left = together();
    mate.post(&format!("{left}/leave"), json!({})).ok();
    ways.push(("when the other has left", inviter.post(&format!("{left}/invite"), user)));
    ways
}

#[test]
fn l7_no_way_to_invite_leads_past_the_policy_and_a_refusal_is_the_same_on_all() {
    let server = TestServer::start_with(|config| config.rate_limits.enabled = false);
    let [alice, eve, mate] = ["alice", "eve", "mate"].map(|name| server.register(name));
    admit(&alice, json!({ "online": "nobody" }));
    let mut refusals: Vec<Value> = Vec::new();
    for (way, answer) in ways(&eve, &alice, &mate) {
        assert_eq!(answer.status, 403, "{way}: {}", answer.text);
        refusals.push(answer.body);
    }
    refusals.dedup();
    assert_eq!(refusals.len(), 1, "{refusals:?}");
    let mut reader = Reader { client: alice.clone(), since: String::new(), with: String::new() };
    assert_eq!(reader.now()["rooms"]["invite"], Value::Null, "nothing came of it");
    admit(&alice, json!({ "online": "everybody" }));
    for (way, answer) in ways(&eve, &alice, &mate) {
        assert_eq!(answer.status, 200, "{way}: {}", answer.text);
    }
}

#[test]
fn l7_a_group_a_knock_and_a_room_in_use_are_no_new_private_chats() {
    let server = TestServer::start();
    let [alice, eve, mate] = ["alice", "eve", "mate"].map(|name| server.register(name));
    admit(&alice, json!({ "online": "nobody" }));
    let user = json!({ "user_id": alice.user });
    let room = rooms_path(&create_room(&eve, json!({ "invite": [mate.user] })));
    mate.post(&format!("{room}/join"), json!({})).ok();
    eve.post(&format!("{room}/invite"), user.clone()).ok();
    // Who asks to be let in has begun it.
    let knock = json!([{ "type": "m.room.join_rules", "content": { "join_rule": "knock" } }]);
    let id = create_room(&eve, json!({ "initial_state": knock }));
    alice.post(&format!("/_matrix/client/v3/knock/{id}"), json!({})).ok();
    eve.post(&format!("{}/invite", rooms_path(&id)), user).ok();
    // Who may not invite anyway is told that, and nothing of who may.
    let outside = |who: &Client| {
        let body = json!({ "membership": "invite" });
        who.put(&format!("{room}/state/m.room.member/{}", alice.user), body).refused(403, "M_FORBIDDEN")
    };
    let stranger = server.register("stranger");
    let before = outside(&stranger);
    admit(&alice, json!({ "online": "everybody" }));
    assert_eq!(outside(&stranger), before);
}

#[test]
fn l7_the_choice_counts_and_not_what_idleness_or_a_lost_connection_makes_of_it() {
    let server = TestServer::driven();
    let [alice, bob, eve] = ["alice", "bob", "eve"].map(|name| server.register(name));
    alice.post(&list_path(&alice), json!({ "invite": [bob.user] })).ok();
    let begins = |server: &TestServer, who: &Client| {
        let who = same(server, who);
        // A room that is made in the same way at the same time is the same room.
        server.pass(Duration::from_millis(1));
        let body = json!({ "is_direct": true, "preset": "trusted_private_chat", "invite": [alice.user] });
        who.post("/_matrix/client/v3/createRoom", body).status == 200
    };
    // Choice; whether somebody on the list may begin, and a stranger: with a device, idle, and without one.
    admit(
        &alice,
        json!({ "free_for_chat": "everybody", "online": "list", "busy": "nobody", "unavailable": "everybody",
                "offline": "nobody" }),
    );
    let rows = [
        ("free_for_chat", true, true),
        ("online", true, false),
        ("busy", false, false),
        ("hidden", false, false),
        ("offline", false, false),
    ];
    for (choice, listed, stranger) in rows {
        choose(&alice, choice);
        let mut reader = Reader::new(&alice);
        let asked = |when: &str| {
            let found = (begins(&server, &bob), begins(&server, &eve));
            assert_eq!(found, (listed, stranger), "{choice}, {when}");
        };
        asked("connected");
        let device = format!("{OURS}/{}/device", alice.user);
        alice.put(&device, json!({ "idle_ms": 600_000 })).ok();
        asked("idle");
        alice.put(&device, json!({ "idle_ms": 0 })).ok();
        reader.now();
        server.pass(Duration::from_secs(3600));
        asked("gone");
    }
    // Over a restart.
    choose(&alice, "busy");
    let server = server.restart();
    assert_eq!((begins(&server, &bob), begins(&server, &eve)), (false, false));
}

#[test]
fn who_takes_no_invites_is_invited_in_no_way_until_they_say_otherwise() {
    let server = TestServer::start_with(|config| config.rate_limits.enabled = false);
    let [alice, eve, mate] = ["alice", "eve", "mate"].map(|name| server.register(name));
    let before = create_room(&eve, json!({ "invite": [alice.user] }));
    for kind in ["m.invite_permission_config", "org.matrix.msc4380.invite_permission_config"] {
        let path = format!("/_matrix/client/v3/user/{}/account_data/{kind}", alice.user);
        alice.put(&path, json!({ "default_action": "block" })).ok();
        for (way, answer) in ways(&eve, &alice, &mate) {
            assert_eq!(answer.status, 403, "{way}: {}", answer.text);
            answer.refused(403, "M_INVITE_BLOCKED");
        }
        alice.put(&path, json!({ "default_action": "allow" })).ok();
        let answers = ways(&eve, &alice, &mate);
        assert!(answers.iter().all(|(_, answer)| answer.status == 200), "{answers:?}");
    }
    // What came before stays.
    alice.post(&format!("{}/join", rooms_path(&before)), json!({})).ok();
}

#[test]
fn who_cannot_be_invited_is_said_in_words() {
    let server = TestServer::start();
    let alice = server.register("alice");
    let path = format!("{}/invite", rooms_path(&create_room(&alice, json!({}))));
    let mail = json!({ "id_server": "x", "id_access_token": "x", "medium": "email", "address": "bob@x" });
    for (body, status, errcode, said) in [
        (json!({ "user_id": "bob" }), 400, "M_INVALID_PARAM", "user_id is not a user ID"),
        (json!({}), 400, "M_MISSING_PARAM", "user_id"),
        (json!({ "user_id": 7 }), 400, "M_BAD_JSON", "wrong kind of value"),
        (mail, 403, "M_FORBIDDEN", "by e-mail"),
    ] {
        let answer = alice.post(&path, body.clone()).refused(status, errcode);
        let error = answer["error"].as_str().expect("words");
        assert!(error.contains(said), "{body}: {error}");
    }
    // Nor does any other body with several forms show how it is read.
    let error = alice.post(&list_path(&alice), json!({ "invite": ["bob"] })).refused(400, "M_BAD_JSON");
    assert_eq!(error["error"], "the body has none of the forms that are allowed here");
}
