//! News as the answer of `/sync`. Client-server API, "Syncing".
//!
//! Written in one go, or piece by piece when it may be large: what is the same for all readers is copied from where it is kept, the rest is
//! encoded in place. Parts without news leave no trace.

mod answer;
mod entry;
mod form;
mod own_data;
mod presence;
mod rooms;
mod written;

pub use self::{
    answer::answer,
    entry::entry,
    form::{Form, StateTold},
    own_data::append_account_data,
};
pub(super) use self::{
    answer::write_keys_left,
    own_data::default_rules,
    rooms::{append_event, write_room_lists},
    written::{Written, written},
};
