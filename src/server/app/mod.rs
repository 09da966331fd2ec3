//! What every request handler is handed: the services, and the few acts that ask several of them in order.

pub mod across;
mod acts;
mod again;
mod devices_across;
mod early_receipts;
pub mod error;
mod files;
mod guests;
pub mod keys_across;
mod lists;
mod open;
mod parts;
pub mod profile;
pub mod refusal;
mod room_edus;
mod subscribe;
mod ties;

pub use self::parts::App;
