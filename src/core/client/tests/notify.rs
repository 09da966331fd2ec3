//! Which events the user is told of, from events and account data as they come.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::core::client::notify::{Naming, checked_settings, settings_json};
use crate::core::presence::{Choice, StatusMsg};
use crate::core::wire::object::Object;

fn told(f: &Fixture, item: Value) -> bool {
    let text = item.to_string();
    f.client.should_notify(&Object::parse(&text).unwrap())
}

fn says(sender: &str) -> Value {
    json!({"type": "m.room.message", "sender": sender, "content": {"msgtype": "m.text", "body": "hi"}})
}

impl Fixture {
    fn choose(&mut self, choice: Choice) {
        self.client.set_presence(self.now, choice, StatusMsg::Keep);
        self.drain();
        self.respond("PUT status", 200, json!({}));
    }
}

/// What kinds of events there are, and which of them somebody is told of.
#[test]
fn p13_the_table_of_events() {
    let f = Fixture::online();
    let text = |content: Value| json!({"type": "m.room.message", "sender": "@b:hs", "content": content});
    let member = |key: &str, membership: &str| json!({"type": "m.room.member", "sender": "@b:hs", "stateKey": key, "content": {"membership": membership}});
    let mut redacted = says("@b:hs");
    redacted["redacted"] = json!(true);
    for (item, expected) in [
        (says("@b:hs"), true),
        (says(ME), false),
        (text(json!({"msgtype": "m.image", "body": "a cat"})), true),
        (text(json!({"msgtype": "m.notice", "body": "built"})), false),
        (
            text(json!({"msgtype": "m.text", "m.relates_to": {"rel_type": "m.replace", "event_id": "$e"}})),
            false,
        ),
        (text(json!({"msgtype": "m.text", "m.relates_to": {"m.in_reply_to": {"event_id": "$e"}}})), true),
        (redacted, false),
        (json!({"type": "m.room.encrypted", "sender": "@b:hs", "content": {}}), true),
        (json!({"type": "m.sticker", "sender": "@b:hs", "content": {}}), true),
        (json!({"type": "m.call.invite", "sender": "@b:hs", "content": {}}), true),
        (json!({"type": "m.call.candidates", "sender": "@b:hs", "content": {}}), false),
        (json!({"type": "m.reaction", "sender": "@b:hs", "content": {}}), false),
        (json!({"type": "m.room.topic", "sender": "@b:hs", "stateKey": "", "content": {}}), false),
        (member(ME, "invite"), true),
        (member(ME, "leave"), false),
        (member("@c:hs", "invite"), false),
        (json!({"odd": []}), false),
    ] {
        assert_eq!(told(&f, item.clone()), expected, "{item}");
    }
}

#[test]
fn p13_busy_mutes_and_hidden_does_not() {
    let mut f = Fixture::online();
    for (choice, expected) in [(Choice::Busy, false), (Choice::Hidden, true), (Choice::FreeForChat, true)] {
        f.choose(choice);
        assert_eq!(told(&f, says("@b:hs")), expected, "{choice:?}");
    }
}

#[test]
fn p13_groups_of_the_list_are_exceptions_set_on_any_device() {
    let mut f = Fixture::online();
    f.choose(Choice::Busy);
    let settings = json!({"muted_in": ["busy"], "groups": {"Important": "always", "Noise": "never", "x": 5}});
    f.sync(json!({"account_data": {"events": [
        {"type": "org.pilotlight.notify", "content": settings},
        {"type": "org.pilotlight.presence_list", "content": {}},
    ]}}));
    let entry = |user: &str, group: &str| json!({"sender": user, "org.pilotlight.list": {"state": "accepted", "groups": [group]}});
    f.respond(
        "GET /presence/list/",
        200,
        json!([entry("@boss:hs", "Important"), entry("@loud:hs", "Noise")]),
    );
    assert!(told(&f, says("@boss:hs")) && !told(&f, says("@loud:hs")) && !told(&f, says("@b:hs")));
    f.choose(Choice::Online);
    assert!(told(&f, says("@boss:hs")) && !told(&f, says("@loud:hs")) && told(&f, says("@b:hs")));
}

#[test]
fn p13_settings_are_written_to_account_data_and_come_back_the_same() {
    let mut f = Fixture::online();
    let given = r#"{"mutedIn":["busy","unavailable"],"groups":{"Noise":"never"}}"#;
    let settings = checked_settings(&Object::parse(given).unwrap()).unwrap();
    f.client.set_notify_settings(f.now, settings.clone());
    f.drain();
    let request = f.take("PUT user/%40me%3Ahs/account_data/org.pilotlight.notify");
    let content: Value = serde_json::from_str(request.body.as_deref().unwrap()).unwrap();
    assert_eq!(content, json!({"muted_in": ["busy", "unavailable"], "groups": {"Noise": "never"}}));
    f.client.handle_response(f.now, request.id, 200, None, b"{}");
    f.drain();
    assert_eq!(settings_json(f.client.notify_settings(), Naming::Application), given);
    f.sync(json!({"account_data": {"events": [{"type": "org.pilotlight.notify", "content": content}]}}));
    assert_eq!(*f.client.notify_settings(), settings);
    let changed = f.changes.iter().filter(|change| matches!(change, Change::NotifySettings(_)));
    assert_eq!(changed.count(), 1, "what the server repeats is no change");
}

#[test]
fn p13_settings_that_are_not_understood_are_refused_from_applications_and_left_out_from_servers() {
    for bad in [
        r#"{}"#,
        r#"{"mutedIn":["unknown"],"groups":{}}"#,
        r#"{"mutedIn":[5],"groups":{}}"#,
        r#"{"mutedIn":[],"groups":{"a":"sometimes"}}"#,
    ] {
        assert_eq!(checked_settings(&Object::parse(bad).unwrap()), None, "{bad}");
    }
    let mut f = Fixture::online();
    let odd = json!({"muted_in": ["on fire", "online"], "groups": {"a": "sometimes", "b": "always"}});
    f.sync(json!({"account_data": {"events": [{"type": "org.pilotlight.notify", "content": odd}]}}));
    let left = settings_json(f.client.notify_settings(), Naming::Application);
    assert_eq!(left, r#"{"mutedIn":["online"],"groups":{"b":"always"}}"#);
}

#[test]
fn p3_the_choice_is_told_to_the_users_own_devices_even_while_idle() {
    let mut f = Fixture::online();
    let own = json!({"type": "m.presence", "sender": ME, "content": {"presence": "unavailable",
        "org.pilotlight.presence": {"state": "unavailable", "choice": "busy"}}});
    f.sync(json!({"presence": {"events": [own]}}));
    assert_eq!(f.client.me().state, Choice::Busy);
}
