//! What is shown of presence while the stream is lost, and how soon it is seen to be.

use std::time::Duration;

use proptest::prelude::*;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::core::presence::State;

const SECOND: Duration = Duration::from_secs(1);

fn event(user: &str, content: Value) -> Value {
    json!({"type": "m.presence", "sender": user, "content": content})
}

/// Two others and oneself, all there.
fn everybody() -> Value {
    json!({"presence": {"events": [
        event("@a:hs", json!({"presence": "online", "status_msg": "here", "displayname": "Ann", "last_active_ago": 0,
            "currently_active": true, "org.pilotlight.presence": {"state": "online", "device_type": "web"}})),
        event("@b:hs", json!({"presence": "unavailable", "org.pilotlight.presence": {"state": "busy"}})),
        event(ME, json!({"presence": "online"})),
    ]}})
}

fn states(f: &Fixture) -> Vec<(String, State)> {
    f.client.presences().map(|one| (one.user_id.to_string(), one.state)).collect()
}

/// What the change sets since the last call said, in order.
fn told(f: &mut Fixture) -> Vec<Vec<(String, State)>> {
    let changes = std::mem::take(&mut f.changes);
    let sets = changes.iter().filter_map(|change| match change {
        Change::Presence(who) => Some(who.iter().map(|one| (one.user_id.to_string(), one.state)).collect()),
        _ => None,
    });
    sets.collect()
}

fn all(states: [State; 3]) -> Vec<(String, State)> {
    ["@a:hs", "@b:hs", ME].map(String::from).into_iter().zip(states).collect()
}

const LIVE: [State; 3] = [State::Online, State::Busy, State::Online];
const LOST: [State; 3] = [State::Unknown; 3];

fn online_with_everybody() -> Fixture {
    let mut f = Fixture::online();
    f.sync(everybody());
    assert_eq!(states(&f), all(LIVE));
    assert_eq!(f.client.me().shown, State::Online);
    told(&mut f);
    f
}

/// Every attempt fails at once for this long.
fn nobody_answers(f: &mut Fixture, duration: Duration) {
    let end = f.now + duration;
    while f.now < end {
        while f.count("/sync") > 0 {
            f.lose("/sync");
        }
        f.pass(SECOND / 2);
    }
}

#[test]
fn a_short_interruption_shows_nobody_anything() {
    let mut f = online_with_everybody();
    nobody_answers(&mut f, 29 * SECOND);
    assert_eq!((states(&f), f.client.me().shown), (all(LIVE), State::Online));
    f.client.try_now(f.now);
    f.drain();
    f.sync(json!({}));
    assert_eq!((states(&f), told(&mut f)), (all(LIVE), vec![]));
}

#[test]
fn without_a_stream_everybody_is_unknown_after_the_grace_oneself_too_and_back_in_one_change_set() {
    let mut f = online_with_everybody();
    nobody_answers(&mut f, 31 * SECOND);
    assert_eq!(states(&f), all(LOST));
    assert_eq!(f.client.me().shown, State::Unknown);
    assert_eq!(told(&mut f), [all(LOST)], "told once");
    let ann = f.client.presence_of("@a:hs").unwrap();
    assert_eq!((ann.status_msg.as_deref(), ann.last_active_at, ann.currently_active), (None, None, false));
    assert_eq!(ann.display_name.as_deref(), Some("Ann"), "a name is no presence");

    nobody_answers(&mut f, 100 * SECOND);
    assert_eq!(told(&mut f), [[]; 0]);
    while f.count("/sync") == 0 {
        f.pass(SECOND);
    }
    f.sync(json!({"presence": {"events": [event("@b:hs", json!({"presence": "offline"}))]}}));
    let now = all([State::Online, State::Offline, State::Online]);
    assert_eq!(states(&f), now);
    assert_eq!(told(&mut f), [now], "what was known, and what changed, without a step between");
    assert_eq!(f.client.presence_of("@a:hs").unwrap().status_msg.as_deref(), Some("here"));
    assert_eq!(f.client.me().shown, State::Online);
}

#[test]
fn who_is_first_heard_of_when_the_stream_is_back_is_told_of_whatever_they_are() {
    let mut f = online_with_everybody();
    nobody_answers(&mut f, 31 * SECOND);
    told(&mut f);
    while f.count("/sync") == 0 {
        f.pass(SECOND);
    }
    f.sync(json!({"presence": {"events": [event("@new:hs", json!({"presence": "offline", "org.pilotlight.presence": {"state": "unknown"}}))]}}));
    let [set] = &told(&mut f)[..] else { panic!("one change set") };
    assert!(set.contains(&(String::from("@new:hs"), State::Unknown)), "{set:?}");
    assert_eq!(set.len(), 4, "and everybody else");
}

#[test]
fn a_server_that_neither_answers_nor_refuses_is_lost_when_its_answer_is_due() {
    let mut f = online_with_everybody();
    f.pass(59 * SECOND);
    assert_eq!(states(&f), all(LIVE), "a long poll lasts half a minute");
    f.pass(2 * SECOND);
    assert_eq!(states(&f), all(LOST));
}

#[test]
fn a_quiet_server_is_not_lost() {
    let mut f = online_with_everybody();
    for _ in 0..20 {
        f.pass(29 * SECOND);
        f.sync(json!({}));
    }
    assert_eq!((states(&f), told(&mut f)), (all(LIVE), vec![]));
}

#[test]
fn who_is_not_mentioned_by_a_stream_that_begins_anew_is_unknown() {
    let mut f = online_with_everybody();
    f.respond("/sync", 400, json!({"errcode": "M_UNKNOWN_POS"}));
    f.sync(json!({"presence": {"events": [event("@b:hs", json!({"presence": "online"})), event(ME, json!({"presence": "online"}))]}}));
    assert_eq!(states(&f), all([State::Unknown, State::Online, State::Online]));
}

#[test]
fn a_client_that_was_stopped_knows_nothing_until_it_follows_again() {
    let mut f = online_with_everybody();
    f.client.stop(f.now);
    f.drain();
    assert_eq!((states(&f), f.client.me().shown), (all(LOST), State::Unknown));
    f.start();
    f.respond("versions", 200, json!({"unstable_features": {"org.pilotlight.presence": true}}));
    f.sync(json!({}));
    assert_eq!((states(&f), f.client.me().shown), (all(LIVE), State::Online));
}

#[test]
fn a_network_that_goes_is_shown_at_once_and_tried_all_the_same() {
    let mut f = Fixture::online();
    f.client.handle_network_down(f.now);
    f.drain();
    assert_eq!((f.client.connection(), f.count("/sync")), (Connection::Offline, 0));
    f.pass(3 * SECOND);
    f.sync(json!({}));
    assert_eq!(f.client.connection(), Connection::Online, "the system was wrong");
    let mut stopped = Fixture::new();
    stopped.client.handle_network_down(stopped.now);
    stopped.drain();
    assert_eq!(stopped.client.connection(), Connection::Stopped);
}

#[test]
fn any_request_that_is_lost_on_the_way_shows_it_and_asks_whether_the_server_is_there() {
    let mut f = Fixture::online();
    f.send("hi");
    f.lose("/send/");
    assert_eq!(f.client.connection(), Connection::Offline);
    assert_eq!(f.shown(), [("hi".into(), "queued")], "it waits");
    assert!(f.take("/sync").path.contains("timeout=0"), "asked at once, to be answered at once");
    let mut f = Fixture::online();
    f.client.join_room(f.now, "#x:hs");
    f.drain();
    f.respond("POST /join", 500, json!({}));
    assert_eq!(f.client.connection(), Connection::Online, "an answer is an answer");
}

#[derive(Clone, Debug)]
enum Step {
    /// The server tells of a user.
    Told(u8, bool),
    /// The sync under way is answered, or lost.
    Answer,
    Lose,
    Forget,
    Down,
    Up,
    Restart,
    Wait(u16),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0u8..3, any::<bool>()).prop_map(|(user, there)| Step::Told(user, there)),
        3 => Just(Step::Answer),
        3 => Just(Step::Lose),
        1 => Just(Step::Forget),
        1 => Just(Step::Down),
        1 => Just(Step::Up),
        1 => Just(Step::Restart),
        3 => (1u16..50).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 0..60)
}

proptest! {
    #![proptest_config(crate::core::testing::config())]

    /// Over any losses: nobody is shown as there later than the hold of a poll and the grace after the last word
    /// of the server; who is told of change sets alone sees what `presence_of` says; and nothing is told twice.
    #[test]
    fn nobody_is_shown_who_is_not_known_to_be_there(steps in steps()) {
        let mut f = Fixture::online();
        let mut heard_at = f.now;
        let mut seen = std::collections::BTreeMap::new();
        for step in &steps {
            match step {
                Step::Told(user, there) if f.count("/sync") > 0 => {
                    let word = if *there { "online" } else { "offline" };
                    f.sync(json!({"presence": {"events": [event(&format!("@{user}:hs"), json!({"presence": word}))]}}));
                    heard_at = f.now;
                }
                Step::Answer if f.count("/sync") > 0 => {
                    f.sync(json!({}));
                    heard_at = f.now;
                }
                Step::Lose if f.count("/sync") > 0 => f.lose("/sync"),
                Step::Forget if f.count("/sync") > 0 => {
                    f.respond("/sync", 400, json!({"errcode": "M_UNKNOWN_POS"}));
                    heard_at = f.now;
                }
                Step::Down => {
                    f.client.handle_network_down(f.now);
                    f.drain();
                }
                Step::Up => {
                    f.client.try_now(f.now);
                    f.drain();
                }
                Step::Restart => {
                    f.client.stop(f.now);
                    f.drain();
                    f.start();
                    f.respond("versions", 200, json!({"unstable_features": {"org.pilotlight.presence": true}}));
                }
                Step::Wait(seconds) => f.pass(Duration::from_secs(u64::from(*seconds))),
                Step::Told(..) | Step::Answer | Step::Lose | Step::Forget => (),
            }
            for set in told(&mut f) {
                for (user, state) in set {
                    prop_assert_ne!(seen.insert(user.clone(), state), Some(state), "{} told twice", user);
                }
            }
            let shown = f.client.presences().map(|one| (one.user_id.to_string(), one.state));
            prop_assert_eq!(seen.clone(), shown.collect());
            if f.now.since(heard_at) > 60 * SECOND {
                prop_assert!(seen.values().all(|state| *state == State::Unknown), "{:?}", seen);
                prop_assert_eq!(f.client.me().shown, State::Unknown);
            }
        }
    }
}
