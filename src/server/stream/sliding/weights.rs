//! About how many bytes it takes to remember what a connection was sent. What several rooms share counts once.

use std::{collections::BTreeMap, sync::Arc};

use ruma::RoomId;

use super::{request::Config, sent::Sent};

/// What a piece on the heap takes beside itself, and an entry of a map, about.
const AROUND: usize = 32;

/// About how many bytes some rooms take.
#[derive(Clone, Debug, Default)]
pub(super) struct Weights {
    own: usize,
    /// By where they are: what is shared, how often, and what it takes.
    shared: BTreeMap<usize, (usize, usize)>,
    of_shared: usize,
}

impl Weights {
    /// All together.
    pub(super) fn bytes(&self) -> usize {
        self.own + self.of_shared
    }

    /// This is remembered of a room from here on.
    pub(super) fn add(&mut self, room: &RoomId, sent: &Sent) {
        self.own += Self::of(room, sent);
        self.add_config(&sent.config);
    }

    /// This is remembered of a room no longer.
    pub(super) fn remove(&mut self, room: &RoomId, sent: &Sent) {
        self.own = self.own.saturating_sub(Self::of(room, sent));
        if self.drop_one(&sent.config) {
            sent.config.required.rules().iter().for_each(|rule| {
                self.drop_one(rule);
            });
        }
    }

    pub(super) fn add_config(&mut self, config: &Arc<Config>) {
        let rules = config.required.rules();
        if self.add_one(config, size_of::<Config>() + size_of_val(rules)) {
            rules.iter().for_each(|rule| {
                self.add_one(rule, rule.weight());
            });
        }
    }

    fn of(room: &RoomId, sent: &Sent) -> usize {
        let ids = size_of::<ruma::OwnedRoomId>() + room.as_str().len();
        size_of::<Sent>() + ids + sent.members.capacity() * size_of::<u64>() + 3 * AROUND
    }

    /// True: it was not there.
    fn add_one<T>(&mut self, shared: &Arc<T>, weight: usize) -> bool {
        let weight = weight + AROUND;
        let (uses, _) = self.shared.entry(Arc::as_ptr(shared) as usize).or_insert((0, weight));
        *uses += 1;
        let is_new = *uses == 1;
        self.of_shared += if is_new { weight } else { 0 };
        is_new
    }

    /// True: it is gone.
    fn drop_one<T>(&mut self, shared: &Arc<T>) -> bool {
        let place = Arc::as_ptr(shared) as usize;
        let Some((uses, weight)) = self.shared.get_mut(&place) else { return false };
        *uses -= 1;
        if *uses > 0 {
            return false;
        }
        self.of_shared = self.of_shared.saturating_sub(*weight);
        self.shared.remove(&place);
        true
    }
}
