//! What is gathered of the events that relate to those of a page.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ruma::{OwnedEventId, OwnedUserId, RoomId, UserId};

use super::{access::Access, parts::Rooms, refusal::Refusal};
use crate::server::{
    change::position::TimelinePosition,
    event::{
        aggregation::{Aggregations, Thread, replaces},
        stored::StoredEvent,
    },
    store::Seen,
};

/// Edits of one event that are looked at for the last one that counts, at most.
const MAX_EDITS: usize = 20;

/// References to one event that are named, at most.
const MAX_REFERENCES: usize = 100;

/// To whom things are told, and what is left out.
#[derive(Clone, Copy, Debug)]
pub struct Audience<'a> {
    /// Who reads.
    pub reader: &'a UserId,
    /// Whom they ignore.
    pub ignored: &'a BTreeSet<OwnedUserId>,
    /// Up to where they see the room.
    pub until: TimelinePosition,
}

impl Rooms {
    /// How far `user` sees the timeline of `room`.
    ///
    /// # Errors
    /// As for [`Self::access`].
    pub async fn sees_until(&self, user: &UserId, room: &RoomId) -> Result<TimelinePosition, Refusal> {
        Ok(match self.access(user, room).await? {
            Access::Joined | Access::Peek => TimelinePosition::END,
            Access::Until(position) => position,
        })
    }

    /// What is gathered of the events that relate to some of one room: of those that the reader may see, and of nobody
    /// whom they ignore. Costs one query when there is nothing.
    ///
    /// # Errors
    /// [`Refusal::Store`] when the store fails.
    pub async fn aggregations(
        &self,
        audience: Audience<'_>,
        room: &RoomId,
        events: &[Arc<StoredEvent>],
    ) -> Result<Aggregations, Refusal> {
        let parents: BTreeMap<&OwnedEventId, &StoredEvent> =
            events.iter().filter(|e| e.state_key.is_none()).map(|e| (&e.event_id, &**e)).collect();
        let mut all = Aggregations::new();
        if parents.is_empty() {
            return Ok(all);
        }
        let related = self.store.related(room, parents.keys().copied()).await?;
        if related.is_empty() {
            return Ok(all);
        }
        let parts = self.parts_seen(audience.reader, room, audience.until).await?;
        let seen = Seen { reader: audience.reader, ignored: audience.ignored, parts: &parts };
        for (id, how) in related {
            let Some(parent) = parents.get(&id) else { continue };
            let of_parent = all.entry(id).or_default();
            match how.as_str() {
                "m.replace" => of_parent.replacement = self.replacement(seen, parent).await?,
                "m.thread" => of_parent.thread = self.thread(seen, parent).await?,
                "m.reference" => {
                    let references = self.store.references(room, &parent.event_id, seen, MAX_REFERENCES);
                    of_parent.references = references.await?;
                }
                _ => {}
            }
        }
        all.retain(|_, aggregation| !aggregation.is_empty());
        Ok(all)
    }

    /// The edit that counts: the last one, by the clock of its server, that the reader sees.
    async fn replacement(
        &self,
        seen: Seen<'_>,
        original: &StoredEvent,
    ) -> Result<Option<Arc<StoredEvent>>, Refusal> {
        let is_edit = original.relation().is_some_and(|(_, how)| how == "m.replace");
        if is_edit || original.redacted_because.is_some() {
            return Ok(None);
        }
        let edits = self.store.edits(original, seen, MAX_EDITS).await?;
        Ok(edits.into_iter().find(|edit| replaces(original, edit)))
    }

    async fn thread(&self, seen: Seen<'_>, root: &StoredEvent) -> Result<Option<Thread>, Refusal> {
        let found = self.store.thread(&root.room_id, &root.event_id, seen).await?;
        let Some(thread) = found else { return Ok(None) };
        let latest_replacement = self.replacement(seen, &thread.latest).await?;
        let participated = thread.has_reader || root.sender == *seen.reader;
        Ok(Some(Thread { latest: thread.latest, latest_replacement, count: thread.count, participated }))
    }
}
