//! What events say of each other.

use ruma::{OwnedEventId, OwnedUserId};
use rusqlite::{Connection, OptionalExtension};

use super::{database::Store, error::StoreError};

/// Somebody's annotation of an event.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Annotation {
    /// The event.
    pub target: OwnedEventId,
    /// The type of the annotating event.
    pub kind: String,
    /// Who annotates.
    pub sender: OwnedUserId,
    /// With what.
    pub key: String,
}

impl Store {
    /// Whether there is such an annotation, not redacted.
    pub async fn is_annotated(&self, annotation: &Annotation) -> Result<bool, StoreError> {
        self.read(|c| is_annotated(c, annotation)).await
    }
}

/// The same, for reading inside a write.
pub(super) fn is_annotated(c: &Connection, annotation: &Annotation) -> rusqlite::Result<bool> {
    let Annotation { target, kind, sender, key } = annotation;
    c.prepare_cached(
        "SELECT 1 FROM events WHERE relates_to = ?1 AND rel_type = 'm.annotation' AND standing = 0 \
         AND sender = ?2 AND type = ?3 AND redacted_by IS NULL \
         AND json_extract(pdu, '$.content.\"m.relates_to\".key') = ?4 LIMIT 1",
    )?
    .query_row((target.as_str(), sender.as_str(), kind, key), |_| Ok(()))
    .optional()
    .map(|found| found.is_some())
}
