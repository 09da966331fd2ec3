//! Rooms and other servers, which do not know each other: what one asks of the other.

mod alias;
mod backfill;
mod candidates;
pub(super) mod entering;
pub(super) mod heard;
mod host;
mod invite;
mod join;
mod knock;
mod leave;
mod peers;
mod receive;
mod seek;
mod spaces;
pub(super) mod unfilled;

pub use self::{
    peers::Peers,
    receive::{ANSWER_WITHIN, Answers, NotTaken, Taken},
};
