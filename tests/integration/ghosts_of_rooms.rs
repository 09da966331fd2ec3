//! No client shows more than its server knows, though rooms grow beyond the limit and shrink, people change back and
//! forth with whom they share, and the server restarts, all between two looks of a client.

use std::collections::BTreeMap;

use pilotlight::{core::rng::Rng, server::Config};
use serde_json::json;

use super::{
    contacts::{OURS, list_path, told},
    ghosts::{known, share},
    presence_behind::filtered,
    support::{Client, TestServer, times},
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

/// A client that merges what it is told.
#[derive(Clone)]
struct Shows {
    since: String,
    states: BTreeMap<String, String>,
}

/// Six users in three rooms, of whom two have a client that looks now and then.
struct World {
    seed: u64,
    rng: Rng,
    server: Option<TestServer>,
    users: Vec<Client>,
    rooms: Vec<String>,
    shows: [Shows; 2],
    /// What the clients showed earlier, and can go back to.
    kept: Vec<(usize, Shows)>,
    done: Vec<String>,
}

impl World {
    fn new(seed: u64) -> Self {
        let server = TestServer::driven_with(limited(3));
        let users: Vec<_> = (0..6).map(|n| server.register(&format!("u{n}"))).collect();
        let rooms = (0..3).map(|n| room_of(&users[n], &[&users[n + 1]])).collect();
        let shows = [(); 2].map(|()| Shows { since: String::new(), states: BTreeMap::new() });
        users.iter().for_each(busy);
        let (rng, kept, done) = (Rng::new(seed), Vec::new(), Vec::new());
        Self { seed, rng, server: Some(server), users, rooms, shows, kept, done }
    }

    fn below(&mut self, bound: u64) -> usize {
        usize::try_from(self.rng.range(0..bound)).expect("small")
    }

    fn step(&mut self) {
        let (who, other, room) = (self.below(6), self.below(6), self.below(3));
        let (user, room) = (self.users[who].clone(), self.rooms[room].clone());
        let whom = self.users[other].user.clone();
        let done = match self.below(24) {
            0..5 => {
                user.post(&format!("/_matrix/client/v3/join/{room}"), json!({}));
                format!("{who} joins {room}")
            }
            5..8 => {
                // A room that everybody left would be gone.
                let members = user.get(&format!("/_matrix/client/v3/rooms/{room}/joined_members"));
                if members.body["joined"].as_object().is_some_and(|joined| joined.len() > 1) {
                    act(&user, &room, "leave");
                }
                format!("{who} leaves {room}")
            }
            8..13 => {
                let times = 1 + self.below(5);
                let with: Vec<_> =
                    (0..times).map(|_| ["nobody", "list", "shared_rooms"][self.below(3)]).collect();
                with.iter().for_each(|with| share(&user, with));
                format!("{who} shares with {with:?}")
            }
            13 => {
                // Refused of oneself.
                user.post(&list_path(&user), json!({ "invite": [whom] }));
                format!("{who} asks {other}")
            }
            14..16 => {
                let word = ["accept", "revoke", "deny"][self.below(3)];
                user.post(&format!("{OURS}/requests/{}/{whom}", user.user), json!({ "answer": word }));
                format!("{who} answers {other}: {word}")
            }
            16 => {
                let ignored = if self.below(2) == 0 { json!({}) } else { json!({ whom: {} }) };
                let path = format!("/_matrix/client/v3/user/{}/account_data/m.ignored_user_list", user.user);
                user.put(&path, json!({ "ignored_users": ignored })).ok();
                format!("{who} ignores {ignored}")
            }
            17 => {
                let most = [0, 2, 3, 3][self.below(4)];
                let server = self.server.take().expect("it is up").restart_with(limited(most));
                self.users = self.users.iter().map(|user| same(&server, user)).collect();
                self.server = Some(server);
                format!("restart, with at most {most}")
            }
            18 => {
                let filter = ["{\"types\":[]}".to_owned(), format!("{{\"senders\":[\"{whom}\"]}}")];
                let filter = &filter[self.below(2)];
                self.sync(who % 2, &filtered(filter));
                format!("{} glances: {filter}", who % 2)
            }
            19 => {
                self.kept.push((who % 2, self.shows[who % 2].clone()));
                format!("{} is kept", who % 2)
            }
            20 if !self.kept.is_empty() => {
                let at = self.below(self.kept.len() as u64);
                let (reader, shows) = self.kept[at].clone();
                self.shows[reader] = shows;
                format!("{reader} goes back to {}", self.shows[reader].since)
            }
            _ => {
                self.look(who % 2);
                format!("{} looks", who % 2)
            }
        };
        self.done.push(done);
    }

    /// Whether this told of anybody.
    fn sync(&mut self, who: usize, with: &str) -> bool {
        self.server.as_ref().expect("it is up").settle();
        let shows = &mut self.shows[who];
        let with = format!("&set_presence=offline{with}");
        let mut reader = Reader { client: self.users[who].clone(), since: shows.since.clone(), with };
        let answer = reader.now();
        shows.since = reader.since;
        let events = answer["presence"]["events"].as_array().cloned().unwrap_or_default();
        for event in &events {
            let state = event["content"]["org.pilotlight.presence"]["state"].as_str().expect("a state");
            shows.states.insert(event["sender"].as_str().expect("a sender").to_owned(), state.to_owned());
        }
        !events.is_empty()
    }

    fn look(&mut self, who: usize) {
        while self.sync(who, "") {}
        for user in self.users.iter().enumerate().filter(|(n, _)| *n != who).map(|(_, user)| &user.user) {
            let shown = self.shows[who].states.get(user).map_or("unknown", String::as_str);
            let known = known(&self.users[who], user);
            // Of who was never seen connected a first sync says nothing.
            let same = shown == known || (shown == "unknown" && known == "offline");
            let (seed, done) = (self.seed, self.done.join("\n"));
            assert!(same, "seed {seed}: {who} shows {user} as {shown}, known is {known}, after:\n{done}");
        }
    }
}

#[test]
fn no_client_shows_more_than_its_server_knows_however_rooms_grow_and_people_change_their_minds() {
    for seed in 0..6 * times() as u64 {
        let mut world = World::new(seed);
        (0..2).for_each(|who| world.look(who));
        (0..80).for_each(|_| world.step());
        (0..2).for_each(|who| world.look(who));
    }
}
