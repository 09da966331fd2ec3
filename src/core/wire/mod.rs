//! The few Matrix wire types the client reads, borrowed from the text they arrived in.
//!
//! Owns: their shape (client-server API v1.16: `/sync`, events, `m.presence`; the held stream), reading and writing JSON,
//! and the escaping of paths and queries. Never judges what an event means; unknown fields are skipped
//! unread, and one event of an unforeseen shape costs that event, not the answer it came in.

pub mod event;
pub mod event_stream;
mod held;
pub mod object;
pub mod path;
pub mod presence;
pub mod read;
pub mod sync;
pub mod write;
