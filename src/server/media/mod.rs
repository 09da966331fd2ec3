//! Files that users share: uploads, what is read of them, thumbnails.
//!
//! What is in them lies in [`folder`], and nobody else knows where; what is known of them, in the store. A file never
//! changes: its address is drawn by chance, and there is one upload for it. Who may read is decided above, and so is what is
//! said of a file to whom.
//!
//! Source: Matrix client-server API, "Content repository".

mod borrowed;
mod desk;
mod fetching;
pub mod folder;
mod kept;
mod picture;
mod pieces;
mod receive;
pub mod refusal;
mod shelf;
mod sizes;
mod thumbnail;
mod under_way;
mod workshop;

pub use self::{
    borrowed::Fetch,
    kept::{Found, MAX_PATIENCE, Media},
    picture::Wanted,
    receive::{Described, MAX_CONTENT_TYPE, MAX_FILE_NAME, Received, Sent},
    refusal::Refusal,
    sizes::{Method, Size},
};
