//! Looking an event up wherever it is in a room's past, and going on from there until the present is met.

use super::commands::{MESSAGES_FILTER, scroll_limit};
use super::output::{Failure, Ticket};
use super::past::Past;
use super::pending::{Awaited, Direction, Then};
use super::redaction::REDACTION;
use super::role::Client;
use super::timeline::{Timeline, TimelineOp};
use crate::core::time::Instant;
use crate::core::wire::event::{Event, events};
use crate::core::wire::object::Object;
use crate::core::wire::path::{path, push_query};
use crate::core::wire::write::ToJson;

/// How many events a jump asks for.
const AROUND: &str = "60";

impl Client {
    /// Looks an event up, answering where it is shown: `"live"` or `"past"`. Without one the past is left.
    pub fn jump(&mut self, now: Instant, room_id: &str, event_id: Option<&str>) -> Ticket {
        let Some(room) = self.rooms.get_mut(room_id) else {
            return self
                .answer_at_once(Err(Failure::local("NOT_IN_ROOM", "this client knows of no such room")));
        };
        let held = match event_id {
            None => Some("live"),
            Some(id) if room.timeline.contains(id) => Some("live"),
            Some(id) if room.past.as_ref().is_some_and(|past| past.timeline.contains(id)) => Some("past"),
            Some(_) => None,
        };
        if held == Some("live") {
            room.leave_past();
            self.touch(room_id);
            self.settle(now);
        }
        if let Some(held) = held {
            return self.answer_at_once(Ok(held.to_json()));
        }
        let event_id = event_id.unwrap_or_default();
        let mut path = path("/_matrix/client/v3", &["rooms", room_id, "context", event_id]);
        push_query(&mut path, "limit", AROUND);
        push_query(&mut path, "filter", MESSAGES_FILTER);
        self.command(now, Then::Jump { room_id: room_id.to_owned() }, "GET", path, None)
    }

    /// Goes on from a room's past, backwards or towards the present; answers whether there is more.
    pub fn scroll_past(&mut self, now: Instant, room_id: &str, direction: Direction, limit: u32) -> Ticket {
        let past = self.rooms.get(room_id).and_then(|room| room.past.as_ref());
        let from = past.and_then(|past| match direction {
            Direction::Back => past.timeline.back_token().map(str::to_owned),
            Direction::Forward => Some(past.forward.clone()),
        });
        let Some(from) = from else { return self.answer_at_once(Ok(String::from("false"))) };
        let mut path = path("/_matrix/client/v3", &["rooms", room_id, "messages"]);
        push_query(&mut path, "dir", if direction == Direction::Back { "b" } else { "f" });
        push_query(&mut path, "from", &from);
        push_query(&mut path, "limit", &scroll_limit(limit));
        push_query(&mut path, "filter", MESSAGES_FILTER);
        self.command(
            now,
            Then::ScrollPast { room_id: room_id.to_owned(), from, direction },
            "GET",
            path,
            None,
        )
    }

    /// One event, as an item; from the server, unless it is held.
    pub fn event(&mut self, now: Instant, room_id: &str, event_id: &str) -> Ticket {
        let held = self.rooms.get(room_id).and_then(|room| room.item(event_id));
        if let Some(item) = held {
            let json = item.to_json();
            return self.answer_at_once(Ok(json));
        }
        let path = path("/_matrix/client/v3", &["rooms", room_id, "event", event_id]);
        self.command(now, Then::Event, "GET", path, None)
    }

    /// Asks for the events whose last edit was taken back, of which an earlier one may stand.
    pub(super) fn ask_for_edits(&mut self, now: Instant) {
        for (room_id, event_id) in std::mem::take(&mut self.unsure_edits) {
            let path = path("/_matrix/client/v3", &["rooms", &room_id, "event", &event_id]);
            self.request(now, Awaited::Edited(room_id), "GET", path, None);
        }
    }

    pub(super) fn conclude_edited(&mut self, room_id: &str, outcome: Result<&str, Failure>) {
        let Some(event) = outcome.ok().and_then(Event::parse) else { return };
        if let Some(room) = self.rooms.get_mut(room_id) {
            room.note_bundled(&event);
            self.touch(room_id);
        }
    }

    pub(super) fn apply_event(&self, body: &str) -> Result<String, Failure> {
        let event = Event::parse(body).ok_or_else(Failure::not_understood)?;
        let mut alone = Timeline::new(&self.user_id);
        alone.handle_event(&event, None);
        alone.last_placed().map(|item| item.to_json()).ok_or_else(Failure::not_understood)
    }

    pub(super) fn apply_jump(&mut self, room_id: &str, body: &str) -> Result<String, Failure> {
        let body = Object::parse(body).ok_or_else(Failure::not_understood)?;
        let Some(room) = self.rooms.get_mut(room_id) else { return Ok("live".to_json()) };
        let mut around = events(body.raw("events_before").unwrap_or_default());
        around.reverse();
        around.extend(body.raw("event").and_then(Event::parse));
        around.extend(events(body.raw("events_after").unwrap_or_default()));
        for event in events(body.raw("state").unwrap_or_default()) {
            room.handle_listed_member(&event, &self.user_id);
        }
        let mut timeline = Timeline::new(&self.user_id);
        timeline.handle_stretch(body.text("start").as_deref());
        room.timeline.echoes().for_each(|echo| timeline.note(echo));
        let meets = extend(&mut timeline, &room.timeline, &around);
        room.leave_past();
        let shown = match body.string("end") {
            _ if meets => {
                room.timeline.join(timeline);
                "live"
            }
            Some(forward) => {
                timeline.begin_anew();
                room.past = Some(Past { timeline, forward });
                "past"
            }
            None => return Err(Failure::not_understood()),
        };
        room.handle_older_receipts(&self.user_id);
        self.touch(room_id);
        Ok(shown.to_json())
    }

    pub(super) fn apply_past(
        &mut self,
        room_id: &str,
        from: &str,
        direction: Direction,
        body: &str,
    ) -> Result<String, Failure> {
        let body = Object::parse(body).ok_or_else(Failure::not_understood)?;
        let no_more = Ok(String::from("false"));
        let Some(room) = self.rooms.get_mut(room_id) else { return no_more };
        let Some(mut past) = room.past.take() else { return no_more };
        for event in events(body.raw("state").unwrap_or_default()) {
            room.handle_listed_member(&event, &self.user_id);
        }
        let chunk = events(body.raw("chunk").unwrap_or_default());
        let end = body.string("end").filter(|end| end != from && !chunk.is_empty());
        let more = end.is_some();
        let mut meets = false;
        match direction {
            Direction::Back if past.timeline.back_token() == Some(from) => {
                let shown = chunk.into_iter().filter(|event| event.kind != REDACTION);
                past.timeline.handle_older(shown, end.as_deref());
            }
            Direction::Forward if past.forward == from => {
                past.timeline.handle_stretch(Some(from));
                meets = extend(&mut past.timeline, &room.timeline, &chunk);
                // The timeline may have nothing in it but redactions, which are no items.
                meets |= !more && room.timeline.last_placed().is_none();
                past.forward = end.unwrap_or(past.forward);
            }
            // Another answer came first: these would leave a hole.
            Direction::Back | Direction::Forward => (),
        }
        if meets {
            room.timeline.join(past.timeline);
            room.past_ops.push(TimelineOp::Reset { items: Vec::new() });
        } else {
            room.past = Some(past);
        }
        room.handle_older_receipts(&self.user_id);
        self.touch(room_id);
        Ok((more && !meets).to_string())
    }
}

/// Appends events up to the first that the live timeline holds; whether there was one.
fn extend(past: &mut Timeline, live: &Timeline, events: &[Event<'_>]) -> bool {
    for event in events {
        if event.event_id.as_ref().is_some_and(|id| live.contains(id)) {
            return true;
        }
        if event.kind != REDACTION {
            past.handle_event(event, None);
        }
    }
    false
}
