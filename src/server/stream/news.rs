//! What a reader is told in one go, before it has any form.
//!
//! Typed, without JSON but for what is kept as JSON. What is the same for all readers is shared: events of rooms
//! and of presence are encoded once, where they are kept, and stand here by `Arc`. Each form in which readers
//! are told (`/sync`, and others after it) is an encoder of this.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ruma::{EventId, OwnedEventId, OwnedRoomId, OwnedUserId, push::Ruleset};
use serde_json::value::RawValue;

use super::token::Token;
use crate::server::{
    change::position::{LogPosition, TimelinePosition},
    event::{aggregation::Aggregations, stored::StoredEvent},
    presence::PresenceEvent,
    store::{AccountData, KeyCounts, Receipt, StateList},
};

/// Everything that is new for one reader. Each piece lies between where the reader was and [`Self::upto`];
/// those with a position of their own hold it.
#[derive(Debug)]
pub struct News {
    /// Up to where this goes: from here the reader goes on.
    pub upto: Token,
    /// What the user keeps for all rooms.
    pub own_data: OwnDataNews,
    /// Messages for the reader's device, each with its position, oldest first.
    pub to_device: Vec<(LogPosition, String)>,
    /// What happened in rooms.
    pub rooms: RoomsNews,
    /// Whose devices are to be asked for, and whose to be forgotten.
    pub device_lists: DeviceLists,
    /// The keys that the reader's device has left. Comes along, and is no news.
    pub keys_left: Arc<KeyCounts>,
    /// Whose presence changed, or came in sight or went out of it.
    pub presence: PresenceNews,
}

/// What changed in what the user keeps for all rooms.
#[derive(Debug, Default)]
pub struct OwnDataNews {
    /// The pieces, in the order of the log.
    pub changed: Vec<AccountData>,
    /// Matrix's push rules, told at first to who made none.
    pub default_rules: Option<Box<Ruleset>>,
}

/// What happened in rooms; each list in the order of the rooms' IDs.
#[derive(Debug, Default)]
pub struct RoomsNews {
    /// Those that the reader is in.
    pub joined: Vec<JoinedRoom>,
    /// Those that the reader is invited to.
    pub invited: Vec<StrippedRoom>,
    /// Those that the reader knocks at.
    pub knocked: Vec<StrippedRoom>,
    /// Those that the reader is no longer in.
    pub left: Vec<LeftRoom>,
}

/// A room that the reader is in.
#[derive(Debug)]
pub struct JoinedRoom {
    /// Which.
    pub room: OwnedRoomId,
    /// Who is there; `None`: as before.
    pub summary: Option<Summary>,
    /// What the reader has to know before the timeline makes sense.
    pub state: RoomState,
    /// What happened.
    pub timeline: Timeline,
    /// From where the reader, to whom the room is new and who asked to be told so, scrolls back (M7).
    pub begins_at: Option<TimelinePosition>,
    /// Who types; `None`: as before.
    pub typing: Option<Vec<OwnedUserId>>,
    /// Who has read how far.
    pub receipts: Vec<Receipt>,
    /// What the user keeps for this room.
    pub own_data: Vec<AccountData>,
    /// How much the user has not read: in no thread, if they want to know of threads apart, else of all.
    pub unread: UnreadCounts,
    /// How much in each thread, if they want to know.
    pub unread_threads: Option<Arc<RoomUnread>>,
}

/// State of a room, in any order.
#[derive(Debug, Default)]
pub struct RoomState {
    /// Events of it.
    pub events: Vec<Arc<StoredEvent>>,
    /// The others, however many: who writes them reads them page by page. None in news that are small.
    pub listed: StateList,
}

/// How many are in a room, and by whom it is called when it has no name.
#[derive(Debug, Default, Eq, PartialEq)]
pub struct Summary {
    /// Members.
    pub joined: usize,
    /// Those who are invited.
    pub invited: usize,
    /// Some of those who are there; `None`: the room has a name.
    pub heroes: Option<Vec<OwnedUserId>>,
}

/// The end of a room's timeline.
#[derive(Debug)]
pub struct Timeline {
    /// Oldest first.
    pub events: Vec<Arc<StoredEvent>>,
    /// Those that came late, in the order of the timeline: for who asks for them.
    pub late: Vec<Late>,
    /// What is gathered of the events that relate to those that the reader did not see coming.
    pub aggregations: Aggregations,
    /// There are more before them that the reader has not seen.
    pub limited: bool,
    /// From here backwards the reader has nothing: what came before the first event.
    pub prev: TimelinePosition,
}

/// An event that came late: it is new, and stands among what the reader has.
#[derive(Debug)]
pub struct Late {
    /// The event.
    pub event: Arc<StoredEvent>,
    /// The one that it comes after, of those that the reader is told; `None`: there is none before it.
    pub after: Option<OwnedEventId>,
}

/// How many messages a user has not read in a room.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct UnreadCounts {
    /// Of which the user wants to be notified.
    pub notifications: u64,
    /// That call for the user.
    pub highlights: u64,
}

/// Threads of a room that are counted apart, at most.
const MAX_THREADS: usize = 1000;

/// How many messages a user has not read in a room: in each of its threads, and in none.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RoomUnread {
    /// In no thread, or in one for which there is no place apart.
    pub main: UnreadCounts,
    /// In threads, by their roots: those in which there is something, [`MAX_THREADS`] of them at most.
    pub threads: BTreeMap<OwnedEventId, UnreadCounts>,
}

impl RoomUnread {
    /// All together.
    pub fn total(&self) -> UnreadCounts {
        self.threads.values().fold(self.main, |sum, of| UnreadCounts {
            notifications: sum.notifications + of.notifications,
            highlights: sum.highlights + of.highlights,
        })
    }

    /// There is more in one thread, or in none.
    pub(super) fn add(&mut self, thread: Option<OwnedEventId>, more: UnreadCounts) {
        // Anybody can begin threads, as many as they like, below events that are not there.
        let has_place =
            |root: &OwnedEventId| self.threads.len() < MAX_THREADS || self.threads.contains_key(root);
        let counts = match thread.filter(has_place) {
            None => &mut self.main,
            Some(root) => self.threads.entry(root).or_default(),
        };
        counts.notifications += more.notifications;
        counts.highlights += more.highlights;
    }

    /// Everything in one thread, or in none, was read.
    pub(super) fn read(&mut self, thread: Option<&EventId>) {
        match thread {
            None => self.main = UnreadCounts::default(),
            Some(root) => {
                self.threads.remove(root);
            }
        }
    }
}

/// A room that the reader is on the way into.
#[derive(Debug)]
pub struct StrippedRoom {
    /// Which.
    pub room: OwnedRoomId,
    /// Its stripped state, as it came with the invite.
    pub state: Vec<Box<RawValue>>,
    /// The reader's own member event.
    pub own: Option<Arc<StoredEvent>>,
}

/// A room that the reader left: what happened up to that, as far as they could see it.
#[derive(Debug)]
pub struct LeftRoom {
    /// Which.
    pub room: OwnedRoomId,
    /// What the reader has to know before the timeline makes sense.
    pub state: RoomState,
    /// What happened.
    pub timeline: Timeline,
}

/// Whose devices are to be asked for, and whose to be forgotten.
#[derive(Debug, Default)]
pub struct DeviceLists {
    /// Their devices or keys changed, or the reader met them.
    pub changed: BTreeSet<OwnedUserId>,
    /// They share no room with the reader any longer.
    pub left: BTreeSet<OwnedUserId>,
}

/// Whose presence changed, or came in sight or went out of it.
#[derive(Debug, Default)]
pub struct PresenceNews {
    /// The reader's own, as only their own devices see it.
    pub own: Option<PresenceEvent>,
    /// The last event of each other whom the reader may see, in the order of their IDs.
    pub seen: Vec<(Arc<OwnedUserId>, Arc<PresenceEvent>)>,
    /// Of these nothing is known any longer (L2).
    pub unknown: BTreeSet<OwnedUserId>,
}

impl News {
    /// Whether there is anything that a reader would not want to wait for.
    pub fn has_news(&self) -> bool {
        let Self { upto: _, own_data, to_device, rooms, device_lists, keys_left: _, presence } = self;
        !(own_data.is_empty()
            && to_device.is_empty()
            && rooms.is_empty()
            && device_lists.is_empty()
            && presence.is_empty())
    }
}

impl OwnDataNews {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.default_rules.is_none()
    }
}

impl RoomsNews {
    /// Whether nothing happened.
    pub fn is_empty(&self) -> bool {
        let Self { joined, invited, knocked, left } = self;
        joined.is_empty() && invited.is_empty() && knocked.is_empty() && left.is_empty()
    }
}

impl RoomState {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.listed.is_empty()
    }
}

impl JoinedRoom {
    /// Whether nothing of it is to be told. How much the user has not read is no news by itself.
    pub fn is_empty(&self) -> bool {
        let Self { room: _, summary: _, state, timeline, begins_at, typing, receipts, own_data, .. } = self;
        let Timeline { events, late, aggregations: _, limited, prev: _ } = timeline;
        let is_silent = state.is_empty() && events.is_empty() && late.is_empty() && begins_at.is_none();
        let has_events = !is_silent || *limited;
        !has_events && typing.is_none() && receipts.is_empty() && own_data.is_empty()
    }
}

impl DeviceLists {
    /// Whether there is nobody to ask for and nobody to forget.
    pub fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.left.is_empty()
    }
}

impl PresenceNews {
    /// How many events there are.
    pub fn len(&self) -> usize {
        usize::from(self.own.is_some()) + self.seen.len() + self.unknown.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use ruma::{room_id, user_id};

    use super::*;

    fn nothing() -> News {
        News {
            upto: Token::at(LogPosition::new(7)),
            own_data: OwnDataNews::default(),
            to_device: Vec::new(),
            rooms: RoomsNews::default(),
            device_lists: DeviceLists::default(),
            keys_left: Arc::default(),
            presence: PresenceNews::default(),
        }
    }

    #[test]
    fn an_empty_look_has_no_news_and_how_many_keys_are_left_is_none() {
        assert!(!nothing().has_news());
        let counts = KeyCounts { one_time: [("curve".into(), 3)].into(), ..KeyCounts::default() };
        assert!(!News { keys_left: Arc::new(counts), ..nothing() }.has_news());
    }

    #[test]
    fn so_many_threads_are_counted_apart_and_those_beyond_with_what_is_in_none() {
        let root = |n: usize| EventId::parse(format!("$root{n}")).expect("an event ID");
        let one = UnreadCounts { notifications: 1, highlights: 1 };
        let mut unread = RoomUnread::default();
        for n in 0..2 * MAX_THREADS {
            unread.add(Some(root(n)), one);
        }
        unread.add(Some(root(0)), one);
        let apart = MAX_THREADS as u64;
        assert_eq!(unread.threads.len(), MAX_THREADS);
        assert_eq!(unread.main, UnreadCounts { notifications: apart, highlights: apart });
        assert_eq!(unread.total().notifications, 2 * apart + 1, "none is lost");
        unread.read(Some(&root(0)));
        unread.read(None);
        assert_eq!((unread.threads.len(), unread.total().notifications), (MAX_THREADS - 1, apart - 1));
    }

    #[test]
    fn any_one_piece_is_news() {
        let user = || user_id!("@a:x").to_owned();
        let stripped = || StrippedRoom { room: room_id!("!r:x").to_owned(), state: Vec::new(), own: None };
        let rules = Some(Box::new(Ruleset::new()));
        for news in [
            News { own_data: OwnDataNews { default_rules: rules, ..OwnDataNews::default() }, ..nothing() },
            News { to_device: vec![(LogPosition::new(1), "{}".into())], ..nothing() },
            News { rooms: RoomsNews { invited: vec![stripped()], ..RoomsNews::default() }, ..nothing() },
            News { rooms: RoomsNews { knocked: vec![stripped()], ..RoomsNews::default() }, ..nothing() },
            News {
                device_lists: DeviceLists { left: [user()].into(), ..DeviceLists::default() },
                ..nothing()
            },
            News {
                presence: PresenceNews { unknown: [user()].into(), ..PresenceNews::default() },
                ..nothing()
            },
        ] {
            assert!(news.has_news(), "{news:?}");
        }
    }
}
