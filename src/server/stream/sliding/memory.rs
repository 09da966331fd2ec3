//! What sliding sync remembers between requests.

use std::hash::RandomState;

use super::{connections::Connections, known_rooms::KnownRooms};
use crate::server::stream::filter::Filter;

/// What sliding sync remembers between requests.
#[derive(Debug)]
pub struct Sliding {
    /// Where each connection is.
    pub connections: Connections,
    /// Rooms that lists asked about.
    pub known: KnownRooms,
    /// By which members are remembered.
    pub(super) marks: RandomState,
    pub(super) with_presence: Filter,
    pub(super) without_presence: Filter,
}

impl Default for Sliding {
    fn default() -> Self {
        Self {
            connections: Connections::default(),
            known: KnownRooms::default(),
            marks: RandomState::new(),
            with_presence: Filter::default(),
            without_presence: Filter::without_presence(),
        }
    }
}
