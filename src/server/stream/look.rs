//! One look of one reader: who looks, from where, and up to where. Plain values.

use std::{collections::BTreeSet, sync::Arc};

use ruma::{OwnedRoomId, OwnedUserId, RoomId, UserId};

use super::{behind::PresenceLook, entered::Entered, filter::Filter};
use crate::{
    core::time::Instant,
    server::{
        change::position::{LivePosition, LogPosition},
        event::stored::StoredEvent,
        session::Session,
    },
};

/// What lies after one position, up to and including another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stretch<P> {
    pub(super) since: P,
    pub(super) upto: P,
}

/// One look of one reader.
#[derive(Clone, Debug)]
pub(super) struct Look<'a> {
    pub(super) session: &'a Session,
    pub(super) filter: &'a Filter,
    /// Whom the reader ignores: they are told no event of theirs that is not state, and no invite.
    pub(super) ignored: Arc<BTreeSet<OwnedUserId>>,
    /// Everything is told, for the first time.
    pub(super) is_first: bool,
    /// The client has been told something before, by this server or by one whose log ended elsewhere: it shows
    /// what it was told until it is told something else.
    pub(super) goes_on: bool,
    /// All state of all rooms, though the reader has it.
    pub(super) full_state: bool,
    /// The state of rooms is that at the end of the look, not before their timelines.
    pub(super) state_at_end: bool,
    /// What is durable; from [`LogPosition::START`] at first.
    pub(super) log: Stretch<LogPosition>,
    /// What lives in memory only. From [`LivePosition::START`] at first, and where the reader's position is of
    /// another run of the server: it says nothing here, everything is told again.
    pub(super) live: Stretch<LivePosition>,
    /// After which position messages for the device are new.
    pub(super) to_device: LogPosition,
    /// What of presence is told, and from where on.
    pub(super) presence: PresenceLook,
    /// Of which rooms the device has the answer to its join, each up to a position.
    pub(super) entered: &'a [Entered],
    /// Rooms of which the reader may not know how much they have not read.
    pub(super) uncounted: &'a [OwnedRoomId],
    pub(super) now: Instant,
}

impl Look<'_> {
    /// Up to where the device has `room` from the answer to its join; `None`: it was told of it by its stream only. Of
    /// several answers the first counts: who has a later one, too, is told again what it said.
    pub(super) fn entered(&self, room: &RoomId) -> Option<LogPosition> {
        if self.is_first || self.full_state {
            return None;
        }
        let of_room = self.entered.iter().filter(|entered| entered.room == room).map(|entered| entered.upto);
        of_room.filter(|upto| *upto > self.log.since && *upto <= self.log.upto).min()
    }

    /// Whether the reader is not to be told what `sender` says.
    pub(super) fn ignores(&self, sender: &UserId) -> bool {
        self.ignored.contains(sender)
    }

    /// Whether the reader is told of an event that they may see, as far as its sender goes.
    pub(super) fn hears(&self, event: &StoredEvent) -> bool {
        !event.is_hidden() && (event.state_key.is_some() || !self.ignores(&event.sender))
    }
}
