//! Whose turn it is to come into a room by another server.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};

use parking_lot::Mutex;
use ruma::{OwnedRoomId, RoomId};
use tokio::sync::OwnedMutexGuard;

/// How long somebody waits behind another who comes into the same room. Past that they go on by themselves: they may know
/// a server that answers.
const WAIT: Duration = Duration::from_secs(30);

/// Who comes into which room by another server: one after the other, as the first brings the room for all. Bounded by
/// the requests under way.
#[derive(Debug, Default)]
pub struct Entering(Mutex<HashMap<OwnedRoomId, Weak<tokio::sync::Mutex<()>>>>);

impl Entering {
    /// Waits for one's turn in a room; `None`: it did not come in time.
    pub(super) async fn turn(&self, room: &RoomId) -> Option<OwnedMutexGuard<()>> {
        let turn = {
            let mut turns = self.0.lock();
            turns.retain(|_, turn| turn.strong_count() > 0);
            let known = turns.get(room).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
                let turn = Arc::default();
                turns.insert(room.to_owned(), Arc::downgrade(&turn));
                turn
            })
        };
        tokio::time::timeout(WAIT, turn.lock_owned()).await.ok()
    }

    /// Waits until nobody comes into a room any longer.
    pub(super) async fn settled(&self, room: &RoomId) {
        let known = self.0.lock().get(room).and_then(Weak::upgrade);
        if let Some(turn) = known {
            drop(turn.lock().await);
        }
    }
}
