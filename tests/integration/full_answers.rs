//! M8, M12: what an answer holds beyond Matrix's when it is asked to.

use serde_json::{Value, json};

use super::{
    rooms_life::{bodies, create, say},
    support::TestServer,
};

const FULL: &str = "org.pilotlight.answer=full";

#[test]
fn m8_a_page_tells_whether_there_is_more_and_what_changed_state_was_before() {
    let server = TestServer::start();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let room = create(&alice, json!({ "preset": "public_chat", "name": "one" }));
    for n in 0..7 {
        say(&alice, &room, &n.to_string(), &n.to_string());
    }
    alice
        .put(&format!("/_matrix/client/v3/profile/{}/displayname", alice.user), json!({ "displayname": "A" }))
        .ok();
    alice.put(&format!("{room}/state/m.room.name"), json!({ "name": "two" })).ok();
    for direction in ["b", "f"] {
        // To the very end by pages of any size: it says so at the end, and not before.
        for limit in [1, 4, 100] {
            let (mut seen, mut from) = (0, String::new());
            let all = alice.get(&format!("{room}/messages?dir=f&limit=100")).ok();
            let all = all["chunk"].as_array().expect("a list").len();
            loop {
                let path = format!("{room}/messages?dir={direction}&limit={limit}&{FULL}{from}");
                let page = alice.get(&path).ok();
                seen += page["chunk"].as_array().expect("a list").len();
                let more = &page["org.pilotlight.more"];
                assert_eq!(
                    *more,
                    json!({ "here": seen < all, "elsewhere": false }),
                    "{direction} {limit} {seen}"
                );
                if seen == all {
                    break;
                }
                from = format!("&from={}", page["end"].as_str().expect("a token"));
            }
        }
    }
    let page = alice.get(&format!("{room}/messages?dir=b&limit=2&org.pilotlight.backfill=false")).ok();
    assert_eq!(page.get("org.pilotlight.more"), None, "who does not ask gets Matrix's answer");
    let before = |n: usize, key: &str| page["chunk"][n]["unsigned"]["prev_content"][key].clone();
    assert_eq!((before(0, "name"), before(1, "displayname")), (json!("one"), json!("alice")));
    for flag in ["true", "false"] {
        alice.get(&format!("{room}/messages?dir=b&org.pilotlight.backfill={flag}")).ok();
    }
    alice
        .get(&format!("{room}/messages?dir=b&org.pilotlight.backfill=maybe"))
        .refused(400, "M_INVALID_PARAM");
    // What somebody may not see is no more for them.
    let closed = create(
        &alice,
        json!({ "preset": "public_chat", "initial_state": [
            { "type": "m.room.history_visibility", "content": { "history_visibility": "joined" } }] }),
    );
    say(&alice, &closed, "1", "before");
    bob.post(&format!("{closed}/join"), json!({})).ok();
    say(&alice, &closed, "2", "after");
    let page = bob.get(&format!("{closed}/messages?dir=b&limit=2&{FULL}")).ok();
    assert_eq!(page["chunk"].as_array().map(Vec::len), Some(2));
    assert_eq!(page["org.pilotlight.more"]["here"], true, "the state that a room began with is seen");
    bob.post(&format!("{room}/join"), json!({})).ok();
    bob.post(&format!("{room}/leave"), json!({})).ok();
    say(&alice, &room, "later", "later");
    let page = bob.get(&format!("{room}/messages?dir=f&limit=100&{FULL}")).ok();
    assert!(!bodies(&page).contains(&"later"));
    assert_eq!(page["org.pilotlight.more"]["here"], false);
    let page = bob.get(&format!("{room}/messages?dir=f&limit=3&{FULL}")).ok();
    assert_eq!(page["org.pilotlight.more"]["here"], true);
}

#[test]
fn m12_who_changes_a_room_is_told_where_it_stands_and_what_was_made_of_it() {
    let server = TestServer::start();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let room = create(&alice, json!({ "preset": "public_chat" }));
    let put = |path: &str, body: Value| alice.put(&format!("{room}/{path}?{FULL}"), body).ok();
    let keys = |answer: &Value| answer.as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
    let text = json!({ "msgtype": "m.text", "body": "hello" });
    let sent = put("send/m.room.message/1", text.clone());
    assert_eq!(keys(&sent), ["event_id", "org.pilotlight.position"], "it is what was said");
    assert_eq!(put("send/m.room.message/1", text), sent);
    let topic = put("state/m.room.topic", json!({ "topic": "x" }));
    assert_eq!(keys(&topic), ["event_id", "org.pilotlight.position"]);
    assert_eq!(put("state/m.room.topic", json!({ "topic": "x" })), topic, "it stands where it stood");
    // A member event says who it is about.
    let member = put(&format!("state/m.room.member/{}", alice.user), json!({ "membership": "join", "x": 1 }));
    assert_eq!(
        member["org.pilotlight.content"],
        json!({ "membership": "join", "displayname": "alice", "x": 1 })
    );
    // By either way a redaction says what it redacts.
    let id = sent["event_id"].as_str().expect("an ID");
    let redacted = put(&format!("redact/{id}/2"), json!({ "reason": "typo" }));
    assert_eq!(redacted["org.pilotlight.content"], json!({ "reason": "typo", "redacts": id }));
    let other = put("send/m.room.message/3", json!({ "body": "x" }))["event_id"].clone();
    let redacted = put("send/m.room.redaction/4", json!({ "redacts": other }));
    assert_eq!(keys(&redacted), ["event_id", "org.pilotlight.position"]);
    for answer in [&sent, &topic, &member, &redacted] {
        let position = answer["org.pilotlight.position"].as_str().expect("a token");
        let page = alice.get(&format!("{room}/messages?dir=b&limit=1&from={position}")).ok();
        assert_eq!(page["chunk"][0]["event_id"], answer["event_id"]);
    }
    // What is sent again after it was emptied is what it is by now.
    let again = put("send/m.room.message/1", json!({ "msgtype": "m.text", "body": "hello" }));
    assert_eq!((&again["event_id"], &again["org.pilotlight.content"]), (&sent["event_id"], &json!({})));
    // Who is asked in is named, also when they are asked again by the same action.
    let path = format!("{room}/invite?{FULL}&org.pilotlight.action=9");
    let invited = alice.post(&path, json!({ "user_id": bob.user })).ok();
    assert_eq!(invited, json!({ "org.pilotlight.displayname": "bob" }));
    assert_eq!(alice.post(&path, json!({ "user_id": bob.user })).ok(), invited);
    for (path, body) in [
        ("kick", json!({ "user_id": bob.user })),
        ("ban", json!({ "user_id": bob.user })),
        ("unban", json!({ "user_id": bob.user })),
        ("leave", json!({})),
    ] {
        assert_eq!(alice.post(&format!("{room}/{path}?{FULL}"), body).ok(), json!({}), "{path}");
    }
}
