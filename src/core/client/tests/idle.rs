//! W2, P6, W5: idleness is told once when it begins and once when it ends.

use std::time::Duration;

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::core::presence::{Choice, StatusMsg};

const SECOND: Duration = Duration::from_secs(1);

/// Answers syncs as a quiet server does, for this long, and says how often `what` was requested.
fn quiet(f: &mut Fixture, seconds: u64, what: &str) -> Vec<Request> {
    let mut seen = Vec::new();
    for second in 0..seconds {
        f.pass(SECOND);
        if second % 30 == 29 {
            f.sync(json!({}));
        }
        while f.count(what) > 0 {
            let request = f.take(what);
            f.client.handle_response(f.now, request.id, 200, None, b"{}");
            f.drain();
            seen.push(request);
        }
    }
    seen
}

fn body(request: &Request) -> Value {
    serde_json::from_str(request.body.as_deref().unwrap()).unwrap()
}

#[test]
fn p6_one_report_when_idleness_begins_and_one_when_it_ends() {
    let mut f = Fixture::online();
    f.client.handle_activity(f.now);
    let reports = quiet(&mut f, 600, "/device");
    assert_eq!(reports.len(), 1, "{reports:?}");
    assert_eq!(body(&reports[0]), json!({"idle_ms": 180_000, "device_type": "web"}));
    assert!(f.client.is_idle() && f.client.me().idle);
    assert!(f.take("/sync").path.contains("set_presence=unavailable"));

    f.client.handle_activity(f.now);
    f.drain();
    let report = f.take("/device");
    assert_eq!(body(&report), json!({"idle_ms": 0, "device_type": "web"}));
    f.client.handle_response(f.now, report.id, 200, None, b"{}");
    f.client.handle_activity(f.now);
    f.drain();
    assert_eq!(f.count("/device"), 0);
    let idle: Vec<bool> = f
        .changes
        .iter()
        .filter_map(|change| if let Change::Idle(idle) = change { Some(*idle) } else { None })
        .collect();
    assert_eq!(idle, [true, false]);
}

#[test]
fn p6_a_report_that_was_lost_is_repeated_and_one_that_was_refused_is_not() {
    let mut f = Fixture::online();
    f.pass(29 * SECOND);
    quiet(&mut f, 150, "nothing");
    f.pass(2 * SECOND);
    f.lose("/device");
    f.pass(2 * SECOND);
    let again = f.take("/device");
    assert!(body(&again)["idle_ms"].as_u64().unwrap() > 181_000, "the instant of its beginning stays");
    f.client.handle_response(f.now, again.id, 403, None, b"{}");
    f.drain();
    assert_eq!(quiet(&mut f, 120, "/device").len(), 0);
}

#[test]
fn p6_back_before_the_report_was_answered_the_server_is_told_so() {
    let mut f = Fixture::online();
    quiet(&mut f, 179, "nothing");
    f.pass(2 * SECOND);
    let begun = f.take("/device");
    f.client.handle_activity(f.now);
    f.drain();
    assert_eq!(f.count("/device"), 0, "one at a time: they must not overtake each other");
    f.client.handle_response(f.now, begun.id, 200, None, b"{}");
    f.drain();
    assert_eq!(body(&f.take("/device"))["idle_ms"], 0);
}

#[test]
fn w5_a_stock_server_is_told_by_status_and_keeps_the_words() {
    let mut f = Fixture::new();
    f.go_online(false);
    f.client.set_presence(f.now, Choice::FreeForChat, StatusMsg::Set("tea".into()));
    f.drain();
    let put = f.take("PUT status");
    assert_eq!(body(&put), json!({"presence": "online", "status_msg": "tea"}));
    f.client.handle_response(f.now, put.id, 200, None, b"{}");
    f.drain();
    let reports = quiet(&mut f, 600, "/status");
    assert_eq!(reports.len(), 1);
    assert_eq!(body(&reports[0]), json!({"presence": "unavailable", "status_msg": "tea"}));
    f.client.handle_activity(f.now);
    f.drain();
    assert_eq!(body(&f.take("PUT status")), json!({"presence": "online", "status_msg": "tea"}));
    assert_eq!(f.client.me().state, Choice::FreeForChat);
}

#[test]
fn w5_on_a_stock_server_idleness_never_overrides_a_choice_and_no_sync_undoes_it() {
    for (choice, word) in [
        (Choice::Busy, "unavailable"),
        (Choice::Unavailable, "unavailable"),
        (Choice::Hidden, "offline"),
        (Choice::Offline, "offline"),
    ] {
        let mut f = Fixture::new();
        f.go_online(false);
        f.client.set_presence(f.now, choice, StatusMsg::Keep);
        f.drain();
        let put = f.take("PUT status");
        assert_eq!(body(&put)["presence"], word);
        f.client.handle_response(f.now, put.id, 200, None, b"{}");
        f.drain();
        assert_eq!(quiet(&mut f, 600, "/status").len(), 0, "{choice:?}");
        assert!(f.client.is_idle());
        f.client.handle_activity(f.now);
        f.drain();
        assert_eq!(f.count("/status"), 0, "{choice:?}");
        assert!(f.take("/sync").path.contains(&format!("set_presence={word}")), "{choice:?}");

        let mut again = Fixture::with_storage("D", f.stored.clone(), f.now);
        again.go_online(false);
        assert_eq!(again.client.me().state, choice, "the choice is kept over restarts");
        assert!(again.take("/sync").path.contains(&format!("set_presence={word}")));
    }
}
