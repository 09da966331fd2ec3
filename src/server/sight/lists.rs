//! Whom users came to see by a list, or ceased to, since a position: so that each is told once.
//!
//! What others see of a user changes with the list of one of them, or with whom the user shares at all.
//! That rooms tie users together, and cease to, stands in the log ([`super::rooms`]).

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use parking_lot::{Mutex, MutexGuard};
use ruma::{OwnedUserId, UserId};

use crate::{
    core::visibility::Share,
    server::change::position::{Live, LivePosition},
};

/// The changes of ties that lists led to. Bounded: one entry for each pair that ever came to see each other by a
/// list, or ceased to, in this run, and [`CHANGES_KEPT`] for each user who ever changed how they share.
#[derive(Debug)]
pub(super) struct ListTies {
    live: Arc<Live>,
    inner: Mutex<Inner>,
    /// How many changes of with whom somebody shares are being followed.
    expected: AtomicUsize,
    /// Where the last of them was.
    last_share: AtomicU64,
}

#[derive(Debug, Default)]
struct Inner {
    observed: HashMap<OwnedUserId, Observed>,
    shares: HashMap<OwnedUserId, Shares>,
    /// Those who changed with whom they share, at the position of the last change.
    shares_changed: BTreeMap<LivePosition, OwnedUserId>,
}

/// Those whom one user came to see or ceased to, each at the last position of that.
#[derive(Debug, Default)]
struct Observed {
    by_position: BTreeMap<LivePosition, OwnedUserId>,
    position_of: HashMap<OwnedUserId, LivePosition>,
}

/// With whom one user shares.
#[derive(Debug, Default)]
struct Shares {
    now: Share,
    /// The last changes in their order, at most [`CHANGES_KEPT`]: where each was, and with whom the user shared before.
    changes: VecDeque<(LivePosition, Share)>,
    /// Where the last of those changes was that are not kept: with whom the user shared before it is not known.
    forgotten: LivePosition,
}

/// How many changes of one user are kept: more than a person makes between two looks of a reader. Of who made more,
/// readers are told as if they had shared with everybody.
const CHANGES_KEPT: usize = 8;

impl ListTies {
    /// As it is when the server starts: with whom those share who do not share with everybody in their rooms.
    pub(super) fn new(shares: BTreeMap<OwnedUserId, Share>, live: Arc<Live>) -> Self {
        let shares = shares.into_iter().map(|(user, now)| (user, Shares { now, ..Shares::default() }));
        let inner = Inner { shares: shares.collect(), ..Inner::default() };
        let (expected, last_share) = (AtomicUsize::new(0), AtomicU64::new(0));
        Self { live, inner: Mutex::new(inner), expected, last_share }
    }

    /// What the first of each pair can see of the second by a list is different from here on.
    pub(super) fn handle_ties<'a>(&self, pairs: impl Iterator<Item = (&'a UserId, &'a UserId)>) {
        let mut inner = self.lock();
        for (observer, observed) in pairs {
            let position = self.live.advance();
            inner.observed.entry(observer.to_owned()).or_default().put(observed, position);
        }
    }

    /// Somebody is about to share with others than before; [`Self::handle_share`] follows.
    pub(super) fn expect_share(&self) {
        self.expected.fetch_add(1, Ordering::AcqRel);
    }

    /// `user` shares with `now` from here on.
    pub(super) fn handle_share(&self, user: &UserId, now: Share) {
        let mut inner = self.lock();
        let Inner { shares, shares_changed, .. } = &mut *inner;
        let position = self.live.advance();
        let shares = shares.entry(user.to_owned()).or_default();
        if let Some((before, _)) = shares.changes.back() {
            shares_changed.remove(before);
        }
        shares.put(now, position);
        shares_changed.insert(position, user.to_owned());
        self.last_share.store(position.get(), Ordering::Release);
        drop(inner);
        self.expected.fetch_sub(1, Ordering::AcqRel);
    }

    /// Whether everybody shares with those with whom they shared at the live position `upto`.
    pub(super) fn is_settled(&self, upto: LivePosition) -> bool {
        self.expected.load(Ordering::Acquire) == 0 && self.last_share.load(Ordering::Acquire) <= upto.get()
    }

    /// With whom `user` shared all the time since the live position `since`.
    pub(super) fn shared_since(&self, user: &UserId, since: LivePosition) -> Share {
        self.lock().shares.get(user).map_or(Share::default(), |shares| shares.least_since(since))
    }

    /// Those whom `observer` came to see by a list, or ceased to, after the live position `since` up to
    /// `upto`.
    pub(super) fn changed_for(
        &self,
        observer: &UserId,
        since: LivePosition,
        upto: LivePosition,
    ) -> Vec<OwnedUserId> {
        if since >= upto {
            return Vec::new();
        }
        let inner = self.lock();
        let Some(observed) = inner.observed.get(observer) else { return Vec::new() };
        observed.by_position.range(since.next()..=upto).map(|(_, user)| user.clone()).collect()
    }

    /// Those who changed with whom they share after the live position `since`, and with whom they shared at `since`;
    /// `None`: it is not known. A change that is later than what a reader is told otherwise counts too: an earlier one
    /// is found by the last only.
    pub(super) fn shares_changed(&self, since: LivePosition) -> Vec<(OwnedUserId, Option<Share>)> {
        let inner = self.lock();
        let changed = inner.shares_changed.range(since.next()..);
        changed.map(|(_, user)| (user.clone(), inner.share_at(user, since))).collect()
    }

    /// With whom `user` shared at the live position `since`; `None`: it is not known.
    pub(super) fn share_at(&self, user: &UserId, since: LivePosition) -> Option<Share> {
        self.lock().share_at(user, since)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }
}

impl Inner {
    fn share_at(&self, user: &UserId, since: LivePosition) -> Option<Share> {
        self.shares.get(user).map_or(Some(Share::default()), |shares| shares.at(since))
    }
}

impl Shares {
    fn put(&mut self, now: Share, position: LivePosition) {
        if self.changes.len() == CHANGES_KEPT
            && let Some((position, _)) = self.changes.pop_front()
        {
            self.forgotten = position;
        }
        self.changes.push_back((position, std::mem::replace(&mut self.now, now)));
    }

    fn least_since(&self, since: LivePosition) -> Share {
        if since < self.forgotten {
            return Share::Nobody;
        }
        let later = self.changes.iter().filter(|(position, _)| *position > since);
        later.fold(self.now, |least, (_, before)| least.min(*before))
    }

    fn at(&self, since: LivePosition) -> Option<Share> {
        if since < self.forgotten {
            return None;
        }
        let later = self.changes.iter().find(|(position, _)| *position > since);
        Some(later.map_or(self.now, |(_, before)| *before))
    }
}

impl Observed {
    fn put(&mut self, user: &UserId, position: LivePosition) {
        if let Some(before) = self.position_of.insert(user.to_owned(), position) {
            self.by_position.remove(&before);
        }
        self.by_position.insert(position, user.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use ruma::user_id;

    use super::*;

    fn at(position: u64) -> LivePosition {
        LivePosition::new(position)
    }

    #[test]
    fn l2_with_whom_a_user_shared_is_known_for_every_position() {
        let alice = user_id!("@alice:x");
        let ties = ListTies::new(BTreeMap::new(), Arc::new(Live::new(100)));
        let change = |share| {
            ties.expect_share();
            assert!(!ties.is_settled(at(200)), "nobody knows whether it shows already");
            ties.handle_share(alice, share);
        };
        // Until 101 with rooms, until 102 with the list, until 103 with nobody, and then with the list again.
        [Share::List, Share::Nobody, Share::List].into_iter().for_each(change);
        assert!(ties.is_settled(at(103)) && !ties.is_settled(at(102)));
        let all_the_time = [100, 101, 102, 103].map(|since| ties.shared_since(alice, at(since)));
        assert_eq!(all_the_time, [Share::Nobody, Share::Nobody, Share::Nobody, Share::List]);
        let shares = [100, 101, 102, 103].map(|since| ties.share_at(alice, at(since)));
        let all = [Share::SharedRooms, Share::List, Share::Nobody, Share::List];
        assert_eq!(shares, all.map(Some));
        assert_eq!(ties.shares_changed(at(100)), [(alice.to_owned(), Some(Share::SharedRooms))]);
        assert_eq!(ties.shares_changed(at(102)), [(alice.to_owned(), Some(Share::Nobody))]);
        assert_eq!(ties.shares_changed(at(103)), []);
    }

    #[test]
    fn l2_with_whom_a_user_shared_before_very_many_changes_is_not_known() {
        let alice = user_id!("@alice:x");
        let ties = ListTies::new(BTreeMap::new(), Arc::new(Live::new(100)));
        let kept = CHANGES_KEPT as u64;
        for n in 0..kept + 3 {
            ties.expect_share();
            ties.handle_share(alice, if n % 2 == 0 { Share::List } else { Share::SharedRooms });
        }
        let shares = [100, 102, 103, 104, 103 + kept].map(|since| ties.share_at(alice, at(since)));
        let (list, rooms) = (Some(Share::List), Some(Share::SharedRooms));
        assert_eq!(shares, [None, None, list, rooms, list]);
        let all_the_time = [102, 104].map(|since| ties.shared_since(alice, at(since)));
        assert_eq!(all_the_time, [Share::Nobody, Share::List]);
    }

    #[test]
    fn l2_who_shared_otherwise_before_the_start_is_known_to() {
        let (alice, bob) = (user_id!("@alice:x"), user_id!("@bob:x"));
        let shares = BTreeMap::from([(alice.to_owned(), Share::Nobody)]);
        let ties = ListTies::new(shares, Arc::new(Live::new(100)));
        ties.expect_share();
        ties.handle_share(alice, Share::List);
        let shares =
            [(alice, 100), (alice, 101), (bob, 100)].map(|(user, since)| ties.share_at(user, at(since)));
        assert_eq!(shares, [Share::Nobody, Share::List, Share::SharedRooms].map(Some));
    }

    #[test]
    fn l2_a_pair_is_told_once_at_its_last_position() {
        let (alice, bob, carol) = (user_id!("@alice:x"), user_id!("@bob:x"), user_id!("@carol:x"));
        let ties = ListTies::new(BTreeMap::new(), Arc::new(Live::new(100)));
        ties.handle_ties([(alice, bob), (alice, carol), (bob, alice), (alice, bob)].into_iter());
        let of_alice = |since, upto| ties.changed_for(alice, at(since), at(upto));
        assert_eq!(of_alice(100, 104), [carol, bob]);
        assert_eq!((of_alice(102, 104), of_alice(102, 103)), (vec![bob.to_owned()], Vec::new()));
        assert_eq!((of_alice(104, 104), ties.changed_for(carol, at(0), at(104))), (Vec::new(), Vec::new()));
    }
}
