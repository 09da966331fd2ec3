//! Events that came late (M4): new in the log, old in the timeline of their room. They are told to who asks for them, with
//! the event that each comes after; everybody else finds them by scrolling back.

use std::sync::Arc;

use ruma::RoomId;

use super::{
    look::{Look, Stretch},
    news::Late,
    refusal::Refusal,
    sources::Sources,
    timeline::seen,
};
use crate::server::{
    change::position::{LogPosition, TimelinePosition},
    event::stored::StoredEvent,
    store::Order,
};

/// Events of one room that came late and are told in one answer, at most: those that came last.
const MAX_LATE: usize = 100;

/// Events of a room that are looked at for them.
const MAX_SCANNED: usize = 4_000;

/// Events that are looked at for the one that another comes after.
const NEIGHBOURS: usize = 20;

/// Those of a room that a reader is told: of those that are `known`, or of those that the store has.
pub(super) async fn late(
    (sources, look): (&Sources, &Look<'_>),
    room: &RoomId,
    known: Option<Vec<Arc<StoredEvent>>>,
    log: Stretch<LogPosition>,
) -> Result<Vec<Late>, Refusal> {
    if !look.filter.out_of_order() {
        return Ok(Vec::new());
    }
    let events = match known {
        Some(events) => events,
        None => {
            let (range, most) = ((log.since, log.upto), (MAX_SCANNED, MAX_LATE));
            sources.parts().store.late_events(room, range, most).await?
        }
    };
    placed((sources, look), room, events, log.upto).await
}

/// Those of `events`, all of which came late in one room, that a reader is told, each with the one that it comes after
/// where the log ends at `upto`. State that came late is superseded (M3).
pub(super) async fn placed(
    (sources, look): (&Sources, &Look<'_>),
    room: &RoomId,
    mut events: Vec<Arc<StoredEvent>>,
    upto: LogPosition,
) -> Result<Vec<Late>, Refusal> {
    let (user, parts) = (&look.session.user, sources.parts());
    events.retain(|e| e.position <= upto && e.state_key.is_none() && tells(look, room, e));
    if events.is_empty() {
        return Ok(Vec::new());
    }
    let mut events = sources.visible_events(user, room, events).await?;
    // Each of several in one place names the one before it.
    events.sort_unstable_by_key(|event| event.timeline);
    events.drain(..events.len().saturating_sub(MAX_LATE));
    let mut late = Vec::with_capacity(events.len());
    for event in events {
        let end = event.timeline.before();
        let mut before = parts
            .store
            .room_events(room, TimelinePosition::START, end, Order::NewestFirst, NEIGHBOURS)
            .await?;
        before.retain(|event| event.position <= upto);
        let nearest = before.first().cloned();
        let visible = sources.visible_events(user, room, before).await?;
        let told = visible.into_iter().find(|event| tells(look, room, event));
        late.push(Late { event, after: told.or(nearest).map(|event| event.event_id.clone()) });
    }
    Ok(late)
}

/// Whether a reader who sees an event is told it.
fn tells(look: &Look<'_>, room: &RoomId, event: &StoredEvent) -> bool {
    look.hears(event) && look.filter.timeline(room, seen(event))
}
