//! Whom readers came to see by a list, or ceased to, since a position: so that each is told once.
//!
//! What others see of a user changes with the list of one of them, or with whom the user shares at all.
//! That rooms tie users together, and cease to, stands in the log (`server::sync::encounters`).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ruma::{OwnedUserId, UserId};

use super::{Contacts, OfUser};
use crate::{
    core::visibility::Share,
    server::change::position::{Live, LivePosition},
};

/// The changes of sight that lists led to. Bounded: one entry for each pair that ever saw each other by a list
/// in this run, and one for each user who changed how they share.
#[derive(Debug, Default)]
pub(super) struct Shares {
    /// Those who changed with whom they share, at the position of the last change.
    changed: BTreeMap<LivePosition, OwnedUserId>,
}

/// What one user can see by lists, and is seen by.
#[derive(Debug, Default)]
pub(super) struct Sight {
    /// Those whom the user came to see or ceased to, each at the last position of that.
    observed: BTreeMap<LivePosition, OwnedUserId>,
    /// Those who may see the user by the user's list.
    observers: BTreeSet<Arc<str>>,
    /// By the value of [`Share`]: up to which position it was the user's; 0: not before this run's value.
    share_until: [LivePosition; 3],
}

impl Sight {
    /// As it is when the server starts.
    pub(super) fn new<'a>(observers: impl Iterator<Item = &'a Arc<str>>) -> Self {
        Self { observers: observers.cloned().collect(), ..Self::default() }
    }

    /// Takes who may see the user by a list that is as it was stored.
    pub(super) fn restore<'a>(&mut self, observers: impl Iterator<Item = &'a Arc<str>>) {
        self.observers = observers.cloned().collect();
    }

    /// Takes whether `observer` may see the user from here on; answers whether that is new.
    pub(super) fn set_observer(&mut self, observer: &Arc<str>, may_see: bool) -> bool {
        if may_see { self.observers.insert(Arc::clone(observer)) } else { self.observers.remove(observer) }
    }

    /// What the user can see of `other` is different from `position` on.
    pub(super) fn note(&mut self, other: &UserId, position: LivePosition) {
        self.observed.retain(|_, user| user != other);
        self.observed.insert(position, other.to_owned());
    }
}

impl Contacts {
    /// Those whom `observer` came to see by a list, or ceased to, after the live position `since` up to
    /// `upto`.
    pub fn sight_changes(
        &self,
        observer: &UserId,
        since: LivePosition,
        upto: LivePosition,
    ) -> Vec<OwnedUserId> {
        if since >= upto {
            return Vec::new();
        }
        let users = self.lock();
        let Some(of_user) = users.get(observer) else { return Vec::new() };
        of_user.sight.observed.range(since.next()..=upto).map(|(_, user)| user.clone()).collect()
    }

    /// Those who changed with whom they share after the live position `since` up to `upto`.
    pub fn share_changes(&self, since: LivePosition, upto: LivePosition) -> Vec<OwnedUserId> {
        if since >= upto {
            return Vec::new();
        }
        let shares = self.shares();
        shares.changed.range(since.next()..=upto).map(|(_, user)| user.clone()).collect()
    }

    /// With whom `user` shared at the live position `since`.
    pub fn share_at(&self, user: &UserId, since: LivePosition) -> Share {
        let users = self.lock();
        let Some(of_user) = users.get(user) else { return Share::default() };
        let ended = [Share::Nobody, Share::List, Share::SharedRooms].into_iter();
        let ended = ended.map(|share| (of_user.sight.share_until[share as usize], share));
        ended
            .filter(|(until, _)| *until > since)
            .min_by_key(|(until, _)| *until)
            .map_or_else(|| of_user.settings.share, |(_, share)| share)
    }

    /// Notes that `user`, who shared with `before` until now, shares with others.
    pub(super) fn note_share(&self, user: &UserId, of_user: &mut OfUser, before: Share, live: &Live) {
        let mut shares = self.shares();
        let position = live.advance();
        of_user.sight.share_until[before as usize] = position;
        shares.changed.retain(|_, changed| changed != user);
        shares.changed.insert(position, user.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use ruma::user_id;

    use super::*;
    use crate::server::list::Settings;

    #[test]
    fn l2_with_whom_a_user_shared_is_known_for_every_position() {
        let (alice, live) = (user_id!("@alice:x"), Live::new(100));
        let contacts = Contacts::default();
        let mut of_alice = OfUser::new(alice, Settings::default(), Vec::new());
        // Until 101 with rooms, until 102 with the list, until 103 with nobody, and then with the list again.
        for (before, after) in
            [(Share::SharedRooms, Share::List), (Share::List, Share::Nobody), (Share::Nobody, Share::List)]
        {
            contacts.note_share(alice, &mut of_alice, before, &live);
            of_alice.settings.share = after;
        }
        contacts.lock().insert(alice.to_owned(), of_alice);
        let at = |since| contacts.share_at(alice, since);
        assert_eq!(
            [
                at(LivePosition::new(100)),
                at(LivePosition::new(101)),
                at(LivePosition::new(102)),
                at(LivePosition::new(103))
            ],
            [Share::SharedRooms, Share::List, Share::Nobody, Share::List]
        );
        assert_eq!(
            contacts.share_changes(LivePosition::new(100), LivePosition::new(103)),
            [alice.to_owned()]
        );
        assert_eq!(
            contacts.share_changes(LivePosition::new(103), LivePosition::new(110)),
            Vec::<OwnedUserId>::new()
        );
    }
}
