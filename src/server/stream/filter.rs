//! What of the stream a client wants: Matrix's filters, applied.

use ruma::api::client::filter::{
    self as wire, EventFormat, FilterDefinition, LazyLoadOptions, RoomEventFilter, RoomFilter as Wire,
    UrlFilter,
};
use ruma::{OwnedRoomId, RoomId, UserId};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    core::federation::Fingerprint,
    server::event::{client::ClientFormat, fields::Fields},
};

/// Events of a timeline that a response holds at most, whatever the filter asks for.
const MAX_TIMELINE: usize = 100;

/// Events of a timeline when the filter does not say.
const DEFAULT_TIMELINE: usize = 10;

/// A filter, parsed once and shared by the requests that name it.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    wire: FilterDefinition,
    /// `None`: events are told whole.
    fields: Option<Fields>,
    /// What this server adds to Matrix's filters.
    own: OwnKeys,
}

/// The keys that only this server knows.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
struct OwnKeys {
    room: OwnRoomKeys,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
struct OwnRoomKeys {
    /// Where a room begins is told.
    #[serde(rename = "org.pilotlight.joined_events")]
    joined_events: bool,
    timeline: OwnTimelineKeys,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
struct OwnTimelineKeys {
    #[serde(rename = "org.pilotlight.out_of_order")]
    out_of_order: bool,
}

/// Whose presence a reader wants to be told of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Whose {
    /// Nobody's.
    Nobodys,
    /// Some users' only: a mark of which, never 0, and the same for the same choice.
    Somebodys(u32),
    /// Everybody's.
    Everybodys,
}

/// The parts of an event that a filter of room events looks at.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// The event's type.
    pub kind: &'a str,
    /// Who sent it.
    pub sender: &'a str,
    /// The event as JSON; parsed only when the filter asks for URLs.
    pub json: &'a str,
}

impl Filter {
    /// Objects and lists within each other in a filter, at most. The specification's filters have 4.
    pub const MAX_DEPTH: usize = 8;

    /// Reads a filter from its JSON text.
    pub fn parse(json: &str) -> Result<Self, serde_json::Error> {
        let wire: FilterDefinition = serde_json::from_str(json)?;
        // An empty list asks for nothing at all, and clients mean everything by it.
        let paths = wire.event_fields.as_deref().filter(|paths| !paths.is_empty());
        let fields = paths.map(Fields::parse).transpose().map_err(serde::de::Error::custom)?;
        Ok(Self { wire, fields, own: serde_json::from_str(json)? })
    }

    /// Everything, with so many events in a timeline.
    pub fn of_timeline(limit: usize) -> Self {
        let mut filter = Self::default();
        filter.wire.room.timeline.limit = Some(u32::try_from(limit).unwrap_or(u32::MAX).into());
        filter
    }

    /// Everything but presence.
    pub fn without_presence() -> Self {
        let mut filter = Self::default();
        filter.wire.presence.types = Some(Vec::new());
        filter
    }

    /// How the events of all timelines are wanted.
    pub fn timelines(&self) -> Timelines {
        let FilterDefinition { event_format, room, .. } = &self.wire;
        let Wire { timeline, rooms, not_rooms, .. } = room;
        let mut chosen = timeline.clone();
        chosen.limit = None;
        let is_whole =
            chosen.is_empty() && self.timeline_limit() > 0 && rooms.is_none() && not_rooms.is_empty();
        let is_plain = *event_format == EventFormat::Client && self.fields.is_none();
        if !is_whole || !is_plain || self.redundant_members() {
            Timelines::Chosen
        } else if self.lazy_members() {
            Timelines::OfKnown
        } else {
            Timelines::Whole
        }
    }

    /// Whether presence of `sender` is wanted.
    pub fn presence(&self, sender: &UserId) -> bool {
        let f = &self.wire.presence;
        self.any_presence() && wants_sender(f.senders.as_deref(), &f.not_senders, sender.as_str())
    }

    /// Whose presence is wanted. A limit of 0 wants nobody's; any other is not applied: a state that was left out
    /// would never be told.
    pub fn whose_presence(&self) -> Whose {
        let f = &self.wire.presence;
        if !self.any_presence() {
            return Whose::Nobodys;
        }
        if f.senders.is_none() && f.not_senders.is_empty() {
            return Whose::Everybodys;
        }
        let senders = format!("{:?}", (&f.senders, &f.not_senders));
        let [.., a, b, c, d] = Fingerprint::of(senders.as_bytes()).0.to_be_bytes();
        Whose::Somebodys(u32::from_be_bytes([a, b, c, d]).max(1))
    }

    fn any_presence(&self) -> bool {
        let f = &self.wire.presence;
        wants_type(f.types.as_deref(), &f.not_types, "m.presence")
            && f.limit.is_none_or(|limit| u64::from(limit) > 0)
            && f.senders.as_ref().is_none_or(|senders| !senders.is_empty())
    }

    /// Whether the user's own global account data of this type is wanted.
    pub fn account_data(&self, kind: &str) -> bool {
        let f: &wire::Filter = &self.wire.account_data;
        wants_type(f.types.as_deref(), &f.not_types, kind)
    }

    /// Whether anything of `room` is wanted.
    pub fn room(&self, room: &RoomId) -> bool {
        wants_room(self.wire.room.rooms.as_deref(), &self.wire.room.not_rooms, room)
    }

    /// Whether rooms that the user has left come with the first sync.
    pub fn include_leave(&self) -> bool {
        self.wire.room.include_leave
    }

    /// Whether the timeline of `room` holds this event.
    pub fn timeline(&self, room: &RoomId, event: Seen<'_>) -> bool {
        wants_event(&self.wire.room.timeline, room, event)
    }

    /// Whether events that come late are told, each with the one that it comes after (M4).
    pub fn out_of_order(&self) -> bool {
        self.own.room.timeline.out_of_order
    }

    /// Whether the state of `room` holds this event.
    pub fn state(&self, room: &RoomId, event: Seen<'_>) -> bool {
        wants_event(&self.wire.room.state, room, event)
    }

    /// Whether the state of `room` holds events of this type from this sender, as far as that can be said without
    /// looking into them.
    pub fn state_of(&self, room: &RoomId, kind: &str, sender: &str) -> bool {
        let f = &self.wire.room.state;
        wants_kind(f, room, kind) && wants_sender(f.senders.as_deref(), &f.not_senders, sender)
    }

    /// Whether any state of `room` may be wanted.
    pub fn any_state(&self, room: &RoomId) -> bool {
        let f = &self.wire.room.state;
        wants_room(f.rooms.as_deref(), &f.not_rooms, room)
            && f.types.as_ref().is_none_or(|types| !types.is_empty())
            && !f.not_types.iter().any(|kind| kind == "*")
            && f.senders.as_ref().is_none_or(|senders| !senders.is_empty())
    }

    /// Whether it depends on who sent a state event whether it is wanted.
    pub fn looks_at_senders(&self) -> bool {
        self.wire.room.state.senders.is_some() || !self.wire.room.state.not_senders.is_empty()
    }

    /// Whether state events have to be looked into to know whether they are wanted.
    pub fn looks_into_state(&self) -> bool {
        self.wire.room.state.url_filter.is_some()
    }

    /// Whether an ephemeral event of this type is wanted for `room`.
    pub fn ephemeral(&self, room: &RoomId, kind: &str) -> bool {
        wants_kind(&self.wire.room.ephemeral, room, kind)
    }

    /// Whether the user's account data of this type is wanted for `room`.
    pub fn room_account_data(&self, room: &RoomId, kind: &str) -> bool {
        wants_kind(&self.wire.room.account_data, room, kind)
    }

    /// Whether it is told where a room begins that is new to the reader (M7).
    pub fn joined_events(&self) -> bool {
        self.own.room.joined_events
    }

    /// The same, with so many events in a timeline if it does not say how many.
    #[must_use]
    pub fn or_timeline_limit(&self, limit: u32) -> Self {
        let mut filter = self.clone();
        filter.wire.room.timeline.limit.get_or_insert(limit.into());
        filter
    }

    /// Whether it is told of each thread apart how much is unread in it.
    pub fn unread_threads(&self) -> bool {
        self.wire.room.timeline.unread_thread_notifications
    }

    /// In which form events of rooms are told.
    pub fn format(&self) -> ClientFormat {
        match self.wire.event_format {
            EventFormat::Federation => ClientFormat::Federation,
            _ => ClientFormat::InRoom,
        }
    }

    /// Which of their fields are told, when not all; of the form that [`Self::format`] gives them.
    pub fn fields(&self) -> Option<&Fields> {
        self.fields.as_ref()
    }

    /// How many events of a room's timeline one response holds: at most 100, default 10.
    pub fn timeline_limit(&self) -> usize {
        let asked =
            self.wire.room.timeline.limit.map(|n| usize::try_from(u64::from(n)).unwrap_or(usize::MAX));
        asked.unwrap_or(DEFAULT_TIMELINE).min(MAX_TIMELINE)
    }

    /// Whether member events come only for those whose events are in the timeline.
    pub fn lazy_members(&self) -> bool {
        !matches!(self.wire.room.state.lazy_load_options, LazyLoadOptions::Disabled)
    }

    /// Whether those come each time, though the client was told of them.
    pub fn redundant_members(&self) -> bool {
        let options = &self.wire.room.state.lazy_load_options;
        matches!(options, LazyLoadOptions::Enabled { include_redundant_members: true })
    }
}

/// How a filter has the events of timelines.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Timelines {
    /// As they are.
    Whole,
    /// As they are, with the members who send them unless the client knows them.
    OfKnown,
    /// Some of them, or in another form.
    #[default]
    Chosen,
}

/// Whether a filter of room events lets an event of `room` through.
pub fn wants_event(f: &RoomEventFilter, room: &RoomId, event: Seen<'_>) -> bool {
    wants_kind(f, room, event.kind)
        && wants_sender(f.senders.as_deref(), &f.not_senders, event.sender)
        && match f.url_filter {
            None => true,
            Some(UrlFilter::EventsWithUrl) => has_url(event.json),
            Some(UrlFilter::EventsWithoutUrl) => !has_url(event.json),
        }
}

fn wants_kind(f: &RoomEventFilter, room: &RoomId, kind: &str) -> bool {
    wants_type(f.types.as_deref(), &f.not_types, kind) && wants_room(f.rooms.as_deref(), &f.not_rooms, room)
}

fn wants_type(types: Option<&[String]>, not_types: &[String], kind: &str) -> bool {
    types.is_none_or(|t| t.iter().any(|p| matches_pattern(p, kind)))
        && !not_types.iter().any(|p| matches_pattern(p, kind))
}

fn wants_sender(senders: Option<&[ruma::OwnedUserId]>, not: &[ruma::OwnedUserId], sender: &str) -> bool {
    senders.is_none_or(|s| s.iter().any(|u| u == sender)) && !not.iter().any(|u| u == sender)
}

fn wants_room(rooms: Option<&[OwnedRoomId]>, not: &[OwnedRoomId], room: &RoomId) -> bool {
    rooms.is_none_or(|r| r.iter().any(|r| r == room)) && !not.iter().any(|r| r == room)
}

/// Whether `kind` fits a type with `*` for any number of characters.
fn matches_pattern(pattern: &str, kind: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == kind };
    let Some(mut kind) = kind.strip_prefix(head) else { return false };
    let mut rest = rest;
    // Each piece between two stars at its first place: the leftmost fit leaves most for the others.
    while let Some((piece, after)) = rest.split_once('*') {
        let Some(at) = kind.find(piece) else { return false };
        kind = &kind[at + piece.len()..];
        rest = after;
    }
    kind.ends_with(rest)
}

fn has_url(json: &str) -> bool {
    #[derive(serde::Deserialize)]
    struct Content<'a> {
        #[serde(borrow)]
        url: Option<&'a RawValue>,
    }
    #[derive(serde::Deserialize)]
    struct Event<'a> {
        #[serde(borrow)]
        content: Content<'a>,
    }
    serde_json::from_str::<Event<'_>>(json)
        .is_ok_and(|e| e.content.url.is_some_and(|u| u.get().starts_with('"')))
}

#[cfg(test)]
mod tests {
    use ruma::{room_id, user_id};

    use super::*;

    fn filter(json: &str) -> Filter {
        Filter::parse(json).expect("is a filter")
    }

    #[test]
    fn stars_stand_for_any_number_of_characters() {
        for (pattern, kind, fits) in [
            ("m.room.message", "m.room.message", true),
            ("m.room.message", "m.room.messages", false),
            ("*", "anything", true),
            ("m.*", "m.room.name", true),
            ("m.*", "org.m.x", false),
            ("*.name", "m.room.name", true),
            ("m.*.name", "m.room.name", true),
            ("m.*.name", "m.name", false),
            ("a*b*a", "aba", true),
            ("a*a", "a", false),
            ("**", "", true),
        ] {
            assert_eq!(matches_pattern(pattern, kind), fits, "{pattern} {kind}");
        }
    }

    #[test]
    fn the_presence_part_of_a_filter_is_heard() {
        let (a, b) = (user_id!("@a:x"), user_id!("@b:x"));
        let all = [r#"{}"#, r#"{"presence":{"limit":1,"types":["m.*"],"not_senders":[]}}"#];
        for all in all.map(filter) {
            assert!(all.presence(a) && all.whose_presence() == Whose::Everybodys);
        }
        let none = [r#"{"types":[]}"#, r#"{"not_types":["*"]}"#, r#"{"senders":[]}"#, r#"{"limit":0}"#];
        for none in none.map(|none| filter(&format!(r#"{{"presence":{none}}}"#))) {
            assert!(!none.presence(a) && none.whose_presence() == Whose::Nobodys);
        }
        let some = |part: &str| filter(&format!(r#"{{"presence":{{"{part}":["@b:x"]}}}}"#));
        let (only_b, not_b) = (some("senders"), some("not_senders"));
        assert!(!only_b.presence(a) && only_b.presence(b));
        assert!(not_b.presence(a) && !not_b.presence(b));
        let (only, not) = (only_b.whose_presence(), not_b.whose_presence());
        assert!(matches!((only, not), (Whose::Somebodys(1..), Whose::Somebodys(1..))) && only != not);
        assert_eq!(some("senders").whose_presence(), only);
    }

    #[test]
    fn room_parts_have_their_own_rooms_types_senders_and_urls() {
        let (r, s) = (room_id!("!r:x"), room_id!("!s:x"));
        let text = Seen { kind: "m.room.message", sender: "@a:x", json: r#"{"content":{"body":"x"}}"# };
        let image = Seen { json: r#"{"content":{"url":"mxc://x/y"}}"#, ..text };
        let f = filter(
            r#"{"room":{"not_rooms":["!s:x"],"timeline":{"contains_url":true},"state":{"not_senders":["@a:x"]}}}"#,
        );
        assert!(f.room(r) && !f.room(s));
        assert!(f.timeline(r, image) && !f.timeline(r, text));
        assert!(!f.state(r, text));
        assert!(!filter(r#"{"room":{"ephemeral":{"types":["m.receipt"]}}}"#).ephemeral(r, "m.typing"));
        assert!(!filter(r#"{"room":{"rooms":[]}}"#).room(r));
    }

    #[test]
    fn m4_events_out_of_order_come_to_who_asks_for_them() {
        let asks = |json: &str| Filter::parse(json).map(|filter| filter.out_of_order());
        let with =
            |value: &str| format!(r#"{{"room":{{"timeline":{{"org.pilotlight.out_of_order":{value}}}}}}}"#);
        for (json, expected) in [
            ("{}".to_owned(), false),
            (r#"{"room":{"timeline":{"limit":1}}}"#.to_owned(), false),
            (with("false"), false),
            (with("true"), true),
        ] {
            assert_eq!(asks(&json).ok(), Some(expected), "{json}");
        }
        assert!(asks(&with("1")).is_err());
    }

    #[test]
    fn limits_are_bounded() {
        assert_eq!(filter("{}").timeline_limit(), 10);
        assert_eq!(filter(r#"{"room":{"timeline":{"limit":0}}}"#).timeline_limit(), 0);
        assert_eq!(filter(r#"{"room":{"timeline":{"limit":9999999}}}"#).timeline_limit(), 100);
        assert!(Filter::parse(r#"{"room":{"timeline":{"limit":-1}}}"#).is_err());
        assert!(Filter::parse(&"[".repeat(500)).is_err());
        assert!(filter(r#"{"event_fields":[]}"#).fields().is_none() && filter("{}").fields().is_none());
        assert!(filter(r#"{"event_fields":["type"]}"#).fields().is_some());
        let many = serde_json::json!({ "event_fields": vec!["x"; 101] }).to_string();
        for bad in [r#"{"event_fields":"type"}"#, r#"{"event_fields":[1]}"#, r#"{"event_fields":{}}"#, &many]
        {
            assert!(Filter::parse(bad).is_err(), "{bad}");
        }
    }
}
