//! The wasm binding: fetch, timers, DOM activity, storage, and what JavaScript sees.
//!
//! Owns no rule: every decision is the client role's in `core::client`. Runs in pages, in workers and in
//! Node, where there is no document to watch and no storage.
//!
//! Values cross in two ways. What is small and only for JavaScript (options, an account, a session, `me`) is
//! read and built by serde-wasm-bindgen: `me` in 0.7 µs, against 1.3 as JSON text. What comes in numbers, or
//! is JSON on the wire too (answers, events, settings, a command's arguments), crosses as JSON text: read and
//! written in one form, and parsed by the engines as fast as it can be built (a thousand presences: 0.7 ms
//! either way). serde-wasm-bindgen costs 14 KB of the package's 138, gzipped, mostly words of its errors.

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
