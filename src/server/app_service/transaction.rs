//! What is in a transaction: events in the order of the log, and what only lives beside them.

use std::collections::BTreeMap;

use ruma::{OwnedRoomId, RoomId};

use crate::server::{
    change::position::TimelinePosition,
    event::{
        client::{Beside, ClientFormat, append_with},
        stored::{Membership, StoredEvent},
    },
    json::Writer,
    rooms::receipts::append_in_room,
    session::Session,
    store::Receipt,
    stream::PageToken,
};

/// Events in one transaction, at most.
pub(super) const MAX_EVENTS: usize = 100;

/// Pieces of what only lives in one transaction, at most.
pub(super) const MAX_EPHEMERAL: usize = 100;

/// Bytes of a body from which on nothing more is put into it.
const MAX_BYTES: usize = 1 << 20;

/// A transaction while it is made.
#[derive(Debug, Default)]
pub(super) struct Draft {
    events: Vec<Vec<u8>>,
    ephemeral: Vec<Vec<u8>>,
    bytes: usize,
    began: Vec<OwnedRoomId>,
    ended: Vec<OwnedRoomId>,
}

impl Draft {
    /// Whether there is nothing in it.
    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty() && self.ephemeral.is_empty()
    }

    /// Whether nothing more goes into it.
    pub(super) fn is_full(&self) -> bool {
        self.events.len() >= MAX_EVENTS || self.ephemeral.len() >= MAX_EPHEMERAL || self.bytes >= MAX_BYTES
    }

    /// Adds an event, as `viewer` sees it; of an invite, with what the invited is shown of the room.
    pub(super) fn event(
        &mut self,
        event: &StoredEvent,
        (viewer, now_ms): (&Session, u64),
        room_state: Option<&str>,
    ) {
        let room_state = room_state.and_then(|state| serde_json::from_str(state).ok());
        let beside =
            Beside { room_state: room_state.map(|state| (Membership::Invite, state)), ..Beside::default() };
        let mut out = Vec::new();
        append_with(&mut out, event, (viewer, now_ms), ClientFormat::Full, beside);
        self.bytes += out.len();
        self.events.push(out);
    }

    /// Adds a piece of what only lives.
    pub(super) fn ephemeral(&mut self, piece: Vec<u8>) {
        self.bytes += piece.len();
        self.ephemeral.push(piece);
    }

    /// The application service is told of this room from here on.
    pub(super) fn begin(&mut self, room: OwnedRoomId) {
        self.ended.retain(|ended| *ended != room);
        self.began.push(room);
    }

    /// It is not told of this room any longer.
    pub(super) fn end(&mut self, room: OwnedRoomId) {
        self.began.retain(|began| *began != room);
        self.ended.push(room);
    }

    /// The rooms that it is told of from here on, and those that it is told of no longer.
    pub(super) fn rooms(self) -> (Vec<OwnedRoomId>, Vec<OwnedRoomId>) {
        (self.began, self.ended)
    }

    /// The body.
    pub(super) fn body(&self) -> String {
        let mut body = Vec::with_capacity(self.bytes + 64);
        body.extend_from_slice(b"{\"events\":[");
        body.extend_from_slice(&self.events.join(&b","[..]));
        body.extend_from_slice(b"]");
        if !self.ephemeral.is_empty() {
            let pieces = self.ephemeral.join(&b","[..]);
            // Application services of before the specification had it read the second.
            for key in ["ephemeral", "de.sorunome.msc2409.ephemeral"] {
                body.extend_from_slice(format!(",\"{key}\":[").as_bytes());
                body.extend_from_slice(&pieces);
                body.extend_from_slice(b"]");
            }
        }
        body.extend_from_slice(b"}");
        String::from_utf8(body).expect("is put together from JSON")
    }
}

/// From where a room that the application service is told of from here on is scrolled back (M7).
pub(super) fn joined(room: &RoomId, from: TimelinePosition) -> Vec<u8> {
    let mut out = Writer::object();
    let content = out.open("content");
    out.text("prev_batch", &PageToken(from).to_string());
    out.end(content);
    out.text("room_id", room.as_str());
    out.text("type", "org.pilotlight.joined");
    out.finish()
}

/// Who types in a room.
pub(super) fn typing(room: &RoomId, users: &[ruma::OwnedUserId]) -> Vec<u8> {
    let mut out = Writer::object();
    let content = out.open("content");
    let list = out.open_array("user_ids");
    users.iter().for_each(|user| out.string_element(user.as_str()));
    out.end_even_if_empty(list);
    out.end(content);
    out.text("room_id", room.as_str());
    out.text("type", "m.typing");
    out.finish()
}

/// Who has read, an event for each room.
pub(super) fn receipts(receipts: impl IntoIterator<Item = Receipt>) -> Vec<Vec<u8>> {
    let mut of_rooms: BTreeMap<OwnedRoomId, Vec<Receipt>> = BTreeMap::new();
    for receipt in receipts {
        of_rooms.entry(receipt.room.clone()).or_default().push(receipt);
    }
    let event = |(room, receipts): (OwnedRoomId, Vec<Receipt>)| {
        let mut out = Vec::new();
        append_in_room(&mut out, &room, &receipts);
        out
    };
    of_rooms.into_iter().map(event).collect()
}
