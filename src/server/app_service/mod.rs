//! Application services as those who are told: what concerns them goes to them in transactions, in the order of the log,
//! each until it is acknowledged; and they are asked for users and rooms that are theirs and not there yet.
//!
//! What was made is on the disk before it is sent, and is sent again as it was: so nothing is lost, changed or out of order
//! when either side ends. Who registered is known by [`crate::server::registration`].
//! Application service API, "Homeserver -> Application Service API".

mod all;
mod ask;
mod held;
mod log;
mod pump;
mod questions;
mod scope;
mod transaction;

pub use self::{
    all::{AppServices, Sought},
    ask::{PingError, Ways},
};
