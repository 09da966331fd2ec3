//! What a reader has to know of a room's state before its timeline makes sense.

use std::{collections::BTreeSet, sync::Arc};

use ruma::{OwnedUserId, RoomId, UserId};

use super::{
    lazy::LazyMembers,
    look::Look,
    timeline::{Timeline, seen},
};
use crate::server::{
    change::position::{LogPosition, TimelinePosition},
    event::stored::StoredEvent,
    store::{Store, StoreError},
};

/// How much of a room's state a reader is told.
#[derive(Clone, Copy, Debug)]
pub(super) enum Extent {
    /// What changed after a position up to which they know it.
    Since(LogPosition),
    /// All of it. A client that knew the room before, up to `known`, keeps what it knew of its members: of them it is
    /// told all that changed.
    Whole { known: Option<LogPosition> },
}

/// The state that the reader needs before the timeline makes sense. With lazily loaded members it has of them only the
/// reader, who says something in the timeline (unless the client was told of them), and whoever changed after what the
/// client knows: who was told of one who left would keep them for ever.
pub(super) async fn state(
    look: &Look<'_>,
    (store, lazy): (&Store, &LazyMembers),
    room: &RoomId,
    timeline: &Timeline,
    extent: Extent,
) -> Result<Vec<Arc<StoredEvent>>, StoreError> {
    let first = timeline.events.first();
    let end = first.map_or(look.log.upto, |first| first.position.before());
    let before = first.map_or(TimelinePosition::live(look.log.upto), |first| first.timeline.before());
    let mut state = match extent {
        Extent::Since(since) if timeline.limited => store.state_changes(room, since, end).await?,
        Extent::Since(_) => Vec::new(),
        Extent::Whole { known } if look.filter.lazy_members() => {
            let others = store.current_state_without_members(room).await?;
            let mut state = as_of(store, room, others, before).await?;
            if let Some(known) = known {
                let changed = store.state_changes(room, known, end).await?;
                state.extend(changed.into_iter().filter(|e| e.kind == "m.room.member"));
            }
            state
        }
        Extent::Whole { .. } => match first {
            Some(first) => store.state_before(first.position).await?,
            None => as_of(store, room, store.current_state(room).await?, before).await?,
        },
    };
    for event in &timeline.kept_out {
        state.retain(|e| e.kind != event.kind || e.state_key != event.state_key);
        state.push(Arc::clone(event));
    }
    if look.filter.lazy_members() {
        add_speakers(look, (store, lazy), room, (timeline, before), extent, &mut state).await?;
    }
    state.retain(|e| look.filter.state(room, seen(e)));
    if look.filter.lazy_members() {
        let members = state.iter().filter(|e| e.kind == "m.room.member");
        let told = members.filter_map(|e| UserId::parse(e.state_key.as_deref()?).ok()).collect();
        lazy.note(look.session, room, look.log.upto, told);
    }
    Ok(state)
}

/// Adds those who say something in the timeline and of whom the client was not told; of a room that is told whole the
/// reader, too.
async fn add_speakers(
    look: &Look<'_>,
    (store, lazy): (&Store, &LazyMembers),
    room: &RoomId,
    (timeline, before): (&Timeline, TimelinePosition),
    extent: Extent,
    state: &mut Vec<Arc<StoredEvent>>,
) -> Result<(), StoreError> {
    let mut needed: BTreeSet<OwnedUserId> = timeline.events.iter().map(|e| e.sender.clone()).collect();
    match extent {
        Extent::Whole { .. } => {
            lazy.begin(look.session, room);
            needed.insert(look.session.user.clone());
        }
        Extent::Since(since) => {
            if !look.filter.redundant_members() {
                needed = lazy.untold(look.session, room, since, needed);
            }
            for event in timeline.events.iter().filter(|e| e.kind == "m.room.member") {
                needed.retain(|user| event.state_key.as_deref() != Some(user.as_str()));
            }
        }
    }
    for event in state.iter().filter(|e| e.kind == "m.room.member") {
        needed.retain(|user| event.state_key.as_deref() != Some(user.as_str()));
    }
    for user in &needed {
        let member = store.state_event(room, "m.room.member", user.as_str()).await?;
        state.extend(as_of(store, room, member.into_iter().collect(), before).await?);
    }
    Ok(())
}

/// What was in the places of these state events of a room at a place of its timeline.
async fn as_of(
    store: &Store,
    room: &RoomId,
    events: Vec<Arc<StoredEvent>>,
    at: TimelinePosition,
) -> Result<Vec<Arc<StoredEvent>>, StoreError> {
    let mut state = Vec::with_capacity(events.len());
    for event in events {
        if event.timeline <= at {
            state.push(event);
        } else if let Some(key) = &event.state_key {
            state.extend(store.state_event_at(room, &event.kind, key, at).await?);
        }
    }
    Ok(state)
}
