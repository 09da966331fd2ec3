//! What a list shows of a room, and what is known of it before one is in it.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

fn made_at(mut event: Value, ts: u64) -> Value {
    event["origin_server_ts"] = json!(ts);
    event
}

fn event(id: &str, kind: &str, content: Value, ts: u64) -> Value {
    json!({"type": kind, "event_id": id, "sender": "@b:hs", "origin_server_ts": ts, "content": content})
}

#[test]
fn a_room_is_as_new_as_what_was_said_there_last() {
    let said = |ts| made_at(message("$m", "@b:hs", "x", None), ts);
    let about = |how: &str| json!({"rel_type": how, "event_id": "$m", "key": "👍"});
    let edit = json!({"body": "*", "m.new_content": {"body": "y"}, "m.relates_to": about("m.replace")});
    let reaction = event("$e", "m.reaction", json!({"m.relates_to": about("m.annotation")}), 9);
    let mut joined = event("$j", "m.room.member", json!({"membership": "join"}), 9);
    joined["state_key"] = json!("@b:hs");
    for (what, events, expected) in [
        ("a message", vec![said(5)], 5),
        ("an edit of it", vec![said(5), event("$e", "m.room.message", edit, 9)], 5),
        ("a reaction to it", vec![said(5), reaction.clone()], 5),
        ("who came", vec![said(5), joined.clone()], 5),
        ("its deletion", vec![said(5), event("$r", "m.room.redaction", json!({"redacts": "$m"}), 9)], 5),
        ("a poll", vec![said(5), event("$p", "m.poll.start", json!({}), 9)], 9),
        ("nobody has said anything", vec![joined], 9),
    ] {
        let mut f = Fixture::online();
        f.events(json!(events));
        assert_eq!(f.client.rooms()[0].last_ts, expected, "{what}");
    }
    let mut f = Fixture::online();
    f.events(json!([said(5)]));
    f.send("an echo says something too");
    assert!(f.client.rooms()[0].last_ts > 5);
}

#[test]
fn who_was_invited_knows_who_did_and_asks_for_the_others_once_they_are_in() {
    let mut f = Fixture::online();
    let member = |user: &str, membership: &str, name: &str| {
        json!({"type": "m.room.member", "state_key": user, "sender": "@b:hs",
            "content": {"membership": membership, "displayname": name}})
    };
    let state = json!([member("@b:hs", "join", "Ben"), member(ME, "invite", "Me")]);
    f.sync(json!({"rooms": {"invite": {"!i:hs": {"invite_state": {"events": state}}}}}));
    let known = f.client.members("!i:hs", f.now);
    f.drain();
    let ben = known.iter().find(|member| member.user_id == "@b:hs").expect("it says who invited");
    assert_eq!((ben.display_name.as_deref(), f.count("/members")), (Some("Ben"), 0));
    let timeline = json!({"events": [message("$m", "@b:hs", "x", None)], "prev_batch": "p"});
    let summary = json!({"m.joined_member_count": 9});
    f.sync(json!({"rooms": {"join": {"!i:hs": {"timeline": timeline, "summary": summary}}}}));
    f.client.members("!i:hs", f.now);
    f.drain();
    assert_eq!(f.count("/members"), 1, "what an invitation brought was not all");
}
