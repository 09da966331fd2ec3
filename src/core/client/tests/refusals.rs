//! What is refused of edits, reactions and redactions: at once where the client knows better, else by the server.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

fn edit(target: &str) -> Value {
    json!({"msgtype": "m.text", "body": "*", "m.new_content": {"msgtype": "m.text", "body": "new"},
        "m.relates_to": {"rel_type": "m.replace", "event_id": target}})
}

fn reaction(target: &str, key: &str) -> Value {
    json!({"m.relates_to": {"rel_type": "m.annotation", "event_id": target, "key": key}})
}

fn event(id: &str, sender: &str, kind: &str, content: Value) -> Value {
    json!({"type": kind, "event_id": id, "sender": sender, "origin_server_ts": 5, "content": content})
}

/// A room with a message, an edit, a deleted message and a state event of mine, and what others said.
fn talk() -> Fixture {
    let mut f = Fixture::online();
    let mut topic = event("$state", ME, "m.room.topic", json!({"topic": "x"}));
    topic["state_key"] = json!("");
    f.events(json!([
        message("$mine", ME, "x", None),
        message("$theirs", "@b:hs", "x", None),
        message("$gone", ME, "x", None),
        event("$edit", ME, "m.room.message", edit("$mine")),
        event("$liked", ME, "m.reaction", reaction("$theirs", "👍")),
        event("$r", ME, "m.room.redaction", json!({"redacts": "$gone"})),
        topic,
    ]));
    f
}

/// What was told of refusals: of what, and why.
fn told(f: &Fixture) -> Vec<(String, String)> {
    let told = f.changes.iter().filter_map(|change| match change {
        Change::Refused { room_id, item } if room_id == ROOM => {
            Some((item.kind.clone(), item.error.clone().unwrap_or_default()))
        }
        _ => None,
    });
    told.collect()
}

#[test]
fn what_cannot_be_said_of_an_event_that_is_held_is_refused_and_nothing_is_queued() {
    let message = "m.room.message";
    for (kind, content, code) in [
        (message, edit("$mine"), None),
        (message, edit("$unheard"), None),
        (message, edit("$theirs"), Some("BAD_TARGET")),
        (message, edit("$gone"), Some("BAD_TARGET")),
        (message, edit("$edit"), Some("BAD_TARGET")),
        (message, edit("$state"), Some("BAD_TARGET")),
        ("org.other", edit("$mine"), Some("BAD_TARGET")),
        ("m.reaction", reaction("$mine", "👍"), None),
        ("m.reaction", reaction("$theirs", "🎉"), None),
        ("m.reaction", reaction("$state", "👍"), None),
        ("m.reaction", reaction("$unheard", "👍"), None),
        ("m.reaction", reaction("$gone", "👍"), Some("BAD_TARGET")),
        ("m.reaction", reaction("$theirs", "👍"), Some("M_DUPLICATE_ANNOTATION")),
    ] {
        let mut f = talk();
        let sent = f.client.send(f.now, ROOM, kind, &content.to_string());
        f.drain();
        assert_eq!(sent.err().map(|failure| failure.code), code.map(str::to_owned), "{kind} {content}");
        assert_eq!(f.client.waiting(), usize::from(code.is_none()), "{kind} {content}");
    }
}

#[test]
fn of_what_is_looked_up_in_the_past_the_same_is_refused() {
    let mut f = talk();
    f.client.jump(f.now, ROOM, Some("$old"));
    f.drain();
    let around = json!({"event": message("$old", "@b:hs", "old", None), "start": "0", "end": "1"});
    f.respond("/context", 200, around);
    let sent = f.client.send(f.now, ROOM, "m.room.message", &edit("$old").to_string());
    assert_eq!(sent.unwrap_err().code, "BAD_TARGET");
}

#[test]
fn a_reaction_may_be_given_again_while_the_first_is_taken_back() {
    let mut f = talk();
    f.client.redact(f.now, ROOM, "$liked", None);
    let again = f.client.send(f.now, ROOM, "m.reaction", &reaction("$theirs", "👍").to_string());
    assert_eq!((again.is_ok(), f.client.waiting()), (true, 2));
}

#[test]
fn what_leaves_nothing_to_try_again_is_gone_when_it_is_refused_and_it_is_told_why() {
    let (forbidden, twice) = ("M_FORBIDDEN", "M_DUPLICATE_ANNOTATION");
    let message = "m.room.message";
    let redaction = json!({"redacts": "$theirs"});
    for (kind, content, code, leaves) in [
        ("m.room.redaction", redaction.clone(), forbidden, true),
        ("m.room.redaction", redaction, "M_NOT_FOUND", true),
        ("m.reaction", reaction("$mine", "👍"), twice, true),
        ("m.reaction", reaction("$mine", "👍"), forbidden, false),
        (message, edit("$mine"), forbidden, false),
        (message, json!({"msgtype": "m.text", "body": "x"}), forbidden, false),
    ] {
        let mut f = talk();
        let before = f.client.timeline(ROOM).len();
        let id = f.client.send(f.now, ROOM, kind, &content.to_string()).expect("it is queued");
        f.drain();
        let what = if kind == "m.room.redaction" { "/redact/" } else { "/send/" };
        f.respond(what, 400, json!({"errcode": code, "error": "no"}));
        let what = format!("{kind} {code}");
        assert_eq!(f.client.timeline(ROOM).len(), if leaves { before } else { before + 1 }, "{what}");
        assert_eq!(f.client.waiting(), usize::from(!leaves), "{what}");
        let why = (kind.to_owned(), format!("{code}: no"));
        assert_eq!(told(&f), if leaves { vec![why] } else { Vec::new() }, "{what}");
        let kept = f.stored.keys().filter(|key| key.contains(&id.to_string())).count();
        assert_eq!(kept, usize::from(!leaves), "{what}: nor is it there after a reload");
        let shown: Vec<String> = f.client.timeline(ROOM).iter().map(|item| item.to_json()).collect();
        assert_eq!(shown.iter().any(|item| item.contains("\"failed\"")), !leaves, "{what}");
    }
}
