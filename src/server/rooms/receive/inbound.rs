//! What other servers sent and was not looked at yet, as the rooms own it.

use std::collections::{BTreeMap, VecDeque};

use parking_lot::Mutex;
use ruma::{EventId, OwnedEventId, OwnedRoomId, OwnedServerName};
use tokio::{sync::oneshot, task::AbortHandle};

use super::check::Unproven;

/// What became of an event, for whoever sent it: what it should know. That it was not allowed is its own affair.
pub type Answer = Result<(), String>;

/// The lanes. Only those are here in which something is under way.
#[derive(Debug, Default)]
pub(in crate::server::rooms) struct Inbound(pub(super) Mutex<BTreeMap<Key, Waiting>>);

/// A room, and the server that sends.
pub(super) type Key = (OwnedRoomId, OwnedServerName);

/// What waits in a lane.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    pub(super) jobs: VecDeque<Job>,
    /// Who works it off.
    pub(super) task: Option<AbortHandle>,
}

impl Inbound {
    /// Ends all lanes, whatever they wait for.
    pub(in crate::server::rooms) fn stop(&self) {
        let lanes = std::mem::take(&mut *self.0.lock());
        lanes.values().filter_map(|lane| lane.task.as_ref()).for_each(AbortHandle::abort);
    }
}

/// An event that waits for its turn on a lane.
#[derive(Debug)]
pub(in crate::server::rooms) struct Job {
    pub(super) pdu: Unproven,
    pub(super) done: oneshot::Sender<Answer>,
}

impl Job {
    pub(super) fn new(pdu: Unproven) -> (Self, Pending) {
        let (done, receiver) = oneshot::channel();
        let event_id = pdu.event_id().to_owned();
        (Self { pdu, done }, Pending { event_id, done: receiver })
    }
}

/// An event that is looked at; resolves when it was.
#[derive(Debug)]
pub struct Pending {
    event_id: OwnedEventId,
    done: oneshot::Receiver<Answer>,
}

impl Pending {
    /// The event.
    pub fn event_id(&self) -> &EventId {
        &self.event_id
    }

    /// What became of it; `None`: this server ended before, or failed.
    pub async fn answer(&mut self) -> Option<Answer> {
        (&mut self.done).await.ok()
    }
}

/// So many events of this room and server wait that no more are taken.
#[derive(Clone, Copy, Debug)]
pub struct Crowded;
