//! A batch of events on the way to their places in a room: what came of each, and what is known meanwhile.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ruma::{OwnedEventId, room_version_rules::RoomVersionRules};

use crate::server::{
    rooms::{judge::State, parts::Rooms, pdu::Pdu, refusal::Refusal, turns::Turn},
    store::{DeepPlace, RoomChange, RoomRow, StateIds},
};

/// PDUs by their IDs.
pub(super) type Pdus = BTreeMap<OwnedEventId, Arc<Pdu>>;

/// States before events that follow what is not here, as other servers say them; all of their events are here.
pub(super) type Given = BTreeMap<OwnedEventId, Arc<StateIds>>;

/// How events came.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Way {
    /// Their server sent them, or they were asked for to understand such.
    Live,
    /// Their server handed them in here, to be told to everybody.
    OnBehalf,
    /// They were asked for to show what was before.
    Past,
}

/// What became of an event.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// It was here already, and has its place.
    Known,
    /// It has its place.
    Accepted,
    /// Nobody is shown it.
    SoftFailed(String),
    /// It was not allowed.
    Rejected(String),
    /// It cannot be an event of this room; it is not kept.
    Refused(String),
    /// These have to be known first.
    Missing(Missing),
}

/// What an event names and is not here.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Missing {
    /// Of what it follows: events after which the state is not known.
    pub prev: Vec<OwnedEventId>,
    /// Of what allows it.
    pub auth: Vec<OwnedEventId>,
}

/// The events of one batch, as they get their place.
pub(super) struct Run<'a> {
    pub(super) rooms: &'a Rooms,
    pub(super) turn: &'a Turn,
    pub(super) room: RoomRow,
    pub(super) rules: RoomVersionRules,
    pub(super) create: Option<OwnedEventId>,
    pub(super) way: Way,
    pub(super) given: &'a Given,
    /// Of what is past: before which events of the timeline each of it stands, and how many do from it on.
    pub(super) places: BTreeMap<OwnedEventId, (OwnedEventId, usize)>,
    /// Where an event of the past stands that comes by itself and nothing here follows; `None`: it is not past.
    pub(super) alone: Option<DeepPlace>,
    /// What the room ends with on the disk.
    pub(super) on_disk: BTreeSet<OwnedEventId>,
    /// What it ends with when the changes are written.
    pub(super) ends: BTreeSet<OwnedEventId>,
    /// Events that the changes append.
    pub(super) appended: Pdus,
    /// The state that they set.
    pub(super) state: State,
    pub(super) changes: Vec<RoomChange>,
}

/// Why a run ended.
pub(super) enum Stopped {
    Overtaken,
    Refused(Refusal),
}

impl<T: Into<Refusal>> From<T> for Stopped {
    fn from(refusal: T) -> Self {
        Self::Refused(refusal.into())
    }
}

/// The state before an event.
pub(super) enum Before {
    /// What it is after this one, of this group.
    After(OwnedEventId, i64),
    Whole(Arc<StateIds>),
    /// The event is the room's first.
    Nothing,
}
