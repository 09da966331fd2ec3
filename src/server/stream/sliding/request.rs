//! What a client asks of a connection, in whichever wire form it came.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use ruma::OwnedRoomId;

use super::required::Required;
use crate::{
    core::presence::{DeviceType, SetPresence},
    server::{change::position::LogPosition, stream::token::Pos},
};

/// Lists that one request has at most (MSC4186).
pub const MAX_LISTS: usize = 100;

/// Rooms that one request subscribes to at most (MSC4186).
pub const MAX_SUBSCRIPTIONS: usize = 100;

/// Types, tags, or spaces in one field of a filter, and lists that an extension names, at most.
pub const MAX_NAMES: usize = 100;

/// Events of a room's timeline that one answer holds at most, whatever is asked for.
pub const MAX_TIMELINE: usize = 100;

/// One request.
#[derive(Clone, Debug)]
pub struct Request {
    /// Which of the device's connections; empty where the client has but one.
    pub conn_id: String,
    /// Where the client is on it; `None`: it begins.
    pub pos: Option<Pos>,
    /// How long to wait for news at most.
    pub timeout: Duration,
    /// What the device says of itself; `None`: it does not count as connected.
    pub set_presence: Option<SetPresence>,
    /// What kind of device it is, if it says so.
    pub device_type: Option<DeviceType>,
    /// Which rooms.
    pub wanted: Arc<Wanted>,
    /// What is told beside them.
    pub extensions: Extensions,
    /// How the answer reads.
    pub wire: Wire,
    /// What the client calls the request, to be said back.
    pub txn_id: Option<String>,
}

/// The two forms in which the same is asked and answered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Wire {
    /// MSC4186 as it was accepted: `/v4/sync`.
    Accepted,
    /// As clients had it before: `/unstable/org.matrix.simplified_msc3575/sync`.
    Before,
}

/// Which rooms a request is about.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Wanted {
    /// By name.
    pub lists: BTreeMap<String, List>,
    /// Single ones.
    pub subscriptions: BTreeMap<OwnedRoomId, Config>,
}

/// A window on the user's rooms, in the order in which something happened in them last.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct List {
    /// Which of the rooms that the filters let through: first and last, counted from 0. `None`: all of them.
    pub ranges: Option<Vec<(usize, usize)>>,
    /// Which rooms.
    pub filters: Filters,
    /// What is told of them.
    pub config: Config,
}

/// What of a room is told.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Config {
    /// Events of its timeline, at most [`MAX_TIMELINE`].
    pub timeline_limit: usize,
    /// Its state.
    pub required: Required,
}

/// Which rooms a list is about. Each field lets all through when it is not set.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Filters {
    /// Rooms that the user's `m.direct` names, or the others.
    pub is_dm: Option<bool>,
    /// Rooms with an `m.room.encryption` event, or the others.
    pub is_encrypted: Option<bool>,
    /// Rooms that the user is invited to, or the others.
    pub is_invited: Option<bool>,
    /// Rooms of one of these types; `None` among them: without one.
    pub room_types: Option<BTreeSet<Option<String>>>,
    /// Rooms of none of these.
    pub not_room_types: Option<BTreeSet<Option<String>>>,
    /// Rooms with one of these tags.
    pub tags: Option<BTreeSet<String>>,
    /// Rooms with none of these.
    pub not_tags: Option<BTreeSet<String>>,
    /// Rooms that one of these spaces names, if the user is in it.
    pub spaces: Option<BTreeSet<OwnedRoomId>>,
}

/// What is told beside rooms; `None`: not asked for.
#[derive(Clone, Debug, Default)]
pub struct Extensions {
    /// Messages for the device (MSC3885).
    pub to_device: Option<ToDevice>,
    /// Whose devices changed, and which keys are left (MSC3884).
    pub e2ee: bool,
    /// What the user keeps (MSC3959).
    pub account_data: Option<Scoped>,
    /// Who has read how far (MSC3960).
    pub receipts: Option<Scoped>,
    /// Who types (MSC3961).
    pub typing: Option<Scoped>,
    /// Whose presence changed, under each of these keys.
    pub presence: Vec<&'static str>,
}

/// Which messages for the device.
#[derive(Clone, Copy, Debug)]
pub struct ToDevice {
    /// Those after this; those up to it are forgotten.
    pub since: Option<LogPosition>,
    /// So many at most.
    pub limit: usize,
}

/// What is told beside rooms, of single ones; `None`: not asked for.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct PerRoom([Option<Scoped>; 3]);

/// Of which of the rooms that a request is about something is told.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Scoped {
    /// Those of these lists; `None`: of all.
    pub lists: Option<BTreeSet<String>>,
    /// These; `None`: all that are subscribed to.
    pub rooms: Option<BTreeSet<OwnedRoomId>>,
}

impl Scoped {
    /// Whether something is told of `room`, which is in the windows of `lists`, and is subscribed to or not.
    pub(super) fn covers(&self, room: &OwnedRoomId, lists: &[Arc<str>], is_subscribed: bool) -> bool {
        let by_list = match &self.lists {
            None => !lists.is_empty(),
            Some(named) => lists.iter().any(|list| named.contains(&**list)),
        };
        by_list || self.rooms.as_ref().map_or(is_subscribed, |named| named.contains(room))
    }
}

impl From<&Extensions> for PerRoom {
    fn from(asked: &Extensions) -> Self {
        let Extensions { account_data, receipts, typing, .. } = asked;
        Self([account_data.clone(), receipts.clone(), typing.clone()])
    }
}

impl PerRoom {
    /// Whether `asked` asks for this.
    pub(super) fn is_of(&self, asked: &Extensions) -> bool {
        let Extensions { account_data, receipts, typing, .. } = asked;
        self.0.iter().eq([account_data, receipts, typing])
    }

    /// About how many bytes it takes.
    pub(super) fn weight(&self) -> usize {
        let scoped = |scoped: &Scoped| {
            let lists = scoped.lists.iter().flatten().map(|list| of_text(list));
            lists.chain(scoped.rooms.iter().flatten().map(|room| of_text(room.as_str()))).sum::<usize>()
        };
        size_of::<Self>() + self.0.iter().flatten().map(scoped).sum::<usize>()
    }
}

/// About how many bytes a text takes in a set or a map.
fn of_text(text: &str) -> usize {
    text.len() + 2 * size_of::<String>()
}

impl Filters {
    fn weight(&self) -> usize {
        let Self {
            is_dm: _,
            is_encrypted: _,
            is_invited: _,
            room_types,
            not_room_types,
            tags,
            not_tags,
            spaces,
        } = self;
        let types = [room_types, not_room_types].into_iter().flatten().flatten();
        let types = types.map(|kind| of_text(kind.as_deref().unwrap_or_default()));
        let tags = [tags, not_tags].into_iter().flatten().flatten().map(|tag| of_text(tag));
        let spaces = spaces.iter().flatten().map(|space| of_text(space.as_str()));
        types.chain(tags).chain(spaces).sum()
    }
}

impl Config {
    /// What is told of a room that several rules match: whatever one of them asks for.
    pub(super) fn union(&mut self, other: &Self) {
        self.timeline_limit = self.timeline_limit.max(other.timeline_limit);
        self.required.union(&other.required);
    }
}

impl Wanted {
    /// Whether a filter asks for tags.
    pub(super) fn uses_tags(&self) -> bool {
        self.lists.values().any(|list| list.filters.tags.is_some() || list.filters.not_tags.is_some())
    }

    /// The spaces that filters name.
    pub(super) fn spaces(&self) -> BTreeSet<&OwnedRoomId> {
        self.lists.values().filter_map(|list| list.filters.spaces.as_ref()).flatten().collect()
    }

    /// Whether a filter names `room` as a space.
    pub(super) fn names_space(&self, room: &OwnedRoomId) -> bool {
        let mut spaces = self.lists.values().filter_map(|list| list.filters.spaces.as_ref());
        spaces.any(|spaces| spaces.contains(room))
    }

    /// About how many bytes it takes, but for what it shares with others.
    pub(super) fn weight(&self) -> usize {
        let ranges =
            |list: &List| list.ranges.as_ref().map_or(0, |ranges| ranges.len() * size_of::<(usize, usize)>());
        let list = |(name, list): (&String, &List)| {
            of_text(name) + size_of::<List>() + ranges(list) + list.filters.weight()
        };
        let rooms = self.subscriptions.keys().map(|room| of_text(room.as_str()) + size_of::<Config>());
        size_of::<Self>() + self.lists.iter().map(list).sum::<usize>() + rooms.sum::<usize>()
    }

    /// What a request by `user` is told of a room by its lists and subscription, together.
    pub(super) fn config(&self, lists: &[Arc<str>], room: Option<&OwnedRoomId>) -> Config {
        let of_lists = lists.iter().filter_map(|name| self.lists.get(&**name)).map(|list| &list.config);
        let of_room = room.and_then(|room| self.subscriptions.get(room));
        let mut config = Config::default();
        of_lists.chain(of_room).for_each(|one| config.union(one));
        config
    }
}
