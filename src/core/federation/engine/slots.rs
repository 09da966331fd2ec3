//! Which slot a user has.

use crate::core::federation::status::User;

const NONE: u32 = u32::MAX;

/// The slots of users, by their handle: handles count up, so that a list will do.
#[derive(Clone, Debug, Default)]
pub(super) struct Slots(Vec<u32>);

impl Slots {
    /// The slot of `user`.
    pub(super) fn find(&self, user: User) -> Option<u32> {
        self.0.get(user.index as usize).copied().filter(|&slot| slot != NONE)
    }

    /// Gives `user` a slot.
    pub(super) fn insert(&mut self, user: User, slot: u32) {
        let index = user.index as usize;
        if self.0.len() <= index {
            self.0.resize(index + 1, NONE);
        }
        self.0[index] = slot;
    }
}
