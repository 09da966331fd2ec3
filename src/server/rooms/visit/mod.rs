//! Rooms that users of this server come into by other servers, that they are invited to there, or knock at.
//!
//! Server-server API, "Joining rooms", "Knocking upon a room", "Inviting to a room", "Leaving rooms".

mod draft;
mod enter;
mod outside;
mod signed;

pub use self::{
    draft::{Ready, own_words},
    enter::Each,
};
