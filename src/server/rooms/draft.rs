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
    pub told: Told,
}

/// When other servers are told of an event.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Told {
    /// When it has its place.
    AtOnce,
    /// When one comes that follows it, and they ask for what is between.
    WhenFollowed,
}

impl Draft {
    /// An event that is no state.
    pub(super) fn message(kind: &str, content: CanonicalJsonObject) -> Self {
        let kind = kind.to_owned();
        Self { kind, state_key: None, content, redacts: None, told: Told::AtOnce }
    }

    /// A state event.
    pub(super) fn state(kind: &str, state_key: &str, content: CanonicalJsonObject) -> Self {
        Self { state_key: Some(state_key.to_owned()), ..Self::message(kind, content) }
    }
}
