//! Action IDs: one client's monotonically increasing integers (M9).

use std::fmt;

/// The largest ID: the largest integer that JavaScript counts exactly.
pub const MAX_ACTION_ID: u64 = (1 << 53) - 1;

/// How many clients of one device have IDs that no other of them uses: storage alone does not keep tabs apart, as what one
/// writes there another may read a moment later.
const TABS: u64 = 1 << 10;

/// One action of this client. On the wire it is the transaction ID, in decimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ActionId(pub u64);

impl fmt::Display for ActionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Hands out action IDs, each above all that were handed out or seen before.
#[derive(Clone, Debug)]
pub struct ActionIds {
    last: u64,
    /// What is left of each ID when it is divided by `step`.
    tab: u64,
    step: u64,
}

impl ActionIds {
    /// The IDs of one of several clients of a device, from `now_ms` on, in milliseconds since the epoch: an earlier run
    /// with the same device must not have used the IDs that come next.
    pub fn of_tab(now_ms: u64, tab: u64) -> Self {
        Self { last: now_ms.saturating_mul(TABS).min(MAX_ACTION_ID), tab: tab % TABS, step: TABS }
    }

    /// Learns of an ID used elsewhere: another tab of the same device, or an earlier run.
    pub fn observe(&mut self, id: u64) {
        if id <= MAX_ACTION_ID {
            self.last = self.last.max(id);
        }
    }

    /// The next ID; `None` when the integers are used up.
    pub fn allocate(&mut self) -> Option<ActionId> {
        let next = self.last - self.last % self.step + self.tab;
        let next = if next > self.last { next } else { next + self.step };
        (next <= MAX_ACTION_ID).then(|| {
            self.last = next;
            ActionId(next)
        })
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn ids_go_up_past_everything_observed() {
        let mut ids = ActionIds::of_tab(1, 5);
        assert_eq!(ids.allocate(), Some(ActionId(1_029)));
        assert_eq!(ids.allocate(), Some(ActionId(2_053)));
        ids.observe(5);
        ids.observe(4_101);
        assert_eq!(ids.allocate(), Some(ActionId(5_125)));
        ids.observe(5_126);
        assert_eq!(ids.allocate(), Some(ActionId(6_149)));
    }

    #[test]
    fn w3_two_tabs_that_know_nothing_of_each_other_never_use_one_id() {
        let (mut one, mut other) = (ActionIds::of_tab(1_000, 1), ActionIds::of_tab(1_000, 2));
        let used: Vec<_> = (0..100).flat_map(|_| [one.allocate(), other.allocate()]).collect();
        assert!((0..used.len()).all(|at| !used[..at].contains(&used[at])));
    }

    #[test]
    fn ids_end_where_javascript_stops_counting() {
        let largest = 9_007_199_254_740_991; // Number.MAX_SAFE_INTEGER
        let mut ids = ActionIds::of_tab(0, 1_023);
        ids.observe(largest - 1);
        ids.observe(u64::MAX);
        assert_eq!(ids.allocate(), Some(ActionId(largest)));
        assert_eq!(ids.allocate(), None);
        assert_eq!(ActionIds::of_tab(u64::MAX, 0).allocate(), None);
    }
}
