//! In which rooms something happened that a reader has not seen yet, and what.

use std::{collections::BTreeMap, sync::Arc};

use ruma::{OwnedRoomId, RoomId};

use super::{encounters::Passage, look::Look};
use crate::server::{
    change::position::TimelinePosition,
    event::stored::{Membership, StoredEvent},
    rooms::Members,
    store::{Store, StoreError},
};

/// Rooms that the reader has left which a first look tells of, when it is asked to: those left last.
const MAX_LEFT_ROOMS: usize = 1_000;

/// What happened in a room since the reader's token.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// All events, oldest first; `None`: too many to be in memory, they are read from the store.
    pub(super) events: Option<Vec<Arc<StoredEvent>>>,
}

impl Window {
    /// Of a room in which nothing happened that is an event.
    pub(super) const fn quiet() -> Self {
        Self { events: Some(Vec::new()) }
    }
}

/// By room, in the order of their IDs.
pub(super) type Windows = BTreeMap<OwnedRoomId, Window>;

/// The rooms in which something happened, from memory; `None`: every room is looked at, or the token is older than what
/// is held in memory.
pub(super) fn recent(look: &Look<'_>, store: &Store, members: &Members) -> Option<Windows> {
    if look.is_first || look.full_state {
        return None;
    }
    let (user, log) = (&look.session.user, look.log);
    let mut windows = Windows::new();
    if log.since >= log.upto {
        return Some(windows);
    }
    let is_own = |e: &StoredEvent| e.is_state("m.room.member", user.as_str());
    let recent = store.recent_events(log.since, |e| members.is_joined(user, &e.room_id) || is_own(e))?;
    for event in recent {
        if event.position > log.upto {
            // What the reader is there by now is not what they are where this look ends.
            if is_own(&event) {
                windows.insert(event.room_id.clone(), Window::default());
            }
            continue;
        }
        if !windows.contains_key(&event.room_id) {
            windows.insert(event.room_id.clone(), Window::quiet());
        }
        let Some(window) = windows.get_mut(&event.room_id) else { continue };
        window.events.get_or_insert_default().push(event);
    }
    Some(windows)
}

/// The rooms in which something happened.
pub(super) async fn windows(
    look: &Look<'_>,
    store: &Store,
    members: &Members,
) -> Result<Windows, StoreError> {
    if look.is_first || look.full_state {
        return every_room(look, store).await;
    }
    match recent(look, store, members) {
        Some(windows) => Ok(windows),
        None => windows_from_store(look, store, members).await,
    }
}

/// The same for a token that is older than what is held in memory: every room may have news.
async fn windows_from_store(
    look: &Look<'_>,
    store: &Store,
    members: &Members,
) -> Result<Windows, StoreError> {
    let joined = members.joined_rooms(&look.session.user).into_iter();
    let mut windows: Windows = joined.map(|room| (room, Window::default())).collect();
    for row in store.memberships(&look.session.user).await? {
        if row.position > look.log.since {
            windows.entry(row.room_id).or_default();
        }
    }
    Ok(windows)
}

/// For a first look, or one with full state: every room the reader is in or on the way into, and those of which that
/// was said after the end of this look.
async fn every_room(look: &Look<'_>, store: &Store) -> Result<Windows, StoreError> {
    let mut windows = Windows::new();
    let mut left = 0;
    for row in store.memberships(&look.session.user).await?.into_iter().rev() {
        let wanted = match row.membership {
            Membership::Join | Membership::Invite | Membership::Knock => true,
            Membership::Leave | Membership::Ban => {
                // That a room was left is told to every device, though another has it forgotten meanwhile.
                !row.forgotten && look.filter.include_leave()
                    || row.position > look.log.since && !look.is_first
            }
        };
        let is_left = matches!(row.membership, Membership::Leave | Membership::Ban);
        left += usize::from(wanted && is_left);
        if row.position > look.log.upto || wanted && (!is_left || left <= MAX_LEFT_ROOMS) {
            windows.insert(row.room_id, Window::default());
        }
    }
    Ok(windows)
}

/// Where the reader comes from in `room` and stands at the end of the look. Costs a query only when something about it
/// changed since the look's beginning.
pub(super) async fn passage(
    look: &Look<'_>,
    store: &Store,
    members: &Members,
    room: &RoomId,
) -> Result<Passage, StoreError> {
    let user = &look.session.user;
    if !look.is_first && members.joined_at(user, room).is_some_and(|at| at <= look.log.since) {
        let joined = Some(Membership::Join);
        return Ok(Passage { was: joined, is: joined, ..Passage::default() });
    }
    let range = (TimelinePosition::live(look.log.since), TimelinePosition::live(look.log.upto));
    let history = store.state_event_between(room, "m.room.member", user.as_str(), range).await?;
    let mut passage = Passage::default();
    for event in &history {
        let membership = event.membership().map(|(_, membership)| membership);
        if event.timeline <= range.0 {
            passage.was = membership;
        } else {
            let joined = membership == Some(Membership::Join);
            passage.joined_at = passage.joined_at.or(joined.then_some(event.position));
        }
        passage.is = membership;
        passage.position = event.position;
    }
    Ok(passage)
}
