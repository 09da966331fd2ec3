//! Actions a client sends into rooms, from the key press to their place in the stream (M9–M11).
//!
//! Owns: action IDs, the send queue and the local echo's transition table. Never does IO: the role that
//! owns a queue sends what it is handed and feeds back what happened. Source: instant-messaging.rst,
//! "Action APIs".

pub mod echo;
pub mod ids;
pub mod queue;
