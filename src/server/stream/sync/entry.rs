//! A room as the answer to a join: what `/sync` tells of it, and what its screen shows beside.

use axum::body::Body;
use ruma::RoomId;

use super::{
    form::{Form, StateTold},
    rooms::{begin_joined_in, end_room},
    written::write_state,
};
use crate::server::{
    answers::{Sheet, Size, aside},
    json::Writer,
    rooms::{About, Member},
    session::Session,
    store::Store,
    stream::{
        entry::{self, Entry},
        filter::Filter,
        refusal::Refusal,
        sources::Sources,
    },
};

/// A creator's power, who is above every level that a room can name.
const ABOVE_ALL: i64 = (1 << 53) - 1;

/// The answer to somebody who came into a room, or who is there; `None`: they are not, by now.
///
/// # Errors
/// [`Refusal::Store`].
pub async fn entry(
    sources: &Sources,
    session: &Session,
    filter: &Filter,
    room: &RoomId,
) -> Result<Option<Body>, Refusal> {
    let parts = sources.parts();
    let place = parts.answers.place(session.user.as_str(), Size::Whole).await;
    let work = async {
        let Some(entry) = entry::read(sources, session, filter, room).await? else { return Ok(None) };
        let (events, now) = (filter.format(), parts.clock.now());
        let form = Form { viewer: session, events, fields: filter.fields(), now, state: StateTold::Before };
        write(entry, form, &parts.store, Sheet::new(place)).await.map(Some)
    };
    aside(work).await
}

/// Writes the answer; the room's state, however large, by and by.
async fn write(entry: Entry, form: Form<'_>, store: &Store, mut sheet: Sheet) -> Result<Body, Refusal> {
    let mut out = Writer::object();
    out.text("room_id", entry.room.room.as_str());
    out.text("org.pilotlight.joined", &entry.upto.to_string());
    let object = out.open("org.pilotlight.room");
    write_about(&mut out, &entry);
    let room = entry.room;
    let open = begin_joined_in(&mut out, object, &room, form);
    // What else there is of the room is written, and not held while others have their turns.
    let listed = { room }.state.listed;
    write_state(&mut out, listed, form, (store, &mut sheet)).await?;
    end_room(&mut out, open);
    Ok(sheet.body(out)?)
}

fn write_about(out: &mut Writer, entry: &Entry) {
    let About { aliases, name, topic, members, has_more_members } = &entry.about;
    let list = out.open_array("aliases");
    for alias in aliases {
        out.string_element(alias.as_str());
    }
    out.end_even_if_empty(list);
    for (key, text) in [("name", name), ("topic", topic)] {
        if let Some(text) = text {
            out.text(key, text);
        }
    }
    let list = out.open_array("members");
    for member in members {
        let object = out.open_element();
        write_member(out, member, entry);
        out.end(object);
    }
    out.end_even_if_empty(list);
    out.boolean("members_limited", *has_more_members);
}

fn write_member(out: &mut Writer, member: &Member, entry: &Entry) {
    let Member { user, displayname, avatar_url, power_level } = member;
    out.text("user_id", user.as_str());
    for (key, text) in [("displayname", displayname), ("avatar_url", avatar_url)] {
        if let Some(text) = text {
            out.text(key, text);
        }
    }
    out.raw("power_level", &power_level.unwrap_or(ABOVE_ALL).to_string());
    out.boolean("typing", entry.typing.contains(user));
    let presence = entry.presence.get(user).and_then(|content| std::str::from_utf8(content).ok());
    if let Some(content) = presence {
        out.raw("presence", content);
    }
}
