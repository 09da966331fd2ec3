//! How an answer reads: to whom, in which form, and when.

use crate::{
    core::time::Instant,
    server::{
        event::{client::ClientFormat, fields::Fields},
        session::Session,
    },
};

/// How an answer reads.
#[derive(Clone, Copy, Debug)]
pub struct Form<'a> {
    /// Who reads it.
    pub viewer: &'a Session,
    /// How events of rooms are written.
    pub events: ClientFormat,
    /// Which of their fields; `None`: all.
    pub fields: Option<&'a Fields>,
    /// When.
    pub now: Instant,
}
