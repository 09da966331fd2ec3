//! How much a user has not read in all their rooms together.

use std::collections::{BTreeMap, BTreeSet};

use ruma::{OwnedRoomId, UserId};

use crate::server::{
    change::position::LogPosition,
    stream::{Parts, Refusal, Sources},
};

/// Rooms that are counted before others get a turn.
const AT_ONCE: usize = 16;

/// What was counted for one user.
#[derive(Debug, Default)]
pub(super) struct Badge {
    upto: LogPosition,
    /// Of the rooms in which there is something. At most those that the user is in.
    rooms: BTreeMap<OwnedRoomId, u64>,
}

impl Badge {
    /// Counts up to `upto`: only the rooms in which something happened, and those where the user has `read`.
    pub(super) async fn count(
        &mut self,
        sources: &Sources,
        user: &UserId,
        upto: LogPosition,
        read: BTreeSet<OwnedRoomId>,
    ) -> Result<u64, Refusal> {
        let Parts { members, store, own_data, .. } = sources.parts();
        let counted_otherwise = self.upto == LogPosition::START || own_data.has_news(user, self.upto);
        let recent = match counted_otherwise {
            true => None,
            false => store.recent_events(self.upto, |e| members.is_joined(user, &e.room_id)),
        };
        let mut changed: BTreeSet<OwnedRoomId> = match recent {
            Some(events) => events.iter().map(|event| event.room_id.clone()).collect(),
            None => {
                self.rooms.clear();
                members.joined_rooms(user).into_iter().collect()
            }
        };
        changed.extend(read);
        self.rooms.retain(|room, _| members.is_joined(user, room));
        for (n, room) in changed.into_iter().enumerate() {
            if n % AT_ONCE == AT_ONCE - 1 {
                tokio::task::yield_now().await;
            }
            let unread = sources.unread(user, &room, upto).await?.map_or(0, |unread| unread.notifications);
            match unread {
                0 => self.rooms.remove(&room),
                unread => self.rooms.insert(room, unread),
            };
        }
        self.upto = upto;
        Ok(self.rooms.values().sum())
    }
}
