//! Edits, reactions, replies and redactions: what they make of the events they are about, in every order in which
//! a client can learn of them.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use proptest::prelude::*;

use super::*;
use crate::core::client::pending::Direction;
use crate::core::testing;

pub(super) fn event(id: &str, sender: &str, kind: &str, content: Value) -> Value {
    json!({"type": kind, "event_id": id, "sender": sender, "origin_server_ts": 5, "content": content})
}

pub(super) fn edit(id: &str, sender: &str, target: &str, body: &str) -> Value {
    let new = json!({"msgtype": "m.text", "body": body});
    let relation = json!({"rel_type": "m.replace", "event_id": target});
    let content = json!({"msgtype": "m.text", "body": "*", "m.new_content": new, "m.relates_to": relation});
    event(id, sender, "m.room.message", content)
}

pub(super) fn reaction(id: &str, sender: &str, target: &str, key: &str) -> Value {
    let relation = json!({"rel_type": "m.annotation", "event_id": target, "key": key});
    event(id, sender, "m.reaction", json!({"m.relates_to": relation}))
}

pub(super) fn redaction(id: &str, sender: &str, target: &str) -> Value {
    event(id, sender, "m.room.redaction", json!({"redacts": target}))
}

pub(super) fn item(f: &Fixture, event_id: &str) -> Value {
    let held = f.client.timeline(ROOM);
    let found = held.iter().find(|item| item.event_id.as_deref() == Some(event_id)).expect("it is held");
    serde_json::from_str(&found.to_json()).expect("an item is JSON")
}

fn made_at(mut event: Value, ts: u64) -> Value {
    event["origin_server_ts"] = json!(ts);
    event
}

#[test]
fn an_edit_replaces_what_its_own_sender_said_and_the_latest_wins() {
    let relates = |event: &mut Value, relation: Value| event["content"]["m.relates_to"] = relation;
    let original = message("$m", "@b:hs", "first", None);
    let mut strange = edit("$e", "@b:hs", "$m", "second");
    strange["type"] = json!("org.other");
    let mut edit_of_edit = edit("$f", "@b:hs", "$e", "third");
    relates(&mut edit_of_edit, json!({"rel_type": "m.replace", "event_id": "$e"}));
    let mut wordless = edit("$e", "@b:hs", "$m", "second");
    wordless["content"]["m.new_content"] = json!("second");
    for (what, later, body, edited) in [
        ("the same sender", vec![edit("$e", "@b:hs", "$m", "second")], "second", Some(5)),
        ("another sender", vec![edit("$e", "@c:hs", "$m", "second")], "first", None),
        ("another type", vec![strange], "first", None),
        ("no new content", vec![wordless], "first", None),
        ("an edit of an edit", vec![edit("$e", "@b:hs", "$m", "second"), edit_of_edit], "second", Some(5)),
        (
            "the latest by its time",
            vec![
                made_at(edit("$e", "@b:hs", "$m", "late"), 9),
                made_at(edit("$f", "@b:hs", "$m", "early"), 7),
            ],
            "late",
            Some(9),
        ),
        (
            "at one time the larger ID",
            vec![edit("$f", "@b:hs", "$m", "f"), edit("$e", "@b:hs", "$m", "e")],
            "f",
            Some(5),
        ),
        (
            "a redacted edit",
            vec![edit("$e", "@b:hs", "$m", "second"), redaction("$r", "@b:hs", "$e")],
            "first",
            None,
        ),
        (
            "the last but one, when the last is redacted",
            vec![
                edit("$e", "@b:hs", "$m", "second"),
                made_at(edit("$f", "@b:hs", "$m", "third"), 9),
                redaction("$r", "@b:hs", "$f"),
            ],
            "second",
            Some(5),
        ),
    ] {
        let mut f = Fixture::online();
        let mut events = vec![original.clone()];
        events.extend(later);
        f.events(json!(events));
        let shown = item(&f, "$m");
        assert_eq!(
            (&shown["content"]["body"], shown.get("edited")),
            (&json!(body), edited.map(|ts| json!(ts)).as_ref()),
            "{what}"
        );
    }
}

#[test]
fn a_redacted_edit_is_still_one_which_has_no_line_of_its_own() {
    let state = {
        let mut event = edit("$s", "@b:hs", "$m", "second");
        event["state_key"] = json!("");
        event
    };
    let mut wordless = edit("$w", "@b:hs", "$m", "second");
    wordless["content"]["m.new_content"] = json!("second");
    for (what, event, id, edits) in [
        ("an edit", edit("$e", "@b:hs", "$m", "second"), "$e", json!("$m")),
        ("one that nobody else may make", edit("$f", "@c:hs", "$m", "second"), "$f", json!("$m")),
        ("one without new content", wordless, "$w", Value::Null),
        ("a state event", state, "$s", Value::Null),
        ("what was said", message("$o", "@b:hs", "first", None), "$o", Value::Null),
    ] {
        let mut f = Fixture::online();
        f.events(json!([message("$m", "@b:hs", "first", None), event]));
        assert_eq!(item(&f, id)["edits"], edits, "{what}");
        f.events(json!([redaction("$r", "@b:hs", id)]));
        assert_eq!((&item(&f, id)["redacted"], &item(&f, id)["edits"]), (&json!(true), &edits), "{what}");
    }
}

#[test]
fn an_edit_keeps_what_the_original_answers() {
    let mut f = Fixture::online();
    let mut answer = message("$m", "@b:hs", "first", None);
    let relation = json!({"m.in_reply_to": {"event_id": "$q"}});
    answer["content"]["m.relates_to"] = relation.clone();
    f.events(json!([answer, edit("$e", "@b:hs", "$m", "second")]));
    let shown = item(&f, "$m");
    assert_eq!((&shown["replyTo"], &shown["content"]["m.relates_to"]), (&json!("$q"), &relation));
    assert_eq!(shown["content"]["body"], "second");
}

#[test]
fn a_reply_names_what_it_answers() {
    let thread = |more: Value| {
        let mut relation = json!({"rel_type": "m.thread", "event_id": "$root"});
        more.as_object().unwrap().iter().for_each(|(key, value)| relation[key] = value.clone());
        relation
    };
    let reply = json!({"m.in_reply_to": {"event_id": "$q"}});
    let falling_back = json!({"m.in_reply_to": {"event_id": "$q"}, "is_falling_back": true});
    for (relation, expected) in [
        (reply.clone(), json!("$q")),
        (thread(json!({})), json!("$root")),
        (thread(falling_back), json!("$root")),
        (thread(reply), json!("$q")),
        (json!({"m.in_reply_to": {"event_id": 7}}), Value::Null),
        (json!(3), Value::Null),
    ] {
        let mut f = Fixture::online();
        let mut event = message("$m", "@b:hs", "x", None);
        event["content"]["m.relates_to"] = relation.clone();
        f.events(json!([event]));
        assert_eq!(item(&f, "$m")["replyTo"], expected, "{relation}");
    }
}

#[test]
fn reactions_are_counted_by_user_and_gone_when_they_are_taken_back() {
    let mut f = Fixture::online();
    f.events(json!([
        message("$m", "@b:hs", "x", None),
        reaction("$1", "@b:hs", "$m", "👍"),
        reaction("$2", "@c:hs", "$m", "👍"),
        reaction("$3", "@c:hs", "$m", "👍"),
        made_at(reaction("$4", ME, "$m", "🎉"), 7),
        reaction("$5", "@c:hs", "$m", &"x".repeat(300)),
        reaction("$6", "@c:hs", "$m", ""),
    ]));
    let mine = json!({"eventId": "$4", "echo": "placed"});
    let party = json!({"key": "🎉", "count": 1, "senders": [ME], "mine": mine});
    let both = json!({"key": "👍", "count": 2, "senders": ["@b:hs", "@c:hs"]});
    assert_eq!(item(&f, "$m")["reactions"], json!([both, party]));
    f.events(json!([redaction("$r1", "@b:hs", "$1"), redaction("$r2", "@c:hs", "$2")]));
    let one = json!({"key": "👍", "count": 1, "senders": ["@c:hs"]});
    assert_eq!(item(&f, "$m")["reactions"], json!([one, party]));
    f.events(json!([redaction("$r3", "@b:hs", "$m")]));
    assert_eq!(item(&f, "$m").get("reactions"), None, "nothing is left of what is deleted");
}

/// A room's history, as the server has it.
#[derive(Clone, Debug)]
enum Said {
    Message,
    Edit(usize),
    Reaction(usize, usize),
    Redaction(usize),
}

fn history() -> impl Strategy<Value = Vec<(usize, Said)>> {
    let said = prop_oneof![
        2 => Just(Said::Message),
        3 => (0usize..12).prop_map(Said::Edit),
        3 => (0usize..12, 0usize..2).prop_map(|(target, key)| Said::Reaction(target, key)),
        2 => (0usize..12).prop_map(Said::Redaction),
    ];
    prop::collection::vec((0usize..2, said), 1..25)
}

struct Log(Vec<(usize, Said)>);

impl Log {
    fn sender(&self, at: usize) -> &'static str {
        [ME, "@b:hs"][self.0[at].0]
    }

    /// The event as it was when it was new.
    fn fresh(&self, at: usize) -> Value {
        let (id, sender) = (format!("$e{at:02}"), self.sender(at));
        let target = |target: usize| format!("$e{:02}", target % at.max(1));
        let new = match &self.0[at].1 {
            Said::Message => message(&id, sender, &id, None),
            Said::Edit(of) => edit(&id, sender, &target(*of), &id),
            Said::Reaction(of, key) => reaction(&id, sender, &target(*of), ["a", "b"][*key]),
            Said::Redaction(of) => redaction(&id, sender, &target(*of)),
        };
        made_at(new, 1_000 + at as u64 / 3)
    }

    fn is_redacted(&self, at: usize) -> bool {
        (at + 1..self.0.len()).any(|later| matches!(self.0[later].1, Said::Redaction(of) if of % later == at))
    }

    /// The event as a server tells of it in the end.
    fn late(&self, at: usize) -> Value {
        let mut event = self.fresh(at);
        if self.is_redacted(at) {
            event["content"] = json!({});
            event["unsigned"] = json!({"redacted_because": {}});
            if let Said::Edit(of) = self.0[at].1 {
                event["unsigned"]["org.pilotlight.edits"] = json!(format!("$e{:02}", of % at.max(1)));
            }
            return event;
        }
        let mut edits = (at + 1..self.0.len()).filter(|&later| {
            let same = self.sender(later) == self.sender(at)
                && matches!(self.0[at].1, Said::Message | Said::Edit(_));
            same && !self.is_redacted(later) && matches!(self.0[later].1, Said::Edit(of) if of % later == at)
        });
        if let Some(last) = edits.next_back() {
            event["unsigned"] = json!({"m.relations": {"m.replace": self.fresh(last)}});
        }
        event
    }

    fn late_all(&self, range: std::ops::Range<usize>) -> Vec<Value> {
        range.map(|at| self.late(at)).collect()
    }

    /// A client that begins with the events from `from` on.
    fn begin(&self, from: usize) -> Fixture {
        let mut f = Fixture::online();
        f.sync(json!({"rooms": {"join": {ROOM: {"timeline": {"events": self.late_all(from..self.0.len()),
            "limited": true, "prev_batch": from.to_string()}}}}}));
        f
    }

    /// Answers a page.
    fn page(&self, f: &mut Fixture, page: usize) {
        let path = f
            .requests
            .iter()
            .find(|one| one.path.contains("/messages"))
            .expect("a page is asked for")
            .path
            .clone();
        let from: usize = path.split("from=").nth(1).unwrap().split('&').next().unwrap().parse().unwrap();
        let body = if path.contains("dir=b") {
            let to = from.saturating_sub(page);
            let mut chunk = self.late_all(to..from);
            chunk.reverse();
            if to == 0 { json!({"chunk": chunk}) } else { json!({"chunk": chunk, "end": to.to_string()}) }
        } else {
            let to = (from + page).min(self.0.len());
            json!({"chunk": self.late_all(from..to), "end": to.to_string()})
        };
        f.respond("/messages", 200, body);
    }
}

/// What is shown of each event, but for the way on which it came.
fn shown(f: &Fixture) -> Vec<Value> {
    let items = f.client.timeline(ROOM);
    items.iter().map(|item| serde_json::from_str(&item.to_json()).unwrap()).collect()
}

proptest! {
    #![proptest_config(testing::config())]

    #[test]
    fn in_every_order_of_learning_of_them_relations_show_the_same(
        said in history(), from in 0usize..25, page in 1usize..6, target in 0usize..25, around in 1usize..4,
    ) {
        let log = Log(said);
        let len = log.0.len();
        let mut live = Fixture::online();
        for at in 0..len {
            live.events(json!([log.fresh(at)]));
        }
        let expected = shown(&live);

        let mut back = log.begin(from % len);
        while back.client.rooms()[0].can_scroll_back {
            back.client.scroll_back(back.now, ROOM, 5);
            back.drain();
            log.page(&mut back, page);
        }
        prop_assert_eq!(&shown(&back), &expected, "scrolled back to");

        // Looked up in the past, and on from there to the present, then back to the beginning.
        let mut past = log.begin(from % len);
        let target = target % len;
        past.client.jump(past.now, ROOM, Some(&format!("$e{target:02}")));
        past.drain();
        if past.count("/context") > 0 {
            let (first, end) = (target.saturating_sub(around), (target + around).min(len));
            let mut before = log.late_all(first..target);
            before.reverse();
            past.respond("/context", 200, json!({"events_before": before, "event": log.late(target),
                "events_after": log.late_all(target + 1..end), "start": first.to_string(), "end": end.to_string()}));
        }
        while !past.past.is_empty() {
            let held: Vec<_> = past.past.iter().map(|item| item.key.clone()).collect();
            prop_assert!(held.is_sorted(), "{held:?}");
            past.client.scroll_past(past.now, ROOM, Direction::Forward, 5);
            past.drain();
            log.page(&mut past, page);
        }
        while past.client.rooms()[0].can_scroll_back {
            past.client.scroll_back(past.now, ROOM, 5);
            past.drain();
            log.page(&mut past, page);
        }
        prop_assert_eq!(&shown(&past), &expected, "looked up");
    }
}

#[test]
fn what_happens_now_is_shown_in_the_past_too() {
    let mut f = Fixture::online();
    f.events(json!([message("$new", "@b:hs", "new", None)]));
    f.client.jump(f.now, ROOM, Some("$old"));
    f.drain();
    f.respond(
        "/context",
        200,
        json!({"events_before": [], "event": message("$old", ME, "old", None),
        "events_after": [message("$older", "@b:hs", "x", None)], "start": "0", "end": "2",
        "state": [{"type": "m.room.create", "state_key": "", "sender": "@b:hs", "event_id": "$c", "content": {}}]}),
    );
    assert_eq!(f.answers.pop().unwrap().unwrap(), r#""past""#);
    let members = f.client.members(ROOM, f.now);
    assert!(members.iter().all(|member| !member.user_id.is_empty()), "of the state only members");
    let in_past = |f: &Fixture, at: usize| -> Value { serde_json::from_str(&f.past[at].to_json()).unwrap() };
    f.events(json!([
        edit("$e", ME, "$old", "edited"),
        reaction("$1", "@b:hs", "$old", "👍"),
        redaction("$r", ME, "$older")
    ]));
    assert_eq!(in_past(&f, 0)["content"]["body"], "edited");
    assert_eq!(in_past(&f, 0)["reactions"][0]["count"], 1);
    assert_eq!(in_past(&f, 1)["redacted"], true);
    let id = f
        .client
        .send(f.now, ROOM, "m.reaction", &reaction("", ME, "$old", "🎉")["content"].to_string())
        .unwrap();
    f.drain();
    assert_eq!(in_past(&f, 0)["reactions"][1]["mine"]["echo"], "sending");
    f.client.cancel(f.now, id);
    f.drain();
    assert_eq!(in_past(&f, 0)["reactions"].as_array().unwrap().len(), 1);
    f.events(json!([redaction("$r2", "@b:hs", "$1"), redaction("$r3", ME, "$e")]));
    assert_eq!((in_past(&f, 0).get("reactions"), &in_past(&f, 0)["content"]["body"]), (None, &json!("old")));
    f.client.jump(f.now, ROOM, None);
    f.drain();
    assert!(f.past.is_empty(), "left");
}

#[test]
fn an_event_that_is_not_held_is_asked_for() {
    let mut f = Fixture::online();
    let mut old = message("$old", "@b:hs", "old", None);
    old["unsigned"] = json!({"m.relations": {"m.replace": edit("$e", "@b:hs", "$old", "edited")}});
    f.client.event(f.now, ROOM, "$old");
    f.drain();
    f.respond("/event/%24old", 200, old);
    let item: Value = serde_json::from_str(&f.answers.pop().unwrap().unwrap()).unwrap();
    assert_eq!(item["content"]["body"], "edited");
    f.events(json!([message("$held", "@b:hs", "x", None)]));
    f.client.event(f.now, ROOM, "$held");
    f.drain();
    assert_eq!((f.count("/event/"), f.answers.len()), (0, 1), "what is held is at hand");
}

#[test]
fn when_the_edit_that_came_with_an_event_is_taken_back_the_one_before_it_is_asked_for() {
    let bundled = |edit: Option<Value>| {
        let mut original = message("$m", "@b:hs", "first", None);
        if let Some(edit) = edit {
            original["unsigned"] = json!({"m.relations": {"m.replace": edit}});
        }
        original
    };
    let third = || made_at(edit("$f", "@b:hs", "$m", "third"), 9);
    for (what, answer, expected) in [
        ("an earlier edit stands", Some(bundled(Some(edit("$e", "@b:hs", "$m", "second")))), "second"),
        ("there was none", Some(bundled(None)), "first"),
        ("the server does not tell", None, "first"),
    ] {
        let mut f = Fixture::online();
        f.client.jump(f.now, ROOM, Some("$m"));
        f.drain();
        let around = json!({"event": bundled(Some(third())), "start": "0", "end": "1"});
        f.respond("/context", 200, around);
        let body = |f: &Fixture| -> Value {
            serde_json::from_str::<Value>(&f.past[0].to_json()).unwrap()["content"]["body"].clone()
        };
        assert_eq!(body(&f), "third", "{what}");
        f.events(json!([redaction("$r", "@b:hs", "$f")]));
        assert_eq!((body(&f), f.count("/event/%24m")), (json!("first"), 1), "{what}");
        match answer {
            Some(event) => f.respond("/event/%24m", 200, event),
            None => f.respond("/event/%24m", 404, json!({"errcode": "M_NOT_FOUND", "error": "no"})),
        }
        assert_eq!((body(&f), f.count("/event/")), (json!(expected), 0), "{what}");
    }
    let mut f = Fixture::online();
    f.events(json!([message("$m", "@b:hs", "first", None), edit("$e", "@b:hs", "$m", "second")]));
    f.events(json!([redaction("$r", "@b:hs", "$e")]));
    assert_eq!(f.count("/event/"), 0, "all that was said since is at hand");
}
