//! The client role against answers of a homeserver, on a virtual clock.

mod call;
mod choice;
mod commands;
mod contacts;
mod echo;
mod explain;
mod idle;
mod loss;
mod notify;
mod past;
mod phone;
mod property;
mod refusals;
mod relation_echoes;
mod relations;
mod room;
mod send_gate;
mod stream;
mod sync;
mod tabs;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::item::TimelineItem;
use super::output::{Change, Connection, Failure, Output, Request};
use super::session::Session;
use super::timeline::TimelineOp;
use super::{Client, Options, PresenceGrace};
use crate::core::action::ids::ActionId;
use crate::core::idle::IdleTimeout;
use crate::core::presence::DeviceType;
use crate::core::time::Instant;
use crate::core::wire::write::ToJson;

pub const ME: &str = "@me:hs";
pub const ROOM: &str = "!r:hs";

/// A client, its network and its storage.
pub struct Fixture {
    pub client: Client,
    pub now: Instant,
    /// Requests that have had no end.
    pub requests: Vec<Request>,
    pub changes: Vec<Change>,
    pub answers: Vec<Result<String, Failure>>,
    pub stored: BTreeMap<String, String>,
    /// What the other clients of the session are told.
    pub told: Vec<String>,
    /// What calls ask of the page.
    pub media: Vec<Value>,
    /// The room's timeline as its edits make it.
    pub view: Vec<Arc<TimelineItem>>,
    /// The stretch of its past, likewise.
    pub past: Vec<Arc<TimelineItem>>,
}

impl Fixture {
    pub fn new() -> Self {
        Self::with_storage("D", BTreeMap::new(), Instant::from_millis(1_000_000))
    }

    /// A client of `device` that finds this in storage.
    pub fn with_storage(device: &str, stored: BTreeMap<String, String>, now: Instant) -> Self {
        let session = Session {
            base_url: String::from("http://hs"),
            user_id: ME.to_owned(),
            device_id: device.to_owned(),
            access_token: String::from("token"),
        };
        let options = Options {
            idle_timeout: IdleTimeout::default(),
            device_type: DeviceType::WEB,
            presence_grace: PresenceGrace::default(),
            seed: 1,
        };
        let mut client = Client::new(&session, options, now);
        for (key, value) in &stored {
            client.handle_stored(key, value);
        }
        let (requests, changes, answers, told) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self {
            client,
            now,
            requests,
            changes,
            answers,
            stored,
            told,
            media: Vec::new(),
            view: Vec::new(),
            past: Vec::new(),
        }
    }

    /// Started, on this project's server, with the room joined and its first sync read.
    pub fn online() -> Self {
        let mut fixture = Self::new();
        fixture.go_online(true);
        fixture
    }

    pub fn go_online(&mut self, pilotlight: bool) {
        self.start();
        let features =
            json!({"org.pilotlight.presence": pilotlight, "org.pilotlight.presence_list": pilotlight});
        self.respond("versions", 200, json!({"unstable_features": features}));
        self.respond("profile", 200, json!({}));
        self.respond("GET status", 200, json!({"presence": "online"}));
        self.sync(json!({"rooms": {"join": {ROOM: {"timeline": {"events": [], "prev_batch": "p0"}}}}}));
        assert_eq!(self.client.connection(), Connection::Online);
    }

    pub fn start(&mut self) {
        self.client.start(self.now);
        self.drain();
    }

    /// Does what the outputs ask for.
    pub fn drain(&mut self) {
        while let Some(output) = self.client.poll_output() {
            match output {
                Output::Request(request) => self.requests.push(request),
                Output::Cancel(id) => self.requests.retain(|request| request.id != id),
                Output::Store { key, value: Some(value) } => drop(self.stored.insert(key, value)),
                Output::Store { key, value: None } => drop(self.stored.remove(&key)),
                Output::Tell(message) => self.told.push(message),
                Output::Media(json) => self.media.push(serde_json::from_str(&json).expect("JSON")),
                Output::Forget => self.stored.retain(|key, _| key == "last"),
                Output::Answer { result, .. } => self.answers.push(result),
                Output::Changed(change) => {
                    if let Change::Timeline { room_id, ops } = &change
                        && room_id == ROOM
                    {
                        ops.iter().for_each(|op| apply(&mut self.view, op));
                    }
                    if let Change::Past { ops, .. } = &change {
                        ops.iter().for_each(|op| apply(&mut self.past, op));
                    }
                    self.changes.push(change);
                }
            }
        }
        if self.client.rooms.contains_key(ROOM) {
            let held = self.client.timeline(ROOM);
            // Comparing what is one and the same would take most of the time of tests with many items.
            let same =
                self.view.len() == held.len() && self.view.iter().zip(&held).all(|(a, b)| Arc::ptr_eq(a, b));
            let json =
                |items: &[Arc<TimelineItem>]| -> Vec<_> { items.iter().map(|item| item.to_json()).collect() };
            if !same {
                assert_eq!(json(&self.view), json(&held), "the edits make the timeline");
            }
        }
    }

    /// Takes out the one request whose method and path contain all words of `what`.
    pub fn take(&mut self, what: &str) -> Request {
        let fits = |request: &Request| {
            let line = format!("{} {}", request.method, request.path);
            what.split(' ').all(|word| line.contains(word))
        };
        let found: Vec<usize> = (0..self.requests.len()).filter(|&at| fits(&self.requests[at])).collect();
        assert_eq!(found.len(), 1, "one request for {what:?} among {:#?}", self.requests);
        self.requests.remove(found[0])
    }

    pub fn count(&self, what: &str) -> usize {
        self.requests.iter().filter(|request| request.path.contains(what)).count()
    }

    pub fn respond(&mut self, what: &str, status: u16, body: Value) {
        let request = self.take(what);
        self.client.handle_response(self.now, request.id, status, None, body.to_string().as_bytes());
        self.drain();
    }

    pub fn lose(&mut self, what: &str) {
        let request = self.take(what);
        self.client.handle_failure(self.now, request.id, "NETWORK", "lost");
        self.drain();
    }

    /// Answers the sync under way.
    pub fn sync(&mut self, mut body: Value) {
        body["next_batch"] = json!("s");
        self.respond("/sync", 200, body);
    }

    /// Events in the room, not limited.
    pub fn events(&mut self, events: Value) {
        self.sync(json!({"rooms": {"join": {ROOM: {"timeline": {"events": events, "prev_batch": "p"}}}}}));
    }

    /// Lets time pass, with all timeouts on the way.
    pub fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(wake) = self.client.poll_timeout().filter(|&wake| wake <= end) {
            self.now = self.now.max(wake);
            self.client.handle_timeout(self.now);
            self.drain();
            let next = self.client.poll_timeout();
            assert!(next.is_none_or(|next| next > self.now), "a deadline that has passed wakes nobody again");
        }
        self.now = end;
    }

    pub fn send(&mut self, body: &str) -> ActionId {
        let content = json!({"msgtype": "m.text", "body": body}).to_string();
        let id = self.client.send(self.now, ROOM, "m.room.message", &content).expect("there is room");
        self.drain();
        id
    }

    /// `(body, echo)` of what the timeline shows.
    pub fn shown(&self) -> Vec<(String, &'static str)> {
        let line = |item: &Arc<TimelineItem>| {
            let content: Value = serde_json::from_str(&item.content).expect("contents are JSON");
            (content["body"].as_str().unwrap_or(&item.kind).to_owned(), item.echo.as_str())
        };
        self.client.timeline(ROOM).iter().map(line).collect()
    }
}

/// Applies one edit, as its documentation says.
fn apply(view: &mut Vec<Arc<TimelineItem>>, op: &TimelineOp) {
    let find = |view: &[Arc<TimelineItem>], key: &str| view.iter().position(|item| *item.key == *key);
    match op {
        TimelineOp::Append { item, before } => {
            assert!(find(view, &item.key).is_none(), "{} is shown twice", item.key);
            let at = before.as_ref().map(|key| find(view, key).expect("`before` is shown"));
            view.insert(at.unwrap_or(view.len()), item.clone());
        }
        TimelineOp::Prepend { items } => drop(view.splice(0..0, items.iter().cloned())),
        TimelineOp::Update { item } => {
            let at = find(view, &item.key).expect("what is updated is shown");
            view[at] = item.clone();
        }
        TimelineOp::Remove { key } => drop(view.remove(find(view, key).expect("what is removed is shown"))),
        TimelineOp::Reset { items } => items.clone_into(view),
    }
}

/// A message event; `action` as the sending device sees it.
pub fn message(id: &str, sender: &str, body: &str, action: Option<ActionId>) -> Value {
    let mut event = json!({"type": "m.room.message", "event_id": id, "sender": sender, "origin_server_ts": 5,
        "content": {"msgtype": "m.text", "body": body}});
    if let Some(action) = action {
        event["unsigned"] = json!({"transaction_id": action.to_string()});
    }
    event
}
