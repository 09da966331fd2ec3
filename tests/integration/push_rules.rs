//! Push rules: each of their endpoints, in the order in which rules are asked.

use serde_json::{Value, json};

use super::{
    support::{Client, TestServer},
    sync::{Reader, create_room},
};

const RULES: &str = "/_matrix/client/v3/pushrules";

fn put(client: &Client, rest: &str, body: Value) -> super::support::Answer {
    client.put(&format!("{RULES}/global/{rest}"), body)
}

fn get(client: &Client, rest: &str) -> super::support::Answer {
    client.get(&format!("{RULES}/global/{rest}"))
}

/// The rules of a kind that the user made, in order.
fn made(client: &Client, kind: &str) -> Vec<String> {
    let rules = get(client, &format!("{kind}/")).ok();
    let ids = rules
        .as_array()
        .expect("a list")
        .iter()
        .map(|rule| rule["rule_id"].as_str().expect("an ID").to_owned());
    ids.filter(|id| !id.starts_with(".m.")).collect()
}

#[test]
fn rules_stand_in_front_of_those_before_and_behind_those_after() {
    let server = TestServer::start();
    let alice = server.register("alice");
    let condition = json!({ "kind": "event_match", "key": "type", "pattern": "x" });
    for kind in ["override", "underride"] {
        let rule = |id: &str, place: &str| {
            let body = json!({ "conditions": [condition], "actions": ["notify"] });
            put(&alice, &format!("{kind}/{id}{place}"), body).ok();
        };
        for id in ["a", "b", "c"] {
            rule(id, "");
        }
        assert_eq!(made(&alice, kind), ["c", "b", "a"], "the newest is asked first");
        rule("d", "?after=b");
        rule("e", "?before=b");
        assert_eq!(made(&alice, kind), ["c", "e", "b", "d", "a"]);
        rule("a", "?before=c");
        assert_eq!(made(&alice, kind), ["a", "c", "e", "b", "d"], "one that is there moves");
        put(&alice, &format!("{kind}/c/enabled"), json!({ "enabled": false })).ok();
        for (moved, place, order) in [
            ("a", "after=d", ["c", "e", "b", "d", "a"]),
            ("c", "before=b", ["e", "c", "b", "d", "a"]),
            ("e", "after=a", ["c", "b", "d", "a", "e"]),
            ("c", "after=b&before=d", ["b", "c", "d", "a", "e"]),
            ("a", "before=b", ["a", "b", "c", "d", "e"]),
            ("d", "after=c", ["a", "b", "c", "d", "e"]),
        ] {
            rule(moved, &format!("?{place}"));
            assert_eq!(made(&alice, kind), order, "{moved} {place}");
        }
        assert_eq!(get(&alice, &format!("{kind}/c/enabled")).ok()["enabled"], false, "it only moved");
        let body = || json!({ "conditions": [], "actions": [] });
        for beside_itself in ["c?after=c", "c?before=c", "new?after=new"] {
            put(&alice, &format!("{kind}/{beside_itself}"), body()).refused(400, "M_UNKNOWN");
        }
        assert_eq!(made(&alice, kind), ["a", "b", "c", "d", "e"], "what is refused changes nothing");
        put(&alice, &format!("{kind}/x?before=none"), body()).refused(400, "M_UNKNOWN");
        put(&alice, &format!("{kind}/x?after=none"), body()).refused(400, "M_UNKNOWN");
        put(&alice, &format!("{kind}/x?before=.m.rule.message"), body()).refused(400, "M_INVALID_PARAM");
    }
    // The one that turns everything off stays in front of all.
    let all = alice.get(&format!("{RULES}/")).ok();
    assert_eq!(all["global"]["override"][0]["rule_id"], ".m.rule.master");
    assert_eq!(all["global"]["override"][1]["rule_id"], "a");
}

#[test]
fn each_kind_has_its_form_and_every_part_its_endpoint() {
    let server = TestServer::start();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    for (kind, id, form) in [
        ("override", "o", json!({ "conditions": [{ "kind": "contains_display_name" }] })),
        ("underride", "u", json!({ "conditions": [] })),
        ("content", "c", json!({ "pattern": "cake*" })),
        ("room", "!r:x", json!({})),
        ("sender", "@bob:localhost", json!({})),
    ] {
        let actions = json!(["notify", { "set_tweak": "sound", "value": "ring" }]);
        let mut body = form.clone();
        body["actions"] = actions.clone();
        put(&alice, &format!("{kind}/{id}"), body).ok();
        let mut expected = form;
        for (key, value) in [
            ("rule_id", json!(id)),
            ("actions", actions.clone()),
            ("default", json!(false)),
            ("enabled", json!(true)),
        ] {
            expected[key] = value;
        }
        assert_eq!(get(&alice, &format!("{kind}/{id}")).ok(), expected);
        assert_eq!(get(&alice, &format!("{kind}/{id}/enabled")).ok(), json!({ "enabled": true }));
        assert_eq!(get(&alice, &format!("{kind}/{id}/actions")).ok(), json!({ "actions": actions }));
        put(&alice, &format!("{kind}/{id}/enabled"), json!({ "enabled": false })).ok();
        put(&alice, &format!("{kind}/{id}/actions"), json!({ "actions": [] })).ok();
        let rule = get(&alice, &format!("{kind}/{id}")).ok();
        assert_eq!((&rule["enabled"], &rule["actions"]), (&json!(false), &json!([])));
        get(&bob, &format!("{kind}/{id}")).refused(404, "M_NOT_FOUND");
        for bad in [json!({}), json!({ "enabled": "no" }), json!({ "enabled": 0 })] {
            assert_eq!(put(&alice, &format!("{kind}/{id}/enabled"), bad).status, 400);
        }
        for bad in [json!({}), json!({ "actions": "notify" }), json!({ "actions": [7] })] {
            assert_eq!(put(&alice, &format!("{kind}/{id}/actions"), bad).status, 400);
        }
        for attribute in ["enabled", "actions"] {
            get(&alice, &format!("{kind}/none:x/{attribute}")).refused(404, "M_NOT_FOUND");
        }
        alice.delete(&format!("{RULES}/global/{kind}/{id}"), json!({})).ok();
        alice.delete(&format!("{RULES}/global/{kind}/{id}"), json!({})).refused(404, "M_NOT_FOUND");
    }
    for (path, body) in [
        ("content/x", json!({ "actions": [] })),
        ("content/x", json!({ "actions": [], "pattern": 7 })),
        ("override/x", json!({ "conditions": "all", "actions": [] })),
        ("override/x", json!({ "conditions": [] })),
        ("room/x", json!([])),
    ] {
        assert_eq!(put(&alice, path, body.clone()).status, 400, "{path} {body}");
    }
    for path in ["none/x", "none/"] {
        assert!([400, 404].contains(&get(&alice, path).status), "{path}");
    }
    for path in [
        "/_matrix/client/r0/pushrules/",
        "/_matrix/client/v3/pushrules",
        "/_matrix/client/r0/pushrules/global/",
    ] {
        assert!(alice.get(path).ok().is_object(), "{path}");
    }
    server.anonymous().get(&format!("{RULES}/")).refused(401, "M_MISSING_TOKEN");
}

#[test]
fn of_default_rules_only_what_they_do_is_changed_and_every_device_hears_of_it() {
    let server = TestServer::start();
    let alice = server.register("alice");
    let phone = server.log_in("alice");
    let mut reader = Reader::new(&phone);
    let body = json!({ "conditions": [], "actions": [] });
    put(&alice, "underride/.m.rule.message", body).refused(400, "M_INVALID_PARAM");
    alice
        .delete(&format!("{RULES}/global/underride/.m.rule.message"), json!({}))
        .refused(400, "M_INVALID_PARAM");
    put(&alice, "underride/.m.rule.none/enabled", json!({ "enabled": false })).refused(404, "M_NOT_FOUND");
    put(&alice, "override/.m.rule.message/enabled", json!({ "enabled": false })).refused(404, "M_NOT_FOUND");
    put(&alice, "underride/.m.rule.message/actions", json!({ "actions": ["notify"] })).ok();
    put(&alice, "underride/.m.rule.message/enabled", json!({ "enabled": false })).ok();
    let rule = get(&alice, "underride/.m.rule.message").ok();
    assert_eq!(
        (&rule["default"], &rule["enabled"], &rule["actions"]),
        (&json!(true), &json!(false), &json!(["notify"]))
    );
    let heard = reader.now();
    let events = heard["account_data"]["events"].as_array().expect("events");
    let rules = events.iter().find(|event| event["type"] == "m.push_rules").expect("the rules");
    assert_eq!(rules["content"], alice.get(&format!("{RULES}/")).ok());
    // Matrix's defaults, with those that look at words.
    let all = alice.get(&format!("{RULES}/")).ok();
    let ids = |kind: &str| -> Vec<String> {
        let rules = all["global"][kind].as_array().cloned().unwrap_or_default();
        rules
            .iter()
            .map(|rule| rule["rule_id"].as_str().expect("an ID").trim_start_matches(".m.rule.").to_owned())
            .collect()
    };
    assert_eq!(
        ids("override"),
        [
            "master",
            "suppress_notices",
            "invite_for_me",
            "member_event",
            "is_user_mention",
            "contains_display_name",
            "is_room_mention",
            "roomnotif",
            "tombstone",
            "reaction",
            "room.server_acl",
            "suppress_edits"
        ]
    );
    assert_eq!(
        ids("underride"),
        ["call", "encrypted_room_one_to_one", "room_one_to_one", "message", "encrypted"]
    );
}

#[test]
fn a_message_that_does_not_say_whom_it_mentions_calls_for_those_whom_its_words_name() {
    let server = TestServer::start();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let room = create_room(&alice, json!({ "preset": "public_chat" }));
    alice.post(&format!("/_matrix/client/v3/join/{room}"), json!({})).ok();
    bob.post(&format!("/_matrix/client/v3/join/{room}"), json!({})).ok();
    let name = |name: &str| {
        let path = format!("/_matrix/client/v3/profile/{}/displayname", alice.user);
        alice.put(&path, json!({ "displayname": name })).ok();
    };
    let say = |n: usize, content: Value| {
        bob.put(&format!("/_matrix/client/v3/rooms/{room}/send/m.room.message/{n}"), content).ok();
    };
    let counts = |reader: &mut Reader| -> (u64, u64) {
        let answer = reader.now();
        let told = &super::sync::joined(&answer, &room)["unread_notifications"];
        let count = |key: &str| told[key].as_u64().expect(key);
        (count("notification_count"), count("highlight_count"))
    };
    let mut reader = Reader { client: alice.clone(), since: String::new(), with: String::new() };
    reader.now();
    // Whoever changes their name has read what is above.
    let steps: [(&str, Value, (u64, u64)); 7] = [
        ("alice", json!({ "body": "hello", "msgtype": "m.text" }), (1, 0)),
        ("alice", json!({ "body": "oi Alice!", "msgtype": "m.text" }), (2, 1)),
        ("alice", json!({ "body": "oi malice", "msgtype": "m.text" }), (3, 1)),
        ("the great one", json!({ "body": "is The Great One here?", "msgtype": "m.text" }), (1, 1)),
        ("somebody else", json!({ "body": "is the great one here?", "msgtype": "m.text" }), (1, 0)),
        ("somebody else", json!({ "body": "alice", "m.mentions": {}, "msgtype": "m.text" }), (2, 0)),
        ("somebody else", json!({ "body": "@room", "msgtype": "m.text" }), (3, 0)),
    ];
    for (n, (called, content, expected)) in steps.into_iter().enumerate() {
        name(called);
        say(n, content);
        assert_eq!(counts(&mut reader), expected, "{n}");
    }
    // What a rule says is off is off, and another look by a fresh reader says the same.
    put(&alice, "content/.m.rule.contains_user_name/enabled", json!({ "enabled": false })).ok();
    say(20, json!({ "body": "alice?", "msgtype": "m.text" }));
    let mut fresh = Reader { client: alice.clone(), since: String::new(), with: String::new() };
    assert_eq!(counts(&mut fresh), counts(&mut reader));
    // Patterns have a bound.
    let long = json!({ "actions": ["notify"], "pattern": "x".repeat(1025) });
    put(&alice, "content/long", long).refused(400, "M_INVALID_PARAM");
    let long = json!([{ "kind": "event_match", "key": "type", "pattern": "*".repeat(1025) }]);
    put(&alice, "override/long", json!({ "actions": [], "conditions": long }))
        .refused(400, "M_INVALID_PARAM");
}
