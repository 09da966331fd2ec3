//! What is the same for all rooms of an answer.

use crate::server::stream::{reader::Reader, sync::Form, token::Token};

/// What is the same for all rooms of an answer.
#[derive(Clone, Copy)]
pub(super) struct Frame<'a> {
    pub(super) reader: &'a Reader<'a>,
    pub(super) form: Form<'a>,
    pub(super) end: &'a Token,
    pub(super) summaries: bool,
}
