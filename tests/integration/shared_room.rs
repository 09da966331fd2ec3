//! A room of a server under test in which a user of a scripted one is.

use std::{cell::Cell, time::Duration};

use ruma::{OwnedEventId, OwnedRoomId, OwnedServerName, RoomVersionId, room_version_rules::RoomVersionRules};
use serde_json::{Value, json};

use super::{
    authority::Authority,
    peer::Peer,
    support::{Client, TestServer, runtime},
};

pub const V3: &str = "/_matrix/client/v3";

/// A server with a room, and another one whose user Rita is in it.
pub struct Scene {
    pub ca: Authority,
    pub name: OwnedServerName,
    pub server: TestServer,
    pub alice: Client,
    pub peer: Peer,
    pub rita: String,
    pub room: OwnedRoomId,
    pub rules: RoomVersionRules,
    pub version: RoomVersionId,
    transactions: Cell<usize>,
}

impl Scene {
    /// A public room of this version.
    pub fn new(version: RoomVersionId) -> Self {
        let ca = Authority::new();
        let (name, server) = ca.trusting_server();
        let peer = Peer::start(&ca, Duration::ZERO);
        let alice = server.register("alice");
        let request = json!({ "preset": "public_chat", "room_version": version });
        let room = alice.post(&format!("{V3}/createRoom"), request).ok()["room_id"].clone();
        let room = serde_json::from_value(room).expect("an ID");
        let rules = version.rules().expect("a known version");
        let rita = format!("@rita:{}", peer.name);
        let transactions = Cell::default();
        let scene = Self { ca, name, server, alice, peer, rita, room, rules, version, transactions };
        let (id, join) = scene.next("m.room.member", Some(&scene.rita), json!({ "membership": "join" }));
        scene.taken(&[join], &[id]);
        scene
    }

    /// The events that the room ends with.
    pub fn ends(&self) -> Vec<OwnedEventId> {
        let store = &self.server.app().store;
        let ends = runtime().block_on(store.extremities(&self.room)).expect("reads");
        ends.into_iter().map(|end| end.event_id).collect()
    }

    pub fn state(&self, kind: &str, key: &str) -> Option<OwnedEventId> {
        let store = &self.server.app().store;
        let event = runtime().block_on(store.state_event(&self.room, kind, key)).expect("reads");
        event.map(|event| event.event_id.clone())
    }

    /// An event of Rita's that follows what the room ends with.
    pub fn next(&self, kind: &str, key: Option<&str>, content: Value) -> (OwnedEventId, Value) {
        self.after(&self.ends(), kind, key, content)
    }

    /// An event of Rita's that follows these.
    pub fn after(
        &self,
        prev: &[OwnedEventId],
        kind: &str,
        key: Option<&str>,
        content: Value,
    ) -> (OwnedEventId, Value) {
        let mut auth: Vec<OwnedEventId> = Vec::new();
        auth.extend(self.state("m.room.power_levels", ""));
        auth.extend(self.state("m.room.member", &self.rita));
        if self.version != RoomVersionId::V12 {
            auth.extend(self.state("m.room.create", ""));
        }
        if kind == "m.room.member" {
            auth.extend(self.state("m.room.join_rules", ""));
        }
        let mut event = json!({ "type": kind, "room_id": self.room, "sender": self.rita, "content": content,
            "origin_server_ts": 1_700_000_000_000_u64, "depth": 50, "prev_events": prev, "auth_events": auth });
        if let Some(key) = key {
            event["state_key"] = key.into();
        }
        self.peer.event(&self.rules, event)
    }

    pub fn message(&self, prev: &[OwnedEventId], body: &str) -> (OwnedEventId, Value) {
        self.after(prev, "m.room.message", None, json!({ "msgtype": "m.text", "body": body }))
    }

    /// What the server says of these events.
    pub fn send(&self, pdus: &[Value]) -> Value {
        self.transactions.set(self.transactions.get() + 1);
        let request = self.peer.pdus(&self.name, &self.transactions.get().to_string(), pdus);
        self.peer.send(&self.name, &request).ok()["pdus"].clone()
    }

    pub fn taken(&self, pdus: &[Value], ids: &[OwnedEventId]) {
        let expected: Value =
            ids.iter().map(|id| (id.to_string(), json!({}))).collect::<serde_json::Map<_, _>>().into();
        assert_eq!(self.send(pdus), expected);
    }

    /// The events that Alice sees, the last first.
    pub fn seen(&self) -> Vec<String> {
        let path = format!("{V3}/rooms/{}/messages?dir=b&limit=100", self.room);
        let chunk = self.alice.get(&path).ok()["chunk"].clone();
        let ids = chunk.as_array().expect("a list").iter();
        ids.map(|event| event["event_id"].as_str().expect("an ID").to_owned()).collect()
    }
}
