//! How people come into rooms and go: the same by an endpoint of its own and by a member event that a client writes.

use serde_json::{Value, json};

use super::{
    support::{Answer, Client, TestServer},
    sync::{Reader, create_room, joined, room_of},
};

/// By which road somebody does something to a membership.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Road {
    Endpoint,
    State,
}

const ROADS: [Road; 2] = [Road::Endpoint, Road::State];

fn member_path(room: &str, user: &str) -> String {
    format!("/_matrix/client/v3/rooms/{room}/state/m.room.member/{user}")
}

impl Road {
    fn join(self, who: &Client, room: &str, content: &Value) -> Answer {
        match self {
            Self::Endpoint => who.post(&format!("/_matrix/client/v3/rooms/{room}/join"), content.clone()),
            Self::State => {
                let mut content = content.clone();
                content["membership"] = json!("join");
                who.put(&member_path(room, &who.user), content)
            }
        }
    }

    /// `deed` is the endpoint's name.
    fn act(self, who: &Client, room: &str, deed: &str, target: &Client) -> Answer {
        let membership = if deed == "ban" { "ban" } else { "leave" };
        match (self, deed) {
            (Self::State, _) => {
                who.put(&member_path(room, &target.user), json!({ "membership": membership }))
            }
            (Self::Endpoint, "leave") => {
                who.post(&format!("/_matrix/client/v3/rooms/{room}/leave"), json!({}))
            }
            (Self::Endpoint, _) => {
                let path = format!("/_matrix/client/v3/rooms/{room}/{deed}");
                who.post(&path, json!({ "user_id": target.user }))
            }
        }
    }
}

#[test]
fn what_is_kept_for_a_room_follows_who_comes_into_the_one_that_replaces_it_on_every_road() {
    let server = TestServer::start_with(|config| config.rate_limits.enabled = false);
    let alice = server.register("alice");
    for (road, name) in ROADS.into_iter().zip(["bob", "carol"]) {
        let bob = server.register(name);
        let old = room_of(&alice, &[&bob]);
        let own = |rest: &str| format!("/_matrix/client/v3/user/{}/{rest}", bob.user);
        bob.put(&own(&format!("rooms/{old}/tags/m.favourite")), json!({ "order": 0.5 })).ok();
        bob.put(&own("account_data/m.direct"), json!({ alice.user.clone(): [old] })).ok();
        let rule = |room: &str| format!("/_matrix/client/v3/pushrules/global/room/{room}");
        bob.put(&rule(&old), json!({ "actions": [] })).ok();
        let upgrade = format!("/_matrix/client/v3/rooms/{old}/upgrade");
        let new = alice.post(&upgrade, json!({ "new_version": "11" })).ok()["replacement_room"].clone();
        let new = new.as_str().expect("an ID");
        road.join(&bob, new, &json!({})).ok();
        let tags = bob.get(&own(&format!("rooms/{new}/tags"))).ok();
        assert_eq!(tags["tags"], json!({ "m.favourite": { "order": 0.5 } }), "{road:?}");
        let direct = bob.get(&own("account_data/m.direct")).ok();
        assert_eq!(direct, json!({ alice.user.clone(): [old, new] }), "{road:?}");
        assert_eq!(bob.get(&rule(new)).ok()["actions"], json!([]), "{road:?}");
    }
}

#[test]
fn a_member_event_by_which_somebody_comes_in_is_the_one_that_a_join_makes() {
    let server = TestServer::start_with(|config| config.rate_limits.enabled = false);
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| server.register(name));
    let space = room_of(&alice, &[&bob]);
    let rule =
        json!({ "join_rule": "restricted", "allow": [{ "type": "m.room_membership", "room_id": space }] });
    let initial = json!([{ "type": "m.room.join_rules", "content": rule }]);
    let own = json!({ "org.example.x": 1, "displayname": 5, "third_party_signed": {}, "reason": "tea",
                      "join_authorised_via_users_server": carol.user });
    for road in ROADS {
        let room = create_room(&alice, json!({ "initial_state": initial }));
        road.join(&bob, &room, &own).ok();
        let content = bob.get(&member_path(&room, &bob.user)).ok();
        let expected = json!({ "membership": "join", "displayname": "bob", "org.example.x": 1, "reason": "tea",
                               "join_authorised_via_users_server": alice.user });
        assert_eq!(content, expected, "{road:?}");
        road.join(&carol, &room, &own).refused(403, "M_FORBIDDEN");
        road.join(&carol, &room, &json!({ "reason": 5 })).refused(400, "M_BAD_JSON");
        // Who is in the room may call themselves something else there.
        let path = member_path(&room, &bob.user);
        bob.put(&path, json!({ "membership": "join", "displayname": "Robert" })).ok();
        assert_eq!(bob.get(&path).ok()["displayname"], "Robert");
    }
}

#[test]
fn who_is_not_there_is_put_out_on_no_road_and_who_is_banned_let_in_on_each() {
    let server = TestServer::start_with(|config| config.rate_limits.enabled = false);
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| server.register(name));
    for road in ROADS {
        let room = room_of(&alice, &[&bob]);
        let membership = |who: &Client| {
            let answer = alice.get(&member_path(&room, &who.user));
            answer.body["membership"].as_str().unwrap_or_default().to_owned()
        };
        for (by, deed, target, status, becomes) in [
            (&alice, "kick", &carol, 403, ""),
            (&bob, "kick", &alice, 403, "join"),
            (&carol, "leave", &carol, 403, ""),
            (&alice, "kick", &bob, 200, "leave"),
            (&alice, "ban", &carol, 200, "ban"),
            (&alice, "unban", &carol, 200, "leave"),
            (&alice, "ban", &bob, 200, "ban"),
            (&bob, "leave", &bob, 403, "ban"),
        ] {
            let answer = road.act(by, &room, deed, target);
            assert_eq!(answer.status, status, "{road:?} {deed}: {}", answer.text);
            assert_eq!(membership(target), becomes, "{road:?} {deed}");
        }
        // The same state set again stays the event it is.
        let again = || alice.put(&member_path(&room, &carol.user), json!({ "membership": "leave" })).ok();
        assert_eq!(again(), again());
    }
}

#[test]
fn who_is_gone_types_no_longer_on_whichever_road_they_went() {
    let server = TestServer::start_with(|config| config.rate_limits.enabled = false);
    let [alice, bob] = ["alice", "bob"].map(|name| server.register(name));
    for road in ROADS {
        for (deed, by) in [("leave", &bob), ("kick", &alice), ("ban", &alice)] {
            let room = room_of(&alice, &[&bob]);
            let typing = format!("/_matrix/client/v3/rooms/{room}/typing/{}", bob.user);
            bob.put(&typing, json!({ "typing": true, "timeout": 60_000 })).ok();
            let mut reader = Reader::new(&alice);
            road.act(by, &room, deed, &bob).ok();
            let told = reader.now();
            let notices = &joined(&told, &room)["ephemeral"]["events"];
            assert_eq!(notices[0]["content"]["user_ids"], json!([]), "{road:?} {deed}: {told}");
            bob.put(&typing, json!({ "typing": true, "timeout": 60_000 })).refused(403, "M_FORBIDDEN");
        }
    }
}
