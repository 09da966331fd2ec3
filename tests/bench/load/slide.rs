//! A reader by sliding sync: a window on their rooms, with presence as an extension.

use std::{collections::BTreeMap, time::Instant};

use serde::Deserialize;
use serde_json::json;

use crate::{Error, http::Connection, sync::Event, user::User, watch::Observer};

/// Rooms in a window at least.
const WINDOW: usize = 20;

/// Polls for as long as there are answers, with a window on all of the user's rooms.
pub async fn follow(user: &User, rooms: usize, observer: &mut Observer) -> Result<(), Error> {
    let mut connection = Connection::open(&user.address).await?;
    let body = json!({
        "lists": { "all": { "ranges": [[0, rooms.max(WINDOW) - 1]], "timeline_limit": 20, "required_state": [["m.room.member", "$LAZY"]] } },
        "extensions": { "presence": { "enabled": true } },
    });
    let mut pos = String::new();
    observer.arrived();
    loop {
        let path = format!(
            "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync?set_presence=online&timeout=30000{pos}"
        );
        let answer = connection.request("POST", &path, &user.access_token, Some(&body)).await?;
        let at = Instant::now();
        if answer.status != 200 {
            return Err(
                format!("sliding: {} {}", answer.status, String::from_utf8_lossy(&answer.body)).into()
            );
        }
        observer.read(answer.bytes);
        let told: Told = serde_json::from_slice(&answer.body)?;
        told.extensions.presence.events.iter().for_each(|event| event.tell(observer, at));
        told.rooms.values().flat_map(|room| &room.timeline).for_each(|event| event.tell(observer, at));
        pos = format!("&pos={}", told.pos);
    }
}

/// An answer as far as it matters here.
#[derive(Deserialize)]
struct Told {
    pos: String,
    #[serde(default)]
    rooms: BTreeMap<String, Room>,
    #[serde(default)]
    extensions: Extensions,
}

#[derive(Deserialize)]
struct Room {
    #[serde(default)]
    timeline: Vec<Event>,
}

#[derive(Default, Deserialize)]
struct Extensions {
    #[serde(default)]
    presence: Presence,
}

#[derive(Default, Deserialize)]
struct Presence {
    #[serde(default)]
    events: Vec<Event>,
}
