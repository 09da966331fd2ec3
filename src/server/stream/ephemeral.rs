//! Who types and who has read, as a reader is told.

use ruma::{OwnedRoomId, OwnedUserId, RoomId};

use super::look::Look;
use crate::server::{
    change::position::LogPosition,
    rooms::{Members, receipts::Receipts, typing::Typing},
    store::{Receipt, Store, StoreError},
};

/// Joined rooms in which somebody began or ceased to type, or read.
pub(super) fn rooms_with_news(
    look: &Look<'_>,
    typing: &Typing,
    receipts: &Receipts,
    members: &Members,
) -> Vec<OwnedRoomId> {
    let user = &look.session.user;
    let mut rooms = typing.changed(look.live.since, look.live.upto);
    rooms.retain(|room| members.is_joined(user, room));
    let since = look.log.since;
    if since < look.log.upto && receipts.latest() > since {
        let joined = members.joined_rooms(user);
        rooms.extend(joined.into_iter().filter(|room| receipts.position(room, user) > since));
    }
    rooms
}

/// Who types in `room`; `None`: as the reader knows. To whom the room `is_new`, nobody is nothing to tell.
pub(super) fn who_types(
    look: &Look<'_>,
    typing: &Typing,
    room: &RoomId,
    is_new: bool,
) -> Option<Vec<OwnedUserId>> {
    if !look.filter.ephemeral(room, "m.typing") {
        return None;
    }
    let position = typing.position(room);
    let changed = position > look.live.since && position <= look.live.upto;
    if !is_new && !changed {
        return None;
    }
    let mut users = typing.in_room(room);
    users.retain(|user| !look.ignores(user));
    (!is_new || !users.is_empty()).then_some(users)
}

/// The receipts of `room` that are newer than `since`, but for those of who is ignored.
pub(super) async fn who_has_read(
    look: &Look<'_>,
    receipts: &Receipts,
    store: &Store,
    room: &RoomId,
    since: LogPosition,
) -> Result<Vec<Receipt>, StoreError> {
    let user = &look.session.user;
    if look.filter.ephemeral(room, "m.receipt") && receipts.position(room, user) > since {
        let mut receipts = store.receipts(room, user, since, look.log.upto).await?;
        receipts.retain(|receipt| !look.ignores(&receipt.user));
        Ok(receipts)
    } else {
        Ok(Vec::new())
    }
}
