//! `pilotlight simulate`: many homeservers on virtual time, counted and drawn.

mod command;
mod error;
mod plot;
mod plots;
mod words;

pub use self::{
    command::{Simulate, run},
    error::SimulateError,
};
