//! What a homeserver answers, as the browser's side reads it; and what a browser kept.

use std::{collections::BTreeMap, sync::Arc};

use axum::http::Uri;
use serde_json::value::RawValue;

use crate::core::{
    client::{
        Client, Options, PresenceGrace,
        commands::Told,
        item::TimelineItem,
        notify::{Naming, settings_json},
        output::{Change, Failure, Output, Request},
        session::{Registration, Session, Step, session_of},
        timeline::TimelineOp,
    },
    idle::IdleTimeout,
    presence::DeviceType,
    time::Instant,
    wire::{object::Object, write::ToJson},
};

/// Requests that may be under way at once.
const MOST_REQUESTS: usize = 200;
/// The longest address that a server of this project reads, in bytes.
const LONGEST_PATH: usize = 65_534;

/// Lines of a run.
const MOST_STEPS: usize = 64;

/// A client, what it has asked for, and what it has been shown.
struct Run {
    client: Client,
    now: Instant,
    requests: Vec<Request>,
    timelines: BTreeMap<String, Vec<Arc<TimelineItem>>>,
}

impl Run {
    fn new(stored: &[(&str, &str)]) -> Self {
        let session = Session {
            base_url: "http://a.example".to_owned(),
            user_id: "@alice:a.example".to_owned(),
            device_id: "D".to_owned(),
            access_token: "t".to_owned(),
        };
        let options = Options {
            idle_timeout: IdleTimeout::default(),
            presence_grace: PresenceGrace::default(),
            device_type: DeviceType::WEB,
            seed: 1,
        };
        let now = Instant::from_millis(1_000_000);
        let mut client = Client::new(&session, options, now);
        stored.iter().for_each(|(key, value)| client.handle_stored(key, value));
        client.start(now);
        let mut run = Self { client, now, requests: Vec::new(), timelines: BTreeMap::new() };
        run.drain();
        run
    }

    fn drain(&mut self) {
        while let Some(output) = self.client.poll_output() {
            match output {
                Output::Request(request) => {
                    // A server may make its tokens longer than an address can be.
                    if request.path.len() <= LONGEST_PATH {
                        let uri: Uri = request.path.parse().expect("a path and a query");
                        assert!(uri.path().starts_with("/_matrix/") && uri.authority().is_none(), "{uri}");
                    }
                    assert!(request.body.as_ref().is_none_or(|body| is_json(body)), "{:?}", request.body);
                    self.requests.push(request);
                }
                Output::Cancel(id) => self.requests.retain(|request| request.id != id),
                Output::Changed(change) => self.show(&change),
                Output::Store { value, .. } => assert!(value.is_none_or(|value| !value.is_empty())),
                Output::Forget | Output::Tell(_) => (),
                Output::Media(json) => assert!(is_json(&json), "{json}"),
                Output::Answer { result, .. } => {
                    assert!(result.is_err() || result.is_ok_and(|json| is_json(&json)))
                }
            }
        }
        assert!(self.requests.len() <= MOST_REQUESTS, "{} requests at once", self.requests.len());
    }

    /// What is shown is JSON, and the edits of a timeline can be made in their order.
    fn show(&mut self, change: &Change) {
        let shown = match change {
            Change::Presence(changed) => changed.to_json(),
            Change::Me(me) => serde_json::to_string(me).expect("what I chose has a JSON form"),
            Change::Rooms { changed, .. } => changed.to_json(),
            Change::Timeline { room_id, ops } => {
                let timeline = self.timelines.entry(room_id.clone()).or_default();
                ops.iter().for_each(|op| edit(timeline, op));
                ops.to_json()
            }
            Change::Past { ops, .. } => ops.to_json(),
            Change::Refused { item, .. } => item.to_json(),
            Change::Members { changed, .. } => changed.to_json(),
            Change::Contacts { changed, .. } => changed.to_json(),
            Change::Call(view) => view.to_json(),
            Change::NotifySettings(settings) => settings_json(settings, Naming::Application),
            Change::Connection(..) | Change::Idle(_) => return,
        };
        assert!(is_json(&shown), "{shown}");
    }

    /// The first request whose path has `what` in it is answered.
    fn answer(&mut self, what: &str, status: u16, body: &str) {
        if let Some(at) = self.requests.iter().position(|request| request.path.contains(what)) {
            let request = self.requests.remove(at);
            self.client.handle_response(self.now, request.id, status, None, body.as_bytes());
            self.drain();
        }
    }

    /// Bytes of the held stream, if it is asked for.
    fn chunk(&mut self, text: &str) {
        if let Some(id) = self.requests.iter().find(|request| request.held).map(|request| request.id) {
            self.client.handle_chunk(self.now, id, text.as_bytes());
            self.drain();
        }
    }

    fn pass(&mut self, seconds: u64) {
        let end = self.now + std::time::Duration::from_secs(seconds);
        for _ in 0..1_000 {
            let Some(wake) = self.client.poll_timeout().filter(|&wake| wake <= end) else { break };
            self.now = self.now.max(wake);
            self.client.handle_timeout(self.now);
            self.drain();
            let next = self.client.poll_timeout();
            assert!(next.is_none_or(|next| next > self.now), "a deadline that has passed wakes nobody again");
        }
        self.now = end;
    }

    fn step(&mut self, line: &str) {
        let mut words = line.splitn(3, ' ');
        let mut word = || words.next().unwrap_or_default();
        let (verb, first, rest) = (word(), word(), word());
        match verb {
            "send" => {
                let sent = self.client.send(self.now, first, "m.room.message", rest);
                // Whatever the server says of a room: a message waits, or is refused for a reason that has a name.
                let is_due = match sent.as_ref().map_err(|refused| &*refused.code) {
                    Ok(_) | Err("NOT_IN_ROOM" | "ENCRYPTED_ROOM" | "LOGGED_OUT") => true,
                    Err("BAD_CONTENT") => Object::parse(rest).is_none(),
                    Err(code) => matches!(code, "QUEUE_FULL" | "TOO_LARGE") && rest.len() > 1_000,
                };
                assert!(is_due, "{sent:?}");
            }
            "phone" => {
                let answer = self.client.handle_phone(self.now, first, rest);
                assert!(answer.map_or(true, |json| is_json(&json)));
                assert!(is_json(&self.client.calls().to_json()));
            }
            "members" => {
                let members = self.client.members(first, self.now);
                assert!(is_json(&members.to_json()));
            }
            "more" => drop(self.client.scroll_back(self.now, first, 10)),
            // What a line cannot hold.
            "chunk" => self.chunk(&[first, " ", rest].concat().replace("\\n", "\n").replace("\\r", "\r")),
            "tab" => self.client.handle_tab(self.now, &[first, " ", rest].concat().replace("\\n", "\n")),
            "lead" => self.client.handle_lead(self.now, first == "yes"),
            "read" => self.client.mark_read(self.now, first, None, Told::Everybody),
            "jump" => drop(self.client.jump(self.now, first, Some(rest))),
            "on" => {
                drop(self.client.call(self.now, "scrollPast", &["[\"", first, "\",\"forward\"]"].concat()))
            }
            "wait" => self.pass(first.parse::<u64>().unwrap_or(1) % 10_000),
            what => {
                let status = first.parse().ok().filter(|status| (100..=599).contains(status));
                self.answer(what, status.unwrap_or(200), rest);
            }
        }
        self.drain();
    }
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<&RawValue>(text).is_ok()
}

/// Applies one edit, as its documentation says.
fn edit(timeline: &mut Vec<Arc<TimelineItem>>, op: &TimelineOp) {
    let find = |timeline: &[Arc<TimelineItem>], key: &str| timeline.iter().position(|item| *item.key == *key);
    match op {
        TimelineOp::Append { item, before } => {
            assert!(find(timeline, &item.key).is_none(), "{} is shown twice", item.key);
            let at = before.as_ref().map(|key| find(timeline, key).expect("`before` is shown"));
            timeline.insert(at.unwrap_or(timeline.len()), Arc::clone(item));
        }
        TimelineOp::Prepend { items } => drop(timeline.splice(0..0, items.iter().cloned())),
        TimelineOp::Update { item } => {
            let at = find(timeline, &item.key).expect("what is updated is shown");
            timeline[at] = Arc::clone(item);
        }
        TimelineOp::Remove { key } => {
            drop(timeline.remove(find(timeline, key).expect("what is removed is shown")));
        }
        TimelineOp::Reset { items } => items.clone_into(timeline),
    }
}

/// A line each: `stored KEY VALUE` what storage held, before anything else; `sync 200 {…}` the answer to the request
/// with that word in its path; `send ROOM {…}`, `members ROOM`, `more ROOM`, `read ROOM`, `wait SECONDS`; `phone WORD […]` of a call;
/// `chunk TEXT` of the held stream, `tab TEXT` from another tab, `lead yes` or `no`.
pub(super) fn client_answers(data: &[u8]) {
    let Ok(lines) = str::from_utf8(data) else { return };
    let lines: Vec<&str> = lines.lines().take(MOST_STEPS).collect();
    let of_storage = |line: &&&str| line.starts_with("stored ");
    let stored = lines.iter().filter(of_storage);
    let stored: Vec<_> = stored.filter_map(|line| line["stored ".len()..].split_once(' ')).collect();
    let mut run = Run::new(&stored);
    for line in lines.iter().filter(|line| !of_storage(line)) {
        run.step(line);
        session(line);
    }
    for (room, timeline) in &run.timelines {
        let keys = |items: &[Arc<TimelineItem>]| -> Vec<_> {
            items.iter().map(|item| Arc::clone(&item.key)).collect()
        };
        let known = run.client.timeline(room);
        assert!(known.is_empty() || keys(&known) == keys(timeline), "the edits make the timeline of {room}");
    }
    assert!(is_json(&run.client.rooms().to_json()));
    run.pass(3_600);
}

/// What registration and login answer, and what an application kept of it.
fn session(json: &str) {
    if let Some(session) = session_of("http://a.example/", json) {
        let written = serde_json::to_string(&session).expect("a session has a JSON form");
        assert_eq!(Object::parse_or_empty(&written).string("accessToken"), Some(session.access_token));
    }
    let token = Some(String::from("sesame"));
    let registration =
        Registration { username: String::from("a"), password: String::from("b"), device_name: None, token };
    let mut step = Step::FIRST;
    // However often a server asks for more: no stage is passed twice in a row.
    while let Ok(next) = registration.next(&step, Failure::of_answer(401, None, json), json) {
        assert_ne!(next, step, "the same again");
        assert!(is_json(&registration.body(&next)));
        step = next;
    }
}
