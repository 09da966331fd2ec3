//! Simplified sliding sync (MSC4186): windows on a user's rooms, by long polling, on connections of which the server
//! remembers what was sent.
//!
//! What is new is found as for `/sync`, by the same [`Reader`](super::reader::Reader); here is which rooms a request is about,
//! how far a connection was told of each, and how that is written in either of two wire forms.

mod answer;
mod called;
mod connections;
mod extensions;
mod kept;
mod known_rooms;
mod looks;
pub(in crate::server::stream) mod memory;
mod news;
mod outside;
mod polls;
pub mod request;
pub mod required;
mod rooms;
mod scope;
mod sent;
mod state;
mod step;
mod survey;
mod weights;

pub use self::polls::answer;
