//! What is missing before an event can be judged: asked for, within bounds, of the server that sent it.
//!
//! Nothing of a room waits meanwhile: nobody's turn is held. What a server says of a state is not believed further than
//! that the state's events are ones that somebody signed and that were allowed. Server-server API, "Backfilling and
//! retrieving missing events", "Retrieving events".

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use ruma::{OwnedEventId, ServerName, room_version_rules::RoomVersionRules};
use serde_json::value::RawValue;
use tokio::{task::JoinSet, time::Instant};

use super::{
    check::Checked,
    elsewhere::{Between, Elsewhere, Unanswered},
    form::named_create,
    order::in_order,
    place::{Given, Missing, Outcome, Way},
};
use crate::server::{
    rooms::{parts::Rooms, pdu::Pdu, refusal::Refusal},
    store::{EventStanding, RoomRow, Side, StateIds},
};

/// How often events between what is here and what came are asked for, and how many at a time.
const ROUNDS: usize = 10;
const AT_A_TIME: usize = 20;

/// States that are asked for to understand one batch.
const MAX_STATES: usize = 10;

/// Events of one state, with all that allows them.
const MAX_STATE: usize = 500_000;

/// Events that are asked for one by one; of more, the whole state is asked for instead.
const MAX_SINGLY: usize = 200;

/// How many of those at the same time.
const SINGLY_AT_ONCE: usize = 8;

/// How long what is missing for one batch is looked for. Past that no further question is asked.
const PATIENCE: Duration = Duration::from_secs(120);

/// A batch of events on its way into a room.
pub(super) struct Batch<'a, E> {
    pub(super) elsewhere: &'a Arc<E>,
    /// Who sent it.
    pub(super) origin: &'a ServerName,
    pub(super) room: &'a RoomRow,
    pub(super) rules: &'a RoomVersionRules,
    pub(super) way: Way,
}

impl Rooms {
    /// Gives the events of a batch their place, and those that have to be known first. `None`: the room is not here.
    pub(super) async fn receive_batch<E: Elsewhere>(
        &self,
        batch: &Batch<'_, E>,
        events: Vec<Checked>,
    ) -> Result<Option<BTreeMap<OwnedEventId, Outcome>>, Refusal> {
        let (mut waiting, mut outcomes) = (events, BTreeMap::new());
        let (mut given, mut asked) = (Given::default(), Asked::default());
        let began = Instant::now();
        loop {
            let (sorted, circular) =
                in_order(waiting, Checked::event_id, |event| event.prev_events().cloned().collect());
            for event in circular {
                let known = outcomes.entry(event.event_id().to_owned());
                known.or_insert(Outcome::Refused("the event follows itself".into()));
            }
            let Some(placed) = self.place(&batch.room.room_id, &sorted, &given, batch.way).await? else {
                return Ok(None);
            };
            let (mut still, mut missing) = (Vec::new(), BTreeMap::new());
            for (event, outcome) in sorted.into_iter().zip(placed) {
                if let Outcome::Missing(what) = &outcome {
                    missing.insert(event.event_id().to_owned(), what.clone());
                    still.push(event.clone());
                }
                outcomes.insert(event.event_id().to_owned(), outcome);
            }
            waiting = still;
            if waiting.is_empty() || began.elapsed() > PATIENCE {
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
        let coming: BTreeSet<&OwnedEventId> = missing.keys().collect();
        let prev: BTreeSet<OwnedEventId> =
            missing.values().flat_map(|m| &m.prev).filter(|id| !coming.contains(id)).cloned().collect();
        if prev.is_empty() {
            return Ok(found_some.then(Vec::new));
        }
        // What is past is bounded by who asks for it.
        if asked.between < ROUNDS && batch.way != Way::Past {
            asked.between += 1;
            let latest = waiting.iter().filter(|event| event.prev_events().any(|id| prev.contains(id)));
            let latest = latest.map(|event| event.event_id().to_owned()).collect();
            let mut new = self.find_between(batch, latest, &coming).await?;
            // What came in a round before and was of no use is of none again.
            new.retain(|event| asked.seen.insert(event.event_id().to_owned()));
            if !new.is_empty() {
                return Ok(Some(new));
            }
            asked.between = ROUNDS;
        }
        for id in &prev {
            if asked.may_ask_after(id)
                && let Some(state) = self.find_state(batch, id, Side::After).await?
            {
                given.after.insert(id.clone(), Arc::new(state));
                found_some = true;
            }
        }
        if found_some {
            return Ok(Some(Vec::new()));
        }
        // What nobody tells keeps away nothing that comes after it: the server that sent it knows what was before that.
        for (id, _) in missing.iter().filter(|(_, missing)| missing.prev.iter().any(|id| prev.contains(id))) {
            if asked.may_ask_before(id)
                && let Some(state) = self.find_state(batch, id, Side::Before).await?
            {
                given.before.insert(id.clone(), Arc::new(state));
                found_some = true;
            }
        }
        Ok(found_some.then(Vec::new))
    }

    /// The events between the room's end and `latest` that are neither here nor `coming`.
    async fn find_between<E: Elsewhere>(
        &self,
        batch: &Batch<'_, E>,
        latest: Vec<OwnedEventId>,
        coming: &BTreeSet<&OwnedEventId>,
    ) -> Result<Vec<Checked>, Refusal> {
        let room = &batch.room.room_id;
        let earliest =
            self.store.extremities(room).await?.into_iter().map(|end| end.event_id).take(AT_A_TIME);
        let between = Between { earliest: earliest.collect(), latest, limit: AT_A_TIME, min_depth: 0 };
        let texts = match batch.elsewhere.missing_events(batch.origin, room, between).await {
            Ok(texts) => texts,
            Err(error) => {
                tracing::debug!(%room, origin = %batch.origin, %error, "no missing events");
                return Ok(Vec::new());
            }
        };
        let texts = &texts[..texts.len().min(AT_A_TIME)];
        let mut new = self.prove_texts(&**batch.elsewhere, batch.rules, room, texts).await;
        let ids: Vec<OwnedEventId> = new.iter().map(|event| event.event_id().to_owned()).collect();
        let here = self.store.graph_events(&ids).await?;
        let is_known =
            |id: &ruma::EventId| here.get(id).is_some_and(|event| event.standing != EventStanding::Outlier);
        new.retain(|event| !is_known(event.event_id()) && !coming.contains(&event.event_id().to_owned()));
        Ok(new)
    }

    /// Looks for the events that allow one.
    async fn find_auth_events<E: Elsewhere>(
        &self,
        batch: &Batch<'_, E>,
        event: &OwnedEventId,
        wanted: &[OwnedEventId],
    ) -> Result<(), Refusal> {
        let Batch { elsewhere, origin, room, rules, .. } = batch;
        match elsewhere.event_auth(origin, &room.room_id, event).await {
            Ok(texts) => {
                let texts = &texts[..texts.len().min(MAX_STATE)];
                let events = self.prove_texts(&***elsewhere, rules, &room.room_id, texts).await;
                self.keep_outliers(room, rules, events).await?;
            }
            Err(error) => tracing::debug!(%event, %origin, %error, "no auth chain"),
        }
        let missing = self.not_here(wanted.iter().cloned().collect()).await?;
        self.find_singly(batch, missing).await
    }

    /// Asks for events one by one, and keeps those that are right.
    async fn find_singly<E: Elsewhere>(
        &self,
        batch: &Batch<'_, E>,
        ids: Vec<OwnedEventId>,
    ) -> Result<(), Refusal> {
        let (mut asking, mut texts) = (JoinSet::new(), Vec::new());
        for id in ids.into_iter().take(MAX_SINGLY) {
            if asking.len() >= SINGLY_AT_ONCE {
                texts.extend(answered(asking.join_next().await));
            }
            let (elsewhere, origin) = (Arc::clone(batch.elsewhere), batch.origin.to_owned());
            asking.spawn(async move { elsewhere.event(&origin, &id).await });
        }
        while let Some(done) = asking.join_next().await {
            texts.extend(answered(Some(done)));
        }
        let events = self.prove_texts(&**batch.elsewhere, batch.rules, &batch.room.room_id, &texts).await;
        self.keep_outliers(batch.room, batch.rules, events).await
    }

    /// Those of the events that are not here in any standing.
    async fn not_here(&self, ids: BTreeSet<OwnedEventId>) -> Result<Vec<OwnedEventId>, Refusal> {
        let ids: Vec<OwnedEventId> = ids.into_iter().collect();
        let here = self.store.graph_events(&ids).await?;
        Ok(ids.into_iter().filter(|id| !here.contains_key(id)).collect())
    }

    /// The state before or after an event of which it is not known; `None`: it is not to be had.
    async fn find_state<E: Elsewhere>(
        &self,
        batch: &Batch<'_, E>,
        event: &OwnedEventId,
        side: Side,
    ) -> Result<Option<StateIds>, Refusal> {
        match self.ask_for_state(batch, event, side).await {
            Ok(state) => Ok(Some(state)),
            Err(NoState::Unanswered(error)) => {
                tracing::debug!(room = %batch.room.room_id, %event, ?side, %error, "no state of an event");
                Ok(None)
            }
            Err(NoState::Refused(refusal)) => Err(refusal),
        }
    }

    async fn ask_for_state<E: Elsewhere>(
        &self,
        batch: &Batch<'_, E>,
        event: &OwnedEventId,
        side: Side,
    ) -> Result<StateIds, NoState> {
        let Batch { elsewhere, origin, room, rules, .. } = batch;
        let said = elsewhere.state_ids(origin, &room.room_id, event).await?;
        if said.state.len() + said.auth_chain.len() > MAX_STATE {
            return Err(Unanswered("the state is too large".into()).into());
        }
        let mut needed: BTreeSet<OwnedEventId> = said.auth_chain.into_iter().collect();
        needed.extend(said.state.iter().cloned());
        let last = (side == Side::After).then_some(event);
        needed.extend(last.cloned());
        let missing = self.not_here(needed.clone()).await?;
        if missing.len() > MAX_SINGLY {
            let texts = elsewhere.state(origin, &room.room_id, event).await?;
            let events = self.prove_texts(&***elsewhere, rules, &room.room_id, &texts).await;
            self.keep_outliers(room, rules, events).await?;
        }
        let missing = self.not_here(needed).await?;
        self.find_singly(batch, missing).await?;
        self.state_of_ids(room, rules, &said.state, last).await
    }

    /// The state that some events are, with one that comes after it, if there is one.
    async fn state_of_ids(
        &self,
        room: &RoomRow,
        rules: &RoomVersionRules,
        ids: &[OwnedEventId],
        last: Option<&OwnedEventId>,
    ) -> Result<StateIds, NoState> {
        let mut all = ids.to_vec();
        all.extend(last.cloned());
        let here = self.store.graph_events(&all).await.map_err(Refusal::from)?;
        let mut state = StateIds::new();
        for id in &all {
            let known = here.get(id).filter(|event| event.room_id == room.room_id);
            let Some(known) = known.filter(|event| event.standing != EventStanding::Rejected) else {
                continue;
            };
            let pdu = Pdu::of_graph(known).map_err(NoState::Refused)?;
            let Some(key) = pdu.state_key_pair() else { continue };
            if state.insert(key, id.clone()).is_some_and(|other| other != *id && Some(id) != last) {
                return Err(Unanswered(format!("two events are the same state: {id}")).into());
            }
        }
        let create = state.get(&("m.room.create".to_owned(), String::new()));
        let create = create.ok_or_else(|| Unanswered("a state without the room's first event".into()))?;
        let own = self.store.state_event(&room.room_id, "m.room.create", "").await.map_err(Refusal::from)?;
        let is_ours = own.is_none_or(|own| own.event_id == *create)
            && named_create(rules, &room.room_id).is_none_or(|named| named == *create);
        if is_ours { Ok(state) } else { Err(Unanswered("a state of another room".into()).into()) }
    }
}

/// What was asked for one batch.
#[derive(Default)]
struct Asked {
    between: usize,
    seen: BTreeSet<OwnedEventId>,
    states: usize,
    auth_of: BTreeSet<OwnedEventId>,
    after: BTreeSet<OwnedEventId>,
    before: BTreeSet<OwnedEventId>,
}

impl Asked {
    /// Whether the state after an event is to be asked for; then it was.
    fn may_ask_after(&mut self, event: &OwnedEventId) -> bool {
        let may = self.states < MAX_STATES && self.after.insert(event.clone());
        self.states += usize::from(may);
        may
    }

    /// The same of the state before one.
    fn may_ask_before(&mut self, event: &OwnedEventId) -> bool {
        let may = self.states < 2 * MAX_STATES && self.before.insert(event.clone());
        self.states += usize::from(may);
        may
    }
}

/// Why the state of an event is not known.
enum NoState {
    Unanswered(Unanswered),
    Refused(Refusal),
}

impl From<Unanswered> for NoState {
    fn from(e: Unanswered) -> Self {
        Self::Unanswered(e)
    }
}

impl From<Refusal> for NoState {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

type Done = Result<Result<Box<RawValue>, Unanswered>, tokio::task::JoinError>;

fn answered(done: Option<Done>) -> Option<Box<RawValue>> {
    match done? {
        Ok(Ok(text)) => Some(text),
        Ok(Err(error)) => {
            tracing::debug!(%error, "no event");
            None
        }
        Err(error) => {
            tracing::debug!(%error, "no event");
            None
        }
    }
}
