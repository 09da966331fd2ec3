//! Every integration test of the native build, in one binary.

mod account_data;
mod accounts;
mod authority;
mod check;
mod cli;
mod contacts;
mod federation_lists;
mod federation_presence;
mod federation_send;
mod federation_transport;
mod hostile_edus;
mod hostile_peer;
mod keys;
mod limits;
mod memory;
mod operating;
mod peer;
mod presence;
mod presence_lasting;
mod rooms_life;
mod rooms_pdus;
mod rooms_rules;
mod sight;
mod support;
mod sync;
mod web;
