//! `/search`: what is found, by whom, in which version, and page by page; the threads of a room.

use serde_json::{Value, json};

use super::support::{Answer, Client, TestServer};

const V3: &str = "/_matrix/client/v3";

fn room_of(by: &Client, body: Value) -> String {
    by.post(&format!("{V3}/createRoom"), body).ok()["room_id"].as_str().expect("a room").to_owned()
}

fn public_room(by: &Client) -> String {
    room_of(by, json!({ "preset": "public_chat" }))
}

fn join(by: &Client, room: &str) {
    by.post(&format!("{V3}/rooms/{room}/join"), json!({})).ok();
}

fn send(by: &Client, room: &str, content: Value) -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let id = NEXT.fetch_add(1, Ordering::Relaxed);
    let sent = by.put(&format!("{V3}/rooms/{room}/send/m.room.message/s{id}"), content).ok();
    sent["event_id"].as_str().expect("an event").to_owned()
}

fn say(by: &Client, room: &str, text: &str) -> String {
    send(by, room, json!({ "msgtype": "m.text", "body": text }))
}

fn edit(by: &Client, room: &str, event: &str, text: &str) -> String {
    let new = json!({ "msgtype": "m.text", "body": text });
    let relation = json!({ "rel_type": "m.replace", "event_id": event });
    let content =
        json!({ "msgtype": "m.text", "body": "* edit", "m.new_content": new, "m.relates_to": relation });
    send(by, room, content)
}

fn ask(by: &Client, criteria: Value) -> Answer {
    by.post(&format!("{V3}/search"), json!({ "search_categories": { "room_events": criteria } }))
}

fn search(by: &Client, criteria: Value) -> Value {
    ask(by, criteria).ok()["search_categories"]["room_events"].clone()
}

/// The events that are found by a term, what came last first.
fn found(by: &Client, term: &str) -> Vec<String> {
    ids(&search(by, json!({ "search_term": term, "order_by": "recent" })))
}

fn ids(found: &Value) -> Vec<String> {
    let results = found["results"].as_array().expect("a list");
    results.iter().map(|one| one["result"]["event_id"].as_str().expect("an event").to_owned()).collect()
}

#[test]
fn messages_names_and_topics_are_found_by_their_words() {
    let server = TestServer::start();
    let alice = server.register("alice");
    let room = room_of(&alice, json!({ "name": "Martians", "topic": "all of them" }));
    let first = say(&alice, &room, "Little green men, and a café");
    let second = say(&alice, &room, "green tea");
    assert_eq!(found(&alice, "green"), [second.clone(), first.clone()]);
    assert_eq!(found(&alice, "GREEN men"), std::slice::from_ref(&first));
    assert_eq!(found(&alice, "cafe"), std::slice::from_ref(&first), "accents make no difference");
    assert_eq!(found(&alice, "gre"), [second.clone(), first.clone()], "the beginning of a word");
    assert_eq!(found(&alice, "\"green men\""), std::slice::from_ref(&first));
    assert!(found(&alice, "\"men green\"").is_empty() && found(&alice, "een").is_empty());
    assert!(found(&alice, "!!").is_empty());
    let of_key = |key: &str, term: &str| {
        let all = search(&alice, json!({ "search_term": term, "keys": [key] }));
        all["results"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|one| one["result"]["type"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(of_key("content.name", "martians"), ["m.room.name"]);
    assert_eq!(of_key("content.topic", "them"), ["m.room.topic"]);
    assert!(of_key("content.body", "martians").is_empty() && of_key("content.name", "green").is_empty());
    let all = search(&alice, json!({ "search_term": "green men" }));
    assert_eq!((&all["count"], &all["highlights"]), (&json!(1), &json!(["green", "men"])));
    assert!(all["results"][0]["rank"].as_f64().is_some_and(|rank| rank > 0.0), "{all}");
    assert_eq!(all["results"][0]["result"]["content"]["body"], "Little green men, and a café");
    assert_eq!(
        search(&alice, json!({ "search_term": "martian" }))["highlights"],
        json!(["martian", "martians"])
    );
}

#[test]
fn only_what_the_reader_may_see_is_found_and_counted() {
    let server = TestServer::start();
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| server.register(name));
    let hidden =
        json!([{ "type": "m.room.history_visibility", "content": { "history_visibility": "joined" } }]);
    let room = room_of(&alice, json!({ "preset": "public_chat", "initial_state": hidden }));
    let before = say(&alice, &room, "word before");
    join(&bob, &room);
    let during = say(&alice, &room, "word during");
    bob.post(&format!("{V3}/rooms/{room}/leave"), json!({})).ok();
    let after = say(&alice, &room, "word after");
    assert_eq!(found(&alice, "word"), [after, during.clone(), before]);
    let of_bob = search(&bob, json!({ "search_term": "word" }));
    assert_eq!((ids(&of_bob), &of_bob["count"]), (vec![during], &json!(1)));
    assert!(found(&carol, "word").is_empty());
    let named = search(&carol, json!({ "search_term": "word", "filter": { "rooms": [room] } }));
    assert_eq!(named["count"], 0);
    bob.post(&format!("{V3}/rooms/{room}/forget"), json!({})).ok();
    assert!(found(&bob, "word").is_empty());
    // Somebody who is ignored says nothing.
    let shared = public_room(&alice);
    join(&carol, &shared);
    let said = say(&carol, &shared, "unheard");
    assert_eq!(found(&alice, "unheard"), [said]);
    let ignored = json!({ "ignored_users": { &carol.user: {} } });
    alice.put(&format!("{V3}/user/{}/account_data/m.ignored_user_list", alice.user), ignored).ok();
    assert!(found(&alice, "unheard").is_empty());
}

#[test]
fn an_edited_message_is_found_by_what_it_says_last_and_one_that_is_gone_not_at_all() {
    let server = TestServer::start();
    let alice = server.register("alice");
    let room = public_room(&alice);
    let original = say(&alice, &room, "first version");
    let second = edit(&alice, &room, &original, "second version");
    let third = edit(&alice, &room, &original, "third version");
    assert!(found(&alice, "first").is_empty() && found(&alice, "second").is_empty());
    assert_eq!(found(&alice, "third"), std::slice::from_ref(&original));
    assert_eq!(found(&alice, "version"), std::slice::from_ref(&original), "once");
    let all = search(&alice, json!({ "search_term": "third" }));
    let edited = &all["results"][0]["result"]["unsigned"]["m.relations"]["m.replace"];
    assert_eq!(edited["content"]["m.new_content"]["body"], "third version");
    assert!(all["highlights"].as_array().expect("a list").contains(&json!("third")));
    let redact = |event: &str| {
        alice.put(&format!("{V3}/rooms/{room}/redact/{event}/r{}", event.len()), json!({})).ok();
    };
    let gone = |event: &str, n: u32| {
        alice.put(&format!("{V3}/rooms/{room}/redact/{event}/{n}"), json!({})).ok();
    };
    gone(&third, 1);
    assert!(found(&alice, "third").is_empty());
    assert_eq!(found(&alice, "second"), std::slice::from_ref(&original));
    gone(&second, 2);
    assert_eq!(found(&alice, "first"), std::slice::from_ref(&original));
    redact(&original);
    assert!(found(&alice, "version").is_empty());
    // Others cannot change what one says, nor what is found of it.
    let bob = server.register("bob");
    join(&bob, &room);
    let mine = say(&alice, &room, "my own words");
    edit(&bob, &room, &mine, "forged words");
    assert_eq!(found(&alice, "own"), [mine]);
    assert!(found(&alice, "forged").is_empty());
}

#[test]
fn pages_follow_each_other_and_filters_groups_and_context_are_as_asked() {
    let server = TestServer::start();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let (room, other) = (public_room(&alice), public_room(&bob));
    join(&bob, &room);
    let mut said: Vec<String> = (0..25).map(|n| say(&alice, &room, &format!("needle {n}"))).collect();
    let last = say(&bob, &room, "needle of bob");
    let elsewhere = say(&bob, &other, "needle elsewhere");
    said.push(last.clone());
    for order in ["recent", "rank"] {
        let criteria = json!({ "search_term": "needle", "order_by": order });
        let body = json!({ "search_categories": { "room_events": criteria } });
        let (mut all, mut query, mut pages) = (Vec::new(), String::new(), 0);
        loop {
            let page = alice.post(&format!("{V3}/search{query}"), body.clone()).ok();
            let page = &page["search_categories"]["room_events"];
            assert_eq!(page["count"], 26);
            all.extend(ids(page));
            pages += 1;
            let Some(next) = page["next_batch"].as_str() else { break };
            query = format!("?next_batch={next}");
        }
        assert_eq!(pages, 3, "{order}");
        if order == "recent" {
            assert!(all.iter().eq(said.iter().rev()));
        }
        all.sort();
        let mut expected = said.clone();
        expected.sort();
        assert_eq!(all, expected, "{order}");
    }
    let with = |more: Value| {
        let mut criteria = json!({ "search_term": "needle", "order_by": "recent" });
        criteria.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        search(&bob, criteria)
    };
    for (filter, count) in [
        (json!({ "senders": [bob.user] }), 2),
        (json!({ "senders": [] }), 0),
        (json!({ "not_senders": [alice.user] }), 2),
        (json!({ "senders": ["@nobody:localhost"] }), 0),
    ] {
        let found = with(json!({ "filter": filter }));
        assert_eq!((&found["count"], ids(&found).len()), (&json!(count), count), "{filter}");
    }
    assert_eq!(ids(&with(json!({ "filter": { "senders": [bob.user] } }))), [elsewhere.clone(), last.clone()]);
    assert_eq!(ids(&with(json!({ "filter": { "rooms": [other] } }))), std::slice::from_ref(&elsewhere));
    assert_eq!(ids(&with(json!({ "filter": { "not_rooms": [room] } }))), std::slice::from_ref(&elsewhere));
    assert!(ids(&with(json!({ "filter": { "types": ["m.room.name"] } }))).is_empty());
    assert_eq!(ids(&with(json!({ "filter": { "limit": 2 } }))).len(), 2);
    let grouped = with(json!({
        "filter": { "limit": 3 },
        "groupings": { "group_by": [{ "key": "room_id" }, { "key": "sender" }] },
    }));
    assert_eq!(grouped["groups"]["room_id"][&other]["results"], json!([elsewhere]));
    assert_eq!(grouped["groups"]["sender"][&bob.user]["results"], json!([elsewhere, last]));
    assert_eq!(grouped["groups"]["sender"][&alice.user]["results"], json!([said[24]]));
    let around = with(json!({
        "filter": { "limit": 1, "rooms": [room] },
        "event_context": { "before_limit": 2, "after_limit": 1, "include_profile": true },
        "include_state": true,
    }));
    let context = &around["results"][0]["context"];
    let bodies = |key: &str| -> Vec<Value> {
        context[key].as_array().expect("a list").iter().map(|e| e["content"]["body"].clone()).collect()
    };
    assert_eq!(bodies("events_before"), ["needle 24", "needle 23"]);
    assert!(bodies("events_after").is_empty());
    assert_eq!(context["profile_info"][&alice.user]["displayname"], "alice");
    assert!(context["start"].is_string() && context["end"].is_string());
    let state = around["state"][&room].as_array().expect("the state of the room");
    assert!(state.iter().any(|event| event["type"] == "m.room.create"));
}

#[test]
fn what_is_no_search_is_refused_and_another_category_finds_nothing() {
    let server = TestServer::start();
    let alice = server.register("alice");
    let path = format!("{V3}/search");
    server.anonymous().post(&path, json!({})).refused(401, "M_MISSING_TOKEN");
    alice.post(&path, json!({})).refused(400, "M_BAD_JSON");
    for criteria in [
        json!({}),
        json!({ "search_term": 7 }),
        json!({ "search_term": "a", "order_by": "age" }),
        json!({ "search_term": "a", "groupings": { "group_by": [{ "key": "age" }] } }),
        json!({ "search_term": "a", "event_context": { "before_limit": -1 } }),
    ] {
        ask(&alice, criteria).refused(400, "M_BAD_JSON");
    }
    assert_eq!(search(&alice, json!({ "search_term": "a\u{0}" }))["count"], 0);
    let body = json!({ "search_categories": { "room_events": { "search_term": "a" } } });
    for token in ["x", "s1", "r-1", "r"] {
        alice.post(&format!("{path}?next_batch={token}"), body.clone()).refused(400, "M_INVALID_PARAM");
    }
    alice.send("POST", &path, Some(b"{")).refused(400, "M_NOT_JSON");
    let other = alice.post(&path, json!({ "search_categories": { "org.example": {} } })).ok();
    assert_eq!(other, json!({ "search_categories": {} }));
    alice.post("/_matrix/client/r0/search", body).ok();
}

#[test]
fn a_room_that_another_took_the_place_of_is_looked_through_with_it() {
    let server = TestServer::start();
    let alice = server.register("alice");
    let old = public_room(&alice);
    let said = say(&alice, &old, "ancient");
    let new = alice.post(&format!("{V3}/rooms/{old}/upgrade"), json!({ "new_version": "11" })).ok();
    let filter = json!({ "rooms": [new["replacement_room"]] });
    assert_eq!(ids(&search(&alice, json!({ "search_term": "ancient", "filter": filter }))), [said]);
}

#[test]
fn threads_are_listed_by_their_last_event_and_those_of_the_reader_alone_if_asked() {
    let server = TestServer::start();
    let (alice, bob, carol) = (server.register("alice"), server.register("bob"), server.register("carol"));
    let room = public_room(&alice);
    join(&bob, &room);
    let reply = |by: &Client, root: &str, text: &str| {
        let relation = json!({ "rel_type": "m.thread", "event_id": root });
        send(by, &room, json!({ "msgtype": "m.text", "body": text, "m.relates_to": relation }))
    };
    let roots: Vec<String> = (0..4).map(|n| say(&alice, &room, &format!("root {n}"))).collect();
    let of_bob = say(&bob, &room, "root of bob");
    for root in &roots {
        reply(&alice, root, "one");
    }
    reply(&alice, &of_bob, "to bob");
    reply(&bob, &roots[0], "last");
    let list = |by: &Client, query: &str| {
        let path = format!("/_matrix/client/v1/rooms/{room}/threads{query}");
        let page = by.get(&path).ok();
        let ids: Vec<String> = page["chunk"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|e| e["event_id"].as_str().expect("an event").to_owned())
            .collect();
        (ids, page["next_batch"].as_str().map(str::to_owned), page)
    };
    let order = [&roots[0], &of_bob, &roots[3], &roots[2], &roots[1]].map(String::clone);
    let (all, next, page) = list(&alice, "");
    assert_eq!((all.as_slice(), next), (&order[..], None));
    let thread = &page["chunk"][0]["unsigned"]["m.relations"]["m.thread"];
    assert_eq!((&thread["count"], &thread["current_user_participated"]), (&json!(2), &json!(true)));
    assert_eq!(thread["latest_event"]["content"]["body"], "last");
    assert_eq!(list(&bob, "?include=participated").0, [roots[0].clone(), of_bob.clone()]);
    assert_eq!(list(&alice, "?include=participated").0, order);
    let (first, next, _) = list(&alice, "?limit=2");
    assert_eq!(first, order[..2]);
    let (second, next, _) = list(&alice, &format!("?limit=2&from={}", next.expect("there is more")));
    assert_eq!(second, order[2..4]);
    let (third, next, _) = list(&alice, &format!("?limit=2&from={}", next.expect("there is more")));
    assert_eq!((third.as_slice(), next), (&order[4..], None));
    let path = format!("/_matrix/client/v1/rooms/{room}/threads");
    carol.get(&path).refused(403, "M_FORBIDDEN");
    for query in ["?from=x", "?limit=0", "?include=none"] {
        alice.get(&format!("{path}{query}")).refused(400, "M_INVALID_PARAM");
    }
    // A thread whose events are gone is none.
    let gone = format!("{V3}/rooms/{room}/redact/{}/gone", reply(&bob, &roots[1], "gone"));
    assert_eq!(list(&alice, "?limit=1").0, [roots[1].clone()]);
    bob.put(&gone, json!({})).ok();
    assert_eq!(list(&alice, "?limit=1").0, [roots[0].clone()]);
}
