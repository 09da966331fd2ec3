//! Which servers care for whom: whom they are asked for, and whom they may see.

use ruma::UserId;

use super::visibility::Sight;
use crate::{core::visibility::Share, server::federation::across::Across};

impl Sight {
    /// What the list of `owner` means for other servers.
    pub fn across(&self, owner: &UserId) -> Across {
        let contacts = &self.contacts;
        let elsewhere =
            |user: &UserId| user.server_name() != self.server_name && !contacts.ignores(owner, user);
        let mut across = Across::default();
        across.observed.extend(contacts.observed_by(owner).into_iter().filter(|user| elsewhere(user)));
        if contacts.share_of(owner) != Share::Nobody {
            let observers = contacts.observers(owner).into_iter().filter(|user| elsewhere(user));
            across.servers.extend(observers.map(|user| user.server_name().to_owned()));
        }
        across
    }
}
