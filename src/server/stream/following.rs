//! A client that follows its stream knows what one knows that begins anew, whatever happened meanwhile and wherever
//! each look ended.
//!
//! People come, go, are put out, rename themselves and talk in rooms of each history visibility, the reader among
//! them; clients with all kinds of filters look now and then, some as if what came last had come while they looked.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use ruma::{
    OwnedRoomId, OwnedTransactionId, RoomId, UserId,
    api::client::room::create_room::v3::{Request, RoomPreset},
};
use serde_json::Value;

use super::{
    behind::PresenceLook,
    entered::Entered,
    entry,
    filter::Filter,
    look::{Look, Stretch},
    news::{JoinedRoom, News},
    reader::Reader,
    sources::Sources,
    telling,
};
use crate::{
    core::{rng::Rng, testing::seeds, time::UnixMillis},
    server::{
        app::App,
        change::position::{LivePosition, LogPosition, TimelinePosition},
        clock::Clock,
        config::Config,
        event::stored::{Membership, StoredEvent},
        profile::ProfileField,
        session::Session,
        store::{NewUser, Order},
    },
};

mod tables;

/// The first is in every room and may do everything there; the second reads.
const USERS: [&str; 5] =
    ["@admin:localhost", "@reader:localhost", "@a:localhost", "@b:localhost", "@c:localhost"];

const FILTERS: [&str; 9] = [
    "{}",
    r#"{"room":{"timeline":{"limit":1}}}"#,
    r#"{"room":{"timeline":{"limit":0}}}"#,
    r#"{"room":{"timeline":{"limit":3},"state":{"lazy_load_members":true}}}"#,
    r#"{"room":{"timeline":{"limit":2},"state":{"lazy_load_members":true,"include_redundant_members":true}}}"#,
    r#"{"room":{"timeline":{"limit":0},"state":{"lazy_load_members":true},"include_leave":true}}"#,
    r#"{"room":{"timeline":{"not_types":["m.room.member"]},"include_leave":true}}"#,
    r#"{"room":{"timeline":{"not_types":["m.room.member"],"limit":2},"state":{"lazy_load_members":true}}}"#,
    r#"{"room":{"timeline":{"limit":2},"state":{"lazy_load_members":true}}}"#,
];

const VISIBILITIES: [&str; 4] = ["shared", "joined", "invited", "world_readable"];

/// What somebody is in a room and goes by there, or another piece of its state.
type State = BTreeMap<(String, String), (Option<Membership>, Value)>;

fn put(state: &mut State, event: &StoredEvent) {
    let Some(key) = &event.state_key else { return };
    let content: Value = event.content_as().unwrap_or_default();
    let shown = if event.kind == "m.room.member" { content["displayname"].clone() } else { content };
    let is = event.membership().map(|(_, membership)| membership);
    state.insert((event.kind.clone(), key.clone()), (is, shown));
}

/// What a client knows of a room.
#[derive(Clone, Debug, Default)]
struct Known {
    is: Option<Membership>,
    state: State,
}

struct Client {
    session: Session,
    filter: Filter,
    /// Forgets a room that it is told to have left.
    drops_rooms: bool,
    since: Option<LogPosition>,
    rooms: BTreeMap<OwnedRoomId, Known>,
    /// The answers to joins that it has and its stream does not know of.
    entered: Vec<Entered>,
}

struct World {
    app: Arc<App>,
    users: Vec<Session>,
    rooms: Vec<OwnedRoomId>,
    folder: PathBuf,
    rng: Rng,
    count: u64,
    done: Vec<String>,
}

impl World {
    async fn new(seed: u64) -> Self {
        let folder = std::env::temp_dir().join(format!("pilotlight-following-{seed}-{}", std::process::id()));
        let app = open(&folder).await;
        let mut users = Vec::new();
        for name in USERS {
            let user = UserId::parse(name).expect("a user ID");
            let new = NewUser { id: user.clone(), password_hash: None, created_ms: 0, device: None };
            app.store.create_user(new).await.expect("is made");
            users.push(Session { user, device: "D".into() });
        }
        let mut world =
            Self { app, users, rooms: Vec::new(), folder, rng: Rng::new(seed), count: 0, done: Vec::new() };
        for n in 0..2 {
            let mut request = Request::new();
            request.preset = Some(RoomPreset::PublicChat);
            request.topic = Some(format!("{n}"));
            world.app.clock.advance(Duration::from_millis(1));
            let room = world.app.rooms.create(&world.users[0], request).await.expect("is made");
            world.rooms.push(room.clone());
            let visibility = world.one_of(&VISIBILITIES);
            world.set(&room, "m.room.history_visibility", "history_visibility", visibility).await;
        }
        world
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.rng.range(0..end as u64)).expect("is small")
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    async fn set(&self, room: &RoomId, kind: &str, key: &str, value: &str) {
        let content = serde_json::json!({ key: value }).to_string();
        self.app.rooms.send_state(&self.users[0], room, kind, "", &content).await.expect("is set");
    }

    /// Something happens, or is refused.
    async fn act(&mut self) {
        self.count += 1;
        self.app.clock.advance(Duration::from_millis(1));
        let (who, whom, room) = (self.below(USERS.len()), 1 + self.below(USERS.len() - 1), self.below(2));
        let what = self.below(20);
        self.done.push(format!("{what}: {who} {whom} in {room}"));
        let room = self.rooms[room].clone();
        let (admin, user, other) = (&self.users[0], &self.users[who], &self.users[whom]);
        let (rooms, n) = (&self.app.rooms, self.count);
        // Whatever the room's rules refuse is nothing that happens.
        match what {
            0..=2 => drop(self.app.join(other, &room, "{}").await),
            3 | 4 => drop(rooms.leave(other, &room, None).await),
            5 => drop(rooms.kick(admin, &room, &other.user, None).await),
            6 => drop(rooms.invite(admin, &room, &other.user, None).await),
            7 => drop(rooms.ban(admin, &room, &other.user, None).await),
            8 => drop(rooms.unban(admin, &room, &other.user, None).await),
            9 => drop(rooms.knock(other, &room, None).await),
            10 => drop(rooms.forget(other, &room).await),
            11 => {
                let name = Some(format!("name {n}"));
                let set = self.app.set_profile_field(user.user.clone(), ProfileField::Displayname, name);
                set.await.expect("is set");
            }
            12 => {
                let rule = if n % 3 == 0 { "public" } else { "knock" };
                self.set(&room, "m.room.join_rules", "join_rule", rule).await;
            }
            13 if n % 4 == 0 => {
                let visibility = self.one_of(&VISIBILITIES);
                self.set(&room, "m.room.history_visibility", "history_visibility", visibility).await;
            }
            13 => self.set(&room, "m.room.topic", "topic", &n.to_string()).await,
            16.. => {
                self.put_out_and_ask_back(what % 4, &room, if n % 2 == 0 { other } else { &self.users[1] })
                    .await
            }
            _ => {
                let id = OwnedTransactionId::from(n.to_string());
                let sent = rooms.send_message(user, &room, "m.room.message", &id, r#"{"body":"x"}"#).await;
                if let (15, Ok(placed)) = (what, sent) {
                    let id = OwnedTransactionId::from(format!("redact {n}"));
                    rooms.redact(user, &room, &placed.event_id, &id, None).await.expect("is redacted");
                }
            }
        }
    }

    /// Somebody's stay ends, who then is invited or knocks: who looks only afterwards is told no more than that.
    async fn put_out_and_ask_back(&self, how: usize, room: &RoomId, who: &Session) {
        let (admin, rooms) = (&self.users[0], &self.app.rooms);
        // Whatever the room's rules refuse is nothing that happens.
        match how {
            0 => drop(rooms.kick(admin, room, &who.user, None).await),
            1 => {
                drop(rooms.ban(admin, room, &who.user, None).await);
                drop(rooms.unban(admin, room, &who.user, None).await);
            }
            2 => {
                drop(rooms.leave(who, room, None).await);
                return drop(rooms.knock(who, room, None).await);
            }
            _ => {
                drop(rooms.leave(who, room, None).await);
                drop(self.app.join(who, room, "{}").await);
                drop(rooms.kick(admin, room, &who.user, None).await);
            }
        }
        drop(rooms.invite(admin, room, &who.user, None).await);
    }

    async fn events(&self, room: &RoomId) -> Vec<Arc<StoredEvent>> {
        let (from, to) = (TimelinePosition::START, TimelinePosition::END);
        self.app.store.room_events(room, from, to, Order::OldestFirst, 100_000).await.expect("reads")
    }

    /// A look that ends at `upto`, whatever happened after that.
    async fn look(&mut self, client: &Client, since: Option<LogPosition>, upto: LogPosition) -> News {
        let sources = Sources::new(Arc::clone(&self.app.stream));
        let look = Look {
            session: &client.session,
            filter: &client.filter,
            ignored: Arc::default(),
            is_first: since.is_none(),
            goes_on: since.is_some(),
            full_state: self.rng.chance(1, 8),
            state_at_end: false,
            log: Stretch { since: since.unwrap_or(LogPosition::START), upto },
            live: Stretch { since: LivePosition::START, upto: self.app.live.position() },
            to_device: LogPosition::START,
            presence: PresenceLook::NONE,
            entered: &client.entered,
            uncounted: &[],
            now: self.app.clock.now(),
        };
        let reader = Reader { sources: &sources, parts: sources.parts(), look };
        match reader.quick_outline().await.expect("reads") {
            Some(outline) => telling::news(reader, outline).await.expect("reads"),
            None => {
                let outline = reader.outline().await.expect("reads");
                telling::news(reader, outline).await.expect("reads")
            }
        }
    }

    /// `client` looks, and knows what it should.
    async fn follow(&mut self, client: &mut Client) {
        let end = self.app.store.log_position();
        let since = client.since.filter(|_| !self.rng.chance(1, 12));
        let from = since.unwrap_or(LogPosition::START).get();
        if since.is_some() && self.rng.chance(1, 3) {
            self.enter(client).await;
        }
        // Nobody looks up to before what they were answered.
        let from = client.entered.iter().map(|entered| entered.upto.get()).fold(from, u64::max);
        let late = self.rng.chance(1, 2);
        let upto = if late { LogPosition::new(self.rng.range(from..end.get() + 1)) } else { end };
        self.follow_from(client, since, upto).await;
    }

    /// `client` has the answers to joins of rooms that the reader is in: it asks again, say, for what it asked before.
    async fn enter(&mut self, client: &mut Client) {
        let sources = Sources::new(Arc::clone(&self.app.stream));
        for room in self.rooms.clone() {
            let entry = entry::read(&sources, &client.session, &client.filter, &room).await.expect("reads");
            // Some answers are lost.
            let Some(mut entry) = entry.filter(|_| self.rng.chance(2, 3)) else { continue };
            while !entry.room.state.listed.is_empty() {
                let page = self.app.store.next_page(&mut entry.room.state.listed).await.expect("reads");
                entry.room.state.events.extend(page);
            }
            let known = client.rooms.entry(room.clone()).or_default();
            known.is = Some(Membership::Join);
            let JoinedRoom { state, timeline, .. } = &entry.room;
            state.events.iter().chain(&timeline.events).for_each(|event| put(&mut known.state, event));
            self.done.push(format!("{} enters {}", client.session.device, entry.upto));
            client.entered.push(entry.upto);
        }
    }

    async fn follow_from(&mut self, client: &mut Client, since: Option<LogPosition>, upto: LogPosition) {
        let news = self.look(client, since, upto).await;
        let case = format!("{} after {since:?} up to {upto:?}: {:?}", client.session.device, self.done);
        if since.is_none() {
            client.rooms.clear();
        }
        self.check_timelines(client, &news, since.unwrap_or(LogPosition::START), &case).await;
        self.check_left(&news, &case).await;
        take(client, news);
        client.since = Some(upto);
        client.entered.clear();
        for room in self.rooms.clone() {
            let mut expected = State::new();
            for event in self.events(&room).await.iter().filter(|e| e.position <= upto) {
                put(&mut expected, event);
            }
            self.check(client, &room, &expected, &case);
        }
    }

    fn check(&self, client: &Client, room: &RoomId, expected: &State, case: &str) {
        let own = ("m.room.member".to_owned(), self.users[1].user.to_string());
        let is = expected.get(&own).and_then(|(is, _)| *is);
        let known = client.rooms.get(room).cloned().unwrap_or_default();
        let gone = |is| matches!(is, None | Some(Membership::Leave | Membership::Ban));
        assert!(known.is == is || gone(known.is) && gone(is), "{:?} is {is:?}, {case}", known.is);
        if is != Some(Membership::Join) {
            return;
        }
        for (key, shown) in &known.state {
            assert_eq!(Some(shown), expected.get(key), "{key:?} in {room}, {case}");
        }
        assert!(known.state.contains_key(&own), "{room}, {case}");
        for key in expected.keys() {
            let is_lazy = client.filter.lazy_members() && key.0 == "m.room.member";
            assert!(is_lazy || known.state.contains_key(key), "{key:?} in {room} is missing, {case}");
        }
    }

    /// What stands in timelines is told once, without holes, was to be seen, and by people the client knows.
    async fn check_timelines(&self, client: &Client, news: &News, since: LogPosition, case: &str) {
        let reader = &*self.users[1].user;
        for joined in &news.rooms.joined {
            let all = self.events(&joined.room).await;
            let own: Vec<_> = all.iter().filter(|e| e.is_state("m.room.member", reader.as_str())).collect();
            let was_in = |at: LogPosition| {
                let last = own.iter().rev().find(|e| e.position <= at).and_then(|e| e.membership());
                last.is_some_and(|(_, is)| is == Membership::Join)
            };
            let stayed = was_in(since) && !own.iter().any(|e| e.position > since);
            let told: BTreeSet<_> = joined.timeline.events.iter().map(|e| e.position).collect();
            assert_eq!(told.len(), joined.timeline.events.len(), "{case}");
            let first = told.first().copied().unwrap_or(LogPosition::END);
            let begin = if joined.timeline.limited || !stayed { first.before() } else { since };
            let range = all.iter().filter(|e| e.position > begin && e.position <= news.upto.log());
            let members = client.filter.timeline(&joined.room, super::timeline::seen(own[0]));
            let range = range.filter(|e| members || e.kind != "m.room.member");
            assert_eq!(told, range.map(|e| e.position).collect(), "{case}");
            let known = client.rooms.get(&joined.room).map(|known| &known.state);
            for event in &joined.timeline.events {
                let says = |e: &Arc<StoredEvent>| e.is_state("m.room.member", event.sender.as_str());
                let key = ("m.room.member".to_owned(), event.sender.to_string());
                let is_known = known.is_some_and(|state| state.contains_key(&key))
                    || joined.state.events.iter().any(says)
                    || joined.timeline.events.iter().any(says);
                assert!(is_known, "{} speaks unknown, {case}", event.sender);
            }
            let visible = self.app.rooms.visible_events(reader, &joined.room, joined.timeline.events.clone());
            let visible = visible.await.expect("reads");
            assert_eq!(visible.len(), joined.timeline.events.len(), "hidden ones are told, {case}");
        }
    }

    /// Of a room that was left nothing is told that came after the reader was there last.
    async fn check_left(&self, news: &News, case: &str) {
        let reader = self.users[1].user.as_str();
        for left in &news.rooms.left {
            let all = self.events(&left.room).await;
            let own =
                all.iter().filter(|e| e.is_state("m.room.member", reader) && e.position <= news.upto.log());
            let own: Vec<_> = own.filter_map(|e| Some((e.position, e.membership()?.1))).collect();
            let joins = own.iter().rposition(|(_, is)| *is == Membership::Join);
            let end = joins.and_then(|join| own.get(join + 1)).map(|(position, _)| *position);
            let Some(end) = end else { continue };
            for event in &left.state.events {
                assert!(event.position <= end, "{} in {}, {case}", event.kind, left.room);
            }
        }
    }

    async fn restart(&mut self) {
        self.app.close().await;
        self.app = open(&self.folder).await;
    }
}

async fn open(folder: &std::path::Path) -> Arc<App> {
    let config = Config { data_dir: folder.to_owned(), ..Config::default() };
    App::open(config, Clock::driven(UnixMillis(1_000_000))).await.expect("opens")
}

/// What clients do with an answer: the state, then what happened.
fn take(client: &mut Client, news: News) {
    for room in news.rooms.joined {
        let known = client.rooms.entry(room.room).or_default();
        known.is = Some(Membership::Join);
        room.state.events.iter().chain(&room.timeline.events).for_each(|event| put(&mut known.state, event));
    }
    for room in news.rooms.left {
        let known = client.rooms.entry(room.room).or_default();
        known.is = Some(Membership::Leave);
        if client.drops_rooms {
            known.state.clear();
            continue;
        }
        room.state.events.iter().chain(&room.timeline.events).for_each(|event| put(&mut known.state, event));
    }
    for room in news.rooms.invited {
        client.rooms.entry(room.room).or_default().is = Some(Membership::Invite);
    }
    for room in news.rooms.knocked {
        client.rooms.entry(room.room).or_default().is = Some(Membership::Knock);
    }
}

impl World {
    /// Clients of the reader, one with each filter.
    fn clients(&self) -> Vec<Client> {
        let client = |(n, json): (usize, &&str)| Client {
            session: Session { user: self.users[1].user.clone(), device: format!("{n}").into() },
            filter: Filter::parse(json).expect("is a filter"),
            drops_rooms: n % 3 == 1,
            since: None,
            rooms: BTreeMap::new(),
            entered: Vec::new(),
        };
        FILTERS.iter().enumerate().map(client).collect()
    }

    /// All look, each from where it looked last.
    async fn all_follow(&mut self, clients: &mut [Client]) {
        for client in clients {
            self.follow_from(client, client.since, self.app.store.log_position()).await;
        }
    }
}

#[tokio::test]
async fn a_client_that_follows_knows_what_one_knows_that_begins_anew() {
    for seed in 0..seeds(4) {
        let mut world = World::new(seed).await;
        let mut clients = world.clients();
        for step in 0..24 {
            for _ in 0..world.below(6) {
                world.act().await;
            }
            for client in &mut clients {
                if world.rng.chance(1, 2) {
                    world.follow(client).await;
                }
            }
            if step == 12 && seed % 2 == 0 {
                world.restart().await;
            }
        }
        world.app.close().await;
        std::fs::remove_dir_all(&world.folder).expect("is there");
    }
}
