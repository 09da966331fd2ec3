//! Events that were checked get their place in their room: each is judged on the room's turn, upon what is on the disk.
//!
//! Most events follow all that the room ends with: many of those become one write. Everything else is judged upon the
//! states around it, one after the other. Server-server API, "Checks performed on receipt of a PDU", steps 4 to 6.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ruma::{EventId, OwnedEventId, RoomId, room_version_rules::RoomVersionRules};

use super::{
    check::Checked,
    ends::MAX_ENDS,
    form::named_create,
    redact::{may_redact, redacted},
    resolve::auth_keys,
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
        RoomCommit, RoomRow, Side, StateBefore, StateIds,
    },
};

/// PDUs by their IDs.
type Pdus = BTreeMap<OwnedEventId, Arc<Pdu>>;

/// States before events that follow what is not here, as other servers say them; all of their events are here.
pub(super) type Given = BTreeMap<OwnedEventId, Arc<StateIds>>;

/// How far before all that is here an event stands that nothing here follows, in steps: what is between them has room.
const APART: usize = 1 << 20;

/// How events came.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Way {
    /// Their server sent them, or they were asked for to understand such.
    Live,
    /// Their server handed them in here, to be told to everybody.
    OnBehalf,
    /// They were asked for to show what was before.
    Past,
}

/// What became of an event.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// It was here already, and has its place.
    Known,
    /// It has its place.
    Accepted,
    /// Nobody is shown it.
    SoftFailed(String),
    /// It was not allowed.
    Rejected(String),
    /// It cannot be an event of this room; it is not kept.
    Refused(String),
    /// These have to be known first.
    Missing(Missing),
}

/// What an event names and is not here.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Missing {
    /// Of what it follows: events after which the state is not known.
    pub prev: Vec<OwnedEventId>,
    /// Of what allows it.
    pub auth: Vec<OwnedEventId>,
}

/// The events of one batch, as they get their place.
struct Run<'a> {
    rooms: &'a Rooms,
    turn: &'a Turn,
    room: RoomRow,
    rules: RoomVersionRules,
    create: Option<OwnedEventId>,
    way: Way,
    given: &'a Given,
    /// Of what is past: before which events of the timeline each of it stands, and how many do from it on.
    places: BTreeMap<OwnedEventId, (OwnedEventId, usize)>,
    /// Of what is past and nothing follows: after which it stands.
    after: Option<OwnedEventId>,
    /// What the room ends with on the disk.
    on_disk: BTreeSet<OwnedEventId>,
    /// What it ends with when the changes are written.
    ends: BTreeSet<OwnedEventId>,
    /// Events that the changes append.
    appended: Pdus,
    /// The state that they set.
    state: State,
    changes: Vec<RoomChange>,
}

/// The state before an event.
enum Before {
    /// What it is after this one, of this group.
    After(OwnedEventId, i64),
    Whole(Arc<StateIds>),
    /// The event is the room's first.
    Nothing,
}

/// Why an event is not allowed that comes again.
const BEFORE: &str = "the event was not allowed when it came before";

/// Why a run ended.
enum Stopped {
    Overtaken,
    Refused(Refusal),
}

impl<T: Into<Refusal>> From<T> for Stopped {
    fn from(refusal: T) -> Self {
        Self::Refused(refusal.into())
    }
}

impl Rooms {
    /// Gives events their place, in this order; what became of each. What is past stands before what follows it, or else
    /// before the event `before`, or else where it is as deep. `None`: the room is not here.
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
            after: None,
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
    /// Where what is past stands that fills the gap before an event; or one by itself, which nothing here may follow.
    async fn find_places(&mut self, events: &[Checked], gap: Option<&EventId>) -> Result<(), Refusal> {
        let (store, room) = (&self.rooms.store, &self.room.room_id);
        let ids: Vec<_> = events.iter().map(|event| (event.event_id().to_owned(), event.depth)).collect();
        let Some((first, depth)) = ids.first() else { return Ok(()) };
        let gap = match gap {
            Some(gap) => Some(gap.to_owned()),
            None => store.follower_of(room, std::slice::from_ref(first)).await?,
        };
        match gap {
            Some(gap) => {
                let places = store.places_before(room, &ids, &gap).await?;
                let places = ids.into_iter().zip(places).filter_map(|((id, _), place)| Some((id, place?)));
                self.places = places.collect();
            }
            None => self.after = store.place_by_depth(room, *depth).await?,
        }
        Ok(())
    }

    async fn begin(&mut self) -> Result<(), Stopped> {
        let ends = self.rooms.store.extremities(&self.room.room_id).await?;
        self.on_disk = ends.into_iter().map(|end| end.event_id).collect();
        self.ends = self.on_disk.clone();
        self.appended.clear();
        self.state.clear();
        Ok(())
    }

    /// Writes what there is, and goes on from there.
    async fn write(&mut self) -> Result<(), Stopped> {
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
    async fn draw_together(&mut self) -> Result<(), Stopped> {
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

    /// An event that follows nothing: the one that the room is known to begin with gets its place before what follows it,
    /// if something does.
    async fn place_first(&mut self, event: &Checked, left: usize) -> Result<Outcome, Stopped> {
        let (store, room) = (&self.rooms.store, &self.room.room_id);
        let create = store.state_event(room, "m.room.create", "").await?;
        if create.is_none_or(|create| create.event_id != *event.event_id()) {
            return Ok(Outcome::Refused("the event follows nothing".into()));
        }
        let is_followed =
            self.way == Way::Past || store.follower_of(room, &[event.event_id().to_owned()]).await?.is_some();
        if !is_followed {
            return Ok(Outcome::Known);
        }
        self.write().await?;
        self.receive(event, &Pdus::new(), Before::Nothing, left).await
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
    fn keys(&self, event: &Checked) -> Vec<StateKey> {
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
                let received = Received { event: new, standing, before, current, place };
                self.changes.push(RoomChange::Receive(Box::new(received)));
                return Ok(Outcome::Rejected(why));
            }
            Verdict::Missing(ids) => return Err(Refusal::Internal(format!("missing: {ids:?}")).into()),
        }
        let redactions = self.redactions(event, &state).await?;
        let invite_state = self.invite_state(event).await?;
        let new = event.row(&self.room.room_id, self.way == Way::OnBehalf, invite_state);
        self.changes.push(RoomChange::Append(Box::new(new)));
        self.changes.extend(redactions);
        self.ends = BTreeSet::from([event.event_id().to_owned()]);
        self.appended.insert(event.event_id().to_owned(), Arc::clone(&event.pdu));
        if let Some(key) = event.pdu.state_key_pair() {
            self.state.insert(key, Arc::clone(&event.pdu));
        }
        Ok(Outcome::Accepted)
    }

    /// The state before an event; and what it follows of which the state is not known.
    async fn before(&self, event: &Checked) -> Result<(Option<Before>, Vec<OwnedEventId>), Refusal> {
        let prev: Vec<OwnedEventId> = event.prev_events().cloned().collect();
        let found = self.rooms.store.state_groups(&prev, Side::After).await?;
        let (mut groups, mut missing) = (BTreeSet::new(), Vec::new());
        for (id, group) in prev.iter().zip(&found) {
            match group {
                Some(group) => drop(groups.insert(*group)),
                None => missing.push(id.clone()),
            }
        }
        // What is known of the states around it counts, whatever others say of them.
        let others: Vec<_> = match self.given.get(event.event_id()) {
            Some(given) if !missing.is_empty() => vec![Arc::clone(given)],
            _ if !missing.is_empty() => return Ok((None, missing)),
            _ => Vec::new(),
        };
        if let (1, true, Some(group), Some(id)) =
            (groups.len(), others.is_empty(), groups.first(), prev.first())
        {
            return Ok((Some(Before::After(id.clone(), *group)), Vec::new()));
        }
        let state = self.rooms.state_of(&self.room, &self.rules, (&groups, others), None).await?;
        Ok((Some(Before::Whole(state)), Vec::new()))
    }

    /// An event that comes from the side, from the past, or was known already as somebody's auth event.
    async fn receive(
        &mut self,
        event: &Checked,
        auth_events: &Pdus,
        before: Before,
        left: usize,
    ) -> Result<Outcome, Stopped> {
        let keys = self.keys(event);
        let state = match &before {
            Before::After(prev, _) => self.rooms.state_after(prev, &keys).await?,
            Before::Whole(ids) => {
                let ids = keys.iter().filter_map(|key| Some((key.clone(), ids.get(key)?.clone())));
                self.rooms.pdus_of(&ids.collect()).await?
            }
            Before::Nothing => State::new(),
        };
        let room = self.room.room_id.clone();
        let left = self.places.get(event.event_id()).map_or(left, |(_, left)| *left);
        let follower = match self.way {
            Way::Past => self.places.get(event.event_id()).map(|(follower, _)| follower.clone()),
            Way::Live | Way::OnBehalf => {
                self.rooms.store.follower_of(&room, &[event.event_id().to_owned()]).await?
            }
        };
        let current = self.rooms.current_state(&self.room, &keys, &self.state).await?;
        // What something accepted follows already was allowed by that; what is past cannot evade what came after it.
        let is_past = follower.is_some() || self.way == Way::Past;
        let evidence =
            Evidence { auth_events, before: Some(&state), current: if is_past { &state } else { &current } };
        self.rooms.judged.add(1);
        let (standing, outcome) = match judge(&self.rules.authorization, &event.pdu, evidence) {
            Verdict::Accepted => (EventStanding::Accepted, Outcome::Accepted),
            Verdict::SoftFailed(why) => (EventStanding::SoftFailed, Outcome::SoftFailed(why)),
            Verdict::Rejected(why) => (EventStanding::Rejected, Outcome::Rejected(why)),
            Verdict::Missing(ids) => return Err(Refusal::Internal(format!("missing: {ids:?}")).into()),
        };
        let place = match (follower, self.way) {
            (Some(follower), _) => Place::Before { follower: Some(follower), steps: left },
            (None, Way::Past) if self.after.is_some() => Place::Late { after: self.after.clone() },
            (None, Way::Past) => Place::Before { follower: None, steps: APART },
            (None, Way::Live | Way::OnBehalf) => Place::End,
        };
        let current = match standing {
            EventStanding::Accepted => self.current_after(event, &before, place == Place::End).await?,
            _ => CurrentAfter::Unchanged,
        };
        let before = match before {
            Before::After(prev, _) => StateBefore::After(prev),
            Before::Whole(ids) => StateBefore::Whole((*ids).clone()),
            Before::Nothing => StateBefore::Nothing,
        };
        let (invite_state, redactions) = match standing {
            EventStanding::Accepted => {
                (self.invite_state(event).await?, self.redactions(event, &state).await?)
            }
            _ => (None, Vec::new()),
        };
        let new = event.row(&room, self.way == Way::OnBehalf, invite_state);
        self.changes.push(RoomChange::Receive(Box::new(Received {
            event: new,
            standing,
            before,
            current,
            place,
        })));
        self.changes.extend(redactions);
        self.write().await?;
        self.draw_together().await?;
        if outcome == Outcome::Accepted && self.way == Way::Past {
            self.after = Some(event.event_id().to_owned());
        }
        Ok(outcome)
    }

    /// What the room's current state is with an accepted event; `ends`: nothing that is here follows it.
    async fn current_after(
        &self,
        event: &Checked,
        before: &Before,
        ends: bool,
    ) -> Result<CurrentAfter, Refusal> {
        let store = &self.rooms.store;
        let mut others: BTreeSet<OwnedEventId> = self.on_disk.clone();
        others.retain(|id| !event.prev_events().any(|prev| prev == id));
        if !ends && others.len() == self.on_disk.len() {
            return Ok(CurrentAfter::Unchanged);
        }
        let old: Vec<OwnedEventId> = self.on_disk.iter().cloned().collect();
        let old: BTreeSet<Option<i64>> = store.state_groups(&old, Side::After).await?.into_iter().collect();
        let rest: Vec<OwnedEventId> = others.into_iter().collect();
        let rest = store.state_groups(&rest, Side::After).await?;
        let mut groups: BTreeSet<i64> = rest.into_iter().flatten().collect();
        let mut states = Vec::new();
        let key = event.pdu.state_key_pair();
        match (ends, before, &key) {
            (false, ..) | (true, Before::Nothing, None) => {}
            (true, Before::After(_, group), None) => drop(groups.insert(*group)),
            (true, ..) if groups.is_empty() => return Ok(CurrentAfter::After),
            (true, Before::Whole(ids), None) => states.push(Arc::clone(ids)),
            (true, before, Some(key)) => {
                let mut ids = match before {
                    Before::After(_, group) => store.state_ids_in(*group).await?,
                    Before::Whole(ids) => (**ids).clone(),
                    Before::Nothing => StateIds::new(),
                };
                ids.insert(key.clone(), event.event_id().to_owned());
                states.push(Arc::new(ids));
            }
        }
        if states.is_empty() && groups.iter().map(|group| Some(*group)).collect::<BTreeSet<_>>() == old {
            return Ok(CurrentAfter::Unchanged);
        }
        let state = self.rooms.state_of(&self.room, &self.rules, (&groups, states), Some(&event.pdu)).await?;
        if *state == store.current_state_ids(&self.room.room_id).await? {
            return Ok(CurrentAfter::Unchanged);
        }
        Ok(CurrentAfter::Whole((*state).clone()))
    }

    /// What an accepted event empties, and whether it is emptied itself by a redaction that came before it; `state`: that
    /// before the event.
    async fn redactions(&mut self, event: &Checked, state: &State) -> Result<Vec<RoomChange>, Stopped> {
        let mut changes = Vec::new();
        if let Some(target) = event.redacts(&self.rules) {
            if self.appended.contains_key(&target) {
                self.write().await?;
            }
            let found = self.rooms.store.graph_events(std::slice::from_ref(&target)).await?;
            match found.get(&target) {
                None => changes.push(RoomChange::AwaitRedacted { target, by: event.event_id().to_owned() }),
                Some(here) if here.room_id != self.room.room_id || here.redacted => {}
                Some(here) => {
                    let pdu = Pdu::of_graph(here)?;
                    if may_redact(&self.rules.authorization, &event.pdu, &pdu, state) {
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
        Ok(changes)
    }

    /// What a user of this server who is invited or knocks is shown of the room.
    async fn invite_state(&self, event: &Checked) -> Result<Option<String>, Refusal> {
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
