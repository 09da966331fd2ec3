//! Devices: their keys for encryption, and the messages they send each other.

pub mod across;
pub mod asking;
pub mod key_form;
pub mod keys;
pub mod published;
pub mod signed;
pub mod to_device;
