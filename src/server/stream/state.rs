//! What a reader has to know of a room's state before its timeline makes sense.

use std::{collections::BTreeSet, sync::Arc};

use ruma::{OwnedUserId, RoomId, UserId};

use super::{
    lazy::LazyMembers,
    look::Look,
    news::RoomState,
    timeline::{Timeline, seen},
};
use crate::server::{
    change::position::{LogPosition, TimelinePosition},
    event::stored::StoredEvent,
    store::{Entry, Kinds, Store, StoreError},
};

/// How much of a room's state a reader is told.
#[derive(Clone, Copy, Debug)]
pub(super) enum Extent {
    /// What changed after a position up to which they know it; `is_quiet`: it is known that nothing did.
    Since { since: LogPosition, is_quiet: bool },
    /// All of it. A client that knew the room before, up to `known`, keeps what it knew of its members: of them it is
    /// told all that changed.
    Whole { known: Option<LogPosition> },
}

/// What a reader is told of a room's state.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) state: RoomState,
    /// Members are among it.
    pub(super) has_members: bool,
}

/// The state that the reader needs before the timeline makes sense: however much it is, a list of it, which who writes it
/// reads page by page. With lazily loaded members it has of them only the
/// reader, who says something in the timeline (unless the client was told of them), and whoever changed after what the
/// client knows: who was told of one who left would keep them for ever.
pub(super) async fn state(
    look: &Look<'_>,
    (store, lazy): (&Store, &LazyMembers),
    room: &RoomId,
    timeline: &Timeline,
    extent: Extent,
) -> Result<Told, StoreError> {
    if !look.filter.any_state(room) {
        return Ok(Told::default());
    }
    let is_lazy = look.filter.lazy_members();
    // State at the end is told whatever the timeline has of it.
    let own: &[Arc<StoredEvent>] = if look.state_at_end { &[] } else { &timeline.kept_out };
    let first = timeline.events.first().filter(|_| !look.state_at_end);
    let end = first.map_or(look.log.upto, |first| first.position.before());
    let before = first.map_or(TimelinePosition::live(look.log.upto), |first| first.timeline.before());
    let mut listing =
        Listing { look, room, told_already: own, before, members: BTreeSet::new(), later: Vec::new() };
    let mut keep = |entry: Entry<'_>| listing.keeps(entry);
    let mut state = RoomState::default();
    match extent {
        Extent::Since { since, is_quiet: false }
            if timeline.limited || timeline.restored || look.state_at_end =>
        {
            state.listed = store.state_changes(room, (since, end), Kinds::All, &mut keep).await?;
        }
        Extent::Since { .. } => {}
        Extent::Whole { known } if is_lazy => {
            state.listed = store.current_state(room, Kinds::AllButMembers, &mut keep).await?;
            if let Some(known) = known {
                let changed = store.state_changes(room, (known, end), Kinds::Members, &mut keep).await?;
                state.listed.append(changed);
            }
        }
        Extent::Whole { .. } => {
            // What the room's state was by then, and not what it was on the side of the first event.
            state.listed = store.current_state(room, Kinds::All, &mut keep).await?;
        }
    }
    let Listing { mut members, later, .. } = listing;
    for (kind, key) in later {
        state.events.extend(store.state_event_at(room, &kind, &key, before).await?);
    }
    if look.filter.looks_into_state() {
        store.retain_state(&mut state.listed, |e| look.filter.state(room, seen(e))).await?;
    }
    state.events.extend(own.iter().cloned());
    members.extend(state.events.iter().filter_map(|e| member_of(e)));
    if is_lazy {
        add_speakers(look, (store, lazy), room, (timeline, before), extent, (&mut state.events, &members))
            .await?;
    }
    state.events.retain(|e| look.filter.state(room, seen(e)));
    members.extend(state.events.iter().filter_map(|e| member_of(e)));
    let has_members = !members.is_empty();
    if is_lazy {
        lazy.note(look.session, room, look.log.upto, members.into_iter().collect());
    }
    Ok(Told { state, has_members })
}

/// What is put on a list of state.
struct Listing<'a> {
    look: &'a Look<'a>,
    room: &'a RoomId,
    /// What is told of the state beside it.
    told_already: &'a [Arc<StoredEvent>],
    before: TimelinePosition,
    /// Whose member events are on it: of clients that are told of all members, that there are some.
    members: BTreeSet<OwnedUserId>,
    /// In whose places there was something else, or nothing, before the timeline.
    later: Vec<(String, String)>,
}

impl Listing<'_> {
    fn keeps(&mut self, entry: Entry<'_>) -> bool {
        let Self { look, room, told_already, before, .. } = *self;
        let is_told = !told_already.iter().any(|e| e.is_state(entry.kind, entry.key))
            && (look.filter.state_of(room, entry.kind, entry.sender) || look.filter.looks_at_senders());
        if !is_told {
            return false;
        }
        if TimelinePosition::live(entry.position) > before {
            self.later.push((entry.kind.to_owned(), entry.key.to_owned()));
            return false;
        }
        if !look.filter.state_of(room, entry.kind, entry.sender) {
            return false;
        }
        if entry.kind == "m.room.member" && (look.filter.lazy_members() || self.members.is_empty()) {
            self.members.extend(UserId::parse(entry.key).ok());
        }
        true
    }
}

/// Of whom it is the member event.
fn member_of(event: &StoredEvent) -> Option<OwnedUserId> {
    let user = event.state_key.as_deref().filter(|_| event.kind == "m.room.member")?;
    UserId::parse(user).ok()
}

/// Adds those who say something in the timeline and of whom the client was not told; of a room that is told whole the
/// reader, too.
async fn add_speakers(
    look: &Look<'_>,
    (store, lazy): (&Store, &LazyMembers),
    room: &RoomId,
    (timeline, before): (&Timeline, TimelinePosition),
    extent: Extent,
    (state, listed): (&mut Vec<Arc<StoredEvent>>, &BTreeSet<OwnedUserId>),
) -> Result<(), StoreError> {
    let mut needed: BTreeSet<OwnedUserId> = timeline.events.iter().map(|e| e.sender.clone()).collect();
    match extent {
        Extent::Whole { .. } => {
            lazy.begin(look.session, room);
            needed.insert(look.session.user.clone());
        }
        Extent::Since { since, .. } => {
            if !look.filter.redundant_members() {
                needed = lazy.untold(look.session, room, since, needed);
            }
            for event in timeline.events.iter().filter(|e| e.kind == "m.room.member") {
                needed.retain(|user| event.state_key.as_deref() != Some(user.as_str()));
            }
        }
    }
    needed.retain(|user| !listed.contains(user));
    for user in &needed {
        let current = store.state_event(room, "m.room.member", user.as_str()).await?;
        state.extend(match current {
            Some(event) if event.timeline > before => {
                store.state_event_at(room, "m.room.member", user.as_str(), before).await?
            }
            current => current,
        });
    }
    Ok(())
}
