//! A discrete-event simulation of many homeservers that run the very engine of [`super::federation`].
//!
//! Users come, change and go on virtual time; every message between the servers is counted, and beside
//! it what the same day costs with one message for each change and with one for each contact. Pure and
//! seeded: the same parameters give the same numbers, natively and in a browser.

mod cost;
mod params;
mod population;
pub mod scenarios;
mod schedule;
mod site;
mod tally;
mod world;

pub use cost::{Cost, one_per_change, one_per_contact};
pub use params::{BadParams, Faults, Params, Span};
pub use tally::{Minute, Tally};
pub use world::{Agreement, World};
