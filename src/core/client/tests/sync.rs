//! The `/sync` loop and what its answers do.

use std::time::Duration;

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::core::client::room::Membership;
use crate::core::presence::{Choice, State};

const SECOND: Duration = Duration::from_secs(1);

fn member(user: &str, membership: &str, name: &str) -> Value {
    json!({"type": "m.room.member", "state_key": user, "sender": user, "event_id": format!("$m{user}{name}"),
        "content": {"membership": membership, "displayname": name}})
}

fn state(kind: &str, content: Value) -> Value {
    json!({"type": kind, "state_key": "", "sender": ME, "event_id": format!("${kind}"), "content": content})
}

fn joined(room: Value) -> Value {
    json!({"rooms": {"join": {ROOM: room}}})
}

#[test]
fn the_first_sync_does_not_wait_and_the_next_ones_go_on_from_it() {
    let mut f = Fixture::new();
    f.start();
    assert_eq!(f.client.connection(), Connection::Connecting);
    f.respond("versions", 200, json!({"versions": []}));
    let first = f.take("/sync");
    assert!(first.path.contains("timeout=0") && !first.path.contains("since"), "{}", first.path);
    f.client.handle_response(f.now, first.id, 200, None, br#"{"next_batch":"s/1"}"#);
    f.drain();
    let second = f.take("/sync");
    assert!(second.path.contains("timeout=30000") && second.path.contains("since=s%2F1"), "{}", second.path);
}

#[test]
fn a_server_that_is_away_is_tried_later_each_time_until_it_is_back() {
    let mut f = Fixture::online();
    let mut waits = Vec::new();
    for _ in 0..8 {
        f.lose("/sync");
        assert_eq!(f.client.connection(), Connection::Offline);
        let from = f.now;
        while f.count("/sync") == 0 {
            f.pass(SECOND / 10);
        }
        assert!(
            f.requests.iter().any(|request| request.path.contains("timeout=0")),
            "to hear at once that it is back"
        );
        waits.push(f.now.since(from));
    }
    assert!(waits[0] <= 2 * SECOND && waits[7] >= 5 * SECOND && waits[7] <= 10 * SECOND, "{waits:?}");
    f.sync(json!({}));
    assert_eq!(f.client.connection(), Connection::Online);
    assert!(f.take("/sync").path.contains("timeout=30000"));
}

#[test]
fn a_network_that_comes_back_is_used_at_once() {
    let mut f = Fixture::online();
    for _ in 0..6 {
        f.lose("/sync");
        while f.count("/sync") == 0 {
            f.pass(SECOND / 10);
        }
    }
    f.lose("/sync");
    f.client.try_now(f.now);
    f.drain();
    assert_eq!(f.count("/sync"), 1);
}

#[test]
fn who_looks_has_an_absent_server_tried_at_once() {
    let mut f = Fixture::online();
    f.client.handle_woken(f.now);
    f.drain();
    assert_eq!(f.count("/sync"), 1, "the stream is there: nothing more is asked");
    for _ in 0..3 {
        f.lose("/sync");
        assert_eq!(f.count("/sync"), 0);
        f.client.handle_woken(f.now);
        f.drain();
        assert_eq!(f.count("/sync"), 1);
    }
}

#[test]
fn who_looks_does_not_have_a_server_asked_before_it_wants_to_be() {
    let mut f = Fixture::online();
    let busy = json!({"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 20_000});
    f.respond("/sync", 503, busy);
    f.client.handle_woken(f.now);
    f.client.try_now(f.now);
    f.pass(19 * SECOND);
    assert_eq!(f.count("/sync"), 0);
    f.pass(2 * SECOND);
    assert_eq!(f.count("/sync"), 1);
    f.lose("/sync");
    f.client.handle_woken(f.now);
    f.drain();
    assert_eq!(f.count("/sync"), 1, "it was obeyed once");
}

#[test]
fn a_long_poll_that_hangs_is_given_up() {
    let mut f = Fixture::online();
    f.pass(61 * SECOND);
    assert_eq!(f.client.connection(), Connection::Offline);
    f.pass(2 * SECOND);
    assert_eq!(f.count("/sync"), 1);
}

#[test]
fn a_server_that_asks_to_wait_is_obeyed_and_not_called_away() {
    let mut f = Fixture::online();
    f.respond("/sync", 429, json!({"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 10_000}));
    assert_eq!(f.client.connection(), Connection::Online);
    f.pass(9 * SECOND);
    assert_eq!(f.count("/sync"), 0);
    f.pass(2 * SECOND);
    assert_eq!(f.count("/sync"), 1);
}

#[test]
fn an_unknown_token_ends_the_session_whatever_request_hears_of_it() {
    for request in ["/sync", "/send/", "/members"] {
        let mut f = Fixture::online();
        f.send("hi");
        f.client.members(ROOM, f.now);
        f.drain();
        f.respond(request, 401, json!({"errcode": "M_UNKNOWN_TOKEN", "error": "gone"}));
        assert_eq!(f.client.connection(), Connection::LoggedOut, "{request}");
        assert!(f.requests.is_empty(), "{request}: {:?}", f.requests);
        f.pass(600 * SECOND);
        assert!(f.requests.is_empty());
        assert_eq!(f.shown(), [("hi".into(), "queued")], "the message is kept for the next session");
    }
}

#[test]
fn a_position_that_the_server_forgot_starts_over_and_drops_what_is_gone() {
    let mut f = Fixture::online();
    f.sync(json!({"rooms": {"join": {"!gone:hs": {}}}}));
    assert_eq!(f.client.rooms().len(), 2);
    f.respond("/sync", 400, json!({"errcode": "M_INVALID_PARAM"}));
    assert!(!f.requests.iter().any(|request| request.path.contains("since")));
    f.sync(joined(json!({})));
    assert_eq!(f.client.rooms().len(), 1);
    assert!(
        f.changes
            .iter()
            .any(|change| matches!(change, Change::Rooms { removed, .. } if removed == &["!gone:hs"]))
    );
}

#[test]
fn an_answer_that_is_not_json_is_a_failure_and_not_the_end() {
    let mut f = Fixture::online();
    let sync = f.take("/sync");
    f.client.handle_response(f.now, sync.id, 200, None, b"<html>\xff</html>");
    f.drain();
    assert_eq!(f.client.connection(), Connection::Offline);
    f.pass(3 * SECOND);
    assert_eq!(f.count("/sync"), 1);
}

#[test]
fn stopping_falls_silent_and_starting_goes_on() {
    let mut f = Fixture::online();
    f.send("hi");
    f.client.join_room(f.now, "#x:hs");
    f.client.stop(f.now);
    f.drain();
    assert!(f.requests.is_empty());
    assert_eq!(f.client.poll_timeout(), None, "it keeps no process awake");
    assert_eq!(f.answers.len(), 1);
    assert_eq!(f.answers[0].as_ref().unwrap_err().code, "STOPPED");
    f.pass(600 * SECOND);
    assert!(f.requests.is_empty());
    f.start();
    f.respond("versions", 200, json!({}));
    assert!(f.requests.iter().any(|request| request.path.contains("since=s")));
    assert_eq!(f.count("/send/"), 0, "what the room has become, the stream says first");
    f.sync(json!({}));
    assert_eq!(f.count("/send/"), 1);
}

#[test]
fn w4_presence_tells_only_who_changed() {
    let mut f = Fixture::online();
    let presence = |a: &str, b: &str| {
        json!({"presence": {"events": [
            {"type": "m.presence", "sender": "@a:hs", "content": {"presence": a}},
            {"type": "m.presence", "sender": "@b:hs", "content": {"presence": b}}]}})
    };
    f.sync(presence("online", "online"));
    f.changes.clear();
    f.sync(presence("online", "offline"));
    let told: Vec<_> = f
        .changes
        .iter()
        .filter_map(|change| if let Change::Presence(who) = change { Some(who) } else { None })
        .collect();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].len(), 1);
    assert_eq!((&*told[0][0].user_id, told[0][0].state), ("@b:hs", State::Offline));
    f.changes.clear();
    f.sync(presence("online", "offline"));
    assert!(f.changes.is_empty(), "{:?}", f.changes);
}

#[test]
fn p3_a_choice_made_on_another_device_is_taken_over() {
    let mut f = Fixture::online();
    let own = |state: &str| {
        json!({"presence": {"events": [{"type": "m.presence", "sender": ME, "content": {"presence": "unavailable",
            "status_msg": "away", "org.pilotlight.presence": {"state": state}}}]}})
    };
    f.sync(own("busy"));
    assert_eq!((f.client.me().state, f.client.me().status_msg.as_deref()), (Choice::Busy, Some("away")));
    f.sync(own("unavailable"));
    assert_eq!(f.client.me().state, Choice::Busy, "what idleness makes of a choice is not the choice");
}

#[test]
fn a_room_shows_its_state_counts_and_members() {
    let mut f = Fixture::online();
    f.sync(joined(json!({
        "summary": {"m.joined_member_count": 2, "m.invited_member_count": 0, "m.heroes": ["@b:hs"]},
        "state": {"events": [member("@b:hs", "join", "Bob"), member(ME, "join", "Me"),
            state("m.room.topic", json!({"topic": "tea"}))]},
        "unread_notifications": {"notification_count": 3, "highlight_count": 1},
        "timeline": {"events": [state("m.room.power_levels", json!({"users": {"@b:hs": 50}, "users_default": 5}))]}
    })));
    let room = &f.client.rooms()[0];
    assert_eq!((&*room.name, room.topic.as_deref()), ("Bob", Some("tea")));
    assert_eq!((room.member_count, room.unread, room.highlight), (2, 3, 1));
    let members = f.client.members(ROOM, f.now);
    assert_eq!(f.count("/members"), 0, "the server's count says that all are known");
    let levels: Vec<_> = members.iter().map(|member| (&*member.user_id, member.power_level)).collect();
    assert_eq!(levels, [("@b:hs", 50), (ME, 5)]);
    f.sync(joined(json!({"state": {"events": [state("m.room.name", json!({"name": "Tea room"}))]}})));
    assert_eq!(f.client.rooms()[0].name, "Tea room");
}

#[test]
fn members_are_loaded_once_and_never_put_back_in_time() {
    let mut f = Fixture::online();
    f.sync(joined(json!({"summary": {"m.joined_member_count": 3}, "state": {"events": [member("@b:hs", "join", "Old")]}})));
    assert_eq!(f.client.members(ROOM, f.now).len(), 1);
    f.client.members(ROOM, f.now);
    f.drain();
    f.events(json!([member("@b:hs", "join", "New")]));
    f.respond(
        "/members",
        200,
        json!({"chunk": [member("@b:hs", "join", "Old"), member("@c:hs", "join", "Cy")]}),
    );
    let names: Vec<_> =
        f.client.members(ROOM, f.now).into_iter().filter_map(|member| member.display_name).collect();
    assert_eq!(names, ["New", "Cy"]);
    f.changes.clear();
    f.events(json!([member("@c:hs", "leave", "Cy")]));
    assert!(
        f.changes.iter().any(
            |change| matches!(change, Change::Members { changed, .. } if changed[0].membership == "leave")
        )
    );
}

#[test]
fn who_speaks_is_known_by_name_without_a_list() {
    let mut f = Fixture::online();
    let presence = json!({"type": "m.presence", "sender": "@b:hs", "content": {"presence": "online"}});
    let events = json!([member("@b:hs", "join", "Ben"), message("$m", "@b:hs", "x", None)]);
    let mut body = joined(json!({"timeline": {"events": events}, "summary": {"m.joined_member_count": 9}}));
    body["presence"] = json!({"events": [presence]});
    f.sync(body);
    let name = |f: &Fixture, user| f.client.member(ROOM, user).and_then(|member| member.display_name);
    assert_eq!(name(&f, "@b:hs").as_deref(), Some("Ben"), "whatever their presence leaves out");
    assert!(f.client.member(ROOM, "@c:hs").is_none() && f.client.member("!no:hs", "@b:hs").is_none());
    let typing = json!({"type": "m.typing", "content": {"user_ids": ["@c:hs"]}});
    f.sync(joined(json!({"ephemeral": {"events": [typing]}})));
    assert!(f.client.member(ROOM, "@c:hs").is_none(), "who types has not been told of");
    f.events(json!([member("@b:hs", "join", "Benjamin")]));
    assert_eq!(name(&f, "@b:hs").as_deref(), Some("Benjamin"));
    assert_eq!(f.count("/members"), 0, "nobody was asked");
}

#[test]
fn typing_and_receipts_reach_the_members() {
    let mut f = Fixture::online();
    f.sync(joined(json!({"state": {"events": [member("@b:hs", "join", "Bob")]}})));
    f.client.members(ROOM, f.now);
    f.drain();
    let ephemeral = |users: Value| {
        joined(json!({"ephemeral": {"events": [{"type": "m.typing", "content": {"user_ids": users}},
            {"type": "m.receipt", "content": {"$1": {"m.read": {"@b:hs": {"ts": 1}}}}}]}}))
    };
    f.sync(ephemeral(json!(["@b:hs", ME])));
    let bob = f.client.members(ROOM, f.now).remove(0);
    assert!(bob.typing && bob.read_up_to.as_deref() == Some("$1"));
    f.sync(ephemeral(json!([])));
    assert!(!f.client.members(ROOM, f.now)[0].typing);
}

#[test]
fn invitations_come_and_go() {
    let mut f = Fixture::online();
    let invited = json!({"rooms": {"invite": {"!i:hs": {"invite_state": {"events": [
        state("m.room.name", json!({"name": "Party"})),
        {"type": "m.room.member", "state_key": ME, "sender": "@b:hs", "content": {"membership": "invite", "is_direct": true}}]}}}}});
    f.sync(invited.clone());
    let room = f.client.rooms().into_iter().find(|room| room.room_id == "!i:hs").unwrap();
    assert_eq!(
        (room.membership, room.inviter.as_deref(), &*room.name),
        (Membership::Invite, Some("@b:hs"), "Party")
    );
    assert!(room.is_direct);
    f.sync(json!({"rooms": {"leave": {"!i:hs": {}}}}));
    assert_eq!(f.client.rooms().len(), 1, "a declined invitation leaves nothing");
    f.sync(invited);
    f.sync(json!({"rooms": {"join": {"!i:hs": {}}}}));
    assert_eq!(f.client.rooms()[0].membership, Membership::Join);
    f.sync(json!({"rooms": {"leave": {"!i:hs": {"timeline": {"events": [member(ME, "leave", "Me")]}}}}}));
    assert_eq!(f.client.rooms()[0].membership, Membership::Leave, "a room that was left can be looked at");
}

#[test]
fn a_redaction_takes_the_content_in_the_timeline_and_in_the_state() {
    let mut f = Fixture::online();
    f.events(json!([message("$1", "@b:hs", "secret", None), state("m.room.name", json!({"name": "Rude"}))]));
    f.events(json!([
        {"type": "m.room.redaction", "event_id": "$r1", "sender": ME, "redacts": "$1"},
        {"type": "m.room.redaction", "event_id": "$r2", "sender": ME, "content": {"redacts": "$m.room.name"}}]));
    let timeline = f.client.timeline(ROOM);
    assert_eq!(timeline.len(), 2, "redactions are not shown themselves");
    assert!(timeline.iter().all(|item| item.redacted && &*item.content == "{}"));
    assert_eq!(f.client.rooms()[0].name, "Empty room");
}

#[test]
fn a_gap_resets_the_timeline_and_scrolling_back_fills_it() {
    let mut f = Fixture::online();
    f.events(json!([message("$1", "@b:hs", "one", None)]));
    f.sync(joined(json!({"timeline": {"limited": true, "prev_batch": "gap", "events": [message("$5", "@b:hs", "five", None)]}})));
    assert_eq!(f.shown(), [("five".into(), "placed")]);
    f.client.scroll_back(f.now, ROOM, 2);
    f.drain();
    let back = f.take("/messages");
    assert!(back.path.contains("from=gap") && back.path.contains("limit=2"), "{}", back.path);
    let page = json!({"chunk": [message("$4", "@b:hs", "four", None), message("$1", "@b:hs", "one", None)], "end": "older"});
    f.client.handle_response(f.now, back.id, 200, None, page.to_string().as_bytes());
    f.drain();
    assert_eq!(f.answers.pop().unwrap().unwrap(), "true");
    let bodies: Vec<_> = f.shown().into_iter().map(|(body, _)| body).collect();
    assert_eq!(bodies, ["one", "four", "five"]);
    f.client.scroll_back(f.now, ROOM, 2);
    f.drain();
    f.respond("/messages", 200, json!({"chunk": []}));
    assert_eq!(f.answers.pop().unwrap().unwrap(), "false");
    assert!(!f.client.rooms()[0].can_scroll_back);
}

#[test]
fn a_page_that_was_asked_for_before_a_gap_does_not_land_behind_it() {
    let mut f = Fixture::online();
    f.events(json!([message("$1", "@b:hs", "one", None)]));
    f.client.scroll_back(f.now, ROOM, 2);
    f.drain();
    f.sync(joined(json!({"timeline": {"limited": true, "prev_batch": "gap", "events": [message("$9", "@b:hs", "nine", None)]}})));
    f.respond("/messages", 200, json!({"chunk": [message("$0", "@b:hs", "zero", None)], "end": "x"}));
    assert_eq!(f.shown(), [("nine".into(), "placed")]);
}

#[test]
fn timelines_are_bounded_and_lose_whole_stretches_at_their_old_end() {
    let mut f = Fixture::online();
    for batch in 0..30 {
        let events: Vec<_> =
            (0..100).map(|n| message(&format!("${batch}-{n}"), "@b:hs", "x", None)).collect();
        f.sync(joined(json!({"timeline": {"prev_batch": format!("p{batch}"), "events": events}})));
    }
    let held = f.client.timeline(ROOM);
    assert!(held.len() <= 2_100, "{}", held.len());
    let oldest = held[0].event_id.as_deref().unwrap().to_owned();
    f.client.scroll_back(f.now, ROOM, 1);
    f.drain();
    let batch = oldest.trim_start_matches('$').split('-').next().unwrap();
    assert!(oldest.ends_with("-0"), "{oldest}");
    assert!(
        f.take("/messages").path.contains(&format!("from=p{batch}&")),
        "scrolling back meets the oldest one held"
    );
}
