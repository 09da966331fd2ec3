//! The configuration: defaults that run, then a TOML file, then the environment, then flags.
//!
//! Every key is one row of a table (`keys`): its name, what it does, what is allowed, how it is read
//! and shown. [`load`] goes through the sources in order and refuses what it does not understand.

mod duration;
mod engine;
mod error;
mod key;
mod keys;
mod load;
mod media;
mod nearest;
mod render;
mod running;
pub mod servers;
mod settings;
mod size;
mod turn;

#[cfg(any(test, fuzzing))]
pub(in crate::server) use self::load::load_text;
pub use self::{
    error::{ConfigError, Source},
    load::{Sources, load},
    render::render,
    settings::{
        Config, Federation, Log, LogFormat, Media, Metrics, Presence, Push, RateLimits, Registration, Rooms,
        Secret, Turn,
    },
};
