//! Whom the reader met in rooms, and parted from, since the token.

use std::sync::Arc;

use ruma::RoomId;

use crate::server::{
    change::position::LogPosition,
    event::stored::{Membership, StoredEvent},
    sight::{Sight, rooms::Encounters},
    store::{Store, StoreError},
};

/// The reader's own way through a room.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Passage {
    /// What the reader was at the token.
    pub(super) was: Option<Membership>,
    /// What the reader is.
    pub(super) is: Option<Membership>,
    /// The reader was joined in between.
    pub(super) was_in_between: bool,
    /// Where the event is that made it so.
    pub(super) position: LogPosition,
}

/// Has `encounters` take note of what happened among the members of `room` after `since`, up to `upto`: `events`,
/// or what the store has of it.
pub(super) async fn note(
    encounters: &mut Encounters,
    (sight, store): (&Sight, &Store),
    room: &RoomId,
    events: Option<&[Arc<StoredEvent>]>,
    passage: Passage,
    (since, upto): (LogPosition, LogPosition),
) -> Result<(), StoreError> {
    let was_joined = passage.was == Some(Membership::Join);
    match (was_joined, passage.is == Some(Membership::Join)) {
        (false, true) => sight.entered(room, encounters),
        (true, true) => match events {
            Some(events) => sight.stayed(room, events, since, encounters),
            None => {
                let events = store.state_changes(room, since, upto).await?;
                sight.stayed(room, &events, since, encounters);
            }
        },
        (true, false) => {
            sight.left(room, &store.state_before(passage.position).await?, since, encounters);
        }
        (false, false) => {}
    }
    Ok(())
}
