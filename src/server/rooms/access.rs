//! Who may see which events of a room: membership and history visibility.
//!
//! Client-server API, "Room history visibility".

use std::sync::Arc;

use ruma::{RoomId, UserId};
use serde::Deserialize;

use super::{parts::Rooms, refusal::Refusal};
use crate::server::{
    change::position::TimelinePosition,
    event::stored::{Membership, StoredEvent},
};

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
enum Visibility {
    WorldReadable,
    Shared,
    Invited,
    Joined,
}

impl Visibility {
    /// An unknown word counts as the default, `shared`.
    fn of(event: &StoredEvent) -> Self {
        #[derive(Deserialize)]
        struct Content {
            history_visibility: String,
        }
        match event.content_as::<Content>().as_ref().map(|c| c.history_visibility.as_str()) {
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
        let was_in_it = |membership: Membership| match membership {
            Membership::Leave | Membership::Ban => Some(Access::Until(row.timeline)),
            Membership::Join | Membership::Invite | Membership::Knock => None,
        };
        let joined_once = self.store.last_join(user, room).await?.is_some();
        was_in_it(row.membership).filter(|_| joined_once).ok_or_else(forbidden)
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
        let visibilities: Vec<(TimelinePosition, Visibility)> = self
            .store
            .state_event_between(room, "m.room.history_visibility", "", range)
            .await?
            .iter()
            .map(|event| (event.timeline, Visibility::of(event)))
            .collect();
        let memberships: Vec<(TimelinePosition, Membership)> = self
            .store
            .state_event_between(room, "m.room.member", user.as_str(), range)
            .await?
            .iter()
            .filter_map(|event| Some((event.timeline, event.membership()?.1)))
            .collect();
        let last_join = self.store.last_join(user, room).await?;
        // Before an event and after it, so that an event that changes either is seen from both sides.
        let around = |position: TimelinePosition| {
            [position.before(), position].map(|at| {
                (at_position(&visibilities, at).unwrap_or(Visibility::Shared), at_position(&memberships, at))
            })
        };
        events.retain(|event| {
            let joined_later = last_join.is_some_and(|join| join > event.timeline);
            around(event.timeline).into_iter().any(|(v, m)| may_see(v, m, joined_later))
        });
        Ok(events)
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
    fn the_value_at_a_position_is_the_last_one_set() {
        let history = [(TimelinePosition::new(3), 'a'), (TimelinePosition::new(7), 'b')];
        let rows = [(2, None), (3, Some('a')), (6, Some('a')), (7, Some('b')), (99, Some('b'))];
        for (position, value) in rows {
            assert_eq!(at_position(&history, TimelinePosition::new(position)), value);
        }
    }
}
