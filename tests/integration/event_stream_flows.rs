//! What the source lists as flowing from the server to a client, one by one: by `/sync` and by `/events`.

use serde_json::{Value, json};

use super::{
    event_stream::Follower,
    poll::Poll,
    support::{Client, TestServer},
    sync::{Reader, create_room, room_of, send},
};

/// Who does things, on whom, and the other device of the latter.
struct Cast {
    alice: Client,
    bob: Client,
    phone: Client,
    room: String,
}

/// Every event of an answer of `/sync`, with its room.
fn events_of(answer: &Value) -> Vec<Value> {
    let list = |value: &Value| value["events"].as_array().cloned().unwrap_or_default();
    let mut all = list(&answer["presence"]);
    for (kind, parts) in [
        ("join", &["state", "timeline", "ephemeral", "account_data"][..]),
        ("invite", &["invite_state"]),
        ("leave", &["state", "timeline"]),
    ] {
        for (room, told) in answer["rooms"][kind].as_object().into_iter().flatten() {
            for mut event in parts.iter().flat_map(|part| list(&told[part])) {
                event["room_id"] = json!(room);
                all.push(event);
            }
        }
    }
    all
}

/// Lets `act` happen while Bob's first device waits in both ways; both are woken, and told something that `is_it`.
#[track_caller]
fn flows(
    prepare: impl FnOnce(&Cast) -> String,
    act: impl FnOnce(&Cast, &str),
    is_it: impl Fn(&Cast, &str, &Value) -> bool,
) {
    let server = TestServer::driven();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let phone = server.log_in("bob");
    let room = room_of(&alice, &[&bob]);
    let cast = Cast { alice, bob, phone, room };
    let about = prepare(&cast);
    let (mut reader, mut follower) = (Reader::new(&cast.bob), Follower::new(&cast.bob));
    // Until what the devices themselves show is told.
    reader.now();
    follower.now();
    let (sync, events) = (Poll::open(&cast.bob, &reader.since), follower.poll());
    server.settle();
    act(&cast, &about);
    let (sync, events) = (sync.answer(), events.answer());
    reader.since = sync["next_batch"].as_str().expect("next_batch").to_owned();
    let mut by_sync = events_of(&sync);
    by_sync.extend(events_of(&reader.now()));
    let mut by_events = follower.take(&events);
    by_events.extend(follower.now());
    for (form, told) in [("sync", &by_sync), ("events", &by_events)] {
        let found = told.iter().filter(|event| is_it(&cast, &about, event)).count();
        assert_eq!(found, 1, "/{form}: {told:#?}");
    }
}

fn is_member(event: &Value, room: &str, user: &Client, membership: &str) -> bool {
    event["type"] == "m.room.member"
        && event["room_id"] == room
        && event["state_key"] == user.user.as_str()
        && event["content"]["membership"] == membership
}

fn in_room(cast: &Cast) -> String {
    cast.room.clone()
}

#[test]
fn m2_flow_home_screen_a_new_message_arrives_for_a_room() {
    flows(
        in_room,
        |cast, room| drop(send(&cast.alice, room, "1", "hello")),
        |_, room, event| event["room_id"] == room && event["content"]["body"] == "hello",
    );
}

#[test]
fn m2_flow_home_screen_someone_invites_you_to_a_room() {
    flows(
        |cast| create_room(&cast.alice, json!({ "name": "Den" })),
        |cast, room| {
            let path = format!("/_matrix/client/v3/rooms/{room}/invite");
            cast.alice.post(&path, json!({ "user_id": cast.bob.user })).ok();
        },
        |cast, room, event| is_member(event, room, &cast.bob, "invite"),
    );
}

#[test]
fn m2_an_invite_in_the_stream_says_what_the_room_is() {
    let server = TestServer::driven();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let mut follower = Follower::new(&bob);
    create_room(&alice, json!({ "name": "Den", "invite": [bob.user] }));
    let events = follower.now();
    let invite = events.iter().find(|e| e["content"]["membership"] == "invite").expect("an invite");
    let shown = invite["unsigned"]["invite_room_state"].as_array().expect("the state");
    assert!(shown.iter().any(|event| event["content"]["name"] == "Den"), "{invite}");
    assert_eq!(invite["sender"], alice.user.as_str());
}

#[test]
fn m2_flow_home_screen_you_leave_a_room_on_another_device() {
    flows(
        in_room,
        |cast, room| drop(cast.phone.post(&format!("/_matrix/client/v3/rooms/{room}/leave"), json!({})).ok()),
        |cast, room, event| is_member(event, room, &cast.bob, "leave"),
    );
}

#[test]
fn m2_flow_home_screen_you_join_a_room_on_another_device() {
    flows(
        |cast| create_room(&cast.alice, json!({ "preset": "public_chat", "name": "Hall", "topic": "Talk" })),
        |cast, room| {
            cast.phone.post(&format!("/_matrix/client/v3/join/{room}"), json!({})).ok();
            // What a home screen shows of it is asked for with its ID.
            let full = "?org.pilotlight.answer=full&limit=1";
            let shown = cast.bob.get(&format!("/_matrix/client/v3/rooms/{room}/initialSync{full}")).ok();
            let summary = &shown["org.pilotlight.summary"];
            assert_eq!((&summary["name"], &summary["topic"]), (&json!("Hall"), &json!("Talk")));
            assert_eq!((&summary["joined_member_count"], &shown["membership"]), (&json!(2), &json!("join")));
        },
        |cast, room, event| is_member(event, room, &cast.bob, "join"),
    );
}

#[test]
fn m2_flow_home_screen_your_profile_info_changes_on_another_device() {
    for (key, value) in [("displayname", "Robert"), ("avatar_url", "mxc://x/y")] {
        flows(
            in_room,
            |cast, _| {
                let path = format!("/_matrix/client/v3/profile/{}/{key}", cast.bob.user);
                cast.phone.put(&path, json!({ key: value })).ok();
            },
            |cast, room, event| is_member(event, room, &cast.bob, "join") && event["content"][key] == value,
        );
    }
}

#[test]
fn m2_your_changed_profile_comes_with_your_presence_too() {
    let server = TestServer::driven();
    let bob = server.register("bob");
    let phone = server.log_in("bob");
    let mut follower = Follower::new(&bob);
    follower.now();
    // Bob is in no room: that it changed shows in nothing else.
    let poll = follower.poll();
    server.settle();
    phone
        .put(&format!("/_matrix/client/v3/profile/{}/displayname", bob.user), json!({ "displayname": "R" }))
        .ok();
    let mut events = follower.take(&poll.answer());
    events.extend(follower.now());
    let own = events.iter().rev().find(|event| event["type"] == "m.presence").expect("presence");
    assert_eq!((&own["content"]["displayname"], &own["content"]["user_id"]), (&json!("R"), &json!(bob.user)));
}

#[test]
fn m2_flow_chat_screen_a_member_name_changes() {
    flows(
        in_room,
        |cast, _| {
            let path = format!("/_matrix/client/v3/profile/{}/displayname", cast.alice.user);
            cast.alice.put(&path, json!({ "displayname": "Alicia" })).ok();
        },
        |cast, room, event| {
            let before = &event["unsigned"]["prev_content"]["displayname"];
            is_member(event, room, &cast.alice, "join")
                && event["content"]["displayname"] == "Alicia"
                && before == "alice"
        },
    );
}

#[test]
fn m2_flow_chat_screen_the_room_name_changes() {
    flows(
        in_room,
        |cast, room| {
            let path = format!("/_matrix/client/v3/rooms/{room}/state/m.room.name/");
            cast.alice.put(&path, json!({ "name": "Renamed" })).ok();
        },
        |_, room, event| {
            event["type"] == "m.room.name"
                && event["room_id"] == room
                && event["content"]["name"] == "Renamed"
        },
    );
}

#[test]
fn m2_flow_chat_screen_a_new_message_arrives() {
    // To the device that sent it, with the ID that it gave; to others without.
    flows(
        in_room,
        |cast, room| drop(send(&cast.phone, room, "42", "mine")),
        |_, _, event| event["content"]["body"] == "mine" && event["unsigned"]["transaction_id"].is_null(),
    );
    flows(
        in_room,
        |cast, room| drop(send(&cast.bob, room, "42", "mine")),
        |_, _, event| event["content"]["body"] == "mine" && event["unsigned"]["transaction_id"] == "42",
    );
}
