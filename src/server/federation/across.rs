//! What lists mean for other servers: whom they are asked for, and whom they may see.

use std::collections::BTreeSet;

use ruma::{OwnedServerName, OwnedUserId};

/// One user's list, as far as it has to do with other servers.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Across {
    /// The users of other servers whom the user observes, and who accepted.
    pub observed: BTreeSet<OwnedUserId>,
    /// The servers of those others whom the user accepted, and with whom they share.
    pub servers: BTreeSet<OwnedServerName>,
}
