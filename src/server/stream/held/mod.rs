//! The held stream: `/sync` that does not end, as server-sent events.
//!
//! Two ways lead to a reader. What comes most, presence, messages, who types and who has read, is told to all streams
//! at once by one thread, the [`hub`]: encoded once, and written to the socket of each who may see it, without waking
//! anybody. Everything else wakes the one reader, who looks for themselves ([`line`]) as `/sync` does, from where they
//! were told everything.
//! A stream *follows* while the hub tells it; whoever cannot take what is written, or has something else to look at,
//! ceases to, and follows again after a look in which nothing was missed.

mod frames;
mod hub;
mod joining;
mod line;
mod pass;
mod recount;
mod rooms;
mod talk;
mod told;

pub use self::{
    hub::{Hub, JoinUnderWay},
    talk::Open,
};
