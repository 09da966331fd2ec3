//! What is asked of the server: by clients, by other servers, by the operator.
//!
//! A function here parses, asks a service, and answers; rules live below.

pub mod around;
pub mod client;
pub mod control;
pub mod error;
pub mod extract;
pub mod federation;
mod large;
pub mod limit;
mod ruma_route;
