//! What a client is told of: positions, filters, and the answer of `/sync`.
//!
//! Everything durable has a position in the log, everything that only lives has one of [`Live`]; a
//! [`Token`] holds one of each. A reader is answered at once when there is something new for them, or
//! waits to be woken. What is the same for all readers is encoded once, where it is kept.

mod account_data;
mod encounters;
mod filter;
mod filters;
mod keys;
mod lazy;
mod presence;
mod reader;
mod reading;
mod rooms;
mod token;
mod unread;
mod wait;
mod window;

pub use self::{
    filter::{Filter, Seen, wants_event},
    filters::Filters,
    keys::device_lists_changed,
    lazy::LazyMembers,
    token::{NotAToken, Token},
    unread::Unread,
    wait::Poll,
};
