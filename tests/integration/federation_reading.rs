//! What is read of users of other servers: without a stream open, with their names, and after a fault of our own.

use std::time::Duration;

use pilotlight::core::federation::{Availability, Status};
use ruma::UserId;
use serde_json::{Value, json};

use super::{
    contacts::list_path,
    support::Client,
    sync::{create_room, send},
    watching::{GRACE, PROMISE, Pair, SHORT_WATCHDOG, WINDOW, Watcher, drop_from_list, observe, sent, sync},
};

/// Time enough for who comes to ask and be answered.
const LOGIN: Duration = Duration::from_secs(1);

const LONG_WATCHDOG: Duration = Duration::from_secs(3_600);

fn status(client: &Client, of: &Client) -> Value {
    client.get(&format!("/_matrix/client/v3/presence/{}/status", of.user)).ok()
}

fn state(content: &Value) -> &str {
    content["org.pilotlight.presence"]["state"].as_str().expect("a state")
}

/// What the list of `client` says, contact by contact.
fn list(client: &Client) -> Vec<(String, String)> {
    let entries = client.get(&list_path(client)).ok();
    let entry = |entry: &Value| {
        let content = &entry["content"];
        let name = content["displayname"].as_str().unwrap_or_default().to_owned();
        (name, state(content).to_owned())
    };
    entries.as_array().expect("a list").iter().map(entry).collect()
}

fn set_profile(client: &Client, field: &str, value: &str) {
    let path = format!("/_matrix/client/v3/profile/{}/{field}", client.user);
    client.put(&path, json!({ field: value })).ok();
}

fn delivery(client: &Client, enabled: bool) {
    let path = format!("/_matrix/client/unstable/org.pilotlight/presence/{}/delivery", client.user);
    client.put(&path, json!({ "enabled": enabled })).ok();
}

/// Alice of the first server sees Bob of the second, who is there, with a name.
fn alice_sees_bob() -> (Pair, Client, Watcher) {
    let pair = Pair::new();
    let (alice, bob) = (pair.a.register("alice"), pair.b.register("bob"));
    set_profile(&bob, "displayname", "Bob");
    observe(&pair.a, &alice.user, &pair.b, &bob.user);
    let bob = Watcher::new(&bob);
    pair.time.pass(WINDOW * 2);
    (pair, alice, bob)
}

#[test]
fn l8_who_only_asks_for_the_list_sees_how_everybody_is_with_their_names() {
    let (pair, alice, bob) = alice_sees_bob();
    assert_eq!(list(&alice), [("Bob".to_owned(), "online".to_owned())], "at once, in the first answer");
    // It holds for a short watchdog, and nobody promised changes.
    bob.choose("busy");
    pair.time.pass(SHORT_WATCHDOG - Duration::from_millis(1));
    let before = sent(&pair.a, &pair.b_name).sent;
    assert_eq!(list(&alice)[0].1, "online");
    assert_eq!(sent(&pair.a, &pair.b_name).sent, before, "asked once in that time");
    for _ in 0..3 {
        pair.time.pass(SHORT_WATCHDOG * 5);
        assert_eq!(list(&alice), [("Bob".to_owned(), "busy".to_owned())], "however rarely it is asked for");
    }
    pair.quiet();
    let before = (sent(&pair.a, &pair.b_name).sent, sent(&pair.b, &pair.a_name).sent);
    bob.choose("online");
    pair.time.pass(PROMISE * 10);
    assert_eq!((sent(&pair.a, &pair.b_name).sent, sent(&pair.b, &pair.a_name).sent), before, "no reminders");
}

#[test]
fn l8_who_only_asks_for_one_status_sees_it_and_others_see_nothing() {
    let (pair, alice, bob) = alice_sees_bob();
    let content = status(&alice, &bob.client);
    assert_eq!((state(&content), &content["displayname"]), ("online", &json!("Bob")));
    let before = sent(&pair.a, &pair.b_name).sent;
    let mallory = pair.a.register("mallory");
    let path = format!("/_matrix/client/v3/presence/{}/status", bob.client.user);
    mallory.get(&path).refused(403, "M_FORBIDDEN");
    drop_from_list(&alice, &bob.client);
    pair.time.settle();
    alice.get(&path).refused(403, "M_FORBIDDEN");
    pair.time.pass(SHORT_WATCHDOG * 2);
    let edus = sent(&pair.a, &pair.b_name).sent - before;
    assert_eq!(edus, 1, "the drop");
}

#[test]
fn l8_a_list_is_answered_soon_though_a_server_is_not_there() {
    let (pair, alice, bob) = alice_sees_bob();
    drop(bob);
    let Pair { ca: _ca, time, a: _a, b, .. } = pair;
    let stopped = b.stop();
    let begun = std::time::Instant::now();
    assert_eq!(list(&alice)[0].1, "unknown");
    assert_eq!(list(&alice)[0].1, "unknown");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let b = stopped.start();
    let bob = Watcher::new(&b.log_in("bob"));
    time.pass(PROMISE);
    assert_eq!(list(&alice)[0].1, "online");
    drop(bob);
}

#[test]
fn l8_an_explicit_start_without_a_stream_asks_for_everybody_until_the_grace_ends() {
    let (pair, alice, bob) = alice_sees_bob();
    delivery(&alice, true);
    pair.time.pass(LOGIN);
    bob.choose("busy");
    pair.time.pass(WINDOW);
    let before = sent(&pair.a, &pair.b_name).sent;
    assert_eq!(state(&status(&alice, &bob.client)), "busy", "changes were promised");
    assert_eq!(sent(&pair.a, &pair.b_name).sent, before, "and nobody had to be asked");
    pair.time.pass(GRACE + WINDOW);
    let unpolled = sent(&pair.a, &pair.b_name).sent;
    bob.choose("online");
    pair.time.pass(WINDOW * 2);
    assert_eq!(sent(&pair.a, &pair.b_name).sent, unpolled, "it is over");
}

#[test]
fn p10_a_contact_of_another_server_comes_with_name_and_picture_in_one_event_and_so_does_a_change() {
    let (pair, alice, bob) = alice_sees_bob();
    set_profile(&bob.client, "avatar_url", "mxc://b/bob");
    let alice_reads = Watcher::new(&alice);
    pair.time.pass(LOGIN);
    let told = || alice_reads.contents(&bob.client.user);
    let [first] = &told()[..] else { panic!("one event: {:?}", told()) };
    assert_eq!((&first["displayname"], &first["avatar_url"]), (&json!("Bob"), &json!("mxc://b/bob")));
    set_profile(&bob.client, "displayname", "Robert");
    bob.choose("busy");
    pair.time.pass(WINDOW);
    let [_, second] = &told()[..] else { panic!("one more: {:?}", told()) };
    assert_eq!((&second["displayname"], state(second)), (&json!("Robert"), "busy"));
    assert_eq!(second["avatar_url"], "mxc://b/bob");
    // What changes later has them as well, and a name that is taken off is gone.
    bob.choose("online");
    pair.time.pass(WINDOW);
    assert_eq!(told().last().expect("told")["displayname"], "Robert");
    let path = format!("/_matrix/client/v3/profile/{}/displayname", bob.client.user);
    bob.client.delete(&path, json!({})).ok();
    pair.time.pass(WINDOW);
    assert_eq!(told().last().expect("told")["displayname"], Value::Null);
    assert_eq!(told().len(), 4);
    let profile = alice.get(&format!("/_matrix/client/v3/profile/{}", bob.client.user)).ok();
    assert_eq!(profile, json!({ "avatar_url": "mxc://b/bob" }));
}

#[test]
fn p10_a_name_and_a_picture_within_two_seconds_are_one_event_wherever_the_window_ends() {
    let (pair, alice, bob) = alice_sees_bob();
    let reader = Watcher::new(&alice);
    pair.time.pass(LOGIN);
    let told = || reader.contents(&bob.client.user);
    for (n, tenths) in [95, 85, 99, 40].into_iter().enumerate() {
        let (before, name) = (told().len(), format!("Bob {n}"));
        // It opens the window.
        bob.choose(if n % 2 == 0 { "busy" } else { "online" });
        pair.time.pass(Duration::from_millis(tenths * 100));
        set_profile(&bob.client, "displayname", &name);
        pair.time.pass(Duration::from_millis(1_500));
        set_profile(&bob.client, "avatar_url", &format!("mxc://b/{n}"));
        pair.time.pass(WINDOW * 2);
        let events = told().split_off(before);
        let named: Vec<_> = events.iter().filter(|event| event["displayname"] == name.as_str()).collect();
        let [one] = &named[..] else { panic!("{tenths}: one event has the name: {events:?}") };
        assert_eq!(one["avatar_url"], format!("mxc://b/{n}"), "{tenths}");
    }
}

#[test]
fn p10_a_name_is_asked_for_once_a_change_and_outlives_the_server_that_said_it() {
    let (pair, alice, bob) = alice_sees_bob();
    let reader = Watcher::new(&alice);
    pair.time.pass(LOGIN);
    // What other servers ask for, apart from transactions.
    let asked = || {
        let table = pair.b.app().metrics.requests.table();
        table.filter(|(labels, _)| labels.contains("federation")).map(|(_, count)| count).sum::<u64>()
    };
    let before = asked();
    for state in ["busy", "online", "unavailable", "free_for_chat"] {
        bob.choose(state);
        pair.time.pass(WINDOW);
        reader.sees(&bob.client.user, state);
    }
    assert_eq!(asked(), before);
    assert!(reader.contents(&bob.client.user).iter().all(|content| content["displayname"] == "Bob"));
    let user = bob.client.user.clone();
    drop(bob);
    let Pair { ca: _ca, time, a: _a, b, .. } = pair;
    let _stopped = b.stop();
    time.pass(PROMISE + LOGIN);
    reader.sees(&user, "unknown");
    let unknown = reader.contents(&user).pop().expect("told");
    assert_eq!(unknown["displayname"], "Bob", "his name is known all the same");
}

#[test]
fn p8_after_a_restart_another_server_is_told_of_the_last_message_too() {
    let (pair, alice, bob) = alice_sees_bob();
    let room = create_room(&bob.client, json!({}));
    pair.time.pass(Duration::from_secs(6));
    send(&bob.client, &room, "1", "hello");
    let (sent_at, of_bob) = (pair.time.now(), bob.client.clone());
    drop(bob);
    let Pair { ca: _ca, time, a: _a, b, .. } = pair;
    let b = b.stop().start();
    let _bob = Watcher::new(&b.log_in("bob"));
    time.pass(PROMISE);
    let content = status(&alice, &of_bob);
    let ago_ms = time.now().since(sent_at).as_millis() as u64;
    assert_eq!((state(&content), content["last_active_ago"].as_u64()), ("online", Some(ago_ms)));
}

#[test]
fn f5_what_never_reached_the_engine_is_right_again_within_a_long_watchdog() {
    let (pair, alice, bob) = alice_sees_bob();
    let reader = Watcher::new(&alice);
    pair.time.pass(LOGIN);
    let user = UserId::parse(&bob.client.user).expect("a user ID");
    let app = pair.b.app();
    // The engine is told what is not so, as if the change that came after it had been lost.
    let (position, _) = app.presence.status(&user);
    let wrong = Status::from(Availability::Busy);
    app.federation.as_ref().expect("federates").presence.handle_status(&user, position, &wrong);
    pair.time.pass(WINDOW);
    reader.sees(&bob.client.user, "busy");
    pair.time.pass(LONG_WATCHDOG + WINDOW);
    reader.sees(&bob.client.user, "online");
    sync(&alice);
}
