//! Read receipts: who has read how far, durable, and shown to the room or to the reader alone.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};

use parking_lot::{Mutex, MutexGuard};
use ruma::{OwnedRoomId, OwnedUserId, RoomId, UserId};
use serde::Serialize;

use crate::server::{
    change::{feed::Change, position::LogPosition},
    json::append_string,
    store::{Receipt, Store, StoreError},
};

/// Last receipts that are held in memory, for those who are told at once.
const MAX_RECENT: usize = 1024;

/// Where in the log each room's last receipt is, so that readers ask the store only for news.
/// Bounded by the rooms that have a receipt, and the private receipts.
#[derive(Debug)]
pub struct Receipts(Mutex<Positions>);

#[derive(Debug, Default)]
struct Positions {
    /// Of receipts that everybody in the room may see.
    shown: HashMap<OwnedRoomId, LogPosition>,
    /// Of those that only their user may see.
    own: HashMap<OwnedUserId, HashMap<OwnedRoomId, LogPosition>>,
    latest: LogPosition,
    /// The last ones, in the order of the log; at most [`MAX_RECENT`].
    recent: VecDeque<(LogPosition, Arc<Receipt>)>,
    /// All after this are among them.
    recent_after: LogPosition,
}

impl Receipts {
    /// Reads the positions from the store.
    pub async fn load(store: &Store) -> Result<Self, StoreError> {
        let mut positions = Positions::default();
        for (room, viewer, position) in store.receipt_positions().await? {
            positions.put(room, viewer, position);
        }
        positions.recent_after = positions.latest;
        Ok(Self(Mutex::new(positions)))
    }

    /// The position of the last receipt anywhere.
    pub fn latest(&self) -> LogPosition {
        self.lock().latest
    }

    /// The position of the last receipt in `room` that `viewer`, who is in it, may see; 0: there is none.
    pub fn position(&self, room: &RoomId, viewer: &UserId) -> LogPosition {
        let positions = self.lock();
        let shown = positions.shown.get(room).copied().unwrap_or_default();
        let own = positions.own.get(viewer).and_then(|rooms| rooms.get(room)).copied().unwrap_or_default();
        shown.max(own)
    }

    /// The receipts after `since`, up to and including `upto`, in the order of the log; `None`: there were more since then
    /// than are in memory.
    pub fn between(&self, since: LogPosition, upto: LogPosition) -> Option<Vec<(LogPosition, Arc<Receipt>)>> {
        let positions = self.lock();
        if positions.latest <= since {
            return Some(Vec::new());
        }
        if positions.recent_after > since {
            return None;
        }
        let first = positions.recent.partition_point(|(position, _)| *position <= since);
        let after = positions.recent.range(first..).take_while(|(position, _)| *position <= upto);
        Some(after.cloned().collect())
    }

    /// Takes note of a receipt.
    pub fn follow(&self, change: &Change) {
        if let Change::Receipt { receipt, position } = change {
            let mut positions = self.lock();
            let viewer = (!receipt.shown).then(|| receipt.user.clone());
            positions.put(receipt.room.clone(), viewer, *position);
            if positions.recent.len() >= MAX_RECENT
                && let Some((oldest, _)) = positions.recent.pop_front()
            {
                positions.recent_after = oldest;
            }
            positions.recent.push_back((*position, Arc::clone(receipt)));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Positions> {
        self.0.lock()
    }
}

impl Positions {
    fn put(&mut self, room: OwnedRoomId, viewer: Option<OwnedUserId>, position: LogPosition) {
        match viewer {
            Some(viewer) => self.own.entry(viewer).or_default().insert(room, position),
            None => self.shown.insert(room, position),
        };
        self.latest = self.latest.max(position);
    }
}

/// The `m.receipt` event for some receipts of one room, as JSON text.
pub fn event<'a>(receipts: impl IntoIterator<Item = &'a Receipt>) -> String {
    format!(r#"{{"type":"m.receipt","content":{}}}"#, content(receipts))
}

/// The content of that event. It has room for one receipt of a user on an event: of those in threads and the one without,
/// which says what they say and more, that one, as Synapse has it; of several in threads the last.
pub fn content<'a>(receipts: impl IntoIterator<Item = &'a Receipt>) -> String {
    #[derive(Serialize)]
    struct Data<'a> {
        ts: u64,
        #[serde(skip_serializing_if = "str::is_empty")]
        thread_id: &'a str,
    }
    let mut content: BTreeMap<&str, BTreeMap<&str, BTreeMap<&str, Data<'_>>>> = BTreeMap::new();
    for r in receipts {
        let readers = content.entry(&r.event).or_default().entry(&r.kind).or_default();
        let is_implied = |told: &Data<'_>| told.thread_id.is_empty() && !r.thread.is_empty();
        if !readers.get(r.user.as_str()).is_some_and(is_implied) {
            readers.insert(r.user.as_str(), Data { ts: r.ts_ms, thread_id: &r.thread });
        }
    }
    serde_json::to_string(&content).expect("maps of strings and numbers are JSON")
}

/// Appends the same, with the room that it is of.
pub fn append_in_room(out: &mut Vec<u8>, room: &RoomId, receipts: &[Receipt]) {
    let event = event(receipts);
    out.extend_from_slice(event.strip_suffix('}').unwrap_or(&event).as_bytes());
    out.extend_from_slice(br#","room_id":"#);
    append_string(out, room.as_str());
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receipts_are_grouped_by_event_kind_and_user() {
        let receipt = |user: &str, kind: &str, thread: &str, event: &str| Receipt {
            room: "!r:x".try_into().expect("is a room ID"),
            user: user.try_into().expect("is a user ID"),
            kind: kind.into(),
            thread: thread.into(),
            event: event.into(),
            ts_ms: 7,
            shown: true,
        };
        let json = event(&[
            receipt("@a:x", "m.read", "", "$1"),
            receipt("@b:x", "m.read", "main", "$1"),
            receipt("@a:x", "m.read.private", "", "$2"),
        ]);
        let expected = concat!(
            r#"{"type":"m.receipt","content":{"$1":{"m.read":{"@a:x":{"ts":7},"@b:x":{"ts":7,"thread_id":"main"}}},"#,
            r#""$2":{"m.read.private":{"@a:x":{"ts":7}}}}}"#
        );
        assert_eq!(json, expected);
    }

    #[test]
    fn of_one_users_receipts_on_one_event_the_one_without_a_thread_is_told_in_any_order() {
        let receipt = |ts_ms: u64, kind: &str, thread: &str| Receipt {
            room: "!r:x".try_into().expect("is a room ID"),
            user: "@a:x".try_into().expect("is a user ID"),
            kind: kind.into(),
            thread: thread.into(),
            event: "$1".into(),
            ts_ms,
            shown: true,
        };
        let (read, private) = ("m.read", "m.read.private");
        for (told, expected) in [
            (vec![(1, read, ""), (2, read, "main")], r#"{"m.read":{"@a:x":{"ts":1}}}"#),
            (vec![(1, read, "main"), (2, read, "")], r#"{"m.read":{"@a:x":{"ts":2}}}"#),
            (vec![(1, read, "$t"), (2, read, ""), (3, read, "main")], r#"{"m.read":{"@a:x":{"ts":2}}}"#),
            (vec![(1, read, ""), (2, read, "")], r#"{"m.read":{"@a:x":{"ts":2}}}"#),
            (vec![(1, read, "$t"), (2, read, "main")], r#"{"m.read":{"@a:x":{"ts":2,"thread_id":"main"}}}"#),
            (
                vec![(1, private, ""), (2, read, "main")],
                r#"{"m.read":{"@a:x":{"ts":2,"thread_id":"main"}},"m.read.private":{"@a:x":{"ts":1}}}"#,
            ),
        ] {
            let told: Vec<_> = told.into_iter().map(|(ts, kind, thread)| receipt(ts, kind, thread)).collect();
            assert_eq!(content(&told), format!(r#"{{"$1":{expected}}}"#), "{told:?}");
        }
    }
}
