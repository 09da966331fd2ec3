//! The homeserver: configuration, HTTP, the API, the services and the store; drives the core.
//!
//! Its floors, from the roof to the ground, are in docs/ARCHITECTURE.md. A file names only floors below its own.

pub mod accounts;
pub mod answers;
pub mod api;
pub mod app;
pub mod app_service;
pub mod change;
pub mod cli;
pub mod clock;
pub mod config;
pub mod contacts;
pub mod devices;
pub mod event;
pub mod federation;
pub mod finish;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzed;
pub mod http;
pub mod json;
pub mod keys;
pub mod limits;
pub mod list;
pub mod log;
pub mod media;
pub mod metrics;
pub mod outgoing;
pub mod presence;
pub mod private_file;
pub mod profile;
pub mod push;
pub mod registration;
pub mod rooms;
pub mod router;
pub mod serve;
pub mod session;
pub mod sight;
pub mod simulate;
pub mod store;
pub mod stream;
pub mod web;

pub use self::{app::App, config::Config, serve::Server};
