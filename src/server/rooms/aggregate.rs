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
        aggregation::{Aggregation, Aggregations, Thread, replaces},
        stored::StoredEvent,
    },
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

    /// What is gathered of the events that relate to some of one room. Costs one query when there is nothing.
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
        for (id, how) in self.store.related(room, parents.keys().copied()).await? {
            let Some(parent) = parents.get(&id) else { continue };
            let of_parent = all.entry(id).or_default();
            match how.as_str() {
                "m.replace" => of_parent.replacement = self.replacement(audience, parent).await?,
                "m.thread" => of_parent.thread = self.thread(audience, parent).await?,
                "m.reference" => {
                    of_parent.references = self
                        .store
                        .references(room, &parent.event_id, audience.ignored, audience.until, MAX_REFERENCES)
                        .await?;
                }
                _ => {}
            }
        }
        self.drop_unseen(audience.reader, room, &mut all).await?;
        all.retain(|_, aggregation| !aggregation.is_empty());
        Ok(all)
    }

    /// The edit that counts: the last one by the clock of its server.
    async fn replacement(
        &self,
        audience: Audience<'_>,
        original: &StoredEvent,
    ) -> Result<Option<Arc<StoredEvent>>, Refusal> {
        let is_edit = original.relation().is_some_and(|(_, how)| how == "m.replace");
        if is_edit || original.redacted_because.is_some() {
            return Ok(None);
        }
        let edits = self.store.edits(original, audience.until, MAX_EDITS).await?;
        Ok(edits.into_iter().find(|edit| replaces(original, edit)))
    }

    async fn thread(&self, audience: Audience<'_>, root: &StoredEvent) -> Result<Option<Thread>, Refusal> {
        let Audience { reader, ignored, until } = audience;
        let found = self.store.thread(&root.room_id, &root.event_id, reader, ignored, until).await?;
        let Some(thread) = found else { return Ok(None) };
        let latest_replacement = self.replacement(audience, &thread.latest).await?;
        let participated = thread.has_reader || root.sender == *reader;
        Ok(Some(Thread { latest: thread.latest, latest_replacement, count: thread.count, participated }))
    }

    /// Leaves out what history visibility keeps from the reader.
    async fn drop_unseen(
        &self,
        reader: &UserId,
        room: &RoomId,
        all: &mut Aggregations,
    ) -> Result<(), Refusal> {
        let shown = all.values().flat_map(|aggregation| {
            let thread = aggregation.thread.iter();
            let thread = thread.flat_map(|thread| [Some(&thread.latest), thread.latest_replacement.as_ref()]);
            thread.chain([aggregation.replacement.as_ref()]).flatten().map(Arc::clone)
        });
        let shown = self.visible_events(reader, room, shown.collect()).await?;
        let shown: BTreeSet<&OwnedEventId> = shown.iter().map(|event| &event.event_id).collect();
        let is_hidden = |event: &Arc<StoredEvent>| !shown.contains(&event.event_id);
        for Aggregation { replacement, thread, .. } in all.values_mut() {
            replacement.take_if(|event| is_hidden(event));
            thread.take_if(|thread| is_hidden(&thread.latest));
            if let Some(thread) = thread {
                thread.latest_replacement.take_if(|event| is_hidden(event));
            }
        }
        Ok(())
    }
}
