//! Why an act of several services was not brought to its end.

use crate::server::{
    contacts,
    finish::Interrupted,
    rooms,
    store::{NotProven, StoreError},
};

/// The refusal of the step that failed.
#[derive(Debug)]
pub enum Refusal {
    /// In the rooms.
    Rooms(rooms::Refusal),
    /// On the presence lists.
    Contacts(contacts::refusal::Refusal),
    /// What was checked holds no longer.
    Outdated,
    /// In the store.
    Store(StoreError),
    /// It was interrupted.
    Interrupted(Interrupted),
}

impl From<rooms::Refusal> for Refusal {
    fn from(refusal: rooms::Refusal) -> Self {
        Self::Rooms(refusal)
    }
}

impl From<contacts::refusal::Refusal> for Refusal {
    fn from(refusal: contacts::refusal::Refusal) -> Self {
        Self::Contacts(refusal)
    }
}

impl From<StoreError> for Refusal {
    fn from(e: StoreError) -> Self {
        Self::Store(e)
    }
}

impl From<NotProven> for Refusal {
    fn from(e: NotProven) -> Self {
        match e {
            NotProven::Outdated => Self::Outdated,
            NotProven::Store(e) => Self::Store(e),
        }
    }
}

impl From<Interrupted> for Refusal {
    fn from(e: Interrupted) -> Self {
        Self::Interrupted(e)
    }
}
