//! Encryption, as far as readers are told of it: whose devices changed.

use ruma::{OwnedUserId, UserId};

use super::{look::Look, news::DeviceLists};
use crate::server::{
    change::position::LogPosition, devices::keys::Keys, rooms::Members, sight::rooms::Encounters,
    store::StoreError,
};

/// Of whom the reader met, the devices are to be asked for; of whom they share no room with any longer, to be
/// forgotten.
pub(super) async fn device_lists(
    look: &Look<'_>,
    keys: &Keys,
    members: &Members,
    encounters: &Encounters,
) -> Result<DeviceLists, StoreError> {
    // At first a client asks for the devices of everybody it wants to write to anyway.
    if look.is_first {
        return Ok(DeviceLists::default());
    }
    let (me, log) = (&look.session.user, look.log);
    let mut changed = encounters.met.clone();
    if log.since < log.upto {
        changed.extend(device_lists_changed(keys, members, me, log.since, log.upto).await?);
    }
    let left = encounters.parted.iter().filter(|user| !members.shares_room(me, user)).cloned().collect();
    let mut lists = DeviceLists { changed, left };
    let DeviceLists { changed, left } = &mut lists;
    changed.retain(|user| !left.contains(user));
    Ok(lists)
}

/// Those whose devices or keys changed between two positions, as far as it concerns `reader`: the reader, and
/// whoever shares a room.
async fn device_lists_changed(
    keys: &Keys,
    members: &Members,
    reader: &UserId,
    since: LogPosition,
    upto: LogPosition,
) -> Result<Vec<OwnedUserId>, StoreError> {
    let mut changed = keys.lists_changed(since, upto).await?;
    changed.retain(|user| user == reader || members.shares_room(reader, user));
    if keys.has_own_news(reader, since, upto) {
        changed.push(reader.to_owned());
    }
    Ok(changed)
}
