//! What a connection is told, as JSON, in either of the two wire forms.

use super::{
    news::{ExtensionNews, Field, RoomNews},
    request::{Extensions, Wire},
    scope::{Scope, Scoped},
};
use crate::server::{
    answers::Sheet,
    event::{
        client::{Beside, stripped_event},
        stored::Membership,
    },
    json::{Open, Writer},
    presence::write_unknown,
    rooms::receipts,
    store::Store,
    stream::{
        news::{PresenceNews, StrippedRoom, Timeline},
        refusal::Refusal,
        sync::{Form, append_account_data, append_event, default_rules, write_keys_left},
        token::PageToken,
    },
};

/// Writes how many rooms each list has.
pub(super) fn write_lists(out: &mut Writer, scope: &Scope) {
    let part = out.open("lists");
    for (name, count) in scope.counts() {
        let list = out.open(name);
        out.number("count", count as u64);
        out.end(list);
    }
    out.end(part);
}

/// Writes one room into the open object of them; its state comes last, page by page.
pub(super) async fn write_room(
    out: &mut Writer,
    (room, scoped, mut news): (&str, &Scoped, RoomNews),
    (form, wire): (Form<'_>, Wire),
    (store, mut sheet): (&Store, Option<&mut Sheet>),
) -> Result<(), Refusal> {
    let object = out.open(room);
    write_head(out, &news, scoped, wire);
    if let Some(stripped) = &news.stripped {
        match (wire, news.membership) {
            (Wire::Accepted, _) => write_stripped(out, "stripped_state", stripped),
            (Wire::Before, Membership::Invite | Membership::Knock) => {
                write_stripped(out, "invite_state", stripped);
            }
            // Clients took it for an invite.
            (Wire::Before, Membership::Join | Membership::Leave | Membership::Ban) => {}
        }
    }
    if let Some(timeline) = news.timeline.take() {
        write_timeline(out, &timeline, news.live_events, (form, wire));
    }
    let events = out.open_array("required_state");
    for event in &news.state.events {
        out.element_with(|out| append_event(out, event, form, Beside::default()));
    }
    let mut listed = news.state.listed;
    while !listed.is_empty() {
        for event in store.next_page(&mut listed).await? {
            out.element_with(|out| append_event(out, &event, form, Beside::default()));
        }
        if let Some(sheet) = &mut sheet {
            sheet.take(out).await?;
        }
    }
    out.end(events);
    out.end_even_if_empty(object);
    Ok(())
}

fn write_head(out: &mut Writer, news: &RoomNews, scoped: &Scoped, wire: Wire) {
    for (key, field) in [("name", &news.name), ("avatar", &news.avatar)] {
        match field {
            Field::Keep => {}
            Field::Set(text) => out.text(key, text),
            Field::Clear => out.raw(key, "null"),
        }
    }
    if let Some(heroes) = &news.heroes {
        let list = out.open_array("heroes");
        for hero in heroes {
            let object = out.open_element();
            out.text("user_id", hero.user.as_str());
            for (key, value) in [("displayname", &hero.displayname), ("avatar_url", &hero.avatar_url)] {
                if let Some(value) = value {
                    out.text(key, value);
                }
            }
            out.end(object);
        }
        out.end(list);
    }
    if let Some(is_dm) = news.is_dm {
        out.boolean("is_dm", is_dm);
    }
    if news.initial {
        out.boolean("initial", true);
    }
    if news.expanded {
        let key = match wire {
            Wire::Accepted => "expanded_timeline",
            Wire::Before => "unstable_expanded_timeline",
        };
        out.boolean(key, true);
    }
    if let Some(bump) = news.bump {
        out.number("bump_stamp", bump.get());
    }
    if let Some((joined, invited)) = news.counts {
        out.number("joined_count", joined as u64);
        out.number("invited_count", invited as u64);
    }
    match wire {
        Wire::Accepted => {
            if news.tells_membership {
                out.text("membership", news.membership.as_str());
            }
            let lists = out.open_array("lists");
            scoped.lists.iter().for_each(|name| out.string_element(name));
            out.end(lists);
        }
        Wire::Before => {}
    }
    if let Some(unread) = news.unread {
        out.number("notification_count", unread.notifications);
        out.number("highlight_count", unread.highlights);
    }
}

fn write_stripped(out: &mut Writer, key: &str, stripped: &StrippedRoom) {
    let events = out.open_array(key);
    for event in &stripped.state {
        out.element(event.get());
    }
    if let Some(own) = &stripped.own {
        out.element(stripped_event(own).get());
    }
    out.end_even_if_empty(events);
}

fn write_timeline(out: &mut Writer, timeline: &Timeline, live_events: usize, (form, wire): (Form<'_>, Wire)) {
    let names: &[&str] = match wire {
        // The table of the proposal has one name, its example the other: readers of either are told.
        Wire::Accepted => &["timeline_events", "timeline"],
        Wire::Before => &["timeline"],
    };
    for name in names {
        let events = out.open_array(name);
        for event in &timeline.events {
            let gathered = timeline.aggregations.get(&event.event_id);
            let relations = gathered.map(|of_event| of_event.json(form.viewer, form.now.as_millis()));
            let beside = Beside { relations: relations.as_deref(), ..Beside::default() };
            out.element_with(|out| append_event(out, event, form, beside));
        }
        out.end(events);
    }
    out.boolean("limited", timeline.limited);
    out.plain("prev_batch", &PageToken(timeline.prev));
    out.number("num_live", live_events as u64);
}

/// Writes what is told beside rooms, of what was asked for.
pub(super) fn write_extensions(out: &mut Writer, asked: &Extensions, news: &ExtensionNews, form: Form<'_>) {
    let part = out.open("extensions");
    let ExtensionNews { to_device, e2ee, account_data, receipts, typing, presence } = news;
    if let Some((messages, upto)) = to_device {
        let object = out.open("to_device");
        out.plain("next_batch", upto);
        let events = out.open_array("events");
        messages.iter().for_each(|(_, message)| out.element(message));
        out.end_even_if_empty(events);
        out.end(object);
    }
    if let Some((counts, lists)) = e2ee {
        let object = out.open("e2ee");
        write_keys_left(out, counts);
        if let Some(lists) = lists.as_ref().filter(|lists| !lists.is_empty()) {
            let both = out.open("device_lists");
            for (key, users) in [("changed", &lists.changed), ("left", &lists.left)] {
                let list = out.open_array(key);
                users.iter().for_each(|user| out.string_element(user.as_str()));
                out.end_even_if_empty(list);
            }
            out.end(both);
        }
        out.end(object);
    }
    if let Some((global, rooms)) = account_data {
        let object = out.open("account_data");
        let list = out.open_array("global");
        for data in &global.changed {
            out.element_with(|out| append_account_data(out, data));
        }
        if let Some(rules) = &global.default_rules {
            out.element(&default_rules(rules));
        }
        out.end_even_if_empty(list);
        let of_rooms = out.open("rooms");
        for (room, data) in rooms {
            let list = out.open_array(room.as_str());
            data.iter().for_each(|data| out.element_with(|out| append_account_data(out, data)));
            out.end(list);
        }
        out.end_even_if_empty(of_rooms);
        out.end(object);
    }
    let by_room = |out: &mut Writer, key| -> (Open, Open) { (out.open(key), out.open("rooms")) };
    if let Some(rooms) = receipts {
        let (object, of_rooms) = by_room(out, "receipts");
        rooms.iter().for_each(|(room, read)| out.raw(room.as_str(), &receipts::event(read)));
        out.end_even_if_empty(of_rooms);
        out.end(object);
    }
    if let Some(rooms) = typing {
        let (object, of_rooms) = by_room(out, "typing");
        for (room, users) in rooms {
            let event = out.open(room.as_str());
            out.text("type", "m.typing");
            let content = out.open("content");
            let list = out.open_array("user_ids");
            users.iter().for_each(|user| out.string_element(user.as_str()));
            out.end_even_if_empty(list);
            out.end(content);
            out.end(event);
        }
        out.end_even_if_empty(of_rooms);
        out.end(object);
    }
    if let Some(presence) = presence {
        asked.presence.iter().for_each(|key| write_presence(out, key, presence, form));
    }
    out.end_even_if_empty(part);
}

fn write_presence(out: &mut Writer, key: &str, news: &PresenceNews, form: Form<'_>) {
    let object = out.open(key);
    let events = out.open_array("events");
    for event in news.own.iter().chain(news.seen.iter().map(|(_, event)| &**event)) {
        out.element_with(|out| event.write(out, form.now));
    }
    for user in &news.unknown {
        out.element_with(|out| write_unknown(out, user.as_str()));
    }
    out.end_even_if_empty(events);
    out.end(object);
}
