//! Which rooms a request is about: those in the windows of its lists, and those that it subscribes to. It is kept with the
//! connection: what happens in a room moves it to the front of its lists, and all rooms are looked at again only when
//! something happened that decides which list has which room.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ruma::{OwnedRoomId, RoomId};

use super::{
    request::{Config, Extensions, PerRoom, Wanted},
    weights::Weights,
};
use crate::server::change::position::LogPosition;

/// What is remembered to be told of rooms in the same windows, at most; beyond it what no room has any longer is forgotten.
const MAX_ALIKE: usize = 64;

/// The rooms that a request is about.
#[derive(Debug)]
pub(super) struct Scope {
    pub(super) wanted: Arc<Wanted>,
    /// What it asked for beside rooms, of single ones.
    per_room: PerRoom,
    /// The user's rooms, in the order of their IDs.
    rooms: Vec<Room>,
    /// In the order of their names.
    lists: Vec<List>,
    alike: BTreeMap<Lists, Arc<Told>>,
    /// Rooms that the client was sent and the user left, and of which nothing is remembered any longer.
    pub(super) gone: Vec<OwnedRoomId>,
    /// It is as things are at this place of the log at least.
    pub(super) upto: LogPosition,
    /// Of whom it is known what they were told.
    pub(super) known_to: KnownTo,
    untold: Untold,
    /// About how many bytes the rooms and lists take.
    weight: usize,
    /// The same of what is asked for.
    weight_asked: usize,
}

/// A room of the user, as it was found.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) id: OwnedRoomId,
    /// By which it is ordered: the later the further in front.
    pub(super) at: LogPosition,
    /// What happens in it moves it.
    pub(super) moves: bool,
    pub(super) is_dm: bool,
    /// Those that let it through.
    pub(super) lists: Lists,
}

/// Some of the lists of a request, by their places in the order of their names.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Lists(u128);

/// What the client calls some of its lists.
pub(super) type Names = Arc<[Arc<str>]>;

/// A room that the client is told of.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Scoped {
    /// What is told of it.
    pub(super) config: Arc<Config>,
    /// In the windows of which lists it is.
    pub(super) lists: Names,
    pub(super) is_subscribed: bool,
    pub(super) is_dm: bool,
}

/// To which client everything in the scope was told, but what is [`Untold`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum KnownTo {
    Nobody,
    /// Who asks in this request, with what its looks found.
    Request(u64),
    /// Who has this answer.
    Answer(u64),
}

/// Rooms that came into the scope or left it, or of which something else is told than before.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Untold {
    /// Perhaps any.
    All,
    /// These, by their numbers.
    These(BTreeSet<usize>),
}

#[derive(Debug)]
struct Room {
    id: OwnedRoomId,
    at: LogPosition,
    moves: bool,
    is_dm: bool,
    /// `None`: nothing.
    told: Option<Arc<Told>>,
}

/// What is told of a room.
#[derive(Debug, Eq, PartialEq)]
struct Told {
    windows: Lists,
    config: Arc<Config>,
    names: Names,
    is_subscribed: bool,
}

#[derive(Debug)]
struct List {
    name: Arc<str>,
    /// In order, none touching another; `None`: all.
    ranges: Option<Vec<(usize, usize)>>,
    /// The numbers of its rooms.
    order: Vec<u32>,
}

impl Lists {
    pub(super) fn set(&mut self, list: usize, is_in: bool) {
        let bit = 1_u128.checked_shl(u32::try_from(list).unwrap_or(u32::MAX)).unwrap_or(0);
        self.0 = if is_in { self.0 | bit } else { self.0 & !bit };
    }

    fn has(self, list: usize) -> bool {
        self.0.checked_shr(u32::try_from(list).unwrap_or(u32::MAX)).is_some_and(|rest| rest & 1 == 1)
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl Scope {
    /// Of the rooms that were found.
    pub(super) fn new(
        (wanted, extensions): (Arc<Wanted>, &Extensions),
        mut found: Vec<Found>,
        gone: Vec<OwnedRoomId>,
        upto: LogPosition,
    ) -> Self {
        found.sort_by(|a, b| a.id.cmp(&b.id));
        let mut order: Vec<usize> = (0..found.len()).collect();
        order.sort_by_key(|n| (std::cmp::Reverse(found[*n].at), *n));
        let list = |(place, name): (usize, &String)| List {
            name: name.as_str().into(),
            ranges: None,
            order: order.iter().filter(|n| found[**n].lists.has(place)).map(|n| *n as u32).collect(),
        };
        let lists: Vec<_> = wanted.lists.keys().enumerate().map(list).collect();
        let room = |room: Found| {
            let Found { id, at, moves, is_dm, lists: _ } = room;
            Room { id, at, moves, is_dm, told: None }
        };
        let rooms: Vec<_> = found.into_iter().map(room).collect();
        let ids: usize = rooms.iter().map(|room| room.id.as_str().len() + size_of::<Room>()).sum();
        let places: usize = lists.iter().map(|list| list.order.len() * size_of::<u32>()).sum();
        let mut scope = Self {
            wanted,
            per_room: extensions.into(),
            rooms,
            lists,
            alike: BTreeMap::new(),
            gone,
            upto,
            known_to: KnownTo::Nobody,
            untold: Untold::All,
            weight: ids + places,
            weight_asked: 0,
        };
        scope.arrange();
        scope
    }

    /// The request asks for this. False: which list has which room is to be found anew.
    pub(super) fn ask(&mut self, wanted: &Arc<Wanted>, extensions: &Extensions) -> bool {
        if !self.per_room.is_of(extensions) {
            self.per_room = extensions.into();
            self.untold = Untold::All;
        }
        if self.wanted == *wanted {
            // One that is the same is quickly compared.
            self.wanted = Arc::clone(wanted);
            return true;
        }
        let filters = |wanted: &Wanted| -> Vec<_> {
            wanted.lists.iter().map(|(name, list)| (name.clone(), list.filters.clone())).collect()
        };
        let asks_for_gone = self.gone.iter().any(|room| wanted.subscriptions.contains_key(room));
        if asks_for_gone || filters(&self.wanted) != filters(wanted) {
            return false;
        }
        self.wanted = Arc::clone(wanted);
        self.alike.clear();
        self.arrange();
        true
    }

    /// Something happened in a room, at this place of the log. False: it is not known.
    pub(super) fn follow(&mut self, room: &RoomId, at: LogPosition) -> bool {
        let Some(number) = self.find(room) else { return false };
        let room = &self.rooms[number];
        if !room.moves || at <= room.at {
            return true;
        }
        let place = |list: &List, rooms: &[Room], among: usize| {
            let is_before = |other: &u32| Self::key(rooms, *other as usize) < Self::key(rooms, number);
            list.order[..among].partition_point(is_before)
        };
        let from: Vec<_> = self.lists.iter().map(|list| place(list, &self.rooms, list.order.len())).collect();
        self.rooms[number].at = at;
        let mut windows: BTreeMap<usize, Lists> = BTreeMap::new();
        for (n, from) in from.into_iter().enumerate() {
            let list = &mut self.lists[n];
            if list.order.get(from).is_none_or(|there| *there as usize != number) {
                continue;
            }
            let to = place(list, &self.rooms, from);
            list.order[to..=from].rotate_right(1);
            for (room, is_in) in list.crossed(to, from) {
                windows.entry(room).or_insert_with(|| self.rooms[room].windows()).set(n, is_in);
            }
        }
        windows.into_iter().for_each(|(number, windows)| self.settle(number, windows));
        true
    }

    /// The number of a room.
    pub(super) fn find(&self, room: &RoomId) -> Option<usize> {
        self.rooms.binary_search_by(|other| (*other.id).cmp(room)).ok()
    }

    pub(super) fn id(&self, number: usize) -> &OwnedRoomId {
        &self.rooms[number].id
    }

    /// What is told of a room; `None`: nothing.
    pub(super) fn scoped(&self, number: usize) -> Option<Scoped> {
        let room = &self.rooms[number];
        let Told { config, names, is_subscribed, windows: _ } = &**room.told.as_ref()?;
        let (config, lists) = (Arc::clone(config), Arc::clone(names));
        Some(Scoped { config, lists, is_subscribed: *is_subscribed, is_dm: room.is_dm })
    }

    /// Whether something is told of a room.
    pub(super) fn has(&self, room: &RoomId) -> bool {
        self.find(room).is_some_and(|number| self.rooms[number].told.is_some())
    }

    /// How many rooms each list has.
    pub(super) fn counts(&self) -> impl Iterator<Item = (&str, usize)> {
        self.lists.iter().map(|list| (&*list.name, list.order.len()))
    }

    /// Whatever may have to be told of any room.
    pub(super) fn forget_told(&mut self) {
        self.untold = Untold::All;
    }

    /// The rooms that are to be looked at, by their numbers, when something happened in `rooms`; or all. Among them may be some of
    /// which nothing is told any longer.
    pub(super) fn news<'r>(&self, rooms: impl Iterator<Item = &'r OwnedRoomId>) -> BTreeSet<usize> {
        match &self.untold {
            Untold::All => (0..self.rooms.len()).filter(|n| self.rooms[*n].told.is_some()).collect(),
            Untold::These(untold) => {
                untold.iter().copied().chain(rooms.filter_map(|r| self.find(r))).collect()
            }
        }
    }

    /// Everything was told. Answers with what had not been.
    pub(super) fn take_untold(&mut self) -> Untold {
        std::mem::replace(&mut self.untold, Untold::These(BTreeSet::new()))
    }

    /// About how many bytes it takes.
    pub(super) fn weight(&self) -> usize {
        self.weight + self.weight_asked
    }

    /// By which a room is ordered: what is less stands further in front.
    fn key(rooms: &[Room], number: usize) -> (std::cmp::Reverse<LogPosition>, usize) {
        (std::cmp::Reverse(rooms[number].at), number)
    }

    /// Lays the windows on the lists.
    fn arrange(&mut self) {
        let mut windows = vec![Lists::default(); self.rooms.len()];
        for (n, (list, wanted)) in self.lists.iter_mut().zip(self.wanted.lists.values()).enumerate() {
            list.ranges = wanted.ranges.as_deref().map(merged);
            let shown = (0..list.order.len()).filter(|place| list.shows(*place));
            shown.for_each(|place| windows[list.order[place] as usize].set(n, true));
        }
        windows.into_iter().enumerate().for_each(|(number, windows)| self.settle(number, windows));
        let mut weights = Weights::default();
        self.rooms
            .iter()
            .filter_map(|room| room.told.as_ref())
            .for_each(|told| weights.add_config(&told.config));
        self.weight_asked = self.wanted.weight() + self.per_room.weight() + weights.bytes();
    }

    /// A room is in these windows.
    fn settle(&mut self, number: usize, windows: Lists) {
        let id = &self.rooms[number].id;
        let told = match (self.wanted.subscriptions.contains_key(id), windows.is_empty()) {
            (false, true) => None,
            (false, false) => Some(self.alike(windows)),
            (true, _) => {
                let names = self.names(windows);
                let config = Arc::new(self.wanted.config(&names, Some(id)));
                Some(Arc::new(Told { windows, config, names, is_subscribed: true }))
            }
        };
        let room = &mut self.rooms[number];
        if room.told != told {
            if let Untold::These(untold) = &mut self.untold {
                untold.insert(number);
            }
            room.told = told;
        }
    }

    /// What is told of rooms in these windows: rooms in the same share it.
    fn alike(&mut self, windows: Lists) -> Arc<Told> {
        if let Some(told) = self.alike.get(&windows) {
            return Arc::clone(told);
        }
        if self.alike.len() >= MAX_ALIKE {
            self.alike.retain(|_, told| Arc::strong_count(told) > 1);
        }
        let names = self.names(windows);
        let config = Arc::new(self.wanted.config(&names, None));
        let told = Arc::new(Told { windows, config, names, is_subscribed: false });
        self.alike.insert(windows, Arc::clone(&told));
        told
    }

    fn names(&self, windows: Lists) -> Names {
        let lists = self.lists.iter().enumerate().filter(|(n, _)| windows.has(*n));
        lists.map(|(_, list)| Arc::clone(&list.name)).collect()
    }
}

impl Room {
    fn windows(&self) -> Lists {
        self.told.as_ref().map(|told| told.windows).unwrap_or_default()
    }
}

impl List {
    /// Whether a place is in one of the windows.
    fn shows(&self, place: usize) -> bool {
        self.ranges
            .as_ref()
            .is_none_or(|ranges| ranges.iter().any(|(first, last)| (*first..=*last).contains(&place)))
    }

    /// Which rooms are in a window and were not, or the other way round, after one came from the place `from` to `to`, and
    /// those between moved back by one.
    fn crossed(&self, to: usize, from: usize) -> Vec<(usize, bool)> {
        let Some(ranges) = &self.ranges else { return Vec::new() };
        let at = |place: usize| self.order[place] as usize;
        let mut crossed = vec![(at(to), self.shows(to))];
        for (first, last) in ranges {
            if (to + 1..=from).contains(first) {
                crossed.push((at(*first), true));
            }
            if (to..from).contains(last) {
                crossed.push((at(*last + 1), false));
            }
        }
        crossed
    }
}

/// The same places in as few ranges as there can be.
fn merged(ranges: &[(usize, usize)]) -> Vec<(usize, usize)> {
    let mut ranges = ranges.to_vec();
    ranges.sort_unstable();
    let mut merged: Vec<(usize, usize)> = Vec::new();
    for (first, last) in ranges {
        match merged.last_mut() {
            Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
            _ => merged.push((first, last)),
        }
    }
    merged
}

#[cfg(test)]
mod tests;
