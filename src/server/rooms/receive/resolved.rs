//! What states that differ came to, as far as it is remembered.

use std::{collections::VecDeque, sync::Arc};

use parking_lot::Mutex;

use crate::server::store::StateIds;

/// Entries of resolved states that are remembered, of all rooms together: some 100 bytes each.
const MAX_REMEMBERED: usize = 200_000;

/// What states that were met together came to, by their groups; the last ones used. A room with a fork is asked for
/// this with every event.
#[derive(Debug, Default)]
pub(in crate::server::rooms) struct Resolved(Mutex<VecDeque<(Vec<i64>, Arc<StateIds>)>>);

impl Resolved {
    pub(super) fn find(&self, groups: &[i64]) -> Option<Arc<StateIds>> {
        let mut known = self.0.lock();
        let at = known.iter().position(|(of, _)| of == groups)?;
        let found = known.remove(at)?;
        let state = Arc::clone(&found.1);
        known.push_back(found);
        Some(state)
    }

    pub(super) fn keep(&self, groups: Vec<i64>, state: &Arc<StateIds>) {
        let mut known = self.0.lock();
        known.push_back((groups, Arc::clone(state)));
        let mut entries: usize = known.iter().map(|(_, state)| state.len() + 1).sum();
        while entries > MAX_REMEMBERED
            && let Some((_, gone)) = known.pop_front()
        {
            entries -= gone.len() + 1;
        }
    }
}
