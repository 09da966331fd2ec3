//! What is asked of the server: by clients, by other servers, by the operator.
//!
//! A function here parses, asks a service, and answers; rules live below.

pub mod around;
pub mod client;
pub mod control;
mod directory_page;
pub mod error;
pub mod extract;
pub mod federation;
mod file_answer;
mod guest;
mod large;
pub mod limit;
pub mod openid;
mod room_summary;
mod ruma_route;
mod user_keys;
