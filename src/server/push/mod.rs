//! Push notifications: whom a gateway is to wake, what it is told, and how that goes.
//!
//! Each pusher has a place in the log up to which it was told everything. What comes after it is looked up when something
//! happens, judged by its user's push rules, and sent one after the other; the place moves on when the gateway has taken
//! it. So a restart loses nothing; and what a gateway took right before a crash may be told once more, with the same event
//! ID. Push gateway API.

mod badge;
mod courier;
mod gateways;
mod notification;
mod pushers;
mod shared;

pub use self::{gateways::is_gateway, pushers::Push};
