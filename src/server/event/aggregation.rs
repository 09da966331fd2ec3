//! What is gathered of the events that relate to one, as clients get it with it: `m.relations`.
//!
//! Client-server API, "Aggregations of child events", "Event replacements", "Threading", "Reference relations".

use std::{collections::BTreeMap, sync::Arc};

use ruma::{OwnedEventId, UserId};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::{
    client::{ClientFormat, client_event},
    stored::StoredEvent,
};
use crate::server::session::Session;

/// Of each event of which there is any.
pub type Aggregations = BTreeMap<OwnedEventId, Aggregation>;

/// What is gathered of the events that relate to one.
#[derive(Clone, Debug, Default)]
pub struct Aggregation {
    /// Its last edit.
    pub replacement: Option<Arc<StoredEvent>>,
    /// The thread that begins with it.
    pub thread: Option<Thread>,
    /// Events that refer to it, oldest first.
    pub references: Vec<OwnedEventId>,
}

/// A thread.
#[derive(Clone, Debug)]
pub struct Thread {
    /// The last event of it.
    pub latest: Arc<StoredEvent>,
    /// The last edit of that.
    pub latest_replacement: Option<Arc<StoredEvent>>,
    /// Events in it, without the root.
    pub count: u64,
    /// Whether the reader has written in it, or begun it.
    pub participated: bool,
}

#[derive(Serialize)]
struct Relations {
    #[serde(rename = "m.replace", skip_serializing_if = "Option::is_none")]
    replacement: Option<Box<RawValue>>,
    #[serde(rename = "m.thread", skip_serializing_if = "Option::is_none")]
    thread: Option<OfThread>,
    #[serde(rename = "m.reference", skip_serializing_if = "Option::is_none")]
    references: Option<References>,
}

#[derive(Serialize)]
struct OfThread {
    latest_event: Box<RawValue>,
    count: u64,
    current_user_participated: bool,
}

#[derive(Serialize)]
struct References {
    chunk: Vec<Reference>,
}

#[derive(Serialize)]
struct Reference {
    event_id: OwnedEventId,
}

impl Aggregation {
    /// As `viewer` gets it at `now_ms` (Unix time), beside the other things in `unsigned`.
    pub fn json(&self, viewer: &Session, now_ms: u64) -> Box<RawValue> {
        let event = |event: &StoredEvent, relations: Option<&RawValue>| {
            client_event(event, viewer, now_ms, ClientFormat::Full, None, relations)
        };
        let thread = self.thread.as_ref().map(|thread| {
            let edited = thread.latest_replacement.clone();
            let edited =
                edited.map(|edit| Self { replacement: Some(edit), ..Self::default() }.json(viewer, now_ms));
            OfThread {
                latest_event: event(&thread.latest, edited.as_deref()),
                count: thread.count,
                current_user_participated: thread.participated,
            }
        });
        let chunk: Vec<_> = self.references.iter().map(|id| Reference { event_id: id.clone() }).collect();
        let relations = Relations {
            replacement: self.replacement.as_ref().map(|edit| event(edit, None)),
            thread,
            references: (!chunk.is_empty()).then_some(References { chunk }),
        };
        to_raw_value(&relations).expect("strings, numbers and JSON can be written as JSON")
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        let Self { replacement, thread, references } = self;
        replacement.is_none() && thread.is_none() && references.is_empty()
    }
}

/// Whether `edit` may take the place of `original`, which its user may still change.
pub fn replaces(original: &StoredEvent, edit: &StoredEvent) -> bool {
    #[derive(serde::Deserialize)]
    struct Content<'a> {
        #[serde(rename = "m.new_content", borrow)]
        new_content: &'a RawValue,
    }
    let has_content = || {
        let content: Option<Content<'_>> = edit.content_as();
        content.is_some_and(|content| content.new_content.get().starts_with('{'))
    };
    let sent_by: fn(&StoredEvent) -> &UserId = |event| &event.sender;
    sent_by(original) == sent_by(edit)
        && original.kind == edit.kind
        && original.state_key.is_none()
        && edit.state_key.is_none()
        && (edit.kind == "m.room.encrypted" || has_content())
}
