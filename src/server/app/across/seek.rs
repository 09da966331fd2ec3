//! What lies beyond the part of a room that is here and is looked for by itself: one event, or what was said at a time.

use std::sync::Arc;

use ruma::{EventId, RoomId, UserId};
use tokio::time::{Instant, timeout_at};

use super::{backfill::PATIENCE, peers::Peers};
use crate::server::{
    app::parts::App,
    event::stored::StoredEvent,
    finish::finish,
    rooms::{Refusal, receive::Elsewhere},
    store::Order,
};

impl App {
    /// One event, as far as a user may see it; if it is not here, and the user is in the room, others are asked for it.
    ///
    /// # Errors
    /// [`Refusal::NotFound`]: there is no such event, or the user may not see it.
    pub async fn event_of(
        self: &Arc<Self>,
        user: &UserId,
        room: &RoomId,
        event: &EventId,
    ) -> Result<Arc<StoredEvent>, Refusal> {
        let absent = match self.rooms.event(user, room, event).await {
            Err(absent @ Refusal::NotFound(_)) => absent,
            other => return other,
        };
        if self.fetch_event(user, room, event).await? {
            self.rooms.event(user, room, event).await
        } else {
            Err(absent)
        }
    }

    /// The event of a room nearest to a time, from it on or up to it, that a user may see; if it may not be here, and the
    /// user is in the room, others are asked for it.
    ///
    /// # Errors
    /// [`Refusal::NotFound`]: there is none; [`Refusal::Forbidden`]: the user may not see the room.
    pub async fn event_at_time(
        self: &Arc<Self>,
        user: &UserId,
        room: &RoomId,
        (unix_ms, order): (u64, Order),
    ) -> Result<Arc<StoredEvent>, Refusal> {
        if self.rooms.members.is_joined(user, room) && self.store.may_lack(room, unix_ms).await? {
            self.fetch_near(user, room, (unix_ms, order)).await?;
        }
        self.rooms.event_at_time(user, room, unix_ms, order).await
    }

    /// Has others asked for what they know to be nearest to a time; the first that answers counts.
    async fn fetch_near(
        self: &Arc<Self>,
        user: &UserId,
        room: &RoomId,
        (unix_ms, order): (u64, Order),
    ) -> Result<(), Refusal> {
        let Some(federation) = &self.federation else { return Ok(()) };
        let patience = Instant::now() + PATIENCE;
        let direction = match order {
            Order::OldestFirst => "f",
            Order::NewestFirst => "b",
        };
        for server in &self.others_of(room) {
            let asking = federation.event_near(server, room, (unix_ms, direction));
            let near = match timeout_at(patience, asking).await {
                Ok(Ok(near)) => near,
                Ok(Err(error)) => {
                    tracing::debug!(%room, %server, %error, "a server does not tell what was said at a time");
                    continue;
                }
                Err(_) => return Ok(()),
            };
            let here = self.store.events_near(room, unix_ms, order, 1).await?;
            let here = here.first().map_or(u64::MAX, |event| event.origin_server_ts.abs_diff(unix_ms));
            if near.origin_server_ts.abs_diff(unix_ms) < here {
                self.fetch_event(user, room, &near.event_id).await?;
            }
            return Ok(());
        }
        Ok(())
    }

    /// Has others asked for an event for a user who is in the room; whether it may be here now.
    async fn fetch_event(
        self: &Arc<Self>,
        user: &UserId,
        room: &RoomId,
        event: &EventId,
    ) -> Result<bool, Refusal> {
        let Some(peers) = self.peers() else { return Ok(false) };
        if !self.rooms.members.is_joined(user, room) || self.unfilled.has(event) {
            return Ok(false);
        }
        let patience = Instant::now() + PATIENCE;
        let Ok(turn) = timeout_at(patience, self.entering.turn(room)).await else { return Ok(false) };
        let (app, room, event) = (Arc::clone(self), room.to_owned(), event.to_owned());
        let asking = finish(async move {
            let _turn = turn;
            app.ask_for_event(&peers, &room, &event).await
        });
        timeout_at(patience, asking).await.unwrap_or(Ok(false))
    }

    async fn ask_for_event(
        &self,
        peers: &Arc<Peers>,
        room: &RoomId,
        event: &EventId,
    ) -> Result<bool, Refusal> {
        if self.has_place(event).await? {
            // Somebody else asked meanwhile, or nobody is shown it.
            return Ok(true);
        }
        for server in self.others_of(room) {
            if self.unfilled.has(event) {
                break;
            }
            let text = match peers.event(&server, event).await {
                Ok(text) => text,
                Err(error) => {
                    tracing::debug!(%room, %server, %event, %error, "a server does not have an event");
                    continue;
                }
            };
            // What comes may be another event than the one that was asked for.
            self.rooms.receive_past(peers, &server, (room, None), &[text]).await?;
            if self.has_place(event).await? {
                return Ok(true);
            }
        }
        self.unfilled.note(event);
        Ok(false)
    }

    /// Whether an event was judged.
    async fn has_place(&self, event: &EventId) -> Result<bool, Refusal> {
        let known = self.store.graph_events(&[event.to_owned()]).await?;
        Ok(known.get(event).is_some_and(|event| event.has_state))
    }
}
