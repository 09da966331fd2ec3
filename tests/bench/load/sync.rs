//! A reader who long-polls `/sync`, and what an answer of it tells.

use std::{collections::BTreeMap, time::Instant};

use serde::Deserialize;
use serde_json::json;

use crate::{
    Error,
    http::Connection,
    user::{User, encoded, ok},
    watch::Observer,
};

/// Polls for as long as there are answers.
pub async fn follow(user: &User, observer: &mut Observer) -> Result<(), Error> {
    let mut connection = Connection::open(&user.address).await?;
    let filter = json!({
        "presence": { "types": ["m.presence"] },
        "account_data": { "types": [] },
        "room": { "timeline": { "limit": 20 }, "state": { "lazy_load_members": true }, "ephemeral": { "types": [] } },
    });
    let path = format!("/_matrix/client/v3/user/{}/filter", encoded(&user.user_id));
    let stored = ok(&mut connection, "POST", &path, &user.access_token, &filter).await?;
    let filter = encoded(stored["filter_id"].as_str().ok_or("no filter_id")?);
    let mut since = String::new();
    observer.arrived();
    loop {
        let path =
            format!("/_matrix/client/v3/sync?set_presence=online&filter={filter}&timeout=30000{since}");
        let answer = connection.request("GET", &path, &user.access_token, None).await?;
        let at = Instant::now();
        if answer.status != 200 {
            return Err(format!("/sync: {} {}", answer.status, String::from_utf8_lossy(&answer.body)).into());
        }
        observer.read(answer.bytes);
        let sync: Sync = serde_json::from_slice(&answer.body)?;
        sync.tell(observer, at);
        since = format!("&since={}", encoded(&sync.next_batch));
    }
}

/// An answer as far as it matters here.
#[derive(Deserialize)]
pub struct Sync {
    #[serde(default)]
    next_batch: String,
    #[serde(default)]
    presence: Events,
    #[serde(default)]
    rooms: Rooms,
}

/// What is told of rooms.
#[derive(Default, Deserialize)]
pub struct Rooms {
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

/// An event of presence, or of a timeline.
#[derive(Deserialize)]
pub struct Event {
    #[serde(default)]
    sender: String,
    content: Content,
}

#[derive(Deserialize)]
struct Content {
    presence: Option<String>,
    status_msg: Option<String>,
    body: Option<String>,
}

impl Sync {
    /// Tells `observer` what it tells, which was read at `at`.
    pub fn tell(&self, observer: &mut Observer, at: Instant) {
        self.presence.events.iter().for_each(|event| event.tell(observer, at));
        self.rooms.tell(observer, at);
    }
}

impl Rooms {
    /// Tells `observer` of their timelines, which were read at `at`.
    pub fn tell(&self, observer: &mut Observer, at: Instant) {
        self.join.values().flat_map(|room| &room.timeline.events).for_each(|event| event.tell(observer, at));
    }
}

impl Event {
    /// Tells `observer` of it, which was read at `at`.
    pub fn tell(&self, observer: &mut Observer, at: Instant) {
        let Content { presence, status_msg, body } = &self.content;
        if let Some(presence) = presence {
            observer.presence(&self.sender, presence == "online");
        }
        if let Some(tag) = status_msg.as_deref().or(body.as_deref()) {
            observer.saw(tag, at);
        }
    }
}
