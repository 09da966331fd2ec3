//! Who came in sight of a reader since a position, and who went out of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ruma::{OwnedUserId, RoomId, UserId};

use super::{rooms::Encounters, visibility::Sight};
use crate::{
    core::visibility::Share,
    server::{
        change::position::{LivePosition, LogPosition},
        event::stored::{Membership, StoredEvent},
    },
};

/// Whom a reader has to be told of, though they show nothing else than before.
#[derive(Debug, Default)]
pub struct Sighted {
    /// The reader sees them, and perhaps did not, or saw what holds no longer.
    pub came: BTreeSet<OwnedUserId>,
    /// The reader does not see them, and perhaps did: once, that nothing is known (L2).
    pub went: BTreeSet<OwnedUserId>,
}

impl Sight {
    /// Who came in sight of `reader` and went out of it up to `upto`, where a look ends that asks by now: who came in sight
    /// only after that is told with the next. The reader was told
    /// everything up to `told`; the start: by an earlier run of the server, whose positions say nothing here, so
    /// that both are everybody whom they may have seen then; `None`: nothing yet. `encounters` are those in rooms
    /// since then.
    pub fn since(
        &self,
        reader: &UserId,
        encounters: &Encounters,
        told: Option<LivePosition>,
        upto: (LogPosition, LivePosition),
    ) -> Sighted {
        let since = told.unwrap_or_default();
        let by_list = self.by_list.changed_for(reader, since, upto.1);
        let by_share = self.by_list.shares_changed(since);
        let seen = |(user, before): &(OwnedUserId, Option<Share>)| {
            before.map(|before| self.might_see(reader, user, before))
        };
        // Where it is not known whether the reader saw them, both.
        let perhaps_seen = by_share.iter().filter(|change| {
            seen(change).unwrap_or_else(|| self.might_see(reader, &change.0, Share::SharedRooms))
        });
        let by_room = encounters.met.iter().chain(&encounters.crossed);
        // Those who were seen as well: what they showed last can have been left out while they shared with fewer.
        let any_share = by_share.iter().map(|(user, _)| user);
        let mut came: BTreeSet<OwnedUserId> = by_room.chain(&by_list).chain(any_share).cloned().collect();
        let mut went = BTreeSet::new();
        match told {
            None => {}
            Some(LivePosition::START) => {
                let mut seen = BTreeSet::new();
                self.each_perhaps_seen(reader, |user| {
                    if !seen.contains(user) {
                        seen.insert(user.to_owned());
                    }
                });
                came.extend(seen.iter().cloned());
                went.extend(seen);
                // With whom they shared then is not known.
                went.extend(encounters.parted.iter().chain(&encounters.dimmed).cloned());
            }
            Some(_) => {
                went.extend(perhaps_seen.map(|(user, _)| user.clone()));
                went.extend(by_list);
                let shared_rooms = |user: &UserId| {
                    self.by_list.share_at(user, since).is_none_or(|share| share == Share::SharedRooms)
                };
                went.extend(encounters.dimmed.iter().filter(|user| shared_rooms(user)).cloned());
            }
        }
        came.retain(|user| user != reader && self.may_see_since(reader, user, upto));
        went.retain(|user| user != reader && !self.may_see_since(reader, user, upto));
        Sighted { came, went }
    }

    /// Those whom `reader` saw by a room where their look begins, and cannot see by now, though they part, or the room
    /// grows too large, only after the look's end. What is asked of them by now says what was so at the end neither of
    /// them nor of the room; so they are told with this look, as [went](Sighted::went). `events` are the memberships that
    /// were said after the end, and the look goes from `since` to `upto`.
    ///
    /// To be asked after [`Self::since`], unless everything [is settled](Self::is_settled).
    pub fn parted_later(
        &self,
        reader: &UserId,
        events: &[Arc<StoredEvent>],
        told: LivePosition,
        (since, upto): (LogPosition, LogPosition),
    ) -> BTreeSet<OwnedUserId> {
        let is_from_before = told == LivePosition::START;
        let mut rooms: BTreeMap<&RoomId, Vec<&UserId>> = BTreeMap::new();
        for event in events {
            if let Some((user, Membership::Leave | Membership::Ban)) = event.membership()
                && let Ok(user) = <&UserId>::try_from(user)
            {
                rooms.entry(&event.room_id).or_default().push(user);
            } else {
                rooms.entry(&event.room_id).or_default();
            }
        }
        let mut parted = BTreeSet::new();
        for (room, gone) in rooms {
            let is_gone = gone.contains(&reader);
            let was_there = is_gone || self.members.is_joined(reader, room);
            if !was_there || !is_from_before && !self.members.counted_at(room, since) {
                continue;
            }
            parted.extend(gone.into_iter().map(ToOwned::to_owned));
            if is_gone {
                self.members.each_joined(room, |user| {
                    parted.insert(user.clone());
                });
            } else {
                parted.extend(self.members.crossed_since(room, upto));
            }
        }
        let shared_rooms = |user: &UserId| {
            let share = self.by_list.share_at(user, told);
            is_from_before || share.is_none_or(|share| share == Share::SharedRooms)
        };
        parted.retain(|user| user != reader && shared_rooms(user) && !self.may_see(reader, user));
        parted
    }

    /// Runs `each` for everybody whom `reader` sees or may have seen in an earlier run of the server, for some more
    /// than once, and perhaps for `reader`; under a lock: it must be quick.
    ///
    /// What this run of the server knows of changes begins with it. A reader with a token of an earlier one,
    /// or whose device was told nothing for a while, is told again of all that they may have seen then: whom they
    /// cannot see any longer, and what is known of the others. A room that is too large may have been smaller then,
    /// or the limit another.
    pub fn each_perhaps_seen(&self, reader: &UserId, mut each: impl FnMut(&UserId)) {
        self.contacts.known_to(reader).iter().for_each(|user| each(user));
        self.members.each_sharing_a_room(reader, |user| each(user));
    }

    /// For how many that is, those of other servers counted in.
    pub fn reach(&self, reader: &UserId) -> usize {
        self.contacts.count_known_to(reader) + self.members.count_sharing_a_room(reader)
    }
}
