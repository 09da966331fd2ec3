//! What a connection is told a room is called and looks like, and that it is between two.

use ruma::RoomId;
use serde_json::{Map, Value};

use super::{
    news::{Field, Hero, RoomNews},
    rooms::{Case, Teller},
    sent::Sent,
    state::{self, Changes},
};
use crate::server::{
    change::position::LogPosition,
    event::stored::StoredEvent,
    stream::{refusal::Refusal, summary},
};

impl Teller<'_> {
    /// Whether a room may have another name, or another picture: it was set, or what set it was emptied.
    pub(super) async fn renamed(
        &self,
        room: &RoomId,
        changes: &Changes,
        upto: LogPosition,
    ) -> Result<(bool, bool), Refusal> {
        let mut renamed = (changes.name, changes.avatar);
        if !changes.emptied.is_nothing() {
            let store = &self.reader.parts.store;
            for (is_new, kind) in [(&mut renamed.0, "m.room.name"), (&mut renamed.1, "m.room.avatar")] {
                let event = state::at(store, room, kind, "", upto).await?;
                *is_new |= event.is_some_and(|event| changes.emptied.has(&event));
            }
        }
        Ok(renamed)
    }

    /// Adds what a joined room is called and looks like, where it may be different.
    pub(super) async fn add_name(
        &self,
        case: Case<'_>,
        news: &mut RoomNews,
        (name, avatar, members): (bool, bool, bool),
    ) -> Result<(), Refusal> {
        let Case { room, log, .. } = case;
        let (store, initial) = (&self.reader.parts.store, news.initial);
        self.add_name_at(room, log.upto, news, (initial || name, initial || avatar)).await?;
        let has_name = match &news.name {
            Field::Set(_) => true,
            Field::Clear => false,
            // All of the room is told, and that it has a name is not; or nothing changed by which it is called.
            Field::Keep if initial => false,
            Field::Keep if !members => true,
            Field::Keep => {
                let event = state::at(store, room, "m.room.name", "", log.upto).await?;
                text(event.as_deref(), "name").is_some()
            }
        };
        if !has_name {
            news.heroes = Some(self.heroes(room, log.upto).await?);
        }
        Ok(())
    }

    pub(super) async fn add_name_at(
        &self,
        room: &RoomId,
        upto: LogPosition,
        news: &mut RoomNews,
        (name, avatar): (bool, bool),
    ) -> Result<(), Refusal> {
        let store = &self.reader.parts.store;
        for (is_asked, kind, key) in [(name, "m.room.name", "name"), (avatar, "m.room.avatar", "url")] {
            if !is_asked {
                continue;
            }
            let event = state::at(store, room, kind, "", upto).await?;
            let field = match text(event.as_deref(), key) {
                Some(text) => Field::Set(text),
                // Who is told all of a room has nothing to clear.
                None if news.initial => Field::Keep,
                None => Field::Clear,
            };
            *(if key == "name" { &mut news.name } else { &mut news.avatar }) = field;
        }
        Ok(())
    }

    async fn heroes(&self, room: &RoomId, upto: LogPosition) -> Result<Vec<Hero>, Refusal> {
        let (store, reader) = (&self.reader.parts.store, &self.reader.look.session.user);
        let mut heroes = Vec::new();
        for user in summary::heroes(store, reader, room).await? {
            let event = state::at(store, room, "m.room.member", user.as_str(), upto).await?;
            let (displayname, avatar_url) =
                (text(event.as_deref(), "displayname"), text(event.as_deref(), "avatar_url"));
            heroes.push(Hero { user, displayname, avatar_url });
        }
        Ok(heroes)
    }

    /// Whether it is told that a room is between two: in full only that it is, later when that changes.
    pub(super) fn is_dm(before: Option<&Sent>, is_dm: bool) -> Option<bool> {
        match before {
            None => is_dm.then_some(true),
            Some(sent) => (sent.is_dm != is_dm).then_some(is_dm),
        }
    }
}

/// A text that is not empty in an event's content.
fn text(event: Option<&StoredEvent>, key: &str) -> Option<String> {
    let content: Map<String, Value> = event?.content_as()?;
    content.get(key)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}
