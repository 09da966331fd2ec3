//! The wasm binding: fetch, timers, DOM activity, storage, and what JavaScript sees.
//!
//! Owns no rule: every decision is the client role's in `core::client`. Runs in pages, in workers and in
//! Node, where there is no document to watch and no storage.
//!
//! Values cross in three ways. What is small and only for JavaScript (a session, `me`) is built by
//! serde-wasm-bindgen: `me` in 0.7 µs, against 1.3 as JSON text, for 1.3 KB of the package, gzipped. What an
//! application gives (options, an account, a session) is read field by field, by `given`: serde-wasm-bindgen's
//! reading cost 9 KB, mostly words of errors that name no argument. What comes in numbers, or is JSON on the wire
//! too (answers, events, settings, a command's arguments), crosses as JSON text: read and written in one form, and
//! parsed by the engines as fast as it can be built (a thousand presences: 0.7 ms either way).

mod activity;
mod client;
mod clock;
mod fetch;
mod given;
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
