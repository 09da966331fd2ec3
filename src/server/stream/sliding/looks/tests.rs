use std::{path::PathBuf, sync::Arc, time::Duration};

use ruma::{OwnedRoomId, OwnedUserId, UserId, api::client::room::create_room::v3 as create};
use serde_json::{Value, json};

use super::*;
use crate::{
    core::{rng::Rng, testing::seeds, time::UnixMillis},
    server::{
        app::App,
        clock::Clock,
        config::Config,
        event::stored::Membership,
        session::Session,
        store::{AccountDataKey, NewUser},
        stream::{
            entered::Entered,
            sliding::request::{Extensions, Filters, List, Wanted, Wire},
            sources::Sources,
            token::Pos,
        },
    },
};

const NONE_ENTERED: &Vec<Entered> = &Vec::new();

/// A server with two users, of whom one reads.
struct World {
    app: Arc<App>,
    reader: Session,
    other: Session,
    rooms: Vec<OwnedRoomId>,
    data_dir: PathBuf,
    acts: usize,
}

/// A connection of the reader's.
struct Reading {
    pos: Option<Pos>,
    before: Option<Pos>,
    wanted: Arc<Wanted>,
    /// The name of a list, as it was kept.
    list: Option<Arc<str>>,
    /// Nothing happened since that decides which list has which room.
    is_plain: bool,
    /// Looks that went on with what was kept.
    kept: usize,
}

impl World {
    async fn new(name: &str) -> Self {
        let data_dir = std::env::temp_dir().join(format!("pilotlight-looks-{name}-{}", std::process::id()));
        let config = Config { data_dir: data_dir.clone(), ..Config::default() };
        let app = App::open(config, Clock::driven(UnixMillis(1_000_000))).await.expect("opens");
        let mut sessions = Vec::new();
        for name in ["a", "b"] {
            let user = UserId::parse(format!("@{name}:localhost")).expect("an ID");
            let row = NewUser { id: user.clone(), password_hash: None, created_ms: 0, device: None };
            app.store.create_user(row).await.expect("is made");
            sessions.push(Session { user, device: "D".into() });
        }
        let [reader, other] = <[Session; 2]>::try_from(sessions).expect("two");
        Self { app, reader, other, rooms: Vec::new(), data_dir, acts: 0 }
    }

    async fn room(&mut self, of: &Session, is_space: bool) {
        let mut request = create::Request::new();
        request.preset = Some(create::RoomPreset::PublicChat);
        if is_space {
            let content = json!({ "type": "m.space" });
            request.creation_content = Some(ruma::serde::Raw::from_json(
                serde_json::value::to_raw_value(&content).expect("is JSON"),
            ));
        }
        self.rooms.push(self.app.rooms.create(of, request).await.expect("is made"));
    }

    fn is(&self, user: &OwnedUserId, room: &OwnedRoomId) -> Option<Membership> {
        self.app.rooms.members.membership(user, room)
    }

    async fn state(&self, room: &OwnedRoomId, kind: &str, key: &str, content: Value) {
        let by = [&self.reader, &self.other]
            .into_iter()
            .find(|s| self.is(&s.user, room) == Some(Membership::Join));
        // Who may not, did not.
        if let Some(by) = by {
            drop(self.app.rooms.send_state(by, room, kind, key, &content.to_string()).await);
        }
    }

    async fn own_data(&self, room: Option<&OwnedRoomId>, kind: &str, content: Value) {
        let key =
            AccountDataKey { user: self.reader.user.clone(), room: room.cloned(), kind: kind.to_owned() };
        self.app.own_data.set(key, content.to_string()).await.expect("is written");
    }

    /// Anything happens. Answers with whether it can have changed which list has which room.
    async fn act(&mut self, rng: &mut Rng) -> bool {
        self.acts += 1;
        let n = rng.range(0..self.rooms.len() as u64) as usize;
        let room = self.rooms[n].clone();
        let (reader, other) = (self.reader.clone(), self.other.clone());
        let rooms = Arc::clone(&self.app.rooms);
        let is = self.is(&reader.user, &room);
        match rng.range(0..24) {
            0 => {
                let of = if rng.chance(1, 2) { &reader } else { &other };
                let is_space = rng.chance(1, 3);
                self.room(of, is_space).await;
            }
            1 if is == Some(Membership::Join) => drop(rooms.leave(&reader, &room, None).await),
            1 | 2 => drop(rooms.join(&reader, &room, "{}").await),
            3 => drop(rooms.invite(&other, &room, &reader.user, None).await),
            4 => drop(rooms.kick(&other, &room, &reader.user, None).await),
            5 => drop(rooms.forget(&reader, &room).await),
            6 => self.own_data(None, "m.direct", json!({ "@b:localhost": [room] })).await,
            7 => self.own_data(Some(&room), "m.tag", json!({ "tags": { "m.favourite": {} } })).await,
            8 => self.own_data(Some(&room), "m.tag", json!({ "tags": {} })).await,
            9 => {
                let ignored = if rng.chance(1, 2) { json!({ "@b:localhost": {} }) } else { json!({}) };
                self.own_data(None, "m.ignored_user_list", json!({ "ignored_users": ignored })).await;
            }
            10 => self.state(&room, "m.room.encryption", "", json!({ "algorithm": "x" })).await,
            11 | 12 => {
                let via = if rng.chance(2, 3) { json!(["localhost"]) } else { json!([]) };
                let child = self.rooms[rng.range(0..self.rooms.len() as u64) as usize].clone();
                self.state(&room, "m.space.child", child.as_str(), json!({ "via": via })).await;
            }
            13 => {
                // What was said last of a child is taken back.
                for child in self.rooms.clone() {
                    let said = self.app.store.state_event(&room, "m.space.child", child.as_str()).await;
                    let Some(said) = said.expect("is read") else { continue };
                    let id = format!("r{}", self.acts);
                    drop(rooms.redact(&other, &room, &said.event_id, (&*id).into(), None).await);
                }
            }
            14 => self.state(&room, "m.room.topic", "", json!({ "topic": self.acts })).await,
            15 => self.own_data(Some(&room), "org.x", json!({ "n": self.acts })).await,
            _ => {
                let by = if self.is(&other.user, &room) == Some(Membership::Join) { &other } else { &reader };
                let id = format!("m{}", self.acts);
                let said = rooms.send_message(by, &room, "m.room.message", (&*id).into(), r#"{"body":"x"}"#);
                drop(said.await);
                return false;
            }
        }
        true
    }

    fn any_wanted(&self, rng: &mut Rng) -> Arc<Wanted> {
        let mut wanted = Wanted::default();
        let spaces: BTreeSet<_> = self.rooms.iter().take(3).cloned().collect();
        let yes = Some(true);
        let tag = || Some([String::from("m.favourite")].into());
        let all = [
            Filters::default(),
            Filters { is_dm: yes, ..Filters::default() },
            Filters { is_dm: Some(false), is_invited: Some(false), ..Filters::default() },
            Filters { is_invited: yes, ..Filters::default() },
            Filters { is_encrypted: yes, ..Filters::default() },
            Filters { room_types: Some([Some("m.space".into())].into()), ..Filters::default() },
            Filters { not_room_types: Some([Some("m.space".into())].into()), ..Filters::default() },
            Filters { tags: tag(), ..Filters::default() },
            Filters { not_tags: tag(), ..Filters::default() },
            Filters { spaces: Some(spaces), ..Filters::default() },
        ];
        for (n, filters) in all.into_iter().enumerate() {
            if rng.chance(1, 3) {
                let first = rng.range(0..4) as usize;
                let ranges = rng.chance(2, 3).then(|| vec![(first, first + rng.range(0..4) as usize)]);
                wanted.lists.insert(format!("list{n}"), List { ranges, filters, ..List::default() });
            }
        }
        if rng.chance(1, 3) {
            let room = &self.rooms[rng.range(0..self.rooms.len() as u64) as usize];
            wanted.subscriptions.insert(room.clone(), Default::default());
        }
        Arc::new(wanted)
    }

    /// One request: what it kept is what a fresh look finds, and who has its answer was told of each room as of all others.
    async fn read(&self, reading: &mut Reading, rng: &mut Rng, seed: u64) {
        let parts = &self.app.stream;
        let (sliding, sources) = (&parts.sliding, Sources::new(Arc::clone(parts)));
        let log = parts.store.log_position();
        // The last answer did not arrive.
        if rng.chance(1, 8) && reading.before.is_some() {
            reading.pos = reading.before.clone();
            reading.is_plain = false;
        }
        let pos = reading.pos.clone();
        let place = sliding.connections.begin(&self.reader, "", pos.as_ref(), log).expect("is known");
        let listener =
            Listener::begin(&sources, &self.reader, (&sliding.with_presence, NONE_ENTERED), None).await;
        let listener = listener.expect("begins");
        let request = Request {
            conn_id: String::new(),
            pos,
            timeout: Duration::ZERO,
            set_presence: None,
            device_type: None,
            wanted: Arc::clone(&reading.wanted),
            extensions: Extensions::default(),
            wire: Wire::Accepted,
            txn_id: None,
        };
        let mut looks = Looks {
            listener: &listener,
            request: &request,
            known: &sliding.known,
            marks: &sliding.marks,
            place: &place,
            token: place.state.token.clone(),
            changed: Changed::default(),
        };
        let Looked { token, .. } = looks.look().await.expect("looks");
        let taken = place.kept.take();
        if let Some(scope) = &taken.scope {
            let reader = listener.reader(looks.token.as_ref(), false, (&[], &[]));
            let fresh = looks.survey(&reader).await.expect("looks").shape();
            let (lists, rooms) = scope.shape();
            let context = format!("seed {seed}, act {}", self.acts);
            assert_eq!((&lists, &rooms), (&fresh.0, &fresh.1), "{context}");
            for (room, _, scoped) in rooms {
                let sent = looks.sent(&room);
                let is_told = match scoped {
                    Some(scoped) => sent.is_some_and(|sent| {
                        sent.room == Upto::Live && sent.config == scoped.config && sent.is_dm == scoped.is_dm
                    }),
                    None => sent.is_none_or(Sent::is_behind),
                };
                assert!(is_told, "{context}: {room} {sent:?}");
            }
            let list = lists.into_iter().next().map(|(name, _)| name);
            let is_kept = list
                .as_ref()
                .zip(reading.list.as_ref())
                .is_some_and(|(now, before)| Arc::ptr_eq(now, before));
            assert!(is_kept || !reading.is_plain || list.is_none(), "{context}: all rooms were looked at");
            reading.kept += usize::from(is_kept);
            reading.list = list;
        }
        reading.is_plain = reading.list.is_some() && taken.scope.is_some();
        let changed = std::mem::take(&mut looks.changed);
        place.kept.put(taken);
        reading.pos = sliding.connections.answered(&self.reader, "", &place, (token, changed));
        reading.before = place.state.pos.clone();
    }
}

#[tokio::test]
async fn what_is_kept_is_what_a_look_at_all_rooms_finds_whatever_happened() {
    for seed in 0..seeds(4) {
        let mut world = World::new(&format!("kept-{seed}")).await;
        let mut rng = Rng::new(seed);
        let (a, b) = (world.reader.clone(), world.other.clone());
        for n in 0..6 {
            world.room(if n % 2 == 0 { &a } else { &b }, n % 3 == 0).await;
        }
        let wanted = world.any_wanted(&mut rng);
        let mut reading = Reading { pos: None, before: None, wanted, list: None, is_plain: false, kept: 0 };
        for _ in 0..120 {
            for _ in 0..rng.range(0..3) {
                let decides = world.act(&mut rng).await;
                reading.is_plain &= !decides;
            }
            match rng.range(0..16) {
                0 => (reading.wanted, reading.is_plain) = (world.any_wanted(&mut rng), false),
                // Other windows on the same lists.
                1 | 2 => {
                    let mut wanted = (*reading.wanted).clone();
                    for list in wanted.lists.values_mut() {
                        let first = rng.range(0..4) as usize;
                        list.ranges =
                            rng.chance(2, 3).then(|| vec![(first, first + rng.range(0..4) as usize)]);
                    }
                    reading.wanted = Arc::new(wanted);
                }
                _ => {}
            }
            world.read(&mut reading, &mut rng, seed).await;
        }
        assert!(reading.kept > 20, "seed {seed}: {} looks with what was kept", reading.kept);
        world.app.close().await;
        std::fs::remove_dir_all(&world.data_dir).expect("is there");
    }
}
