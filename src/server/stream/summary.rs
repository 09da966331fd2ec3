//! How many are in a room, and who they are when it has no name to call it by.

use ruma::{OwnedUserId, RoomId, UserId};
use serde::Deserialize;

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
    let has_name =
        names(store, room, "m.room.name").await? || names(store, room, "m.room.canonical_alias").await?;
    let heroes = if has_name { None } else { Some(heroes(store, reader, room).await?) };
    Ok(Summary { joined, invited, heroes })
}

/// Whether state of this type, a name or an alias, says something to call the room by.
async fn names(store: &Store, room: &RoomId, kind: &str) -> Result<bool, StoreError> {
    #[derive(Deserialize)]
    struct Content {
        #[serde(alias = "alias")]
        name: String,
    }
    let event = store.state_event(room, kind, "").await?;
    let content: Option<Content> = event.as_ref().and_then(|event| event.content_as());
    Ok(content.is_some_and(|content| !content.name.is_empty()))
}

/// Those who are in the room or invited, without the reader; if there are none, those who left.
pub(super) async fn heroes(
    store: &Store,
    reader: &UserId,
    room: &RoomId,
) -> Result<Vec<OwnedUserId>, StoreError> {
    for memberships in [[Membership::Join, Membership::Invite], [Membership::Leave, Membership::Ban]] {
        let first = store.first_members(room, memberships, HEROES + 1).await?;
        let others: Vec<_> = first.iter().filter(|user| *user != reader).take(HEROES).cloned().collect();
        if !others.is_empty() {
            return Ok(others);
        }
    }
    Ok(Vec::new())
}
