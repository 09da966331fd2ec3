//! Devices: their keys for encryption, and the messages they send each other.

pub mod keys;
pub mod to_device;
