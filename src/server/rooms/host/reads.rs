//! What other servers ask of a room's graph.

use std::collections::BTreeSet;

use ruma::{EventId, OwnedEventId, RoomId, ServerName};

use crate::server::{
    rooms::{parts::Rooms, refusal::Refusal},
    store::{EventStanding, GraphEvent, Order, Side, StateIds},
};

/// Events on a page of the past, at most.
pub const MAX_BACKFILL: usize = 100;

/// Events that fill one gap, at most.
pub const MAX_MISSING: usize = 20;

/// Events of one auth chain, at most: more than any room has that is not made to have them.
const MAX_AUTH_CHAIN: usize = 1_000_000;

/// The state of a room, and what allows it.
#[derive(Debug, Default)]
pub struct StateAt {
    /// By type and key.
    pub state: StateIds,
    /// The auth events of these, theirs, and so on.
    pub auth_chain: BTreeSet<OwnedEventId>,
}

impl Rooms {
    /// One event, for a server that is in its room.
    ///
    /// # Errors
    /// [`Refusal::NotFound`]; [`Refusal::Forbidden`]: the server is not in the room.
    pub async fn event_for(&self, server: &ServerName, id: &EventId) -> Result<Box<str>, Refusal> {
        let event = self.one(id).await?;
        let room = self.shared_with(server, &event.room_id).await?;
        let shown = self.shown(server, &room, vec![event]).await?;
        shown.into_iter().next().ok_or_else(no_such_event)
    }

    /// The state of a room before one of its events.
    ///
    /// # Errors
    /// As for [`Self::event_for`].
    pub async fn state_for(
        &self,
        server: &ServerName,
        room: &RoomId,
        id: &EventId,
    ) -> Result<StateAt, Refusal> {
        self.shared_with(server, room).await?;
        self.one(id).await.and_then(|event| of_room(event, room))?;
        let state = self.store.state_ids(id, Side::Before).await?.ok_or_else(no_such_event)?;
        self.with_auth_chain(state).await
    }

    /// The same state with the auth chain of all of it.
    pub(super) async fn with_auth_chain(&self, state: StateIds) -> Result<StateAt, Refusal> {
        let of: Vec<OwnedEventId> = state.values().cloned().collect();
        let mut auth_chain = self.store.auth_chain(&of, MAX_AUTH_CHAIN).await?;
        // From version 12 on all rest on the first event, and none names it.
        auth_chain.extend(state.get(&("m.room.create".to_owned(), String::new())).cloned());
        Ok(StateAt { state, auth_chain })
    }

    /// The auth chain of an event.
    ///
    /// # Errors
    /// As for [`Self::event_for`].
    pub async fn auth_chain_for(
        &self,
        server: &ServerName,
        room: &RoomId,
        id: &EventId,
    ) -> Result<BTreeSet<OwnedEventId>, Refusal> {
        self.shared_with(server, room).await?;
        self.one(id).await.and_then(|event| of_room(event, room))?;
        let mut chain = self.store.auth_chain(&[id.to_owned()], MAX_AUTH_CHAIN).await?;
        let create = self.store.state_event(room, "m.room.create", "").await?;
        chain.extend(create.map(|create| create.event_id.clone()).filter(|create| create != id));
        Ok(chain)
    }

    /// Events of a room from some of them backwards, these included, the newest first.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`]: the server is not in the room.
    pub async fn backfill_for(
        &self,
        server: &ServerName,
        room: &RoomId,
        from: &[OwnedEventId],
        limit: usize,
    ) -> Result<Vec<Box<str>>, Refusal> {
        let room = self.shared_with(server, room).await?;
        let events = self.store.backwards(&room.room_id, from, limit.clamp(1, MAX_BACKFILL)).await?;
        self.shown(server, &room, events).await
    }

    /// The events between those that a server has and those that it just got, the oldest first.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`]: the server is not in the room.
    pub async fn missing_for(
        &self,
        server: &ServerName,
        room: &RoomId,
        (latest, earliest): (&[OwnedEventId], &[OwnedEventId]),
        min_depth: u64,
        limit: usize,
    ) -> Result<Vec<Box<str>>, Refusal> {
        let room = self.shared_with(server, room).await?;
        let limit = limit.min(MAX_MISSING);
        let events = self.store.between(&room.room_id, latest, earliest, min_depth, limit).await?;
        self.shown(server, &room, events).await
    }

    /// The event of a room nearest to a time, from it on or up to it, for a server that is in the room: its ID and time.
    ///
    /// # Errors
    /// [`Refusal::NotFound`]: there is none; [`Refusal::Forbidden`]: the server is not in the room.
    pub async fn event_near_for(
        &self,
        server: &ServerName,
        room: &RoomId,
        unix_ms: u64,
        order: Order,
    ) -> Result<(OwnedEventId, u64), Refusal> {
        self.shared_with(server, room).await?;
        let near = self.store.events_near(room, unix_ms, order, 1).await?;
        let event =
            near.first().ok_or_else(|| Refusal::NotFound("there is no event near that time".into()))?;
        Ok((event.event_id.clone(), event.origin_server_ts))
    }

    /// The PDUs of events that are here.
    ///
    /// # Errors
    /// [`Refusal::Store`] when the store fails.
    pub async fn pdus(&self, ids: &[OwnedEventId]) -> Result<Vec<Box<str>>, Refusal> {
        Ok(self.store.graph_events(ids).await?.into_values().map(|event| event.pdu).collect())
    }

    async fn one(&self, id: &EventId) -> Result<GraphEvent, Refusal> {
        let found = self.store.graph_events(&[id.to_owned()]).await?;
        let event = found.into_values().next().filter(|event| event.standing != EventStanding::Rejected);
        event.ok_or_else(no_such_event)
    }
}

fn of_room(event: GraphEvent, room: &RoomId) -> Result<GraphEvent, Refusal> {
    if event.room_id == room { Ok(event) } else { Err(no_such_event()) }
}

fn no_such_event() -> Refusal {
    Refusal::NotFound("there is no such event here".into())
}
