//! An ordered set of deadlines, at most one for each key.

use std::collections::{BTreeMap, BTreeSet};

use super::time::Instant;

/// Deadlines by key; setting, cancelling and taking the next one due are all O(log n).
///
/// Holds one entry for each key that is set: its owner bounds the number of keys. Deadlines that fall
/// on one instant come out in the order of their keys.
#[derive(Clone, Debug)]
pub struct Timers<K> {
    by_deadline: BTreeSet<(Instant, K)>,
    by_key: BTreeMap<K, Instant>,
}

impl<K: Ord + Copy> Timers<K> {
    /// No deadlines.
    pub const fn new() -> Self {
        Self { by_deadline: BTreeSet::new(), by_key: BTreeMap::new() }
    }

    /// Sets the deadline of `key`, in place of the one it had.
    pub fn set(&mut self, key: K, deadline: Instant) {
        if let Some(former) = self.by_key.insert(key, deadline) {
            self.by_deadline.remove(&(former, key));
        }
        self.by_deadline.insert((deadline, key));
    }

    /// Cancels the deadline of `key`; answers whether there was one.
    pub fn cancel(&mut self, key: K) -> bool {
        match self.by_key.remove(&key) {
            Some(deadline) => self.by_deadline.remove(&(deadline, key)),
            None => false,
        }
    }

    /// The deadline of `key`.
    pub fn deadline(&self, key: K) -> Option<Instant> {
        self.by_key.get(&key).copied()
    }

    /// The earliest deadline of all.
    pub fn next(&self) -> Option<Instant> {
        self.by_deadline.first().map(|&(deadline, _)| deadline)
    }

    /// Takes out the earliest deadline that `now` has reached.
    pub fn pop_due(&mut self, now: Instant) -> Option<K> {
        let &(deadline, key) = self.by_deadline.first()?;
        if deadline > now {
            return None;
        }
        self.by_deadline.pop_first();
        self.by_key.remove(&key);
        Some(key)
    }

    /// The number of deadlines set.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether no deadline is set.
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }
}

impl<K: Ord + Copy> Default for Timers<K> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    #[test]
    fn due_deadlines_come_out_in_order_of_time_then_key() {
        let mut timers = Timers::new();
        timers.set(3, at(10));
        timers.set(1, at(20));
        timers.set(2, at(10));
        assert_eq!(timers.next(), Some(at(10)));
        assert_eq!(timers.pop_due(at(9)), None);
        assert_eq!(timers.pop_due(at(20)), Some(2));
        assert_eq!(timers.pop_due(at(20)), Some(3));
        assert_eq!(timers.pop_due(at(20)), Some(1));
        assert_eq!(timers.pop_due(at(20)), None);
    }

    #[test]
    fn a_key_has_one_deadline_the_last_one_set() {
        let mut timers = Timers::new();
        timers.set('a', at(10));
        timers.set('a', at(30));
        assert_eq!(timers.len(), 1);
        assert_eq!(timers.pop_due(at(29)), None);
        assert_eq!(timers.deadline('a'), Some(at(30)));
        assert_eq!(timers.pop_due(at(30)), Some('a'));
        assert!(timers.is_empty());
    }

    #[test]
    fn a_cancelled_deadline_never_comes() {
        let mut timers = Timers::new();
        timers.set('a', at(10));
        assert!(timers.cancel('a'));
        assert!(!timers.cancel('a'));
        assert_eq!(timers.next(), None);
        assert_eq!(timers.pop_due(Instant::MAX), None);
    }

    proptest! {
        #![proptest_config(crate::core::testing::config())]

        /// Against the plainest model there is: an unordered list.
        #[test]
        fn agrees_with_a_list(ops in prop::collection::vec((0u8..3, 0u8..6, 0u64..50), 0..60)) {
            let mut timers = Timers::new();
            let mut list: Vec<(Instant, u8)> = Vec::new();
            for (op, key, millis) in ops {
                match op {
                    0 => {
                        timers.set(key, at(millis));
                        list.retain(|&(_, k)| k != key);
                        list.push((at(millis), key));
                    }
                    1 => {
                        let had = list.iter().any(|&(_, k)| k == key);
                        list.retain(|&(_, k)| k != key);
                        prop_assert_eq!(timers.cancel(key), had);
                    }
                    _ => {
                        let due = list.iter().copied().filter(|&(d, _)| d <= at(millis)).min();
                        list.retain(|&entry| Some(entry) != due);
                        prop_assert_eq!(timers.pop_due(at(millis)), due.map(|(_, k)| k));
                    }
                }
                prop_assert_eq!(timers.next(), list.iter().map(|&(d, _)| d).min());
                prop_assert_eq!(timers.len(), list.len());
            }
        }
    }
}
