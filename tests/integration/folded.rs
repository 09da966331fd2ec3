//! What a client knows that followed its stream, whatever the form it came in.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{streamed::Told, support::Client};

/// What a client knows.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Known {
    /// State and status message of each.
    pub presence: BTreeMap<String, (String, String)>,
    pub rooms: BTreeMap<String, Room>,
    pub own_data: BTreeMap<String, Value>,
}

/// What it knows of a room.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Room {
    pub is: &'static str,
    pub state: BTreeMap<String, Value>,
    /// IDs and senders.
    pub timeline: Vec<(String, String)>,
    pub typing: BTreeSet<String>,
    pub receipts: BTreeMap<String, String>,
    pub own_data: BTreeMap<String, Value>,
    pub unread: (u64, u64),
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

impl Known {
    /// An answer of `/sync`.
    pub fn take_sync(&mut self, client: &Client, answer: &Value) {
        for event in list(&answer["account_data"]["events"]) {
            self.own_data.insert(text(&event["type"]), event["content"].clone());
        }
        self.take_rooms(client, &answer["rooms"]);
        for event in list(&answer["presence"]["events"]) {
            let content = &event["content"];
            let state = text(&content["org.pilotlight.presence"]["state"]);
            self.presence.insert(text(&event["sender"]), (state, text(&content["status_msg"])));
        }
    }

    /// An event of the held stream.
    pub fn take_told(&mut self, client: &Client, told: &Told) {
        let data = &told.data;
        match told.name.as_str() {
            "p" => {
                self.presence.insert(text(&data["u"]), (text(&data["s"]), text(&data["m"])));
            }
            "e" => {
                let room = self.rooms.get_mut(&text(&data["room_id"])).expect("a room that is known");
                assert_eq!(room.is, "join", "{told:?}");
                assert!(!room.has(data), "told twice: {told:?} to {} {}", client.user, client.device);
                room.add(data);
            }
            "typing" => self.room(data).take_ephemeral("m.typing", data),
            "receipt" => self.room(data).take_ephemeral("m.receipt", &data["content"]),
            "unread" => self.room(data).take_unread(data),
            "account_data" => {
                let known = match data.get("room_id") {
                    Some(_) => &mut self.room(data).own_data,
                    None => &mut self.own_data,
                };
                known.insert(text(&data["type"]), data["content"].clone());
            }
            "room" => self.take_rooms(client, data),
            "sync" => self.take_sync(client, data),
            _ => {}
        }
    }

    fn room(&mut self, data: &Value) -> &mut Room {
        self.rooms.get_mut(&text(&data["room_id"])).expect("a room that is known")
    }

    fn take_rooms(&mut self, client: &Client, rooms: &Value) {
        for (id, news) in entries(&rooms["join"]) {
            self.rooms.entry(id.clone()).or_default().take_join(client, id, news);
        }
        for (id, _) in entries(&rooms["invite"]) {
            self.rooms.entry(id.clone()).or_default().is = "invite";
        }
        for (id, _) in entries(&rooms["leave"]) {
            let room = self.rooms.entry(id.clone()).or_default();
            room.is = "leave";
            room.typing.clear();
        }
    }
}

impl Room {
    pub fn has(&self, event: &Value) -> bool {
        let id = text(&event["event_id"]);
        self.timeline.iter().any(|(known, _)| *known == id)
    }

    pub fn add(&mut self, event: &Value) {
        self.put(event);
        self.timeline.push((text(&event["event_id"]), text(&event["sender"])));
    }

    pub fn put(&mut self, event: &Value) {
        if let Some(key) = event["state_key"].as_str() {
            self.state.insert(format!("{} {key}", text(&event["type"])), event["content"].clone());
        }
    }

    fn take_join(&mut self, client: &Client, id: &str, news: &Value) {
        if self.is != "join" {
            (self.is, self.timeline, self.typing) = ("join", Vec::new(), BTreeSet::new());
        }
        let timeline = &news["timeline"];
        list(&news["state"]["events"]).for_each(|event| self.put(event));
        if timeline["limited"] == true {
            self.fill(client, id, &text(&timeline["prev_batch"]));
        }
        let own =
            |event: &Value| event["state_key"] == client.user.as_str() && event["type"] == "m.room.member";
        let is_whole = timeline["limited"] == true || list(&timeline["events"]).any(own);
        for event in list(&timeline["events"]) {
            if self.has(event) {
                assert!(is_whole, "told twice: {event} to {} {}", client.user, client.device);
                self.put(event);
            } else {
                self.add(event);
            }
        }
        for event in list(&news["ephemeral"]["events"]) {
            self.take_ephemeral(event["type"].as_str().expect("a type"), &event["content"]);
        }
        for event in list(&news["account_data"]["events"]) {
            self.own_data.insert(text(&event["type"]), event["content"].clone());
        }
        self.take_unread(&news["unread_notifications"]);
    }

    /// Reads back to what is known, or to the beginning.
    pub fn fill(&mut self, client: &Client, id: &str, from: &str) {
        let (mut missed, mut from) = (Vec::new(), from.to_owned());
        'back: loop {
            let path = format!("/_matrix/client/v3/rooms/{id}/messages?dir=b&limit=100&from={from}");
            let answer = client.get(&path);
            // Put out meanwhile: what was missed is never seen.
            if answer.status != 200 {
                break;
            }
            for event in list(&answer.body["chunk"]) {
                if self.has(event) {
                    break 'back;
                }
                missed.push((text(&event["event_id"]), text(&event["sender"])));
            }
            match answer.body["end"].as_str() {
                Some(end) => from = end.to_owned(),
                None => break,
            }
        }
        missed.reverse();
        self.timeline.extend(missed);
    }

    pub fn take_ephemeral(&mut self, kind: &str, content: &Value) {
        if kind == "m.typing" {
            self.typing = list(&content["user_ids"]).map(text).collect();
            return;
        }
        for (event, kinds) in entries(content) {
            for (kind, users) in entries(kinds) {
                for (user, _) in entries(users) {
                    self.receipts.insert(format!("{user} {kind}"), event.clone());
                }
            }
        }
    }

    fn take_unread(&mut self, counts: &Value) {
        let count = |key: &str| counts[key].as_u64().expect(key);
        self.unread = (count("notification_count"), count("highlight_count"));
    }
}
