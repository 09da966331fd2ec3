//! What was said before the first of what is here, or where a gap was left: fetched from others for who scrolls back.

use std::{sync::Arc, time::Duration};

use ruma::{OwnedServerName, RoomId, UserId};
use tokio::time::{Instant, timeout_at};

use super::peers::Peers;
use crate::server::{
    app::parts::App,
    change::position::TimelinePosition,
    event::stored::StoredEvent,
    federation::Federation,
    finish::finish,
    rooms::{MAX_PAGE, Page, Refusal, Wanted},
    store::{Gap, Order},
};

/// Events that are asked for at once.
const AT_ONCE: usize = 100;

/// Servers that are asked for what is past, at most.
const MAX_ASKED: usize = 4;

/// How often more is asked for so that one page is full.
const ROUNDS: usize = 4;

/// How long whoever scrolls back, or looks for something there, waits for others.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

impl App {
    /// Before somebody reads the `limit` events of a room up to a place of its timeline: has others asked for those of
    /// them that are not here, and waits for that a while. What comes of it is in the timeline then. Answers the event
    /// before which something is missing of which it is not known yet whether it comes.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn fetch_past(
        self: &Arc<Self>,
        room: &RoomId,
        until: TimelinePosition,
        limit: usize,
    ) -> Result<Option<TimelinePosition>, Refusal> {
        let (Some(peers), Some(federation)) = (self.peers(), &self.federation) else { return Ok(None) };
        let patience = Instant::now() + PATIENCE;
        for _ in 0..ROUNDS {
            let Some(gap) = self.gap_before(room, until, limit).await? else { return Ok(None) };
            let (app, federation, peers) = (Arc::clone(self), Arc::clone(federation), Arc::clone(&peers));
            let (of_room, of_gap) = (room.to_owned(), gap.clone());
            // What was asked for is taken in, also if nobody waits for it any longer.
            let filled = finish(async move { app.fill(&federation, &peers, &of_room, &of_gap).await });
            match timeout_at(patience, filled).await {
                Ok(Ok(Filled::Some)) => {}
                Ok(Ok(Filled::Nothing)) => {
                    self.unfilled.note(&gap.event);
                    return Ok(None);
                }
                Ok(Ok(Filled::Unanswered)) => return Ok(Some(gap.timeline)),
                Ok(Err(e)) => return Err(e),
                Err(_) => return Ok(Some(gap.timeline)),
            }
        }
        Ok(self.gap_before(room, until, limit).await?.map(|gap| gap.timeline))
    }

    /// A page of a room's timeline, the newest of it first, for which others are asked for what is not here. Where something
    /// may still come the page ends: who goes on from there has it then, or goes past it.
    ///
    /// # Errors
    /// As for [`Rooms::messages`](crate::server::rooms::Rooms::messages).
    pub async fn page_back(
        self: &Arc<Self>,
        user: &UserId,
        room: &RoomId,
        wanted: Wanted,
        keep: impl Fn(&StoredEvent) -> bool,
    ) -> Result<Page, Refusal> {
        let from = self.rooms.scrolls_back_from(user, room, wanted.from).await?;
        let gap = self.fetch_past(room, from, wanted.limit.min(MAX_PAGE)).await?;
        if gap.is_some_and(|gap| wanted.to < Some(gap) && gap < from) {
            let page = self.rooms.messages(user, room, Wanted { to: gap, ..wanted }, &keep).await?;
            if !page.events.is_empty() {
                return Ok(Page { end: page.end.or(gap), ..page });
            }
        }
        let mut page = self.rooms.messages(user, room, wanted, &keep).await?;
        let last = page.events.last().map(|event| event.timeline);
        page.end = page.end.or_else(|| last.filter(|last| gap == Some(*last)).map(TimelinePosition::before));
        Ok(page)
    }

    /// Whether something before a place of a room's timeline is not here, and may be elsewhere.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn has_past_elsewhere(&self, room: &RoomId, until: TimelinePosition) -> Result<bool, Refusal> {
        Ok(self.federation.is_some() && self.store.last_gap(room, until).await?.is_some())
    }

    /// Those that are asked for the past of a room.
    pub(super) fn others_of(&self, room: &RoomId) -> Vec<OwnedServerName> {
        let mut servers = self.rooms.servers_to_join_by(room, MAX_ASKED + 1);
        servers.retain(|server| server != self.server_name());
        servers.truncate(MAX_ASKED);
        servers
    }

    /// The last gap among the `limit` events up to a place, unless nobody could fill it a moment ago.
    async fn gap_before(
        &self,
        room: &RoomId,
        until: TimelinePosition,
        limit: usize,
    ) -> Result<Option<Gap>, Refusal> {
        let gap = self.store.last_gap(room, until).await?;
        let Some(gap) = gap.filter(|gap| !self.unfilled.has(&gap.event)) else { return Ok(None) };
        let after = gap.timeline.before();
        let between =
            self.store.room_events(room, after, until, Order::NewestFirst, limit.saturating_add(1)).await?;
        Ok((between.len() <= limit).then_some(gap))
    }

    /// Asks others for what is missing before an event.
    async fn fill(
        &self,
        federation: &Federation,
        peers: &Arc<Peers>,
        room: &RoomId,
        gap: &Gap,
    ) -> Result<Filled, Refusal> {
        let _turn = self.entering.turn(room).await;
        let here = self.store.graph_events(&gap.missing).await?;
        if gap.missing.iter().all(|id| here.get(id).is_some_and(|event| event.has_state)) {
            // Somebody else asked meanwhile.
            return Ok(Filled::Some);
        }
        let mut filled = Filled::Nothing;
        for server in &self.others_of(room) {
            let events = match federation.backfill(server, room, &gap.missing, AT_ONCE).await {
                Ok(events) => events,
                Err(error) => {
                    tracing::debug!(%room, %server, %error, "a server does not tell the past of a room");
                    if error.may_pass() {
                        filled = Filled::Unanswered;
                    }
                    continue;
                }
            };
            if self.rooms.receive_past(peers, server, (room, Some(&gap.event)), &events).await? > 0 {
                return Ok(Filled::Some);
            }
        }
        Ok(filled)
    }
}

/// What came of asking for what is missing before an event.
enum Filled {
    /// Some of it is here.
    Some,
    /// Nobody has it.
    Nothing,
    /// Nobody who was reached has it, and not all were.
    Unanswered,
}
