//! What lists of rooms ask of every room, kept in memory: where it ends, of which type it is, whether it is encrypted.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use ruma::OwnedRoomId;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::server::{
    change::{feed::Change, position::LogPosition},
    store::{Store, StoreError},
};

/// Rooms that are known at most; beyond it all are forgotten, and asked for again.
const MAX_ROOMS: usize = 200_000;

/// What of a room decides whether a list has it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Nature {
    /// The type in its `m.room.create`.
    pub(super) kind: Option<String>,
    /// It has an `m.room.encryption`.
    pub(super) is_encrypted: bool,
}

/// Rooms that lists asked about.
#[derive(Debug, Default)]
pub struct KnownRooms(Mutex<HashMap<OwnedRoomId, Known>>);

#[derive(Debug, Default)]
struct Known {
    /// Where the log has its last event. What is appended while the room is asked for counts as well.
    last: LogPosition,
    is_asked: bool,
    nature: Option<Arc<Nature>>,
}

#[derive(Deserialize)]
struct Create {
    #[serde(rename = "type")]
    kind: Option<String>,
}

impl Nature {
    /// By the stripped state that came with an invite or a knock; `None`: it does not say what the room is.
    pub(super) fn of_stripped(stripped: &str) -> Option<Self> {
        #[derive(Deserialize)]
        struct Event {
            #[serde(rename = "type")]
            kind: String,
            #[serde(default)]
            state_key: Option<String>,
            content: Box<RawValue>,
        }
        let events: Vec<Event> = serde_json::from_str(stripped).ok()?;
        let find = |kind: &str| {
            events.iter().find(|e| e.kind == kind && e.state_key.as_deref().is_none_or(str::is_empty))
        };
        let create = find("m.room.create")?;
        let kind = serde_json::from_str::<Create>(create.content.get()).ok().and_then(|create| create.kind);
        Some(Self { kind, is_encrypted: find("m.room.encryption").is_some() })
    }
}

impl KnownRooms {
    /// Takes what is appended to a room that is known, and forgets one whose state came to be something else.
    pub fn follow(&self, change: &Change) {
        if let Change::Resolved(resolved) = change {
            self.0.lock().remove(&resolved.room_id);
        }
        let Change::Appended(event) = change else { return };
        if let Some(known) = self.0.lock().get_mut(&event.room_id) {
            known.last = event.position;
            // How it is encrypted changes; that it is, does not any longer. A room is asked about again all the same.
            if event.is_state("m.room.encryption", "") {
                known.nature = None;
            }
        }
    }

    /// Where each of `rooms` ends.
    pub(super) async fn ends(
        &self,
        store: &Store,
        rooms: &[OwnedRoomId],
    ) -> Result<Vec<LogPosition>, StoreError> {
        let unknown = {
            let mut known = self.0.lock();
            if known.len() + rooms.len() > MAX_ROOMS {
                known.clear();
            }
            let is_unknown = |room: &&OwnedRoomId| !known.get(*room).is_some_and(|known| known.is_asked);
            let unknown: Vec<_> = rooms.iter().filter(is_unknown).cloned().collect();
            for room in &unknown {
                if !known.contains_key(room) {
                    known.insert(room.clone(), Known::default());
                }
            }
            unknown
        };
        let found = if unknown.is_empty() { Vec::new() } else { store.ends(&unknown).await? };
        let mut known = self.0.lock();
        for (room, end) in unknown.into_iter().zip(found) {
            let known = known.entry(room).or_default();
            known.last = known.last.max(end);
            known.is_asked = true;
        }
        Ok(rooms.iter().map(|room| known.get(room).map_or(LogPosition::START, |known| known.last)).collect())
    }

    /// What `room` is.
    pub(super) async fn nature(&self, store: &Store, room: &OwnedRoomId) -> Result<Arc<Nature>, StoreError> {
        if let Some(nature) = self.0.lock().get(room).and_then(|known| known.nature.clone()) {
            return Ok(nature);
        }
        let mut nature = Nature::default();
        let before = store.log_position();
        for event in store.keyless_state(room, &["m.room.create", "m.room.encryption"]).await? {
            match &*event.kind {
                "m.room.create" => nature.kind = event.content_as::<Create>().and_then(|create| create.kind),
                _ => nature.is_encrypted = true,
            }
        }
        let nature = Arc::new(nature);
        // Not kept of a room in which something happened meanwhile.
        if let Some(known) = self.0.lock().get_mut(room).filter(|known| known.last <= before) {
            known.nature = Some(Arc::clone(&nature));
        }
        Ok(nature)
    }
}
