//! What is known of a room's past: who has read it.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::core::client::pending::Direction;

fn receipt(user: &str, event_id: &str) -> Value {
    let content = json!({event_id: {"m.read": {user: {"ts": 1}}}});
    json!({"rooms": {"join": {ROOM: {"ephemeral": {"events": [{"type": "m.receipt", "content": content}]}}}}})
}

/// Which of the events in the past are shown as read by somebody else.
fn read(items: &[Arc<TimelineItem>]) -> Vec<&str> {
    items.iter().filter(|item| item.read).filter_map(|item| item.event_id.as_deref()).collect()
}

/// The live timeline has `$9`; in the past are `$1` to `$4`, mine but for `$3`.
fn look_back(f: &mut Fixture) {
    f.client.jump(f.now, ROOM, Some("$2"));
    f.drain();
    let say = |id: &str, sender: &str| message(id, sender, "x", None);
    let after = json!([say("$3", "@b:hs"), say("$4", ME)]);
    f.respond(
        "/context",
        200,
        json!({"events_before": [say("$1", ME)], "event": say("$2", ME), "events_after": after,
            "start": "0", "end": "4"}),
    );
    assert_eq!(f.past.len(), 4);
}

#[test]
fn what_others_have_read_is_known_in_the_past_too() {
    for (what, receipts, expected) in [
        ("nobody's receipt", vec![], vec![]),
        ("one of the live timeline", vec![("@b:hs", "$9")], vec!["$1", "$2", "$4"]),
        ("one within", vec![("@b:hs", "$3")], vec!["$1", "$2"]),
        ("the further of two", vec![("@b:hs", "$1"), ("@c:hs", "$2")], vec!["$1", "$2"]),
        ("one that is held nowhere", vec![("@b:hs", "$6")], vec![]),
        ("my own", vec![(ME, "$9")], vec![]),
    ] {
        for before in [true, false] {
            let mut f = Fixture::online();
            f.events(json!([message("$9", "@b:hs", "x", None)]));
            if !before {
                look_back(&mut f);
            }
            for (user, event_id) in &receipts {
                f.sync(receipt(user, event_id));
            }
            if before {
                look_back(&mut f);
            }
            assert_eq!(read(&f.past), expected, "{what}, known before: {before}");
        }
    }
}

#[test]
fn what_comes_into_the_past_later_is_read_as_well_and_stays_so_where_it_joins_the_present() {
    let mut f = Fixture::online();
    f.events(json!([message("$9", "@b:hs", "x", None)]));
    f.sync(receipt("@b:hs", "$9"));
    look_back(&mut f);
    let page = |f: &mut Fixture, direction, body: Value| {
        f.client.scroll_past(f.now, ROOM, direction, 5);
        f.drain();
        f.respond("/messages", 200, body);
    };
    page(&mut f, Direction::Back, json!({"chunk": [message("$0", ME, "x", None)]}));
    page(&mut f, Direction::Forward, json!({"chunk": [message("$5", ME, "x", None)], "end": "5"}));
    assert_eq!(read(&f.past), ["$0", "$1", "$2", "$4", "$5"]);
    let last =
        json!({"chunk": [message("$6", ME, "x", None), message("$9", "@b:hs", "x", None)], "end": "9"});
    page(&mut f, Direction::Forward, last);
    assert!(f.past.is_empty(), "it has become a part of the timeline");
    assert_eq!(read(&f.view), ["$0", "$1", "$2", "$4", "$5", "$6"]);
}
