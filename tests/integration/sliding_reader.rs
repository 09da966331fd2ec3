//! A reader by sliding sync, made from MSC4186 and not from the server: it changes its windows and subscriptions at random,
//! loses answers, comes with old positions, and is to know in the end what a first `/sync` tells.

use std::collections::{BTreeMap, BTreeSet};

use pilotlight::core::rng::Rng;
use serde_json::{Value, json};

use super::{
    folded::{Known, Room},
    sliding::{BEFORE, V4},
    support::Client,
};

/// What the reader has at one position.
#[derive(Clone, Default)]
struct Have {
    pos: Option<String>,
    /// Up to where it has the messages for its device.
    messages: Option<String>,
    known: Known,
    /// The messages, in order.
    direct: Vec<u64>,
    /// Events that were told as if they had just happened.
    live: BTreeMap<String, String>,
}

/// One device that reads by sliding sync.
pub struct SlidingReader {
    pub client: Client,
    /// Reads in the form that was accepted, not in that of before.
    is_accepted: bool,
    now: Have,
    /// Before its last answer.
    before: Have,
    /// A position that it has gone on from.
    old: Option<String>,
    window: Window,
    /// Rooms, IDs and senders of the events that it was told.
    pub told: BTreeSet<(String, String, String)>,
    /// What became of its connection.
    pub story: Vec<String>,
}

/// Which rooms it asks for.
#[derive(Clone, Debug)]
struct Window {
    ranges: [(u64, u64); 2],
    limits: [u64; 2],
    subscribed: Vec<String>,
}

const ALL: Window = Window { ranges: [(0, 99), (0, 99)], limits: [100, 1], subscribed: Vec::new() };

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

impl SlidingReader {
    pub fn new(client: &Client, is_accepted: bool) -> Self {
        Self {
            client: client.clone(),
            is_accepted,
            now: Have::default(),
            before: Have::default(),
            old: None,
            window: ALL,
            told: BTreeSet::new(),
            story: Vec::new(),
        }
    }

    /// What it knows, and the messages that it had.
    pub fn known(&self) -> (&Known, &[u64]) {
        (&self.now.known, &self.now.direct)
    }

    /// Looks, once, or has something become of its connection.
    pub fn step(&mut self, rng: &mut Rng) {
        match rng.range(0..10) {
            // The last answer did not arrive.
            0 if self.now.pos.is_some() => {
                self.now = self.before.clone();
                self.story.push(format!("back to {:?}", self.now.pos));
            }
            1 => {
                let Some(old) = self.old.clone() else { return };
                let answer = self.ask(Some(&old), &self.window.clone());
                assert_eq!((answer.0, &answer.1["errcode"]), (400, &json!("M_UNKNOWN_POS")), "{}", answer.1);
            }
            2 | 3 => self.window = self.any_window(rng),
            // As somebody who has nothing.
            4 if rng.chance(1, 6) => {
                self.begin();
                self.now.known = Known::default();
                self.now.live.clear();
            }
            _ => self.look(),
        }
    }

    /// Looks at all rooms.
    pub fn look_at_all(&mut self) {
        self.window = ALL;
        self.look();
    }

    /// Its server began anew.
    pub fn go_on(&mut self, client: Client) {
        self.client = client;
        self.story.push("restart".into());
    }

    fn any_window(&self, rng: &mut Rng) -> Window {
        let mut range = || {
            let first = rng.range(0..3);
            (first, first + rng.range(0..3))
        };
        let ranges = [range(), range()];
        let limits = [[1, 2, 5, 20][below(rng, 4)], [0, 1, 3, 100][below(rng, 4)]];
        let rooms: Vec<_> = self.now.known.rooms.keys().filter(|_| rng.chance(1, 3)).cloned().collect();
        Window { ranges, limits, subscribed: rooms }
    }

    /// Was told to: has nothing but what is not of its connection.
    fn begin(&mut self) {
        self.story.push("begins".into());
        self.now.pos = None;
        self.now.known.rooms.clear();
        self.old = None;
    }

    fn look(&mut self) {
        let (status, answer) = self.ask(self.now.pos.as_deref(), &self.window);
        if status == 400 {
            assert_eq!(answer["errcode"], "M_UNKNOWN_POS", "{answer}");
            assert!(self.story.iter().rev().any(|s| s == "restart"), "{:?}: {answer}", self.story);
            return self.begin();
        }
        assert_eq!(status, 200, "{answer}");
        let before = self.now.clone();
        // One before that has been gone on from.
        self.old = self.before.pos.take().filter(|old| Some(old) != before.pos.as_ref()).or(self.old.take());
        self.take(&answer);
        self.now.pos = Some(text(&answer["pos"]));
        self.before = before;
    }

    fn ask(&self, pos: Option<&str>, window: &Window) -> (u16, Value) {
        let Window { ranges, limits, subscribed } = window;
        let on = || json!({ "enabled": true });
        let mut extensions = json!({ "account_data": on(), "receipts": on(), "typing": on(), "e2ee": on(),
            "to_device": { "enabled": true, "since": self.now.messages } });
        extensions[if self.is_accepted { "org.pilotlight.presence" } else { "presence" }] = on();
        let (path, required) = match self.is_accepted {
            true => (V4.to_owned(), json!({ "include": [{}] })),
            false => {
                let pos = pos.map(|pos| format!("&pos={pos}")).unwrap_or_default();
                (format!("{BEFORE}?timeout=0{pos}"), json!([["*", "*"]]))
            }
        };
        let lists = [0, 1].map(|n| {
            let mut one = json!({ "timeline_limit": limits[n], "required_state": required });
            match self.is_accepted {
                true => one["range"] = json!(ranges[n]),
                false => one["ranges"] = json!([ranges[n]]),
            }
            one
        });
        let one = json!({ "timeline_limit": 4, "required_state": required });
        let rooms: serde_json::Map<_, _> =
            subscribed.iter().map(|room| (room.clone(), one.clone())).collect();
        let mut body = json!({ "conn_id": "sim", "lists": { "a": lists[0], "b": lists[1] },
            "room_subscriptions": rooms, "extensions": extensions });
        if self.is_accepted {
            body["pos"] = json!(pos);
        }
        let answer = self.client.post(&path, body);
        (answer.status, answer.body)
    }

    fn take(&mut self, answer: &Value) {
        for (id, news) in entries(&answer["rooms"]) {
            self.take_room(id, news);
        }
        let extensions = &answer["extensions"];
        let known = &mut self.now.known;
        for event in list(&extensions["account_data"]["global"]) {
            known.own_data.insert(text(&event["type"]), event["content"].clone());
        }
        for (id, data) in entries(&extensions["account_data"]["rooms"]) {
            let room = known.rooms.get_mut(id).expect("a room that was told");
            for event in list(data) {
                room.own_data.insert(text(&event["type"]), event["content"].clone());
            }
        }
        for (id, event) in entries(&extensions["typing"]["rooms"]) {
            known
                .rooms
                .get_mut(id)
                .expect("a room that was told")
                .take_ephemeral("m.typing", &event["content"]);
        }
        for (id, event) in entries(&extensions["receipts"]["rooms"]) {
            known
                .rooms
                .get_mut(id)
                .expect("a room that was told")
                .take_ephemeral("m.receipt", &event["content"]);
        }
        let key = if self.is_accepted { "org.pilotlight.presence" } else { "presence" };
        for event in list(&extensions[key]["events"]) {
            let content = &event["content"];
            let state = text(&content["org.pilotlight.presence"]["state"]);
            known.presence.insert(text(&event["sender"]), (state, text(&content["status_msg"])));
        }
        let messages = &extensions["to_device"];
        self.now.direct.extend(list(&messages["events"]).filter_map(|event| event["content"]["n"].as_u64()));
        self.now.messages = Some(text(&messages["next_batch"]));
    }

    fn take_room(&mut self, id: &str, news: &Value) {
        let own = |event: &&Value| {
            event["type"] == "m.room.member" && event["state_key"] == self.client.user.as_str()
        };
        let (stripped, timeline) = match self.is_accepted {
            true => ("stripped_state", &news["timeline_events"]),
            false => ("invite_state", &news["timeline"]),
        };
        let of_events = list(&news["required_state"]).chain(list(timeline)).chain(list(&news[stripped]));
        let is = of_events.filter(own).last().map(|event| text(&event["content"]["membership"]));
        if let (Some(said), Some(is)) = (news["membership"].as_str(), &is) {
            assert_eq!(said, is, "{news}");
        }
        let Have { known, live, pos, .. } = &mut self.now;
        let is_known = known.rooms.contains_key(id);
        assert!(
            news["initial"] == true || is_known,
            "{id} of {} is not told in full: {news}",
            self.client.user
        );
        let room = known.rooms.entry(id.to_owned()).or_default();
        if news["initial"] == true {
            *room = Room::default();
        }
        match is.as_deref() {
            Some("join") => room.is = "join",
            Some("invite") => room.is = "invite",
            Some("leave" | "ban") => room.is = "leave",
            Some(other) => panic!("{other}"),
            None => assert_ne!(room.is, "", "{news}"),
        }
        if room.is != "join" {
            room.typing.clear();
            return;
        }
        // Told on from what it knows there is no gap, however much is told again.
        if news["limited"] == true && !list(timeline).next().is_some_and(|first| room.has(first)) {
            room.fill(&self.client, id, &text(&news["prev_batch"]));
        }
        let events: Vec<_> = list(timeline).collect();
        let told_whole = news["initial"] == true
            || news["limited"] == true
            || events.iter().any(own)
            || news["unstable_expanded_timeline"] == true
            || news["expanded_timeline"] == true;
        let lively = usize::try_from(news["num_live"].as_u64().unwrap_or(0)).expect("is small");
        for (n, event) in events.iter().enumerate() {
            let event_id = text(&event["event_id"]);
            self.told.insert((id.to_owned(), event_id.clone(), text(&event["sender"])));
            if n + lively >= events.len() {
                let at = format!("after {pos:?}");
                let before = live.insert(event_id, at.clone());
                assert!(before.is_none(), "told as new {at} and {before:?}: {event}\n{:?}", self.story);
            }
            match room.has(event) {
                true => assert!(told_whole, "told twice: {event} to {}\n{:?}", self.client.user, self.story),
                false => room.add(event),
            }
        }
        // The state is that after the timeline.
        list(&news["required_state"]).for_each(|event| room.put(event));
        if let Some(notifications) = news["notification_count"].as_u64() {
            room.unread = (notifications, news["highlight_count"].as_u64().expect("a number"));
        }
    }

    /// What is told in another way than by `/sync`: as that tells it.
    pub fn as_synced(&self, mut known: Known, synced: &Known) -> Known {
        for (id, room) in &mut known.rooms {
            let Some(other) = synced.rooms.get(id) else { continue };
            // Of others, receipts are told that are on what is told, and new ones.
            for (reader, event) in &other.receipts {
                if !reader.starts_with(&format!("{} ", self.client.user)) {
                    room.receipts.entry(reader.clone()).or_insert_with(|| event.clone());
                }
            }
        }
        known
    }
}

fn below(rng: &mut Rng, end: u64) -> usize {
    usize::try_from(rng.range(0..end)).expect("is small")
}
