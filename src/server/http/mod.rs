//! HTTP: connections and what comes in on them, before anybody knows what it means.

mod accept;
pub mod bodies;
mod connection;
mod handover;
mod head;
mod open_files;
mod patience;
mod places;
pub mod proxies;
pub mod range;
mod unread;

pub use self::{
    accept::Door,
    connection::Shortcut,
    handover::{Handover, Lendable, Making, Socket, Talk},
    open_files::{Connections, raise as raise_open_files},
    places::Places,
};
