//! Presence lists on this server (L1 to L7): the core's lists of all users, the disk and the readers.
//!
//! A change of one list that concerns another user of this server is carried over to theirs in the
//! same step. It is made on copies and written in one go, with what devices and other servers are to be told
//! of it; what is held in memory follows. Who may invite is decided by the core's rules
//! ([`crate::core::policy`]) from what is kept here; who may see whom, by `sight`.

pub mod change;
pub mod lists;
pub mod refusal;
mod strangers;
