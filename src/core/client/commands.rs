//! What an application asks for beside sending: each is one request and ends in one answer.

use std::time::Duration;

use super::output::{Failure, Output, Ticket};
use super::pending::{Awaited, Then};
use super::role::Client;
use super::room::Membership;
use crate::core::time::{Instant, millis};
use crate::core::wire::object::Object;
use crate::core::wire::path::{path, push_query};
use crate::core::wire::write;

const V3: &str = "/_matrix/client/v3";
/// How long a typing notice lasts on the server.
const TYPING_LASTS: Duration = Duration::from_secs(30);
/// How soon a lasting one is repeated.
const TYPING_REPEATS: Duration = Duration::from_secs(20);
/// The most events one scroll back asks for.
const MAX_SCROLL_BACK: u32 = 500;
pub(super) const MESSAGES_FILTER: &str = r#"{"lazy_load_members":true}"#;

/// Who is told how far the user has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// Everybody in the room.
    Everybody,
    /// The user's own devices.
    Nobody,
}

/// A room to create.
#[derive(Debug, Default)]
pub struct NewRoom {
    /// Its name.
    pub name: Option<String>,
    /// Its topic.
    pub topic: Option<String>,
    /// Listed, and open to everybody.
    pub public: bool,
    /// Its alias, whole or only the local part.
    pub alias: Option<String>,
    /// Whom to ask in.
    pub invite: Vec<String>,
    /// A conversation with those invited.
    pub direct: bool,
}

impl NewRoom {
    /// A room as an application gives it.
    pub fn read(given: &Object<'_>) -> Self {
        Self {
            name: given.string("name"),
            topic: given.string("topic"),
            public: given.flag("public"),
            alias: given.string("alias"),
            invite: given.strings("invite"),
            direct: given.flag("direct"),
        }
    }
}

impl Client {
    /// Any request to the homeserver; answers with its body.
    pub fn request_anything(
        &mut self,
        now: Instant,
        method: &'static str,
        path: &str,
        body: Option<String>,
    ) -> Ticket {
        self.command(now, Then::Body, method, path.to_owned(), body)
    }

    /// Creates a room; answers with its ID.
    pub fn create_room(&mut self, now: Instant, new: &NewRoom) -> Ticket {
        let local_part =
            |alias: &str| alias.trim_start_matches('#').split(':').next().unwrap_or("").to_owned();
        let alias = new.alias.as_deref().map(local_part).filter(|alias| !alias.is_empty());
        let preset = match (new.public, new.direct) {
            (true, _) => "public_chat",
            (false, true) => "trusted_private_chat",
            (false, false) => "private_chat",
        };
        let body = write::object(|body| {
            body.text("preset", preset);
            body.text("visibility", if new.public { "public" } else { "private" });
            body.optional("name", new.name.as_deref());
            body.optional("topic", new.topic.as_deref());
            body.optional("room_alias_name", alias.as_deref());
            body.value("invite", &new.invite);
            body.flag("is_direct", new.direct);
        });
        let direct_with = if new.direct { new.invite.clone() } else { Vec::new() };
        self.command(now, Then::Room { direct_with }, "POST", path(V3, &["createRoom"]), Some(body))
    }

    /// Joins a room by ID or alias; answers with its ID.
    pub fn join_room(&mut self, now: Instant, id_or_alias: &str) -> Ticket {
        let inviter = self.rooms.get(id_or_alias).filter(|room| room.invited_directly);
        let direct_with = inviter.and_then(|room| room.inviter.clone()).into_iter().collect();
        let path = path(V3, &["join", id_or_alias]);
        self.command(now, Then::Room { direct_with }, "POST", path, Some(String::from("{}")))
    }

    /// Leaves a room, or declines an invitation.
    pub fn leave_room(&mut self, now: Instant, room: &str) -> Ticket {
        self.command(now, Then::Done, "POST", path(V3, &["rooms", room, "leave"]), Some(String::from("{}")))
    }

    /// Forgets a room that was left.
    pub fn forget_room(&mut self, now: Instant, room: &str) -> Ticket {
        let then = Then::Forget(room.to_owned());
        self.command(now, then, "POST", path(V3, &["rooms", room, "forget"]), Some(String::from("{}")))
    }

    /// Invites a user.
    pub fn invite(&mut self, now: Instant, room: &str, user: &str) -> Ticket {
        let body = write::object(|body| body.text("user_id", user));
        self.command(now, Then::Done, "POST", path(V3, &["rooms", room, "invite"]), Some(body))
    }

    /// Puts a user out.
    pub fn kick(&mut self, now: Instant, room: &str, user: &str, reason: Option<&str>) -> Ticket {
        let body = write::object(|body| {
            body.text("user_id", user);
            body.optional("reason", reason);
        });
        self.command(now, Then::Done, "POST", path(V3, &["rooms", room, "kick"]), Some(body))
    }

    /// Asks for older events; answers whether there are more.
    pub fn scroll_back(&mut self, now: Instant, room_id: &str, limit: u32) -> Ticket {
        let Some(from) = self.rooms.get(room_id).and_then(|room| room.timeline.back_token()) else {
            return self.answer_at_once(Ok(String::from("false")));
        };
        let from = from.to_owned();
        let mut path = path(V3, &["rooms", room_id, "messages"]);
        push_query(&mut path, "dir", "b");
        push_query(&mut path, "from", &from);
        push_query(&mut path, "limit", &scroll_limit(limit));
        push_query(&mut path, "filter", MESSAGES_FILTER);
        self.command(now, Then::ScrollBack { room_id: room_id.to_owned(), from }, "GET", path, None)
    }

    /// Searches the directory of public rooms.
    pub fn public_rooms(&mut self, now: Instant, search: Option<&str>) -> Ticket {
        let body = write::object(|body| {
            body.integer("limit", 100);
            if let Some(words) = search.filter(|words| !words.is_empty()) {
                body.raw("filter", &write::object(|filter| filter.text("generic_search_term", words)));
            }
        });
        self.command(now, Then::Directory, "POST", path(V3, &["publicRooms"]), Some(body))
    }

    /// Sets the display name.
    pub fn set_display_name(&mut self, now: Instant, name: &str) -> Ticket {
        let body = write::object(|body| body.text("displayname", name));
        let path = path(V3, &["profile", &self.user_id, "displayname"]);
        self.command(now, Then::DisplayName(name.to_owned()), "PUT", path, Some(body))
    }

    /// Ends the session on the server and here. What is kept of it goes at once, and with the answer it is
    /// over here, whether the server could be told or not.
    pub fn log_out(&mut self, now: Instant) -> Ticket {
        self.phone.stop(now);
        self.serve_phone(now);
        self.session_over = true;
        self.forget_unsent();
        self.outputs.push_back(Output::Forget);
        // Its end would be a refusal, which a browser writes down as an error.
        self.give_up_sync();
        self.sync.stop();
        let ticket = self.command(now, Then::LogOut, "POST", path(V3, &["logout"]), Some(String::from("{}")));
        self.settle(now);
        ticket
    }

    /// Another client of this session, such as another tab's, has ended it, whether the server knows or not. What this
    /// one keeps goes, and no more of it is kept.
    pub fn handle_logged_out_elsewhere(&mut self, now: Instant) {
        if !self.session_over {
            self.handle_logged_out(now);
            self.settle(now);
        }
    }

    /// Tells a room that the user is typing, or is not any more. May be called at every key press.
    pub fn set_typing(&mut self, now: Instant, room_id: &str, typing: bool) {
        let Some(room) = self.rooms.get_mut(room_id) else { return };
        let due = match (typing, room.typing_sent) {
            (true, Some(sent)) => sent + TYPING_REPEATS <= now,
            (true, None) => true,
            (false, sent) => sent.is_some(),
        };
        if !due || room.membership != Membership::Join {
            return;
        }
        room.typing_sent = typing.then_some(now);
        let body = write::object(|body| {
            body.flag("typing", typing);
            if typing {
                body.integer("timeout", millis(TYPING_LASTS));
            }
        });
        let path = path(V3, &["rooms", room_id, "typing", &self.user_id]);
        self.request(now, Awaited::Notice, "PUT", path, Some(body));
    }

    /// The user has read a room up to an event of its timeline, or to its end, which others are told or not.
    pub fn mark_read(&mut self, now: Instant, room_id: &str, event_id: Option<&str>, told: Told) {
        let Some(room) = self.rooms.get_mut(room_id) else { return };
        let Some(last) = room.timeline.last_placed().and_then(|item| item.event_id.clone()) else { return };
        let event_id = event_id.unwrap_or(&last);
        if room.receipt_sent.as_deref() == Some(event_id)
            || !room.timeline.leads(event_id, &room.receipt_sent)
        {
            return;
        }
        let kind = if told == Told::Nobody { "m.read.private" } else { "m.read" };
        let path = path(V3, &["rooms", room_id, "receipt", kind, event_id]);
        room.receipt_sent = Some(event_id.to_owned());
        if *event_id == *last {
            room.unread = 0;
            room.highlight = 0;
        }
        self.touch(room_id);
        self.request(now, Awaited::Notice, "POST", path, Some(String::from("{}")));
        self.settle(now);
    }

    pub(super) fn ask_who_i_am(&mut self, now: Instant) {
        let profile = path(V3, &["profile", &self.user_id]);
        self.request(now, Awaited::Profile, "GET", profile, None);
        let status = path(V3, &["presence", &self.user_id, "status"]);
        self.request(now, Awaited::OwnStatus, "GET", status, None);
    }

    pub(super) fn command(
        &mut self,
        now: Instant,
        then: Then,
        method: &'static str,
        path: String,
        body: Option<String>,
    ) -> Ticket {
        let ticket = self.next_ticket();
        self.request(now, Awaited::Command(ticket, then), method, path, body);
        ticket
    }

    pub(super) fn answer_at_once(&mut self, result: Result<String, Failure>) -> Ticket {
        let ticket = self.next_ticket();
        self.outputs.push_back(Output::Answer { ticket, result });
        ticket
    }
}

/// How many events to ask for at once.
pub(super) fn scroll_limit(limit: u32) -> String {
    limit.clamp(1, MAX_SCROLL_BACK).to_string()
}
