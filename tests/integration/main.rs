//! Every integration test of the native build, in one binary.

mod accounts;
mod support;
mod web;
