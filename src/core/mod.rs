//! The rules and state machines of presence, streams and actions: pure, driven by the shells.
//!
//! Nothing here reads a clock, does IO or draws global randomness. Every role has the same shape:
//! `handle_*` takes an input and the instant `now`, `poll_output` hands out what follows from it in
//! one order, `poll_timeout` says when to call `handle_timeout` next. The law for the shells: drain
//! the outputs after every input.

pub mod action;
pub mod call;
pub mod client;
pub mod federation;
pub mod fleet;
pub mod idle;
pub mod list;
pub mod notify;
pub mod policy;
pub mod presence;
pub mod rng;
pub mod time;
pub mod timers;
pub mod visibility;
pub mod wire;

#[cfg(test)]
mod sim;
#[cfg(test)]
pub(crate) mod testing;
