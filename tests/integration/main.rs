//! Every integration test of the native build, in one binary.

mod accounts;
mod rooms_pdus;
mod support;
mod web;
