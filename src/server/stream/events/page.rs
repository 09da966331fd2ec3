//! Which events of rooms one answer tells: the next ones in the order of the log, and no more than an answer holds.

use std::{collections::BTreeMap, sync::Arc};

use ruma::{OwnedRoomId, UserId};

use super::scope::{Scope, Stays};
use crate::server::{
    change::position::LogPosition,
    event::stored::{Membership, StoredEvent},
    stream::{
        late,
        news::Late,
        reader::{Outline, Reader},
        refusal::Refusal,
        timeline::seen,
    },
};

/// Events of rooms that one answer holds, at most.
pub const MAX_EVENTS: usize = 100;

/// Bytes that they take in memory, about. No further one is added from here on.
const MAX_BYTES: usize = 8 << 20;

/// Events that are looked at for one answer, at most: a filter that lets hardly anything through gets short answers.
const MAX_SCANNED: usize = 4_000;

/// Events that are read at once.
const BATCH: usize = 100;

/// What is told of the events of rooms.
#[derive(Debug)]
pub(super) struct Page {
    /// In the order of the log.
    pub(super) events: Vec<Arc<StoredEvent>>,
    /// Those that came late, room by room in the order of the timelines.
    pub(super) late: Vec<Late>,
    /// Everything up to here was looked at.
    pub(super) upto: LogPosition,
}

impl Page {
    /// Of a look that is quick: what it has in memory, if that is no more than `limit`. The reader was in all of these
    /// rooms all the time.
    pub(super) async fn quick(
        reader: &Reader<'_>,
        scope: &Scope,
        limit: usize,
        outline: &Outline,
    ) -> Result<Option<Self>, Refusal> {
        let windows = outline.windows.iter().filter(|(room, _)| scope.has(room));
        let mut events: Vec<_> = windows
            .flat_map(|(_, window)| window.events.iter().flatten().chain(&window.late))
            .map(Arc::clone)
            .collect();
        if events.len() > limit {
            return Ok(None);
        }
        events.sort_unstable_by_key(|event| event.position);
        events.retain(|event| is_wanted(reader, event));
        Self::of(reader, events, reader.look.log.upto).await.map(Some)
    }

    /// Of any look: as far as `limit` events go.
    pub(super) async fn next(reader: &Reader<'_>, scope: &Scope, limit: usize) -> Result<Self, Refusal> {
        let (store, log) = (&reader.parts.store, reader.look.log);
        let rooms = scope.rooms(reader).await?;
        let (mut told, mut stays) = (Vec::new(), Stays::default());
        let (mut at, mut scanned, mut bytes) = (log.since, 0, 0);
        loop {
            let positions = store.positions_since(&rooms, at, log.upto, BATCH).await?;
            let is_last = positions.len() < BATCH;
            let events = store.events_at(&positions).await?;
            let visible = match scope {
                Scope::Everything | Scope::Room(_) => None,
                Scope::Peek(room) => Some(
                    reader.sources.visible_events(&reader.look.session.user, room, events.clone()).await?,
                ),
            };
            for event in events {
                if told.len() >= limit || bytes >= MAX_BYTES || scanned >= MAX_SCANNED {
                    return Self::of(reader, told, at).await;
                }
                at = event.position;
                scanned += 1;
                let is_visible = match &visible {
                    Some(visible) => visible.iter().any(|seen| Arc::ptr_eq(seen, &event)),
                    None => {
                        is_own(&event, &reader.look.session.user)
                            || stays.was_there(reader, &event.room_id, event.position).await?
                    }
                };
                if is_visible && is_wanted(reader, &event) {
                    bytes += event.weight();
                    told.push(event);
                }
            }
            if is_last {
                return Self::of(reader, told, log.upto).await;
            }
        }
    }

    /// Of what was found, in the order of the log.
    async fn of(
        reader: &Reader<'_>,
        found: Vec<Arc<StoredEvent>>,
        upto: LogPosition,
    ) -> Result<Self, Refusal> {
        let (mut events, mut rooms) = (Vec::new(), BTreeMap::<OwnedRoomId, Vec<_>>::new());
        for event in found {
            if event.comes_late() {
                rooms.entry(event.room_id.clone()).or_default().push(event);
            } else {
                events.push(event);
            }
        }
        let mut late = Vec::new();
        for (room, found) in rooms {
            late.extend(late::placed((reader.sources, &reader.look), &room, found, upto).await?);
        }
        Ok(Self { events, late, upto })
    }

    /// Whether it goes as far as the look.
    pub(super) fn is_last(&self, reader: &Reader<'_>) -> bool {
        self.upto >= reader.look.log.upto
    }
}

/// Whether it says what the user is in its room.
fn is_own(event: &StoredEvent, user: &UserId) -> bool {
    event.is_state("m.room.member", user.as_str())
}

/// Whether a reader who sees an event wants it.
fn is_wanted(reader: &Reader<'_>, event: &StoredEvent) -> bool {
    let look = &reader.look;
    let is_invite = event.membership().is_some_and(|(_, membership)| membership == Membership::Invite);
    if !look.hears(event) || is_invite && is_own(event, &look.session.user) && look.ignores(&event.sender) {
        return false;
    }
    let is_asked_for = !event.comes_late() || look.filter.out_of_order();
    is_asked_for && look.filter.room(&event.room_id) && look.filter.timeline(&event.room_id, seen(event))
}
