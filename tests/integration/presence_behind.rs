//! Readers who are told no presence for a while, or only that of some, and then all of it: they are told what they missed,
//! also of whom they cannot see any longer.

use serde_json::{Value, json};

use super::{
    accounts::password_auth,
    contacts::{OURS, add, answer, choose, list_path, status, told},
    support::{Client, PASSWORD, TestServer},
    sync::{Reader, create_room, room_of, same},
    watching::{Pair, WINDOW, observe},
};

/// What a reader does to be told no presence, or not everybody's.
#[derive(Clone, Copy, Debug)]
enum Pause {
    /// The device has the delivery of presence stopped.
    Stopped,
    /// The requests have this filter of presence.
    Filter(&'static str),
}

const PAUSES: [Pause; 8] = [
    Pause::Stopped,
    Pause::Filter(r#"{"types":[]}"#),
    Pause::Filter(r#"{"not_types":["m.*"]}"#),
    Pause::Filter(r#"{"senders":[]}"#),
    Pause::Filter(r#"{"limit":0}"#),
    Pause::Filter(r#"{"senders":["@mod:localhost"]}"#),
    Pause::Filter(r#"{"senders":["@bob:localhost"],"types":["m.presence"]}"#),
    Pause::Filter(r#"{"not_senders":[OTHERS]}"#),
];

fn delivery(who: &Client, enabled: bool) {
    who.put(&format!("{OURS}/{}/delivery", who.user), json!({ "enabled": enabled })).ok();
}

fn act(who: &Client, room: &str, act: &str, body: Value) {
    who.post(&format!("/_matrix/client/v3/rooms/{room}/{act}"), body).ok();
}

fn share(who: &Client, with: &str) {
    who.put(&format!("{OURS}/settings/{}", who.user), json!({ "share": with })).ok();
}

fn ignore(who: &Client, whom: &Client) {
    let path = format!("/_matrix/client/v3/user/{}/account_data/m.ignored_user_list", who.user);
    let mut ignored = who.get(&path).body["ignored_users"].as_object().cloned().unwrap_or_default();
    ignored.insert(whom.user.clone(), json!({}));
    who.put(&path, json!({ "ignored_users": ignored })).ok();
}

/// Who sees somebody, whom, and in which room; and who may throw out of it.
struct Tie {
    bob: Client,
    other: Client,
    moderator: Client,
    room: String,
}

/// Each road on which somebody goes out of sight, by the name of who does.
type Road = (&'static str, fn(&Tie));

const ROADS: [Road; 14] = [
    ("leaves", |tie| act(&tie.other, &tie.room, "leave", json!({}))),
    ("is-left", |tie| act(&tie.bob, &tie.room, "leave", json!({}))),
    ("is-forgotten", |tie| {
        act(&tie.bob, &tie.room, "leave", json!({}));
        act(&tie.bob, &tie.room, "forget", json!({}));
    }),
    ("is-kicked", |tie| act(&tie.moderator, &tie.room, "kick", json!({ "user_id": tie.other.user }))),
    ("is-banned", |tie| act(&tie.moderator, &tie.room, "ban", json!({ "user_id": tie.other.user }))),
    ("sees-bob-kicked", |tie| act(&tie.moderator, &tie.room, "kick", json!({ "user_id": tie.bob.user }))),
    ("sees-bob-banned", |tie| act(&tie.moderator, &tie.room, "ban", json!({ "user_id": tie.bob.user }))),
    ("closes", |tie| {
        let name = tie.other.user.split(':').next().expect("a name").trim_start_matches('@');
        let body = json!({ "auth": password_auth(name, PASSWORD) });
        tie.other.post("/_matrix/client/v3/account/deactivate", body).ok();
    }),
    ("shares-with-list", |tie| share(&tie.other, "list")),
    ("is-ignored", |tie| ignore(&tie.bob, &tie.other)),
    ("ignores", |tie| ignore(&tie.other, &tie.bob)),
    ("listed-is-dropped", |tie| {
        tie.bob.post(&list_path(&tie.bob), json!({ "drop": [tie.other.user] })).ok();
    }),
    ("listed-revokes", |tie| answer(&tie.other, &tie.bob, "revoke")),
    ("listed-shares-with-nobody", |tie| share(&tie.other, "nobody")),
];

/// Bob, who was told that everybody is there.
fn world(server: &TestServer) -> (Reader, Vec<Tie>) {
    let [bob, moderator] = ["bob", "mod"].map(|name| server.register(name));
    room_of(&moderator, &[&bob]);
    let ties: Vec<_> = ROADS
        .iter()
        .map(|(name, _)| {
            let other = server.register(name);
            let mut room = String::new();
            if name.starts_with("listed") {
                add(&bob, &other);
                answer(&other, &bob, "accept");
            } else {
                // Rooms that are made in one instant are told apart by their content.
                let content = json!({ "preset": "public_chat", "creation_content": { "org.x.road": name } });
                room = create_room(&moderator, content);
                for client in [&bob, &other] {
                    client.post(&format!("/_matrix/client/v3/join/{room}"), json!({})).ok();
                }
            }
            Reader::new(&other);
            Tie { bob: bob.clone(), other, moderator: moderator.clone(), room }
        })
        .collect();
    Reader::new(&moderator);
    let mut bobs = Reader::new(&bob);
    server.settle();
    bobs.now();
    (bobs, ties)
}

/// The query parameter of requests that want only this of presence.
pub fn filtered(json: &str) -> String {
    let escaped: String = format!(r#"{{"presence":{json}}}"#).bytes().map(|b| format!("%{b:02X}")).collect();
    format!("&filter={escaped}")
}

impl Pause {
    fn begin(self, bobs: &mut Reader) {
        match self {
            Self::Stopped => delivery(&bobs.client, false),
            Self::Filter(filter) => {
                let others: Vec<_> =
                    ROADS.iter().map(|(name, _)| format!(r#""@{name}:localhost""#)).collect();
                bobs.with = filtered(&filter.replace("OTHERS", &others.join(",")));
            }
        }
    }

    fn end(self, bobs: &mut Reader) {
        match self {
            Self::Stopped => delivery(&bobs.client, true),
            Self::Filter(_) => bobs.with.clear(),
        }
    }
}

fn every_road(pause: Pause, restarts: bool) {
    let mut server = TestServer::driven_with(|config| config.rate_limits.enabled = false);
    let (mut bobs, ties) = world(&server);
    let before = Reader { client: bobs.client.clone(), since: bobs.since.clone(), with: String::new() };
    pause.begin(&mut bobs);
    bobs.now();
    for (tie, (name, end)) in ties.iter().zip(ROADS) {
        end(tie);
        assert_eq!(told(&bobs.now(), &tie.other), Vec::<String>::new(), "{pause:?}: {name} is told");
    }
    if restarts {
        server = server.restart();
        bobs.client = same(&server, &bobs.client);
        bobs.now();
    }
    let paused = Reader { client: bobs.client.clone(), since: bobs.since.clone(), with: String::new() };
    pause.end(&mut bobs);
    for mut reader in [bobs, paused, Reader { client: same(&server, &before.client), ..before }] {
        let answer = reader.now();
        for Tie { other, .. } in &ties {
            assert_eq!(status(&reader.client, other), 403, "{}", other.user);
            assert_eq!(told(&answer, other), ["unknown"], "{pause:?}, restarts: {restarts}: {}", other.user);
        }
        let next = reader.now();
        assert_eq!(next["presence"], Value::Null, "{pause:?}: once");
    }
}

#[test]
fn l2_l8_who_went_out_of_sight_while_no_presence_was_told_is_unknown_when_it_is_told_again() {
    for pause in PAUSES {
        every_road(pause, false);
    }
}

#[test]
fn l2_l8_who_went_out_of_sight_while_no_presence_was_told_is_unknown_after_a_restart_too() {
    for pause in PAUSES {
        every_road(pause, true);
    }
}

#[test]
fn l8_what_changed_while_no_presence_was_told_is_told_when_it_is_again() {
    let server = TestServer::driven();
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| server.register(name));
    let room = room_of(&alice, &[&bob]);
    Reader::new(&alice);
    Reader::new(&carol);
    let mut bobs = Reader::new(&bob);
    bobs.now();
    for (pause, state) in PAUSES.into_iter().zip(["busy", "online"].into_iter().cycle()) {
        if matches!(pause, Pause::Filter(filter) if filter.contains("OTHERS")) {
            continue;
        }
        pause.begin(&mut bobs);
        bobs.now();
        choose(&alice, state);
        carol.post(&format!("/_matrix/client/v3/join/{room}"), json!({})).ok();
        for _ in 0..2 {
            let answer = bobs.now();
            let both = (told(&answer, &alice), told(&answer, &carol));
            assert_eq!(both, (vec![], vec![]), "{pause:?}");
        }
        pause.end(&mut bobs);
        let answer = bobs.now();
        let both = (told(&answer, &alice), told(&answer, &carol));
        assert_eq!(both, (vec![state.to_owned()], vec!["online".to_owned()]), "{pause:?}");
        assert_eq!(bobs.now()["presence"], Value::Null, "{pause:?}: once");
        act(&carol, &room, "leave", json!({}));
        bobs.now();
    }
}

#[test]
fn l8_who_passes_one_filter_is_told_by_it_as_they_change_and_by_another_what_was_left_out() {
    let server = TestServer::driven();
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| server.register(name));
    room_of(&alice, &[&bob, &carol]);
    Reader::new(&alice);
    Reader::new(&carol);
    let mut bobs = Reader::new(&bob);
    bobs.now();
    let only = |user: &Client| filtered(&format!(r#"{{"senders":["{}"]}}"#, user.user));
    let mut expect = |with: &str, of_alice: &[&str], of_carol: &[&str]| {
        bobs.with = with.to_owned();
        let answer = bobs.now();
        assert_eq!((told(&answer, &alice), told(&answer, &carol)), (own(of_alice), own(of_carol)), "{with}");
        assert_eq!(bobs.now()["presence"], Value::Null, "{with}: once");
    };
    choose(&alice, "busy");
    choose(&carol, "busy");
    expect(&only(&alice), &["busy"], &[]);
    choose(&alice, "free_for_chat");
    choose(&carol, "free_for_chat");
    expect(&only(&alice), &["free_for_chat"], &[]);
    expect(&only(&carol), &[], &["free_for_chat"]);
    choose(&alice, "busy");
    expect(&only(&carol), &[], &[]);
    expect(&filtered(r#"{"types":[]}"#), &[], &[]);
    choose(&carol, "busy");
    expect(&filtered(r#"{"types":[]}"#), &[], &[]);
    expect("", &["busy"], &["busy"]);
}

fn own(states: &[&str]) -> Vec<String> {
    states.iter().map(|state| (*state).to_owned()).collect()
}

#[test]
fn l2_who_was_seen_by_some_filter_only_and_is_seen_no_longer_is_unknown_by_every_other() {
    let server = TestServer::driven();
    let [bob, alice, carol] = ["bob", "alice", "carol"].map(|name| server.register(name));
    let only = |user: &Client| filtered(&format!(r#"{{"senders":["{}"]}}"#, user.user));
    for (between, leaver) in
        ["", r#"{"types":[]}"#].into_iter().flat_map(|between| [(between, &alice), (between, &bob)])
    {
        let mut bobs = Reader::new(&bob);
        bobs.now();
        bobs.with = only(&carol);
        bobs.now();
        // They meet and part without a look at everybody in between.
        let content =
            json!({ "preset": "public_chat", "creation_content": { "org.x": [between, leaver.user] } });
        let room = create_room(&alice, content);
        Reader::new(&alice);
        bob.post(&format!("/_matrix/client/v3/join/{room}"), json!({})).ok();
        bobs.with = only(&alice);
        assert_eq!(told(&bobs.now(), &alice), ["online"]);
        if !between.is_empty() {
            bobs.with = filtered(between);
            bobs.now();
        }
        act(leaver, &room, "leave", json!({}));
        bobs.with.clear();
        assert_eq!(told(&bobs.now(), &alice), ["unknown"], "{between}, {} leaves", leaver.user);
        assert_eq!(bobs.now()["presence"], Value::Null, "once");
    }
}

#[test]
fn l8_a_client_that_never_wanted_presence_is_told_all_of_it_when_it_does() {
    for pause in [PAUSES[0], PAUSES[1], PAUSES[5]] {
        let server = TestServer::driven();
        let [alice, bob] = ["alice", "bob"].map(|name| server.register(name));
        room_of(&alice, &[&bob]);
        Reader::new(&alice);
        let mut bobs = Reader { client: bob.clone(), since: String::new(), with: String::new() };
        pause.begin(&mut bobs);
        for _ in 0..2 {
            assert_eq!(told(&bobs.now(), &alice), Vec::<String>::new());
        }
        pause.end(&mut bobs);
        assert_eq!(told(&bobs.now(), &alice), ["online"], "{pause:?}");
        assert_eq!(bobs.now()["presence"], Value::Null, "{pause:?}: once");
    }
}

#[test]
fn f6_what_users_of_other_servers_did_while_no_presence_was_told_is_told_when_it_is_again() {
    for pause in [PAUSES[0], PAUSES[1]] {
        let Pair { ca: _ca, time, a, b, .. } = Pair::new();
        let [alice, anne, amy] = ["alice", "anne", "amy"].map(|name| a.register(name));
        let bob = b.register("bob");
        for observed in [&alice, &anne, &amy] {
            observe(&b, &bob.user, &a, &observed.user);
            Reader::new(observed);
        }
        let mut bobs = Reader::new(&bob);
        time.pass(WINDOW);
        let first = bobs.now();
        assert!([&alice, &anne, &amy].into_iter().all(|user| told(&first, user) == ["online"]), "{first}");
        pause.begin(&mut bobs);
        bobs.now();
        choose(&alice, "busy");
        bob.post(&list_path(&bob), json!({ "drop": [anne.user] })).ok();
        answer(&amy, &bob, "revoke");
        time.pass(WINDOW);
        bobs.now();
        pause.end(&mut bobs);
        let answer = bobs.now();
        let states = [&alice, &anne, &amy].map(|user| told(&answer, user));
        assert_eq!(states, [["busy"], ["unknown"], ["unknown"]], "{pause:?}");
        assert_eq!(bobs.now()["presence"], Value::Null, "{pause:?}: once");
    }
}
