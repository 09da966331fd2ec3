//! The latest events of the log, in memory: what most readers are missing.
//!
//! An event that wakes 200 readers is read from here by each of them, without a query.

use std::{collections::VecDeque, sync::Arc};

use crate::server::{
    change::{feed::Change, position::LogPosition},
    event::stored::StoredEvent,
};
use parking_lot::RwLock;

/// Events that are kept at most.
const MAX_EVENTS: usize = 4096;

/// Bytes that the kept events take at most, about.
const MAX_BYTES: usize = 8 << 20;

/// A bounded window on the end of the log.
#[derive(Debug)]
pub(super) struct Tail {
    window: RwLock<Window>,
}

#[derive(Debug)]
struct Window {
    /// Every event after this position is in `events`.
    complete_after: LogPosition,
    /// In the order of the log.
    events: VecDeque<Arc<StoredEvent>>,
    bytes: usize,
}

impl Tail {
    /// An empty window on a log that ends at `position`.
    pub(super) fn starting_at(position: LogPosition) -> Self {
        Self { window: RwLock::new(Window { complete_after: position, events: VecDeque::new(), bytes: 0 }) }
    }

    /// Takes what was committed, in the order of the log: a new event, or a new form of one (redacted, or
    /// following a redacted one) in the place of the old.
    pub(super) fn follow(&self, change: &Change) {
        match change {
            Change::Appended(event) | Change::Inserted(event) => self.push(event),
            Change::Rewritten(event) => self.replace(event),
            // What a room's state came to have is in no event of these.
            Change::Resolved(resolved) => self.forget(resolved.position),
            _ => {}
        }
    }

    /// Takes an event to its place: mostly the end, but what was state before it got its place in a timeline keeps the
    /// position that it had as state.
    fn push(&self, event: &Arc<StoredEvent>) {
        let mut window = self.window.write();
        if event.position <= window.complete_after {
            return;
        }
        window.bytes += event.weight();
        match window.events.binary_search_by_key(&event.position, |e| e.position) {
            Ok(index) => {
                window.bytes -= window.events[index].weight();
                window.events[index] = Arc::clone(event);
            }
            Err(index) => window.events.insert(index, Arc::clone(event)),
        }
        while window.events.len() > MAX_EVENTS || window.bytes > MAX_BYTES {
            let Some(oldest) = window.events.pop_front() else { break };
            window.bytes -= oldest.weight();
            window.complete_after = oldest.position;
        }
    }

    fn forget(&self, upto: LogPosition) {
        let mut window = self.window.write();
        window.events.clear();
        window.bytes = 0;
        window.complete_after = window.complete_after.max(upto);
    }

    fn replace(&self, event: &Arc<StoredEvent>) {
        let mut window = self.window.write();
        if let Ok(index) = window.events.binary_search_by_key(&event.position, |e| e.position) {
            window.bytes -= window.events[index].weight();
            window.bytes += event.weight();
            window.events[index] = Arc::clone(event);
        }
    }

    /// See [`super::database::Store::recent_events`].
    pub(super) fn since(
        &self,
        from: LogPosition,
        wanted: impl Fn(&StoredEvent) -> bool,
    ) -> Option<Vec<Arc<StoredEvent>>> {
        let window = self.window.read();
        if from < window.complete_after {
            return None;
        }
        let start = window.events.partition_point(|e| e.position <= from);
        Some(window.events.range(start..).filter(|e| wanted(e)).map(Arc::clone).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::{change::position::TimelinePosition, event::stored::Columns};

    fn event(position: LogPosition, body: usize) -> Arc<StoredEvent> {
        Arc::new(StoredEvent::from(Columns {
            position,
            timeline: TimelinePosition::live(position),
            event_id: ruma::event_id!("$e:x").to_owned(),
            room_id: ruma::room_id!("!r:x").to_owned(),
            kind: "m.room.message".into(),
            state_key: None,
            sender: ruma::user_id!("@a:x").to_owned(),
            origin_server_ts: 0,
            depth: 1,
            pdu: "x".repeat(body).into(),
            replaces: None,
            redacted_because: None,
            transaction: None,
            ours: false,
            unasked: false,
            hidden: false,
            lacks: false,
        }))
    }

    fn positions(tail: &Tail, from: LogPosition) -> Option<Vec<u64>> {
        tail.since(from, |_| true).map(|events| events.iter().map(|e| e.position.get()).collect())
    }

    #[test]
    fn what_is_after_the_start_is_there_and_what_is_before_is_not_claimed() {
        let tail = Tail::starting_at(LogPosition::new(10));
        for position in [11, 13, 14] {
            tail.push(&event(LogPosition::new(position), 1));
        }
        assert_eq!(positions(&tail, LogPosition::new(9)), None);
        assert_eq!(positions(&tail, LogPosition::new(10)), Some(vec![11, 13, 14]));
        assert_eq!(positions(&tail, LogPosition::new(12)), Some(vec![13, 14]));
        assert_eq!(positions(&tail, LogPosition::new(14)), Some(vec![]));
    }

    #[test]
    fn what_gets_its_place_late_hides_nothing_that_is_new() {
        let tail = Tail::starting_at(LogPosition::new(3));
        for position in [5, 8, 2, 3, 6, 9, 5] {
            tail.push(&event(LogPosition::new(position), 1));
        }
        assert_eq!(positions(&tail, LogPosition::new(3)), Some(vec![5, 6, 8, 9]));
        assert_eq!(positions(&tail, LogPosition::new(7)), Some(vec![8, 9]));
        tail.replace(&event(LogPosition::new(6), 7));
        let weights = |from| -> Vec<usize> {
            let events = tail.since(LogPosition::new(from), |_| true).expect("is complete");
            events.iter().map(|event| event.pdu.len()).collect()
        };
        assert_eq!(weights(5), [7, 1, 1]);
    }

    #[test]
    fn it_is_bounded_by_count_and_by_bytes() {
        let tail = Tail::starting_at(LogPosition::new(0));
        for position in 1..=MAX_EVENTS as u64 + 5 {
            tail.push(&event(LogPosition::new(position), 1));
        }
        assert_eq!(positions(&tail, LogPosition::new(4)), None);
        assert_eq!(positions(&tail, LogPosition::new(5)).map(|p| p.len()), Some(MAX_EVENTS));
        let big = MAX_BYTES / 8;
        for position in 10_000..10_010 {
            tail.push(&event(LogPosition::new(position), big));
        }
        assert_eq!(positions(&tail, LogPosition::new(10_005)), None);
        assert!(positions(&tail, LogPosition::new(10_007)).is_some_and(|p| p == [10_008, 10_009]));
    }

    #[test]
    fn a_changed_event_takes_the_place_of_the_old() {
        let tail = Tail::starting_at(LogPosition::new(0));
        tail.push(&event(LogPosition::new(1), 1));
        tail.push(&event(LogPosition::new(2), 1));
        tail.replace(&event(LogPosition::new(1), 7));
        tail.replace(&event(LogPosition::new(9), 7));
        let pdus: Vec<usize> = tail
            .since(LogPosition::new(0), |_| true)
            .expect("is complete")
            .iter()
            .map(|e| e.pdu.len())
            .collect();
        assert_eq!(pdus, [7, 1]);
    }
}
