//! What users are about to become in rooms: counted with what they are, so that acts at the same time do not each take
//! the last place that there is.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use parking_lot::{Mutex, MutexGuard};
use ruma::{OwnedRoomId, OwnedUserId, UserId};

use super::members::Members;
use crate::server::event::stored::Membership;

/// The places of acts that are judged or on their way to the disk. Bounded by the requests under way.
#[derive(Debug, Default)]
pub(super) struct Coming(Mutex<Places>);

/// By user.
#[derive(Debug, Default)]
pub(super) struct Places {
    of: BTreeMap<OwnedUserId, Vec<(u64, Place)>>,
    /// Of the last place.
    number: u64,
}

/// What a user is about to become in a room.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) room: OwnedRoomId,
    pub(super) becomes: Membership,
    pub(super) by: OwnedUserId,
}

/// Keeps a place until this is dropped: when memory has what became of it.
#[derive(Debug)]
pub(super) struct Kept {
    coming: Arc<Coming>,
    user: OwnedUserId,
    number: u64,
}

impl Coming {
    /// For a check and what follows from it, in one step. It must be quick.
    pub(super) fn lock(&self) -> MutexGuard<'_, Places> {
        self.0.lock()
    }

    /// Keeps a place for `user` that was checked under the same lock.
    pub(super) fn keep(self: &Arc<Self>, places: &mut Places, user: &UserId, place: Place) -> Kept {
        places.number += 1;
        places.of.entry(user.to_owned()).or_default().push((places.number, place));
        Kept { coming: Arc::clone(self), user: user.to_owned(), number: places.number }
    }
}

impl Places {
    /// In how many rooms `user` is about to have a place that `counts`, and is not known by `members` to have it.
    pub(super) fn count(&self, members: &Members, user: &UserId, counts: impl Fn(&Place) -> bool) -> usize {
        let places = self.of.get(user).into_iter().flatten().map(|(_, place)| place);
        let new = places.filter(|place| members.membership(user, &place.room) != Some(place.becomes));
        new.filter(|place| counts(place)).map(|place| &place.room).collect::<BTreeSet<_>>().len()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let mut places = self.coming.lock();
        if let Some(of_user) = places.of.get_mut(&self.user) {
            of_user.retain(|(number, _)| *number != self.number);
            if of_user.is_empty() {
                places.of.remove(&self.user);
            }
        }
    }
}
