//! Who came to share a room with the reader, and who ceased to, as the log has it.
//!
//! Independent of what a filter lets through: presence and devices follow the membership itself.

use std::{collections::BTreeSet, sync::Arc};

use ruma::{OwnedUserId, RoomId, UserId};

use crate::server::{
    change::position::LogPosition,
    event::stored::{Membership, StoredEvent},
    rooms::Members,
    store::{Store, StoreError},
};

/// The reader's own way through a room.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Passage {
    /// What the reader was at the token.
    pub(super) was: Option<Membership>,
    /// What the reader is.
    pub(super) is: Option<Membership>,
    /// Where the event is that made it so.
    pub(super) position: LogPosition,
}

/// Those whom the reader met and parted from since the token.
#[derive(Debug, Default)]
pub(super) struct Encounters {
    /// Share a room with the reader that they did not share before.
    pub(super) met: BTreeSet<OwnedUserId>,
    /// Shared a room that they do not share any longer.
    pub(super) parted: BTreeSet<OwnedUserId>,
    /// Whose presence the reader could see by a room, and perhaps cannot any longer.
    pub(super) dimmed: BTreeSet<OwnedUserId>,
    /// Are in a room with the reader whose size crossed the operator's limit (L6).
    pub(super) crossed: BTreeSet<OwnedUserId>,
}

impl Encounters {
    /// Takes note of what happened among the members of `room` after `since`, up to `upto`: `events`, or what the
    /// store has of it.
    pub(super) async fn note(
        &mut self,
        (store, members): (&Store, &Members),
        room: &RoomId,
        events: Option<&[Arc<StoredEvent>]>,
        passage: Passage,
        (since, upto): (LogPosition, LogPosition),
    ) -> Result<(), StoreError> {
        let was_joined = passage.was == Some(Membership::Join);
        match (was_joined, passage.is == Some(Membership::Join)) {
            (false, true) => members.each_joined(room, |user| {
                self.met.insert(user.clone());
            }),
            (true, true) => {
                match events {
                    Some(events) => self.take(members, events, since),
                    None => self.take(members, &store.state_changes(room, since, upto).await?, since),
                }
                let crossed = members.crossed_since(room, since);
                if members.counted_at(room, since) {
                    self.dimmed.extend(crossed.iter().filter(|u| !self.met.contains(*u)).cloned());
                }
                self.crossed.extend(crossed);
            }
            (true, false) => {
                let state = store.state_before(passage.position).await?;
                let there = state.iter().filter_map(|event| {
                    let (user, membership) = event.membership()?;
                    let was_there = membership == Membership::Join || event.position > since;
                    was_there.then(|| UserId::parse(user).ok())?
                });
                self.part(members, room, since, there.collect());
            }
            (false, false) => {}
        }
        Ok(())
    }

    /// Takes the member events among `events`, of a room that the reader was and is in.
    fn take(&mut self, members: &Members, events: &[Arc<StoredEvent>], since: LogPosition) {
        for event in events {
            let Some((user, membership)) = event.membership() else { continue };
            let Ok(user) = UserId::parse(user) else { continue };
            match membership {
                Membership::Join if event.membership_before() == Some(Membership::Join) => {}
                Membership::Join => {
                    self.met.insert(user);
                }
                Membership::Leave | Membership::Ban => self.part(members, &event.room_id, since, vec![user]),
                Membership::Invite | Membership::Knock => {}
            }
        }
    }

    fn part(&mut self, members: &Members, room: &RoomId, since: LogPosition, users: Vec<OwnedUserId>) {
        if members.counted_at(room, since) {
            self.dimmed.extend(users.iter().cloned());
        }
        self.parted.extend(users);
    }
}
