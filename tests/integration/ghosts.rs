//! No client shows more than its server knows: clients that go on with old tokens over restarts of their own server
//! and of others, over changes of who may see whom, and over times in which they want no presence, or only that of some.

use std::{collections::BTreeMap, time::Duration};

use pilotlight::core::rng::Rng;
use serde_json::{Value, json};

use super::{
    authority::Authority,
    contacts::{OURS, told},
    driven::Time,
    presence::status_path,
    presence_behind::filtered,
    support::{Client, Stopped, TestServer, times},
    sync::{Reader, create_room, room_of, same},
    watching::{PROMISE, Pair, WINDOW, observe},
};

/// What GET status says of a user: nothing is known of whom one may not see.
pub fn known(client: &Client, user: &str) -> String {
    let answer = client.get(&status_path(user));
    let state = answer.body["org.pilotlight.presence"]["state"].as_str();
    if answer.status == 403 { "unknown".to_owned() } else { state.expect("a state").to_owned() }
}

pub fn share(who: &Client, with: &str) {
    who.put(&format!("{OURS}/settings/{}", who.user), json!({ "share": with })).ok();
}

fn go_on(server: &TestServer, reader: Reader) -> Reader {
    Reader { client: same(server, &reader.client), ..reader }
}

/// Bob of the second server, who sees Alice of the first online and has a reader that was told so.
fn across(with: &str) -> (Pair, Client, Reader) {
    let pair = Pair::new();
    let (alice, bob) = (pair.a.register("alice"), pair.b.register("bob"));
    observe(&pair.b, &bob.user, &pair.a, &alice.user);
    let mut bobs = Reader::with(&bob, with);
    let _alices = Reader::new(&alice);
    pair.time.pass(WINDOW);
    assert_eq!(told(&bobs.now(), &alice).last().map(String::as_str), Some("online"));
    (pair, alice, bobs)
}

#[test]
fn who_is_of_a_server_that_died_is_unknown_to_a_client_that_goes_on_after_a_restart_of_its_own() {
    for with in ["", "&full_state=true"] {
        let (Pair { ca: _ca, time, a, b, .. }, alice, bobs) = across(with);
        let gone = a.stop();
        let b = b.stop().start();
        let mut bobs = go_on(&b, bobs);
        let first = bobs.now();
        assert_eq!(told(&first, &alice), ["unknown"], "{with}");
        assert_eq!(told(&bobs.now(), &alice), Vec::<String>::new(), "once");
        assert_eq!(known(&bobs.client, &alice.user), "unknown");
        // And again: neither run of the server has heard anything.
        let b = b.stop().start();
        let mut bobs = go_on(&b, bobs);
        assert_eq!(told(&bobs.now(), &alice), ["unknown"]);
        let _a = gone.start();
        time.pass(PROMISE);
        bobs.now();
        time.pass(WINDOW);
        assert_eq!(told(&bobs.now(), &alice), ["offline"]);
    }
}

#[test]
fn who_stops_to_share_while_the_other_server_is_down_is_unknown_to_a_client_that_goes_on() {
    let (Pair { ca: _ca, time, a, b, .. }, alice, bobs) = across("");
    let down = b.stop();
    share(&alice, "nobody");
    let a = a.stop().start();
    let alice = same(&a, &alice);
    Reader::new(&alice);
    time.pass(PROMISE);
    let b = down.start();
    let mut bobs = go_on(&b, bobs);
    assert_eq!(told(&bobs.now(), &alice), ["unknown"]);
    time.pass(PROMISE);
    assert_eq!(told(&bobs.now(), &alice), Vec::<String>::new());
    assert_eq!(known(&bobs.client, &alice.user), "unknown");
}

#[test]
fn who_shared_a_room_with_fewer_and_left_it_is_unknown_to_a_client_from_before_the_restart() {
    let server = TestServer::driven();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let room = room_of(&alice, &[&bob]);
    Reader::new(&alice);
    let mut bobs = Reader::new(&bob);
    bobs.now();
    share(&alice, "list");
    alice.post(&format!("/_matrix/client/v3/rooms/{room}/leave"), json!({})).ok();
    let server = server.restart();
    let mut bobs = go_on(&server, bobs);
    assert_eq!(told(&bobs.now(), &alice), ["unknown"]);
}

#[test]
fn a_client_with_a_token_of_another_database_is_told_whom_it_cannot_see() {
    let server = TestServer::driven();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    super::contacts::add(&bob, &alice);
    let mut bobs = Reader { client: bob, since: "p999999_1".to_owned(), with: String::new() };
    assert_eq!(told(&bobs.now(), &alice), ["unknown"], "the token is from when she was seen");
}

#[test]
fn whoever_was_never_connected_in_this_database_is_offline_to_a_client_that_goes_on() {
    let server = TestServer::driven();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    room_of(&alice, &[&bob]);
    let bobs = Reader::new(&bob);
    let server = server.restart();
    let mut bobs = go_on(&server, bobs);
    assert_eq!(told(&bobs.now(), &alice), ["offline"], "what was shown may have been lost in a crash");
    assert_eq!(known(&bobs.client, &alice.user), "offline");
}

#[test]
fn a_token_ahead_of_the_log_acknowledges_no_messages_to_the_device() {
    let server = TestServer::driven();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let mut bobs = Reader::new(&bob);
    let path = "/_matrix/client/v3/sendToDevice/org.x.test/1";
    alice.put(path, json!({ "messages": { &bob.user: { &bob.device: { "n": 1 } } } })).ok();
    let after = server.app().store.log_position().get();
    for ahead in [format!("p{}_1", after + 1), format!("p999999_1_{after}"), format!("p{after}_1_999999")] {
        bobs.since = ahead;
        let events = bobs.now()["to_device"]["events"].clone();
        assert_eq!(events[0]["content"]["n"], 1, "{events}");
    }
    bobs.now();
    assert_eq!(bobs.now()["to_device"], Value::Null, "its own token acknowledges them");
}

/// One of two servers, which may be down.
enum Site {
    Up(TestServer),
    Down(Stopped),
    /// In between.
    Moving,
}

/// A client that merges what it is told, as Matrix clients do, and goes on from its token whatever happens.
struct Shows {
    client: Client,
    site: usize,
    since: String,
    states: BTreeMap<String, String>,
    /// Whether the delivery of presence was not stopped.
    delivers: bool,
}

impl Shows {
    /// Whether this told of anybody.
    fn sync(&mut self, server: &TestServer, with: &str) -> bool {
        let client = same(server, &self.client);
        let mut reader = Reader { client, since: self.since.clone(), with: with.to_owned() };
        let answer = reader.now();
        self.since = reader.since;
        let events = answer["presence"]["events"].as_array().cloned().unwrap_or_default();
        for event in &events {
            let state = event["content"]["org.pilotlight.presence"]["state"].as_str().expect("a state");
            self.states.insert(event["sender"].as_str().expect("a sender").to_owned(), state.to_owned());
        }
        !events.is_empty()
    }
}

fn up(site: &Site) -> Option<&TestServer> {
    match site {
        Site::Up(server) => Some(server),
        Site::Down(_) | Site::Moving => None,
    }
}

struct World {
    seed: u64,
    rng: Rng,
    time: Time,
    _ca: Authority,
    sites: [Site; 2],
    /// Two of each server.
    shows: Vec<Shows>,
    rooms: [String; 2],
}

impl World {
    fn new(seed: u64) -> Self {
        let Pair { ca, time, a, b, .. } = Pair::new();
        let names = |server: &TestServer| ["one", "two"].map(|name| server.register(name));
        let clients = [names(&a), names(&b)];
        let rooms = [&clients[0], &clients[1]].map(|[one, two]| room_of(one, &[two]));
        for (here, there) in [((&a, &clients[0]), (&b, &clients[1])), ((&b, &clients[1]), (&a, &clients[0]))]
        {
            for (near, far) in here.1.iter().flat_map(|near| there.1.iter().map(move |far| (near, far))) {
                observe(here.0, &near.user, there.0, &far.user);
            }
        }
        let shows = clients.into_iter().enumerate().flat_map(|(site, clients)| {
            let (since, states, delivers) = (String::new(), BTreeMap::new(), true);
            clients.map(|client| Shows {
                client,
                site,
                since: since.clone(),
                states: states.clone(),
                delivers,
            })
        });
        let shows = shows.collect();
        let sites = [Site::Up(a), Site::Up(b)];
        Self { seed, rng: Rng::new(seed), time, _ca: ca, sites, shows, rooms }
    }

    fn below(&mut self, bound: u64) -> usize {
        usize::try_from(self.rng.range(0..bound)).expect("small")
    }

    fn step(&mut self) -> String {
        let (who, site) = (self.below(4), self.below(2));
        match self.below(15) {
            0..4 => self.look(who),
            4 => self.put(who, &["online", "busy", "hidden", "offline", "free_for_chat"]),
            5 => self.settings(who),
            6 => self.answer(who),
            7 => self.room(site),
            8 => {
                self.sites[site] = match std::mem::replace(&mut self.sites[site], Site::Moving) {
                    Site::Up(server) => Site::Down(server.stop()),
                    Site::Down(stopped) => Site::Up(stopped.start()),
                    Site::Moving => unreachable!("is moved here only"),
                };
                format!("{site} stops or starts")
            }
            9 => {
                self.sites[site] = match std::mem::replace(&mut self.sites[site], Site::Moving) {
                    Site::Up(server) => Site::Up(server.stop().start()),
                    other => other,
                };
                format!("{site} restarts")
            }
            10 => self.glance(who),
            11 => {
                let wanted = !self.shows[who].delivers;
                self.deliver(who, wanted)
            }
            12 => self.room(site),
            _ => {
                let seconds = [1, 9, 31, 70, 130][self.below(5)];
                self.time.pass(Duration::from_secs(seconds));
                format!("{seconds} s pass")
            }
        }
    }

    fn server(&self, site: usize) -> Option<&TestServer> {
        up(&self.sites[site])
    }

    fn put(&mut self, who: usize, states: &[&str]) -> String {
        let state = states[self.below(states.len() as u64)];
        let Shows { client, site, .. } = &self.shows[who];
        if let Some(server) = self.server(*site) {
            same(server, client).put(&status_path(&client.user), json!({ "presence": state })).ok();
        }
        format!("{who} chooses {state}")
    }

    fn settings(&mut self, who: usize) -> String {
        let times = 1 + self.below(4);
        let with: Vec<_> = (0..times).map(|_| ["nobody", "list", "shared_rooms"][self.below(3)]).collect();
        let Shows { client, site, .. } = &self.shows[who];
        if let Some(server) = self.server(*site) {
            with.iter().for_each(|with| share(&same(server, client), with));
        }
        format!("{who} shares with {with:?}")
    }

    fn answer(&mut self, who: usize) -> String {
        let (other, word) = (self.below(4), ["revoke", "accept"][self.below(2)]);
        let (me, you) = (&self.shows[who], &self.shows[other]);
        if me.site != you.site
            && let Some(server) = self.server(me.site)
        {
            // Refused where there is nothing to answer.
            let path = format!("{OURS}/requests/{}/{}", me.client.user, you.client.user);
            same(server, &me.client).post(&path, json!({ "answer": word }));
        }
        format!("{who} answers {other}: {word}")
    }

    /// A client asks once for the presence of some only, or of nobody.
    fn glance(&mut self, who: usize) -> String {
        let (other, which) = (self.below(4), self.below(4));
        let other = self.shows[other].client.user.clone();
        let filters = [
            r#"{"types":[]}"#.to_owned(),
            r#"{"limit":0}"#.to_owned(),
            format!(r#"{{"senders":["{other}"]}}"#),
            format!(r#"{{"not_senders":["{other}"]}}"#),
        ];
        let filter = &filters[which];
        if let Some(server) = up(&self.sites[self.shows[who].site]) {
            self.time.settle();
            self.shows[who].sync(server, &filtered(filter));
        }
        format!("{who} glances with {filter}")
    }

    fn deliver(&mut self, who: usize, enabled: bool) -> String {
        let Shows { client, site, delivers, .. } = &mut self.shows[who];
        if let Some(server) = up(&self.sites[*site]) {
            let path = format!("{OURS}/{}/delivery", client.user);
            same(server, client).put(&path, json!({ "enabled": enabled })).ok();
            *delivers = enabled;
        }
        format!("{who} wants presence: {enabled}")
    }

    /// The second user of a site leaves the room of both, is thrown out, or comes back.
    fn room(&mut self, site: usize) -> String {
        let (room, [one, two]) = (self.rooms[site].clone(), [site * 2, site * 2 + 1]);
        let way = self.below(3);
        if let Some(server) = self.server(site) {
            let [one, two] = [one, two].map(|who| same(server, &self.shows[who].client));
            let path = |act: &str| format!("/_matrix/client/v3/rooms/{room}/{act}");
            let body = json!({ "user_id": two.user });
            if two.get(&path("joined_members")).status == 200 {
                match way {
                    0 => two.post(&path("leave"), json!({})).ok(),
                    1 => one.post(&path("kick"), body).ok(),
                    _ => one.post(&path("ban"), body).ok(),
                };
            } else {
                // Refused where nobody was banned.
                one.post(&path("unban"), body);
                two.post(&format!("/_matrix/client/v3/join/{room}"), json!({})).ok();
            }
        }
        format!("{site}: the room")
    }

    /// A client asks until it is told no more: then it shows of everybody what its server knows, or nothing where
    /// nothing is known.
    fn look(&mut self, who: usize) -> String {
        let site = self.shows[who].site;
        let Some(server) = up(&self.sites[site]) else { return format!("{who} is cut off") };
        loop {
            self.time.settle();
            if !self.shows[who].sync(server, "") {
                break;
            }
        }
        if !self.shows[who].delivers {
            return format!("{who} looks, and wants no presence");
        }
        let client = same(server, &self.shows[who].client);
        for other in (0..4).filter(|other| *other != who) {
            let user = &self.shows[other].client.user;
            let shown = self.shows[who].states.get(user).map_or("unknown", String::as_str);
            let known = known(&client, user);
            // Of who was never seen connected a first sync says nothing.
            let same = shown == known || (shown == "unknown" && known == "offline");
            assert!(same, "seed {}: {who} shows {user} as {shown}, and its server knows {known}", self.seed);
        }
        format!("{who} looks")
    }
}

#[test]
fn no_client_shows_more_than_its_server_knows_whatever_restarts_whoever_stops_to_share_and_whoever_looks_away()
 {
    for seed in 0..4 * times() as u64 {
        let mut world = World::new(seed);
        let mut done = Vec::new();
        for who in 0..4 {
            done.push(world.look(who));
        }
        for _ in 0..40 {
            let step = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| world.step()));
            match step {
                Ok(step) => done.push(step),
                Err(panic) => {
                    eprintln!("seed {seed}, after:\n{}", done.join("\n"));
                    std::panic::resume_unwind(panic);
                }
            }
        }
        // Everything comes up again, and comes to rest.
        for site in 0..2 {
            world.sites[site] = match std::mem::replace(&mut world.sites[site], Site::Moving) {
                Site::Down(stopped) => Site::Up(stopped.start()),
                up => up,
            };
        }
        world.time.pass(PROMISE * 2);
        for who in 0..4 {
            world.deliver(who, true);
            world.look(who);
        }
    }
}

#[test]
fn a_room_that_is_joined_over_a_restart_shows_who_is_there() {
    let server = TestServer::driven();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let room = create_room(&alice, json!({ "preset": "public_chat" }));
    Reader::new(&alice);
    let bobs = Reader::new(&bob);
    bob.post(&format!("/_matrix/client/v3/join/{room}"), json!({})).ok();
    let server = server.restart();
    let mut bobs = go_on(&server, bobs);
    assert_eq!(told(&bobs.now(), &alice), ["online"], "held for the grace of a restart");
}
