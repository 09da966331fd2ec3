//! How many are in a room, and who they are when it has no name to call it by.

use ruma::{OwnedUserId, RoomId, UserId};

use super::news::Summary;
use crate::server::{
    event::stored::Membership,
    rooms::Members,
    store::{Store, StoreError},
};

/// Members by whom a room without a name is called.
const HEROES: usize = 5;

/// How `reader` calls `room`.
pub(super) async fn summary(
    store: &Store,
    members: &Members,
    reader: &UserId,
    room: &RoomId,
) -> Result<Summary, StoreError> {
    let (joined, invited) = members.counts(room);
    let has_name = store.state_event(room, "m.room.name", "").await?.is_some()
        || store.state_event(room, "m.room.canonical_alias", "").await?.is_some();
    let heroes = if has_name { None } else { Some(heroes(store, reader, room).await?) };
    Ok(Summary { joined, invited, heroes })
}

/// Those who are in the room or invited, without the reader; if there are none, those who left.
async fn heroes(store: &Store, reader: &UserId, room: &RoomId) -> Result<Vec<OwnedUserId>, StoreError> {
    let members = store.current_state_of_type(room, "m.room.member").await?;
    let of = |wanted: &dyn Fn(Membership) -> bool| -> Vec<OwnedUserId> {
        let them = members.iter().filter_map(|e| e.membership()).filter(|(_, m)| wanted(*m));
        let ids = them.filter_map(|(user, _)| UserId::parse(user).ok());
        ids.filter(|user| user != reader).take(HEROES).collect()
    };
    let present = of(&|m| matches!(m, Membership::Join | Membership::Invite));
    Ok(if present.is_empty() { of(&|m| matches!(m, Membership::Leave | Membership::Ban)) } else { present })
}
