//! Pushers: who sets them, what their gateways are told, and what becomes of them.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    push_gateway::{Gateway, Mood},
    support::{Client, PASSWORD, TestServer, until},
    sync::{create_room, room_of, same, send},
};
use pilotlight::server::Config;

pub const SET: &str = "/_matrix/client/v3/pushers/set";
const PUSHERS: &str = "/_matrix/client/v3/pushers";

pub fn with_gateways(config: &mut Config) {
    config.push.allow_addresses = vec!["127.0.0.0/8".parse().expect("a network")];
}

fn server() -> TestServer {
    TestServer::start_with(with_gateways)
}

pub fn pusher(gateway: &Gateway, key: &str) -> Value {
    json!({
        "kind": "http", "app_id": "org.example.app", "pushkey": key, "app_display_name": "App",
        "device_display_name": "Phone", "lang": "en", "profile_tag": "x",
        "data": { "url": gateway.url(), "format": "event_id_only", "org.example.more": { "a": 1 } },
    })
}

fn keys(client: &Client) -> Vec<String> {
    let pushers = client.get(PUSHERS).ok()["pushers"].as_array().expect("a list").clone();
    pushers.iter().map(|pusher| pusher["pushkey"].as_str().expect("a key").to_owned()).collect()
}

fn read(client: &Client, room: &str, event: &str) {
    client.post(&format!("/_matrix/client/v3/rooms/{room}/receipt/m.read/{event}"), json!({})).ok();
}

#[test]
fn a_gateway_is_told_of_what_the_rules_say_and_of_what_is_read() {
    let (server, gateway) = (server(), Gateway::start());
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let room = room_of(&alice, &[&bob]);
    send(&alice, &room, "0", "before there was a pusher");
    bob.post(SET, pusher(&gateway, "key")).ok();
    let event = send(&alice, &room, "1", "hello");
    let told = gateway.until_told(1);
    let pushkey_ts = told[0]["devices"][0]["pushkey_ts"].clone();
    assert!(pushkey_ts.as_u64().is_some_and(|ts| ts > 1_600_000_000 && ts < 100_000_000_000), "{pushkey_ts}");
    let device = |tweaks: Value| {
        let data = json!({ "format": "event_id_only", "org.example.more": { "a": 1 } });
        let mut device =
            json!({ "app_id": "org.example.app", "pushkey": "key", "pushkey_ts": pushkey_ts, "data": data });
        if tweaks != json!({}) {
            device["tweaks"] = tweaks;
        }
        json!([device])
    };
    let sound = json!({ "sound": "default" });
    let first = json!({ "event_id": event, "room_id": room, "prio": "high", "counts": { "unread": 2 },
        "devices": device(sound.clone()) });
    assert_eq!(told[0], first);
    // What bob says himself is not pushed, and reads what is above.
    send(&bob, &room, "2", "hi");
    let mention = json!({ "msgtype": "m.text", "body": "bob!", "m.mentions": { "user_ids": [bob.user] } });
    let path = format!("/_matrix/client/v3/rooms/{room}/send/m.room.message/3");
    let event = alice.put(&path, mention).ok()["event_id"].as_str().expect("an ID").to_owned();
    let told = gateway.until_told(2);
    assert_eq!((&told[1]["event_id"], &told[1]["counts"]), (&json!(event), &json!({ "unread": 1 })));
    assert_eq!(told[1]["devices"], device(json!({ "highlight": true, "sound": "default" })));
    // Read elsewhere: only the count.
    read(&bob, &room, &event);
    let told = gateway.until_told(3);
    assert_eq!(told[2], json!({ "counts": { "unread": 0 }, "devices": device(json!({})) }));
    // A muted room is silent.
    bob.put(&format!("/_matrix/client/v3/pushrules/global/room/{room}"), json!({ "actions": [] })).ok();
    send(&alice, &room, "4", "nobody hears this");
    let other = room_of(&alice, &[&bob]);
    let event = send(&alice, &other, "5", "and this they do");
    assert_eq!(gateway.until_told(4)[3]["event_id"], json!(event));
    assert_eq!(gateway.told().len(), 4);
}

#[test]
fn a_gateway_without_a_format_is_told_everything_about_the_event_and_of_invites() {
    let (server, gateway) = (server(), Gateway::start());
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    alice
        .put(
            &format!("/_matrix/client/v3/profile/{}/displayname", alice.user),
            json!({ "displayname": "Alice" }),
        )
        .ok();
    let mut whole = pusher(&gateway, "key");
    whole["data"] = json!({ "url": gateway.url() });
    bob.post(SET, whole).ok();
    let room =
        create_room(&alice, json!({ "name": "Den", "room_alias_name": "den", "preset": "private_chat" }));
    alice.post(&format!("/_matrix/client/v3/rooms/{room}/invite"), json!({ "user_id": bob.user })).ok();
    let told = gateway.until_told(1);
    assert_eq!((&told[0]["type"], &told[0]["user_is_target"]), (&json!("m.room.member"), &json!(true)));
    assert_eq!(told[0]["content"]["membership"], "invite");
    bob.post(&format!("/_matrix/client/v3/join/{room}"), json!({})).ok();
    let event = send(&alice, &room, "1", "hello");
    let told = gateway.until_told(2).pop().expect("something");
    let expected = json!({
        "event_id": event, "room_id": room, "type": "m.room.message", "sender": alice.user, "prio": "high",
        "sender_display_name": "Alice", "room_name": "Den", "room_alias": "#den:localhost",
        "content": { "msgtype": "m.text", "body": "hello" }, "counts": { "unread": 1 },
        "devices": [{ "app_id": "org.example.app", "pushkey": "key", "data": {},
            "pushkey_ts": told["devices"][0]["pushkey_ts"], "tweaks": { "sound": "default" } }],
    });
    assert_eq!(told, expected);
}

#[test]
fn pushers_are_set_shown_changed_and_deleted_by_their_user() {
    let (server, gateway) = (server(), Gateway::start());
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    for key in ["a", "b"] {
        alice.post(SET, pusher(&gateway, key)).ok();
    }
    let mut changed = pusher(&gateway, "a");
    changed["lang"] = json!("de");
    alice.post(SET, changed.clone()).ok();
    assert_eq!(alice.get(PUSHERS).ok()["pushers"], json!([changed, pusher(&gateway, "b")]));
    assert_eq!(alice.get("/_matrix/client/r0/pushers").ok(), alice.get(PUSHERS).ok());
    assert_eq!(bob.get(PUSHERS).ok(), json!({ "pushers": [] }));
    // The phone has another user: who was there before is not told any longer, unless both are.
    let mut both = pusher(&gateway, "b");
    both["append"] = json!(true);
    bob.post(SET, both).ok();
    assert_eq!((keys(&alice), keys(&bob)), (vec!["a".to_owned(), "b".into()], vec!["b".to_owned()]));
    bob.post(SET, pusher(&gateway, "b")).ok();
    assert_eq!((keys(&alice), keys(&bob)), (vec!["a".to_owned()], vec!["b".to_owned()]));
    let delete = |key: &str| json!({ "kind": null, "app_id": "org.example.app", "pushkey": key });
    bob.post(SET, delete("a")).ok();
    assert_eq!(keys(&alice), ["a"], "it is somebody else's");
    alice.post(SET, delete("a")).ok();
    alice.post(SET, delete("a")).ok();
    assert_eq!(keys(&alice), Vec::<String>::new());
    let server = server.restart();
    assert_eq!(keys(&same(&server, &bob)), ["b"]);
}

#[test]
fn what_is_no_pusher_is_refused() {
    let (server, gateway) = (server(), Gateway::start());
    let alice = server.register("alice");
    let with = |key: &str, value: Value| {
        let mut body = pusher(&gateway, "key");
        match value {
            Value::String(ref text) if text == "(none)" => {
                drop(body.as_object_mut().expect("object").remove(key))
            }
            value => body[key] = value,
        }
        body
    };
    let none = || json!("(none)");
    for (body, status, errcode) in [
        (json!({}), 400, "M_MISSING_PARAM"),
        (json!({ "kind": null }), 400, "M_MISSING_PARAM"),
        (with("lang", none()), 400, "M_MISSING_PARAM"),
        (with("data", none()), 400, "M_MISSING_PARAM"),
        (with("app_display_name", none()), 400, "M_MISSING_PARAM"),
        (with("device_display_name", none()), 400, "M_MISSING_PARAM"),
        (with("data", json!({})), 400, "M_MISSING_PARAM"),
        (with("data", json!("x")), 400, "M_BAD_JSON"),
        (with("data", json!({ "url": "https://example.org/" })), 400, "M_INVALID_PARAM"),
        (with("data", json!({ "url": 7 })), 400, "M_INVALID_PARAM"),
        (with("kind", json!("email")), 400, "M_INVALID_PARAM"),
        (with("kind", json!("pigeon")), 400, "M_INVALID_PARAM"),
        (with("kind", json!(7)), 400, "M_BAD_JSON"),
        (with("pushkey", json!("k".repeat(513))), 400, "M_INVALID_PARAM"),
        (with("app_id", json!("a".repeat(65))), 400, "M_INVALID_PARAM"),
        (with("pushkey", json!(7)), 400, "M_BAD_JSON"),
        (with("append", json!("yes")), 400, "M_BAD_JSON"),
        (with("lang", json!("x".repeat(9_000))), 400, "M_INVALID_PARAM"),
        (with("device_display_name", json!("x".repeat(8_100))), 413, "M_TOO_LARGE"),
    ] {
        alice.post(SET, body).refused(status, errcode);
    }
    alice.send("POST", SET, Some(b"[]")).refused(400, "M_BAD_JSON");
    alice.send("POST", SET, Some(b"{")).refused(400, "M_NOT_JSON");
    server.anonymous().post(SET, pusher(&gateway, "key")).refused(401, "M_MISSING_TOKEN");
    assert_eq!(keys(&alice), Vec::<String>::new());
    for n in 0..50 {
        alice.post(SET, pusher(&gateway, &n.to_string())).ok();
    }
    alice.post(SET, pusher(&gateway, "one too many")).refused(413, "M_TOO_LARGE");
    alice.post(SET, pusher(&gateway, "7")).ok();
    assert_eq!(keys(&alice).len(), 50);
}

#[test]
fn a_pusher_goes_with_the_device_that_set_it_and_with_a_key_that_its_gateway_rejects() {
    let (server, gateway) = (server(), Gateway::start());
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let room = room_of(&alice, &[&bob]);
    let (phone, tablet, laptop) = (server.log_in("bob"), server.log_in("bob"), server.log_in("bob"));
    for (client, key) in [(&phone, "phone"), (&tablet, "tablet"), (&laptop, "laptop"), (&bob, "first")] {
        client.post(SET, pusher(&gateway, key)).ok();
    }
    phone.post("/_matrix/client/v3/logout", json!({})).ok();
    assert_eq!(keys(&bob), ["tablet", "laptop", "first"]);
    gateway.set(Mood::Rejects(vec!["laptop".into(), "somebody else's".into()]));
    send(&alice, &room, "1", "hello");
    gateway.until_told(3);
    until("the rejected one is gone", || keys(&bob) == ["tablet", "first"]);
    gateway.set(Mood::Takes);
    send(&alice, &room, "2", "again");
    let told = gateway.until_told(5);
    let mut woken: Vec<_> = told[3..].iter().map(|n| n["devices"][0]["pushkey"].clone()).collect();
    woken.sort_by_key(Value::to_string);
    assert_eq!(woken, ["first", "tablet"]);
    // A new password logs the others out.
    let auth = json!({ "type": "m.login.password", "password": PASSWORD,
        "identifier": { "type": "m.id.user", "user": "bob" } });
    let session =
        bob.post("/_matrix/client/v3/account/password", json!({ "new_password": "new" })).body["session"]
            .clone();
    let mut auth = auth;
    auth["session"] = session;
    bob.post("/_matrix/client/v3/account/password", json!({ "new_password": "new", "auth": auth })).ok();
    assert_eq!(keys(&bob), ["first"]);
}

#[test]
fn what_a_gateway_does_not_take_it_is_told_again_and_what_was_read_meanwhile_it_is_not() {
    let (server, gateway) = (TestServer::driven_with(with_gateways), Gateway::start());
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let room = room_of(&alice, &[&bob]);
    bob.post(SET, pusher(&gateway, "key")).ok();
    gateway.set(Mood::Refuses(502));
    let (first, second) = (send(&alice, &room, "1", "one"), send(&alice, &room, "2", "two"));
    read(&bob, &room, &first);
    server.settle();
    assert!(gateway.asked() > 0);
    gateway.set(Mood::Takes);
    server.pass(Duration::from_secs(10));
    let third = send(&alice, &room, "3", "three");
    server.settle();
    assert_eq!(gateway.events(), [second, third]);
}

#[test]
fn a_gateway_that_refuses_one_pushkey_is_told_of_the_others_and_asked_for_that_one_less_and_less() {
    let gateway = Gateway::start();
    let server = TestServer::driven_with(with_gateways);
    let (alice, bob, carl) = (server.register("alice"), server.register("bob"), server.register("carl"));
    let room = room_of(&alice, &[&bob, &carl]);
    bob.post(SET, pusher(&gateway, "bob's")).ok();
    carl.post(SET, pusher(&gateway, "carl's")).ok();
    gateway.set(Mood::RefusesOne("bob's".into(), 507));
    let sent: Vec<_> = (0..4).map(|n| send(&alice, &room, &n.to_string(), "hello")).collect();
    server.settle();
    assert_eq!(gateway.events(), sent, "carl is told");
    // Each pause is about twice the one before, from a second on.
    let of_bob = || gateway.asked() - gateway.told().len();
    assert_eq!(of_bob(), 1);
    for (n, (least_ms, most_ms)) in [(790, 1_210), (1_590, 2_410), (3_190, 4_810)].into_iter().enumerate() {
        let waits =
            |ms| server.time().pass_until("it is asked", Duration::from_millis(ms), || of_bob() > n + 1);
        let pause = waits(most_ms);
        assert!(pause >= Duration::from_millis(least_ms), "{pause:?}");
    }
    gateway.set(Mood::Takes);
    server.pass(Duration::from_secs(10));
    assert_eq!(gateway.events()[4..], sent, "bob is told all of it");
}

#[test]
fn a_pusher_that_is_set_again_as_it_was_is_told_nothing_twice() {
    let (server, gateway) = (server(), Gateway::start());
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let room = room_of(&alice, &[&bob]);
    bob.post(SET, pusher(&gateway, "key")).ok();
    let mut sent = Vec::new();
    for n in 0..3 {
        gateway.set(Mood::Silent);
        let before = gateway.asked();
        sent.push(send(&alice, &room, &n.to_string(), "hello"));
        until("it is asked", || gateway.asked() > before);
        bob.post(SET, pusher(&gateway, "key")).ok();
        // What the server does about it, it has done when that is answered.
        let aside = create_room(&bob, json!({}));
        send(&bob, &aside, &n.to_string(), "to nobody");
        gateway.set(Mood::Takes);
        gateway.until_told(n + 1);
    }
    assert_eq!(gateway.events(), sent);
}

#[test]
fn edits_reactions_and_notices_wake_nobody_and_what_is_encrypted_does() {
    let (server, gateway) = (server(), Gateway::start());
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let room = room_of(&alice, &[&bob]);
    bob.post(SET, pusher(&gateway, "key")).ok();
    let say = |kind: &str, id: &str, content: Value| {
        let path = format!("/_matrix/client/v3/rooms/{room}/send/{kind}/{id}");
        alice.put(&path, content).ok()["event_id"].as_str().expect("an ID").to_owned()
    };
    let first = send(&alice, &room, "1", "hello");
    let relation = |kind: &str| json!({ "rel_type": kind, "event_id": first, "key": "x" });
    let text = |body: &str| json!({ "msgtype": "m.text", "body": body });
    let mut edit = text("* hullo");
    edit["m.new_content"] = text("hullo");
    edit["m.relates_to"] = relation("m.replace");
    say("m.room.message", "2", edit.clone());
    say("m.reaction", "3", json!({ "m.relates_to": relation("m.annotation") }));
    say("m.room.message", "4", json!({ "msgtype": "m.notice", "body": "a bot" }));
    let mut answer = text("in a thread");
    answer["m.relates_to"] = json!({ "rel_type": "m.thread", "event_id": first });
    let answer = say("m.room.message", "5", answer);
    let secret = say("m.room.encrypted", "6", json!({ "algorithm": "m.megolm.v1.aes-sha2" }));
    // An edit that says somebody's name at last is for them.
    edit["m.mentions"] = json!({ "user_ids": [bob.user] });
    let named = say("m.room.message", "7", edit);
    gateway.until_told(4);
    assert_eq!(gateway.events(), [first, answer, secret, named]);
}

#[test]
fn a_silent_gateway_holds_up_no_other_and_a_restart_loses_and_repeats_nothing() {
    let (server, slow, quick) = (server(), Gateway::start(), Gateway::start());
    let (alice, bob, carl) = (server.register("alice"), server.register("bob"), server.register("carl"));
    let room = room_of(&alice, &[&bob, &carl]);
    slow.set(Mood::Silent);
    bob.post(SET, pusher(&slow, "bob's")).ok();
    bob.post(SET, pusher(&quick, "bob's other")).ok();
    carl.post(SET, pusher(&quick, "carl's")).ok();
    let mut sent = vec![send(&alice, &room, "1", "one"), send(&alice, &room, "2", "two")];
    quick.until_told(4);
    let stopped = server.stop();
    slow.set(Mood::Refuses(500));
    let server = stopped.start();
    let alice = same(&server, &alice);
    slow.set(Mood::Takes);
    sent.push(send(&alice, &room, "3", "three"));
    quick.until_told(6);
    until("the slow one catches up", || slow.events().len() >= 3);
    assert_eq!(slow.events()[slow.events().len() - 3..], sent);
    let told = quick.told();
    for key in ["bob's other", "carl's"] {
        let of = told.iter().filter(|n| n["devices"][0]["pushkey"] == key);
        assert_eq!(of.map(|n| n["event_id"].clone()).collect::<Vec<_>>(), sent, "{key}");
    }
}

#[test]
fn who_is_ignored_or_redacted_wakes_nobody_and_who_looks_offline_is_woken() {
    let (server, gateway) = (server(), Gateway::start());
    let (alice, bob, carl) = (server.register("alice"), server.register("bob"), server.register("carl"));
    let room = room_of(&alice, &[&bob, &carl]);
    let ignored = json!({ "ignored_users": { &alice.user: {} } });
    bob.put(&format!("/_matrix/client/v3/user/{}/account_data/m.ignored_user_list", bob.user), ignored).ok();
    let hidden = json!({ "presence": "offline" });
    bob.put(&format!("/_matrix/client/v3/presence/{}/status", bob.user), hidden).ok();
    bob.post(SET, pusher(&gateway, "key")).ok();
    send(&alice, &room, "1", "ignored");
    let event = send(&carl, &room, "2", "heard");
    assert_eq!(gateway.until_told(1)[0]["event_id"], json!(event));
    gateway.set(Mood::Refuses(500));
    let gone = send(&carl, &room, "3", "taken back");
    carl.put(&format!("/_matrix/client/v3/rooms/{room}/redact/{gone}/r"), json!({})).ok();
    let last = send(&carl, &room, "4", "said");
    gateway.set(Mood::Takes);
    until("the last is told", || gateway.events().contains(&last));
    assert_eq!(gateway.events(), [event, last]);
}

#[test]
fn a_gateway_at_a_private_address_is_never_dialled_unless_the_operator_allows_it() {
    let (server, gateway) = (TestServer::start(), Gateway::start());
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let room = room_of(&alice, &[&bob]);
    bob.post(SET, pusher(&gateway, "key")).ok();
    let event = send(&alice, &room, "1", "hello");
    // Tried, in vain, before the next start: what was not told waits.
    let server = server.restart_with(with_gateways);
    gateway.until_told(1);
    assert_eq!(gateway.events(), [event]);
    drop(server);
}
