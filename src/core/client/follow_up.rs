//! What follows from a command's answer, for the client and for the one who gave it.

use super::output::{Connection, Failure, Output, Ticket};
use super::pending::{Awaited, Then};
use super::privacy;
use super::role::Client;
use super::room::Membership;
use crate::core::time::Instant;
use crate::core::wire::event::{Event, events};
use crate::core::wire::object::Object;
use crate::core::wire::path::path;
use crate::core::wire::read::Reader;
use crate::core::wire::write::{self, ToJson};

impl Client {
    pub(super) fn conclude_command(
        &mut self,
        now: Instant,
        ticket: Ticket,
        then: Then,
        outcome: Result<&str, Failure>,
    ) {
        let result = match outcome {
            Ok(body) => self.follow_up(now, then, body),
            Err(failure) => self.follow_failure(now, then, failure),
        };
        self.outputs.push_back(Output::Answer { ticket, result });
    }

    fn follow_up(&mut self, now: Instant, then: Then, body: &str) -> Result<String, Failure> {
        let done = Ok(String::new());
        match then {
            Then::Done => return done,
            Then::Body if body.is_empty() => return done,
            Then::Body => {
                let mut reader = Reader::new(body);
                let checked = reader.raw().and_then(|raw| reader.end().map(|()| raw.to_owned()));
                return checked.map_err(|_| Failure::not_understood());
            }
            Then::Room { direct_with } => {
                let room =
                    Object::parse_or_empty(body).string("room_id").ok_or_else(Failure::not_understood)?;
                if self.rooms.get(&room).is_none_or(|known| known.membership != Membership::Join) {
                    self.entered.handle_answer(&room);
                }
                self.remember_direct(now, &room, direct_with);
                return Ok(room.to_json());
            }
            Then::Forget(room) => self.remove_room(&room),
            Then::ScrollBack { room_id, from } => return self.apply_older(&room_id, &from, body),
            Then::Jump { room_id } => return self.apply_jump(&room_id, body),
            Then::ScrollPast { room_id, from, direction } => {
                return self.apply_past(&room_id, &from, direction, body);
            }
            Then::Event => return self.apply_event(body),
            Then::Directory => return Ok(directory(body)),
            Then::Privacy => return Ok(privacy::for_application(body)),
            Then::Notify(settings) => self.handle_notify_settings(settings),
            Then::Choice { choice, words } => self.handle_choice(choice, &words),
            Then::DisplayName(name) => self.me.display_name = Some(name).filter(|name| !name.is_empty()),
            Then::LogOut => self.handle_logged_out(now),
        }
        done
    }

    fn follow_failure(&mut self, now: Instant, then: Then, failure: Failure) -> Result<String, Failure> {
        match then {
            Then::LogOut => {
                self.handle_logged_out(now);
                // A server that has forgotten the session leaves nothing to end; one that could not be told
                // goes on listing the device.
                if failure.is_transient() { Err(failure) } else { Ok(String::new()) }
            }
            _ => Err(failure),
        }
    }

    pub(super) fn handle_logged_out(&mut self, now: Instant) {
        self.abandon(now);
        self.forget_unsent();
        self.show_connection(now, Connection::LoggedOut, None);
    }

    /// Only what is this client's own: the same user may have a new session with a queue already.
    pub(super) fn forget_unsent(&mut self) {
        for action in self.queue.forget_all() {
            self.drop_echo(&action);
        }
        self.forget_choice();
    }

    fn apply_older(&mut self, room_id: &str, from: &str, body: &str) -> Result<String, Failure> {
        let body = Object::parse(body).ok_or_else(Failure::not_understood)?;
        let current =
            |client: &Self| client.rooms.get(room_id).and_then(|room| room.timeline.back_token()).is_some();
        let asked = self.rooms.get(room_id).and_then(|room| room.timeline.back_token());
        // The timeline was reset, or another answer came first: these would leave a hole.
        if asked != Some(from) {
            return Ok(current(self).to_string());
        }
        let chunk: Vec<Event<'_>> = events(body.raw("chunk").unwrap_or_default());
        for event in &chunk {
            if let Some(id) = self.place_echo(room_id, event)
                && let Some(room) = self.rooms.get_mut(room_id)
            {
                room.remove_echo(id);
            }
        }
        let Some(room) = self.rooms.get_mut(room_id) else { return Ok(String::from("false")) };
        for event in events(body.raw("state").unwrap_or_default()) {
            room.handle_listed_member(&event, &self.user_id);
        }
        // Some servers go on giving tokens at the beginning of a room.
        let end = body.text("end").filter(|end| *end != from && !chunk.is_empty());
        let shown = chunk.into_iter().filter(|event| &*event.kind != "m.room.redaction");
        room.timeline.handle_older(shown, end.as_deref());
        room.handle_older_receipts(&self.user_id);
        self.touch(room_id);
        Ok(current(self).to_string())
    }

    fn remember_direct(&mut self, now: Instant, room: &str, users: Vec<String>) {
        if users.is_empty() {
            return;
        }
        for user in users {
            match self.direct.iter_mut().find(|(known, _)| *known == user) {
                Some((_, rooms)) if rooms.iter().any(|known| known == room) => (),
                Some((_, rooms)) => rooms.push(room.to_owned()),
                None => self.direct.push((user, vec![room.to_owned()])),
            }
        }
        let path = path("/_matrix/client/v3", &["user", &self.user_id, "account_data", "m.direct"]);
        let body = write::object(|body| {
            self.direct.iter().for_each(|(user, rooms)| body.value(user, rooms));
        });
        self.request(now, Awaited::Notice, "PUT", path, Some(body));
        self.touch(room);
    }
}

/// The directory's answer in the application's words.
fn directory(body: &str) -> String {
    let rooms = Object::parse_or_empty(body).list("chunk");
    let rooms = rooms.into_iter().filter_map(|raw| {
        let room = Object::parse(raw)?;
        let id = room.text("room_id")?;
        Some(write::object(|entry| {
            entry.text("roomId", &id);
            entry.optional("name", room.text("name").as_deref());
            entry.optional("alias", room.text("canonical_alias").as_deref());
            entry.optional("topic", room.text("topic").as_deref());
            entry.integer("members", room.integer("num_joined_members").unwrap_or(0));
        }))
    });
    ["[", &rooms.collect::<Vec<_>>().join(","), "]"].concat()
}
