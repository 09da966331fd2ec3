//! What lists mean for other servers: whom they are asked for, and whom they may see.

use std::collections::BTreeSet;

use ruma::{OwnedUserId, UserId};

use super::Contacts;
use crate::{
    core::{list::Observing, visibility::Share},
    server::federation::across::Across,
};

impl Contacts {
    /// The users who have a list, or had one.
    pub fn owners(&self) -> BTreeSet<OwnedUserId> {
        #[expect(clippy::disallowed_methods, reason = "collected in order")]
        self.lock().keys().cloned().collect()
    }

    /// The list of `owner` towards other servers.
    pub fn across(&self, owner: &UserId) -> Across {
        let users = self.lock();
        let Some(of_user) = users.get(owner) else { return Across::default() };
        let elsewhere = |user: &str| {
            let user = UserId::parse(user).ok()?;
            (user.server_name() != owner.server_name()).then_some(user)
        };
        let accepted = of_user.list.entries().filter(|(_, c)| c.relation.observing() == Observing::Yes);
        let observers = of_user.list.observers().filter(|_| of_user.settings.share != Share::Nobody);
        Across {
            observed: accepted.filter_map(|(user, _)| elsewhere(user)).collect(),
            servers: observers
                .filter_map(|user| elsewhere(user))
                .map(|user| user.server_name().to_owned())
                .collect(),
        }
    }
}
