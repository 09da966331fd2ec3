//! The end of a room's timeline, as far as a filter lets it through.

use std::sync::Arc;

use ruma::RoomId;

use super::{
    filter::Seen,
    look::{Look, Stretch},
    news,
};
use crate::server::{
    change::position::{LogPosition, TimelinePosition},
    event::{aggregation::Aggregations, stored::StoredEvent},
    store::{Order, Store, StoreError},
};

/// Batches of events that are read at most to fill a timeline with what a filter lets through.
const MAX_BATCHES: usize = 8;

/// Events in such a batch at least.
const BATCH: usize = 50;

/// The end of a room's timeline that a reader is told.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    /// Oldest first.
    pub(super) events: Vec<Arc<StoredEvent>>,
    /// There are more before them that the reader has not seen.
    pub(super) limited: bool,
    /// Since what the reader knows, the state became something that no event says.
    pub(super) restored: bool,
    /// State events that the filter keeps out of the timeline: the reader has to learn of them otherwise.
    pub(super) kept_out: Vec<Arc<StoredEvent>>,
}

/// The last events of a room that the reader's filter lets into a timeline, without what those say whom they ignore: of those that are `known`, or of those that
/// the store has.
pub(super) async fn timeline(
    look: &Look<'_>,
    store: &Store,
    room: &RoomId,
    known: Option<Vec<Arc<StoredEvent>>>,
    log: Stretch<LogPosition>,
) -> Result<Timeline, StoreError> {
    let limit = look.filter.timeline_limit();
    let mut timeline = Timeline::default();
    if let Some(events) = known {
        for event in events.into_iter().rev().filter(|e| e.position <= log.upto) {
            timeline.take(look, room, event, limit);
        }
    } else {
        // Before a timeline there is state: where it came to be something that no event says, it begins anew.
        let restored = match look.state_at_end {
            true => None,
            false => store.last_restored(room, (log.since, log.upto)).await?.map(TimelinePosition::live),
        };
        timeline.restored = restored.is_some();
        let (mut to, mut end, batch) = (log.upto, TimelinePosition::live(log.upto), BATCH.max(limit + 1));
        for round in 1.. {
            // Who was told something is told what came since; who begins here is told how the timeline ends.
            let events = if log.since == LogPosition::START {
                store.room_events(room, TimelinePosition::START, end, Order::NewestFirst, batch).await?
            } else {
                store.room_events_since(room, log.since, to, Order::NewestFirst, batch).await?
            };
            if let Some(oldest) = events.last() {
                (to, end) = (oldest.position.before(), oldest.timeline.before());
            }
            let count = events.len();
            for event in events {
                // What came late stands where it belongs: who has the events around it finds it by scrolling back.
                if log.since != LogPosition::START && event.comes_late() || event.position > log.upto {
                    continue;
                }
                timeline.limited |= restored.is_some_and(|restored| event.timeline <= restored);
                timeline.take(look, room, event, limit);
            }
            if timeline.limited || count < batch {
                break;
            }
            if round == MAX_BATCHES {
                timeline.limited = true;
                break;
            }
        }
    }
    timeline.events.reverse();
    timeline.kept_out.reverse();
    Ok(timeline)
}

impl Timeline {
    /// Takes the next older event.
    fn take(&mut self, look: &Look<'_>, room: &RoomId, event: Arc<StoredEvent>, limit: usize) {
        if self.limited {
            return;
        }
        // What is missing before it others have: who goes back from there is told it.
        let is_after_gap = event.lacks_something();
        self.take_one(look, room, event, limit);
        self.limited |= is_after_gap;
    }

    fn take_one(&mut self, look: &Look<'_>, room: &RoomId, event: Arc<StoredEvent>, limit: usize) {
        if !look.hears(&event) {
            return;
        }
        if !look.filter.timeline(room, seen(&event)) {
            if event.state_key.is_some() {
                self.kept_out.push(event);
            }
        } else if self.events.len() == limit {
            self.limited = true;
        } else {
            self.events.push(event);
        }
    }

    /// What of it stands at or before a position of the log.
    pub(super) fn until(&self, upto: LogPosition) -> Self {
        let keep =
            |events: &[Arc<StoredEvent>]| events.iter().filter(|e| e.position <= upto).cloned().collect();
        Self { events: keep(&self.events), kept_out: keep(&self.kept_out), ..*self }
    }

    /// As the reader is told it, with what is gathered of what relates to its events; it ends at `upto`.
    pub(super) fn into_news(self, upto: LogPosition, aggregations: Aggregations) -> news::Timeline {
        let end = TimelinePosition::live(upto);
        let prev = self.events.first().map_or(end, |e| e.timeline.before());
        news::Timeline { events: self.events, late: Vec::new(), aggregations, limited: self.limited, prev }
    }
}

/// An event as filters look at it.
pub(super) fn seen(event: &StoredEvent) -> Seen<'_> {
    Seen { kind: &event.kind, sender: event.sender.as_str(), json: &event.pdu }
}
