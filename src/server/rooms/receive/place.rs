//! Events that were checked get their place in their room: each is judged on the room's turn, upon what is on the disk.
//!
//! Most events follow all that the room ends with: many of those become one write. Everything else is judged upon the
//! states around it, one after the other. Server-server API, "Checks performed on receipt of a PDU", steps 4 to 6.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ruma::{EventId, OwnedEventId, RoomId};

use super::{
    check::Checked,
    ends::MAX_ENDS,
    form::named_create,
    redact::{may_redact, may_redact_all, redacted},
    resolve::auth_keys,
    run::{Given, Missing, Outcome, Pdus, Run, Stopped, Way},
};
use crate::server::{
    event::stored::Membership,
    rooms::{
        append::{SHOWN_TO_INVITED, rules},
        judge::{Evidence, State, Verdict, judge},
        parts::Rooms,
        pdu::{Pdu, StateKey},
        refusal::Refusal,
        turns::Turn,
        write::ATTEMPTS,
    },
    store::{
        Assumption, CurrentAfter, EventStanding, GraphEvent, NotCommitted, Place, Received, RoomChange,
        RoomCommit, Side, StateBefore,
    },
};

/// Why an event is not allowed that comes again.
const BEFORE: &str = "the event was not allowed when it came before";

impl Rooms {
    /// Gives events their place, in this order; what became of each. What is past stands before what follows it, or else
    /// before the event `before`, or else where it is as deep; what nothing here can follow is not past, and refused.
    /// `None`: the room is not here.
    pub(super) async fn place(
        &self,
        room_id: &RoomId,
        events: &[Checked],
        given: &Given,
        (way, before): (Way, Option<&EventId>),
    ) -> Result<Option<Vec<Outcome>>, Refusal> {
        for _ in 0..ATTEMPTS {
            let _beside = self.passing.read().await;
            let turn = self.turns.wait(room_id).await;
            turn.settle().await;
            match self.try_place(&turn, events, given, (way, before)).await {
                Ok(outcomes) => return Ok(outcomes),
                Err(Stopped::Overtaken) => {}
                Err(Stopped::Refused(refusal)) => return Err(refusal),
            }
        }
        Err(Refusal::Internal(format!("overtaken by others {ATTEMPTS} times")))
    }

    async fn try_place(
        &self,
        turn: &Turn,
        events: &[Checked],
        given: &Given,
        (way, before): (Way, Option<&EventId>),
    ) -> Result<Option<Vec<Outcome>>, Stopped> {
        let Some(room) = self.store.room(turn.room_id()).await? else { return Ok(None) };
        let rules = rules(&room.version)?;
        let create = named_create(&rules, &room.room_id);
        let (on_disk, ends) = (BTreeSet::new(), BTreeSet::new());
        let (appended, state, changes) = (BTreeMap::new(), State::new(), Vec::new());
        let mut run = Run {
            rooms: self,
            turn,
            room,
            rules,
            create,
            way,
            given,
            places: BTreeMap::new(),
            alone: None,
            on_disk,
            ends,
            appended,
            state,
            changes,
        };
        if way == Way::Past {
            run.find_places(events, before).await?;
        }
        run.begin().await?;
        let mut outcomes = Vec::with_capacity(events.len());
        for (n, event) in events.iter().enumerate() {
            let outcome = run.place(event, events.len() - n).await?;
            tracing::trace!(room = %run.room.room_id, event = %event.event_id(), ?outcome, "received");
            outcomes.push(outcome);
        }
        run.write().await?;
        run.draw_together().await?;
        Ok(Some(outcomes))
    }
}

impl Run<'_> {
    async fn begin(&mut self) -> Result<(), Stopped> {
        let ends = self.rooms.store.extremities(&self.room.room_id).await?;
        self.on_disk = ends.into_iter().map(|end| end.event_id).collect();
        self.ends = self.on_disk.clone();
        self.appended.clear();
        self.state.clear();
        Ok(())
    }

    /// Writes what there is, and goes on from there.
    pub(super) async fn write(&mut self) -> Result<(), Stopped> {
        if self.changes.is_empty() {
            return Ok(());
        }
        let extremities = self.on_disk.iter().cloned().collect();
        let head = Assumption::Head { room: self.room.room_id.clone(), extremities };
        let commit = RoomCommit {
            assumptions: vec![head],
            changes: std::mem::take(&mut self.changes),
            now_ms: self.rooms.clock.unix_ms(),
            ..RoomCommit::default()
        };
        self.commit(commit).await
    }

    /// Lets the room have no more ends than the next event can follow.
    pub(super) async fn draw_together(&mut self) -> Result<(), Stopped> {
        while self.on_disk.len() > MAX_ENDS {
            let ends = self.on_disk.len();
            let Some(commit) = self.rooms.draw_together(self.turn).await? else { return Ok(()) };
            self.commit(commit).await?;
            tracing::debug!(room = %self.room.room_id, ends, left = self.on_disk.len(), "ends are drawn together");
        }
        Ok(())
    }

    async fn commit(&mut self, commit: RoomCommit) -> Result<(), Stopped> {
        match self.rooms.store.commit_rooms(commit).await?.await {
            Ok(_) => self.begin().await,
            Err(NotCommitted::Stale | NotCommitted::DoneBefore(_)) => Err(Stopped::Overtaken),
            Err(NotCommitted::AliasTaken) => Err(Refusal::AliasTaken.into()),
            Err(NotCommitted::Store(e)) => Err(e.into()),
        }
    }

    /// One event; `left`: how many of the batch there are with it.
    async fn place(&mut self, event: &Checked, left: usize) -> Result<Outcome, Stopped> {
        if self.appended.contains_key(event.event_id()) {
            return Ok(Outcome::Known);
        }
        let mut named: Vec<OwnedEventId> = vec![event.event_id().to_owned()];
        named.extend(event.prev_events().chain(event.auth_events()).chain(&self.create).cloned());
        let here = self.rooms.store.graph_events(&named).await?;
        let known = here.get(event.event_id());
        if known.is_some_and(|known| known.room_id != self.room.room_id) {
            return Ok(Outcome::Refused("the event is of another room".into()));
        }
        match known.map(|known| known.standing) {
            Some(EventStanding::Accepted) => return Ok(Outcome::Known),
            // Who sends it again is told what became of it.
            Some(EventStanding::SoftFailed) => return Ok(Outcome::SoftFailed(BEFORE.into())),
            Some(EventStanding::Rejected) => return Ok(Outcome::Rejected(BEFORE.into())),
            Some(EventStanding::Outlier) | None => {}
        }
        if here.values().any(|other| other.room_id != self.room.room_id) {
            return Ok(Outcome::Refused("the event names events of another room".into()));
        }
        if self.way == Way::Past && self.alone.is_none() && !self.places.contains_key(event.event_id()) {
            return Ok(Outcome::Refused("nothing that is here lacks an event that is so deep".into()));
        }
        let prev: BTreeSet<OwnedEventId> = event.prev_events().cloned().collect();
        if prev.is_empty() {
            return self.place_first(event, left).await;
        }
        let (auth_events, auth) = self.auth_events(event, &here)?;
        if auth.is_empty() && known.is_none() && self.way != Way::Past && prev == self.ends {
            return self.append(event, &auth_events).await;
        }
        // What is read from here on is on the disk.
        self.write().await?;
        let (before, prev) = self.before(event).await?;
        let Some(before) = before.filter(|_| auth.is_empty() && prev.is_empty()) else {
            return Ok(Outcome::Missing(Missing { prev, auth }));
        };
        self.receive(event, &auth_events, before, left).await
    }

    /// The events that allow an event; and those of them that are not here.
    fn auth_events(
        &self,
        event: &Checked,
        here: &BTreeMap<OwnedEventId, GraphEvent>,
    ) -> Result<(Pdus, Vec<OwnedEventId>), Refusal> {
        let (mut found, mut missing) = (BTreeMap::new(), Vec::new());
        for id in event.auth_events().chain(&self.create) {
            match (self.appended.get(id), here.get(id)) {
                (Some(pdu), _) => drop(found.insert(id.clone(), Arc::clone(pdu))),
                (None, Some(event)) => drop(found.insert(id.clone(), Pdu::of_graph(event)?)),
                (None, None) => missing.push(id.clone()),
            }
        }
        Ok((found, missing))
    }

    /// The state that the rules look at for an event.
    pub(super) fn keys(&self, event: &Checked) -> Vec<StateKey> {
        let mut keys = auth_keys(&self.rules, &event.pdu);
        keys.push(("m.room.create".to_owned(), String::new()));
        keys
    }

    /// An event that follows all that the room ends with: what was before it is what is.
    async fn append(&mut self, event: &Checked, auth_events: &Pdus) -> Result<Outcome, Stopped> {
        let state = self.rooms.current_state(&self.room, &self.keys(event), &self.state).await?;
        let evidence = Evidence { auth_events, before: Some(&state), current: &state };
        self.rooms.judged.add(1);
        match judge(&self.rules.authorization, &event.pdu, evidence) {
            Verdict::Accepted => {}
            Verdict::Rejected(why) | Verdict::SoftFailed(why) => {
                let new = event.row(&self.room.room_id, false, None);
                let (standing, before) = (EventStanding::Rejected, StateBefore::Current);
                let (current, place) = (CurrentAfter::Unchanged, Place::End);
                let received =
                    Received { event: new, standing, before, current, place, takes: BTreeSet::new() };
                self.changes.push(RoomChange::Receive(Box::new(received)));
                return Ok(Outcome::Rejected(why));
            }
            Verdict::Missing(ids) => return Err(Refusal::Internal(format!("missing: {ids:?}")).into()),
        }
        let (redactions, is_void) = self.redactions(event, &state).await?;
        let invite_state = self.invite_state(event).await?;
        let mut new = event.row(&self.room.room_id, self.way == Way::OnBehalf, invite_state);
        new.hidden = is_void;
        self.changes.push(RoomChange::Append(Box::new(new)));
        self.changes.extend(redactions);
        self.ends = BTreeSet::from([event.event_id().to_owned()]);
        self.appended.insert(event.event_id().to_owned(), Arc::clone(&event.pdu));
        if let Some(key) = event.pdu.state_key_pair() {
            self.state.insert(key, Arc::clone(&event.pdu));
        }
        Ok(Outcome::Accepted)
    }

    /// What an accepted event empties, and whether it is emptied itself by a redaction that came before it; and whether it is
    /// a redaction of which it is not known that it may empty what it names. `state`: that before the event.
    pub(super) async fn redactions(
        &mut self,
        event: &Checked,
        state: &State,
    ) -> Result<(Vec<RoomChange>, bool), Stopped> {
        let (mut changes, mut is_void) = (Vec::new(), false);
        if let Some(target) = event.redacts(&self.rules) {
            if self.appended.contains_key(&target) {
                self.write().await?;
            }
            let found = self.rooms.store.graph_events(std::slice::from_ref(&target)).await?;
            match found.get(&target) {
                None => {
                    is_void = !may_redact_all(&self.rules.authorization, &event.pdu, state);
                    changes.push(RoomChange::AwaitRedacted { target, by: event.event_id().to_owned() });
                }
                Some(here) if here.room_id != self.room.room_id => is_void = true,
                Some(here) => {
                    let pdu = Pdu::of_graph(here)?;
                    is_void = !may_redact(&self.rules.authorization, &event.pdu, &pdu, state);
                    if !is_void && !here.redacted {
                        changes.push(redacted(&self.rules, &target, &here.pdu, event.event_id())?);
                    }
                }
            }
        }
        let early = self.rooms.store.early_redactions(&self.room.room_id, event.event_id()).await?;
        for by in early {
            let keys = ["m.room.create", "m.room.power_levels"].map(|kind| (kind.to_owned(), String::new()));
            let before = self.rooms.store.state_ids_of(&by.event_id, Side::Before, &keys).await?;
            let before = self.rooms.pdus_of(&before.unwrap_or_default()).await?;
            if may_redact(&self.rules.authorization, &*Pdu::of_graph(&by)?, &event.pdu, &before) {
                changes.push(redacted(&self.rules, event.event_id(), &event.json, &by.event_id)?);
                break;
            }
        }
        Ok((changes, is_void))
    }

    /// What a user of this server who is invited or knocks is shown of the room.
    pub(super) async fn invite_state(&self, event: &Checked) -> Result<Option<String>, Refusal> {
        let membership = event.membership();
        if !matches!(membership, Some(Membership::Invite | Membership::Knock)) {
            return Ok(None);
        }
        let mut keys: Vec<StateKey> =
            SHOWN_TO_INVITED.iter().map(|kind| ((*kind).to_owned(), String::new())).collect();
        if membership == Some(Membership::Invite) {
            keys.push(("m.room.member".to_owned(), event.pdu.sent_by().to_string()));
        }
        let state = self.rooms.current_state(&self.room, &keys, &self.state).await?;
        let shown: Vec<_> = keys.iter().filter_map(|key| state.get(key)).map(|pdu| pdu.stripped()).collect();
        serde_json::to_string(&shown).map(Some).map_err(|e| Refusal::Internal(e.to_string()))
    }
}
