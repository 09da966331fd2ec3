//! Who reads: who has a stream or poll open that tells of others (L8).

use std::collections::{BTreeMap, BTreeSet};

use ruma::{OwnedUserId, UserId};

use crate::core::time::Instant;

/// Who has a stream or poll open, or had one a moment ago (L8). Bounded by the users of this server.
#[derive(Debug, Default)]
pub(super) struct Readers {
    /// How many are open.
    open: BTreeMap<OwnedUserId, usize>,
    /// Those for whom none is open any more, and when that counts.
    leaving: BTreeMap<OwnedUserId, Instant>,
    by_time: BTreeSet<(Instant, OwnedUserId)>,
}

impl Readers {
    /// Whether the user counts as reading.
    pub(super) fn has(&self, user: &UserId) -> bool {
        self.open.contains_key(user) || self.leaving.contains_key(user)
    }

    /// One more is open; whether the user did not count before.
    pub(super) fn open(&mut self, user: &UserId) -> bool {
        if let Some(open) = self.open.get_mut(user) {
            *open += 1;
            return false;
        }
        self.open.insert(user.to_owned(), 1);
        match self.leaving.remove(user) {
            Some(at) => !self.by_time.remove(&(at, user.to_owned())),
            None => true,
        }
    }

    /// One less is open; when it was the last, the user counts until `until`.
    pub(super) fn close(&mut self, user: &UserId, until: Instant) {
        let Some(open) = self.open.get_mut(user) else { return };
        *open -= 1;
        if *open == 0 {
            self.open.remove(user);
            self.leaving.insert(user.to_owned(), until);
            self.by_time.insert((until, user.to_owned()));
        }
    }

    /// When the first of those who left does not count any more.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Those who do not count any more.
    pub(super) fn left(&mut self, now: Instant) -> Vec<OwnedUserId> {
        let mut left = Vec::new();
        while self.by_time.first().is_some_and(|(at, _)| *at <= now) {
            let (_, user) = self.by_time.pop_first().expect("there is one");
            self.leaving.remove(&user);
            left.push(user);
        }
        left
    }
}

#[cfg(test)]
mod tests {
    use ruma::user_id;

    use super::*;

    #[test]
    fn l8_a_reader_counts_from_the_first_stream_until_some_time_after_the_last() {
        let (mut readers, alice) = (Readers::default(), user_id!("@alice:x"));
        let at = Instant::from_millis;
        assert!(readers.open(alice));
        assert!(!readers.open(alice), "a second stream");
        readers.close(alice, at(10));
        assert!(readers.left(at(100)).is_empty(), "one is open");
        readers.close(alice, at(20));
        assert!(!readers.open(alice), "the next poll in time");
        assert!(readers.left(at(100)).is_empty(), "it is open");
        readers.close(alice, at(120));
        assert!(readers.left(at(119)).is_empty() && readers.has(alice));
        assert_eq!(readers.left(at(120)), [alice]);
        assert!(!readers.has(alice) && readers.open(alice));
    }
}
