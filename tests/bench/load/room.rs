//! The room full of users: everybody long-polls, one at a time does something, all the others see it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{sync::mpsc, time::timeout};

use crate::{
    Error,
    http::Connection,
    process::Process,
    user::{User, encoded, ok},
};

/// The longest that a change may take to reach everybody.
const PATIENCE: Duration = Duration::from_secs(60);

/// What one user does in a round.
#[derive(Clone, Copy)]
pub enum Kind {
    /// Puts a new status message.
    Presence,
    /// Sends a message into the room.
    Message,
}

/// Connected users in one room.
pub struct Room {
    id: String,
    users: Vec<User>,
    seen: mpsc::UnboundedReceiver<Result<Seen, Error>>,
    traffic: Arc<AtomicU64>,
    /// Presence events in all answers so far.
    presences: Arc<AtomicU64>,
}

/// One `/sync` answer as far as it matters here.
struct Seen {
    observer: usize,
    at: Instant,
    tags: Vec<String>,
}

impl Room {
    /// Every user's first `/sync`, then their long polls, each on a connection of its own.
    pub async fn connect(id: String, users: Vec<User>) -> Result<Self, Error> {
        let (sender, seen) = mpsc::unbounded_channel();
        let (traffic, presences) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        for (observer, user) in users.iter().cloned().enumerate() {
            let connection = Connection::open(&user.address).await?;
            let follow = Follow {
                observer,
                user,
                connection,
                seen: sender.clone(),
                traffic: Arc::clone(&traffic),
                presences: Arc::clone(&presences),
            };
            tokio::spawn(follow.run());
        }
        Ok(Self { id, users, seen, traffic, presences })
    }

    /// Bytes received in `/sync` answers so far.
    pub fn traffic(&self) -> u64 {
        self.traffic.load(Ordering::Relaxed)
    }

    /// Presence events received in `/sync` answers so far.
    pub fn presences(&self) -> u64 {
        self.presences.load(Ordering::Relaxed)
    }

    /// Waits until no answer has come for `quiet`.
    pub async fn settle(&mut self, quiet: Duration) {
        while timeout(quiet, self.seen.recv()).await.is_ok() {}
    }

    /// `rounds` times: one user does something, and all the others have seen it before the next does.
    pub async fn rounds(&mut self, server: &Process, rounds: usize, kind: Kind) -> Result<Value, Error> {
        if rounds == 0 {
            return Ok(Value::Null);
        }
        let mut connection = Connection::open(&self.users[0].address).await?;
        let (traffic, before) = (self.traffic(), server.sample()?);
        let mut last = Vec::with_capacity(rounds);
        for round in 0..rounds {
            last.push(self.round(&mut connection, round, kind).await?);
        }
        self.settle(Duration::from_millis(300)).await;
        let deliveries = (rounds * (self.users.len() - 1)) as f64;
        let cpu = server.sample()?.cpu_seconds - before.cpu_seconds;
        last.sort_unstable();
        let at = |percent: usize| last[(last.len() - 1) * percent / 100].as_secs_f64() * 1000.0;
        Ok(json!({
            "rounds": rounds,
            "deliveries": deliveries,
            "cpu_us_per_delivery": cpu * 1e6 / deliveries,
            "bytes_per_delivery": (self.traffic() - traffic) as f64 / deliveries,
            "last_receiver_ms": { "p50": at(50), "p95": at(95), "max": at(100) },
        }))
    }

    /// One round; gives the time from the request to the last of the others who saw it.
    async fn round(
        &mut self,
        connection: &mut Connection,
        round: usize,
        kind: Kind,
    ) -> Result<Duration, Error> {
        let actor = round % self.users.len();
        let user = self.users[actor].clone();
        let began = Instant::now();
        let tag = match kind {
            Kind::Presence => format!("presence{round}"),
            Kind::Message => format!("message{round}"),
        };
        match kind {
            Kind::Presence => user.put_presence(connection, &tag).await?,
            Kind::Message => user.send(connection, &self.id, &tag).await?,
        }
        let mut waiting: Vec<bool> = (0..self.users.len()).map(|observer| observer != actor).collect();
        let mut left = self.users.len() - 1;
        let mut last = began;
        while left > 0 {
            let seen = timeout(PATIENCE, self.seen.recv()).await;
            let seen =
                seen.map_err(|_| format!("{tag}: {left} users never saw it"))?.ok_or("all have left")??;
            if waiting[seen.observer] && seen.tags.contains(&tag) {
                waiting[seen.observer] = false;
                left -= 1;
                last = seen.at;
            }
        }
        Ok(last - began)
    }
}

/// One user's `/sync` loop.
struct Follow {
    observer: usize,
    user: User,
    connection: Connection,
    seen: mpsc::UnboundedSender<Result<Seen, Error>>,
    traffic: Arc<AtomicU64>,
    presences: Arc<AtomicU64>,
}

impl Follow {
    async fn run(mut self) {
        if let Err(error) = self.poll().await {
            drop(self.seen.send(Err(error))); // nobody listens once the measurement is over
        }
    }

    async fn poll(&mut self) -> Result<(), Error> {
        let filter = json!({
            "presence": { "types": ["m.presence"] },
            "account_data": { "types": [] },
            "room": { "timeline": { "limit": 20 }, "state": { "lazy_load_members": true }, "ephemeral": { "types": [] } },
        });
        let path = format!("/_matrix/client/v3/user/{}/filter", encoded(&self.user.user_id));
        let stored = ok(&mut self.connection, "POST", &path, &self.user.access_token, &filter).await?;
        let filter = encoded(stored["filter_id"].as_str().ok_or("no filter_id")?);
        let mut since = String::new();
        loop {
            let path =
                format!("/_matrix/client/v3/sync?set_presence=online&filter={filter}&timeout=30000{since}");
            let answer = self.connection.request("GET", &path, &self.user.access_token, None).await?;
            let at = Instant::now();
            if answer.status != 200 {
                return Err(
                    format!("/sync: {} {}", answer.status, String::from_utf8_lossy(&answer.body)).into()
                );
            }
            self.traffic.fetch_add(answer.bytes as u64, Ordering::Relaxed);
            let sync: Sync = serde_json::from_slice(&answer.body)?;
            self.presences.fetch_add(sync.presence.events.len() as u64, Ordering::Relaxed);
            since = format!("&since={}", encoded(&sync.next_batch));
            if self.seen.send(Ok(Seen { observer: self.observer, at, tags: sync.tags() })).is_err() {
                return Ok(());
            }
        }
    }
}

#[derive(Deserialize)]
struct Sync {
    next_batch: String,
    #[serde(default)]
    presence: Events,
    #[serde(default)]
    rooms: Rooms,
}

#[derive(Default, Deserialize)]
struct Rooms {
    #[serde(default)]
    join: BTreeMap<String, JoinedRoom>,
}

#[derive(Deserialize)]
struct JoinedRoom {
    #[serde(default)]
    timeline: Events,
}

#[derive(Default, Deserialize)]
struct Events {
    #[serde(default)]
    events: Vec<Event>,
}

#[derive(Deserialize)]
struct Event {
    content: Content,
}

#[derive(Deserialize)]
struct Content {
    status_msg: Option<String>,
    body: Option<String>,
}

impl Sync {
    fn tags(self) -> Vec<String> {
        let presence = self.presence.events.into_iter().filter_map(|event| event.content.status_msg);
        let timelines = self.rooms.join.into_values().flat_map(|room| room.timeline.events);
        presence.chain(timelines.filter_map(|event| event.content.body)).collect()
    }
}
