//! The rooms part of the answer: joined, invited, knocking, left.

use super::{form::Form, own_data::append_account_data};
use crate::server::{
    event::{
        client::{Beside, append_with, stripped_event},
        stored::StoredEvent,
    },
    json::{Open, Writer},
    rooms::receipts,
    stream::{
        news::{JoinedRoom, Late, LeftRoom, RoomState, RoomsNews, StrippedRoom, Summary, Timeline},
        token::PageToken,
    },
};

/// Writes the rooms, each gone as soon as it is written.
pub(super) fn write_rooms(out: &mut Writer, news: RoomsNews, form: Form<'_>) {
    let part = out.open("rooms");
    write_room_lists(out, news, form);
    out.end(part);
}

/// Writes the lists of rooms into the open object.
pub(in crate::server::stream) fn write_room_lists(out: &mut Writer, news: RoomsNews, form: Form<'_>) {
    let RoomsNews { joined, invited, knocked, left } = news;
    let list = out.open("join");
    for room in joined {
        write_joined(out, &room, form);
    }
    out.end(list);
    for (key, state_key, rooms) in [("invite", "invite_state", invited), ("knock", "knock_state", knocked)] {
        let list = out.open(key);
        for room in &rooms {
            write_stripped(out, room, state_key);
        }
        out.end(list);
    }
    let list = out.open("leave");
    for room in left {
        write_left(out, &room, form);
    }
    out.end(list);
}

fn write_joined(out: &mut Writer, room: &JoinedRoom, form: Form<'_>) {
    let open = begin_joined(out, room, form);
    end_room(out, open);
}

fn write_left(out: &mut Writer, room: &LeftRoom, form: Form<'_>) {
    let open = begin_left(out, room, form);
    end_room(out, open);
}

/// A room that is being written, up to its state, which comes last: it is written by and by, and nothing else of the room
/// is held meanwhile.
pub(super) struct OpenState {
    room: Open,
    part: Open,
    events: Open,
}

/// Begins a room that the reader is in, up to those events of its state that are here.
pub(super) fn begin_joined(out: &mut Writer, room: &JoinedRoom, form: Form<'_>) -> OpenState {
    let object = out.open(room.room.as_str());
    begin_joined_in(out, object, room, form)
}

/// The same in an object that is open.
pub(super) fn begin_joined_in(
    out: &mut Writer,
    object: Open,
    room: &JoinedRoom,
    form: Form<'_>,
) -> OpenState {
    if let Some(summary) = &room.summary {
        write_summary(out, summary);
    }
    write_timeline(out, &room.timeline, form);
    write_ephemeral(out, room);
    let part = out.open("account_data");
    let events = out.open_array("events");
    for data in &room.own_data {
        out.element_with(|out| append_account_data(out, data));
    }
    out.end_even_if_empty(events);
    out.end_even_if_empty(part);
    let part = out.open("unread_notifications");
    out.number("highlight_count", room.unread.highlights);
    out.number("notification_count", room.unread.notifications);
    out.end(part);
    if let Some(unread) = &room.unread_threads {
        let part = out.open("unread_thread_notifications");
        for (root, counts) in &unread.threads {
            let thread = out.open(root.as_str());
            out.number("highlight_count", counts.highlights);
            out.number("notification_count", counts.notifications);
            out.end(thread);
        }
        out.end(part);
    }
    begin_state(out, object, &room.state, form)
}

/// Begins a room that the reader left.
pub(super) fn begin_left(out: &mut Writer, room: &LeftRoom, form: Form<'_>) -> OpenState {
    let object = out.open(room.room.as_str());
    write_timeline(out, &room.timeline, form);
    begin_state(out, object, &room.state, form)
}

fn begin_state(out: &mut Writer, room: Open, state: &RoomState, form: Form<'_>) -> OpenState {
    let part = out.open(form.state.key());
    let events = out.open_array("events");
    for event in &state.events {
        write_state_event(out, event, form);
    }
    OpenState { room, part, events }
}

/// Writes one more event of the open state.
pub(super) fn write_state_event(out: &mut Writer, event: &StoredEvent, form: Form<'_>) {
    out.element_with(|out| append_event(out, event, form, Beside::default()));
}

/// Ends a room whose state is written.
pub(super) fn end_room(out: &mut Writer, OpenState { room, part, events }: OpenState) {
    out.end_even_if_empty(events);
    out.end_even_if_empty(part);
    out.end(room);
}

fn write_summary(out: &mut Writer, summary: &Summary) {
    let part = out.open("summary");
    out.number("m.joined_member_count", summary.joined as u64);
    out.number("m.invited_member_count", summary.invited as u64);
    if let Some(heroes) = &summary.heroes {
        let list = out.open_array("m.heroes");
        for user in heroes {
            out.string_element(user.as_str());
        }
        out.end_even_if_empty(list);
    }
    out.end(part);
}

fn write_timeline(out: &mut Writer, timeline: &Timeline, form: Form<'_>) {
    let part = out.open("timeline");
    let array = out.open_array("events");
    for Late { event, after } in &timeline.late {
        let beside = Beside { after: Some(after.as_deref()), ..Beside::default() };
        out.element_with(|out| append_event(out, event, form, beside));
    }
    for event in &timeline.events {
        let gathered = timeline.aggregations.get(&event.event_id);
        let relations = gathered.map(|of_event| of_event.json(form.viewer, form.now.as_millis()));
        let beside = Beside { relations: relations.as_deref(), ..Beside::default() };
        out.element_with(|out| append_event(out, event, form, beside));
    }
    out.end_even_if_empty(array);
    out.boolean("limited", timeline.limited);
    out.plain("prev_batch", &PageToken(timeline.prev));
    out.end_even_if_empty(part);
}

/// Appends an event of a room with what is told beside it.
pub(in crate::server::stream) fn append_event(
    out: &mut Vec<u8>,
    event: &StoredEvent,
    form: Form<'_>,
    beside: Beside<'_>,
) {
    let Form { viewer, events, fields, now, state: _ } = form;
    let append = |out: &mut Vec<u8>| append_with(out, event, (viewer, now.as_millis()), events, beside);
    match fields {
        None => append(out),
        Some(fields) => {
            let mut whole = Vec::new();
            append(&mut whole);
            fields.append(out, &whole);
        }
    }
}

fn write_ephemeral(out: &mut Writer, room: &JoinedRoom) {
    let part = out.open("ephemeral");
    let events = out.open_array("events");
    if let Some(users) = &room.typing {
        let event = out.open_element();
        out.text("type", "m.typing");
        let content = out.open("content");
        let list = out.open_array("user_ids");
        for user in users {
            out.string_element(user.as_str());
        }
        out.end_even_if_empty(list);
        out.end(content);
        out.end(event);
    }
    if !room.receipts.is_empty() {
        out.element(&receipts::event(&room.receipts));
    }
    if let Some(place) = room.begins_at {
        let event = out.open_element();
        out.text("type", "org.pilotlight.joined");
        let content = out.open("content");
        out.plain("prev_batch", &PageToken(place));
        out.end(content);
        out.end(event);
    }
    out.end_even_if_empty(events);
    out.end_even_if_empty(part);
}

/// Writes a room that the reader is on the way into.
pub(super) fn write_stripped(out: &mut Writer, room: &StrippedRoom, key: &str) {
    let object = out.open(room.room.as_str());
    let part = out.open(key);
    let events = out.open_array("events");
    for event in &room.state {
        out.element(event.get());
    }
    if let Some(own) = &room.own {
        out.element(stripped_event(own).get());
    }
    out.end_even_if_empty(events);
    out.end_even_if_empty(part);
    out.end(object);
}
