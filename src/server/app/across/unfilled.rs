//! Gaps in the past of rooms that nobody could fill a moment ago.

use std::{collections::BTreeMap, time::Duration};

use parking_lot::Mutex;
use ruma::OwnedEventId;
use tokio::time::Instant;

use crate::server::store::Gap;

/// How long nobody is asked again for what nobody had, and for how many gaps that is remembered.
const AGAIN: Duration = Duration::from_secs(60);
const MAX_REMEMBERED: usize = 1_000;

/// Gaps that nobody could fill a moment ago.
#[derive(Debug, Default)]
pub struct Unfilled(Mutex<BTreeMap<OwnedEventId, Instant>>);

impl Unfilled {
    pub(super) fn note(&self, gap: &Gap) {
        let mut all = self.0.lock();
        if all.len() >= MAX_REMEMBERED {
            all.retain(|_, at| at.elapsed() < AGAIN);
        }
        if all.len() < MAX_REMEMBERED {
            all.insert(gap.event.clone(), Instant::now());
        }
    }

    pub(super) fn has(&self, gap: &Gap) -> bool {
        self.0.lock().get(&gap.event).is_some_and(|at| at.elapsed() < AGAIN)
    }
}
