//! What an event says of another one: what servers see to when it is sent.
//!
//! Client-server API, "Forming relationships between events", "Event annotations and reactions", "Threading".

use ruma::{CanonicalJsonValue, EventId, OwnedEventId};

use super::{draft::Draft, proposal::Proposal, refusal::Refusal};
use crate::server::store::{Annotation, RoomRow};

/// What a draft says of another event.
struct Relation<'a> {
    how: &'a str,
    target: OwnedEventId,
    key: Option<&'a str>,
}

impl<'a> Relation<'a> {
    /// `None`: it is of no shape that means anything.
    fn of(draft: &'a Draft) -> Option<Self> {
        let relation = draft.content.get("m.relates_to")?.as_object()?;
        let text = |key: &str| relation.get(key).and_then(CanonicalJsonValue::as_str);
        Some(Self {
            how: text("rel_type")?,
            target: EventId::parse(text("event_id")?).ok()?,
            key: text("key"),
        })
    }
}

/// Refuses what relates to an event of another room, a thread upon what is itself related to something, and an
/// annotation that its sender has made already.
pub(super) async fn check_relation(
    proposal: &mut Proposal<'_>,
    room: &RoomRow,
    draft: &Draft,
) -> Result<(), Refusal> {
    let Some(Relation { how, target, key }) = Relation::of(draft) else { return Ok(()) };
    let Some(parent) = proposal.event(&target).await? else { return Ok(()) };
    if parent.room_id != room.room_id {
        return Err(Refusal::Invalid("the event that it relates to is of another room".into()));
    }
    if how == "m.thread" && parent.relation().is_some() {
        return Err(Refusal::Invalid("a thread begins with an event that relates to no other".into()));
    }
    if let ("m.annotation", Some(key)) = (how, key) {
        let annotation = Annotation {
            target,
            kind: draft.kind.clone(),
            sender: proposal.author.sender.clone(),
            key: key.to_owned(),
        };
        if proposal.is_annotated(annotation).await? {
            return Err(Refusal::DuplicateAnnotation);
        }
    }
    Ok(())
}
