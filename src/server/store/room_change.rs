//! What a commit can change in rooms, and what becomes of it.

use std::collections::BTreeSet;

use ruma::{
    OwnedDeviceId, OwnedEventId, OwnedRoomAliasId, OwnedRoomId, OwnedTransactionId, OwnedUserId,
    RoomVersionId,
};

use super::{
    error::StoreError,
    graph::{EventStanding, StateIds},
};
use crate::server::{change::position::LogPosition, event::stored::Membership};

/// One step of a commit.
#[derive(Debug)]
pub enum RoomChange {
    /// A room without events.
    Create {
        /// Its ID.
        room: OwnedRoomId,
        /// Its version.
        version: RoomVersionId,
        /// Whether the public directory lists it.
        listed: bool,
    },
    /// An event goes to the end of its room.
    Append(Box<NewEvent>),
    /// An event that came late gets its place in the timeline of its room.
    Insert {
        /// The event.
        event: Box<NewEvent>,
        /// The event that it comes after; `None`: it comes before all of the room.
        after: Option<OwnedEventId>,
    },
    /// Events that are known because others rest upon them; those that are here already stay as they are.
    Outliers {
        /// Their room.
        room: OwnedRoomId,
        /// The events.
        events: Vec<NewEvent>,
        /// Those of them that were not allowed.
        rejected: BTreeSet<OwnedEventId>,
    },
    /// An event that another server sent gets its place, or none.
    Receive(Box<Received>),
    /// A page of the state that a room is about to be entered with, in which nobody of this server is yet: what is state of
    /// each key, or that nothing is. All of it is known as outliers.
    Settle {
        /// The room.
        room: OwnedRoomId,
        /// What is to be.
        page: StatePage,
    },
    /// A user of this server came into a room by another server: its state is what that server says, and the join is
    /// all that the next event follows.
    Enter(Box<Entered>),
    /// What a user of this server is from an event on in a room that this server is not in: invited, somebody who
    /// knocks, or neither any longer.
    Outside {
        /// The version of the room.
        version: RoomVersionId,
        /// The member event.
        event: Box<NewEvent>,
    },
    /// An event reads as its redacted form from here on.
    Redact {
        /// The event.
        target: OwnedEventId,
        /// The redacted form, canonical JSON.
        pdu: String,
        /// The redaction.
        by: OwnedEventId,
    },
    /// An event that redacts one that is not here; what it redacts is to be looked at when it comes.
    AwaitRedacted {
        /// What is redacted.
        target: OwnedEventId,
        /// The redaction.
        by: OwnedEventId,
    },
    /// An alias leads to a room.
    AddAlias {
        /// The alias.
        alias: OwnedRoomAliasId,
        /// The room.
        room: OwnedRoomId,
        /// Who may take it away again.
        creator: OwnedUserId,
    },
    /// An alias leads nowhere any longer.
    RemoveAlias(OwnedRoomAliasId),
    /// Every alias of one room leads to another.
    MoveAliases {
        /// The one.
        from: OwnedRoomId,
        /// The other.
        to: OwnedRoomId,
    },
    /// The public directory lists a room, or does not any longer.
    SetListed {
        /// The room.
        room: OwnedRoomId,
        /// Whether it does.
        listed: bool,
    },
}

/// An event to append: a PDU that passed every check, with what the tables know of it.
#[derive(Debug)]
pub struct NewEvent {
    /// The room.
    pub room: OwnedRoomId,
    /// The reference hash.
    pub event_id: OwnedEventId,
    /// The event type.
    pub kind: String,
    /// `None`: not a state event.
    pub state_key: Option<String>,
    /// Who sends it.
    pub sender: OwnedUserId,
    /// Unix time in ms.
    pub origin_server_ts: u64,
    /// The PDU's depth.
    pub depth: u64,
    /// Canonical JSON.
    pub pdu: String,
    /// The forward extremities that it follows.
    pub prev_events: Vec<OwnedEventId>,
    /// The events that allow it.
    pub auth_events: Vec<OwnedEventId>,
    /// `content.m.relates_to`: the event, and how.
    pub relates_to: Option<(String, Option<String>)>,
    /// The device and transaction ID that sent it.
    pub transaction: Option<(OwnedDeviceId, OwnedTransactionId)>,
    /// For a member event: what its target is from here on, with the stripped state to show them.
    pub membership: Option<(Membership, Option<String>)>,
    /// It invites a user of this server, and this server was not asked: it is state of the room, and nobody's membership.
    pub unasked: bool,
    /// A redaction that clients are not shown.
    pub hidden: bool,
    /// This server tells the others of it: its users sent it, or it came in through this server.
    pub on_behalf: bool,
}

/// An event that got its place.
#[derive(Clone, Debug)]
pub struct Placed {
    /// Its ID.
    pub event_id: OwnedEventId,
    /// Its position in the log.
    pub position: LogPosition,
}

/// Why nothing was written.
#[derive(Debug)]
pub enum NotCommitted {
    /// Something is not as it was assumed: it has to be judged again.
    Stale,
    /// It was done before, and answered with this event.
    DoneBefore(Placed),
    /// The alias leads to a room already.
    AliasTaken,
    /// The store failed.
    Store(StoreError),
}

impl From<StoreError> for NotCommitted {
    fn from(e: StoreError) -> Self {
        Self::Store(e)
    }
}

impl From<rusqlite::Error> for NotCommitted {
    fn from(e: rusqlite::Error) -> Self {
        Self::Store(e.into())
    }
}

/// An event that another server sent, judged.
#[derive(Debug)]
pub struct Received {
    /// The event.
    pub event: NewEvent,
    /// What it was judged to be; not an outlier.
    pub standing: EventStanding,
    /// The state before it.
    pub before: StateBefore,
    /// What the room's current state is with it.
    pub current: CurrentAfter,
    /// Where an accepted one stands in the timeline.
    pub place: Place,
    /// What ends the room no longer with an accepted one.
    pub takes: BTreeSet<OwnedEventId>,
}

/// The state before an event.
#[derive(Debug)]
pub enum StateBefore {
    /// What it is after this event.
    After(OwnedEventId),
    /// The room's current state.
    Current,
    /// All of it; the events are here.
    Whole(StateIds),
    /// None: the event is the first of its room.
    Nothing,
}

/// What becomes of a room's current state.
#[derive(Debug)]
pub enum CurrentAfter {
    /// Nothing.
    Unchanged,
    /// It is the state after the event.
    After,
    /// All of it; the events are here, or this is one of them.
    Whole(StateIds),
}

/// A place in a timeline.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Place {
    /// After everything.
    End,
    /// Right after an event; `None`: before everything.
    Late {
        /// The event.
        after: Option<OwnedEventId>,
    },
    /// Before an event that is there already, or before everything.
    Before {
        /// The event; `None`: before everything.
        follower: Option<OwnedEventId>,
        /// How many places before it: so many events less one are still to come in between.
        steps: usize,
    },
}

/// What is to be state of each key; `None`: nothing is.
pub type StatePage = Vec<((String, String), Option<OwnedEventId>)>;

/// The state of a room before somebody of this server enters it.
#[derive(Debug)]
pub enum StateAtEntry {
    /// All of it.
    Whole(StateIds),
    /// What was settled page by page, and this.
    Settled(StatePage),
}

/// What another server says of a room that a user of this one came into.
#[derive(Debug)]
pub struct Entered {
    /// The room, which was made for this or was left by everybody here.
    pub room: OwnedRoomId,
    /// Its version, as its first event says.
    pub version: RoomVersionId,
    /// Its state before the join; all of it is known as outliers.
    pub state: StateAtEntry,
    /// The join.
    pub event: NewEvent,
}
