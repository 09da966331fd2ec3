//! Who may see which events of a room: membership and history visibility.
//!
//! Client-server API, "Room history visibility".

use std::{collections::BTreeSet, sync::Arc};

use ruma::{RoomId, UserId};
use serde::Deserialize;

use super::{parts::Rooms, refusal::Refusal};
use crate::server::{
    change::position::TimelinePosition,
    event::stored::{Membership, StoredEvent},
    store::Side,
};

/// Parts of a timeline that [`Rooms::parts_seen`] tells apart, at most: who came and went more often is told less of
/// what is gathered.
const MAX_PARTS: usize = 32;

/// How far somebody may look into a room.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Access {
    /// Is in the room: the current state, and the events that [`visible_events`] lets through.
    Joined,
    /// Was in the room until this place of its timeline: the state of then, and events up to it.
    Until(TimelinePosition),
    /// Is not in the room, which anybody may look into.
    Peek,
}

/// Who sees the events that are sent while a room has this setting.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Visibility {
    WorldReadable,
    Shared,
    Invited,
    Joined,
}

impl Visibility {
    fn of(event: &StoredEvent) -> Self {
        #[derive(Deserialize)]
        struct Content {
            history_visibility: String,
        }
        Self::of_word(event.content_as::<Content>().as_ref().map(|c| c.history_visibility.as_str()))
    }

    /// An unknown word counts as the default, `shared`.
    pub(super) fn of_word(word: Option<&str>) -> Self {
        match word {
            Some("world_readable") => Self::WorldReadable,
            Some("invited") => Self::Invited,
            Some("joined") => Self::Joined,
            _ => Self::Shared,
        }
    }
}

impl Rooms {
    /// How far `user` may look into `room`.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`]: not at all; the same for a room that does not exist.
    pub async fn access(&self, user: &UserId, room: &RoomId) -> Result<Access, Refusal> {
        if self.members.is_joined(user, room) {
            return Ok(Access::Joined);
        }
        let current = self.store.state_event(room, "m.room.history_visibility", "").await?;
        if current.is_some_and(|event| Visibility::of(&event) == Visibility::WorldReadable) {
            return Ok(Access::Peek);
        }
        let forbidden = || Refusal::Forbidden("you are not in this room".into());
        let row =
            self.store.membership(user, room).await?.filter(|row| !row.forgotten).ok_or_else(forbidden)?;
        let past = self.store.past(user, room, row.timeline).await?;
        let stay_ended = past.and_then(|past| past.last_ended).ok_or_else(forbidden)?;
        match row.membership {
            Membership::Leave | Membership::Ban => Ok(Access::Until(row.timeline)),
            // On the way in again: what they saw while they were there is theirs all the same.
            Membership::Invite | Membership::Knock => Ok(Access::Until(TimelinePosition::live(stay_ended))),
            Membership::Join => Err(forbidden()),
        }
    }

    /// The events of one room, in any order, that `user` may see.
    ///
    /// Asks the store three times for the whole list. For events after the user's join, while the user is
    /// joined, the answer is always yes: a reader who knows that need not ask.
    ///
    /// # Errors
    /// [`Refusal::Store`] when the store fails.
    pub async fn visible_events(
        &self,
        user: &UserId,
        room: &RoomId,
        mut events: Vec<Arc<StoredEvent>>,
    ) -> Result<Vec<Arc<StoredEvent>>, Refusal> {
        let positions = events.iter().map(|event| event.timeline);
        let Some((first, last)) = positions.clone().min().zip(positions.max()) else { return Ok(events) };
        // The value before the first event counts as well.
        let range = (first.before(), last);
        let visibilities = self.visibilities(room, range).await?;
        let last_join = self.store.last_join(user, room).await?;
        let parts = self.visible_parts(user, room, (&visibilities, last_join), range).await?;
        let mut seen_late = BTreeSet::new();
        for event in events.iter().filter(|event| event.comes_late()) {
            if self.may_see_late(user, event, last_join).await? {
                seen_late.insert(event.position);
            }
        }
        // That they are gone, and why, everybody may know of themselves.
        let is_own_end = |event: &StoredEvent| {
            let (who, becomes) = event.membership().unzip();
            who == Some(user.as_str()) && matches!(becomes, Some(Membership::Leave | Membership::Ban))
        };
        events.retain(|event| {
            if event.is_hidden() {
                return false;
            }
            if event.comes_late() {
                return seen_late.contains(&event.position) || is_own_end(event);
            }
            let before = parts.partition_point(|(_, to)| *to < event.timeline);
            parts.get(before).is_some_and(|(after, _)| *after < event.timeline) || is_own_end(event)
        });
        Ok(events)
    }

    /// The parts of a room's timeline up to `until` that `user` may see, in order: each after one place, up to and
    /// including another. Of more than [`MAX_PARTS`] the last.
    ///
    /// Asks the store once for somebody who is in a room that showed its members everything at all times, else three
    /// times.
    ///
    /// # Errors
    /// [`Refusal::Store`] when the store fails.
    pub(super) async fn parts_seen(
        &self,
        user: &UserId,
        room: &RoomId,
        until: TimelinePosition,
    ) -> Result<Vec<(TimelinePosition, TimelinePosition)>, Refusal> {
        let range = (TimelinePosition::START, until);
        let visibilities = self.visibilities(room, range).await?;
        let shows_all = |v: &Visibility| matches!(v, Visibility::WorldReadable | Visibility::Shared);
        if self.members.is_joined(user, room) && visibilities.iter().all(|(_, v)| shows_all(v)) {
            return Ok(vec![range]);
        }
        let last_join = self.store.last_join(user, room).await?;
        let mut parts = self.visible_parts(user, room, (&visibilities, last_join), range).await?;
        parts.drain(..parts.len().saturating_sub(MAX_PARTS));
        Ok(parts)
    }

    /// What a room's history visibility was set to at the first place or later, up to the second.
    async fn visibilities(
        &self,
        room: &RoomId,
        range: (TimelinePosition, TimelinePosition),
    ) -> Result<Vec<(TimelinePosition, Visibility)>, Refusal> {
        let range = (range.0.last_live(), range.1.last_live());
        let set = self.store.state_event_between(room, "m.room.history_visibility", "", range).await?;
        let visibility =
            |event: Option<Arc<StoredEvent>>| event.map_or(Visibility::Shared, |e| Visibility::of(&e));
        Ok(set.into_iter().map(|(at, event)| (TimelinePosition::live(at), visibility(event))).collect())
    }

    async fn visible_parts(
        &self,
        user: &UserId,
        room: &RoomId,
        (visibilities, last_join): (&[(TimelinePosition, Visibility)], Option<TimelinePosition>),
        range: (TimelinePosition, TimelinePosition),
    ) -> Result<Vec<(TimelinePosition, TimelinePosition)>, Refusal> {
        let log = (range.0.last_live(), range.1.last_live());
        let own = self.store.state_event_between(room, "m.room.member", user.as_str(), log).await?;
        let own = own.iter().map(|(at, event)| {
            let is =
                event.as_ref().and_then(|event| event.membership()).map_or(Membership::Leave, |(_, is)| is);
            (TimelinePosition::live(*at), is)
        });
        Ok(visible_parts(visibilities, &own.collect::<Vec<_>>(), last_join, range))
    }

    /// The same for one event that came late: by the state around it, and not by what the room was when it came. As one
    /// that changes either is seen from both sides, what it says itself counts as well.
    async fn may_see_late(
        &self,
        user: &UserId,
        event: &StoredEvent,
        last_join: Option<TimelinePosition>,
    ) -> Result<bool, Refusal> {
        let joins_later = last_join.is_some_and(|join| join >= event.timeline);
        for side in [Side::Before, Side::After] {
            let setting =
                self.store.state_event_around(event.position, side, "m.room.history_visibility", "").await?;
            let own =
                self.store.state_event_around(event.position, side, "m.room.member", user.as_str()).await?;
            let visibility = setting.map_or(Visibility::Shared, |event| Visibility::of(&event));
            let membership = own.as_ref().and_then(|own| own.membership()).map(|(_, is)| is);
            if may_see(visibility, membership, joins_later) {
                return Ok(true);
            }
            if event.state_key.is_none() {
                break;
            }
        }
        Ok(false)
    }

    /// Whether `user` may see one event of a room.
    ///
    /// # Errors
    /// [`Refusal::Store`] when the store fails.
    pub async fn may_see_event(&self, user: &UserId, event: &Arc<StoredEvent>) -> Result<bool, Refusal> {
        Ok(!self.visible_events(user, &event.room_id, vec![Arc::clone(event)]).await?.is_empty())
    }
}

/// The rule itself, for the setting and the user's membership at the time of the event.
fn may_see(visibility: Visibility, membership: Option<Membership>, joined_later: bool) -> bool {
    match (visibility, membership) {
        (Visibility::WorldReadable, _) | (_, Some(Membership::Join)) => true,
        (Visibility::Shared, _) => joined_later,
        (Visibility::Invited, Some(Membership::Invite)) => true,
        (Visibility::Invited | Visibility::Joined, _) => false,
    }
}

/// The parts of a range of a timeline that somebody may see, in order and apart from each other, by the values of the
/// setting and of their membership that were set in it (and the last ones before it).
///
/// An event that changes either is seen from both sides: it belongs to the part before it and to the one after it.
fn visible_parts(
    visibilities: &[(TimelinePosition, Visibility)],
    memberships: &[(TimelinePosition, Membership)],
    last_join: Option<TimelinePosition>,
    (low, high): (TimelinePosition, TimelinePosition),
) -> Vec<(TimelinePosition, TimelinePosition)> {
    let mut changes: Vec<TimelinePosition> =
        visibilities.iter().map(|(at, _)| *at).chain(memberships.iter().map(|(at, _)| *at)).collect();
    changes.sort_unstable();
    changes.dedup();
    let begins = std::iter::once(TimelinePosition::START).chain(changes.iter().copied());
    let ends = changes.iter().copied().chain([high]);
    let mut parts: Vec<(TimelinePosition, TimelinePosition)> = Vec::new();
    for (begin, end) in begins.zip(ends) {
        let visibility = at_position(visibilities, begin).unwrap_or(Visibility::Shared);
        let membership = at_position(memberships, begin);
        let end = if may_see(visibility, membership, false) {
            end
        } else if let Some(join) = last_join.filter(|_| may_see(visibility, membership, true)) {
            end.min(join)
        } else {
            continue;
        };
        let (after, to) = (begin.before().max(low), end.min(high));
        if after >= to {
            continue;
        }
        match parts.last_mut() {
            Some((_, before)) if *before >= after => *before = to.max(*before),
            _ => parts.push((after, to)),
        }
    }
    parts
}

/// The last value that was set at or before a position.
fn at_position<T: Copy>(history: &[(TimelinePosition, T)], position: TimelinePosition) -> Option<T> {
    let after = history.partition_point(|(set, _)| *set <= position);
    after.checked_sub(1).map(|last| history[last].1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn history_visibility_is_the_specifications_table() {
        use Membership::{Ban, Invite, Join, Knock, Leave};
        use Visibility::{Invited, Joined, Shared, WorldReadable};
        let all = [None, Some(Invite), Some(Join), Some(Knock), Some(Leave), Some(Ban)];
        for membership in all {
            let joined = membership == Some(Join);
            // Columns: now only, and when the user joins (again) later.
            let rows = [
                (WorldReadable, true, true),
                (Shared, joined, true),
                (Invited, joined || membership == Some(Invite), joined || membership == Some(Invite)),
                (Joined, joined, joined),
            ];
            for (visibility, alone, later) in rows {
                assert_eq!(may_see(visibility, membership, false), alone, "{visibility:?} {membership:?}");
                assert_eq!(may_see(visibility, membership, true), later, "{visibility:?} {membership:?}");
            }
        }
    }

    #[test]
    fn what_is_seen_of_a_timeline_are_the_parts_in_which_the_rule_holds() {
        use Membership::{Invite, Join, Leave};
        use Visibility::{Invited, Joined, Shared, WorldReadable};
        let at = TimelinePosition::new;
        let (start, end) = (TimelinePosition::START, at(99));
        let was_there = [(10, Join), (20, Leave), (30, Join)];
        let came_once = [(10, Invite), (20, Join), (30, Leave)];
        let rows: [(&[_], &[_], Option<i64>, &[_]); 8] = [
            // Who never joins later sees what is sent while they are in the room, and how they came and went.
            (&[(1, Joined)], &was_there, Some(30), &[(start, at(1)), (at(9), at(20)), (at(29), end)]),
            (&[(1, Shared)], &was_there, Some(30), &[(start, end)]),
            (&[], &was_there, Some(30), &[(start, end)]),
            (&[(1, Shared)], &came_once, Some(20), &[(start, at(30))]),
            (&[(1, Invited)], &came_once, Some(20), &[(start, at(1)), (at(9), at(30))]),
            (&[(1, WorldReadable), (25, Joined)], &came_once, Some(20), &[(start, at(30))]),
            (&[(1, Joined), (40, WorldReadable)], &[], None, &[(at(39), end)]),
            (&[(1, Shared)], &[], None, &[]),
        ];
        for (visibilities, memberships, last_join, parts) in rows {
            let visibilities: Vec<_> = visibilities.iter().map(|(p, v)| (at(*p), *v)).collect();
            let memberships: Vec<_> = memberships.iter().map(|(p, m)| (at(*p), *m)).collect();
            let found = visible_parts(&visibilities, &memberships, last_join.map(at), (start, end));
            assert_eq!(found, parts, "{visibilities:?} {memberships:?}");
            let some = visible_parts(&visibilities, &memberships, last_join.map(at), (at(15), at(35)));
            let clipped: Vec<_> = parts.iter().map(|(a, b)| ((*a).max(at(15)), (*b).min(at(35)))).collect();
            assert_eq!(some, clipped.into_iter().filter(|(a, b)| a < b).collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_value_at_a_position_is_the_last_one_set() {
        let history = [(TimelinePosition::new(3), 'a'), (TimelinePosition::new(7), 'b')];
        let rows = [(2, None), (3, Some('a')), (6, Some('a')), (7, Some('b')), (99, Some('b'))];
        for (position, value) in rows {
            assert_eq!(at_position(&history, TimelinePosition::new(position)), value);
        }
    }
}
