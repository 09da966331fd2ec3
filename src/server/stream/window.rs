//! Which events of which rooms a reader has not seen yet.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ruma::{OwnedRoomId, RoomId};

use super::{Seen, reader::Reader};
use crate::server::{
    api::error::ApiResult,
    change::position::LogPosition,
    event::stored::{Membership, StoredEvent},
    store::Order,
};

/// Batches of events that are read at most to fill a timeline with what a filter lets through.
const MAX_BATCHES: usize = 8;

/// Events in such a batch at least.
const BATCH: usize = 50;

/// The end of a room's timeline that a reader is told.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    /// Oldest first.
    pub(super) events: Vec<Arc<StoredEvent>>,
    /// There are more before them that the reader has not seen.
    pub(super) limited: bool,
    /// State events that the filter keeps out of the timeline: the reader has to learn of them otherwise.
    pub(super) kept_out: Vec<Arc<StoredEvent>>,
}

/// What happened in a room since the reader's token.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// All events, oldest first; `None`: too many to be in memory, they are read from the store.
    pub(super) events: Option<Vec<Arc<StoredEvent>>>,
    /// The reader's own membership changed, or was said again.
    pub(super) own_member_event: bool,
}

/// The reader's own way through a room.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Passage {
    /// What the reader was at the token.
    pub(super) was: Option<Membership>,
    /// What the reader is.
    pub(super) is: Option<Membership>,
    /// Where the event is that made it so.
    pub(super) position: LogPosition,
}

impl Reader<'_> {
    /// The rooms in which something happened after the position `since`.
    pub(super) async fn windows(&self, since: LogPosition) -> ApiResult<BTreeMap<OwnedRoomId, Window>> {
        if since >= self.upto.log {
            return Ok(BTreeMap::new());
        }
        let user = &self.session.user;
        let joined: BTreeSet<OwnedRoomId> = self.app.rooms.members.joined_rooms(user).into_iter().collect();
        let is_own = |e: &StoredEvent| e.is_state("m.room.member", user.as_str());
        let recent = self.app.store.recent_events(since, |e| joined.contains(&e.room_id) || is_own(e));
        let Some(recent) = recent else { return self.windows_from_store(since, joined).await };
        let mut windows: BTreeMap<OwnedRoomId, Window> = BTreeMap::new();
        for event in recent.into_iter().filter(|e| e.position <= self.upto.log) {
            if !windows.contains_key(&event.room_id) {
                windows.insert(
                    event.room_id.clone(),
                    Window { events: Some(Vec::new()), own_member_event: false },
                );
            }
            let Some(window) = windows.get_mut(&event.room_id) else { continue };
            window.own_member_event |= is_own(&event);
            window.events.get_or_insert_default().push(event);
        }
        Ok(windows)
    }

    /// The same for a token that is older than what is held in memory: every room may have news.
    async fn windows_from_store(
        &self,
        since: LogPosition,
        joined: BTreeSet<OwnedRoomId>,
    ) -> ApiResult<BTreeMap<OwnedRoomId, Window>> {
        let mut windows: BTreeMap<_, _> = joined.into_iter().map(|room| (room, Window::default())).collect();
        for row in self.app.store.memberships(&self.session.user).await? {
            if row.position > since && row.position <= self.upto.log {
                windows.entry(row.room_id).or_default().own_member_event = true;
            }
        }
        Ok(windows)
    }

    /// What the reader was in `room` at `since`, and is.
    pub(super) async fn passage(&self, room: &RoomId, since: LogPosition) -> ApiResult<Passage> {
        let (user, range) = (self.session.user.as_str(), (since, self.upto.log));
        let history = self.app.store.state_event_between(room, "m.room.member", user, range).await?;
        let mut passage = Passage::default();
        for event in &history {
            let membership = event.membership().map(|(_, membership)| membership);
            if event.position <= since {
                passage.was = membership;
            }
            passage.is = membership;
            passage.position = event.position;
        }
        Ok(passage)
    }

    /// The last events of a room in `from..=to` that the filter lets into a timeline.
    pub(super) async fn timeline(
        &self,
        room: &RoomId,
        known: Option<Vec<Arc<StoredEvent>>>,
        from: LogPosition,
        to: LogPosition,
    ) -> ApiResult<Timeline> {
        let limit = self.filter.timeline_limit();
        let mut timeline = Timeline::default();
        if let Some(events) = known {
            for event in events.into_iter().rev().filter(|e| e.position <= to) {
                timeline.take(self, room, event, limit);
            }
        } else {
            let (mut to, batch) = (to, BATCH.max(limit + 1));
            for round in 1.. {
                let events = self.app.store.room_events(room, from, to, Order::NewestFirst, batch).await?;
                let (count, oldest) = (events.len(), events.last().map(|e| e.position));
                for event in events {
                    timeline.take(self, room, event, limit);
                }
                if timeline.limited || count < batch {
                    break;
                }
                if round == MAX_BATCHES {
                    timeline.limited = true;
                    break;
                }
                to = oldest.map_or(from, LogPosition::before);
            }
        }
        timeline.events.reverse();
        timeline.kept_out.reverse();
        Ok(timeline)
    }
}

impl Timeline {
    /// Takes the next older event.
    fn take(&mut self, reader: &Reader<'_>, room: &RoomId, event: Arc<StoredEvent>, limit: usize) {
        if self.limited {
            return;
        }
        if !reader.filter.timeline(room, seen(&event)) {
            if event.state_key.is_some() {
                self.kept_out.push(event);
            }
        } else if self.events.len() == limit {
            self.limited = true;
        } else {
            self.events.push(event);
        }
    }
}

/// An event as filters look at it.
pub(super) fn seen(event: &StoredEvent) -> Seen<'_> {
    Seen { kind: &event.kind, sender: event.sender.as_str(), json: &event.pdu }
}
