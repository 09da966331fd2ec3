//! The questions that readers ask of several parts, in their words.

use std::{collections::BTreeSet, sync::Arc};

use ruma::{OwnedRoomId, OwnedUserId, RoomId, UserId};

use super::{
    filter::{Filter, Whose},
    look::Stretch,
    news::UnreadCounts,
    parts::Parts,
    reading::Reading,
    refusal::Refusal,
    token::Token,
};
use crate::{
    core::{
        presence::{DeviceType, SetPresence},
        time::Instant,
    },
    server::{
        change::position::{LivePosition, LogPosition},
        event::{aggregation::Aggregations, stored::StoredEvent},
        presence::{Connected, PresenceEvent},
        rooms,
        session::Session,
        store::StoreError,
    },
};

/// How far back in the log that is, in changes.
const RIGHT_BEFORE: u64 = 512;

/// Everything that readers read.
#[derive(Clone, Debug)]
pub struct Sources(Arc<Parts>);

impl Sources {
    /// Those of this server.
    pub fn new(parts: Arc<Parts>) -> Self {
        Self(parts)
    }

    /// The parts themselves.
    pub fn parts(&self) -> &Parts {
        &self.0
    }

    /// The device is connected until what is returned is dropped.
    pub(super) async fn connect(
        &self,
        session: &Session,
        says: SetPresence,
        device_type: Option<DeviceType>,
    ) -> Result<Connected, StoreError> {
        self.0.presence.connect(session, says, device_type).await
    }

    /// The device is told of others until what is returned is dropped.
    pub(super) fn read_presence(&self, session: &Session) -> Reading {
        Reading::begin(self.0.federation.as_deref(), &session.user)
    }

    /// Whose presence the device wants, in a request with `filter`.
    pub(super) fn whose_presence(&self, session: &Session, filter: &Filter) -> Whose {
        if self.0.presence.deliveries.is_on(session) { filter.whose_presence() } else { Whose::Nobodys }
    }

    /// The user's own event, when it changed after `since`.
    pub(super) fn own_presence(
        &self,
        user: &UserId,
        since: LivePosition,
        now: Instant,
    ) -> Option<PresenceEvent> {
        self.0.presence.own_event(user, since, now)
    }

    /// Those whose presence changed, whoever may see it.
    pub(super) fn presence_changed(
        &self,
        live: Stretch<LivePosition>,
    ) -> Vec<(Arc<OwnedUserId>, Arc<PresenceEvent>)> {
        self.0.board.changed(live.since, live.upto)
    }

    /// Everybody whom `reader` may see and who showed something up to `upto`, some of them more than once; and
    /// others. By way of the board or of whom the reader knows, whichever are fewer.
    pub(super) fn presence_near(
        &self,
        reader: &UserId,
        upto: LivePosition,
    ) -> Vec<(Arc<OwnedUserId>, Arc<PresenceEvent>)> {
        let (sight, board) = (&self.0.sight, &self.0.board);
        if sight.reach(reader) > board.count() {
            return board.changed(LivePosition::START, upto);
        }
        let mut near = Vec::new();
        sight.each_perhaps_seen(reader, |user| near.extend(board.shown(user)));
        near
    }

    /// The last event of `user` as others see it.
    pub(super) fn presence_event(&self, user: &UserId) -> Option<Arc<PresenceEvent>> {
        self.0.board.event(user)
    }

    /// The content of the presence event of `user`, as `reader` (who may see it) gets it.
    pub(super) fn presence_content(&self, reader: &UserId, user: &UserId, now: Instant) -> Vec<u8> {
        let mut out = Vec::new();
        if reader == user
            && let Some(own) = self.own_presence(user, LivePosition::START, now)
        {
            own.write_content(&mut out, now);
        } else if let Some(event) = self.presence_event(user) {
            event.write_content(&mut out, now);
        } else {
            self.unheard(user).write_content(&mut out, now);
        }
        out
    }

    /// What is told of `user`, of whom this run of the server has heard nothing.
    pub(super) fn unheard(&self, user: &UserId) -> PresenceEvent {
        PresenceEvent::unheard(user, self.0.sight.server_name())
    }

    /// Whether messages wait for the device.
    pub(super) fn has_messages(&self, session: &Session) -> bool {
        self.0.inboxes.has_news(session, LogPosition::START)
    }

    /// What the device was told up to its token it has: its messages need not be kept any longer. A token that
    /// this server's log has not reached says nothing of what was told: it is of another database.
    ///
    /// # Errors
    /// [`Refusal::Store`].
    pub async fn acknowledge(&self, session: &Session, since: &Token) -> Result<(), Refusal> {
        let parts = &self.0;
        if since.is_reached(parts.store.log_position()) {
            parts.inboxes.acknowledge(&session.user, &session.device, since.to_device()).await?;
        }
        Ok(())
    }

    /// How much of `room` up to `upto` its member `user` has not read; `None`: they are not joined.
    ///
    /// # Errors
    /// [`Refusal::Store`] when the store fails.
    pub async fn unread(
        &self,
        user: &UserId,
        room: &RoomId,
        upto: LogPosition,
    ) -> Result<Option<UnreadCounts>, Refusal> {
        if !self.0.members.is_joined(user, room) {
            return Ok(None);
        }
        let ignored = self.0.contacts.ignored_by(user);
        Ok(Some(self.0.unread.counts(user, room, upto, &ignored).await?.total()))
    }

    /// The rooms of `user` in which something happened right before the place `upto` of the log.
    pub(super) async fn rooms_before(
        &self,
        user: &UserId,
        upto: LogPosition,
    ) -> Result<Vec<OwnedRoomId>, Refusal> {
        let Parts { store, members, .. } = &*self.0;
        let from = LogPosition::new(upto.get().saturating_sub(RIGHT_BEFORE));
        let wanted = |e: &StoredEvent| e.position <= upto && members.is_joined(user, &e.room_id);
        let events = match store.recent_events(from, wanted) {
            Some(events) => events,
            None => {
                let rooms = members.joined_rooms(user).into_iter().collect();
                let positions = store.positions_since(&rooms, from, upto, usize::MAX).await?;
                store.events_at(&positions).await?
            }
        };
        let rooms: BTreeSet<_> = events.iter().map(|event| event.room_id.clone()).collect();
        Ok(rooms.into_iter().collect())
    }

    /// What is gathered of the events that relate to `events` of one room.
    pub(super) async fn aggregations(
        &self,
        audience: rooms::Audience<'_>,
        room: &RoomId,
        events: &[Arc<StoredEvent>],
    ) -> Result<Aggregations, Refusal> {
        self.0.rooms.aggregations(audience, room, events).await.map_err(refusal)
    }

    /// Those of `events` of one room that `user` may see.
    pub(super) async fn visible_events(
        &self,
        user: &UserId,
        room: &RoomId,
        events: Vec<Arc<StoredEvent>>,
    ) -> Result<Vec<Arc<StoredEvent>>, Refusal> {
        self.0.rooms.visible_events(user, room, events).await.map_err(refusal)
    }
}

/// Of rooms that are read.
pub(super) fn refusal(refusal: rooms::Refusal) -> Refusal {
    match refusal {
        rooms::Refusal::Store(e) => Refusal::Store(e),
        other => Refusal::Internal(format!("{other:?}")),
    }
}
