//! Why somebody is shown as they are.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::core::client::explain::{Cause, Explanation};
use crate::core::presence::{Choice, State, StatusMsg};

const ANN: &str = "@a:hs";
const SECOND: Duration = Duration::from_secs(1);

fn says(user: &str, content: Value) -> Value {
    json!({"presence": {"events": [{"type": "m.presence", "sender": user, "content": content}]}})
}

fn in_room(user: &str) -> Value {
    let member = json!({"type": "m.room.member", "state_key": user, "sender": user, "event_id": "$m",
        "origin_server_ts": 1, "content": {"membership": "join"}});
    json!({"rooms": {"join": {ROOM: {"state": {"events": [member]}}}}})
}

fn ignores(user: &str) -> Value {
    let content = json!({"ignored_users": {user: {}}});
    json!({"account_data": {"events": [{"type": "m.ignored_user_list", "content": content}]}})
}

/// The presence list says this of Ann.
fn lists(f: &mut Fixture, state: &str) {
    let content = json!({});
    f.sync(
        json!({"account_data": {"events": [{"type": "org.pilotlight.presence_list", "content": content}]}}),
    );
    f.respond("presence/list", 200, json!([{"sender": ANN, "org.pilotlight.list": {"state": state}}]));
    f.respond("requests", 200, json!({"requests": [], "observers": []}));
}

fn codes(explanation: &Explanation) -> Vec<&'static str> {
    explanation.reasons.iter().map(|reason| reason.cause.code()).collect()
}

/// What is shown of somebody, and why.
fn why(f: &Fixture, user: &str) -> (State, Vec<&'static str>) {
    let explanation = f.client.explain(user, f.now);
    assert_eq!(explanation.user_id, user);
    (explanation.shown, codes(&explanation))
}

#[test]
fn w4_every_way_to_be_shown_has_its_reason() {
    type Steps = fn(&mut Fixture);
    let busy = |f: &mut Fixture| f.sync(says(ANN, json!({"presence": "busy"})));
    let busy: Steps = busy;
    let table: Vec<(&str, &str, Steps, State, &[&str])> = vec![
        ("nothing is known of a stranger", ANN, |_| (), State::Unknown, &["never_heard", "nothing_shared"]),
        ("a stranger shares a room", ANN, |f| f.sync(in_room(ANN)), State::Unknown, &["never_heard"]),
        (
            "one who is ignored",
            ANN,
            |f| f.sync(ignores(ANN)),
            State::Unknown,
            &["never_heard", "ignored", "nothing_shared"],
        ),
        ("one who was asked", ANN, |f| lists(f, "pending"), State::Unknown, &["never_heard", "list_pending"]),
        ("one who denied", ANN, |f| lists(f, "denied"), State::Unknown, &["never_heard", "list_denied"]),
        ("one who accepted", ANN, |f| lists(f, "accepted"), State::Unknown, &["never_heard"]),
        ("one of whom the server tells", ANN, busy, State::Busy, &["server_said"]),
        (
            "one who is idle",
            ANN,
            |f| {
                f.sync(says(
                    ANN,
                    json!({"presence": "unavailable", "last_active_ago": 300_000,
                "org.pilotlight.presence": {"state": "unavailable", "idle_ms": 300_000}}),
                ))
            },
            State::Unavailable,
            &["server_said", "idle"],
        ),
        (
            "one who has left",
            ANN,
            |f| f.sync(says(ANN, json!({"presence": "offline", "last_active_ago": 60_000}))),
            State::Offline,
            &["server_said", "last_active"],
        ),
        (
            "one who is there",
            ANN,
            |f| {
                f.sync(says(
                    ANN,
                    json!({"presence": "online", "last_active_ago": 0, "currently_active": true}),
                ))
            },
            State::Online,
            &["server_said"],
        ),
        (
            "one who went out of sight",
            ANN,
            |f| {
                f.sync(says(
                    ANN,
                    json!({"presence": "offline", "org.pilotlight.presence": {"state": "unknown"}}),
                ))
            },
            State::Unknown,
            &["server_said", "nothing_shared"],
        ),
        (
            "one whom a stream that begins anew does not mention",
            ANN,
            |f| {
                f.sync(says(ANN, json!({"presence": "online"})));
                f.respond("/sync", 400, json!({"errcode": "M_UNKNOWN_POS"}));
                f.sync(json!({}));
            },
            State::Unknown,
            &["not_mentioned", "nothing_shared"],
        ),
        (
            "a connection that broke off is believed for a while",
            ANN,
            |f| {
                f.sync(says(ANN, json!({"presence": "busy"})));
                f.lose("/sync");
            },
            State::Busy,
            &["interrupted", "server_said"],
        ),
        (
            "a connection that is lost",
            ANN,
            |f| {
                f.sync(says(ANN, json!({"presence": "busy"})));
                f.lose("/sync");
                f.pass(31 * SECOND);
            },
            State::Unknown,
            &["connection_lost"],
        ),
        ("a client that was stopped", ANN, |f| f.client.stop(f.now), State::Unknown, &["stopped"]),
        (
            "a session that has ended",
            ANN,
            |f| f.respond("/sync", 401, json!({"errcode": "M_UNKNOWN_TOKEN"})),
            State::Unknown,
            &["logged_out"],
        ),
        ("oneself", ME, |_| (), State::Online, &["chosen", "never_heard"]),
        (
            "oneself, idle here",
            ME,
            |f| f.pass(181 * SECOND),
            // Its stream was lost meanwhile: nobody answered.
            State::Unknown,
            &["connection_lost", "idle_here", "chosen"],
        ),
        (
            "oneself, idle here and busy by choice",
            ME,
            |f| {
                f.client.set_presence(f.now, Choice::Busy, StatusMsg::Keep);
                f.drain();
                f.respond("PUT status", 200, json!({}));
            },
            State::Busy,
            &["chosen", "never_heard"],
        ),
        (
            "oneself, before the server knows",
            ME,
            |f| {
                f.client.set_presence(f.now, Choice::Hidden, StatusMsg::Keep);
                f.drain();
            },
            State::Hidden,
            &["chosen", "not_told", "never_heard"],
        ),
    ];
    for (case, user, steps, shown, reasons) in table {
        let mut f = Fixture::online();
        steps(&mut f);
        f.drain();
        assert_eq!(why(&f, user), (shown, reasons.to_vec()), "{case}");
    }
    let mut fresh = Fixture::new();
    assert_eq!(why(&fresh, ANN), (State::Unknown, vec!["stopped"]));
    fresh.start();
    assert_eq!(why(&fresh, ANN), (State::Unknown, vec!["connecting"]));
}

#[test]
fn w4_a_reason_says_since_when() {
    let mut f = Fixture::online();
    f.pass(5 * SECOND);
    let heard = f.now.to_unix().0;
    f.sync(says(ANN, json!({"presence": "unavailable", "org.pilotlight.presence": {"state": "unavailable", "idle_ms": 240_000}})));
    f.pass(SECOND);
    let since = |f: &Fixture| -> Vec<_> {
        f.client.explain(ANN, f.now).reasons.iter().map(|reason| reason.since).collect()
    };
    assert_eq!(since(&f), [Some(heard), Some(heard - 240_000)]);
    f.sync(json!({}));
    assert_eq!(since(&f)[0], Some(heard), "not since it was repeated");
    let broken = f.now.to_unix().0;
    f.lose("/sync");
    f.pass(10 * SECOND);
    assert_eq!(since(&f)[0], Some(broken));
    f.pass(30 * SECOND);
    assert_eq!(since(&f), [Some(broken)]);
    f.client.stop(f.now);
    assert_eq!(since(&f), [Some(f.now.to_unix().0)]);
}

#[test]
fn w4_every_reason_has_a_code_of_its_own_and_words() {
    let all = [
        Cause::LoggedOut,
        Cause::Stopped,
        Cause::Connecting,
        Cause::ConnectionLost,
        Cause::Interrupted,
        Cause::Chosen(Choice::Busy),
        Cause::IdleHere,
        Cause::NotTold,
        Cause::ServerSaid(State::Busy),
        Cause::NotMentioned,
        Cause::Idle,
        Cause::LastActive,
        Cause::NeverHeard,
        Cause::TooMany,
        Cause::Ignored,
        Cause::ListPending,
        Cause::ListDenied,
        Cause::NothingShared,
    ];
    let mut seen = Vec::new();
    let types = include_str!("../../../../pkg/index.d.ts");
    for cause in all {
        assert!(!seen.contains(&cause.code()), "{}", cause.code());
        seen.push(cause.code());
        assert!(types.contains(&["\"", cause.code(), "\""].concat()), "{} is in the types", cause.code());
        assert!(cause.text().len() > 10);
    }
    assert_eq!(Cause::ServerSaid(State::Busy).text(), "the homeserver says busy");
    assert_eq!(Cause::Chosen(Choice::Hidden).text(), "the user chose hidden");
}
