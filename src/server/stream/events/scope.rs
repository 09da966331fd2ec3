//! Of which rooms a reader of the event stream is told.

use std::collections::{BTreeSet, HashMap, hash_map::Entry};

use ruma::{OwnedRoomId, RoomId};

use crate::server::{
    change::position::LogPosition, event::stored::Membership, store::StoreError, stream::reader::Reader,
};

/// Of what a reader is told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Scope {
    /// Of all of their rooms, and of what is not of rooms.
    Everything,
    /// Of one room that they are in.
    Room(OwnedRoomId),
    /// Of what anybody sees of one room that they are not in.
    Peek(OwnedRoomId),
}

impl Scope {
    /// Whether a room is in it.
    pub(super) fn has(&self, room: &RoomId) -> bool {
        match self {
            Self::Everything => true,
            Self::Room(one) | Self::Peek(one) => one == room,
        }
    }

    /// The rooms in which there can be something to tell, those with news of the reader's own way through them included.
    pub(super) async fn rooms(&self, reader: &Reader<'_>) -> Result<BTreeSet<OwnedRoomId>, StoreError> {
        let (parts, look) = (reader.parts, &reader.look);
        let user = &look.session.user;
        let mut rooms: BTreeSet<OwnedRoomId> = match self {
            Self::Room(room) | Self::Peek(room) => [room.clone()].into(),
            Self::Everything => {
                let joined = parts.members.joined_rooms(user).into_iter();
                let memberships = parts.store.memberships(user).await?.into_iter();
                let changed = memberships.filter(|row| row.position > look.log.since);
                joined.chain(changed.map(|row| row.room_id)).collect()
            }
        };
        rooms.retain(|room| look.filter.room(room));
        Ok(rooms)
    }
}

/// When the reader was in which room, of those that were asked about.
#[derive(Debug, Default)]
pub(super) struct Stays(HashMap<OwnedRoomId, Stay>);

#[derive(Debug)]
enum Stay {
    /// All the time.
    Throughout,
    /// What they were made in it, and where in the log; the first may be before the look.
    Changed(Vec<(LogPosition, Membership)>),
}

impl Stays {
    /// Whether the reader was in `room` right before the place `at` of the log.
    pub(super) async fn was_there(
        &mut self,
        reader: &Reader<'_>,
        room: &RoomId,
        at: LogPosition,
    ) -> Result<bool, StoreError> {
        let stay = match self.0.entry(room.to_owned()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => unknown.insert(Stay::of(reader, room).await?),
        };
        Ok(match stay {
            Stay::Throughout => true,
            Stay::Changed(changes) => {
                let before = changes.iter().rev().find(|(position, _)| *position < at);
                before.is_some_and(|(_, membership)| *membership == Membership::Join)
            }
        })
    }
}

impl Stay {
    async fn of(reader: &Reader<'_>, room: &RoomId) -> Result<Self, StoreError> {
        let (parts, log, user) = (reader.parts, reader.look.log, &reader.look.session.user);
        if parts.members.joined_at(user, room).is_some_and(|at| at <= log.since) {
            return Ok(Self::Throughout);
        }
        let range = (log.since, log.upto);
        let own = parts.store.state_event_between(room, "m.room.member", user.as_str(), range).await?;
        let changes = own.iter().map(|(at, event)| {
            let is = event.as_ref().and_then(|event| event.membership());
            (*at, is.map_or(Membership::Leave, |(_, is)| is))
        });
        Ok(Self::Changed(changes.collect()))
    }
}
