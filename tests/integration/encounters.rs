//! Whom a client that was away met and parted from: the same from memory, after a gap that memory does not reach back
//! over, and after a restart.

use serde_json::{Value, json};

use super::{
    contacts::told,
    ghosts::known,
    support::{Client, TestServer},
    sync::{Reader, create_room, same, send},
};

/// What happens between two looks of the reader besides.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Gap {
    Short,
    /// More than is held in memory.
    Long,
    Restart,
}

/// A room, whose owner and alice act, and bob reads.
struct World {
    owner: Client,
    alice: Client,
    bobs: Reader,
    room: String,
    /// What bob was told of alice at first.
    first: Vec<String>,
}

impl World {
    fn new(server: &TestServer, n: usize, is_there: bool) -> Self {
        let [owner, alice, bob] =
            ["owner", "alice", "bob"].map(|name| server.register(&format!("{name}{n}")));
        let room = create_room(&owner, json!({ "preset": "public_chat" }));
        let join = format!("/_matrix/client/v3/join/{room}");
        bob.post(&join, json!({})).ok();
        if is_there {
            alice.post(&join, json!({})).ok();
        }
        let status = format!("/_matrix/client/v3/presence/{}/status", alice.user);
        alice.put(&status, json!({ "presence": "busy" })).ok();
        server.settle();
        let with = "&set_presence=offline".to_owned();
        let mut bobs = Reader { client: bob, since: String::new(), with };
        let first = told(&bobs.now(), &alice);
        assert_eq!(first.is_empty(), !is_there);
        Self { owner, alice, bobs, room, first }
    }

    fn act(&self, what: &str) {
        let Self { owner, alice, room, .. } = self;
        let path = |what: &str| format!("/_matrix/client/v3/rooms/{room}/{what}");
        let whom = json!({ "user_id": alice.user });
        match what {
            "join" | "leave" => alice.post(&path(what), json!({})).ok(),
            "kick" | "ban" | "invite" => owner.post(&path(what), whom).ok(),
            "knock" => {
                owner.put(&path("state/m.room.join_rules"), json!({ "join_rule": "knock" })).ok();
                alice.post(&format!("/_matrix/client/v3/knock/{room}"), json!({})).ok()
            }
            "rename" => {
                let name = json!({ "membership": "join", "displayname": "another" });
                alice.put(&path(&format!("state/m.room.member/{}", alice.user)), name).ok()
            }
            _ => unreachable!(),
        };
    }
}

fn names(list: &Value, user: &Client) -> bool {
    list.as_array().is_some_and(|list| list.contains(&json!(user.user)))
}

#[test]
fn l2_whatever_became_of_members_in_a_gap_the_reader_knows_whom_they_met_and_parted_from() {
    // Whether alice is there before, what happens; whether she is met, or parted from.
    let cases: [(bool, &[&str], bool, bool); 10] = [
        (true, &["rename"], false, false),
        (true, &["leave"], false, true),
        (true, &["rename", "ban"], false, true),
        (true, &["kick", "invite"], false, true),
        (true, &["leave", "knock"], false, true),
        (true, &["leave", "join", "rename"], true, false),
        (false, &["invite"], false, false),
        (false, &["join"], true, false),
        (false, &["join", "rename", "rename"], true, false),
        (false, &["knock", "invite", "join", "rename"], true, false),
    ];
    for gap in [Gap::Short, Gap::Long, Gap::Restart] {
        let mut server = TestServer::driven_with(|config| config.rate_limits.enabled = false);
        let world = |(n, (is_there, ..)): (usize, &(bool, _, _, _))| World::new(&server, n, *is_there);
        let mut worlds: Vec<_> = cases.iter().enumerate().map(world).collect();
        for (world, (_, acts, ..)) in worlds.iter().zip(&cases) {
            acts.iter().for_each(|what| world.act(what));
        }
        match gap {
            Gap::Short => {}
            Gap::Long => (0..80).for_each(|n| {
                send(&worlds[0].owner, &worlds[0].room, &n.to_string(), &"x".repeat(60_000));
            }),
            Gap::Restart => {
                server = server.restart();
                for world in &mut worlds {
                    world.bobs.client = same(&server, &world.bobs.client);
                }
            }
        }
        server.settle();
        for (mut world, (is_there, acts, is_met, is_parted_from)) in worlds.into_iter().zip(cases) {
            let case = format!("{is_there} {acts:?} {gap:?}");
            let answer = world.bobs.now();
            let lists = &answer["device_lists"];
            assert_eq!(names(&lists["changed"], &world.alice), is_met, "{case}: {lists}");
            assert_eq!(names(&lists["left"], &world.alice), is_parted_from, "{case}: {lists}");
            let now = told(&answer, &world.alice);
            let shown = now.last().or(world.first.last()).map_or("unknown", String::as_str);
            assert_eq!(shown, known(&world.bobs.client, &world.alice.user), "{case}");
            if gap != Gap::Restart && !is_met && !is_parted_from {
                assert!(now.is_empty(), "{case}: nothing of that is new");
            }
        }
    }
}
