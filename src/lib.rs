//! Presence you can leave on: one core, in the browser and in a homeserver.
//!
//! `core` holds the rules and the state machines, free of IO; `server` and `browser` are the two
//! shells that drive it. The layers are `main → server → core ← browser`.

#![deny(unsafe_code)]

#[cfg(target_arch = "wasm32")]
pub mod browser;
pub mod core;
#[cfg(all(feature = "server", not(target_arch = "wasm32")))]
pub mod server;
