//! Every integration test of the native build, in one binary.

mod accounts;
mod cli;
mod rooms_pdus;
mod support;
mod web;
