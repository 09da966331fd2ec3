//! Calls on a virtual clock, between clients that hear each other through a room.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

mod hostile;
mod phases;
mod room;
mod signals;
mod world;

use std::time::Duration;

use serde_json::{Value, json};

use super::output::{Delivery, Letter, Media, Output, View};
use super::role::{Admission, Calls};
use super::signal::{Description, DescriptionKind, Signal};
use crate::core::time::Instant;
use crate::core::wire::object::Object;

pub const ROOM: &str = "!r:hs";

/// An event as a room has it.
#[derive(Clone, Debug)]
pub struct Event {
    pub sender: String,
    pub kind: String,
    pub content: Value,
    pub at: Instant,
}

/// One client of a user: its calls, a page that does what it is asked for, and what there was to show.
pub struct Phone {
    pub user: String,
    pub calls: Calls,
    pub now: Instant,
    pub shown: Vec<View>,
    pub media: Vec<(String, Media)>,
    pub letters: Vec<Letter>,
    pub in_call: Vec<bool>,
}

impl Phone {
    pub fn new(user: &str, seed: u64, now: Instant) -> Self {
        let calls = Calls::new(user, seed);
        let user = user.to_owned();
        Self { user, calls, now, shown: vec![], media: vec![], letters: vec![], in_call: vec![] }
    }

    pub fn drain(&mut self) {
        while let Some(output) = self.calls.poll_output() {
            match output {
                Output::Send(letter) => self.letters.push(letter),
                Output::Media { call, media } => self.media.push((call, media)),
                Output::Show(view) => self.shown.push(view),
                Output::InCall(in_call) => self.in_call.push(in_call),
            }
        }
    }

    pub fn act<T>(&mut self, act: impl FnOnce(&mut Calls, Instant) -> T) -> T {
        let answer = act(&mut self.calls, self.now);
        self.drain();
        answer
    }

    /// The server takes what waits; the events, in order.
    pub fn post(&mut self) -> Vec<Event> {
        let mut posted = Vec::new();
        while !self.letters.is_empty() {
            let Letter { token, room, kind, content, .. } = self.letters.remove(0);
            assert_eq!(room, ROOM);
            let content = serde_json::from_str(&content).expect("contents are JSON");
            posted.push(Event { sender: self.user.clone(), kind: kind.to_owned(), content, at: self.now });
            self.act(|calls, now| calls.handle_sent(now, token, Delivery::Sent));
        }
        posted
    }

    /// Hears events of the room, which came together.
    pub fn hear(&mut self, events: &[Event]) {
        self.hear_as(events, Admission::Rings);
    }

    pub fn hear_as(&mut self, events: &[Event], admission: Admission) {
        for event in events {
            let text = event.content.to_string();
            let content = Object::parse(&text).expect("an object");
            if let Some(signal) = Signal::read(&event.kind, &event.sender, &content) {
                let age = self.now.since(event.at);
                self.calls.handle_event(self.now, ROOM, signal, age, admission);
            }
        }
        self.calls.handle_settled(self.now);
        self.drain();
    }

    pub fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(wake) = self.calls.poll_timeout().filter(|&wake| wake <= end) {
            self.now = self.now.max(wake);
            self.act(|calls, now| calls.handle_timeout(now));
            let next = self.calls.poll_timeout();
            assert!(next.is_none_or(|next| next > self.now), "a deadline that has passed wakes nobody again");
        }
        self.now = end;
    }

    /// The page describes what it was asked to.
    pub fn describe(&mut self, call: &str, kind: DescriptionKind) {
        let own = description(kind);
        self.act(|calls, now| calls.handle_described(now, call, &own)).expect("the call is there");
    }

    /// Where a call was shown to stand last, with the reason of its end.
    pub fn state(&self, call: &str) -> String {
        let Some(view) = self.shown.iter().rev().find(|view| view.call == call) else {
            return String::from("unheard of");
        };
        match view.phase {
            super::phase::Phase::Ended(end) => end.as_str().to_owned(),
            phase => phase.as_str().to_owned(),
        }
    }

    pub fn asked(&mut self) -> Vec<(String, Media)> {
        std::mem::take(&mut self.media)
    }
}

pub fn description(kind: DescriptionKind) -> Description {
    let streams = Some(String::from(r#"{"s":{"purpose":"m.usermedia"}}"#));
    Description { kind, sdp: String::from("v=0\r\nm=audio 9\r\n"), streams }
}

/// Two people, each with one client.
pub struct Two {
    pub ann: Phone,
    pub ben: Phone,
}

pub const START: Instant = Instant::from_millis(1_000_000_000);

impl Two {
    pub fn new() -> Self {
        Self { ann: Phone::new("@ann:hs", 1, START), ben: Phone::new("@ben:hs", 2, START) }
    }

    /// Ann calls, and Ben hears it; the call's ID.
    pub fn ringing() -> (Self, String) {
        let mut two = Self::new();
        let call = two.ann.act(|calls, now| calls.place(now, ROOM, Some("@ben:hs"), false)).expect("free");
        two.ann.describe(&call, DescriptionKind::Offer);
        let said = two.ann.post();
        two.ben.hear(&said);
        (two, call)
    }

    /// And Ben answers, and Ann has the answer.
    pub fn connecting() -> (Self, String) {
        let (mut two, call) = Self::ringing();
        two.ben.act(|calls, now| calls.accept(now, &call, false)).expect("rings");
        two.ben.describe(&call, DescriptionKind::Answer);
        let said = two.ben.post();
        two.ann.hear(&said);
        let said = two.ann.post();
        two.ben.hear(&said);
        (two, call)
    }

    pub fn connected() -> (Self, String) {
        let (mut two, call) = Self::connecting();
        for phone in [&mut two.ann, &mut two.ben] {
            phone.act(|calls, now| calls.handle_path(now, &call, super::one::Path::Up)).expect("there");
        }
        (two, call)
    }

    pub fn states(&self, call: &str) -> (String, String) {
        (self.ann.state(call), self.ben.state(call))
    }
}

pub fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub fn event(sender: &str, kind: &str, content: Value) -> Event {
    Event { sender: sender.to_owned(), kind: kind.to_owned(), content, at: START }
}

pub fn invite(id: &str, party: &str) -> Value {
    json!({"call_id": id, "party_id": party, "version": "1", "lifetime": 60_000, "offer": {"type": "offer", "sdp": "v=0"}})
}
