//! What application services are told: in order, once, and nothing lost when either side ends.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::{
    app_services::{Registered, ghost},
    bridge::{Asked, Bridge, Reply},
    support::{Client, TestServer, until},
};

const V3: &str = "/_matrix/client/v3";

fn driven_with(service: &Registered) -> TestServer {
    let path = service.path();
    TestServer::driven_with(|config| config.application_services = vec![path])
}

fn public_room(by: &Client) -> String {
    let made = by.post(&format!("{V3}/createRoom"), json!({ "preset": "public_chat" })).ok();
    made["room_id"].as_str().expect("a room").to_owned()
}

fn join_as(service: &Client, user: &str, room: &str) {
    service.post(&format!("{V3}/rooms/{room}/join?user_id={user}"), json!({})).ok();
}

fn say(by: &Client, room: &str, text: &str) -> String {
    let path = format!("{V3}/rooms/{room}/send/m.room.message/{text}");
    let sent = by.put(&path, json!({ "msgtype": "m.text", "body": text })).ok();
    sent["event_id"].as_str().expect("an event").to_owned()
}

fn bodies(bridge: &Bridge) -> Vec<String> {
    let events = bridge.told("events");
    events.iter().filter_map(|event| event["content"]["body"].as_str().map(str::to_owned)).collect()
}

fn of_type(pieces: Vec<Value>, kind: &str) -> Vec<Value> {
    pieces.into_iter().filter(|piece| piece["type"] == kind).collect()
}

#[test]
fn an_application_service_is_told_what_concerns_its_users_and_rooms_in_order_and_nothing_else() {
    let bridge = Bridge::start();
    let irc = Registered::new("irc", Some(&bridge.url()), "");
    let server = driven_with(&irc);
    let (service, alice) = (irc.client(&server), server.register("alice"));
    let user = ghost(&service, "_irc_a");
    let room = public_room(&alice);
    say(&alice, &room, "before");
    let body = json!({ "user_id": user });
    alice.post(&format!("{V3}/rooms/{room}/invite"), body).ok();
    say(&alice, &room, "while-invited");
    join_as(&service, &user, &room);
    for text in ["one", "two", "three"] {
        say(&alice, &room, text);
    }
    let other = public_room(&alice);
    say(&alice, &other, "elsewhere");
    service.post(&format!("{V3}/rooms/{room}/leave?user_id={user}"), json!({})).ok();
    say(&alice, &room, "after");
    // By an alias of its own.
    service.put(&format!("{V3}/directory/room/%23_irc_room:localhost"), json!({ "room_id": other })).ok();
    say(&alice, &other, "by-alias");
    server.settle();
    assert_eq!(bodies(&bridge), ["one", "two", "three", "by-alias"]);
    let events = bridge.told("events");
    let members: Vec<_> = of_type(events.clone(), "m.room.member");
    let is: Vec<_> = members.iter().map(|e| (&e["state_key"], &e["content"]["membership"])).collect();
    let ours = json!(user);
    assert_eq!(is, [(&ours, &json!("invite")), (&ours, &json!("join")), (&ours, &json!("leave"))]);
    let shown = members[0]["unsigned"]["invite_room_state"].as_array().expect("stripped state");
    assert!(shown.iter().any(|event| event["type"] == "m.room.create"), "{shown:?}");
    assert_eq!(members[2]["unsigned"]["prev_content"]["membership"], "join");
    for event in &events {
        assert!(event["event_id"].is_string() && event["room_id"].is_string() && event["sender"].is_string());
        assert!(event["unsigned"]["age"].is_u64(), "{event}");
    }
    let all = bridge.transactions();
    assert!(all.iter().all(|asked| asked.authorization == "Bearer hs-irc" && asked.method == "PUT"));
    let numbers = numbers(&bridge);
    assert!(numbers.windows(2).all(|two| two[0] < two[1]), "each once, counted: {numbers:?}");
    assert!(all.iter().all(|asked| asked.body.get("ephemeral").is_none()), "it did not ask for these");
}

#[test]
fn a_transaction_is_sent_again_as_it_was_until_it_is_acknowledged() {
    let bridge = Bridge::start();
    let irc = Registered::new("irc", Some(&bridge.url()), "");
    let server = driven_with(&irc);
    let service = irc.client(&server);
    let room = public_room(&service);
    server.settle();
    let before = bridge.transactions().len();
    let error = || Reply::Status(500, "{}".into());
    bridge.reply([error(), Reply::Dropped, Reply::Status(403, "{}".into())]);
    say(&service, &room, "one");
    server.settle();
    say(&service, &room, "two");
    assert_eq!(bridge.transactions().len(), before + 1, "the next waits");
    // 1 s, 2 s, 4 s: each twice the one before.
    for (after, times) in [(999, 1), (1, 2), (1999, 2), (1, 3), (3999, 3), (1, 5)] {
        server.pass(Duration::from_millis(after));
        assert_eq!(bridge.transactions().len(), before + times, "after {after} ms more");
    }
    let all = bridge.transactions();
    let same = &all[before..before + 4];
    assert!(same.iter().all(|asked| asked.path == same[0].path && asked.text == same[0].text));
    assert_eq!(bodies(&bridge), ["one", "two"]);
}

#[test]
fn nothing_is_lost_or_out_of_order_when_either_side_is_started_anew() {
    let bridge = Bridge::start();
    let irc = Registered::new("irc", Some(&bridge.url()), "receive_ephemeral: true\n");
    let server = driven_with(&irc);
    let service = irc.client(&server);
    let alice = server.register("alice");
    let user = ghost(&service, "_irc_a");
    let room = public_room(&alice);
    join_as(&service, &user, &room);
    say(&alice, &room, "0");
    server.settle();
    bridge.be_down(true);
    say(&alice, &room, "1");
    server.settle();
    say(&alice, &room, "2");
    // While nobody is there, its user leaves: what was said before that is told.
    service.post(&format!("{V3}/rooms/{room}/leave?user_id={user}"), json!({})).ok();
    say(&alice, &room, "not-told");
    let server = server.stop().start();
    server.settle();
    join_as(&service_of(&irc, &server), &user, &room);
    let alice = server.log_in("alice");
    say(&alice, &room, "3");
    server.pass(Duration::from_secs(300));
    bridge.be_down(false);
    server.pass(Duration::from_secs(60));
    say(&alice, &room, "4");
    let server = server.stop().start();
    say(&server.log_in("alice"), &room, "5");
    server.settle();
    assert_eq!(bodies(&bridge), ["0", "1", "2", "3", "4", "5"]);
    let numbers = numbers(&bridge);
    assert!(numbers.is_sorted(), "{numbers:?}");
    // The same number means the same content, before a restart and after it.
    let mut contents = std::collections::BTreeMap::new();
    for asked in bridge.transactions() {
        let text = contents.entry(asked.path).or_insert_with(|| asked.text.clone());
        assert_eq!(*text, asked.text);
    }
}

/// The numbers of the transactions.
fn numbers(bridge: &Bridge) -> Vec<u64> {
    let number = |asked: &Asked| {
        let number = asked.path.strip_prefix("/_matrix/app/v1/transactions/").expect("a transaction");
        number.parse().expect("a number")
    };
    bridge.transactions().iter().map(number).collect()
}

/// The files in the data folder, as they are.
fn files(data: &std::path::Path) -> Vec<(std::ffi::OsString, Vec<u8>)> {
    let entries = std::fs::read_dir(data).expect("a folder").map(|entry| entry.expect("an entry"));
    let files = entries.filter(|entry| entry.path().is_file());
    files.map(|entry| (entry.file_name(), std::fs::read(entry.path()).expect("can be read"))).collect()
}

#[test]
fn no_number_comes_again_after_an_older_database_is_restored() {
    let bridge = Bridge::start();
    let irc = Registered::new("irc", Some(&bridge.url()), "");
    let server = driven_with(&irc);
    let room = public_room(&irc.client(&server));
    server.settle();
    let server = server.stop();
    let older = files(server.data_dir());
    let server = server.start();
    for text in ["lost", "with-it"] {
        say(&irc.client(&server), &room, text);
        server.settle();
    }
    server.pass(Duration::from_secs(1));
    let used = numbers(&bridge);
    let server = server.stop();
    std::fs::remove_dir_all(server.data_dir()).expect("can be removed");
    std::fs::create_dir(server.data_dir()).expect("can be made");
    for (name, bytes) in older {
        std::fs::write(server.data_dir().join(name), bytes).expect("is restored");
    }
    let server = server.start();
    say(&irc.client(&server), &room, "anew");
    server.settle();
    let all = numbers(&bridge);
    assert!(all.len() > used.len());
    assert!(all[used.len()..].iter().all(|number| !used.contains(number)), "{used:?}, then {all:?}");
    assert_eq!(bodies(&bridge), ["lost", "with-it", "anew"]);
}

fn service_of(service: &Registered, server: &TestServer) -> Client {
    service.client(server)
}

#[test]
fn a_ping_is_answered_and_ends_the_pause_after_a_failure() {
    let bridge = Bridge::start();
    let irc = Registered::new("irc", Some(&bridge.url()), "");
    let silent = Registered::new("silent", None, "");
    let paths = vec![irc.path(), silent.path()];
    let server = TestServer::driven_with(|config| config.application_services = paths);
    let service = irc.client(&server);
    let path = "/_matrix/client/v1/appservice/irc/ping";
    let answer = service.post(path, json!({ "transaction_id": "meow" })).ok();
    assert!(answer["duration_ms"].is_u64(), "{answer}");
    let asked = bridge.asked().pop().expect("it was asked");
    assert_eq!(
        (asked.path.as_str(), &asked.body),
        ("/_matrix/app/v1/ping", &json!({ "transaction_id": "meow" }))
    );
    assert_eq!(asked.authorization, "Bearer hs-irc");
    let room = public_room(&service);
    server.settle();
    bridge.be_down(true);
    say(&service, &room, "late");
    server.pass(Duration::from_secs(600));
    bridge.be_down(false);
    service.post(path, json!({})).ok();
    server.settle();
    assert_eq!(bodies(&bridge), ["late"], "no time passed since it was back");
    bridge.reply([Reply::Status(403, r#"{"errcode":"M_FORBIDDEN"}"#.into())]);
    let refused = service.post(path, json!({})).refused(502, "M_BAD_STATUS");
    assert_eq!((&refused["status"], &refused["body"]), (&json!(403), &json!(r#"{"errcode":"M_FORBIDDEN"}"#)));
    bridge.reply([Reply::Dropped]);
    service.post(path, json!({})).refused(502, "M_CONNECTION_FAILED");
    let silent = silent.client(&server);
    silent.post("/_matrix/client/v1/appservice/silent/ping", json!({})).refused(400, "M_URL_NOT_SET");
    silent.post(path, json!({})).refused(403, "M_FORBIDDEN");
    server.register("alice").post(path, json!({})).refused(403, "M_FORBIDDEN");
    server.anonymous().post(path, json!({})).refused(401, "M_MISSING_TOKEN");
}

#[test]
fn m7_who_asks_for_what_only_lives_is_told_it_of_their_rooms_and_from_where_to_scroll_back() {
    let bridge = Bridge::start();
    let irc = Registered::new("irc", Some(&bridge.url()), "de.sorunome.msc2409.push_ephemeral: true\n");
    let server = driven_with(&irc);
    let (service, alice) = (irc.client(&server), server.register("alice"));
    let user = ghost(&service, "_irc_a");
    let (room, other) = (public_room(&alice), public_room(&alice));
    let first = say(&alice, &room, "before");
    join_as(&service, &user, &room);
    let event = say(&alice, &room, "read-me");
    for room in [&room, &other] {
        let typing = format!("{V3}/rooms/{room}/typing/{}", alice.user);
        alice.put(&typing, json!({ "typing": true, "timeout": 30_000 })).ok();
    }
    server.settle();
    alice.post(&format!("{V3}/rooms/{room}/receipt/m.read/{event}"), json!({})).ok();
    alice.post(&format!("{V3}/rooms/{room}/receipt/m.read.private/{event}"), json!({})).ok();
    alice
        .put(
            &format!("{V3}/presence/{}/status", alice.user),
            json!({ "presence": "online", "status_msg": "hi" }),
        )
        .ok();
    server.settle();
    let told = bridge.told("ephemeral");
    assert_eq!(told, bridge.told("de.sorunome.msc2409.ephemeral"));
    let typing = of_type(told.clone(), "m.typing");
    assert_eq!(
        typing[0],
        json!({ "type": "m.typing", "room_id": room, "content": { "user_ids": [alice.user] } })
    );
    assert!(told.iter().all(|piece| piece["room_id"] != json!(other)), "{told:?}");
    let receipts = of_type(told.clone(), "m.receipt");
    assert_eq!(receipts.len(), 1, "private ones of others are not told: {receipts:?}");
    assert_eq!(receipts[0]["room_id"], json!(room));
    assert!(receipts[0]["content"][&event]["m.read"][&alice.user]["ts"].is_u64());
    let presence = of_type(told.clone(), "m.presence");
    let last = presence.last().expect("somebody is there");
    assert_eq!((&last["sender"], &last["content"]["status_msg"]), (&json!(alice.user), &json!("hi")));
    let joined = of_type(told, "org.pilotlight.joined");
    assert_eq!(joined.len(), 1, "{joined:?}");
    assert_eq!(joined[0]["room_id"], json!(room));
    let from = joined[0]["content"]["prev_batch"].as_str().expect("a token");
    let path = format!("{V3}/rooms/{room}/messages?dir=b&from={from}&limit=1&user_id={user}");
    let page = service.get(&path).ok();
    assert_eq!(page["chunk"][0]["event_id"], json!(first), "what was there before it came");
    // It ends by itself, and is told.
    server.pass(Duration::from_secs(31));
    let typing = of_type(bridge.told("ephemeral"), "m.typing");
    assert_eq!(typing.last().expect("it ended")["content"]["user_ids"], json!([]));
}

#[test]
fn m7_rooms_to_which_no_join_leads_are_told_with_where_to_scroll_back_when_they_come() {
    let bridge = Bridge::start();
    let more = "  rooms:\n    - {exclusive: false, regex: '!.*'}\nreceive_ephemeral: true\n";
    let server = TestServer::driven_with(|_| {});
    let alice = server.register("alice");
    let room = public_room(&alice);
    let last = say(&alice, &room, "long-ago");
    let all = Registered::new("all", Some(&bridge.url()), more);
    let path = all.path();
    let server = server.restart_with(|config| config.application_services = vec![path]);
    let joined = || of_type(bridge.told("ephemeral"), "org.pilotlight.joined");
    until("the bridge is told", || !joined().is_empty());
    let joined = joined();
    assert_eq!(joined.len(), 1, "{joined:?}");
    let from = joined[0]["content"]["prev_batch"].as_str().expect("a token").to_owned();
    assert!(bridge.told("events").is_empty(), "what was before it is not told");
    let alice = server.log_in("alice");
    let page = alice.get(&format!("{V3}/rooms/{room}/messages?dir=b&from={from}&limit=1")).ok();
    assert_eq!(page["chunk"][0]["event_id"], json!(last));
    let new = public_room(&alice);
    let joined = || of_type(bridge.told("ephemeral"), "org.pilotlight.joined");
    until("the bridge is told", || joined().len() >= 2);
    let joined = joined();
    assert_eq!(joined.len(), 2, "{joined:?}");
    assert_eq!(joined[1]["room_id"], json!(new));
    until("of the room", || bridge.told("events").iter().any(|event| event["type"] == "m.room.create"));
    let server = server.stop().start();
    server.settle();
    assert_eq!(of_type(bridge.told("ephemeral"), "org.pilotlight.joined").len(), 2, "once");
}

#[test]
fn a_user_of_a_bridge_is_as_it_said_until_it_says_otherwise_or_is_gone_itself() {
    let bridge = Bridge::start();
    let irc = Registered::new("irc", Some(&bridge.url()), "");
    let server = driven_with(&irc);
    let (service, alice) = (irc.client(&server), server.register("alice"));
    let user = ghost(&service, "_irc_a");
    let room = public_room(&alice);
    join_as(&service, &user, &room);
    let says = |word: &str| {
        let path = format!("{V3}/presence/{user}/status?user_id={user}");
        service.put(&path, json!({ "presence": word, "status_msg": "on IRC" })).ok();
        server.settle();
    };
    let shown = || {
        let answer = alice.get(&format!("{V3}/presence/{user}/status")).ok();
        let state = answer["org.pilotlight.presence"]["state"].as_str().expect("a state").to_owned();
        (state, answer["status_msg"] == "on IRC")
    };
    for word in ["online", "unavailable", "busy", "online"] {
        says(word);
        server.pass(Duration::from_secs(1200));
        assert_eq!(shown(), (word.to_owned(), true));
    }
    // The bridge goes without a word, and comes back.
    bridge.be_down(true);
    say(&alice, &room, "anybody?");
    server.pass(Duration::from_secs(20));
    assert_eq!(shown().0, "online");
    server.pass(Duration::from_secs(120));
    assert_eq!(shown().0, "offline");
    bridge.be_down(false);
    server.pass(Duration::from_secs(61));
    assert_eq!(shown(), ("online".into(), true));
    says("offline");
    server.pass(Duration::from_secs(31));
    assert_eq!(shown().0, "offline");
}

#[test]
fn users_and_rooms_that_are_not_there_are_asked_for_and_found_when_they_were_made() {
    let bridge = Bridge::start();
    let irc = Registered::new("irc", Some(&bridge.url()), "protocols: [irc]\n");
    let server = TestServer::start_with(|config| config.application_services = vec![irc.path()]);
    let (service, alice) = (irc.client(&server), server.register("alice"));
    let room = public_room(&service);
    let (makes, of_room) = (Arc::new(service.clone()), room.clone());
    bridge.answer_by(move |asked| {
        let made = Reply::Status(200, "{}".into());
        match asked.path.as_str() {
            "/_matrix/app/v1/users/%40_irc_made%3Alocalhost" => {
                ghost(&makes, "_irc_made");
                made
            }
            "/_matrix/app/v1/rooms/%23_irc_made%3Alocalhost" => {
                let alias = format!("{V3}/directory/room/%23_irc_made:localhost");
                makes.put(&alias, json!({ "room_id": of_room })).ok();
                made
            }
            "/_matrix/app/v1/thirdparty/protocol/irc" => {
                Reply::Status(200, r#"{"user_fields":["nick"],"instances":[{"network_id":"a"}]}"#.into())
            }
            "/_matrix/app/v1/thirdparty/user/irc?nick=a+b" => {
                let told = r#"[{"userid":"@_irc_a:localhost","protocol":"irc","fields":{"nick":"a b"}},7,{"userid":5}]"#;
                Reply::Status(200, told.into())
            }
            "/_matrix/app/v1/thirdparty/location?alias=%23_irc_c%3Alocalhost" => {
                let told = r##"[{"alias":"#_irc_c:localhost","protocol":"irc","fields":{"channel":"c"}}]"##;
                Reply::Status(200, told.into())
            }
            path if path.contains("/users/") || path.contains("/rooms/") => Reply::Status(404, "{}".into()),
            _ => made,
        }
    });
    let invite = |name: &str| {
        let own = public_room(&alice);
        alice.post(&format!("{V3}/rooms/{own}/invite"), json!({ "user_id": format!("@{name}:localhost") }))
    };
    invite("_irc_made").ok();
    invite("_irc_other").refused(404, "M_NOT_FOUND");
    invite("nobody").refused(404, "M_NOT_FOUND");
    alice.get(&format!("{V3}/profile/@_irc_made:localhost")).ok();
    let alias = |name: &str| format!("{V3}/directory/room/%23{name}:localhost");
    assert_eq!(alice.get(&alias("_irc_made")).ok()["room_id"], json!(room));
    alice.get(&alias("_irc_other")).refused(404, "M_NOT_FOUND");
    alice.get(&alias("nobody")).refused(404, "M_NOT_FOUND");
    alice.post(&format!("{V3}/join/%23_irc_made:localhost"), json!({})).ok();
    let asked = bridge.asked();
    assert!(asked.iter().all(|asked| !asked.path.contains("nobody")), "only what could be its own");
    assert!(
        asked.iter().all(|asked| asked.path.starts_with("/_matrix/app/v1/")),
        "who says no is asked once"
    );
    let protocols = alice.get(&format!("{V3}/thirdparty/protocols")).ok();
    assert_eq!(protocols["irc"]["user_fields"], json!(["nick"]));
    alice.get(&format!("{V3}/thirdparty/protocol/xmpp")).refused(404, "M_NOT_FOUND");
    let found = alice.get(&format!("{V3}/thirdparty/user/irc?nick=a%20b")).ok();
    let one = json!({ "userid": "@_irc_a:localhost", "protocol": "irc", "fields": { "nick": "a b" } });
    assert_eq!(found, json!([one]), "what is none is left out");
    let found = alice.get(&format!("{V3}/thirdparty/location?alias=%23_irc_c:localhost")).ok();
    assert_eq!(found[0]["fields"], json!({ "channel": "c" }));
    let looked_up = || bridge.asked().iter().filter(|asked| asked.path.contains("/thirdparty/")).count();
    let asked_before = looked_up();
    for of_nobody in
        ["user/xmpp?nick=a", "location/xmpp", "user?userid=@nobody:localhost", "location?alias=%23x:x"]
    {
        assert_eq!(alice.get(&format!("{V3}/thirdparty/{of_nobody}")).ok(), json!([]), "{of_nobody}");
    }
    assert_eq!(looked_up(), asked_before, "nobody is asked who cannot know");
    alice.get(&format!("{V3}/thirdparty/user")).refused(400, "M_INVALID_PARAM");
    assert_eq!(alice.get(&format!("{V3}/thirdparty/location/irc")).ok(), json!([]), "an object is no list");
    server.anonymous().get(&format!("{V3}/thirdparty/protocols")).refused(401, "M_MISSING_TOKEN");
}

#[test]
fn nobody_is_asked_for_a_stranger_nor_for_what_is_refused_anyhow() {
    let bridge = Bridge::start();
    let irc = Registered::new("irc", Some(&bridge.url()), "");
    let server = TestServer::start_with(|config| config.application_services = vec![irc.path()]);
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let alias = format!("{V3}/directory/room/%23_irc_a:localhost");
    server.anonymous().get(&alias).refused(404, "M_NOT_FOUND");
    server.anonymous().get("/_matrix/client/v1/room_summary/%23_irc_a:localhost").refused(404, "M_NOT_FOUND");
    let ghosts: Vec<_> = (0..101).map(|n| format!("@_irc_{n}:localhost")).collect();
    let made = alice.post(&format!("{V3}/createRoom"), json!({ "invite": ghosts }));
    made.refused(400, "M_INVALID_PARAM");
    let invite = format!("{V3}/rooms/{}/invite", public_room(&bob));
    let invited = alice.post(&invite, json!({ "user_id": ghosts[0] }));
    assert!(invited.status >= 400);
    let questions = || bridge.asked().iter().filter(|asked| asked.method == "GET").count();
    assert_eq!(questions(), 0);
    alice.get(&alias).refused(404, "M_NOT_FOUND");
    assert_eq!(questions(), 1, "for a user it is");
}

#[test]
fn what_happens_while_an_application_service_takes_nothing_is_not_kept_for_it() {
    let (bridge, silent) = (Bridge::start(), Registered::new("irc", None, ""));
    let server = driven_with(&silent);
    let (service, alice) = (silent.client(&server), server.register("alice"));
    let user = ghost(&service, "_irc_a");
    let room = public_room(&alice);
    join_as(&service, &user, &room);
    say(&alice, &room, "before");
    let heard = Registered::new("irc", Some(&bridge.url()), "");
    let server = server.restart_with(|config| config.application_services = vec![heard.path()]);
    let alice = server.log_in("alice");
    say(&alice, &room, "after");
    server.settle();
    assert_eq!(bodies(&bridge), ["after"]);
}
