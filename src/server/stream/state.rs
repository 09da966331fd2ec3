//! What a reader has to know of a room's state before its timeline makes sense.

use std::{collections::BTreeSet, sync::Arc};

use ruma::{OwnedUserId, RoomId, UserId};

use super::{
    lazy::LazyMembers,
    look::Look,
    timeline::{Timeline, seen},
};
use crate::server::{
    change::position::LogPosition,
    event::stored::StoredEvent,
    store::{Store, StoreError},
};

/// The state that the reader needs before the timeline makes sense, with all its members. Of a reader who is told
/// the room `whole` all of it, else what changed after `from`.
pub(super) async fn state(
    look: &Look<'_>,
    store: &Store,
    room: &RoomId,
    timeline: &Timeline,
    (whole, from): (bool, LogPosition),
) -> Result<Vec<Arc<StoredEvent>>, StoreError> {
    let first = timeline.events.first();
    let mut state = if whole {
        match first {
            Some(first) => store.state_before(first.position).await?,
            None => store.current_state(room).await?,
        }
    } else if timeline.limited {
        store.state_changes(room, from, first.map_or(look.log.upto, |e| e.position.before())).await?
    } else {
        Vec::new()
    };
    for event in &timeline.kept_out {
        state.retain(|e| e.kind != event.kind || e.state_key != event.state_key);
        state.push(Arc::clone(event));
    }
    state.retain(|e| e.position <= look.log.upto && look.filter.state(room, seen(e)));
    Ok(state)
}

/// Of a room that is told `whole`, leaves of the members only those who say something in the timeline, and the reader;
/// whatever changed among members in a gap stays: a client that was told of one who left would keep them for ever.
/// Adds those who say something and that the reader, who knows the room up to `from`, was not told of.
pub(super) async fn make_members_lazy(
    look: &Look<'_>,
    (store, lazy): (&Store, &LazyMembers),
    room: &RoomId,
    timeline: &Timeline,
    (whole, from): (bool, LogPosition),
    state: &mut Vec<Arc<StoredEvent>>,
) -> Result<(), StoreError> {
    let (session, upto) = (look.session, look.log.upto);
    let speakers: BTreeSet<&UserId> = timeline.events.iter().map(|e| &*e.sender).collect();
    if whole {
        state.retain(|e| {
            let member = e.state_key.as_deref().filter(|_| e.kind == "m.room.member");
            let member = member.and_then(|user| <&UserId>::try_from(user).ok());
            member.is_none_or(|user| user == session.user || speakers.contains(user))
        });
    }
    let mut needed: Vec<OwnedUserId> = speakers.into_iter().map(ToOwned::to_owned).collect();
    if !look.filter.redundant_members() {
        needed = lazy.untold(session, room, from, needed);
    }
    for event in timeline.events.iter().chain(&*state).filter(|e| e.kind == "m.room.member") {
        needed.retain(|user| event.state_key.as_deref() != Some(user.as_str()));
    }
    for user in &needed {
        let member = store.state_event(room, "m.room.member", user.as_str()).await?;
        state.extend(member.filter(|e| e.position <= upto && look.filter.state(room, seen(e))));
    }
    let members = state.iter().filter(|e| e.kind == "m.room.member");
    let told = members.filter_map(|e| UserId::parse(e.state_key.as_deref()?).ok()).collect();
    lazy.note(session, room, upto, told);
    Ok(())
}
