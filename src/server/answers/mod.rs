//! Answers that can be large: who makes one when, and where it waits until its client has taken it.
//!
//! Making one can keep a processor busy for seconds, and a client may take it slowly or not at all. So it is made off the
//! asynchronous workers, at one of a few places, by turns: whoever has used them least goes first ([`places`]). What is
//! made is handed over in pieces and goes to the disk beyond the first ([`sheet`], [`room`], [`spool`]): so making waits for no
//! client, memory is bounded whatever the size of an answer, and who does not take theirs keeps nobody waiting.

mod body;
mod desk;
mod places;
mod room;
mod sheet;
mod spool;

pub use self::{
    places::{Answers, Place, Size, aside},
    room::NoRoom,
    sheet::Sheet,
};
