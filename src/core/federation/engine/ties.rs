//! What is kept of rooms that tie users here to those of other servers.

use std::collections::BTreeMap;

/// A room that ties its members, by the handle it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Room(pub u32);

/// Who is in one room, by slot, each in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Ties {
    pub(super) locals: Vec<u32>,
    pub(super) remotes: Vec<u32>,
    /// The servers of those, and how many users of each.
    pub(super) peers: BTreeMap<u32, u32>,
    /// How many of the locals have a client that wants to see others.
    pub(super) readers: u32,
}

/// What rooms mean to one of this server's users.
#[derive(Clone, Debug, Default)]
pub(super) struct OfLocal {
    pub(super) rooms: Vec<Room>,
    /// Shows nothing to who only shares a room with them.
    pub(super) is_reserved: bool,
}
