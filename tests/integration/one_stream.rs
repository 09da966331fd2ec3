//! One reader, every form: whoever reads by `/sync`, by `/events`, by sliding sync or by the held stream, whenever they look, are cut off
//! and go on from where they were, knows the same in the end, and was told nothing that they may not see.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use pilotlight::core::rng::Rng;
use serde_json::{Value, json};

use super::{
    contacts::OURS,
    event_stream::Follower,
    folded::Known,
    ghosts::known,
    sliding_reader::SlidingReader,
    streamed::{Held, STREAM, Told},
    support::{Client, TestServer, times},
    sync::{Reader, same},
};

const USERS: usize = 4;

const ROOMS: &str = "/_matrix/client/v3/rooms";

/// Acts of one thread in one burst.
const ACTS: u64 = 25;

/// How long, of real time, readers may take to know the same.
const PATIENCE: Duration = Duration::from_secs(8);

/// One device that changes between the held stream and `/sync`.
struct Changing {
    client: Client,
    held: Option<Held>,
    /// What came since the last `id`.
    open: Vec<Told>,
    now: (String, Known),
    /// Where it was before, and what it knew.
    before: Vec<(String, Known)>,
    /// The messages that it had, in order.
    direct: Vec<u64>,
    /// Rooms, IDs and senders of the events that came by themselves.
    told: BTreeSet<(String, String, String)>,
    /// Whether it goes on by `/sync` now and then.
    changes_form: bool,
    /// What became of its connections.
    drops: Vec<String>,
}

/// One user: their devices, and their readers.
struct User {
    changing: Changing,
    syncing: (Client, String, Known),
    following: Following,
    sliding: SlidingReader,
}

/// A follower of `/events`.
struct Following {
    follower: Follower,
    presence: BTreeMap<String, (String, String)>,
    /// Of each room the IDs and senders, anew from each joining.
    events: BTreeMap<String, Vec<(String, String)>>,
    told: BTreeSet<String>,
    marker: u64,
}

/// What those who act share.
struct World {
    actors: Vec<Client>,
    rooms: Mutex<Vec<String>>,
    events: Mutex<Vec<(String, String, usize)>>,
    ignored: Mutex<BTreeSet<(usize, String)>>,
    /// Of messages for each user's changing device, and the one that reads by sliding sync: which were sent, in the order of their answers.
    direct: Vec<Mutex<BTreeSet<u64>>>,
    devices: Vec<[String; 2]>,
    count: AtomicU64,
}

impl Changing {
    /// What came without an `id` is told again.
    fn close(&mut self) {
        self.held = None;
        self.open.clear();
    }

    fn open(&mut self) {
        self.close();
        self.held = Some(Held::open(&self.client, &self.now.0));
    }

    /// Takes what came; `true`: something did.
    fn take(&mut self, patience: Duration) -> bool {
        let Some(held) = &self.held else {
            let since = if self.now.0.is_empty() { String::new() } else { format!("&since={}", self.now.0) };
            let answer = self.client.get(&format!("/_matrix/client/v3/sync?timeout=0{since}")).ok();
            let id = answer["next_batch"].as_str().expect("next_batch").to_owned();
            let told = Told { name: "sync".into(), data: answer, id: Some(id) };
            self.apply(told);
            return true;
        };
        match held.within(patience) {
            Some(told) if told.name == "end" => {
                self.drops.push(format!("{:?}", told.data));
                self.open();
                true
            }
            Some(told) => {
                self.apply(told);
                true
            }
            None => false,
        }
    }

    fn apply(&mut self, told: Told) {
        let id = told.id.clone();
        self.open.push(told);
        let Some(id) = id else { return };
        let before = self.now.clone();
        for told in std::mem::take(&mut self.open) {
            let events = |told: &Told| match told.name.as_str() {
                "to_device" => vec![told.data.clone()],
                "sync" => told.data["to_device"]["events"].as_array().cloned().unwrap_or_default(),
                _ => Vec::new(),
            };
            self.direct.extend(events(&told).iter().filter_map(|event| event["content"]["n"].as_u64()));
            if told.name == "e" {
                let text = |key: &str| told.data[key].as_str().expect(key).to_owned();
                self.told.insert((text("room_id"), text("event_id"), text("sender")));
            }
            self.now.1.take_told(&self.client, &told);
        }
        self.now.0 = id;
        self.before.push(before);
        if self.before.len() > 6 {
            self.before.remove(0);
        }
    }

    /// Something that becomes of a connection.
    fn change(&mut self, rng: &mut Rng) {
        match rng.range(0..12) {
            0 => {
                self.drops.push("drop".into());
                self.open();
            }
            1 => {
                // An older place, with what was known there.
                let at = usize::try_from(rng.range(0..6)).expect("is small");
                if let Some(before) = self.before.get(at).filter(|before| !before.0.is_empty()) {
                    self.now = before.clone();
                    self.before.truncate(at);
                    self.drops.push(format!("back to {}", self.now.0));
                }
                self.open();
            }
            2 if self.changes_form => {
                self.drops.push("sync".into());
                self.close();
            }
            3 if self.held.is_none() => self.open(),
            4 if !self.now.0.is_empty() => {
                let path = format!("{STREAM}/received");
                self.client.post(&path, json!({ "id": self.now.0 })).ok();
            }
            5 => {
                if let Some(held) = &self.held {
                    held.pause(true);
                    std::thread::sleep(Duration::from_millis(rng.range(1..40)));
                    held.pause(false);
                }
            }
            _ => {}
        }
    }

    fn knows_marker(&self, marker: u64) -> bool {
        self.now.1.own_data.get("x.marker").is_some_and(|content| content["n"] == marker)
    }
}

impl Following {
    fn new(client: &Client) -> Self {
        let first = client.get("/_matrix/client/v3/initialSync").ok();
        let from = first["end"].as_str().expect("end").to_owned();
        let follower = Follower { client: client.clone(), from, with: String::new() };
        let empty = (BTreeMap::new(), BTreeMap::new());
        let mut following =
            Self { follower, presence: empty.0, events: empty.1, told: BTreeSet::new(), marker: 0 };
        first["presence"].as_array().expect("a list").iter().for_each(|event| following.take(event));
        following
    }

    fn read(&mut self) {
        for event in self.follower.now() {
            self.take(&event);
        }
    }

    fn take(&mut self, event: &Value) {
        let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
        match event["type"].as_str().expect("a type") {
            "m.presence" => {
                let content = &event["content"];
                let state = content["org.pilotlight.presence"]["state"].as_str().expect("a state").to_owned();
                let message = content["status_msg"].as_str().unwrap_or_default().to_owned();
                let user = content["user_id"].as_str().or(event["sender"].as_str()).expect("whose");
                self.presence.insert(user.to_owned(), (state, message));
            }
            "x.marker" if event.get("room_id").is_none() => {
                self.marker = event["content"]["n"].as_u64().expect("a number");
            }
            kind if event.get("event_id").is_some() => {
                let (id, room) = (text("event_id"), text("room_id"));
                assert!(self.told.insert(id.clone()), "told twice by /events: {event}");
                let of_room = self.events.entry(room).or_default();
                let comes_in = kind == "m.room.member"
                    && event["state_key"] == self.follower.client.user.as_str()
                    && event["content"]["membership"] == "join"
                    && event["unsigned"]["prev_content"]["membership"] != "join";
                if comes_in {
                    of_room.clear();
                }
                of_room.push((id, text("sender")));
            }
            _ => {}
        }
    }
}

impl World {
    /// Something happens, or is refused.
    fn act(&self, rng: &mut Rng) {
        let n = self.count.fetch_add(1, Ordering::Relaxed);
        let mut below = |end: usize| usize::try_from(rng.range(0..end as u64)).expect("is small");
        let (who, whom, what) = (below(USERS), below(USERS), below(32));
        let (actor, other) = (&self.actors[who], &self.actors[whom]);
        let room = {
            let rooms = self.rooms.lock().expect("a lock");
            rooms[below(rooms.len())].clone()
        };
        let at = format!("{ROOMS}/{room}");
        let post = |path: String, body: Value| drop(actor.post(&path, body));
        let put = |path: String, body: Value| drop(actor.put(&path, body));
        let account = format!("/_matrix/client/v3/user/{}", actor.user);
        let target = json!({ "user_id": other.user });
        match what {
            0..=7 => {
                let body =
                    if n.is_multiple_of(5) { format!("{n} for {}", other.user) } else { n.to_string() };
                let content = json!({ "msgtype": "m.text", "body": body, "m.mentions": { "user_ids": if n.is_multiple_of(5) { vec![&other.user] } else { vec![] } } });
                let answer = actor.put(&format!("{at}/send/m.room.message/{n}"), content);
                if let Some(id) = answer.body["event_id"].as_str() {
                    self.events.lock().expect("a lock").push((room, id.to_owned(), who));
                }
            }
            8 => {
                let event = {
                    let events = self.events.lock().expect("a lock");
                    if events.is_empty() { None } else { Some(events[below(events.len())].clone()) }
                };
                if let Some((room, event, who)) = event {
                    self.actors[who].put(&format!("{ROOMS}/{room}/redact/{event}/{n}"), json!({}));
                }
            }
            9 => put(format!("{at}/state/m.room.name"), json!({ "name": n.to_string() })),
            10 => put(format!("{at}/state/m.room.topic"), json!({ "topic": n.to_string() })),
            11 | 12 => post(format!("/_matrix/client/v3/join/{room}"), json!({})),
            13 => post(format!("{at}/leave"), json!({})),
            14 => post(format!("{at}/invite"), target),
            15 => post(format!("{at}/kick"), target),
            16 if n.is_multiple_of(3) => post(format!("{at}/ban"), target),
            16 | 17 => post(format!("{at}/unban"), target),
            18 | 19 => {
                let typing = json!({ "typing": n.is_multiple_of(2), "timeout": 60_000 });
                put(format!("{at}/typing/{}", actor.user), typing);
            }
            20 | 21 => {
                let last = {
                    let events = self.events.lock().expect("a lock");
                    events.iter().rev().find(|(of, _, _)| *of == room).map(|(_, id, _)| id.clone())
                };
                if let Some(last) = last {
                    let kind = if n.is_multiple_of(3) { "m.read.private" } else { "m.read" };
                    post(format!("{at}/receipt/{kind}/{last}"), json!({}));
                }
            }
            22..=24 => {
                let word = ["online", "unavailable", "busy", "hidden", "offline", "free_for_chat"][below(6)];
                let message = if n.is_multiple_of(2) { json!(n.to_string()) } else { Value::Null };
                let path = format!("/_matrix/client/v3/presence/{}/status", actor.user);
                put(path, json!({ "presence": word, "status_msg": message }));
            }
            25 => {
                let key = if n.is_multiple_of(2) { "invite" } else { "drop" };
                post(
                    format!("/_matrix/client/v3/presence/list/{}", actor.user),
                    json!({ key: [other.user] }),
                );
            }
            26 => {
                let word = ["accept", "refuse", "revoke"][below(3)];
                post(format!("{OURS}/requests/{}/{}", actor.user, other.user), json!({ "answer": word }));
            }
            27 => {
                let share = ["shared_rooms", "list", "nobody"][below(3)];
                put(format!("{OURS}/settings/{}", actor.user), json!({ "share": share }));
            }
            28 => {
                let ignored =
                    if n.is_multiple_of(2) && who != whom { json!({ &other.user: {} }) } else { json!({}) };
                if n.is_multiple_of(2) {
                    self.ignored.lock().expect("a lock").insert((who, other.user.clone()));
                }
                put(
                    format!("{account}/account_data/m.ignored_user_list"),
                    json!({ "ignored_users": ignored }),
                );
            }
            29 => put(format!("{account}/account_data/x.own"), json!({ "n": n })),
            30 => put(format!("{account}/rooms/{room}/account_data/x.own"), json!({ "n": n })),
            _ => {
                let [one, another] = &self.devices[whom];
                let messages =
                    json!({ "messages": { &other.user: { one: { "n": n }, another: { "n": n } } } });
                let path = format!("/_matrix/client/v3/sendToDevice/m.room.encrypted/{n}");
                actor.put(&path, messages).ok();
                self.direct[whom].lock().expect("a lock").insert(n);
            }
        }
    }

    /// What `user` was told of, without that of whom they ever ignored.
    fn shown(&self, user: usize, mut known: Known) -> Known {
        let ignored = self.ignored.lock().expect("a lock");
        let is_ignored = |sender: &str| ignored.contains(&(user, sender.to_owned()));
        known.own_data.remove("m.push_rules");
        known.presence.clear();
        let ignores = ignored.iter().any(|(who, _)| *who == user);
        // An invite of somebody whom they ignored later.
        known.rooms.retain(|_, room| room.is == "join" || room.is == "invite" && !ignores);
        for room in known.rooms.values_mut() {
            if room.is != "join" {
                *room = super::folded::Room { is: room.is, ..Default::default() };
            }
            if ignores {
                // What is counted no longer, or again, is no news of a room.
                room.unread = (0, 0);
            }
            room.timeline.retain(|(_, sender)| !is_ignored(sender));
            room.typing.retain(|user| !is_ignored(user));
            room.receipts.retain(|key, _| !is_ignored(key.split(' ').next().unwrap_or_default()));
        }
        known
    }
}

/// As it is compared: nothing is known of who is offline and says nothing.
fn presence(known: &BTreeMap<String, (String, String)>) -> BTreeMap<String, (String, String)> {
    let mut known = known.clone();
    known.retain(|_, (state, message)| state != "unknown" && !(state == "offline" && message.is_empty()));
    known
}

fn begin(server: &TestServer, name: &str, changes_form: bool) -> (Client, User) {
    let actor = server.register(name);
    let [changing, syncing, following, sliding] = [(); 4].map(|()| server.log_in(name));
    let changing = Changing {
        client: changing,
        held: None,
        open: Vec::new(),
        now: Default::default(),
        before: Vec::new(),
        direct: Vec::new(),
        told: BTreeSet::new(),
        changes_form,
        drops: Vec::new(),
    };
    let following = Following::new(&following);
    let sliding = SlidingReader::new(&sliding, changes_form);
    (actor, User { changing, syncing: (syncing, String::new(), Known::default()), following, sliding })
}

impl User {
    fn sync(&mut self) {
        let (client, since, known) = &mut self.syncing;
        let mut reader = Reader { client: client.clone(), since: since.clone(), with: String::new() };
        known.take_sync(client, &reader.now());
        *since = reader.since;
    }

    fn knows_marker(&self, marker: u64) -> bool {
        let synced = self.syncing.2.own_data.get("x.marker").is_some_and(|content| content["n"] == marker);
        synced && self.changing.knows_marker(marker) && self.following.marker == marker
    }

    /// The same devices at a server that started anew.
    fn go_on(&mut self, server: &TestServer) {
        self.changing.close();
        self.changing.client = same(server, &self.changing.client);
        self.syncing.0 = same(server, &self.syncing.0);
        self.following.follower.client = same(server, &self.following.follower.client);
        self.sliding.go_on(same(server, &self.sliding.client));
        self.changing.drops.push("restart".into());
    }
}

/// Everybody acts and reads at once.
fn burst(world: &World, users: &mut [User], seed: u64) {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for (n, user) in users.iter_mut().enumerate() {
            let is_over = &is_over;
            scope.spawn(move || {
                let mut rng = Rng::new(seed ^ (n as u64) << 32);
                while !is_over.load(Ordering::Relaxed) {
                    match rng.range(0..10) {
                        0 => user.sync(),
                        8 | 9 => user.sliding.step(&mut rng),
                        1 => user.following.read(),
                        2 => user.changing.change(&mut rng),
                        _ => drop(user.changing.take(Duration::from_millis(5))),
                    }
                }
            });
        }
        let actors: Vec<_> = (0..3)
            .map(|n| {
                scope.spawn(move || {
                    let mut rng = Rng::new(seed ^ (n + 100) << 40);
                    (0..ACTS).for_each(|_| world.act(&mut rng));
                })
            })
            .collect();
        for actor in actors {
            actor.join().expect("acts");
        }
        is_over.store(true, Ordering::Relaxed);
    });
}

/// Everybody reads to the end, and knows the same.
fn compare(world: &World, users: &mut [User], marker: u64, case: &str) {
    for (n, user) in users.iter_mut().enumerate() {
        let actor = &world.actors[n];
        let path = format!("/_matrix/client/v3/user/{}/account_data/x.marker", actor.user);
        actor.put(&path, json!({ "n": marker })).ok();
        if user.changing.held.is_none() && marker.is_multiple_of(2) {
            user.changing.open();
        }
    }
    for (n, user) in users.iter_mut().enumerate() {
        let begun = Instant::now();
        loop {
            while user.changing.held.is_some() && user.changing.take(Duration::from_millis(10)) {}
            if user.changing.held.is_none() {
                user.changing.take(Duration::ZERO);
            }
            user.sync();
            user.following.read();
            user.sliding.look_at_all();
            let Err(why) = world.check(n, user, marker) else { break };
            let drops = &user.changing.drops;
            let story = (drops, &user.sliding.story);
            assert!(begun.elapsed() < PATIENCE, "{case}, {}: {why}\n{story:?}", user.changing.client.user);
        }
        user.changing.drops.clear();
    }
}

impl World {
    /// Whether the readers of a user know what a new one is told.
    fn check(&self, n: usize, user: &User, marker: u64) -> Result<(), String> {
        if !user.knows_marker(marker) {
            return Err(format!("the marker {marker} was not told"));
        }
        let client = &user.syncing.0;
        let mut new = Known::default();
        new.take_sync(client, &client.get("/_matrix/client/v3/sync?timeout=0").ok());
        let expected = self.shown(n, new);
        differ("sync", &self.shown(n, user.syncing.2.clone()), &expected)?;
        differ("changing", &self.shown(n, user.changing.now.1.clone()), &expected)?;
        let (slid, messages) = user.sliding.known();
        let slid = user.sliding.as_synced(self.shown(n, slid.clone()), &expected);
        differ("sliding", &slid, &expected)?;
        for (room, expected) in &expected.rooms {
            let Some(told) = user.following.events.get(room) else { continue };
            let ignored = self.ignored.lock().expect("a lock");
            let told: Vec<_> =
                told.iter().filter(|(_, sender)| !ignored.contains(&(n, sender.clone()))).collect();
            let is_end = expected.is != "join"
                || told.len() <= expected.timeline.len()
                    && told.iter().rev().zip(expected.timeline.iter().rev()).all(|(a, b)| **a == *b);
            if !is_end {
                return Err(format!("/events told {told:?} of {room}, not {:?}", expected.timeline));
            }
        }
        let mut seen = BTreeMap::new();
        for other in &self.actors {
            let state = known(client, &other.user);
            let path = format!("/_matrix/client/v3/presence/{}/status", other.user);
            let message = client.get(&path).body["status_msg"].as_str().unwrap_or_default().to_owned();
            seen.insert(other.user.clone(), (state, message));
        }
        let of_readers = [
            ("changing", &user.changing.now.1.presence),
            ("sync", &user.syncing.2.presence),
            ("/events", &user.following.presence),
            ("sliding", &user.sliding.known().0.presence),
        ];
        for (form, told) in of_readers {
            let (told, seen) = (presence(told), presence(&seen));
            if told != seen {
                return Err(format!("{form} knows the presence {told:?}, not {seen:?}"));
            }
        }
        let sent = self.direct[n].lock().expect("a lock");
        let had: BTreeSet<u64> = user.changing.direct.iter().copied().collect();
        if had != *sent {
            return Err(format!("messages {had:?} for the device, not {sent:?}"));
        }
        let had: BTreeSet<u64> = messages.iter().copied().collect();
        if had != *sent {
            return Err(format!("messages {had:?} for the device that slides, not {sent:?}"));
        }
        Ok(())
    }

    /// Nobody was told an event that they may not see.
    fn check_sight(&self, users: &[User], case: &str) {
        let ignored = self.ignored.lock().expect("a lock");
        for (n, user) in users.iter().enumerate() {
            let client = &user.syncing.0;
            for (room, event, sender) in user.changing.told.iter().chain(&user.sliding.told) {
                // Who is out looks back by rules of its own.
                let is_in = user.syncing.2.rooms.get(room).is_some_and(|room| room.is == "join");
                if !is_in || ignored.contains(&(n, sender.clone())) {
                    continue;
                }
                let answer = client.get(&format!("{ROOMS}/{room}/event/{event}"));
                assert_eq!(answer.status, 200, "{case}: {} was told {event} of {room}", client.user);
            }
        }
    }
}

/// A line for each.
fn lines(state: &BTreeMap<String, Value>) -> String {
    state.iter().map(|(key, content)| format!("{key}: {content}\n")).collect()
}

/// What differs first.
fn differ(form: &str, known: &Known, expected: &Known) -> Result<(), String> {
    for room in known.rooms.keys().chain(expected.rooms.keys()) {
        let (a, b) = (known.rooms.get(room), expected.rooms.get(room));
        let (Some(a), Some(b)) = (a, b) else {
            return Err(format!(
                "{form} knows {room} as {:?}, not as {:?}",
                a.map(|a| a.is),
                b.map(|b| b.is)
            ));
        };
        for (what, a, b) in [
            ("is", format!("{:?}", a.is), format!("{:?}", b.is)),
            ("timeline", format!("{:#?}", a.timeline), format!("{:#?}", b.timeline)),
            ("state", lines(&a.state), lines(&b.state)),
            ("typing", format!("{:?}", a.typing), format!("{:?}", b.typing)),
            ("receipts", format!("{:#?}", a.receipts), format!("{:#?}", b.receipts)),
            ("own data", format!("{:?}", a.own_data), format!("{:?}", b.own_data)),
            ("unread", format!("{:?}", a.unread), format!("{:?}", b.unread)),
        ] {
            if a != b {
                let (a, b): (Vec<_>, Vec<_>) = (a.lines().collect(), b.lines().collect());
                let more = |of: &[&str], than: &[&str]| -> Vec<String> {
                    of.iter().filter(|line| !than.contains(line)).map(|line| line.to_string()).collect()
                };
                let (mut here, mut there) = (more(&a, &b), more(&b, &a));
                if here.is_empty() && there.is_empty() {
                    // The same in another order, or more than once.
                    let all = |of: &[&str]| of.iter().map(|line| (*line).to_owned()).collect();
                    (here, there) = (all(&a), all(&b));
                }
                return Err(format!("{form}, {room}, {what}: has {here:?}, lacks {there:?}"));
            }
        }
    }
    if known.own_data == expected.own_data {
        return Ok(());
    }
    Err(format!("{form} has the data {:?}, not {:?}", known.own_data, expected.own_data))
}

fn simulate(seed: u64) {
    let mut server = TestServer::start_with(|config| config.rate_limits.enabled = false);
    let names: Vec<_> = (0..USERS).map(|n| format!("u{n}")).collect();
    let (mut actors, mut users): (Vec<_>, Vec<_>) =
        names.iter().map(|name| begin(&server, name, seed.is_multiple_of(2))).unzip();
    let (mut rooms, mut events, mut ignored) = (Vec::new(), Vec::new(), BTreeSet::new());
    let mut direct: Vec<BTreeSet<u64>> = vec![BTreeSet::new(); USERS];
    let devices = |user: &User| [user.changing.client.device.clone(), user.sliding.client.device.clone()];
    let devices: Vec<_> = users.iter().map(devices).collect();
    for (n, visibility) in ["shared", "joined", "invited"].into_iter().enumerate() {
        let visibility =
            json!({ "type": "m.room.history_visibility", "content": { "history_visibility": visibility } });
        let others = actors.iter().enumerate().filter(|(other, _)| *other != n);
        let all: BTreeMap<_, _> = others.map(|(_, actor)| (&actor.user, 100)).collect();
        let body = json!({ "preset": if n == 1 { "private_chat" } else { "public_chat" }, "initial_state": [visibility],
            "power_level_content_override": { "users": all } });
        rooms.push(super::sync::create_room(&actors[n], body));
    }
    let mut rng = Rng::new(seed);
    let mut count = 0;
    for round in 1..4 {
        let world = World {
            actors: actors.clone(),
            rooms: Mutex::new(rooms),
            events: Mutex::new(events),
            ignored: Mutex::new(ignored),
            direct: direct.into_iter().map(Mutex::new).collect(),
            devices: devices.clone(),
            count: AtomicU64::new(count),
        };
        let case = format!("seed {seed}, round {round}");
        burst(&world, &mut users, rng.next_u64());
        compare(&world, &mut users, seed * 10 + round, &case);
        world.check_sight(&users, &case);
        let World { rooms: of, events: told, ignored: who, direct: messages, count: n, .. } = world;
        rooms = of.into_inner().expect("a lock");
        events = told.into_inner().expect("a lock");
        ignored = who.into_inner().expect("a lock");
        direct = messages.into_iter().map(|of| of.into_inner().expect("a lock")).collect();
        count = n.into_inner();
        if rng.chance(1, 2) && round < 3 {
            users.iter_mut().for_each(|user| user.changing.close());
            server = server.restart_with(|config| config.rate_limits.enabled = false);
            actors = actors.iter().map(|actor| same(&server, actor)).collect();
            users.iter_mut().for_each(|user| user.go_on(&server));
        }
    }
}

#[test]
fn readers_of_every_form_know_the_same_in_the_end() {
    let first = std::env::var("SEED").map_or(0, |seed| seed.parse().expect("a number"));
    for seed in first..first + 2 * times() as u64 {
        simulate(seed);
    }
}
