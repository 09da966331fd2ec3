//! What a client is told of: positions, filters, and the answer of `/sync`.

mod filter;
mod json;
mod token;

pub use self::{
    filter::{Filter, Seen, wants_event},
    json::{append_number, append_string},
    token::{Live, NotAToken, Token},
};
