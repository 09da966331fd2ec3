//! The states of a room as events are judged on them: read from the store, resolved where they differ.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ruma::{OwnedEventId, RoomId, room_version_rules::RoomVersionRules};

use super::resolve::{Conflict, Known, Unresolved};
use crate::server::{
    rooms::{
        judge::State,
        parts::Rooms,
        pdu::{Pdu, StateKey},
        refusal::Refusal,
    },
    store::{RoomRow, Side, StateIds},
};

/// Events of an auth chain that are read at most in one go.
const MAX_CHAIN: usize = 1_000_000;

/// Events that are read in one query.
const PAGE: usize = 1_000;

/// How often more is looked up for one conflict at most. Each time brings what the time before found missing.
const ROUNDS: usize = 64;

impl Rooms {
    /// What the states of these groups come to, together with others that have none. `own`: an event that is in one of
    /// them and not on the disk yet.
    pub(super) async fn state_of(
        &self,
        room: &RoomRow,
        rules: &RoomVersionRules,
        (groups, others): (&BTreeSet<i64>, Vec<Arc<StateIds>>),
        own: Option<&Arc<Pdu>>,
    ) -> Result<Arc<StateIds>, Refusal> {
        let numbers: Vec<i64> = groups.iter().copied().collect();
        if others.is_empty()
            && let Some(known) = self.resolved.find(&numbers)
        {
            return Ok(known);
        }
        let is_known_by_groups = others.is_empty();
        let mut states = others;
        for group in groups {
            states.push(Arc::new(self.store.state_ids_in(*group).await?));
        }
        let state = self.resolve(room, rules, states, own).await?;
        if is_known_by_groups && numbers.len() > 1 {
            self.resolved.keep(numbers, &state);
        }
        Ok(state)
    }

    /// What states of a room come to.
    async fn resolve(
        &self,
        room: &RoomRow,
        rules: &RoomVersionRules,
        states: Vec<Arc<StateIds>>,
        own: Option<&Arc<Pdu>>,
    ) -> Result<Arc<StateIds>, Refusal> {
        let mut conflict = match Conflict::between(states) {
            Ok(conflict) => conflict,
            Err(agreed) => return Ok(agreed),
        };
        let mut known = Known::default();
        known.events.extend(own.map(|pdu| (pdu.id().to_owned(), Arc::clone(pdu))));
        for _ in 0..ROUNDS {
            let rules = rules.clone();
            let work = move || {
                let result = conflict.resolve(&rules, &known);
                (conflict, known, result)
            };
            let done = tokio::task::spawn_blocking(work).await;
            let result;
            (conflict, known, result) = done.map_err(|e| Refusal::Internal(e.to_string()))?;
            match result {
                Ok(state) => return Ok(Arc::new(state)),
                Err(Unresolved::Events(ids)) => self.look_up(&room.room_id, ids, &mut known).await?,
                Err(Unresolved::AgreedChain) => {
                    let agreed: Vec<OwnedEventId> = conflict.agreed().map(|(_, id)| id.clone()).collect();
                    known.agreed_chain = Some(self.store.auth_chain(&agreed, MAX_CHAIN).await?);
                }
                Err(Unresolved::Failed(why)) => return Err(Refusal::Internal(why)),
            }
        }
        Err(Refusal::Internal("a conflict of states finds no end".into()))
    }

    /// Reads events and all that they rest upon, as far as it is not known.
    async fn look_up(
        &self,
        room: &RoomId,
        ids: BTreeSet<OwnedEventId>,
        known: &mut Known,
    ) -> Result<(), Refusal> {
        let ids: Vec<OwnedEventId> = ids.into_iter().collect();
        let mut wanted = self.store.auth_chain(&ids, MAX_CHAIN).await?;
        wanted.extend(ids);
        wanted.retain(|id| !known.events.contains_key(id) && !known.absent.contains(id));
        let wanted: Vec<OwnedEventId> = wanted.into_iter().collect();
        for page in wanted.chunks(PAGE) {
            let mut found = self.store.graph_events(page).await?;
            for id in page {
                match found.remove(id).filter(|event| event.room_id == room) {
                    Some(event) => drop(known.events.insert(id.clone(), Pdu::of_graph(&event)?)),
                    None => drop(known.absent.insert(id.clone())),
                }
            }
        }
        Ok(())
    }

    /// The events of a state that are to be looked at.
    pub(super) async fn pdus_of(&self, ids: &StateIds) -> Result<State, Refusal> {
        let named: Vec<OwnedEventId> = ids.values().cloned().collect();
        let found = self.store.graph_events(&named).await?;
        let mut state = State::new();
        for (key, id) in ids {
            if let Some(event) = found.get(id) {
                state.insert(key.clone(), Pdu::of_graph(event)?);
            }
        }
        Ok(state)
    }

    /// The same of the state after an event.
    pub(super) async fn state_after(
        &self,
        event: &OwnedEventId,
        keys: &[StateKey],
    ) -> Result<State, Refusal> {
        let ids = self.store.state_ids_of(event, Side::After, keys).await?;
        self.pdus_of(&ids.unwrap_or_default()).await
    }

    /// The same of the room's current state, under what `delta` makes of it.
    pub(super) async fn current_state(
        &self,
        room: &RoomRow,
        keys: &[StateKey],
        delta: &State,
    ) -> Result<State, Refusal> {
        let mut state = BTreeMap::new();
        for key in keys {
            let pdu = match delta.get(key) {
                Some(pdu) => Some(Arc::clone(pdu)),
                None => {
                    let event = self.store.state_event(&room.room_id, &key.0, &key.1).await?;
                    event.map(|event| Pdu::of(&event)).transpose()?
                }
            };
            state.extend(pdu.map(|pdu| (key.clone(), pdu)));
        }
        Ok(state)
    }
}
