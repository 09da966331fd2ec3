//! Calls between two people, by Matrix's `m.call.*` events of version 1 (and of version 0, where the other knows no more).
//!
//! Owns which calls there are, what is said about them in rooms, and when a call has come to its end; never touches media: a
//! page's WebRTC connection does what [`Media`](output::Media) asks for, and tells what came of it. Who may ring, and how loud,
//! is passed in. The source is "Voice over IP" in Matrix's client-server API, version 1.11 and later.

mod early;
mod events;
mod glare;
mod id;
pub mod one;
mod outbox;
pub mod output;
pub mod phase;
pub mod role;
pub mod signal;
mod timing;
mod write;

#[cfg(test)]
mod tests;
