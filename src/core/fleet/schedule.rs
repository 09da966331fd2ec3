//! When what happens: an ordered queue of very many events.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use crate::core::federation::{Delivery, Outcome};
use crate::core::time::Instant;

/// What happens by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    /// The server has something to do.
    Wake(u32),
    /// Two peers exchange something that is not presence.
    RoomTraffic(u32, u32),
    /// The first server dies.
    OutageBegins,
    /// The first server is back.
    OutageEnds,
    /// The first server restarts.
    Restart,
}

/// What is under way between servers.
#[derive(Clone, Debug)]
pub(super) enum Transit {
    /// A message.
    Message { from: u32, delivery: Box<Delivery> },
    /// What became of a message that `to` sent to `about`.
    Outcome { to: u32, about: u32, seq: u64, outcome: Outcome },
}

/// Events by time; those of one instant in the order in which they were put in, messages last.
#[derive(Clone, Debug, Default)]
pub(super) struct Schedule {
    events: BinaryHeap<Reverse<(Instant, u64, Event)>>,
    /// All take the same time, so that they arrive in the order in which they were sent.
    transit: VecDeque<(Instant, Transit)>,
    order: u64,
}

/// The next thing to happen.
pub(super) enum Next {
    Event(Event),
    Transit(Transit),
}

impl Schedule {
    pub(super) fn put(&mut self, at: Instant, event: Event) {
        self.order += 1;
        self.events.push(Reverse((at, self.order, event)));
    }

    /// `at` must not be before that of the transit put in last.
    pub(super) fn put_transit(&mut self, at: Instant, transit: Transit) {
        self.transit.push_back((at, transit));
    }

    /// Takes the next thing to happen, if it happens by `until`.
    pub(super) fn pop(&mut self, until: Instant) -> Option<(Instant, Next)> {
        let event = self.events.peek().map_or(Instant::MAX, |Reverse((at, ..))| *at);
        let transit = self.transit.front().map_or(Instant::MAX, |(at, _)| *at);
        if event.min(transit) > until {
            return None;
        }
        if transit < event {
            return self.transit.pop_front().map(|(at, transit)| (at, Next::Transit(transit)));
        }
        let Reverse((at, _, event)) = self.events.pop()?;
        Some((at, Next::Event(event)))
    }
}
