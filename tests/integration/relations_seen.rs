//! What comes with an event of those that relate to it names nothing that its reader may not see.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    support::{Client, TestServer},
    sync::{Reader, create_room, send},
};

fn at(room: &str, rest: &str) -> String {
    format!("/_matrix/client/v3/rooms/{room}/{rest}")
}

/// Says something that relates to `event`; answers with its ID.
fn relate(who: &Client, room: &str, how: &str, event: &str, body: &str) -> String {
    let content = json!({
        "msgtype": "m.text", "body": body, "m.new_content": { "msgtype": "m.text", "body": body },
        "m.relates_to": { "rel_type": how, "event_id": event },
    });
    let sent = who.put(&at(room, &format!("send/m.room.message/{body}")), content).ok();
    sent["event_id"].as_str().expect("an ID").to_owned()
}

/// What is told beside `event` wherever it is served.
fn unsigned_everywhere(reader: &Client, room: &str, event: &str) -> BTreeMap<&'static str, Value> {
    let found = |events: &Value| {
        let events = events.as_array().cloned().unwrap_or_default();
        events.into_iter().find(|e| e["event_id"] == event).unwrap_or_default()
    };
    let get = |rest: &str| reader.get(&at(room, rest)).ok();
    let context = get(&format!("context/{event}?limit=50"));
    let filter = "&filter=%7B%22room%22%3A%7B%22include_leave%22%3Atrue%2C%22timeline%22%3A%7B%22limit%22%3A90%7D%7D%7D";
    let mut first = Reader { client: reader.clone(), since: String::new(), with: filter.to_owned() };
    let sync = first.now();
    let synced = ["join", "leave"].map(|list| found(&sync["rooms"][list][room]["timeline"]["events"]));
    let mut places = BTreeMap::from([
        ("event", get(&format!("event/{event}"))),
        ("messages", found(&get("messages?dir=b&limit=100")["chunk"])),
        ("messages forwards", found(&get("messages?dir=f&limit=100")["chunk"])),
        ("context", context["event"].clone()),
    ]);
    // A timeline has no holes: after one that the reader may not see it begins later.
    places.extend(synced.into_iter().filter(|e| !e.is_null()).map(|e| ("sync", e)));
    places.into_iter().map(|(place, event)| (place, event["unsigned"].clone())).collect()
}

/// What comes with `event` of those that relate to it, wherever it is served.
fn everywhere(reader: &Client, room: &str, event: &str) -> BTreeMap<&'static str, Value> {
    let places = unsigned_everywhere(reader, room, event).into_iter();
    places.map(|(place, unsigned)| (place, unsigned["m.relations"].clone())).collect()
}

fn set_visibility(who: &Client, room: &str, visibility: &str) {
    let path = at(room, "state/m.room.history_visibility/");
    who.put(&path, json!({ "history_visibility": visibility })).ok();
}

fn go(who: &Client, room: &str, what: &str) {
    who.post(&at(room, what), json!({})).ok();
}

/// How a relation of each kind reads: the last edit, how many there are in the thread, its last event and whether the
/// reader takes part, and what refers to the event.
fn summary(relations: &Value) -> Value {
    let thread = &relations["m.thread"];
    json!([
        relations["m.replace"]["content"]["body"],
        thread["count"],
        thread["latest_event"]["content"]["body"],
        relations["m.reference"]["chunk"].as_array().map_or(0, Vec::len),
    ])
}

#[test]
fn who_was_away_is_told_nothing_of_what_was_said_meanwhile() {
    let server = TestServer::start_with(|config| config.rate_limits.enabled = false);
    let [alice, bob, eve] = ["alice", "bob", "eve"].map(|name| server.register(name));
    for (visibility, returns, sees) in [
        ("joined", false, false),
        ("joined", true, false),
        ("invited", true, false),
        ("shared", false, false),
        ("shared", true, true),
        ("world_readable", false, true),
    ] {
        let room = create_room(&alice, json!({ "preset": "public_chat" }));
        set_visibility(&alice, &room, visibility);
        [&bob, &eve].into_iter().for_each(|who| go(who, &room, "join"));
        let root = send(&alice, &room, "root", "root");
        for how in ["m.replace", "m.thread", "m.reference"] {
            relate(&alice, &room, how, &root, &format!("before-{how}"));
        }
        go(&eve, &room, "leave");
        let hidden: Vec<String> = ["m.replace", "m.thread", "m.reference"]
            .map(|how| relate(&alice, &room, how, &root, &format!("away-{how}")))
            .into();
        if returns {
            go(&eve, &room, "join");
        }
        let all = json!(["away-m.replace", 2, "away-m.thread", 2]);
        let before = json!(["before-m.replace", 1, "before-m.thread", 1]);
        for (place, relations) in everywhere(&bob, &room, &root) {
            assert_eq!(summary(&relations), all, "{visibility}, {place}: who was there");
        }
        for (place, relations) in everywhere(&eve, &room, &root) {
            // A sync tells of a room that was left how it was then.
            let sees_here = sees && (returns || place != "sync");
            let case = format!("{visibility}, returns: {returns}, {place}");
            assert_eq!(summary(&relations), if sees_here { all.clone() } else { before.clone() }, "{case}");
            let text = relations.to_string();
            assert_eq!(hidden.iter().any(|id| text.contains(id.as_str())), sees_here, "{case}: {text}");
        }
    }
}

#[test]
fn who_came_later_is_told_nothing_of_what_was_said_before() {
    let server = TestServer::start_with(|config| config.rate_limits.enabled = false);
    let [alice, eve] = ["alice", "eve"].map(|name| server.register(name));
    let room = create_room(&alice, json!({ "preset": "public_chat" }));
    // What relates is hidden between two times at which everything shows.
    let root = send(&alice, &room, "root", "root");
    set_visibility(&alice, &room, "joined");
    let hidden = ["m.replace", "m.thread", "m.reference"]
        .map(|how| relate(&alice, &room, how, &root, &format!("hidden-{how}")));
    set_visibility(&alice, &room, "shared");
    go(&eve, &room, "join");
    for (place, relations) in everywhere(&eve, &room, &root) {
        assert_eq!(relations, Value::Null, "{place}");
    }
    let listed = format!("/_matrix/client/v1/rooms/{room}/relations/{root}");
    assert_eq!(eve.get(&listed).ok()["chunk"], json!([]));
    let late = relate(&eve, &room, "m.thread", &root, "late");
    for (place, relations) in everywhere(&eve, &room, &root) {
        let thread = &relations["m.thread"];
        assert_eq!(
            (&thread["count"], &thread["latest_event"]["event_id"]),
            (&json!(1), &json!(late)),
            "{place}"
        );
        assert_eq!(thread["current_user_participated"], true);
        assert!(hidden.iter().all(|id| !relations.to_string().contains(id.as_str())));
    }
}

#[test]
fn who_is_ignored_relates_to_nothing() {
    let server = TestServer::start_with(|config| config.rate_limits.enabled = false);
    let [alice, bob, eve] = ["alice", "bob", "eve"].map(|name| server.register(name));
    let room = create_room(&alice, json!({ "preset": "public_chat" }));
    [&bob, &eve].into_iter().for_each(|who| go(who, &room, "join"));
    let root = send(&alice, &room, "root", "root");
    for how in ["m.thread", "m.reference"] {
        relate(&bob, &room, how, &root, &format!("bob-{how}"));
        relate(&eve, &room, how, &root, &format!("eve-{how}"));
    }
    let path = format!("/_matrix/client/v3/user/{}/account_data/m.ignored_user_list", alice.user);
    alice.put(&path, json!({ "ignored_users": { eve.user: {} } })).ok();
    for (place, relations) in everywhere(&alice, &room, &root) {
        assert_eq!(summary(&relations), json!([null, 1, "bob-m.thread", 1]), "{place}");
    }
    for (place, relations) in everywhere(&bob, &room, &root) {
        assert_eq!(summary(&relations), json!([null, 2, "eve-m.thread", 2]), "{place}");
    }
}

#[test]
fn a_redacted_edit_says_what_it_was_an_edit_of_and_nothing_else_that_was_redacted_does() {
    let server = TestServer::start_with(|config| config.rate_limits.enabled = false);
    let alice = server.register("alice");
    let room = create_room(&alice, json!({ "preset": "public_chat" }));
    let root = send(&alice, &room, "root", "root");
    let edit = relate(&alice, &room, "m.replace", &root, "edit");
    let reference = relate(&alice, &room, "m.reference", &root, "reference");
    let plain = send(&alice, &room, "plain", "plain");
    for (place, unsigned) in unsigned_everywhere(&alice, &room, &edit) {
        assert_eq!(unsigned.get("org.pilotlight.edits"), None, "{place}: its content says it");
    }
    for (event, edited) in [(&edit, Some(json!(root))), (&reference, None), (&plain, None)] {
        alice.put(&at(&room, &format!("redact/{event}/r{event}")), json!({})).ok();
        for (place, unsigned) in unsigned_everywhere(&alice, &room, event) {
            assert!(unsigned["redacted_because"].is_object(), "{place}: {unsigned}");
            assert_eq!(unsigned.get("org.pilotlight.edits"), edited.as_ref(), "{place}: {unsigned}");
        }
    }
}
