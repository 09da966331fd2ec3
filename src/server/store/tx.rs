//! A write that is under way.

use std::{cell::RefCell, ops::Deref};

use rusqlite::Connection;

use crate::server::change::feed::Change;

/// The connection inside a write, and what the write will have to tell when it is on the disk.
#[derive(Debug)]
pub(super) struct Tx<'c> {
    connection: &'c Connection,
    changes: RefCell<Vec<Change>>,
}

impl<'c> Tx<'c> {
    pub(super) fn new(connection: &'c Connection) -> Self {
        Self { connection, changes: RefCell::default() }
    }

    /// Tells `change` when this is on the disk, after what was told before.
    pub(super) fn tell(&self, change: Change) {
        self.changes.borrow_mut().push(change);
    }

    /// What was told.
    pub(super) fn into_changes(self) -> Vec<Change> {
        self.changes.into_inner()
    }
}

impl Deref for Tx<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection
    }
}
