//! What happened that makes a difference to which list has which room, and where.

use ruma::{OwnedRoomId, UserId};

use super::request::Wanted;
use crate::server::{
    change::position::LogPosition,
    event::stored::StoredEvent,
    stream::{account_data, window::Windows},
};

/// What is known of the user's rooms has to take this step.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Step<'a> {
    /// All rooms are looked at.
    Anew,
    /// Something happened in these rooms, last at these places of the log.
    Moved(Vec<(&'a OwnedRoomId, LogPosition)>),
}

impl<'a> Step<'a> {
    /// For `user` and what they want, by what is new for them.
    pub(super) fn by(
        windows: &'a Windows,
        own_data: &account_data::Changed,
        user: &UserId,
        wanted: &Wanted,
    ) -> Self {
        let changes_all = |kind: &str| matches!(kind, "m.direct" | "m.ignored_user_list");
        let mut of_rooms = own_data.of_rooms.values().flatten();
        if own_data.global.iter().any(|data| changes_all(&data.kind))
            || of_rooms.any(|data| data.kind == "m.tag") && wanted.uses_tags()
        {
            return Self::Anew;
        }
        let mut moved = Vec::new();
        for (room, window) in windows {
            let decides = |event: &StoredEvent| decides(event, user, || wanted.names_space(room));
            match &window.events {
                // What came late can be anything.
                Some(events) if window.late.is_empty() && !events.iter().any(|event| decides(event)) => {
                    moved.extend(events.last().map(|event| (room, event.position)));
                }
                _ => return Self::Anew,
            }
        }
        Self::Moved(moved)
    }
}

/// Whether an event can decide which list of `user` has a room: its own, or one in it, if it `is_space`.
fn decides(event: &StoredEvent, user: &UserId, is_space: impl Fn() -> bool) -> bool {
    match (&*event.kind, event.state_key.as_deref()) {
        ("m.room.member", Some(member)) => member == user,
        ("m.room.create" | "m.room.encryption", Some("")) => true,
        // With what it says a child is taken out.
        ("m.space.child", Some(_)) | ("m.room.redaction", _) => is_space(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use ruma::{room_id, user_id};

    use super::*;
    use crate::server::{
        change::position::TimelinePosition,
        event::stored::Columns,
        store::AccountData,
        stream::{
            sliding::request::{Filters, List},
            window::Window,
        },
    };

    fn event(kind: &str, state_key: Option<&str>, position: u64) -> Arc<StoredEvent> {
        let position = LogPosition::new(position);
        Arc::new(StoredEvent::from(Columns {
            position,
            timeline: TimelinePosition::live(position),
            event_id: ruma::event_id!("$e").to_owned(),
            room_id: room_id!("!r:x").to_owned(),
            kind: kind.to_owned(),
            state_key: state_key.map(str::to_owned),
            sender: user_id!("@b:x").to_owned(),
            origin_server_ts: 0,
            depth: 1,
            pdu: "{}".into(),
            replaces: None,
            redacted_because: None,
            transaction: None,
            ours: false,
            unasked: false,
            hidden: false,
            lacks: false,
        }))
    }

    fn wanted(filters: Filters) -> Wanted {
        Wanted { lists: [("a".into(), List { filters, ..List::default() })].into(), ..Wanted::default() }
    }

    #[test]
    fn all_rooms_are_looked_at_after_what_decides_which_list_has_which_and_after_nothing_else() {
        let of_space = Filters { spaces: Some([room_id!("!r:x").to_owned()].into()), ..Filters::default() };
        let (any, of_space) = (wanted(Filters::default()), wanted(of_space));
        for (kind, key, wanted, is_anew) in [
            ("m.room.message", None, &any, false),
            ("m.room.topic", Some(""), &any, false),
            ("m.room.member", Some("@b:x"), &any, false),
            ("m.room.member", Some("@a:x"), &any, true),
            ("m.room.encryption", Some(""), &any, true),
            ("m.room.encryption", Some("x"), &any, false),
            ("m.room.create", Some(""), &any, true),
            ("m.space.child", Some("!c:x"), &any, false),
            ("m.space.child", Some("!c:x"), &of_space, true),
            ("m.room.redaction", None, &any, false),
            ("m.room.redaction", None, &of_space, true),
        ] {
            let window = |late| {
                let events = vec![event("m.room.message", None, 5), event(kind, key, 7)];
                let window = Window { events: Some(events), late };
                Windows::from([(room_id!("!r:x").to_owned(), window)])
            };
            let step = |windows: Windows| {
                let step = Step::by(&windows, &account_data::Changed::default(), user_id!("@a:x"), wanted);
                match step {
                    Step::Anew => None,
                    Step::Moved(moved) => moved.first().map(|(_, at)| at.get()),
                }
            };
            assert_eq!(step(window(Vec::new())), (!is_anew).then_some(7), "{kind} {key:?}");
            assert_eq!(step(window(vec![event("m.room.message", None, 6)])), None, "what comes late");
        }
        let unknown = Windows::from([(room_id!("!r:x").to_owned(), Window::default())]);
        let nothing = account_data::Changed::default();
        assert_eq!(Step::by(&unknown, &nothing, user_id!("@a:x"), &any), Step::Anew);
    }

    #[test]
    fn of_what_users_keep_little_decides_which_list_has_which_room() {
        let tags = Filters { not_tags: Some(["u.x".to_owned()].into()), ..Filters::default() };
        let (any, tags) = (wanted(Filters::default()), wanted(tags));
        for (kind, of_room, wanted, is_anew) in [
            ("m.direct", false, &any, true),
            ("m.ignored_user_list", false, &any, true),
            ("m.push_rules", false, &any, false),
            ("m.direct", true, &any, false),
            ("m.tag", true, &any, false),
            ("m.tag", true, &tags, true),
            ("org.x", true, &tags, false),
        ] {
            let room = of_room.then(|| room_id!("!r:x").to_owned());
            let data = AccountData { room: room.clone(), kind: kind.into(), content: "{}".into() };
            let changed = match room {
                None => account_data::Changed { global: vec![data], ..Default::default() },
                Some(room) => account_data::Changed {
                    of_rooms: BTreeMap::from([(room, vec![data])]),
                    ..Default::default()
                },
            };
            let windows = Windows::new();
            let step = Step::by(&windows, &changed, user_id!("@a:x"), wanted);
            assert_eq!(step == Step::Anew, is_anew, "{kind} {of_room}");
        }
    }
}
