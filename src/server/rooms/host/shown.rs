//! What a room shows of itself to servers that are not in it: whole events, of which they make the stripped state for who is
//! invited or knocks. Server-server API, "Inviting to a room", "Knocking upon a room" (1.16).

use ruma::{RoomId, room_version_rules::RoomVersionRules};
use serde_json::value::RawValue;

use crate::server::{
    event::stored::StoredEvent,
    rooms::{
        append::SHOWN_TO_INVITED,
        parts::Rooms,
        receive::check::{Flaw, read},
        refusal::Refusal,
    },
};

impl Rooms {
    /// What somebody outside a room may know of it, the room's first event before all.
    ///
    /// # Errors
    /// [`Refusal::Store`] when the store fails.
    pub async fn shown_outside(&self, room: &RoomId) -> Result<Vec<Box<RawValue>>, Refusal> {
        let mut events = self.store.keyless_state(room, &SHOWN_TO_INVITED).await?;
        events.sort_by_key(|event| SHOWN_TO_INVITED.iter().position(|kind| *kind == event.kind));
        events.iter().map(|event| whole(event)).collect()
    }
}

/// An event as other servers know it.
pub(super) fn whole(event: &StoredEvent) -> Result<Box<RawValue>, Refusal> {
    RawValue::from_string(event.pdu.to_string()).map_err(|e| Refusal::Internal(e.to_string()))
}

/// Refuses events of another room. What is no whole event is only shown: there are servers that say no more. Nobody looks
/// at signatures: what is shown is believed by nothing here.
pub(super) fn check_shown(
    rules: &RoomVersionRules,
    room: &RoomId,
    shown: &[Box<RawValue>],
) -> Result<(), Refusal> {
    let is_of_another = |event: &RawValue| matches!(read(rules, room, event.get()), Err(Flaw::OtherRoom));
    match shown.iter().any(|event| is_of_another(event)) {
        true => Err(Refusal::InvalidParam("invite_room_state is of another room".into())),
        false => Ok(()),
    }
}
