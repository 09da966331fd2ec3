//! What is to become an event.

use ruma::{CanonicalJsonObject, OwnedEventId};

/// An event before it has its place in a room.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub kind: String,
    /// `None`: not a state event.
    pub state_key: Option<String>,
    pub content: CanonicalJsonObject,
    /// For a redaction in a room of version 10.
    pub redacts: Option<OwnedEventId>,
}

impl Draft {
    /// A state event.
    pub(super) fn state(kind: &str, state_key: &str, content: CanonicalJsonObject) -> Self {
        Self { kind: kind.to_owned(), state_key: Some(state_key.to_owned()), content, redacts: None }
    }
}
