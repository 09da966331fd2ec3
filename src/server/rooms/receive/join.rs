//! What a server answered to a join: the state of a room and all that allows it, none of it known, and perhaps more than
//! fits in memory.
//!
//! It is read three times. First for what there is, what rests upon what, and whose keys are needed; then for what others
//! rest upon, which is verified and judged; then all of it, and the rest is judged by that. Memory holds numbers for
//! everything, and, in their shortest form, the events that others name. Server-server API, "Joining Rooms".

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ruma::{OwnedEventId, OwnedRoomId, RoomId, RoomVersionId, room_version_rules::RoomVersionRules};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::mpsc;

use super::{
    check::{Checked, Content, Unproven, read},
    elsewhere::Elsewhere,
    form::named_create,
    resolve::auth_keys,
};
use crate::server::{
    keys::{EventKeys, NeededKeys},
    rooms::{
        append::rules,
        judge::{by_auth_events, by_state},
        parts::Rooms,
        pdu::{Pdu, StateKey},
        refusal::Refusal,
    },
    store::{NewEvent, NotCommitted, RoomChange, RoomCommit, RoomRow, StateIds, StoreError},
};

/// Events of an answer, at most.
const MAX_EVENTS: usize = 1_000_000;

/// Rows in one write; and how many such pages wait for the disk.
const PAGE: usize = 200;
const PAGES_AHEAD: usize = 2;

/// Which list of the answer an event stands in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Piece {
    /// The state before the join.
    State,
    /// What allows it.
    AuthChain,
}

/// Why nobody can come into a room by this answer.
#[derive(Debug)]
pub enum Unsound {
    /// It is not so, or cannot be read; says what is wrong.
    Answer(String),
    /// It is this server's fault.
    Ours(Refusal),
}

impl<T: Into<Refusal>> From<T> for Unsound {
    fn from(e: T) -> Self {
        Self::Ours(e.into())
    }
}

/// Takes an event.
pub type Each<'a> = dyn FnMut(Piece, Box<RawValue>) -> Result<(), String> + 'a;

/// What there is in an answer.
#[derive(Default)]
struct Index {
    /// The number of each event that is there or named.
    numbers: BTreeMap<OwnedEventId, u32>,
    /// Those of the events of the answer, in their order; `None`: it is none. The answer is the same each time it is read.
    order: Vec<Option<u32>>,
    /// By number: what allows it; `None`: it is not there.
    auth: Vec<Option<Box<[u32]>>>,
    /// Those that allow others.
    named: BTreeSet<u32>,
    state: BTreeMap<StateKey, u32>,
    needed: NeededKeys,
}

/// What is known of the events that others rest upon.
#[derive(Default)]
struct Known {
    events: BTreeMap<u32, Arc<Pdu>>,
    /// Of these the content is not what was signed.
    emptied: BTreeSet<u32>,
    rejected: BTreeSet<u32>,
}

/// One page of rows, those that were not allowed among them, and the numbers of the good ones.
struct Page {
    rows: Vec<NewEvent>,
    rejected: BTreeSet<OwnedEventId>,
    good: Vec<u32>,
}

impl Rooms {
    /// Checks what a server answered to `join`: hashes, signatures, and what the rules say of each event. What is right is
    /// kept, as events that others rest upon; the state before the join is the answer. `read` hands the events over, each
    /// time it is called, on a thread of its own.
    ///
    /// # Errors
    /// [`Unsound`].
    pub async fn check_join_answer<E, R>(
        &self,
        elsewhere: &E,
        (room, version): (&RoomId, &RoomVersionId),
        join: &Checked,
        mut read: R,
    ) -> Result<StateIds, Unsound>
    where
        E: Elsewhere,
        R: FnMut(&mut Each<'_>) -> Result<(), String> + Send + 'static,
    {
        let rules = rules(version)?;
        let room_id = room.to_owned();
        let its_rules = rules.clone();
        let indexed = blocking(move || {
            let index = Index::of(&its_rules, &room_id, &mut read)?;
            Ok((read, index))
        });
        let (mut read, mut index) = indexed.await?;
        let keys = Arc::new(self.keys(elsewhere, std::mem::take(&mut index.needed)).await);
        let (its_rules, its_keys, room_id) = (rules.clone(), Arc::clone(&keys), room.to_owned());
        let known = blocking(move || {
            let known = index.know(&its_rules, &its_keys, &room_id, &mut read)?;
            Ok((read, index, known))
        });
        let (mut read, index, known) = known.await?;
        let row = self.room_to_enter(room, version).await?;
        let (pages, mut written) = mpsc::channel(PAGES_AHEAD);
        let (its_rules, room_id) = (rules.clone(), room.to_owned());
        let judging = tokio::task::spawn_blocking(move || {
            let outcome = index.judge(&its_rules, &keys, (&room_id, &known), &mut read, &pages);
            (outcome, index)
        });
        let mut good = BTreeSet::new();
        while let Some(Page { rows, rejected, good: some }) = written.recv().await {
            self.judged.add(rows.len());
            self.write_outliers(&row, rows, rejected).await?;
            good.extend(some);
        }
        let (outcome, index) = judging.await.map_err(|e| Refusal::Internal(e.to_string()))?;
        outcome.map_err(Unsound::Answer)?;
        let state = self.state_of_answer(&row, index, &good).await?;
        self.check_join(&rules, version, join, &state).await?;
        Ok(state)
    }

    /// The row of a room that is not here yet.
    async fn room_to_enter(&self, room: &RoomId, version: &RoomVersionId) -> Result<RoomRow, Unsound> {
        let row = RoomRow { room_id: room.to_owned(), version: version.clone(), listed: false };
        let create =
            RoomChange::Create { room: room.to_owned(), version: version.clone(), listed: row.listed };
        let commit = RoomCommit { changes: vec![create], ..RoomCommit::default() };
        match self.store.commit_rooms(commit).await?.await {
            // It was here once.
            Ok(_) | Err(NotCommitted::Stale) => Ok(row),
            Err(NotCommitted::Store(e)) => Err(e.into()),
            Err(e) => Err(Refusal::Internal(format!("a room cannot be made: {e:?}")).into()),
        }
    }

    /// The state that the answer says, of what is right in it and was not found wrong before.
    async fn state_of_answer(
        &self,
        room: &RoomRow,
        index: Index,
        good: &BTreeSet<u32>,
    ) -> Result<StateIds, StoreError> {
        let Index { numbers, state, .. } = index;
        let ids: BTreeMap<u32, OwnedEventId> = numbers.into_iter().map(|(id, number)| (number, id)).collect();
        let state: StateIds = state
            .into_iter()
            .filter(|(_, number)| good.contains(number))
            .filter_map(|(key, number)| Some((key, ids.get(&number)?.clone())))
            .collect();
        let mut sound = StateIds::new();
        let entries: Vec<_> = state.into_iter().collect();
        for page in entries.chunks(PAGE) {
            let ids: Vec<OwnedEventId> = page.iter().map(|(_, id)| id.clone()).collect();
            let here = self.store.sound_events(&room.room_id, &ids).await?;
            sound.extend(page.iter().filter(|(_, id)| here.contains(id)).cloned());
            // Reading a page is no waiting: others are let go first.
            tokio::task::yield_now().await;
        }
        Ok(sound)
    }

    /// Whether the join is allowed in that state, which has to be one of the room at all.
    async fn check_join(
        &self,
        rules: &RoomVersionRules,
        version: &RoomVersionId,
        join: &Checked,
        state: &StateIds,
    ) -> Result<(), Unsound> {
        #[derive(Deserialize)]
        struct Create {
            room_version: Option<String>,
        }
        let create: StateKey = ("m.room.create".to_owned(), String::new());
        let mut keys = auth_keys(rules, &join.pdu);
        keys.push(create.clone());
        let looked_at = keys.iter().filter_map(|key| Some((key.clone(), state.get(key)?.clone()))).collect();
        let looked_at = self.pdus_of(&looked_at).await?;
        let create = looked_at.get(&create);
        let create = create.ok_or_else(|| Unsound::Answer("the room's first event is not in it".into()))?;
        let said = create.content_as::<Create>().and_then(|create| create.room_version);
        if said.as_deref().unwrap_or("1") != version.as_str() {
            return Err(Unsound::Answer("the room is of another version".into()));
        }
        by_state(&rules.authorization, &join.pdu, &looked_at)
            .map_err(|why| Unsound::Answer(format!("its state does not allow the join: {why}")))
    }
}

/// Work for another thread, of which the errors are the answer's fault.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, Unsound> {
    let done = tokio::task::spawn_blocking(work).await.map_err(|e| Refusal::Internal(e.to_string()))?;
    done.map_err(Unsound::Answer)
}

impl Index {
    fn of(
        rules: &RoomVersionRules,
        room: &OwnedRoomId,
        read_all: &mut dyn FnMut(&mut Each<'_>) -> Result<(), String>,
    ) -> Result<Self, String> {
        let mut index = Self::default();
        let create = named_create(rules, room);
        read_all(&mut |piece, text| {
            if index.order.len() >= MAX_EVENTS {
                return Err(format!("there are more than {MAX_EVENTS} events in it"));
            }
            let event = match read(rules, room, text.get()) {
                Ok(event) => event,
                Err(flaw) => {
                    tracing::debug!(%room, %flaw, "an event of the answer to a join is dropped");
                    index.order.push(None);
                    return Ok(());
                }
            };
            let number = index.add(piece, &event, create.as_ref())?;
            index.order.push(Some(number));
            event.need(rules, &mut index.needed);
            Ok(())
        })?;
        index.named = index.auth.iter().flatten().flat_map(|auth| auth.iter().copied()).collect();
        Ok(index)
    }

    fn add(&mut self, piece: Piece, event: &Unproven, create: Option<&OwnedEventId>) -> Result<u32, String> {
        let number = self.number(&event.event_id().to_owned());
        if let (Piece::State, Some(key)) = (piece, event.pdu.state_key_pair())
            && self.state.insert(key, number).is_some_and(|other| other != number)
        {
            return Err("two events are the same state".to_owned());
        }
        let mut auth: Vec<OwnedEventId> = event.auth_events().cloned().collect();
        auth.extend(create.filter(|create| **create != *event.event_id()).cloned());
        let auth = auth.iter().map(|id| self.number(id)).collect();
        if self.auth.len() > MAX_EVENTS {
            return Err(format!("there are more than {MAX_EVENTS} events in it"));
        }
        self.auth[number as usize] = Some(auth);
        Ok(number)
    }

    fn number(&mut self, id: &OwnedEventId) -> u32 {
        if let Some(number) = self.numbers.get(id) {
            return *number;
        }
        let number = self.auth.len() as u32;
        self.numbers.insert(id.clone(), number);
        self.auth.push(None);
        number
    }

    /// Verifies and judges what others rest upon.
    fn know(
        &self,
        rules: &RoomVersionRules,
        keys: &EventKeys,
        room: &OwnedRoomId,
        read_all: &mut dyn FnMut(&mut Each<'_>) -> Result<(), String>,
    ) -> Result<Known, String> {
        let (mut proven, mut emptied) = (BTreeMap::new(), BTreeSet::new());
        let mut order = self.order.iter();
        read_all(&mut |_, text| {
            let Some(number) = order.next().copied().flatten() else { return Ok(()) };
            if !self.named.contains(&number) || proven.contains_key(&number) {
                return Ok(());
            }
            let Ok(event) = read(rules, room, text.get()) else { return Ok(()) };
            match event.prove(rules, keys) {
                Ok(event) => {
                    if event.content == Content::Other {
                        emptied.insert(number);
                    }
                    proven.insert(number, event.pdu);
                }
                Err(flaw) => tracing::debug!(%room, %flaw, "an event of the answer to a join is dropped"),
            }
            Ok(())
        })?;
        let mut known = Known { emptied, ..Known::default() };
        for number in self.in_order(&proven) {
            let Some(pdu) = proven.remove(&number) else { continue };
            match self.by_auth_events(rules, number, &pdu, &known) {
                Some(Ok(())) => drop(known.events.insert(number, pdu)),
                Some(Err(why)) => {
                    tracing::debug!(%room, event = %pdu.id(), why, "an event of the answer to a join is not allowed");
                    known.rejected.insert(number);
                    known.events.insert(number, pdu.as_rejected());
                }
                None => {}
            }
        }
        Ok(known)
    }

    /// The events in an order in which each comes after those that allow it; without those of which some are not there.
    fn in_order(&self, events: &BTreeMap<u32, Arc<Pdu>>) -> Vec<u32> {
        let mut waits: BTreeMap<u32, usize> = BTreeMap::new();
        let mut allows: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        let mut free = Vec::new();
        for number in events.keys() {
            let auth = self.auth[*number as usize].iter().flatten();
            let auth: BTreeSet<u32> = auth.copied().collect();
            if auth.is_empty() {
                free.push(*number);
            }
            waits.insert(*number, auth.len());
            for other in auth {
                allows.entry(other).or_default().push(*number);
            }
        }
        let mut sorted = Vec::with_capacity(events.len());
        while let Some(number) = free.pop() {
            sorted.push(number);
            for other in allows.get(&number).into_iter().flatten() {
                if let Some(left) = waits.get_mut(other) {
                    *left -= 1;
                    if *left == 0 {
                        free.push(*other);
                    }
                }
            }
        }
        sorted
    }

    /// What the rules say of an event by those that allow it; `None`: some of these are not known.
    fn by_auth_events(
        &self,
        rules: &RoomVersionRules,
        number: u32,
        pdu: &Pdu,
        known: &Known,
    ) -> Option<Result<(), String>> {
        let mut auth_events = BTreeMap::new();
        for other in self.auth[number as usize].iter().flatten() {
            let event = known.events.get(other)?;
            auth_events.insert(event.id().to_owned(), Arc::clone(event));
        }
        Some(by_auth_events(&rules.authorization, pdu, &auth_events))
    }

    /// Judges everything, and hands it over by pages.
    fn judge(
        &self,
        rules: &RoomVersionRules,
        keys: &EventKeys,
        (room, known): (&OwnedRoomId, &Known),
        read_all: &mut dyn FnMut(&mut Each<'_>) -> Result<(), String>,
        pages: &mpsc::Sender<Page>,
    ) -> Result<(), String> {
        let empty = || Page { rows: Vec::new(), rejected: BTreeSet::new(), good: Vec::new() };
        let (mut page, mut seen) = (empty(), BTreeSet::new());
        let send = |page| pages.blocking_send(page).map_err(|_| "nobody takes it".to_owned());
        let mut order = self.order.iter();
        read_all(&mut |_, text| {
            let Some(number) = order.next().copied().flatten() else { return Ok(()) };
            if !seen.insert(number) {
                return Ok(());
            }
            let Ok(event) = read(rules, room, text.get()) else { return Ok(()) };
            let Some((event, is_allowed)) = self.judged(rules, keys, number, event, known) else {
                return Ok(());
            };
            if is_allowed {
                page.good.push(number);
            } else {
                page.rejected.insert(event.event_id().to_owned());
            }
            page.rows.push(event.row(room, false, None));
            if page.rows.len() >= PAGE { send(std::mem::replace(&mut page, empty())) } else { Ok(()) }
        })?;
        send(page)
    }

    /// One event, and whether it is allowed; `None`: it is not right.
    fn judged(
        &self,
        rules: &RoomVersionRules,
        keys: &EventKeys,
        number: u32,
        event: Unproven,
        known: &Known,
    ) -> Option<(Checked, bool)> {
        if self.named.contains(&number) {
            known.events.get(&number)?;
            let content = if known.emptied.contains(&number) { Content::Other } else { Content::AsSigned };
            return Some((event.known(rules, keys, content).ok()?, !known.rejected.contains(&number)));
        }
        let event = match event.prove(rules, keys) {
            Ok(event) => event,
            Err(flaw) => {
                tracing::debug!(%flaw, "an event of the answer to a join is dropped");
                return None;
            }
        };
        let is_allowed = self.by_auth_events(rules, number, &event.pdu, known)?;
        Some((event, is_allowed.is_ok()))
    }
}
