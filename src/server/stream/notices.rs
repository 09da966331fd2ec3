//! Of which events the push rules of a user want them notified: looked up in the log when somebody asks.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ruma::{OwnedRoomId, OwnedUserId, RoomId, UserId, push::Action};

use super::{
    parts::Parts,
    refusal::Refusal,
    unread::{Read, thread_of},
    verdict::Rules,
};
use crate::server::{
    change::position::LogPosition,
    event::stored::{Membership, StoredEvent},
};

/// Events that are read from the store at once.
const PAGE: usize = 100;

/// Events that are looked at for one page of notices.
const MAX_LOOKED_AT: usize = 2_000;

/// Of those that happened while nobody asked, the newest that are looked at.
const MAX_BEHIND: usize = 1_000;

/// An event of which a user is to be notified.
#[derive(Clone, Debug)]
pub struct Notice {
    /// The event.
    pub event: Arc<StoredEvent>,
    /// What the rules want done.
    pub actions: Vec<Action>,
    /// Whether the user has read it.
    pub is_read: bool,
}

/// A page of notices.
#[derive(Debug)]
pub struct NoticePage {
    /// The newest first.
    pub notices: Vec<Notice>,
    /// Where the next page begins; `None`: there is none.
    pub next: Option<LogPosition>,
}

/// What has to be known of one room.
struct OfRoom<'a> {
    rules: Rules<'a>,
    read: Read,
    /// Where the user's stay began.
    since: LogPosition,
}

/// One user, as their rules see what happened.
struct Judge<'a> {
    parts: &'a Parts,
    user: &'a UserId,
    ignored: Arc<BTreeSet<OwnedUserId>>,
    rooms: BTreeMap<OwnedRoomId, OfRoom<'a>>,
}

/// The notices of `user` at and before the position `to` of the log that are `wanted`, `limit` at most.
///
/// # Errors
/// [`Refusal::Store`] when the store fails.
pub async fn page(
    parts: &Parts,
    user: &UserId,
    to: LogPosition,
    limit: usize,
    wanted: impl Fn(&Notice) -> bool + Send,
) -> Result<NoticePage, Refusal> {
    let mut judge = Judge::new(parts, user);
    let (rooms, invites) = rooms_of(parts, user).await?;
    let (mut to, mut notices, mut looked_at) = (to, Vec::new(), 0);
    loop {
        let positions = newest(parts, &rooms, &invites, (LogPosition::START, to), PAGE).await?;
        for event in parts.store.events_at(&positions).await? {
            to = event.position.before();
            looked_at += 1;
            let notice = judge.notice(&event).await?.filter(|notice| wanted(notice));
            notices.extend(notice);
            if notices.len() >= limit {
                return Ok(NoticePage { notices, next: Some(to) });
            }
        }
        let Some(last) = positions.last().filter(|_| positions.len() == PAGE) else {
            return Ok(NoticePage { notices, next: None });
        };
        to = last.before();
        if looked_at >= MAX_LOOKED_AT {
            return Ok(NoticePage { notices, next: Some(to) });
        }
        tokio::task::yield_now().await;
    }
}

/// The notices of `user` after one position of the log, up to and including another, the oldest first. Of what happened
/// long ago only the newest is looked at.
///
/// # Errors
/// [`Refusal::Store`] when the store fails.
pub async fn between(
    parts: &Parts,
    user: &UserId,
    (from, to): (LogPosition, LogPosition),
) -> Result<Vec<Notice>, Refusal> {
    let is_there = |e: &StoredEvent| {
        parts.members.is_joined(user, &e.room_id) || e.is_state("m.room.member", user.as_str())
    };
    let events = match parts.store.recent_events(from, is_there) {
        Some(mut events) => {
            events.retain(|event| event.position <= to);
            events
        }
        None => {
            let (rooms, invites) = rooms_of(parts, user).await?;
            let mut positions = newest(parts, &rooms, &invites, (from, to), MAX_BEHIND).await?;
            positions.reverse();
            parts.store.events_at(&positions).await?
        }
    };
    let (mut judge, mut notices) = (Judge::new(parts, user), Vec::new());
    for event in events {
        notices.extend(judge.notice(&event).await?);
    }
    Ok(notices)
}

/// Whether `user` has read an event by now, or has no business with it any longer.
///
/// # Errors
/// [`Refusal::Store`] when the store fails.
pub async fn is_settled(parts: &Parts, user: &UserId, event: &StoredEvent) -> Result<bool, Refusal> {
    // It may have been redacted, and whoever sent it ignored. By its position, as an invite to a room that is not here is no
    // event of a timeline.
    let events = parts.store.events_at(&[event.position]).await?;
    let Some(event) = events.first() else { return Ok(true) };
    let notice = Judge::new(parts, user).notice(event).await?;
    Ok(notice.is_none_or(|notice| notice.is_read))
}

/// The rooms that `user` is in, and where in the log they were invited to others.
async fn rooms_of(
    parts: &Parts,
    user: &UserId,
) -> Result<(BTreeSet<OwnedRoomId>, Vec<LogPosition>), Refusal> {
    let mut invites = Vec::new();
    for row in parts.store.memberships(user).await? {
        if row.membership == Membership::Invite {
            invites.push(row.position);
        }
    }
    Ok((parts.members.joined_rooms(user).into_iter().collect(), invites))
}

/// The newest positions at which something happened, in rooms and by invites.
async fn newest(
    parts: &Parts,
    rooms: &BTreeSet<OwnedRoomId>,
    invites: &[LogPosition],
    (from, to): (LogPosition, LogPosition),
    limit: usize,
) -> Result<Vec<LogPosition>, Refusal> {
    let mut positions = parts.store.newest_positions(rooms, from, to, limit).await?;
    positions.extend(invites.iter().filter(|at| **at > from && **at <= to));
    positions.sort_unstable_by(|a, b| b.cmp(a));
    positions.dedup();
    positions.truncate(limit);
    Ok(positions)
}

impl<'a> Judge<'a> {
    fn new(parts: &'a Parts, user: &'a UserId) -> Self {
        Self { parts, user, ignored: parts.contacts.ignored_by(user), rooms: BTreeMap::new() }
    }

    /// What the user is to be notified of by an event.
    async fn notice(&mut self, event: &Arc<StoredEvent>) -> Result<Option<Notice>, Refusal> {
        let user = self.user;
        let is_nothing = event.sender == *user
            || event.redacted_because.is_some()
            || event.comes_late()
            || self.ignored.contains(&event.sender);
        if is_nothing {
            return Ok(None);
        }
        let store = &self.parts.store;
        let is_invite = event.membership() == Some((user.as_str(), Membership::Invite));
        let of_room = self.room(&event.room_id).await?;
        if event.position < of_room.since && !is_invite {
            return Ok(None);
        }
        let actions = of_room.rules.actions(event).await?;
        if !actions.iter().any(Action::should_notify) {
            return Ok(None);
        }
        let is_read = match is_invite {
            true => self.parts.members.membership(user, &event.room_id) != Some(Membership::Invite),
            false => {
                let thread = thread_of(store, event).await?;
                of_room.read.covers(thread.as_deref(), event.position)
            }
        };
        Ok(Some(Notice { event: Arc::clone(event), actions, is_read }))
    }

    async fn room(&mut self, room: &RoomId) -> Result<&mut OfRoom<'a>, Refusal> {
        if !self.rooms.contains_key(room) {
            let Parts { store, unread, members, .. } = self.parts;
            let since = match members.is_joined(self.user, room) {
                true => store.stay_began(self.user, room).await?.unwrap_or(LogPosition::END),
                false => LogPosition::END,
            };
            let (rules, read) = (unread.rules(self.user, room).await?, unread.read(self.user, room).await?);
            self.rooms.insert(room.to_owned(), OfRoom { rules, read, since });
        }
        self.rooms.get_mut(room).ok_or_else(|| Refusal::Internal("a room that was just put in".to_owned()))
    }
}
