//! Every integration test of the native build, in one binary.

mod accounts;
mod cli;
mod rooms_life;
mod rooms_pdus;
mod rooms_rules;
mod support;
mod web;
