//! Which members a device with lazily loaded members has been told of.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use parking_lot::{Mutex, MutexGuard};
use ruma::{OwnedDeviceId, OwnedRoomId, OwnedUserId, RoomId};

use crate::server::{change::position::LogPosition, session::Session};

/// Devices whose members are kept at most; beyond it all are forgotten, and told again.
const MAX_DEVICES: usize = 50_000;

/// Members that are kept of one device at most; beyond it all of it are forgotten, and told again.
const MAX_MEMBERS: usize = 5_000;

/// By device: the members told of, each with the log position up to which the device was told when it was
/// told of them. A device that comes back with an earlier token may not have got that answer.
#[derive(Debug, Default)]
pub struct LazyMembers(Mutex<HashMap<(OwnedUserId, OwnedDeviceId), Told>>);

type Told = BTreeMap<OwnedRoomId, HashMap<OwnedUserId, LogPosition>>;

impl LazyMembers {
    /// Of `members` of a room, those that the device at the position `since` is to be told of.
    pub(super) fn untold(
        &self,
        session: &Session,
        room: &RoomId,
        since: LogPosition,
        mut members: BTreeSet<OwnedUserId>,
    ) -> BTreeSet<OwnedUserId> {
        let key = (session.user.clone(), session.device.clone());
        let devices = self.lock();
        let told = devices.get(&key).and_then(|told| told.get(room));
        members.retain(|member| told.and_then(|t| t.get(member)).is_none_or(|at| *at > since));
        members
    }

    /// The device is told a room whole: whatever it was told of its members, it may have dropped with the room.
    pub(super) fn begin(&self, session: &Session, room: &RoomId) {
        let key = (session.user.clone(), session.device.clone());
        if let Some(told) = self.lock().get_mut(&key) {
            told.remove(room);
        }
    }

    /// The device is told of `members` of a room in an answer that goes up to the position `upto`.
    pub(super) fn note(
        &self,
        session: &Session,
        room: &RoomId,
        upto: LogPosition,
        members: Vec<OwnedUserId>,
    ) {
        if members.is_empty() {
            return;
        }
        let mut devices = self.lock();
        let key = (session.user.clone(), session.device.clone());
        if devices.len() >= MAX_DEVICES && !devices.contains_key(&key) {
            devices.clear();
        }
        let told = devices.entry(key).or_default();
        if told.values().map(HashMap::len).sum::<usize>() + members.len() > MAX_MEMBERS {
            told.clear();
        }
        let of_room = told.entry(room.to_owned()).or_default();
        of_room.extend(members.into_iter().map(|member| (member, upto)));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(OwnedUserId, OwnedDeviceId), Told>> {
        self.0.lock()
    }
}

#[cfg(test)]
mod tests {
    use ruma::{room_id, user_id};

    use super::*;

    #[test]
    fn a_member_is_told_once_unless_the_answer_was_lost() {
        let lazy = LazyMembers::default();
        let session = Session { user: user_id!("@a:x").to_owned(), device: "A".into() };
        let (room, bob, carol) = (room_id!("!r:x"), user_id!("@b:x").to_owned(), user_id!("@c:x").to_owned());
        let both = || BTreeSet::from([bob.clone(), carol.clone()]);
        assert_eq!(lazy.untold(&session, room, LogPosition::new(5), both()), both());
        lazy.note(&session, room, LogPosition::new(8), vec![bob.clone()]);
        assert_eq!(lazy.untold(&session, room, LogPosition::new(8), both()), BTreeSet::from([carol.clone()]));
        assert_eq!(
            lazy.untold(&session, room, LogPosition::new(5), both()),
            both(),
            "the answer up to 8 was lost"
        );
        assert_eq!(lazy.untold(&session, room_id!("!other:x"), LogPosition::new(8), both()), both());
        lazy.begin(&session, room_id!("!other:x"));
        assert_eq!(lazy.untold(&session, room, LogPosition::new(8), both()), BTreeSet::from([carol.clone()]));
        lazy.begin(&session, room);
        assert_eq!(lazy.untold(&session, room, LogPosition::new(8), both()), both(), "it began anew");
        let other = Session { device: "B".into(), ..session };
        assert_eq!(lazy.untold(&other, room, LogPosition::new(8), both()), both());
    }
}
