//! The presence list: read when it changed, told as a change set, changed by typed calls.

use proptest::prelude::*;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::core::client::contact::{Contact, Listed, Observer, Standing};
use crate::core::client::contacts::{Answer, Placement};
use crate::core::client::output::Ticket;
use crate::core::wire::object::Object;
use crate::core::wire::write::ToJson;

type Change = (Vec<Contact>, Vec<String>);

fn entry(user: &str, state: &str, groups: &[&str]) -> Value {
    json!({"type": "m.presence", "sender": user, "content": {"presence": "offline"},
        "org.pilotlight.list": {"state": state, "groups": groups, "acl": null}})
}

impl Fixture {
    /// A sync that says that the list changed.
    fn list_changed(&mut self) {
        let event = json!({"type": "org.pilotlight.presence_list", "content": {"changed_ts": 1}});
        self.sync(json!({"account_data": {"events": [event]}}));
    }

    fn answer_list(&mut self, entries: Value, requests: Value) {
        self.respond("GET /presence/list/", 200, entries);
        self.respond("GET /presence/requests/", 200, requests);
    }

    /// The change sets told since the last call.
    fn told(&mut self) -> Vec<Change> {
        let changes = std::mem::take(&mut self.changes).into_iter();
        let told = changes.filter_map(|change| match change {
            super::Change::Contacts { changed, removed } => Some((changed, removed)),
            _ => None,
        });
        told.collect()
    }
}

#[test]
fn l1_nothing_is_asked_of_a_server_until_it_says_that_there_is_a_list() {
    let mut f = Fixture::new();
    assert_eq!(f.client.has_presence_list(), None);
    f.go_online(true);
    assert_eq!(f.client.has_presence_list(), Some(true));
    assert_eq!(f.count("/presence/list/") + f.count("/requests/"), 0);
    f.list_changed();
    assert_eq!((f.count("/presence/list/"), f.count("/requests/")), (1, 1));
}

#[test]
fn l1_l2_both_halves_make_one_list_and_only_what_changed_is_told() {
    let mut f = Fixture::online();
    f.list_changed();
    let entries = json!([entry("@b:hs", "accepted", &["Work"]), entry("@c:hs", "pending", &[])]);
    f.answer_list(entries.clone(), json!({"requests": ["@d:hs"], "observers": ["@b:hs"]}));
    let said: Vec<_> = f.client.contacts().iter().map(ToJson::to_json).collect();
    assert_eq!(
        said,
        [
            r#"{"userId":"@b:hs","listed":"accepted","groups":["Work"],"observer":"accepted"}"#,
            r#"{"userId":"@c:hs","listed":"pending","groups":[]}"#,
            r#"{"userId":"@d:hs","groups":[],"observer":"asked"}"#,
        ]
    );
    f.told();

    f.list_changed();
    f.answer_list(entries, json!({"requests": ["@d:hs"], "observers": ["@b:hs"]}));
    assert_eq!(f.told(), [], "the same again is no change");

    f.list_changed();
    f.answer_list(json!([entry("@b:hs", "denied", &["Work"])]), json!({"requests": [], "observers": []}));
    let told = f.told();
    let [(changed, removed), (changed_then, removed_then)] = &told[..] else { panic!("{told:?}") };
    assert_eq!(changed[0].listed.as_ref().unwrap().standing, Standing::Denied);
    assert_eq!((changed.len(), &removed[..]), (1, &[String::from("@c:hs")][..]));
    assert_eq!((changed_then.len(), &removed_then[..]), (1, &[String::from("@d:hs")][..]));
    assert_eq!(changed_then[0].observer, None);
}

#[test]
fn l2_a_change_during_the_reading_is_read_after_it_and_once() {
    let mut f = Fixture::online();
    f.list_changed();
    f.list_changed();
    f.list_changed();
    assert_eq!(f.count("/presence/list/"), 1);
    f.answer_list(json!([]), json!({}));
    f.answer_list(json!([entry("@b:hs", "pending", &[])]), json!({}));
    assert_eq!((f.count("/presence/list/"), f.count("/requests/")), (0, 0));
    assert_eq!(f.client.contacts().len(), 1);
}

#[test]
fn a_reading_that_fails_is_tried_again_with_the_next_sync_and_loses_nothing() {
    let mut f = Fixture::online();
    f.list_changed();
    f.answer_list(json!([entry("@b:hs", "pending", &[])]), json!({"requests": ["@c:hs"]}));
    f.list_changed();
    f.lose("GET /presence/list/");
    f.respond("GET /presence/requests/", 503, json!({}));
    assert_eq!(f.count("/presence/list/"), 0, "not at once");
    assert_eq!(f.client.contacts().len(), 2);
    f.sync(json!({}));
    f.answer_list(json!({"odd": true}), json!([]));
    assert_eq!(f.client.contacts().len(), 2, "an answer of another shape says nothing");
    f.sync(json!({}));
    assert_eq!(f.count("/presence/list/"), 0, "it is not asked again for what it would only repeat");
}

#[test]
fn a_stop_in_the_middle_of_a_reading_is_made_up_for() {
    let mut f = Fixture::online();
    f.list_changed();
    f.client.stop(f.now);
    f.drain();
    assert!(f.requests.is_empty());
    f.go_online(true);
    f.answer_list(json!([entry("@b:hs", "accepted", &[])]), json!({}));
    assert_eq!(f.client.contacts().len(), 1);
}

#[test]
fn w5_a_stock_server_has_no_list_and_says_so_at_once() {
    let mut f = Fixture::new();
    f.go_online(false);
    assert_eq!(f.client.has_presence_list(), Some(false));
    f.list_changed();
    let requests = f.requests.len();
    f.client.add_contact(f.now, "@b:hs", None);
    f.client.privacy(f.now);
    f.client.invite_group(f.now, "Work", None);
    f.drain();
    assert_eq!(f.requests.len(), requests, "nothing is sent");
    for answer in &f.answers {
        assert_eq!(answer.as_ref().unwrap_err().code, "UNSUPPORTED");
    }
    assert_eq!(f.answers.len(), 3);
}

/// Each call, its request and its body.
#[test]
fn l1_to_l7_the_table_of_calls() {
    type Call = fn(&mut Client, Instant) -> Ticket;
    let calls: [(Call, &str, Value); 9] = [
        (
            |c, now| c.add_contact(now, "@b:hs", None),
            "POST v3/presence/list/%40me%3Ahs",
            json!({"invite": ["@b:hs"]}),
        ),
        (
            |c, now| c.add_contact(now, "@b:hs", Some("acl \"1\"")),
            "POST v3/presence/list/%40me%3Ahs",
            json!({"invite": [{"user_id": "@b:hs", "acl": "acl \"1\""}]}),
        ),
        (
            |c, now| c.drop_contact(now, "@b:hs"),
            "POST v3/presence/list/%40me%3Ahs",
            json!({"drop": ["@b:hs"]}),
        ),
        (
            |c, now| c.answer_request(now, "@b:hs", Answer::Accept),
            "POST presence/requests/%40me%3Ahs/%40b%3Ahs",
            json!({"answer": "accept"}),
        ),
        (
            |c, now| c.answer_request(now, "@b:hs", Answer::Revoke),
            "POST presence/requests/%40me%3Ahs/%40b%3Ahs",
            json!({"answer": "revoke"}),
        ),
        (
            |c, now| c.place_in_group(now, "@b:hs", "a/b", Placement::Inside),
            "PUT presence/groups/%40me%3Ahs/a%2Fb/members/%40b%3Ahs",
            json!({}),
        ),
        (
            |c, now| c.place_in_group(now, "@b:hs", "a/b", Placement::Outside),
            "DELETE presence/groups/%40me%3Ahs/a%2Fb/members/%40b%3Ahs",
            Value::Null,
        ),
        (
            |c, now| c.invite_group(now, "Work", Some("Stand-up")),
            "POST presence/groups/%40me%3Ahs/Work/invite",
            json!({"name": "Stand-up"}),
        ),
        (
            |c, now| {
                let privacy =
                    r#"{"share":"list","autoAccept":"everybody","invites":{"busy":{"group":"Work"}}}"#;
                c.set_privacy(now, &Object::parse(privacy).unwrap())
            },
            "PUT presence/settings/%40me%3Ahs",
            json!({"share": "list", "auto_accept": "everybody", "invites": {"busy": {"group": "Work"}}}),
        ),
    ];
    for (call, what, expected) in calls {
        let mut f = Fixture::online();
        call(&mut f.client, f.now);
        f.drain();
        let request = f.take(what);
        let body = request.body.as_deref().map_or(Value::Null, |body| serde_json::from_str(body).unwrap());
        assert_eq!(body, expected, "{what}");
        f.client.handle_response(f.now, request.id, 200, None, br#"{"room_id":"!n:hs"}"#);
        f.drain();
        assert!(f.answers.pop().unwrap().is_ok(), "{what}");
    }
}

#[test]
fn l6_l7_privacy_comes_in_the_applications_words() {
    let mut f = Fixture::online();
    f.client.privacy(f.now);
    f.drain();
    let said = json!({"share": "shared_rooms", "auto_accept": "reverse", "invites": {"busy": "nobody"}});
    f.respond("GET presence/settings/", 200, said);
    let answer: Value = serde_json::from_str(&f.answers.pop().unwrap().unwrap()).unwrap();
    assert_eq!(
        answer,
        json!({"share": "shared_rooms", "autoAccept": "reverse", "invites": {"busy": "nobody"}})
    );
}

/// What a server says at one time: an entry and a standing as observer for each of five users.
fn said() -> impl Strategy<Value = Vec<(Option<Standing>, Option<Observer>)>> {
    let standing = proptest::sample::select(vec![Standing::Pending, Standing::Accepted, Standing::Denied]);
    let observer = proptest::sample::select(vec![Observer::Asked, Observer::Accepted]);
    proptest::collection::vec((proptest::option::of(standing), proptest::option::of(observer)), 5)
}

fn user(at: usize) -> String {
    ["@u", &at.to_string(), ":hs"].concat()
}

proptest! {
    #![proptest_config(crate::core::testing::config())]

    /// Whatever the server says one after the other, the list is what it said last, in order, and the change
    /// sets applied one after the other make the same.
    #[test]
    fn w4_the_change_sets_add_up_to_the_list(times in proptest::collection::vec(said(), 1..6)) {
        let mut f = Fixture::online();
        let mut view = BTreeMap::new();
        for said in &times {
            let (mut entries, mut requests, mut observers) = (Vec::new(), Vec::new(), Vec::new());
            for (at, (standing, observer)) in said.iter().enumerate() {
                match standing {
                    Some(Standing::Pending) => entries.push(entry(&user(at), "pending", &[])),
                    Some(Standing::Accepted) => entries.push(entry(&user(at), "accepted", &["G"])),
                    Some(Standing::Denied) => entries.push(entry(&user(at), "denied", &[])),
                    None => (),
                }
                match observer {
                    Some(Observer::Asked) => requests.push(user(at)),
                    Some(Observer::Accepted) => observers.push(user(at)),
                    None => (),
                }
            }
            f.list_changed();
            f.answer_list(json!(entries), json!({"requests": requests, "observers": observers}));
            for (changed, removed) in f.told() {
                for contact in changed {
                    prop_assert_ne!(view.get(&contact.user_id), Some(&contact), "told, but no change");
                    view.insert(contact.user_id.clone(), contact);
                }
                removed.iter().for_each(|user| drop(view.remove(user).expect("who is gone was there")));
            }
            let expected: Vec<Contact> = said.iter().enumerate().filter(|(_, one)| **one != (None, None)).map(|(at, &(standing, observer))| {
                let groups = if standing == Some(Standing::Accepted) { vec![String::from("G")] } else { Vec::new() };
                let listed = standing.map(|standing| Listed { standing, groups, acl: None });
                Contact { user_id: user(at), listed, observer }
            }).collect();
            prop_assert_eq!(f.client.contacts(), &expected[..]);
            prop_assert_eq!(view.values().cloned().collect::<Vec<_>>(), expected);
        }
    }
}
