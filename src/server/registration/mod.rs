//! Application services, as the operator registered them: who they are, and which users, aliases and rooms are theirs.
//!
//! Read once, when the server starts; what is not understood is refused then. Asks nobody anything.
//! Application service API, "Registration".

mod all;
mod error;
mod file;
mod namespaces;
mod one;

#[cfg(any(test, fuzzing))]
pub(in crate::server) use self::file::parse;
pub use self::{
    all::Registrations,
    error::RegistrationError,
    namespaces::{Namespace, Namespaces},
    one::Registration,
};
