//! `/notifications`: of what a user was notified, page by page.

use serde_json::{Value, json};

use super::{
    support::{Client, TestServer},
    sync::{create_room, room_of, same, send},
};

const NOTIFICATIONS: &str = "/_matrix/client/v3/notifications";

fn page(client: &Client, query: &str) -> (Vec<Value>, Option<String>) {
    let answer = client.get(&format!("{NOTIFICATIONS}?{query}")).ok();
    let list = answer["notifications"].as_array().expect("a list").clone();
    (list, answer["next_token"].as_str().map(str::to_owned))
}

fn bodies(list: &[Value]) -> Vec<String> {
    list.iter().map(|n| n["event"]["content"]["body"].as_str().unwrap_or("?").to_owned()).collect()
}

#[test]
fn pages_go_back_from_the_newest_in_all_rooms_and_are_the_same_each_time() {
    let server = TestServer::start();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let before = create_room(&alice, json!({ "preset": "public_chat" }));
    send(&alice, &before, "0", "before bob came");
    bob.post(&format!("/_matrix/client/v3/join/{before}"), json!({})).ok();
    let rooms = [before, room_of(&alice, &[&bob])];
    let mut expected = Vec::new();
    for n in 0..7 {
        let body = format!("m{n}");
        send(&alice, &rooms[n % 2], &body, &body);
        send(&bob, &rooms[n % 2], &body, "bob's own");
        expected.insert(0, body);
    }
    let (list, next) = page(&bob, "");
    assert_eq!((bodies(&list), next), (expected.clone(), None));
    let first = &list[0];
    assert_eq!(
        (&first["actions"], &first["read"], &first["room_id"]),
        (&json!(["notify", { "set_tweak": "sound", "value": "default" }]), &json!(false), &json!(rooms[0]))
    );
    assert!(
        first["ts"].is_u64() && first["event"]["event_id"].is_string() && first["event"]["room_id"].is_null()
    );

    let server = server.restart();
    let (alice, bob) = (same(&server, &alice), same(&server, &bob));
    let (mut found, mut from) = (Vec::new(), String::new());
    loop {
        let (list, next) = page(&bob, &format!("limit=3&from={from}"));
        assert!(list.len() <= 3);
        // What comes meanwhile moves no page.
        send(&alice, &rooms[0], &format!("later{}", found.len()), "later");
        found.extend(bodies(&list));
        match next {
            Some(next) => from = next,
            None => break,
        }
    }
    assert_eq!(found, expected);
    for bad in ["from=x", "from=99999999", "limit=x", "from=-1"] {
        let status = bob.get(&format!("{NOTIFICATIONS}?{bad}")).status;
        assert_eq!(status, 400, "{bad}");
    }
}

#[test]
fn highlights_alone_invites_and_what_was_read_are_told_apart() {
    let server = TestServer::start();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let room = room_of(&alice, &[&bob]);
    let mention = |n: &str| {
        let content = json!({ "msgtype": "m.text", "body": n, "m.mentions": { "user_ids": [bob.user] } });
        let path = format!("/_matrix/client/v3/rooms/{room}/send/m.room.message/{n}");
        alice.put(&path, content).ok()["event_id"].as_str().expect("an ID").to_owned()
    };
    send(&alice, &room, "1", "plain");
    let read = mention("read");
    bob.post(&format!("/_matrix/client/v3/rooms/{room}/receipt/m.read/{read}"), json!({})).ok();
    mention("unread");
    let gone = mention("gone");
    alice.put(&format!("/_matrix/client/v3/rooms/{room}/redact/{gone}/r"), json!({})).ok();
    let (list, _) = page(&bob, "only=highlight");
    assert_eq!(bodies(&list), ["unread", "read"]);
    let is_read: Vec<_> = list.iter().map(|n| n["read"].clone()).collect();
    assert_eq!(is_read, [json!(false), json!(true)]);
    let private = create_room(&alice, json!({ "invite": [bob.user] }));
    let (list, _) = page(&bob, "limit=1");
    assert_eq!(
        (&list[0]["room_id"], &list[0]["event"]["content"]["membership"]),
        (&json!(private), &json!("invite"))
    );
    assert_eq!(list[0]["read"], false);
    bob.post(&format!("/_matrix/client/v3/rooms/{room}/leave"), json!({})).ok();
    assert_eq!(page(&bob, "").0.len(), 1, "of a room that was left nothing is told");
    server.anonymous().get(NOTIFICATIONS).refused(401, "M_MISSING_TOKEN");
}
