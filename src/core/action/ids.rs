//! Action IDs: one client's monotonically increasing integers (M9).

use std::fmt;

/// The largest ID: the largest integer that JavaScript counts exactly.
pub const MAX_ACTION_ID: u64 = (1 << 53) - 1;

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
}

impl ActionIds {
    /// Goes on above `last`. A client without storage passes the milliseconds since the epoch: an earlier
    /// run with the same device must not have used the IDs that come next.
    pub fn above(last: u64) -> Self {
        Self { last: last.min(MAX_ACTION_ID) }
    }

    /// Learns of an ID used elsewhere: another tab of the same device, or an earlier run.
    pub fn observe(&mut self, id: u64) {
        if id <= MAX_ACTION_ID {
            self.last = self.last.max(id);
        }
    }

    /// The next ID; `None` when the integers are used up.
    pub fn allocate(&mut self) -> Option<ActionId> {
        (self.last < MAX_ACTION_ID).then(|| {
            self.last += 1;
            ActionId(self.last)
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
        let mut ids = ActionIds::above(10);
        assert_eq!(ids.allocate(), Some(ActionId(11)));
        ids.observe(5);
        ids.observe(20);
        assert_eq!(ids.allocate(), Some(ActionId(21)));
    }

    #[test]
    fn ids_end_where_javascript_stops_counting() {
        let largest = 9_007_199_254_740_991; // Number.MAX_SAFE_INTEGER
        let mut ids = ActionIds::above(largest - 1);
        ids.observe(u64::MAX);
        assert_eq!(ids.allocate(), Some(ActionId(largest)));
        assert_eq!(ids.allocate(), None);
    }
}
