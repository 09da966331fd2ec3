//! Edits, reactions and redactions as echoes, and receipts: what a person does shows at once, and what becomes of it.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::{
    relations::{edit, event, item, reaction, redaction},
    *,
};
use crate::core::client::commands::Told;

#[test]
fn edits_reactions_and_redactions_are_echoes_that_fail_and_are_retried_or_taken_back() {
    for (kind, content, pending) in [
        ("m.room.message", edit("", ME, "$m", "second")["content"].clone(), "edit"),
        ("m.reaction", reaction("", ME, "$m", "👍")["content"].clone(), "reaction"),
        ("m.room.redaction", json!({"redacts": "$m"}), "redaction"),
    ] {
        let mut f = Fixture::online();
        f.events(json!([message("$m", ME, "first", None)]));
        let stands = |f: &Fixture| {
            let shown = item(f, "$m");
            let place = match pending {
                "reaction" => shown["reactions"][0]["mine"].clone(),
                _ => shown.get("pending").cloned().unwrap_or(Value::Null),
            };
            (place["echo"].as_str().map(str::to_owned), place["error"].as_str().map(str::to_owned))
        };
        let id = f.client.send(f.now, ROOM, kind, &content.to_string()).expect("it is queued");
        f.drain();
        assert_eq!(stands(&f).0.as_deref(), Some("sending"), "{kind}");
        assert_eq!(f.stored.len(), 2, "it survives a reload, as does the last ID");
        let what = if pending == "redaction" { "redact/%24m" } else { "/send/" };
        if pending == "redaction" {
            f.respond(what, 500, json!({}));
            assert_eq!(stands(&f).0.as_deref(), Some("queued"), "the server failed");
        } else {
            f.respond(what, 403, json!({"errcode": "M_FORBIDDEN", "error": "no"}));
            assert_eq!(
                stands(&f),
                (Some(String::from("failed")), Some(String::from("M_FORBIDDEN: no"))),
                "{kind}"
            );
        }
        f.client.retry(f.now, id);
        f.drain();
        f.respond(what, 200, json!({"event_id": "$new"}));
        assert_eq!(stands(&f).0.as_deref(), Some("sent"), "{kind}");
        let mut placed = event("$new", ME, kind, content.clone());
        placed["unsigned"] = json!({"transaction_id": id.to_string()});
        f.events(json!([placed]));
        let shown = item(&f, "$m");
        assert_eq!(shown.get("pending"), None, "{kind}");
        match pending {
            "edit" => assert_eq!(shown["content"]["body"], "second"),
            "reaction" => assert_eq!(shown["reactions"][0]["mine"]["echo"], "placed"),
            _ => assert_eq!(shown["redacted"], true),
        }
        assert!(
            f.client.timeline(ROOM).iter().all(|item| item.echo.as_str() == "placed"),
            "no echo is stuck"
        );
        assert_eq!(f.client.waiting(), 0);

        let content =
            if pending == "reaction" { reaction("", ME, "$m", "🎉")["content"].clone() } else { content };
        let id = f.client.send(f.now, ROOM, kind, &content.to_string()).expect("it is queued");
        f.drain();
        f.client.cancel(f.now, id);
        f.drain();
        assert_eq!(item(&f, "$m"), shown, "{kind}: what is taken back leaves nothing");
    }
}

#[test]
fn a_reaction_is_taken_back_by_an_echo_too() {
    let mut f = Fixture::online();
    f.events(json!([
        message("$m", "@b:hs", "x", None),
        reaction("$1", "@b:hs", "$m", "👍"),
        reaction("$2", ME, "$m", "👍")
    ]));
    f.client.redact(f.now, ROOM, "$2", None);
    f.drain();
    let shown = &item(&f, "$m")["reactions"][0];
    assert_eq!((&shown["count"], &shown["mine"]["removing"]), (&json!(1), &json!(true)));
    assert_eq!(shown["mine"]["echo"], "sending");
    f.respond("redact/%242", 500, json!({}));
    assert_eq!(item(&f, "$m")["reactions"][0]["mine"]["echo"], "queued", "tried again");
    assert!(f.answers.is_empty(), "whoever waits for it hears of its end only");
    f.pass(Duration::from_secs(30));
    f.respond("redact/%242", 403, json!({"errcode": "M_FORBIDDEN", "error": "no"}));
    let shown = &item(&f, "$m")["reactions"][0];
    assert_eq!((&shown["count"], &shown["mine"]["echo"]), (&json!(2), &json!("placed")), "it is still there");
    assert_eq!(f.answers.pop().unwrap().unwrap_err().code, "M_FORBIDDEN");
}

#[test]
fn a_redaction_ends_for_who_waits_for_it_when_the_server_has_it_or_the_client_is_gone() {
    type End = fn(&mut Fixture);
    let ends: [(&str, End, Option<&str>); 4] = [
        ("answered", |f| f.respond("redact", 200, json!({"event_id": "$r"})), None),
        (
            "streamed",
            |f| {
                let id = f.take("redact").path.rsplit('/').next().unwrap().to_owned();
                let mut placed = redaction("$r", ME, "$m");
                placed["unsigned"] = json!({"transaction_id": id});
                f.events(json!([placed]));
            },
            None,
        ),
        ("stopped", |f| f.client.stop(f.now), Some("STOPPED")),
        (
            "left",
            |f| {
                f.sync(json!({"rooms": {"leave": {ROOM: {}}}}));
                f.client.forget_room(f.now, ROOM);
                f.drain();
                f.respond("forget", 200, json!({}));
                f.answers.retain(Result::is_err);
            },
            Some("STOPPED"),
        ),
    ];
    for (what, end, code) in ends {
        let mut f = Fixture::online();
        f.events(json!([message("$m", ME, "x", None)]));
        f.client.redact(f.now, ROOM, "$m", Some("why"));
        f.drain();
        end(&mut f);
        f.drain();
        let ended = f.answers.pop().map(|answer| answer.err().map(|failure| failure.code));
        assert_eq!(ended, Some(code.map(str::to_owned)), "{what}");
        assert!(f.answers.is_empty(), "{what}");
    }
}

#[test]
fn a_redaction_that_the_stream_shows_first_and_nameless_leaves_no_echo() {
    let mut f = Fixture::online();
    f.events(json!([message("$m", ME, "x", None)]));
    f.client.redact(f.now, ROOM, "$m", None);
    f.drain();
    f.events(json!([redaction("$r", ME, "$m")]));
    f.respond("redact", 200, json!({"event_id": "$r"}));
    assert_eq!(f.client.timeline(ROOM).len(), 1);
    assert_eq!((f.client.waiting(), item(&f, "$m").get("pending")), (0, None));
}

#[test]
fn a_receipt_goes_forward_only_and_privately_where_that_is_wished() {
    let mut f = Fixture::online();
    let said = |id: &str| message(id, "@b:hs", "x", None);
    f.events(json!([said("$1"), said("$2"), said("$3")]));
    let mut told = |event: Option<&str>, told| {
        f.client.mark_read(f.now, ROOM, event, told);
        f.drain();
        let sent = f.requests.iter().position(|request| request.path.contains("/receipt/"));
        sent.map(|at| f.requests.remove(at).path.split("/receipt/").nth(1).unwrap().to_owned())
    };
    assert_eq!(told(Some("$2"), Told::Everybody).as_deref(), Some("m.read/%242"));
    assert_eq!(told(Some("$1"), Told::Everybody), None, "not backwards");
    assert_eq!(told(Some("$unheard"), Told::Everybody), None, "nor to what is not there");
    assert_eq!(told(None, Told::Nobody).as_deref(), Some("m.read.private/%243"));
    assert_eq!(told(None, Told::Nobody), None, "once");
}
