//! Devices: their keys for encryption, and the messages they send each other.

pub mod key_form;
pub mod keys;
pub mod signed;
pub mod to_device;
