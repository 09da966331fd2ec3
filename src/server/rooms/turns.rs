//! Whose turn it is in a room, and what is on its way to the disk there.
//!
//! Acts of one room are judged one after the other, each upon what the one before it will have made of the room;
//! they do not wait for the disk in between, so that many share one sync. When one of them is not written after
//! all, those judged upon it are not either (they assumed its events), and are judged again.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use parking_lot::Mutex;
use ruma::{OwnedRoomId, RoomId};
use tokio::sync::OwnedMutexGuard;

use super::pdu::{Pdu, StateKey};
use crate::server::store::{Extremity, Once, RoomRow};

/// The rooms in which somebody acts. Bounded by the requests under way: a room is here as long as one of them
/// waits for its turn, has it, or waits for the disk.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<HashMap<OwnedRoomId, Arc<Room>>>);

#[derive(Debug, Default)]
struct Room {
    turn: Arc<tokio::sync::Mutex<()>>,
    pending: Mutex<Pending>,
    /// Rings when nothing is in flight any longer.
    settled: tokio::sync::Notify,
}

/// What acts in flight, all of them together, make of a room.
#[derive(Debug, Default)]
struct Pending {
    /// How often everything in flight was given up.
    epoch: u64,
    in_flight: usize,
    /// The number of the last act.
    act: u64,
    /// `None`: nothing is in flight.
    head: Option<Head>,
    /// The state that changes, each with the act that changes it last.
    state: BTreeMap<StateKey, (u64, Arc<Pdu>)>,
    once: BTreeSet<Once>,
}

/// A room as the next act finds it.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub(super) room: RoomRow,
    pub(super) extremities: Vec<Extremity>,
}

/// The right to judge and to queue an act in one room; the next one gets it when this is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    _guard: OwnedMutexGuard<()>,
    here: Here,
}

/// An act that was queued and is not known to be on the disk. Dropped without an answer, it counts as failed.
#[derive(Debug)]
pub(super) struct InFlight {
    here: Here,
    epoch: u64,
    act: u64,
    keys: Vec<StateKey>,
    once: Option<Once>,
    settled: bool,
}

/// Keeps a room among the [`Turns`].
#[derive(Debug)]
struct Here {
    turns: Arc<Turns>,
    id: OwnedRoomId,
    room: Option<Arc<Room>>,
}

impl Turns {
    /// Waits for one's turn in a room; in the order of asking.
    pub(super) async fn wait(self: &Arc<Self>, id: &RoomId) -> Turn {
        let here = self.enter(id);
        let turn = Arc::clone(&here.room().turn);
        Turn { _guard: turn.lock_owned().await, here }
    }

    fn enter(self: &Arc<Self>, id: &RoomId) -> Here {
        let room = Arc::clone(self.0.lock().entry(id.to_owned()).or_default());
        Here { turns: Arc::clone(self), id: id.to_owned(), room: Some(room) }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.lock().len()
    }
}

impl Here {
    fn room(&self) -> &Room {
        self.room.as_ref().expect("is taken only when this is dropped")
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        let mut rooms = self.turns.0.lock();
        let Some(room) = self.room.take() else { return };
        // Handles are made under the same lock: this is the last one when there is one more, that of the map.
        if Arc::strong_count(&room) == 2 {
            rooms.remove(&self.id);
        }
    }
}

impl Turn {
    /// The room.
    pub(super) fn room_id(&self) -> &RoomId {
        &self.here.id
    }

    /// Waits until nothing is in flight: the room is as on the disk then, and stays so as long as this is the turn.
    pub(super) async fn settle(&self) {
        let room = self.here.room();
        loop {
            let settled = room.settled.notified();
            if room.pending.lock().in_flight == 0 {
                return;
            }
            settled.await;
        }
    }

    /// The room as acts in flight leave it; `None`: nothing is in flight, it is as on the disk.
    pub(super) fn head(&self) -> Option<Head> {
        self.here.room().pending.lock().head.clone()
    }

    /// A state event that an act in flight sets.
    pub(super) fn state(&self, key: &StateKey) -> Option<Arc<Pdu>> {
        self.here.room().pending.lock().state.get(key).map(|(_, pdu)| Arc::clone(pdu))
    }

    /// The state events of a type that acts in flight set.
    pub(super) fn state_of_type(&self, kind: &str) -> Vec<Arc<Pdu>> {
        let pending = self.here.room().pending.lock();
        let of_type =
            pending.state.range((kind.to_owned(), String::new())..).take_while(|((k, _), _)| k == kind);
        of_type.map(|(_, (_, pdu))| Arc::clone(pdu)).collect()
    }

    /// Whether this request is in flight already.
    pub(super) fn is_in_flight(&self, once: &Once) -> bool {
        self.here.room().pending.lock().once.contains(once)
    }

    /// An act was queued that makes this of the room.
    pub(super) fn queued(
        &self,
        head: Head,
        state: BTreeMap<StateKey, Arc<Pdu>>,
        once: Option<Once>,
    ) -> InFlight {
        let mut pending = self.here.room().pending.lock();
        pending.act += 1;
        pending.in_flight += 1;
        pending.head = Some(head);
        let act = pending.act;
        let keys = state.keys().cloned().collect();
        pending.state.extend(state.into_iter().map(|(key, pdu)| (key, (act, pdu))));
        pending.once.extend(once.clone());
        let epoch = pending.epoch;
        drop(pending);
        InFlight { here: self.here.turns.enter(&self.here.id), epoch, act, keys, once, settled: false }
    }
}

impl InFlight {
    /// The act is on the disk.
    pub(super) fn committed(mut self) {
        self.settled = true;
        let mut pending = self.here.room().pending.lock();
        if pending.epoch != self.epoch {
            return;
        }
        for key in &self.keys {
            if pending.state.get(key).is_some_and(|(act, _)| *act == self.act) {
                pending.state.remove(key);
            }
        }
        if let Some(once) = &self.once {
            pending.once.remove(once);
        }
        pending.in_flight -= 1;
        if pending.in_flight == 0 {
            pending.head = None;
            self.here.room().settled.notify_waiters();
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        let mut pending = self.here.room().pending.lock();
        // What was judged upon it fails as well: whoever comes next begins with what is on the disk.
        if pending.epoch == self.epoch {
            *pending = Pending { epoch: self.epoch + 1, act: pending.act, ..Pending::default() };
            self.here.room().settled.notify_waiters();
        }
    }
}
