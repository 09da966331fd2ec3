//! Who came to share a room with somebody, and who ceased to, as the log has it.
//!
//! Independent of what a filter lets through: presence and devices follow the membership itself.

use std::{collections::BTreeSet, sync::Arc};

use ruma::{OwnedUserId, RoomId, UserId};

use super::visibility::Sight;
use crate::server::{
    change::position::LogPosition,
    event::stored::{Membership, StoredEvent},
};

/// Those whom a reader met and parted from since a position.
#[derive(Debug, Default)]
pub struct Encounters {
    /// Share a room with the reader that they did not share before.
    pub met: BTreeSet<OwnedUserId>,
    /// Shared a room that they do not share any longer.
    pub parted: BTreeSet<OwnedUserId>,
    /// Whose presence the reader could see by a room, and perhaps cannot any longer.
    pub dimmed: BTreeSet<OwnedUserId>,
    /// Are in a room with the reader whose size crossed the operator's limit (L6).
    pub crossed: BTreeSet<OwnedUserId>,
}

/// Those who came into one room in which the reader stayed.
pub type Newcomers = BTreeSet<OwnedUserId>;

impl Sight {
    /// The reader came into `room`.
    pub fn entered(&self, room: &RoomId, encounters: &mut Encounters) {
        self.members.each_joined(room, |user| {
            encounters.met.insert(user.clone());
        });
    }

    /// The reader was in `room` at the position `since` of the log and is there still. These events happened since then:
    /// all by which somebody came or went are among them, or will be among those of further calls; whoever looks at
    /// the last of each member only takes who came and changed their name for one who was there, and who was put out
    /// and asked back in for one who never was. A reader who was away in between came into the room: that they would not see
    /// somebody any longer may have been told them then. [`Self::crossed`] comes after them, with the newcomers of them all.
    pub fn stayed(
        &self,
        (reader, room): (&UserId, &RoomId),
        events: &[Arc<StoredEvent>],
        since: LogPosition,
        newcomers: &mut Newcomers,
        encounters: &mut Encounters,
    ) {
        let counted = self.members.counted_at(room, since);
        for event in events {
            let Some((user, membership)) = event.membership() else { continue };
            let Ok(user) = UserId::parse(user) else { continue };
            match membership {
                Membership::Join if event.membership_before() == Some(Membership::Join) => {}
                Membership::Join if user == *reader => self.entered(room, encounters),
                Membership::Join => {
                    newcomers.insert(user.clone());
                    encounters.met.insert(user);
                }
                Membership::Leave | Membership::Ban => encounters.part(counted, [user]),
                Membership::Invite | Membership::Knock => {}
            }
        }
    }

    /// What it means to the reader that the size of `room` crossed the limit after `since`, if it did. Newcomers were
    /// not seen by this room, unless they had been there and left.
    pub fn crossed(
        &self,
        room: &RoomId,
        since: LogPosition,
        newcomers: &Newcomers,
        encounters: &mut Encounters,
    ) {
        let counted = self.members.counted_at(room, since);
        let crossed = self.members.crossed_since(room, since);
        if counted {
            let known = crossed.iter().filter(|user| !newcomers.contains(*user));
            encounters.dimmed.extend(known.cloned());
        }
        encounters.crossed.extend(crossed);
    }

    /// The reader was in `room` at the position `since` of the log and left it when `state` was part of its state.
    pub fn left(
        &self,
        room: &RoomId,
        state: &[Arc<StoredEvent>],
        since: LogPosition,
        encounters: &mut Encounters,
    ) {
        let there = state.iter().filter_map(|event| {
            let (user, membership) = event.membership()?;
            let was_there = membership == Membership::Join || event.position > since;
            was_there.then(|| UserId::parse(user).ok())?
        });
        encounters.part(self.members.counted_at(room, since), there);
    }
}

impl Encounters {
    /// The reader parted from these in a room; `counted`: by which they could see each other.
    fn part(&mut self, counted: bool, users: impl IntoIterator<Item = OwnedUserId>) {
        for user in users {
            if counted {
                self.dimmed.insert(user.clone());
            }
            self.parted.insert(user);
        }
    }
}
