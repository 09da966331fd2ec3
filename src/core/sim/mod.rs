//! A seeded simulation of users, devices, tabs, dropped connections, sleep, restarts and clock jumps,
//! against a small reference model (section P and L6 of the requirements).
//!
//! The world plays the shell: it carries inputs to the engine, delivers changes to those who may see them,
//! and stores records. After every step all invariants are checked. A failure names its seed, and
//! `World::run` on that seed repeats it.

mod invariants;
mod reference;
mod script;
mod tests;
mod world;
