//! What is missing before events can be judged: asked for, within bounds, of the server that sent them, and of others of
//! the room where that one has no answer.
//!
//! Nothing of a room waits meanwhile: nobody's turn is held. What a server says of a state is not believed further than
//! that the state's events are ones that somebody signed and that were allowed. Server-server API, "Backfilling and
//! retrieving missing events", "Retrieving events".

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ruma::{EventId, OwnedEventId, room_version_rules::RoomVersionRules};

use super::{
    check::Checked,
    cut::{Waits, cut},
    elsewhere::{Between, Elsewhere, Unanswered},
    order::in_order,
    run::{Given, Missing, Outcome, Way},
    servers::Servers,
};
use crate::server::{
    rooms::{parts::Rooms, refusal::Refusal},
    store::{EventStanding, RoomRow, StateIds},
};

/// How often events between what is here and what came are asked for, and how many at a time.
const ROUNDS: usize = 10;
const AT_A_TIME: usize = 20;

/// States that are asked for to understand one batch.
pub(super) const MAX_STATES: usize = 10;

/// A batch of events on its way into a room.
pub(super) struct Batch<'a, E> {
    pub(super) servers: Arc<Servers<E>>,
    pub(super) room: &'a RoomRow,
    pub(super) rules: &'a RoomVersionRules,
    pub(super) way: Way,
    /// Of what is past: before which event it stands if nothing that is here follows it.
    pub(super) before: Option<&'a EventId>,
}

impl Rooms {
    /// Gives the events of a batch their place, and those that have to be known first. `None`: the room is not here.
    pub(super) async fn receive_batch<E: Elsewhere>(
        &self,
        batch: &Batch<'_, E>,
        events: Vec<Checked>,
    ) -> Result<Option<BTreeMap<OwnedEventId, Outcome>>, Refusal> {
        let (mut waiting, mut outcomes) = (events, BTreeMap::new());
        let (mut given, mut asked) = (Given::new(), Asked::default());
        loop {
            let (sorted, circular) =
                in_order(waiting, Checked::event_id, |event| event.prev_events().cloned().collect());
            for event in circular {
                let known = outcomes.entry(event.event_id().to_owned());
                known.or_insert(Outcome::Refused("the event follows itself".into()));
            }
            let (room, how) = (&batch.room.room_id, (batch.way, batch.before));
            let Some(placed) = self.place(room, &sorted, &given, how).await? else { return Ok(None) };
            let (mut still, mut missing) = (Vec::new(), BTreeMap::new());
            for (event, outcome) in sorted.into_iter().zip(placed) {
                if let Outcome::Missing(what) = &outcome {
                    missing.insert(event.event_id().to_owned(), what.clone());
                    still.push(event.clone());
                }
                outcomes.insert(event.event_id().to_owned(), outcome);
            }
            waiting = still;
            if waiting.is_empty() || batch.servers.is_late() {
                return Ok(Some(outcomes));
            }
            let more = self.look_for(batch, &waiting, missing, (&mut given, &mut asked)).await?;
            match more {
                Some(events) => waiting.extend(events),
                None => return Ok(Some(outcomes)),
            }
        }
    }

    /// Looks for what is missing; events to be placed with the others. `None`: nothing more can be found.
    async fn look_for<E: Elsewhere>(
        &self,
        batch: &Batch<'_, E>,
        waiting: &[Checked],
        missing: BTreeMap<OwnedEventId, Missing>,
        (given, asked): (&mut Given, &mut Asked),
    ) -> Result<Option<Vec<Checked>>, Refusal> {
        let mut found_some = false;
        for (event, Missing { auth, .. }) in missing.iter().filter(|(_, missing)| !missing.auth.is_empty()) {
            if asked.auth_of.insert(event.clone()) {
                self.find_auth_events(batch, event, auth).await?;
                found_some = true;
            }
        }
        let prev: BTreeSet<OwnedEventId> =
            missing.values().flat_map(|m| &m.prev).filter(|id| !missing.contains_key(*id)).cloned().collect();
        // What is past is bounded by who asks for it.
        if !prev.is_empty() && asked.between < ROUNDS && batch.way != Way::Past {
            asked.between += 1;
            let new = self.find_before(batch, waiting, (prev, &missing), asked).await?;
            if !new.is_empty() {
                return Ok(Some(new));
            }
            asked.between = ROUNDS;
        }
        let left = MAX_STATES - asked.states;
        let wanted = waiting.iter().filter(|event| !asked.state_before.contains(event.event_id()));
        let wanted = wanted.filter_map(|event| Some(waits(event, missing.get(event.event_id())?)));
        for alike in cut(&wanted.collect::<Vec<_>>(), left) {
            let Some(first) = alike.first() else { continue };
            asked.states += 1;
            found_some = true;
            let state = self.find_state_before(batch, first).await?.map(|state| sharing(given, state));
            asked.state_before.extend(alike.iter().cloned());
            if let Some(state) = state {
                given.extend(alike.into_iter().map(|id| (id, Arc::clone(&state))));
            }
        }
        Ok(found_some.then(Vec::new))
    }

    /// Events that those that wait follow, and that are neither here nor among them.
    async fn find_before<E: Elsewhere>(
        &self,
        batch: &Batch<'_, E>,
        waiting: &[Checked],
        (prev, coming): (BTreeSet<OwnedEventId>, &BTreeMap<OwnedEventId, Missing>),
        asked: &mut Asked,
    ) -> Result<Vec<Checked>, Refusal> {
        let latest = waiting.iter().filter(|event| event.prev_events().any(|id| prev.contains(id)));
        let latest: Vec<OwnedEventId> = latest.map(|event| event.event_id().to_owned()).collect();
        // What is not as deep was before the first of what is here: past, for who scrolls back.
        let min_depth = self.store.first_depth(&batch.room.room_id).await?;
        let mut new = self.find_between(batch, latest, (coming, min_depth)).await?;
        // What came in a round before and was of no use is of none again.
        new.retain(|event| event.depth >= min_depth && asked.seen.insert(event.event_id().to_owned()));
        if !new.is_empty() {
            return Ok(new);
        }
        // Who does not have what came may have what it follows.
        let singly = prev.into_iter().filter(|id| asked.singly.insert(id.clone())).take(AT_A_TIME).collect();
        let mut found = self.ask_singly(batch, singly).await;
        found.retain(|event| event.depth >= min_depth);
        self.without_known(found, coming).await
    }

    /// The events between the room's end and `latest`.
    async fn find_between<E: Elsewhere>(
        &self,
        batch: &Batch<'_, E>,
        latest: Vec<OwnedEventId>,
        (coming, min_depth): (&BTreeMap<OwnedEventId, Missing>, u64),
    ) -> Result<Vec<Checked>, Refusal> {
        let (room, elsewhere) = (&batch.room.room_id, &*batch.servers.elsewhere);
        let earliest =
            self.store.extremities(room).await?.into_iter().map(|end| end.event_id).take(AT_A_TIME);
        let between = &Between { earliest: earliest.collect(), latest, limit: AT_A_TIME, min_depth };
        let found = batch.servers.ask(|server| async move {
            let texts = elsewhere.missing_events(&server, room, between.clone()).await?;
            let texts = &texts[..texts.len().min(AT_A_TIME)];
            let found = self.prove_texts(elsewhere, batch.rules, room, texts).await;
            match self.without_known(found, coming).await {
                Ok(new) if new.is_empty() => Err(Unanswered("nothing new".into())),
                other => Ok(other),
            }
        });
        found.await.unwrap_or_else(|error| {
            tracing::debug!(%room, %error, "no missing events");
            Ok(Vec::new())
        })
    }

    /// Without those that are here, or are `coming`.
    async fn without_known(
        &self,
        mut events: Vec<Checked>,
        coming: &BTreeMap<OwnedEventId, Missing>,
    ) -> Result<Vec<Checked>, Refusal> {
        let ids: Vec<OwnedEventId> = events.iter().map(|event| event.event_id().to_owned()).collect();
        let here = self.store.graph_events(&ids).await?;
        let is_known =
            |id: &EventId| here.get(id).is_some_and(|event| event.standing != EventStanding::Outlier);
        events.retain(|event| !is_known(event.event_id()) && !coming.contains_key(event.event_id()));
        Ok(events)
    }
}

/// What was asked for one batch.
#[derive(Default)]
struct Asked {
    between: usize,
    seen: BTreeSet<OwnedEventId>,
    states: usize,
    singly: BTreeSet<OwnedEventId>,
    auth_of: BTreeSet<OwnedEventId>,
    state_before: BTreeSet<OwnedEventId>,
}

fn waits(event: &Checked, missing: &Missing) -> Waits {
    let prev = event.prev_events().cloned().collect();
    Waits { id: event.event_id().to_owned(), prev, missing: missing.prev.iter().cloned().collect() }
}

/// A state that is one of those that are known already is that one: those of many events are mostly the same.
fn sharing(given: &Given, state: StateIds) -> Arc<StateIds> {
    let known = given.values().find(|known| ***known == state);
    known.map_or_else(|| Arc::new(state), Arc::clone)
}
