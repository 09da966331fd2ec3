//! Accounts: who may come in, with which device, and what they keep.
//!
//! Owns the sessions in memory and the hashing of passwords; what is durable is in the store.
//! Access tokens and passwords are never kept or logged as they came.

mod cache;
pub mod data;
pub mod default_rules;
pub mod guests;
pub mod interaction;
pub mod login;
pub mod login_tokens;
pub mod password;
pub mod refusal;
pub mod tokens;
pub mod username;
