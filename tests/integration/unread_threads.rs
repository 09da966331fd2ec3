//! What is unread in threads and beside them, and receipts that are for one thread.

use serde_json::{Value, json};

use super::{
    support::{Client, TestServer},
    sync::{Reader, joined, room_of, same, send},
};

/// Asks for threads apart.
const BY_THREAD: &str = "&filter={\"room\":{\"timeline\":{\"unread_thread_notifications\":true}}}";

/// The filter as it stands in a URL.
fn by_thread() -> String {
    BY_THREAD.replace('{', "%7B").replace('}', "%7D").replace('"', "%22")
}

fn send_content(client: &Client, room: &str, kind: &str, transaction: &str, content: Value) -> String {
    let path = format!("/_matrix/client/v3/rooms/{room}/send/{kind}/{transaction}");
    client.put(&path, content).ok()["event_id"].as_str().expect("an event ID").to_owned()
}

/// Says something in the thread below `root`.
fn reply(client: &Client, room: &str, root: &str, transaction: &str, more: Value) -> String {
    let relation = json!({ "rel_type": "m.thread", "event_id": root });
    let mut content = json!({ "msgtype": "m.text", "body": transaction, "m.relates_to": relation });
    for (key, value) in more.as_object().into_iter().flatten() {
        content[key] = value.clone();
    }
    send_content(client, room, "m.room.message", transaction, content)
}

fn receipt(client: &Client, room: &str, event: &str, thread: Option<&str>) -> super::support::Answer {
    let path = format!("/_matrix/client/v3/rooms/{room}/receipt/m.read/{event}");
    client.post(&path, thread.map_or(json!({}), |thread| json!({ "thread_id": thread })))
}

fn counts(notifications: u64, highlights: u64) -> Value {
    json!({ "notification_count": notifications, "highlight_count": highlights })
}

/// What is unread beside threads, and in them.
fn unread(answer: &Value, room: &str) -> (Value, Value) {
    let room = joined(answer, room);
    (room["unread_notifications"].clone(), room["unread_thread_notifications"].clone())
}

#[test]
fn threads_are_counted_apart_for_who_asks_and_with_the_rest_for_who_does_not() {
    let server = TestServer::start();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let room = room_of(&alice, &[&bob]);
    let (mut plain, mut apart) = (Reader::new(&bob), Reader::with(&bob, &by_thread()));
    let (one, two) = (send(&alice, &room, "1", "one"), send(&alice, &room, "2", "two"));
    reply(&alice, &room, &one, "in-one", json!({}));
    let mention = json!({ "m.mentions": { "user_ids": [bob.user] } });
    let in_two = reply(&alice, &room, &two, "in-two", mention);
    reply(&alice, &room, &two, "in-two-again", json!({}));
    let threads = json!({ &one: counts(1, 0), &two: counts(2, 1) });
    assert_eq!(unread(&apart.now(), &room), (counts(2, 0), threads.clone()));
    assert_eq!(unread(&plain.now(), &room), (counts(5, 1), Value::Null));

    receipt(&bob, &room, &in_two, Some(&two)).ok();
    assert_eq!(
        unread(&apart.now(), &room),
        (counts(2, 0), json!({ &one: counts(1, 0), &two: counts(1, 0) }))
    );
    receipt(&bob, &room, &two, Some("main")).ok();
    assert_eq!(
        unread(&apart.now(), &room),
        (counts(0, 0), json!({ &one: counts(1, 0), &two: counts(1, 0) }))
    );
    assert_eq!(unread(&plain.now(), &room), (counts(2, 0), Value::Null));

    // The same when nothing is remembered of the counting.
    let server = server.restart();
    let (alice, bob) = (same(&server, &alice), same(&server, &bob));
    let mut apart = Reader { client: bob.clone(), ..apart };
    let third = send(&alice, &room, "3", "three");
    assert_eq!(
        unread(&apart.now(), &room),
        (counts(1, 0), json!({ &one: counts(1, 0), &two: counts(1, 0) }))
    );
    // A receipt that is for no thread is for everything before it.
    receipt(&bob, &room, &third, None).ok();
    assert_eq!(unread(&apart.now(), &room), (counts(0, 0), Value::Null));
}

#[test]
fn a_mark_that_was_overtaken_or_stands_on_no_event_of_the_room_changes_nothing() {
    let server = TestServer::start();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let (room, other) = (room_of(&alice, &[&bob]), room_of(&alice, &[&bob]));
    let sent: Vec<String> = (0..5).map(|n| send(&alice, &room, &n.to_string(), "hello")).collect();
    let elsewhere = send(&alice, &other, "e", "elsewhere");
    let mut apart = Reader::with(&bob, &by_thread());
    let mut others = Reader::new(&alice);
    others.now();
    let mark = |body: Value| bob.post(&format!("/_matrix/client/v3/rooms/{room}/read_markers"), body).ok();
    let fully_read = || {
        let path = format!("/_matrix/client/v3/user/{}/rooms/{room}/account_data/m.fully_read", bob.user);
        bob.get(&path).ok()["event_id"].clone()
    };
    receipt(&bob, &room, &sent[4], None).ok();
    mark(json!({ "m.fully_read": sent[3] }));
    assert_eq!(unread(&apart.now(), &room), (counts(0, 0), Value::Null));
    let shown = joined(&others.now(), &room)["ephemeral"]["events"][0]["content"].clone();
    assert!(shown[&sent[4]]["m.read"][&bob.user].is_object(), "{shown}");
    for event in [&sent[1], &sent[4], &"$nope".to_owned(), &elsewhere] {
        receipt(&bob, &room, event, None).ok();
        mark(json!({ "m.fully_read": event, "m.read": event }));
    }
    let late = send(&alice, &room, "5", "one more");
    assert_eq!(unread(&apart.now(), &room), (counts(1, 0), Value::Null), "only what is new");
    let told = others.now();
    assert_eq!(joined(&told, &room)["ephemeral"]["events"], json!([]), "{told}");
    assert_eq!(fully_read(), json!(sent[4]), "it went on once");
    // A private one goes on by itself.
    let private = format!("/_matrix/client/v3/rooms/{room}/receipt/m.read.private/");
    bob.post(&format!("{private}{late}"), json!({})).ok();
    bob.post(&format!("{private}{}", sent[0]), json!({})).ok();
    assert_eq!(unread(&apart.now(), &room), (counts(0, 0), Value::Null));
}

#[test]
fn who_answers_in_a_thread_has_read_that_thread_and_nothing_else() {
    let server = TestServer::start();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let room = room_of(&alice, &[&bob]);
    let mut apart = Reader::with(&bob, &by_thread());
    let root = send(&alice, &room, "1", "one");
    reply(&alice, &room, &root, "first", json!({}));
    assert_eq!(unread(&apart.now(), &room), (counts(1, 0), json!({ &root: counts(1, 0) })));
    reply(&bob, &room, &root, "answer", json!({}));
    assert_eq!(unread(&apart.now(), &room), (counts(1, 0), Value::Null));
    reply(&alice, &room, &root, "second", json!({}));
    send(&bob, &room, "2", "and here");
    assert_eq!(unread(&apart.now(), &room), (counts(0, 0), json!({ &root: counts(1, 0) })));
}

#[test]
fn what_relates_to_an_event_of_a_thread_is_in_the_thread() {
    let server = TestServer::start();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let room = room_of(&alice, &[&bob]);
    let rule = json!({ "conditions": [{ "kind": "event_match", "key": "type", "pattern": "m.reaction" }],
        "actions": ["notify"] });
    bob.put("/_matrix/client/v3/pushrules/global/override/reactions", rule).ok();
    let mut apart = Reader::with(&bob, &by_thread());
    let root = send(&alice, &room, "1", "one");
    let inside = reply(&alice, &room, &root, "inside", json!({}));
    let react = |to: &str, key: &str| {
        let relation = json!({ "rel_type": "m.annotation", "event_id": to, "key": key });
        send_content(&alice, &room, "m.reaction", key, json!({ "m.relates_to": relation }))
    };
    let (to_root, to_inside) = (react(&root, "a"), react(&inside, "b"));
    assert_eq!(unread(&apart.now(), &room), (counts(2, 0), json!({ &root: counts(2, 0) })));
    // A receipt stands only where its thread is.
    receipt(&bob, &room, &to_inside, Some(&root)).ok();
    assert_eq!(unread(&apart.now(), &room), (counts(2, 0), Value::Null));
    receipt(&bob, &room, &to_root, Some("main")).ok();
    assert_eq!(unread(&apart.now(), &room), (counts(0, 0), Value::Null));
    for (event, thread) in [(&to_inside, "main"), (&to_root, &*root), (&inside, "$other"), (&inside, "main")]
    {
        receipt(&bob, &room, event, Some(thread)).refused(400, "M_INVALID_PARAM");
    }
    receipt(&bob, &room, &root, Some(&root)).ok();
    for thread in [json!(""), json!(7)] {
        let path = format!("/_matrix/client/v3/rooms/{room}/receipt/m.read/{inside}");
        let status = bob.post(&path, json!({ "thread_id": thread })).status;
        assert_eq!(status, 400, "{thread}");
    }
    let path = format!("/_matrix/client/v3/rooms/{room}/receipt/m.fully_read/{inside}");
    bob.post(&path, json!({ "thread_id": root })).refused(400, "M_INVALID_PARAM");
}

#[test]
fn a_room_that_is_only_read_by_threads_is_counted_from_there_after_a_restart() {
    let server = TestServer::start();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let room = room_of(&alice, &[&bob]);
    let root = send(&alice, &room, "root", "root");
    let mut last = String::new();
    for n in 0..70 {
        last = send(&alice, &room, &n.to_string(), "more");
        if n % 10 == 0 {
            reply(&alice, &room, &root, &format!("t{n}"), json!({}));
        }
    }
    receipt(&bob, &room, &last, Some("main")).ok();
    let server = server.restart();
    let (alice, bob) = (same(&server, &alice), same(&server, &bob));
    let mut apart = Reader { client: bob, since: String::new(), with: by_thread() };
    assert_eq!(unread(&apart.now(), &room), (counts(0, 0), json!({ &root: counts(7, 0) })));
    send(&alice, &room, "after", "after");
    assert_eq!(unread(&apart.now(), &room), (counts(1, 0), json!({ &root: counts(7, 0) })));
}
