//! In which rooms something happened that a reader has not seen yet, and what.

use std::{collections::BTreeMap, sync::Arc};

use ruma::{OwnedRoomId, RoomId};

use super::{encounters::Passage, look::Look};
use crate::server::{
    change::position::LogPosition,
    event::stored::{Membership, StoredEvent},
    rooms::Members,
    store::{MembershipRow, Store, StoreError},
};

/// Rooms that the reader has left which a first look, or one with full state, tells of again, when it is asked to: those
/// left last.
const MAX_LEFT_ROOMS: usize = 1_000;

/// What happened in a room since the reader's token.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// All events but those that came late, oldest first; `None`: too many to be in memory, they are read from the store.
    pub(super) events: Option<Vec<Arc<StoredEvent>>>,
    /// Those that came late, in the order of the log, if the others are here.
    pub(super) late: Vec<Arc<StoredEvent>>,
}

impl Window {
    /// Of a room in which nothing happened that is an event.
    pub(super) const fn quiet() -> Self {
        Self { events: Some(Vec::new()), late: Vec::new() }
    }

    /// What of it came after a position.
    pub(super) fn after(mut self, since: LogPosition) -> Self {
        if let Some(events) = &mut self.events {
            events.retain(|event| event.position > since);
        }
        self
    }
}

/// By room, in the order of their IDs.
pub(super) type Windows = BTreeMap<OwnedRoomId, Window>;

/// The rooms in which something happened, from memory; `None`: every room is looked at, or the token is older than what
/// is held in memory.
pub(super) fn recent(look: &Look<'_>, store: &Store, members: &Members) -> Option<Windows> {
    if look.is_first || look.full_state {
        return None;
    }
    let (user, log) = (&look.session.user, look.log);
    let mut windows = Windows::new();
    if log.since >= log.upto {
        return Some(windows);
    }
    let is_own = |e: &StoredEvent| e.is_state("m.room.member", user.as_str());
    let recent = store.recent_events(log.since, |e| members.is_joined(user, &e.room_id) || is_own(e))?;
    for event in recent {
        if event.position > log.upto {
            // What the reader is there by now is not what they are where this look ends.
            if is_own(&event) {
                windows.insert(event.room_id.clone(), Window::default());
            }
            continue;
        }
        if !windows.contains_key(&event.room_id) {
            windows.insert(event.room_id.clone(), Window::quiet());
        }
        let Some(window) = windows.get_mut(&event.room_id) else { continue };
        if event.comes_late() {
            window.late.push(event);
        } else {
            window.events.get_or_insert_default().push(event);
        }
    }
    Some(windows)
}

/// The rooms in which something happened.
pub(super) async fn windows(
    look: &Look<'_>,
    store: &Store,
    members: &Members,
) -> Result<Windows, StoreError> {
    if look.is_first || look.full_state {
        return every_room(look, store).await;
    }
    match recent(look, store, members) {
        Some(windows) => Ok(windows),
        None => windows_from_store(look, store, members).await,
    }
}

/// The same for a token that is older than what is held in memory: every room may have news.
async fn windows_from_store(
    look: &Look<'_>,
    store: &Store,
    members: &Members,
) -> Result<Windows, StoreError> {
    let joined = members.joined_rooms(&look.session.user).into_iter();
    let mut windows: Windows = joined.map(|room| (room, Window::default())).collect();
    for row in store.memberships(&look.session.user).await? {
        if row.position > look.log.since {
            windows.entry(row.room_id).or_default();
        }
    }
    Ok(windows)
}

/// For a first look, or one with full state: every room the reader is in or on the way into, and those of which that
/// was said after the end of this look.
async fn every_room(look: &Look<'_>, store: &Store) -> Result<Windows, StoreError> {
    Ok(told_of(look, store.memberships(&look.session.user).await?))
}

/// The same of all rooms that the reader is or was something in, by what was said last.
fn told_of(look: &Look<'_>, rows: Vec<MembershipRow>) -> Windows {
    let mut windows = Windows::new();
    let mut left = 0;
    for row in rows.into_iter().rev() {
        let is_told = match row.membership {
            Membership::Join | Membership::Invite | Membership::Knock => true,
            // That a room was left is told to every device, though another has it forgotten meanwhile, and however many.
            Membership::Leave | Membership::Ban if row.position > look.log.since && !look.is_first => true,
            Membership::Leave | Membership::Ban => {
                let is_wanted = !row.forgotten && look.filter.include_leave();
                left += usize::from(is_wanted);
                is_wanted && left <= MAX_LEFT_ROOMS
            }
        };
        if row.position > look.log.upto || is_told {
            windows.insert(row.room_id, Window::default());
        }
    }
    windows
}

/// Where the reader comes from in `room` and stands at the end of the look, as far as they are told. Costs a query only when something about it
/// changed since the look's beginning.
pub(super) async fn passage(
    look: &Look<'_>,
    store: &Store,
    members: &Members,
    room: &RoomId,
) -> Result<Passage, StoreError> {
    let user = &look.session.user;
    if !look.is_first && members.joined_at(user, room).is_some_and(|at| at <= look.log.since) {
        let joined = Some(Membership::Join);
        return Ok(Passage { was: joined, is: joined, ..Passage::default() });
    }
    let range = (look.log.since, look.log.upto);
    let history = store.state_event_between(room, "m.room.member", user.as_str(), range).await?;
    let mut passage = Passage::default();
    // An invitation by somebody whom the reader ignores, or that was not asked for, changes nothing for them: not that they
    // have left before it either.
    let is_unheard = |e: &StoredEvent| {
        let is_invite = e.membership().is_some_and(|(_, is)| is == Membership::Invite);
        e.is_unasked() || is_invite && look.ignores(&e.sender)
    };
    for (at, event) in history {
        if event.as_ref().is_some_and(|event| is_unheard(event)) {
            continue;
        }
        let membership =
            event.as_ref().and_then(|event| event.membership()).map(|(_, membership)| membership);
        if at <= range.0 {
            passage.was = membership;
        } else {
            let joined = membership == Some(Membership::Join);
            passage.joined_at = passage.joined_at.or(joined.then_some(at));
        }
        passage.is = membership;
        passage.position = at;
    }
    Ok(passage)
}

#[cfg(test)]
mod tests {
    use ruma::user_id;

    use super::*;
    use crate::{
        core::time::Instant,
        server::{
            change::position::{LivePosition, LogPosition, TimelinePosition},
            session::Session,
            stream::{behind::PresenceLook, filter::Filter, look::Stretch},
        },
    };

    /// Of rooms that the reader left, one at each position: up to `until`, `since` being the reader's token.
    fn told(filter: &str, since: Option<u64>, until: usize) -> Vec<String> {
        let rows = (1..=until).map(|n| MembershipRow {
            room_id: RoomId::parse(format!("!{n:05}:x")).expect("a room ID"),
            membership: Membership::Leave,
            position: LogPosition::new(n as u64),
            timeline: TimelinePosition::live(LogPosition::new(n as u64)),
            forgotten: n % 2 == 0,
            invite_state: None,
        });
        let session = Session { user: user_id!("@reader:x").to_owned(), device: "D".into() };
        let since_log = since.map_or(LogPosition::START, LogPosition::new);
        let look = Look {
            session: &session,
            filter: &Filter::parse(filter).expect("is a filter"),
            ignored: Arc::default(),
            is_first: since.is_none(),
            goes_on: since.is_some(),
            full_state: since.is_some(),
            state_at_end: false,
            log: Stretch { since: since_log, upto: LogPosition::new(until as u64) },
            live: Stretch { since: LivePosition::START, upto: LivePosition::START },
            to_device: LogPosition::START,
            presence: PresenceLook::NONE,
            entered: &[],
            uncounted: &[],
            now: Instant::ZERO,
        };
        told_of(&look, rows.collect()).into_keys().map(|room| room.to_string()).collect()
    }

    #[test]
    fn every_room_that_was_left_since_the_token_is_told_and_of_earlier_ones_so_many() {
        const LEAVES: &str = r#"{"room":{"include_leave":true}}"#;
        let room = |n: usize| format!("!{n:05}:x");
        for (filter, since, until, count, first) in [
            ("{}", None, 50, 0, None),
            ("{}", Some(20), 50, 30, Some(21)),
            ("{}", Some(20), 5_000, 4_980, Some(21)),
            // Forgotten ones are not told again.
            (LEAVES, None, 50, 25, Some(1)),
            (LEAVES, None, 5_000, MAX_LEFT_ROOMS, Some(3_001)),
            (LEAVES, Some(20), 50, 40, Some(1)),
            (LEAVES, Some(2_500), 5_000, 2_500 + MAX_LEFT_ROOMS, Some(501)),
        ] {
            let told = told(filter, since, until);
            let case = format!("{filter} {since:?} {until}");
            assert_eq!((told.len(), told.first()), (count, first.map(room).as_ref()), "{case}");
        }
    }
}
