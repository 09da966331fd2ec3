//! What a home screen shows of a room: its name, what it is about, how many are in it, and the last message.

use std::sync::Arc;

use ruma::{OwnedRoomAliasId, RoomId};

use crate::server::{
    change::position::TimelinePosition,
    event::{client::Beside, stored::StoredEvent},
    json::Writer,
    session::Session,
    store::{Order, StoreError},
    stream::{
        news,
        refusal::Refusal,
        sources::Sources,
        summary::summary as members_of,
        sync::{Form, append_event},
    },
};

/// Events of a room that are looked at for its last message, beside those that are told.
const MAX_SCANNED: usize = 50;

/// What there is to show of a room.
#[derive(Debug, Default)]
pub struct Summary {
    name: Option<String>,
    topic: Option<String>,
    canonical_alias: Option<String>,
    aliases: Vec<OwnedRoomAliasId>,
    last_message: Option<Arc<StoredEvent>>,
    members: news::Summary,
}

/// Looks it up, for somebody who is in the room: its last message among `events`, oldest first, or else in the store,
/// and who is there, unless that is known.
///
/// # Errors
/// [`Refusal::Store`].
pub async fn summary(
    sources: &Sources,
    session: &Session,
    room: &RoomId,
    events: &[Arc<StoredEvent>],
    members: Option<news::Summary>,
) -> Result<Summary, Refusal> {
    let parts = sources.parts();
    let store = &parts.store;
    let ignored = parts.contacts.ignored_by(&session.user);
    let is_message = |event: &Arc<StoredEvent>| {
        let is_said = matches!(event.kind.as_str(), "m.room.message" | "m.room.encrypted" | "m.sticker");
        is_said && event.state_key.is_none() && !ignored.contains(&event.sender)
    };
    let mut last_message = events.iter().rev().find(|event| is_message(event)).cloned();
    if last_message.is_none() {
        let (all, end) = (TimelinePosition::START, TimelinePosition::END);
        let newest = store.room_events(room, all, end, Order::NewestFirst, MAX_SCANNED).await?;
        let visible = sources.visible_events(&session.user, room, newest).await?;
        last_message = visible.into_iter().find(is_message);
    }
    let members = match members {
        Some(members) => members,
        None => members_of(store, &parts.members, &session.user, room).await?,
    };
    Ok(Summary {
        members,
        name: text(sources, room, "m.room.name", "name").await?,
        topic: text(sources, room, "m.room.topic", "topic").await?,
        canonical_alias: text(sources, room, "m.room.canonical_alias", "alias").await?,
        aliases: store.aliases(room).await?,
        last_message,
    })
}

/// What a state event without a key says under one key of its content.
async fn text(sources: &Sources, room: &RoomId, kind: &str, key: &str) -> Result<Option<String>, StoreError> {
    let event = sources.parts().store.state_event(room, kind, "").await?;
    let content: Option<serde_json::Map<String, serde_json::Value>> = event.and_then(|e| e.content_as());
    Ok(content.and_then(|content| content.get(key)?.as_str().map(str::to_owned)))
}

impl Summary {
    /// Writes it.
    pub(in crate::server) fn write(&self, out: &mut Writer, form: Form<'_>) {
        let counts = &self.members;
        let part = out.open("org.pilotlight.summary");
        let words =
            [("name", &self.name), ("topic", &self.topic), ("canonical_alias", &self.canonical_alias)];
        for (key, value) in words {
            if let Some(value) = value {
                out.text(key, value);
            }
        }
        let list = out.open_array("aliases");
        for alias in &self.aliases {
            out.string_element(alias.as_str());
        }
        out.end_even_if_empty(list);
        out.number("joined_member_count", counts.joined as u64);
        out.number("invited_member_count", counts.invited as u64);
        if let Some(heroes) = &counts.heroes {
            let list = out.open_array("heroes");
            for user in heroes {
                out.string_element(user.as_str());
            }
            out.end_even_if_empty(list);
        }
        if let Some(event) = &self.last_message {
            let mut json = Vec::new();
            append_event(&mut json, event, form, Beside::default());
            out.raw_bytes("last_message", &json);
        }
        out.end_even_if_empty(part);
    }
}
