//! What goes into the queue, and what comes out of it.

use std::{collections::BTreeMap, sync::Arc};

use ruma::OwnedServerName;

use crate::server::{change::position::LogPosition, federation::edu::Edu};

/// The EDUs and the events in one transaction at most, by the specification.
pub(in crate::server::federation) const MAX_EDUS: usize = 100;
pub(in crate::server::federation) const MAX_PDUS: usize = 50;

/// An event that this server has to send.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Where it stands in the log.
    pub position: LogPosition,
    /// The servers in the room, this one among them or not.
    pub servers: Arc<BTreeMap<OwnedServerName, usize>>,
    /// One more, whose user it is about.
    pub also: Option<OwnedServerName>,
    /// One of them that has it already.
    pub except: Option<OwnedServerName>,
}

/// What is due.
#[derive(Debug)]
pub(in crate::server::federation) enum Due {
    /// To be sent; then report [`Queue::handle_delivered`], [`Queue::handle_failed`] or
    /// [`Queue::handle_refused`].
    Send(Transaction),
    /// To be looked up; then report [`Queue::handle_found`].
    Look(Look),
}

/// What to send to one destination, all of it or nothing.
#[derive(Debug)]
pub(in crate::server::federation) struct Transaction {
    pub(in crate::server::federation) destination: OwnedServerName,
    /// By their positions, in the order in which they are to be sent.
    pub(in crate::server::federation) events: Vec<LogPosition>,
    pub(in crate::server::federation) edus: Vec<Edu>,
    /// The things that it holds at most, of those about devices too.
    pub(in crate::server::federation) most: usize,
}

/// A destination was left behind: the newest of its rooms is to be looked up.
#[derive(Debug)]
pub(in crate::server::federation) struct Look {
    pub(in crate::server::federation) destination: OwnedServerName,
    /// It has everything up to this.
    pub(in crate::server::federation) since: LogPosition,
    /// What is after this waits for it already.
    pub(in crate::server::federation) upto: LogPosition,
}
