//! What is missing of the past of rooms and nobody had a moment ago: gaps, by the event after them, and single events.

use std::{collections::BTreeMap, time::Duration};

use parking_lot::Mutex;
use ruma::{EventId, OwnedEventId};
use tokio::time::Instant;

/// How long nobody is asked again for what nobody had, and for how much that is remembered.
const AGAIN: Duration = Duration::from_secs(60);
const MAX_REMEMBERED: usize = 1_000;

/// What nobody had a moment ago.
#[derive(Debug, Default)]
pub struct Unfilled(Mutex<BTreeMap<OwnedEventId, Instant>>);

impl Unfilled {
    pub(super) fn note(&self, event: &EventId) {
        let mut all = self.0.lock();
        if all.len() >= MAX_REMEMBERED {
            all.retain(|_, at| at.elapsed() < AGAIN);
        }
        if all.len() < MAX_REMEMBERED {
            all.insert(event.to_owned(), Instant::now());
        }
    }

    pub(super) fn has(&self, event: &EventId) -> bool {
        self.0.lock().get(event).is_some_and(|at| at.elapsed() < AGAIN)
    }
}
