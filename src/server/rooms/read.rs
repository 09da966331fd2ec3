//! Reading rooms: state, single events, the timeline in both directions, and what relates to an event.
//!
//! Everything here asks [`Rooms::access`] first and lets through only what history visibility allows.
//! A page's position `p` lies between events of the timeline: everything at or below `p` is before it.

use std::sync::Arc;

use ruma::{EventId, RoomId, UserId};

use super::{access::Access, parts::Rooms, refusal::Refusal};
use crate::server::{
    change::position::TimelinePosition,
    event::stored::StoredEvent,
    store::{Entry, Kinds, Order, Side, StateList},
};

/// Events on a page, at most.
pub const MAX_PAGE: usize = 1000;

/// Bytes that the events on a page take in memory, about; as JSON half of that. No further one is added from here on.
const MAX_PAGE_BYTES: usize = 8 << 20;

/// Events that are read at once for a page.
const BATCH: usize = 100;

/// Events that are looked at for one page, at most: a filter or history visibility that lets hardly
/// anything through gets short pages and a position to go on from.
const MAX_SCANNED: usize = 4000;

/// A range of a timeline.
#[derive(Debug)]
pub struct Page {
    /// In the order that was asked for.
    pub events: Vec<Arc<StoredEvent>>,
    /// Where the page begins.
    pub start: TimelinePosition,
    /// Where to go on; `None`: there is nothing further.
    pub end: Option<TimelinePosition>,
}

/// What a page is to hold.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Where to begin; `None`: at the end of the timeline that the order begins at.
    pub from: Option<TimelinePosition>,
    /// Where to end, when this comes before the limit.
    pub to: Option<TimelinePosition>,
    /// Which way to go.
    pub order: Order,
    /// Events on the page, at most [`MAX_PAGE`].
    pub limit: usize,
}

/// An event with what is around it.
#[derive(Debug)]
pub struct Context {
    /// The event.
    pub event: Arc<StoredEvent>,
    /// Events before it, newest first.
    pub before: Page,
    /// Events after it, oldest first.
    pub after: Page,
}

impl Rooms {
    /// The state of a room as `user` may see it: the current one, or that of when they left.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`] for somebody who may not look into the room.
    pub async fn state(&self, user: &UserId, room: &RoomId) -> Result<StateList, Refusal> {
        match self.access(user, room).await? {
            Access::Joined | Access::Peek => Ok(self.store.current_state(room, Kinds::All, |_| true).await?),
            Access::Until(position) => self.state_at(room, position, Kinds::All, |_| true).await,
        }
    }

    /// One state event, see [`state`].
    ///
    /// # Errors
    /// [`Refusal::NotFound`] when there is none of this type and key.
    pub async fn state_event(
        &self,
        user: &UserId,
        room: &RoomId,
        kind: &str,
        key: &str,
    ) -> Result<Arc<StoredEvent>, Refusal> {
        let found = match self.access(user, room).await? {
            Access::Joined | Access::Peek => self.store.state_event(room, kind, key).await?,
            Access::Until(position) => self.store.state_event_at(room, kind, key, position).await?,
        };
        found.ok_or_else(|| Refusal::NotFound("the room has no such state".into()))
    }

    /// The member events of a room, see [`state`]; `at` asks for those of an earlier position.
    ///
    /// # Errors
    /// As for [`state`].
    pub async fn members(
        &self,
        user: &UserId,
        room: &RoomId,
        at: Option<TimelinePosition>,
    ) -> Result<StateList, Refusal> {
        let at = match (self.access(user, room).await?, at) {
            (Access::Until(left), Some(at)) => Some(at.min(left)),
            (Access::Until(left), None) => Some(left),
            (Access::Joined | Access::Peek, at) => at.filter(|at| *at < self.end()),
        };
        match at {
            Some(at) => self.state_at(room, at, Kinds::Members, |_| true).await,
            None => Ok(self.store.current_state(room, Kinds::Members, |_| true).await?),
        }
    }

    /// The state of a room after its last event at or before `position`, in the order of the log: of these, what to
    /// `keep`.
    ///
    /// # Errors
    /// [`Refusal::Store`] when the store fails.
    pub async fn state_at(
        &self,
        room: &RoomId,
        position: TimelinePosition,
        kinds: Kinds,
        keep: impl FnMut(Entry<'_>) -> bool,
    ) -> Result<StateList, Refusal> {
        let last =
            self.store.room_events(room, TimelinePosition::START, position, Order::NewestFirst, 1).await?;
        match last.first() {
            Some(last) => Ok(self.store.state_at(last.position, Side::After, kinds, keep).await?),
            None => Ok(StateList::default()),
        }
    }

    /// An event of a room that `user` may see.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] when there is none, or the user may not see it.
    pub async fn event(
        &self,
        user: &UserId,
        room: &RoomId,
        event_id: &EventId,
    ) -> Result<Arc<StoredEvent>, Refusal> {
        let absent = || Refusal::NotFound("there is no such event, or you may not see it".into());
        let until = match self.access(user, room).await {
            Ok(Access::Joined | Access::Peek) => TimelinePosition::END,
            Ok(Access::Until(position)) => position,
            Err(Refusal::Forbidden(_)) => return Err(absent()),
            Err(e) => return Err(e),
        };
        let event = self
            .store
            .event(event_id)
            .await?
            .filter(|event| *event.room_id == *room && event.timeline <= until)
            .ok_or_else(absent)?;
        self.visible_events(user, room, vec![event]).await?.pop().ok_or_else(absent)
    }

    /// From which place of a room's timeline a user scrolls back who asks for what is before `from`.
    ///
    /// # Errors
    /// As for [`state`].
    pub async fn scrolls_back_from(
        &self,
        user: &UserId,
        room: &RoomId,
        from: Option<TimelinePosition>,
    ) -> Result<TimelinePosition, Refusal> {
        let last = match self.access(user, room).await? {
            Access::Joined | Access::Peek => self.end(),
            Access::Until(position) => position,
        };
        Ok(from.unwrap_or(last).min(last))
    }

    /// A page of a room's timeline, of the events that are `wanted`.
    ///
    /// # Errors
    /// As for [`state`].
    pub async fn messages(
        &self,
        user: &UserId,
        room: &RoomId,
        page: Wanted,
        keep: impl Fn(&StoredEvent) -> bool,
    ) -> Result<Page, Refusal> {
        let (last, goes_on) = match self.access(user, room).await? {
            Access::Joined | Access::Peek => (self.end(), true),
            Access::Until(position) => (position, false),
        };
        let from = match page.order {
            Order::NewestFirst => page.from.unwrap_or(last).min(last),
            Order::OldestFirst => page.from.unwrap_or(TimelinePosition::START),
        };
        let limit = page.limit.clamp(1, MAX_PAGE);
        let (mut events, mut at, mut scanned, mut bytes) = (Vec::new(), from, 0, 0);
        let end = loop {
            let (low, high) = match page.order {
                Order::NewestFirst => (page.to.unwrap_or(TimelinePosition::START), at),
                Order::OldestFirst => (at, page.to.unwrap_or(last).min(last)),
            };
            if low >= high || scanned >= MAX_SCANNED {
                break (low < high).then_some(at);
            }
            let batch = (limit - events.len()).clamp(50, BATCH);
            let found = self.store.room_events(room, low, high, page.order, batch).await?;
            scanned += found.len();
            let more = found.len() == batch;
            let Some(last_found) = found.last().map(|event| event.timeline) else { break None };
            let visible = self.visible_events(user, room, found).await?;
            let mut full = None;
            for event in visible.into_iter().filter(|event| keep(event)) {
                let position = event.timeline;
                bytes += event.weight();
                events.push(event);
                if events.len() == limit || bytes >= MAX_PAGE_BYTES {
                    full = Some(position);
                    break;
                }
            }
            at = past(full.unwrap_or(last_found), page.order);
            if full.is_some_and(|full| full != last_found) || (full.is_some() && more) {
                break Some(at);
            }
            if !more {
                break None;
            }
        };
        // At the live end there is nothing further yet: who goes on from there is told what comes.
        let at_live_end = goes_on && page.order == Order::OldestFirst && page.to.is_none();
        Ok(Page { events, start: from, end: end.or(at_live_end.then_some(at)) })
    }

    /// Whether `user` can see more of a room's timeline beyond a place at which a page of it ends.
    ///
    /// # Errors
    /// As for [`state`].
    pub async fn has_more(
        &self,
        user: &UserId,
        room: &RoomId,
        end: TimelinePosition,
        order: Order,
    ) -> Result<bool, Refusal> {
        let last = match self.access(user, room).await? {
            Access::Joined | Access::Peek => self.end(),
            Access::Until(position) => position,
        };
        let (low, high) = match order {
            Order::NewestFirst => (TimelinePosition::START, end.min(last)),
            Order::OldestFirst => (end, last),
        };
        if low >= high {
            return Ok(false);
        }
        let found = self.store.room_events(room, low, high, order, BATCH).await?;
        // Of what lies beyond so many that are hidden, the next page tells.
        let is_cut = found.len() == BATCH;
        Ok(!self.visible_events(user, room, found).await?.is_empty() || is_cut)
    }

    /// An event with up to `limit` events around it.
    ///
    /// # Errors
    /// As for [`event`]; [`Refusal::Forbidden`] for somebody who may not look into the room.
    pub async fn context(
        &self,
        user: &UserId,
        room: &RoomId,
        event_id: &EventId,
        limit: usize,
        keep: impl Fn(&StoredEvent) -> bool,
    ) -> Result<Context, Refusal> {
        self.access(user, room).await?;
        let event = self.event(user, room, event_id).await?;
        let side = async |order, from, limit: usize| {
            if limit == 0 {
                return Ok(Page { events: Vec::new(), start: from, end: Some(from) });
            }
            self.messages(user, room, Wanted { from: Some(from), to: None, order, limit }, &keep).await
        };
        let before = side(Order::NewestFirst, event.timeline.before(), limit / 2).await?;
        let after = side(Order::OldestFirst, event.timeline, limit - limit / 2).await?;
        Ok(Context { event, before, after })
    }

    /// The events that relate to `event_id`, of a relation and event type if these are given; to a `depth` beyond 0 also
    /// those that relate to these.
    ///
    /// # Errors
    /// As for [`event`].
    pub async fn relations(
        &self,
        user: &UserId,
        room: &RoomId,
        (event_id, depth): (&EventId, u32),
        (rel_type, kind): (Option<&str>, Option<&str>),
        page: Wanted,
    ) -> Result<Page, Refusal> {
        self.event(user, room, event_id).await?;
        let last = match self.access(user, room).await? {
            Access::Joined | Access::Peek => self.end(),
            Access::Until(position) => position,
        };
        let limit = page.limit.clamp(1, MAX_PAGE);
        let start = match page.order {
            Order::NewestFirst => page.from.unwrap_or(last).min(last),
            Order::OldestFirst => page.from.unwrap_or(TimelinePosition::START),
        };
        let (mut events, mut at, mut bytes) = (Vec::new(), start, 0);
        let end = loop {
            let range = match page.order {
                Order::NewestFirst => (page.to.unwrap_or(TimelinePosition::START), at),
                Order::OldestFirst => (at, page.to.unwrap_or(last).min(last)),
            };
            let batch = (limit - events.len()).min(BATCH);
            let found = self
                .store
                .relations(room, (event_id, depth), (rel_type, kind), range, page.order, batch + 1)
                .await?;
            let more = found.len() > batch;
            for event in found.into_iter().take(batch) {
                at = past(event.timeline, page.order);
                bytes += event.weight();
                events.push(event);
            }
            if !more {
                break None;
            }
            if events.len() == limit || bytes >= MAX_PAGE_BYTES {
                break Some(at);
            }
        };
        let mut events = self.visible_events(user, room, events).await?;
        // A redacted event relates to nothing.
        events.retain(|event| event.redacted_because.is_none());
        Ok(Page { events, start, end })
    }

    /// The event nearest to a time, at or after it (oldest first) or at or before it (newest first).
    ///
    /// # Errors
    /// [`Refusal::NotFound`] when there is none; else as for [`state`].
    pub async fn event_at_time(
        &self,
        user: &UserId,
        room: &RoomId,
        unix_ms: u64,
        order: Order,
    ) -> Result<Arc<StoredEvent>, Refusal> {
        self.access(user, room).await?;
        let near = self.store.events_near(room, unix_ms, order, 100).await?;
        visible_first(self.visible_events(user, room, near).await?)
    }
}

fn visible_first(events: Vec<Arc<StoredEvent>>) -> Result<Arc<StoredEvent>, Refusal> {
    events.into_iter().next().ok_or_else(|| Refusal::NotFound("there is no event at that time".into()))
}

impl Rooms {
    /// The place in every timeline after what is on the disk.
    fn end(&self) -> TimelinePosition {
        TimelinePosition::live(self.store.log_position())
    }
}

/// The position on the far side of an event.
fn past(position: TimelinePosition, order: Order) -> TimelinePosition {
    match order {
        Order::NewestFirst => position.before(),
        Order::OldestFirst => position,
    }
}
