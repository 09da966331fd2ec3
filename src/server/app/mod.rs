//! What every request handler is handed: the services, and the few acts that ask several of them in order.

mod acts;
mod again;
pub mod error;
mod lists;
mod open;
mod parts;
pub mod refusal;
mod subscribe;

pub use self::parts::App;
