//! The few Matrix wire types the client reads, borrowed from the bytes they arrived in.
//!
//! Owns: their shape (client-server API v1.16: `/sync`, events, `m.presence`, errors) and the escaping
//! of paths and queries. Never judges what an event means; unknown fields are skipped unread, and one
//! malformed event costs that event, not the answer it came in.

pub mod event;
pub mod path;
pub mod presence;
pub mod sync;
pub mod text;

use serde::Deserialize;

/// An error answer: `{"errcode": …, "error": …}`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct ErrorBody {
    /// The code for programs: `M_FORBIDDEN`, …
    pub errcode: Option<String>,
    /// The words for people.
    pub error: Option<String>,
    /// `M_LIMIT_EXCEEDED`: milliseconds to wait.
    pub retry_after_ms: Option<u64>,
}

impl ErrorBody {
    /// Reads the body of an answer that is not a success; a body of another shape is an empty error.
    pub fn parse(body: &[u8]) -> Self {
        serde_json::from_slice(body).unwrap_or_default()
    }
}
