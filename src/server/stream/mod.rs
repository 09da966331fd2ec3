//! What a reader is told of: filters, positions, and what is new.
//!
//! Everything durable has a position in the log, everything that only lives has one of
//! [`Live`](super::change::position::Live); a [`Token`] holds both. A reader is answered at once when there is
//! something new for them, or waits to be woken. What they are told is [`News`](news::News), typed; [`sync`] writes
//! it as the answer of `/sync`, [`initial_sync`] as that of `/initialSync`. [`events`] tells the same in one list, in the
//! order of the log, [`sliding`] what is new in windows on the rooms. What is the same for all readers is encoded once, where it is kept.

mod account_data;
mod behind;
mod encounters;
mod entered;
mod entry;
mod ephemeral;
pub mod events;
mod filter;
mod filters;
#[cfg(test)]
mod following;
pub mod held;
pub mod in_flight;
pub mod initial_sync;
mod keys;
mod late;
mod lazy;
mod listener;
mod look;
pub mod news;
pub mod notices;
mod old_form;
mod parts;
mod presence;
mod reader;
mod reading;
pub mod refusal;
pub mod sliding;
mod sources;
mod state;
mod summary;
pub mod sync;
mod telling;
mod timeline;
mod to_device;
mod token;
mod unread;
mod verdict;
mod wait;
mod window;

pub use self::{
    entered::Entered,
    filter::{Filter, Seen, Whose, wants_event},
    filters::Filters,
    lazy::LazyMembers,
    listener::Told,
    old_form::append_presence,
    parts::Parts,
    refusal::Refusal,
    sources::Sources,
    sync::append_account_data,
    token::{Brief, NotAToken, PageToken, Pos, Token},
    unread::{Unread, thread_of},
    wait::{Poll, device_lists_between},
};
