//! No client shows more than its server knows, though rooms grow beyond the limit and shrink, people change back and
//! forth with whom they share, and the server restarts, all between two looks of a client.

use pilotlight::server::Config;
use serde_json::json;

use super::{
    contacts::told,
    ghosts::{known, share},
    support::{Client, TestServer},
    sync::{Reader, room_of, same},
};

fn limited(most: u32) -> impl Fn(&mut Config) {
    move |config| {
        config.rate_limits.enabled = false;
        config.presence.max_room_members = most;
    }
}

fn act(who: &Client, room: &str, what: &str) {
    let path = match what {
        "join" => format!("/_matrix/client/v3/join/{room}"),
        _ => format!("/_matrix/client/v3/rooms/{room}/{what}"),
    };
    who.post(&path, json!({})).ok();
}

fn busy(who: &Client) {
    let path = format!("/_matrix/client/v3/presence/{}/status", who.user);
    who.put(&path, json!({ "presence": "busy" })).ok();
}

/// Asks as a client that shows nobody that it is there.
fn reader(client: &Client) -> Reader {
    Reader::with(client, "&set_presence=offline")
}

#[test]
fn l2_who_changes_back_and_forth_with_whom_they_share_is_shown_as_they_are_known() {
    let server = TestServer::driven_with(limited(0));
    let bob = server.register("bob");
    let (rooms, list, nobody) = ("shared_rooms", "list", "nobody");
    let ways: [&[&str]; 12] = [
        &[list, rooms],
        &[list, rooms, list],
        &[nobody, rooms, nobody],
        &[list, rooms, nobody],
        &[nobody, rooms, list],
        &[list, nobody],
        &[nobody, list],
        &[list, nobody, rooms, list],
        &[list, nobody, rooms, nobody],
        &[nobody, rooms, nobody, rooms],
        &[list, rooms, list, rooms, list, rooms, list, rooms, list, rooms, list],
        &[list, rooms, list, rooms, list, rooms, list, rooms, list, rooms],
    ];
    for (n, way) in ways.into_iter().enumerate() {
        let alice = server.register(&format!("alice{n}"));
        room_of(&alice, &[&bob]);
        busy(&alice);
        let mut bobs = reader(&bob);
        way.iter().for_each(|with| share(&alice, with));
        server.settle();
        let told = told(&bobs.now(), &alice);
        if way.last() == Some(&rooms) {
            assert!(told.iter().all(|state| state == "busy"), "{way:?}: {told:?}");
        } else {
            assert_eq!(told, ["unknown"], "{way:?}");
        }
    }
}

/// Alice and Bob share a small room; what happens next is not seen by Bob, who goes on after a restart.
fn goes_on_after_a_restart(before: u32, after: u32, between: impl Fn(&Client, &Client, &Client, &str)) {
    let server = TestServer::driven_with(limited(before));
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| server.register(name));
    let room = room_of(&alice, &[&bob]);
    busy(&alice);
    let bobs = reader(&bob);
    between(&alice, &bob, &carol, &room);
    let server = server.restart_with(limited(after));
    let mut bobs = Reader { client: same(&server, &bob), ..bobs };
    assert_eq!(told(&bobs.now(), &alice), ["unknown"]);
    assert_eq!(told(&bobs.now(), &alice), Vec::<String>::new(), "once");
    assert_eq!(known(&bobs.client, &alice.user), "unknown");
}

#[test]
fn l6_a_room_that_outgrew_the_limit_shows_nobody_to_a_client_from_before_the_restart() {
    goes_on_after_a_restart(2, 2, |_, _, carol, room| act(carol, room, "join"));
    goes_on_after_a_restart(2, 2, |_, bob, carol, room| {
        act(bob, room, "leave");
        act(carol, room, "join");
        act(bob, room, "join");
    });
}

#[test]
fn l6_a_limit_that_is_set_at_a_restart_holds_for_a_client_from_before() {
    goes_on_after_a_restart(0, 1, |_, _, _, _| {});
    goes_on_after_a_restart(3, 2, |_, _, carol, room| act(carol, room, "join"));
}

#[test]
fn l6_who_of_a_room_that_outgrows_the_limit_comes_into_another_room_is_lost_from_sight() {
    let server = TestServer::driven_with(limited(3));
    let [alice, bob] = ["alice", "bob"].map(|name| server.register(name));
    let others = ["b", "c", "x", "y"].map(|name| server.register(name));
    let [b, c, x, y] = &others;
    busy(&alice);
    // Whichever of the two rooms comes first.
    for _ in 0..6 {
        let (small, large) = (room_of(&alice, &[&bob, b]), room_of(c, &[&bob, x, y]));
        let mut bobs = reader(&bob);
        act(&alice, &large, "join");
        act(x, &small, "join");
        assert_eq!(told(&bobs.now(), &alice), ["unknown"]);
        [&alice, x, b].into_iter().for_each(|user| act(user, &small, "leave"));
    }
}
