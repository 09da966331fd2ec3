//! What states that differ come to: state resolution, asked for no more than what it costs.
//!
//! Pure, over maps of IDs. The rules are ruma's. What all states agree upon is not looked at but where the rules do: so
//! a fork in a room of ten thousand costs what the fork is about. Room versions 2 and 12, "State resolution".

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ruma::{
    EventId, OwnedEventId,
    events::{StateEventType, TimelineEventType},
    room_version_rules::RoomVersionRules,
    state_res::{
        Event, StateMap, auth_types_for_event, resolve as resolve_by_the_rules,
        utils::event_id_set::EventIdSet,
    },
};

use super::super::pdu::{Pdu, StateKey};

/// State, as IDs.
pub(super) type StateIds = BTreeMap<StateKey, OwnedEventId>;

/// Events by their IDs.
pub(super) type Events = BTreeMap<OwnedEventId, Arc<Pdu>>;

/// States of one room that differ.
#[derive(Debug)]
pub(super) struct Conflict {
    states: Vec<Arc<StateIds>>,
    /// What they differ in.
    keys: BTreeSet<StateKey>,
}

/// What is known of the events that a conflict is about.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// The events.
    pub(super) events: Events,
    /// Those that were looked for and are not here.
    pub(super) absent: BTreeSet<OwnedEventId>,
    /// The auth chain of all that the states agree upon, as far as it was needed.
    pub(super) agreed_chain: Option<BTreeSet<OwnedEventId>>,
}

/// Why a conflict is not resolved yet.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Unresolved {
    /// These events have to be looked at.
    Events(BTreeSet<OwnedEventId>),
    /// The auth chain of what the states agree upon ([`Conflict::agreed`]) has to be known.
    AgreedChain,
    /// The rules cannot be followed; says why.
    Failed(String),
}

impl Conflict {
    /// What `states` differ in, of which there is at least one; or the state, if they are all the same.
    pub(super) fn between(mut states: Vec<Arc<StateIds>>) -> Result<Self, Arc<StateIds>> {
        states.dedup_by(|a, b| Arc::ptr_eq(a, b) || a == b);
        let Some((first, others)) = states.split_first() else { return Err(Arc::default()) };
        let mut keys = BTreeSet::new();
        for other in others {
            keys.extend(
                first.iter().filter(|(key, id)| other.get(*key) != Some(*id)).map(|(key, _)| key.clone()),
            );
            keys.extend(other.keys().filter(|key| !first.contains_key(*key)).cloned());
        }
        if keys.is_empty() { Err(Arc::clone(first)) } else { Ok(Self { states, keys }) }
    }

    /// The events that the states differ in.
    pub(super) fn events(&self) -> BTreeSet<OwnedEventId> {
        self.states.iter().flat_map(|state| self.of(state)).cloned().collect()
    }

    /// The events that the states agree upon.
    pub(super) fn agreed(&self) -> impl Iterator<Item = (&StateKey, &OwnedEventId)> {
        self.states[0].iter().filter(|(key, _)| !self.keys.contains(*key))
    }

    /// What the states come to.
    pub(super) fn resolve(&self, rules: &RoomVersionRules, known: &Known) -> Result<StateIds, Unresolved> {
        let Some(version) = rules.state_res.v2_rules() else {
            return Err(Unresolved::Failed("states of this room version cannot be resolved".to_owned()));
        };
        let mut chains = Vec::with_capacity(self.states.len());
        for state in &self.states {
            chains.push(chain(self.of(state), known)?);
        }
        let all: BTreeSet<&OwnedEventId> = chains.iter().flatten().collect();
        let differing: BTreeSet<OwnedEventId> =
            all.into_iter().filter(|id| !chains.iter().all(|chain| chain.contains(*id))).cloned().collect();
        if !differing.is_empty() {
            // What allows something that all agree upon is in the auth chain of every state.
            let agreed = known.agreed_chain.as_ref().ok_or(Unresolved::AgreedChain)?;
            let common: Vec<OwnedEventId> = differing.intersection(agreed).cloned().collect();
            chains.iter_mut().for_each(|chain| chain.extend(common.iter().cloned()));
        }
        let subgraph = match version.consider_conflicted_state_subgraph {
            true => subgraph(&self.events(), &chains, known),
            false => BTreeSet::new(),
        };
        let about: BTreeSet<OwnedEventId> =
            self.events().into_iter().chain(differing).chain(subgraph.iter().cloned()).collect();
        let looked_at = looked_at(rules, &about, known);
        let maps: Vec<StateMap<OwnedEventId>> = self
            .states
            .iter()
            .map(|state| {
                let entries =
                    state.iter().filter(|(key, _)| self.keys.contains(*key) || looked_at.contains(*key));
                entries
                    .map(|(key, id)| ((StateEventType::from(&*key.0), key.1.clone()), id.clone()))
                    .collect()
            })
            .collect();
        let sets = chains.into_iter().map(|chain| chain.into_iter().collect::<EventIdSet<OwnedEventId>>());
        let missing = RefCell::new(BTreeSet::new());
        let fetch = |id: &EventId| {
            let found = known.events.get(id).cloned();
            if found.is_none() && !known.absent.contains(id) {
                missing.borrow_mut().insert(id.to_owned());
            }
            found
        };
        let resolved =
            resolve_by_the_rules(&rules.authorization, version, &maps, sets.collect(), fetch, |_| {
                Some(subgraph.iter().cloned().collect())
            });
        let missing = missing.into_inner();
        if !missing.is_empty() {
            return Err(Unresolved::Events(missing));
        }
        let resolved = resolved.map_err(|e| Unresolved::Failed(e.to_string()))?;
        let mut state: StateIds = in_order(resolved);
        state.extend(self.agreed().map(|(key, id)| (key.clone(), id.clone())));
        Ok(state)
    }

    fn of<'a>(&'a self, state: &'a StateIds) -> impl Iterator<Item = &'a OwnedEventId> {
        self.keys.iter().filter_map(|key| state.get(key))
    }
}

fn in_order(resolved: StateMap<OwnedEventId>) -> StateIds {
    resolved.into_iter().map(|((kind, key), id)| ((kind.to_string(), key), id)).collect()
}

/// The auth chain of events: what they name as allowing them, what those name, and so on.
fn chain<'a>(
    of: impl Iterator<Item = &'a OwnedEventId>,
    known: &Known,
) -> Result<BTreeSet<OwnedEventId>, Unresolved> {
    let (mut chain, mut missing) = (BTreeSet::new(), BTreeSet::new());
    let mut open: Vec<OwnedEventId> = of.cloned().collect();
    let roots: BTreeSet<OwnedEventId> = open.iter().cloned().collect();
    while let Some(id) = open.pop() {
        let Some(event) = known.events.get(&id) else {
            if !known.absent.contains(&id) {
                missing.insert(id);
            }
            continue;
        };
        for named in event.auth_events() {
            if chain.insert(named.clone()) && !roots.contains(named) {
                open.push(named.clone());
            }
        }
    }
    if missing.is_empty() { Ok(chain) } else { Err(Unresolved::Events(missing)) }
}

/// The events on the ways between conflicted ones, along auth events (room version 12).
fn subgraph(
    conflicted: &BTreeSet<OwnedEventId>,
    chains: &[BTreeSet<OwnedEventId>],
    known: &Known,
) -> BTreeSet<OwnedEventId> {
    let mut named_by: BTreeMap<&EventId, Vec<&OwnedEventId>> = BTreeMap::new();
    let below: BTreeSet<&OwnedEventId> = chains.iter().flatten().chain(conflicted).collect();
    for id in &below {
        for named in known.events.get(*id).into_iter().flat_map(|event| event.auth_events()) {
            named_by.entry(named).or_default().push(*id);
        }
    }
    // All of these are below a conflicted event; those above one as well are between two.
    let mut between = conflicted.clone();
    let mut open: Vec<&OwnedEventId> = conflicted.iter().collect();
    while let Some(id) = open.pop() {
        for above in named_by.get(&**id).into_iter().flatten() {
            if between.insert((*above).clone()) {
                open.push(above);
            }
        }
    }
    between
}

/// The state that the rules look at when they judge these events.
fn looked_at(rules: &RoomVersionRules, about: &BTreeSet<OwnedEventId>, known: &Known) -> BTreeSet<StateKey> {
    let always = ["m.room.create", "m.room.power_levels", "m.room.join_rules"];
    let mut keys: BTreeSet<StateKey> = always.map(|kind| (kind.to_owned(), String::new())).into();
    for event in about.iter().filter_map(|id| known.events.get(id)) {
        keys.extend(auth_keys(rules, event));
    }
    keys
}

/// The state that the rules look at when they judge an event; nothing for one of a form that they refuse.
pub(super) fn auth_keys(rules: &RoomVersionRules, event: &Pdu) -> Vec<StateKey> {
    let kind: &TimelineEventType = event.event_type();
    let types =
        auth_types_for_event(kind, event.sender(), event.state_key(), event.content(), &rules.authorization);
    types.unwrap_or_default().into_iter().map(|(kind, key)| (kind.to_string(), key)).collect()
}

#[cfg(test)]
mod tests;
