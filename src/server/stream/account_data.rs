//! The user's own data: for all rooms, and for single ones.

use std::collections::BTreeMap;

use ruma::{OwnedRoomId, RoomId};

use super::{encounters::Passage, look::Look, news::OwnDataNews};
use crate::server::{
    accounts::{
        data::{OwnData, PUSH_RULES},
        default_rules::default_rules,
    },
    change::position::LogPosition,
    event::stored::Membership,
    store::{AccountData, Store, StoreError},
};

/// What changed.
#[derive(Debug, Default)]
pub(super) struct Changed {
    /// For all rooms.
    pub(super) global: Vec<AccountData>,
    /// For single ones.
    pub(super) of_rooms: BTreeMap<OwnedRoomId, Vec<AccountData>>,
}

/// What changed, for all rooms and for single ones.
pub(super) async fn changed(
    look: &Look<'_>,
    own_data: &OwnData,
    store: &Store,
) -> Result<Changed, StoreError> {
    let mut changed = Changed::default();
    let (user, log) = (&look.session.user, look.log);
    if own_data.has_news(user, log.since) {
        for data in store.account_data_since(user, log.since, log.upto).await? {
            match &data.room {
                None => changed.global.push(data),
                Some(room) => changed.of_rooms.entry(room.clone()).or_default().push(data),
            }
        }
    }
    Ok(changed)
}

/// Of what changed for all rooms, what the reader wants; at first also Matrix's push rules, where the user made
/// none.
pub(super) fn global(look: &Look<'_>, mut changed: Vec<AccountData>) -> OwnDataNews {
    let has_rules = !look.is_first || changed.iter().any(|data| data.kind == PUSH_RULES);
    let wants_default_rules = !has_rules && look.filter.account_data(PUSH_RULES);
    let default_rules = wants_default_rules.then(|| Box::new(default_rules(&look.session.user)));
    changed.retain(|data| look.filter.account_data(&data.kind));
    OwnDataNews { changed, default_rules }
}

/// What is to be told with `room`, of which `changed` changed: all of it to a reader who was not in the room
/// before.
pub(super) async fn of_room(
    look: &Look<'_>,
    (own_data, store): (&OwnData, &Store),
    room: &RoomId,
    passage: Passage,
    changed: Option<Vec<AccountData>>,
) -> Result<Vec<AccountData>, StoreError> {
    let user = &look.session.user;
    let was_there = passage.was == Some(Membership::Join);
    // From the start on, what changed is everything.
    let is_all = look.log.since == LogPosition::START || !own_data.has_news(user, LogPosition::START);
    let mut data = if was_there || is_all {
        changed.unwrap_or_default()
    } else {
        store.account_data_of_room(user, room, look.log.upto).await?
    };
    data.retain(|data| look.filter.room_account_data(room, &data.kind));
    Ok(data)
}
