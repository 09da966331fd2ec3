//! What is written on a held stream: server-sent events, each with one line of JSON.

use ruma::{OwnedUserId, RoomId};

use super::told::Told;
use crate::server::stream::{
    news::{DeviceLists, JoinedRoom, News, PresenceNews, RoomsNews, Timeline, UnreadCounts},
    sync::{Form, StateTold, append_event, default_rules, write_keys_left, write_room_lists},
    token::{Brief, Token},
};
use crate::{
    core::time::Instant,
    server::{
        event::{
            client::{Beside, ClientFormat},
            stored::StoredEvent,
        },
        json::Writer,
        presence::{PresenceEvent, write_unknown_brief},
        rooms::receipts,
        session::Session,
        store::{AccountData, Receipt},
    },
};

/// Events on their way to one reader. What is in it belongs together once an `id` ends it.
#[derive(Debug, Default)]
pub(super) struct Frames(Vec<u8>);

impl Frames {
    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One event, whose data `write` appends.
    pub(super) fn event(&mut self, name: &str, write: impl FnOnce(&mut Vec<u8>)) {
        self.part();
        self.0.extend_from_slice(b"event:");
        self.0.extend_from_slice(name.as_bytes());
        self.0.push(b'\n');
        self.data(write);
    }

    /// The presence of a user, which comes most, and has no name.
    fn user(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.part();
        self.data(write);
    }

    fn data(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.0.extend_from_slice(b"data:");
        write(&mut self.0);
        self.0.push(b'\n');
    }

    /// An event whose data is an object.
    fn object(&mut self, name: &str, write: impl FnOnce(&mut Writer)) {
        self.event(name, |out| {
            let mut object = Writer::object();
            write(&mut object);
            out.extend_from_slice(&object.finish());
        });
    }

    /// Events that another one encoded, each as [`Self::event`] writes one.
    pub(super) fn encoded(&mut self, event: &[u8]) {
        self.part();
        self.0.extend_from_slice(event);
    }

    /// Ends the event before, if there is one.
    fn part(&mut self) {
        if !self.0.is_empty() {
            self.0.push(b'\n');
        }
    }

    /// All of them, and that the reader is at `upto` with them.
    pub(super) fn up_to(mut self, upto: &Token) -> Vec<u8> {
        write_id(&mut self.0, upto);
        self.0
    }

    /// All of them, without a place from which to go on.
    pub(super) fn alone(mut self) -> Vec<u8> {
        self.0.push(b'\n');
        self.0
    }

    /// What is the news of one reader, small.
    pub(super) fn news(&mut self, news: News, form: Form<'_>, told: &mut Told) {
        let News { upto: _, own_data, to_device, rooms, device_lists, keys_left, presence } = news;
        if let Some(rules) = &own_data.default_rules {
            self.event("account_data", |out| out.extend_from_slice(default_rules(rules).as_bytes()));
        }
        for data in &own_data.changed {
            self.account_data(data, None);
        }
        for (_, message) in &to_device {
            self.event("to_device", |out| out.extend_from_slice(message.as_bytes()));
        }
        self.rooms(rooms, form, told);
        self.device_lists(&device_lists);
        if told.keys(&keys_left) {
            self.object("keys", |out| write_keys_left(out, &keys_left));
        }
        self.presence(&presence, form.now);
    }

    fn rooms(&mut self, rooms: RoomsNews, form: Form<'_>, told: &mut Told) {
        let RoomsNews { joined, invited, knocked, left } = rooms;
        // Of an event of which only some fields are wanted, none is added.
        let is_piece = |room: &_| form.fields.is_none() && is_piecemeal(room);
        let (piecemeal, whole): (Vec<_>, Vec<_>) = joined.into_iter().partition(is_piece);
        for room in &whole {
            told.unread(&room.room, room.unread);
        }
        let rest = RoomsNews { joined: whole, invited, knocked, left };
        if !rest.is_empty() {
            self.object("room", |out| write_room_lists(out, rest, form));
        }
        for room in piecemeal {
            self.joined(&room, form, told);
        }
    }

    fn joined(&mut self, news: &JoinedRoom, form: Form<'_>, told: &mut Told) {
        let room = news.room.as_str();
        let events = match form.events {
            ClientFormat::InRoom | ClientFormat::Full => ClientFormat::Full,
            ClientFormat::Federation => ClientFormat::Federation,
        };
        for event in &news.timeline.events {
            self.event("e", |out| append_event(out, event, Form { events, ..form }, Beside::default()));
        }
        if let Some(users) = &news.typing {
            self.typing(room, users);
        }
        if !news.receipts.is_empty() {
            if news.receipts.iter().any(|receipt| receipt.user == form.viewer.user) {
                told.read(&news.room);
            }
            self.receipts(room, &news.receipts);
        }
        for data in &news.own_data {
            self.account_data(data, Some(room));
        }
        if !news.timeline.events.is_empty() || !news.receipts.is_empty() {
            self.unread(&news.room, news.unread, told);
        }
    }

    fn typing<'a>(&mut self, room: &str, users: impl IntoIterator<Item = &'a OwnedUserId>) {
        self.object("typing", |out| {
            out.text("room_id", room);
            let list = out.open_array("user_ids");
            users.into_iter().for_each(|user| out.string_element(user.as_str()));
            out.end_even_if_empty(list);
        });
    }

    fn receipts<'a>(&mut self, room: &str, receipts: impl IntoIterator<Item = &'a Receipt>) {
        let content = receipts::content(receipts);
        self.object("receipt", |out| {
            out.text("room_id", room);
            out.raw("content", &content);
        });
    }

    fn account_data(&mut self, data: &AccountData, room: Option<&str>) {
        self.object("account_data", |out| {
            if let Some(room) = room {
                out.text("room_id", room);
            }
            out.text("type", &data.kind);
            out.raw("content", &data.content);
        });
    }

    /// How much of a room its reader has not read, unless they know.
    pub(super) fn unread(&mut self, room: &RoomId, unread: UnreadCounts, told: &mut Told) {
        if !told.unread(room, unread) {
            return;
        }
        self.object("unread", |out| {
            out.text("room_id", room.as_str());
            out.number("notification_count", unread.notifications);
            out.number("highlight_count", unread.highlights);
        });
    }

    fn device_lists(&mut self, lists: &DeviceLists) {
        if lists.is_empty() {
            return;
        }
        self.object("device_lists", |out| {
            for (key, users) in [("changed", &lists.changed), ("left", &lists.left)] {
                let list = out.open_array(key);
                users.iter().for_each(|user| out.string_element(user.as_str()));
                out.end_even_if_empty(list);
            }
        });
    }

    fn presence(&mut self, presence: &PresenceNews, now: Instant) {
        let PresenceNews { own, seen, unknown } = presence;
        for event in own.iter().chain(seen.iter().map(|(_, event)| &**event)) {
            self.user(|out| event.write_brief(out, now));
        }
        for user in unknown {
            self.user(|out| write_unknown_brief(out, user.as_str()));
        }
    }
}

/// Ends what was written: from here on the reader is at `upto`.
pub(super) fn write_id(out: &mut Vec<u8>, upto: &Token) {
    out.extend_from_slice(b"id:");
    out.extend_from_slice(Brief(upto).to_string().as_bytes());
    out.extend_from_slice(b"\n\n");
}

/// The presence of one user, for everybody who may see them.
pub(super) fn presence(event: &PresenceEvent, now: Instant) -> Vec<u8> {
    let mut frames = Frames(Vec::with_capacity(160));
    frames.user(|out| event.write_brief(out, now));
    frames.0
}

/// An event of a timeline, for `viewer`.
pub(super) fn timeline(event: &StoredEvent, viewer: &Session, now: Instant) -> Vec<u8> {
    let mut frames = Frames(Vec::with_capacity(event.pdu.len() + 256));
    let form = Form { viewer, events: ClientFormat::Full, fields: None, now, state: StateTold::Before };
    frames.event("e", |out| append_event(out, event, form, Beside::default()));
    frames.0
}

/// Who types in a room.
pub(super) fn typing<'a>(room: &RoomId, users: impl IntoIterator<Item = &'a OwnedUserId>) -> Vec<u8> {
    let mut frames = Frames::default();
    frames.typing(room.as_str(), users);
    frames.0
}

/// How far some have read in a room.
pub(super) fn receipts<'a>(room: &RoomId, receipts: impl IntoIterator<Item = &'a Receipt>) -> Vec<u8> {
    let mut frames = Frames::default();
    frames.receipts(room.as_str(), receipts);
    frames.0
}

/// That the stream ends, and why.
pub(super) fn end(reason: &str, error: Option<(&str, &str)>) -> Vec<u8> {
    let mut frames = Frames::default();
    frames.object("end", |out| {
        out.text("reason", reason);
        if let Some((code, error)) = error {
            out.text("errcode", code);
            out.text("error", error);
        }
    });
    frames.alone()
}

/// Whether what is told of a room goes on from what the reader knows, event by event.
fn is_piecemeal(room: &JoinedRoom) -> bool {
    let JoinedRoom {
        room: _,
        summary,
        state,
        timeline,
        typing: _,
        receipts: _,
        own_data: _,
        unread: _,
        unread_threads,
        begins_at,
    } = room;
    let Timeline { events, aggregations, limited, prev: _, late } = timeline;
    let is_state = events.iter().any(|event| event.state_key.is_some());
    begins_at.is_none()
        && unread_threads.is_none()
        && late.is_empty()
        && summary.is_none()
        && state.is_empty()
        && !limited
        && aggregations.is_empty()
        && !is_state
}
