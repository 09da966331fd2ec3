//! The state of a room that a connection is told: what it asks for, and members who have to do with the timeline.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ruma::{OwnedEventId, OwnedUserId, RoomId, UserId};
use serde::Deserialize;

use super::required::{Members, Required};
use crate::server::{
    change::position::{LogPosition, TimelinePosition},
    event::stored::StoredEvent,
    store::{Kinds, Side, StateList, Store, StoreError},
    stream::{look::Stretch, news::RoomState},
};

const MEMBER: &str = "m.room.member";

/// What changed in a room's state.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Of what is asked for, what changed.
    pub(super) state: RoomState,
    pub(super) members: bool,
    pub(super) name: bool,
    pub(super) avatar: bool,
    pub(super) emptied: Emptied,
}

/// What may have been emptied.
#[derive(Debug)]
pub(super) enum Emptied {
    /// What these redactions are of.
    By(Vec<OwnedEventId>),
    /// Anything.
    Perhaps,
}

impl Default for Emptied {
    fn default() -> Self {
        Self::By(Vec::new())
    }
}

impl Emptied {
    /// Whether there is nothing.
    pub(super) fn is_nothing(&self) -> bool {
        matches!(self, Self::By(redactions) if redactions.is_empty())
    }

    /// Whether an event is among it.
    pub(super) fn has(&self, event: &StoredEvent) -> bool {
        #[derive(Deserialize)]
        struct Redaction {
            event_id: OwnedEventId,
        }
        let Some(redacted) = &event.redacted_because else { return false };
        match (self, serde_json::from_str::<Redaction>(redacted.because.get())) {
            (Self::By(redactions), Ok(by)) => redactions.contains(&by.event_id),
            (Self::Perhaps, _) | (_, Err(_)) => true,
        }
    }
}

impl Changes {
    fn note(&mut self, kind: &str, key: &str) {
        match (kind, key) {
            (MEMBER, _) => self.members = true,
            ("m.room.name", "") => self.name = true,
            ("m.room.avatar", "") => self.avatar = true,
            _ => {}
        }
    }

    /// By events that are in memory: all that happened.
    pub(super) fn among(events: &[Arc<StoredEvent>], upto: LogPosition, required: &Required) -> Self {
        let mut changes = Self::default();
        let mut last: BTreeMap<(&str, &str), &Arc<StoredEvent>> = BTreeMap::new();
        for event in events.iter().filter(|event| event.position <= upto) {
            if event.kind == "m.room.redaction"
                && let Emptied::By(redactions) = &mut changes.emptied
            {
                redactions.push(event.event_id.clone());
            }
            if let Some(key) = &event.state_key {
                changes.note(&event.kind, key);
                last.insert((&event.kind, key), event);
            }
        }
        let told = last.into_iter().filter(|((kind, key), _)| required.wants(kind, key));
        changes.state.events = told.map(|(_, event)| Arc::clone(event)).collect();
        changes
    }

    /// By what the store has.
    pub(super) async fn between(
        store: &Store,
        room: &RoomId,
        log: Stretch<LogPosition>,
        required: &Required,
    ) -> Result<Self, StoreError> {
        let mut changes = Self { emptied: Emptied::Perhaps, ..Self::default() };
        let keep = |entry: crate::server::store::Entry<'_>| {
            changes.note(entry.kind, entry.key);
            required.wants(entry.kind, entry.key)
        };
        let listed = store.state_changes(room, (log.since, log.upto), Kinds::All, keep).await?;
        changes.state.listed = listed;
        Ok(changes)
    }
}

/// All state of a room at `upto` that is `required`; of a client that was told what it asked for `before` up to a position,
/// only what it was not told.
pub(super) async fn whole(
    store: &Store,
    room: &RoomId,
    upto: LogPosition,
    required: &Required,
    before: Option<(&Required, LogPosition)>,
) -> Result<RoomState, StoreError> {
    let mut state = RoomState::default();
    if required.is_empty() {
        return Ok(state);
    }
    let is_untold = |kind: &str, key: &str, position: LogPosition| {
        before.is_none_or(|(before, since)| position > since || !before.wants(kind, key))
    };
    let (kinds, named) = match required.members() {
        Members::Any => (Kinds::All, Vec::new()),
        Members::Named(named) => (Kinds::AllButMembers, named),
    };
    let mut later = Vec::new();
    let keep = |entry: crate::server::store::Entry<'_>| {
        if !required.wants(entry.kind, entry.key) {
            return false;
        }
        if entry.position > upto {
            later.push((entry.kind.to_owned(), entry.key.to_owned()));
            return false;
        }
        is_untold(entry.kind, entry.key, entry.position)
    };
    state.listed = store.current_state(room, kinds, keep).await?;
    let named = named.into_iter().map(|user| (MEMBER.to_owned(), user.to_string()));
    for (kind, key) in later.into_iter().chain(named).filter(|(kind, key)| required.wants(kind, key)) {
        let event = at(store, room, &kind, &key, upto).await?;
        state.events.extend(event.filter(|event| is_untold(&kind, &key, event.position)));
    }
    Ok(state)
}

/// All state of a room right after the event at `upto` that is `required`.
pub(super) async fn whole_at(
    store: &Store,
    upto: LogPosition,
    required: &Required,
) -> Result<RoomState, StoreError> {
    let listed = if required.is_empty() {
        StateList::default()
    } else {
        store.state_at(upto, Side::After, Kinds::All, |e| required.wants(e.kind, e.key)).await?
    };
    Ok(RoomState { events: Vec::new(), listed })
}

/// The state event of a type and key that a room had at `upto`.
pub(super) async fn at(
    store: &Store,
    room: &RoomId,
    kind: &str,
    key: &str,
    upto: LogPosition,
) -> Result<Option<Arc<StoredEvent>>, StoreError> {
    match store.state_event(room, kind, key).await? {
        Some(event) if event.position > upto => {
            store.state_event_at(room, kind, key, TimelinePosition::live(upto)).await
        }
        current => Ok(current),
    }
}

/// Who says something in a timeline, and of whom something is said that happened after `since`; of the former those that
/// `is_known` says are left out.
pub(super) fn concerned(
    timeline: &[Arc<StoredEvent>],
    since: LogPosition,
    is_known: impl Fn(&UserId) -> bool,
) -> BTreeSet<OwnedUserId> {
    let mut concerned = BTreeSet::new();
    for event in timeline {
        if !is_known(&event.sender) {
            concerned.insert(event.sender.clone());
        }
        let target = event.state_key.as_deref().filter(|_| event.kind == MEMBER);
        if let Some(target) = target.and_then(|target| UserId::parse(target).ok())
            && (event.position > since || !is_known(&target))
        {
            concerned.insert(target);
        }
    }
    concerned
}
