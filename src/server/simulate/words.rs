//! What grows, and how large it is.

use crate::core::fleet::{Params, scenarios::Grows};

pub(super) const fn word(grows: Grows) -> &'static str {
    match grows {
        Grows::Servers => "servers",
        Grows::Users => "users",
        Grows::Contacts => "contacts",
        Grows::Peers => "peers",
    }
}

pub(super) fn size(grows: Grows, params: &Params) -> u32 {
    match grows {
        Grows::Servers => params.servers,
        Grows::Users => params.users,
        Grows::Contacts => params.contacts,
        Grows::Peers => params.peers,
    }
}
