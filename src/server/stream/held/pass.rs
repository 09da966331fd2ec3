//! What one pass of the hub tells: each item encoded once for all, and again only for whom it reads differently.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use ruma::{OwnedRoomId, OwnedUserId, UserId};

use super::frames::{self, Frames};
use crate::{
    core::time,
    server::{
        change::{
            position::{LivePosition, LogPosition},
            wakers::Place,
        },
        event::stored::StoredEvent,
        session::Session,
        store::Receipt,
        stream::{
            filter::{Filter, Timelines},
            token::Token,
        },
    },
};

/// What the hub tells a reader who follows; for all else they look themselves.
#[derive(Clone, Debug, Default)]
pub(super) struct Tells {
    /// Everybody's presence.
    pub(super) presence: bool,
    /// Events of timelines.
    pub(super) timelines: Timelines,
    /// Who types and who has read, as far as this lets it through; `None`: neither.
    pub(super) ephemeral: Option<Arc<Filter>>,
    /// Whom the reader ignores.
    pub(super) ignored: Arc<BTreeSet<OwnedUserId>>,
}

/// One thing to tell, by the pass of the hub that tells it.
#[derive(Debug)]
pub(super) enum Item {
    /// The presence of a user.
    Presence {
        /// Its position.
        at: LivePosition,
        /// As it is written.
        frame: Vec<u8>,
    },
    /// An event at the end of a room.
    Event {
        /// As others than the sending device see it.
        frame: Vec<u8>,
        /// The event.
        event: Arc<StoredEvent>,
    },
    /// Who types in a room.
    Typing {
        /// The position of the last change there.
        at: LivePosition,
        /// As who ignores none of them sees it.
        frame: Vec<u8>,
        /// Where.
        room: OwnedRoomId,
        /// All who do.
        users: Vec<OwnedUserId>,
    },
    /// How far some have read in a room.
    Receipts {
        /// The position of the last of them.
        at: LogPosition,
        /// As who ignores none of them sees it.
        frame: Vec<u8>,
        /// Where.
        room: OwnedRoomId,
        /// Of each user, kind and thread the last one.
        receipts: Vec<Arc<Receipt>>,
    },
}

/// A pass of the hub: from where it goes up to where, and what it tells.
#[derive(Debug)]
pub(super) struct Pass {
    pub(super) since: Place,
    pub(super) upto: Place,
    pub(super) items: Vec<Item>,
    /// As of when it tells.
    pub(super) now: time::Instant,
    /// The items of the last write, and what was written: most readers are told the same.
    last: (Vec<u32>, Bytes),
}

impl Tells {
    /// Whether an item is told by the hub; else the reader looks for themselves.
    pub(super) fn tells(&self, item: &Item) -> bool {
        match item {
            Item::Presence { .. } => self.presence,
            Item::Event { .. } => self.timelines != Timelines::Chosen,
            Item::Typing { .. } | Item::Receipts { .. } => self.ephemeral.is_some(),
        }
    }

    /// Whether an item is nothing for the reader, however they are told.
    pub(super) fn passes_over(&self, item: &Item) -> bool {
        match item {
            Item::Presence { .. } => false,
            Item::Event { event, .. } => self.ignored.contains(&event.sender),
            Item::Typing { room, .. } => !self.wants(room, "m.typing"),
            Item::Receipts { room, receipts, .. } => {
                !self.wants(room, "m.receipt") || receipts.iter().all(|r| self.ignored.contains(&r.user))
            }
        }
    }

    fn wants(&self, room: &OwnedRoomId, kind: &str) -> bool {
        self.ephemeral.as_ref().is_none_or(|filter| filter.room(room) && filter.ephemeral(room, kind))
    }

    /// Whether an item reads differently for this reader than for most.
    fn has_own(&self, item: &Item, session: &Session) -> bool {
        match item {
            Item::Presence { .. } => false,
            Item::Event { event, .. } => is_of(event, session),
            _ if self.ignored.is_empty() => false,
            Item::Typing { users, .. } => users.iter().any(|user| self.ignored.contains(user)),
            Item::Receipts { receipts, .. } => receipts.iter().any(|r| self.ignored.contains(&r.user)),
        }
    }

    /// An item as this reader has it, for whom it reads differently.
    fn own_frame(&self, item: &Item, session: &Session, now: time::Instant) -> Option<Vec<u8>> {
        if !self.has_own(item, session) {
            return None;
        }
        match item {
            Item::Presence { .. } => None,
            Item::Event { event, .. } => Some(frames::timeline(event, session, now)),
            Item::Typing { room, users, .. } => {
                let seen = users.iter().filter(|user| !self.ignored.contains(*user));
                Some(frames::typing(room, seen))
            }
            Item::Receipts { room, receipts, .. } => {
                let seen = receipts.iter().filter(|r| !self.ignored.contains(&r.user));
                Some(frames::receipts(room, seen.map(|receipt| &**receipt)))
            }
        }
    }
}

impl Item {
    /// Whether who was told everything up to `place` was told this.
    pub(super) fn is_told(&self, place: Place) -> bool {
        match self {
            Self::Presence { at, .. } | Self::Typing { at, .. } => *at <= place.live,
            Self::Event { event, .. } => event.position <= place.log,
            Self::Receipts { at, .. } => *at <= place.log,
        }
    }

    /// As most have it.
    pub(super) fn frame(&self) -> &[u8] {
        match self {
            Self::Presence { frame, .. }
            | Self::Event { frame, .. }
            | Self::Typing { frame, .. }
            | Self::Receipts { frame, .. } => frame,
        }
    }

    /// The room of which `user` has more or less unread with this.
    pub(super) fn counts_for(&self, user: &UserId) -> Option<&OwnedRoomId> {
        match self {
            Self::Presence { .. } | Self::Typing { .. } => None,
            Self::Event { event, .. } => Some(&event.room_id),
            Self::Receipts { room, receipts, .. } => {
                receipts.iter().any(|receipt| receipt.user == *user).then_some(room)
            }
        }
    }
}

impl Pass {
    pub(super) fn new(since: Place, upto: Place, now: time::Instant) -> Self {
        Self { since, upto, items: Vec::new(), now, last: Default::default() }
    }

    /// How much it is to write these items.
    pub(super) fn size(&self, items: &[u32]) -> usize {
        self.of(items).map(|item| item.frame().len()).sum()
    }

    /// The items with these numbers.
    pub(super) fn of<'p>(&'p self, items: &'p [u32]) -> impl Iterator<Item = &'p Item> {
        items.iter().map(|number| &self.items[*number as usize])
    }

    /// What is written of these items to a reader, who is at `at` with them.
    pub(super) fn written(&mut self, items: &[u32], tells: &Tells, session: &Session, at: Place) -> Bytes {
        if at != self.upto || self.of(items).any(|item| tells.has_own(item, session)) {
            return self.write(items, at, |item| tells.own_frame(item, session, self.now)).into();
        }
        // What everybody is told who is told these items.
        if self.last.0 != items {
            self.last = (items.to_vec(), self.write(items, self.upto, |_| None).into());
        }
        self.last.1.clone()
    }

    fn write(&self, items: &[u32], at: Place, own: impl Fn(&Item) -> Option<Vec<u8>>) -> Vec<u8> {
        let mut frames = Frames::default();
        for item in self.of(items) {
            match own(item) {
                Some(own) => frames.encoded(&own),
                None => frames.encoded(item.frame()),
            }
        }
        frames.up_to(&Token::new(at.log, at.live))
    }
}

/// Whether the device sent the event, so that it is told its transaction ID.
fn is_of(event: &StoredEvent, session: &Session) -> bool {
    let device = event.transaction.as_ref().map(|(device, _)| device);
    event.sender == session.user && device == Some(&session.device)
}
