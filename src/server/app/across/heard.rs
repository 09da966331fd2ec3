//! What other servers said of rooms, for a while.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use ruma::{OwnedRoomId, RoomId};
use tokio::time::Instant;

use crate::server::rooms::Space;

/// How long what a server said of a room holds, and of how many it is kept.
const HOLDS: Duration = Duration::from_secs(300);
const MAX_KEPT: usize = 200;

/// What was asked: of which room, and whether of what is suggested only.
type Asked = (OwnedRoomId, bool);

/// What other servers said of rooms.
#[derive(Debug, Default)]
pub struct Heard(Mutex<BTreeMap<Asked, (Instant, Arc<Space>)>>);

impl Heard {
    pub(super) fn find(&self, room: &RoomId, suggested_only: bool) -> Option<Arc<Space>> {
        let heard = self.0.lock();
        let (at, space) = heard.get(&(room.to_owned(), suggested_only))?;
        (at.elapsed() < HOLDS).then(|| Arc::clone(space))
    }

    pub(super) fn keep(&self, room: &RoomId, suggested_only: bool, space: &Arc<Space>) {
        let mut heard = self.0.lock();
        if heard.len() >= MAX_KEPT {
            heard.retain(|_, (at, _)| at.elapsed() < HOLDS);
        }
        if heard.len() < MAX_KEPT {
            heard.insert((room.to_owned(), suggested_only), (Instant::now(), Arc::clone(space)));
        }
    }
}
