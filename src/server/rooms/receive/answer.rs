//! What there is in the answer to a join, by numbers: what rests upon what, and what of it is right and allowed.
//!
//! Reads the answer, off the asynchronous workers, and writes nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ruma::{OwnedEventId, OwnedRoomId, room_version_rules::RoomVersionRules};
use serde_json::value::RawValue;
use tokio::sync::mpsc;

use super::{
    check::{Checked, Content, Unproven, read},
    form::named_create,
    resolve::auth_keys,
};
use crate::server::{
    keys::{EventKeys, NeededKeys},
    rooms::{
        judge::by_auth_events,
        pdu::{Pdu, StateKey},
    },
    store::NewEvent,
};

/// Events of an answer, at most.
const MAX_EVENTS: usize = 1_000_000;

/// Bytes of those together that others rest upon, at most: they take about as much memory.
const MAX_KNOWN: usize = 256 << 20;

/// What an event can rest upon by the rules: others are no reason for anything, and so is what names them.
const AUTH_TYPES: [&str; 5] = [
    "m.room.create",
    "m.room.power_levels",
    "m.room.join_rules",
    "m.room.member",
    "m.room.third_party_invite",
];

/// Rows in one page.
pub(super) const PAGE: usize = 200;

/// Which list of the answer an event stands in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Piece {
    /// The state before the join.
    State,
    /// What allows it.
    AuthChain,
}

/// Takes an event.
pub type Each<'a> = dyn FnMut(Piece, Box<RawValue>) -> Result<(), String> + 'a;

/// What there is in an answer.
#[derive(Default)]
pub(super) struct Index {
    /// The number of each event that is there or named.
    pub(super) numbers: BTreeMap<OwnedEventId, u32>,
    /// Those of the events of the answer, in their order; `None`: it is none. The answer is the same each time it is read.
    order: Vec<Option<u32>>,
    /// By number: what allows it; `None`: it is not there.
    auth: Vec<Option<Box<[u32]>>>,
    /// Those that may allow others by their type; then, those of them that are named.
    named: BTreeSet<u32>,
    pub(super) state: BTreeMap<StateKey, u32>,
    pub(super) needed: NeededKeys,
}

/// What is known of the events that others rest upon.
#[derive(Default)]
pub(super) struct Known {
    events: BTreeMap<u32, Arc<Pdu>>,
    /// Of these the content is not what was signed.
    emptied: BTreeSet<u32>,
    rejected: BTreeSet<u32>,
}

/// One page of rows, those that were not allowed among them, and the numbers of the good ones.
pub(super) struct Page {
    pub(super) rows: Vec<NewEvent>,
    pub(super) rejected: BTreeSet<OwnedEventId>,
    pub(super) good: Vec<u32>,
}

pub(super) fn create_key() -> StateKey {
    ("m.room.create".to_owned(), String::new())
}

/// The state that decides whether somebody may join by an answer.
pub(super) fn join_keys(rules: &RoomVersionRules, join: &Pdu) -> Vec<StateKey> {
    let mut keys = auth_keys(rules, join);
    keys.push(create_key());
    keys
}

impl Index {
    pub(super) fn of(
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
        let named: BTreeSet<u32> =
            index.auth.iter().flatten().flat_map(|auth| auth.iter().copied()).collect();
        index.named.retain(|number| named.contains(number));
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
        if event.pdu.state_key_pair().is_some_and(|(kind, _)| AUTH_TYPES.contains(&&*kind)) {
            self.named.insert(number);
        }
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
    pub(super) fn know(
        &self,
        rules: &RoomVersionRules,
        keys: &EventKeys,
        room: &OwnedRoomId,
        read_all: &mut dyn FnMut(&mut Each<'_>) -> Result<(), String>,
    ) -> Result<Known, String> {
        let (mut proven, mut emptied) = (BTreeMap::new(), BTreeSet::new());
        let (mut order, mut bytes) = (self.order.iter(), 0);
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
                    bytes += text.get().len();
                    if bytes > MAX_KNOWN {
                        return Err("what its events rest upon is too much".to_owned());
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

    /// The state that decides whether `join` is allowed, as far as it is right.
    pub(super) fn looked_at(
        &self,
        rules: &RoomVersionRules,
        keys: &EventKeys,
        (room, join): (&OwnedRoomId, &Pdu),
        known: &Known,
        read_all: &mut dyn FnMut(&mut Each<'_>) -> Result<(), String>,
    ) -> Result<BTreeMap<StateKey, Arc<Pdu>>, String> {
        let wanted = join_keys(rules, join).into_iter();
        let mut wanted: BTreeMap<u32, StateKey> =
            wanted.filter_map(|key| Some((*self.state.get(&key)?, key))).collect();
        let (mut found, mut order) = (BTreeMap::new(), self.order.iter());
        read_all(&mut |_, text| {
            let number = order.next().copied().flatten();
            let Some((number, key)) = number.and_then(|number| wanted.remove_entry(&number)) else {
                return Ok(());
            };
            let event = read(rules, room, text.get());
            let judged = event.ok().and_then(|event| self.judged(rules, keys, number, event, known));
            if let Some((event, true)) = judged {
                found.insert(key, event.pdu);
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// Judges everything, and hands it over by pages.
    pub(super) fn judge(
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
