//! Rooms before somebody is in them: summaries, spaces, rooms that two share; reports; relations of relations.

use serde_json::{Value, json};

use super::support::{Client, TestServer};

const V3: &str = "/_matrix/client/v3";
const V1: &str = "/_matrix/client/v1";

fn room_of(by: &Client, body: Value) -> String {
    by.post(&format!("{V3}/createRoom"), body).ok()["room_id"].as_str().expect("a room").to_owned()
}

fn summary(by: &Client, room: &str) -> super::support::Answer {
    by.get(&format!("{V1}/room_summary/{}", room.replace('#', "%23")))
}

#[test]
fn a_room_is_summed_up_for_whoever_may_come_in_or_look_into_it_and_for_nobody_else() {
    let server = TestServer::start();
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| server.register(name));
    let nobody = server.anonymous();
    let public = room_of(
        &alice,
        json!({ "preset": "public_chat", "name": "Open", "topic": "all", "room_alias_name": "open", "room_version": "11" }),
    );
    let encryption =
        json!([{ "type": "m.room.encryption", "content": { "algorithm": "m.megolm.v1.aes-sha2" } }]);
    let private = room_of(
        &alice,
        json!({ "preset": "private_chat", "invite": [bob.user], "initial_state": encryption }),
    );
    let rule =
        json!({ "join_rule": "restricted", "allow": [{ "type": "m.room_membership", "room_id": private }] });
    let restricted =
        room_of(&alice, json!({ "initial_state": [{ "type": "m.room.join_rules", "content": rule }] }));
    let answer = summary(&nobody, "#open:localhost").ok();
    for (key, value) in [
        ("room_id", json!(public)),
        ("name", json!("Open")),
        ("topic", json!("all")),
        ("num_joined_members", json!(1)),
        ("join_rule", json!("public")),
        ("world_readable", json!(false)),
        ("guest_can_join", json!(false)),
        ("canonical_alias", json!("#open:localhost")),
        ("room_version", json!("11")),
    ] {
        assert_eq!(answer[key], value, "{key}");
    }
    assert!(answer.get("membership").is_none() && answer.get("encryption").is_none());
    assert_eq!(summary(&alice, &public).ok()["membership"], "join");
    let of_bob = summary(&bob, &private).ok();
    assert_eq!(
        (&of_bob["membership"], &of_bob["encryption"]),
        (&json!("invite"), &json!("m.megolm.v1.aes-sha2"))
    );
    summary(&carol, &private).refused(404, "M_NOT_FOUND");
    summary(&nobody, &private).refused(404, "M_NOT_FOUND");
    summary(&bob, &restricted).refused(404, "M_NOT_FOUND");
    bob.post(&format!("{V3}/rooms/{private}/join"), json!({})).ok();
    assert_eq!(summary(&bob, &restricted).ok()["allowed_room_ids"], json!([private]));
    summary(&alice, "!nowhere:localhost").refused(404, "M_NOT_FOUND");
    summary(&alice, "#nowhere:localhost").refused(404, "M_NOT_FOUND");
    summary(&alice, "nothing").refused(400, "M_INVALID_PARAM");
    alice.get(&format!("/_matrix/client/unstable/im.nheko.summary/summary/{public}")).ok();
}

#[test]
fn the_rooms_of_a_space_come_in_its_order_each_before_its_own_and_page_by_page() {
    let server = TestServer::start();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let space = |name: &str| {
        let kind = json!({ "type": "m.space" });
        room_of(&alice, json!({ "preset": "public_chat", "name": name, "creation_content": kind }))
    };
    let room = |name: &str, preset: &str| room_of(&alice, json!({ "preset": preset, "name": name }));
    let (top, inner) = (space("top"), space("inner"));
    let (a, b, deep) = (room("a", "public_chat"), room("b", "public_chat"), room("deep", "public_chat"));
    let secret = room("secret", "private_chat");
    let child = |of: &str, room: &str, content: Value| {
        alice.put(&format!("{V3}/rooms/{of}/state/m.space.child/{room}"), content).ok();
    };
    let via = json!(["localhost"]);
    child(&top, &a, json!({ "via": via, "order": "b", "suggested": true }));
    child(&top, &inner, json!({ "via": via, "order": "a" }));
    child(&top, &b, json!({ "via": via }));
    child(&top, &secret, json!({ "via": via }));
    child(&top, "!gone:localhost", json!({ "via": via }));
    child(&top, &deep, json!({}));
    child(&inner, &deep, json!({ "via": via }));
    // Round and round.
    child(&inner, &top, json!({ "via": via }));
    let walk = |by: &Client, query: &str| by.get(&format!("{V1}/rooms/{top}/hierarchy{query}"));
    let names = |page: &Value| -> Vec<String> {
        let rooms = page["rooms"].as_array().expect("a list").iter();
        rooms.map(|room| room["name"].as_str().expect("a name").to_owned()).collect()
    };
    let all = walk(&bob, "").ok();
    assert_eq!(names(&all), ["top", "inner", "deep", "a", "b"]);
    assert_eq!(names(&walk(&alice, "").ok()), ["top", "inner", "deep", "a", "b", "secret"]);
    let children = all["rooms"][0]["children_state"].as_array().expect("a list");
    assert_eq!(children[0]["state_key"], json!(inner));
    assert_eq!(children[0]["content"]["order"], "a");
    assert!(children[0]["origin_server_ts"].is_u64() && children[0].get("event_id").is_none());
    assert_eq!(all["rooms"][0]["room_type"], "m.space");
    assert_eq!(all["rooms"][2]["children_state"], json!([]));
    assert_eq!(names(&walk(&bob, "?max_depth=0").ok()), ["top"]);
    assert_eq!(names(&walk(&bob, "?max_depth=1").ok()), ["top", "inner", "a", "b"]);
    assert_eq!(names(&walk(&bob, "?suggested_only=true").ok()), ["top", "a"]);
    let (mut found, mut query) = (Vec::new(), String::new());
    loop {
        let page = walk(&bob, &format!("?limit=2{query}")).ok();
        found.extend(names(&page));
        let Some(next) = page["next_batch"].as_str() else { break };
        query = format!("&from={next}");
    }
    assert_eq!(found, names(&all));
    for query in ["?from=x", "?limit=0", "?limit=2&max_depth=1&from=h10a2", "?max_depth=-1"] {
        walk(&bob, query).refused(400, "M_INVALID_PARAM");
    }
    bob.get(&format!("{V1}/rooms/{secret}/hierarchy")).refused(403, "M_FORBIDDEN");
    bob.get(&format!("{V1}/rooms/!nowhere:localhost/hierarchy")).refused(403, "M_FORBIDDEN");
}

#[test]
fn rooms_that_two_share_are_those_in_which_both_are() {
    let server = TestServer::start();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let shared = room_of(&alice, json!({ "preset": "public_chat" }));
    room_of(&alice, json!({ "invite": [bob.user] }));
    bob.post(&format!("{V3}/rooms/{shared}/join"), json!({})).ok();
    for path in [
        format!("{V1}/mutual_rooms"),
        "/_matrix/client/unstable/uk.half-shot.msc2666/user/mutual_rooms".into(),
    ] {
        let of = |user: &str| alice.get(&format!("{path}?user_id={user}"));
        assert_eq!(of(&bob.user).ok(), json!({ "joined": [shared], "count": 1 }));
        assert_eq!(of("@nobody:localhost").ok(), json!({ "joined": [], "count": 0 }));
        of(&alice.user).refused(400, "M_INVALID_PARAM");
        of("nobody").refused(400, "M_INVALID_PARAM");
        alice.get(&path).refused(400, "M_MISSING_PARAM");
    }
}

#[test]
fn what_somebody_sees_they_can_report_and_the_report_is_kept() {
    let server = TestServer::start();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let room = room_of(&alice, json!({ "preset": "public_chat" }));
    let sent = alice.put(&format!("{V3}/rooms/{room}/send/m.room.message/1"), json!({ "body": "bad" })).ok();
    let event = sent["event_id"].as_str().expect("an event");
    let of_event = format!("{V3}/rooms/{room}/report/{event}");
    bob.post(&of_event, json!({ "reason": "not there" })).refused(404, "M_NOT_FOUND");
    bob.post(&format!("{V3}/rooms/{room}/join"), json!({})).ok();
    assert_eq!(bob.post(&of_event, json!({ "reason": "bad", "score": -100 })).ok(), json!({}));
    bob.post(&format!("{V3}/rooms/{room}/report"), json!({ "reason": "" })).ok();
    bob.post(&format!("{V3}/users/{}/report", alice.user), json!({ "reason": "rude" })).ok();
    bob.post(&format!("{V3}/rooms/{room}/report/$nothing"), json!({})).refused(404, "M_NOT_FOUND");
    bob.post(&format!("{V3}/rooms/!nowhere:localhost/report"), json!({})).refused(404, "M_NOT_FOUND");
    bob.post(&format!("{V3}/users/@nobody:localhost/report"), json!({})).refused(404, "M_NOT_FOUND");
    bob.post(&of_event, json!({ "reason": 7 })).refused(400, "M_BAD_JSON");
    bob.post(&of_event, json!({ "reason": "x".repeat(5000) })).refused(413, "M_TOO_LARGE");
    server.anonymous().post(&of_event, json!({})).refused(401, "M_MISSING_TOKEN");
}

#[test]
fn relations_of_relations_come_with_them_when_they_are_asked_for() {
    let server = TestServer::start();
    let alice = server.register("alice");
    let room = room_of(&alice, json!({}));
    let mut next = 0;
    let mut send = |kind: &str, content: Value| {
        next += 1;
        let path = format!("{V3}/rooms/{room}/send/{kind}/{next}");
        alice.put(&path, content).ok()["event_id"].as_str().expect("an event").to_owned()
    };
    let to = |event: &str, how: &str| json!({ "event_id": event, "rel_type": how, "key": "+" });
    let root = send("m.room.message", json!({ "body": "root" }));
    let reply = send("m.room.message", json!({ "body": "reply", "m.relates_to": to(&root, "m.thread") }));
    let reaction = send("m.reaction", json!({ "m.relates_to": to(&reply, "m.annotation") }));
    let list = |rest: &str| {
        let page = alice.get(&format!("{V1}/rooms/{room}/relations/{root}{rest}")).ok();
        let ids = page["chunk"].as_array().expect("a list").iter();
        (ids.map(|e| e["event_id"].as_str().expect("an event").to_owned()).collect::<Vec<_>>(), page)
    };
    assert_eq!(list("").0, std::slice::from_ref(&reply));
    let (all, page) = list("?recurse=true");
    assert_eq!((all, &page["recursion_depth"]), (vec![reaction.clone(), reply.clone()], &json!(3)));
    assert_eq!(list("?recurse=true&dir=f").0, [reply.clone(), reaction.clone()]);
    assert_eq!(list("/m.annotation?recurse=true").0, std::slice::from_ref(&reaction));
    let (first, page) = list("?recurse=true&limit=1");
    assert_eq!(first, [reaction]);
    let from = page["next_batch"].as_str().expect("there is more");
    assert_eq!(list(&format!("?recurse=true&limit=1&from={from}")).0, [reply]);
}
