//! The command line: `pilotlight serve` and its siblings.

mod backup;
mod check;
mod command;
mod failure;
mod keys;
mod peers;
mod settings;
mod user;

pub use self::command::main;
