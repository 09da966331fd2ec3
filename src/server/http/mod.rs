//! HTTP: sockets only; the accept loop and what the system gives to it.

mod accept;
mod open_files;

pub use self::{
    accept::{PeerAddress, serve},
    open_files::raise as raise_open_files,
};
