//! Whom the reader met in rooms, and parted from, since the token.

use std::sync::Arc;

use ruma::{RoomId, UserId};

use crate::server::{
    change::position::LogPosition,
    event::stored::{Membership, StoredEvent},
    sight::{
        Sight,
        rooms::{Encounters, Newcomers},
    },
    store::{Kinds, Side, Store, StoreError},
};

/// The reader's own way through a room.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Passage {
    /// What the reader was at the token.
    pub(super) was: Option<Membership>,
    /// What the reader is.
    pub(super) is: Option<Membership>,
    /// Where the reader joined first in between, if they did.
    pub(super) joined_at: Option<LogPosition>,
    /// Where the event is that made it so.
    pub(super) position: LogPosition,
}

/// Which encounters count.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Counted {
    /// Those that make a difference between the token and the end of the look.
    Lasting,
    /// Also with those whom the reader met and parted from in between: of whom they may have been told then.
    Passing,
}

impl Passage {
    /// Whether what the reader is was said, or said again, after `since`.
    pub(super) fn is_newer_than(&self, since: LogPosition) -> bool {
        self.position > since
    }

    /// Whether the reader was in the room and is there.
    pub(super) fn was_there(&self) -> bool {
        self.was == Some(Membership::Join)
    }
}

/// Has `encounters` take note of what happened among the members of `room` after `since`, up to `upto`: `events`,
/// or what the store has of it.
pub(super) async fn note(
    encounters: &mut Encounters,
    (sight, store): (&Sight, &Store),
    (reader, room): (&UserId, &RoomId),
    events: Option<&[Arc<StoredEvent>]>,
    passage: Passage,
    (since, upto): (LogPosition, LogPosition),
    counted: Counted,
) -> Result<(), StoreError> {
    let was_joined = passage.was_there();
    let is_joined = passage.is == Some(Membership::Join);
    if !was_joined && is_joined {
        sight.entered(room, encounters);
    }
    let there_since = match (was_joined, passage.joined_at) {
        (true, _) => since,
        (false, Some(joined)) if counted == Counted::Passing => joined,
        (false, _) => return Ok(()),
    };
    if !is_joined {
        let mut list = store.state_at(passage.position, Side::Before, Kinds::Members, |_| true).await?;
        while !list.is_empty() {
            sight.left(room, &store.next_page(&mut list).await?, there_since, encounters);
        }
        return Ok(());
    }
    let mut newcomers = Newcomers::new();
    match events {
        Some(events) => {
            let later = events.partition_point(|event| event.position <= there_since);
            sight.stayed((reader, room), &events[later..], there_since, &mut newcomers, encounters);
        }
        None => {
            let mut list = store.membership_changes(room, (there_since, upto)).await?;
            while !list.is_empty() {
                let page = store.next_page(&mut list).await?;
                sight.stayed((reader, room), &page, there_since, &mut newcomers, encounters);
            }
        }
    }
    sight.crossed(room, there_since, &newcomers, encounters);
    Ok(())
}
