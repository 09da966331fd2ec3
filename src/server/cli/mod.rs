//! The command line: `pilotlight serve` and its siblings.

mod backup;
mod check;
mod command;
mod failure;
#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod heap;
mod keys;
mod peers;
mod settings;
mod user;

pub use self::command::main;
