//! The wasm binding: fetch, timers, DOM activity, storage, and what JavaScript sees.
//!
//! Owns no rule: every decision is the client role's in `core::client`. Values cross as JSON text, which
//! the engines parse faster than anything can be built field by field. Runs in pages, in workers and in
//! Node, where there is no document to watch and no storage.

mod activity;
mod client;
mod clock;
mod fetch;
mod json;
mod options;
mod session;
mod shell;
mod storage;
#[cfg(all(test, feature = "dom"))]
mod tests;
mod timer;

pub use client::JsClient;
pub use json::set_error_class;
pub use session::{login, register};
