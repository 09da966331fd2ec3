//! What all couriers have in common, and what those of one user do.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use ruma::OwnedRoomId;
use tokio::sync::watch;

use super::{badge::Badge, gateways::Gateways};
use crate::server::{
    change::position::LogPosition,
    outgoing::client::Client,
    stream::{Parts, Sources},
};

/// How long the last requests may take when the server stops.
const LAST_SENDING: Duration = Duration::from_secs(1);

/// What all couriers have in common.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) sources: Sources,
    pub(super) gateways: Gateways,
    stopping: AtomicBool,
    under_way: watch::Sender<usize>,
}

/// What one user's pushers have in common.
#[derive(Debug, Default)]
pub(super) struct OfUser {
    pub(super) badge: tokio::sync::Mutex<Badge>,
    pub(super) reads: Mutex<Reads>,
    /// What each was told, by its number. As many as the user has.
    pub(super) known: Mutex<BTreeMap<i64, Known>>,
}

/// Where a user has read.
#[derive(Debug, Default)]
pub(super) struct Reads {
    /// How often.
    pub(super) count: u64,
    /// The rooms that have not been counted since. At most those that they are in.
    pub(super) rooms: BTreeSet<OwnedRoomId>,
}

/// What the gateway of a pusher knows.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Known {
    /// Everything up to here.
    pub(super) told: LogPosition,
    /// How often the user had read when it was told how much is unread.
    pub(super) reads: u64,
    /// How much that was, if it was told.
    pub(super) unread: Option<u64>,
}

/// Something is being sent, until dropped.
#[derive(Debug)]
pub(super) struct Sending<'a>(&'a watch::Sender<usize>);

impl Shared {
    pub(super) fn new(client: Client, parts: Arc<Parts>) -> Self {
        Self {
            gateways: Gateways::new(client, parts.clock.clone(), rand::random()),
            sources: Sources::new(parts),
            stopping: AtomicBool::new(false),
            under_way: watch::Sender::new(0),
        }
    }

    /// Before the end: nothing further is begun, and what is under way is waited for, within [`LAST_SENDING`].
    pub(super) async fn settle(&self) {
        self.stopping.store(true, Ordering::Release);
        let mut under_way = self.under_way.subscribe();
        let settled = under_way.wait_for(|count| *count == 0);
        if tokio::time::timeout(LAST_SENDING, settled).await.is_err() {
            tracing::info!(
                "a push gateway did not answer before the end: it is told again after the next start"
            );
        }
    }

    /// How much is being sent.
    pub(super) fn on_the_way(&self) -> usize {
        *self.under_way.borrow()
    }

    /// Begins to send something; `None`: the server stops.
    pub(super) fn begin(&self) -> Option<Sending<'_>> {
        self.under_way.send_modify(|count| *count += 1);
        let sending = Sending(&self.under_way);
        (!self.stopping.load(Ordering::Acquire)).then_some(sending)
    }
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}
