//! An event that does not simply follow what its room ends with: it comes from the side, from the past, or was known already.

use std::{collections::BTreeSet, sync::Arc};

use ruma::{EventId, OwnedEventId};

use super::{
    check::Checked,
    run::{Before, Outcome, Pdus, Run, Stopped, Way},
};
use crate::server::{
    rooms::{
        judge::{Evidence, State, Verdict, judge},
        refusal::Refusal,
    },
    store::{
        CurrentAfter, DeepPlace, EventStanding, Place, Received, RoomChange, Side, StateBefore, StateIds,
    },
};

/// How far before all that is here an event stands that nothing here follows, in steps: what is between them has room.
const APART: usize = 1 << 20;

impl Run<'_> {
    /// Where what is past stands that fills the gap before an event; or one by itself, which nothing here may follow.
    pub(super) async fn find_places(
        &mut self,
        events: &[Checked],
        gap: Option<&EventId>,
    ) -> Result<(), Refusal> {
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
            None => self.alone = store.place_by_depth(room, *depth).await?,
        }
        Ok(())
    }

    /// An event that follows nothing: the one that the room is known to begin with gets its place before what follows it,
    /// if something does.
    pub(super) async fn place_first(&mut self, event: &Checked, left: usize) -> Result<Outcome, Stopped> {
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

    /// The state before an event; and what it follows of which the state is not known.
    pub(super) async fn before(
        &self,
        event: &Checked,
    ) -> Result<(Option<Before>, Vec<OwnedEventId>), Refusal> {
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
    pub(super) async fn receive(
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
            (None, Way::Past) => match &self.alone {
                Some(DeepPlace::After(after)) => Place::Late { after: Some(after.clone()) },
                Some(DeepPlace::First) | None => Place::Before { follower: None, steps: APART },
            },
            (None, Way::Live | Way::OnBehalf) => Place::End,
        };
        let ends = place == Place::End;
        let takes = self.takes(event, ends).await?;
        let current = match standing {
            EventStanding::Accepted if !takes.is_empty() || ends => {
                self.current_after(event, &before, (ends, &takes)).await?
            }
            _ => CurrentAfter::Unchanged,
        };
        let before = match before {
            Before::After(prev, _) => StateBefore::After(prev),
            Before::Whole(ids) => StateBefore::Whole((*ids).clone()),
            Before::Nothing => StateBefore::Nothing,
        };
        let (invite_state, (redactions, is_void)) = match standing {
            EventStanding::Accepted => {
                (self.invite_state(event).await?, self.redactions(event, &state).await?)
            }
            _ => (None, (Vec::new(), false)),
        };
        let mut new = event.row(&room, self.way == Way::OnBehalf, invite_state);
        new.hidden = is_void;
        self.changes.push(RoomChange::Receive(Box::new(Received {
            event: new,
            standing,
            before,
            current,
            place,
            takes,
        })));
        self.changes.extend(redactions);
        self.write().await?;
        self.draw_together().await?;
        if outcome == Outcome::Accepted && self.alone.is_some() {
            self.alone = Some(DeepPlace::After(event.event_id().to_owned()));
        }
        Ok(outcome)
    }

    /// What ends the room no longer with an event, if it is accepted. One that becomes no end itself takes ends only where
    /// what ends the room then leads back to it.
    async fn takes(&self, event: &Checked, ends: bool) -> Result<BTreeSet<OwnedEventId>, Refusal> {
        let (store, room) = (&self.rooms.store, &self.room.room_id);
        let prev: Vec<OwnedEventId> = event.prev_events().cloned().collect();
        let mut takes = store.accepted_before(room, &prev).await?;
        takes.retain(|id| self.on_disk.contains(id));
        let leaves_some = takes.len() < self.on_disk.len();
        let may_take = ends || leaves_some && store.leads_to_an_end(room, event.event_id()).await?;
        Ok(if may_take { takes } else { BTreeSet::new() })
    }

    /// What the room's current state is with an accepted event that takes ends, or is one.
    async fn current_after(
        &self,
        event: &Checked,
        before: &Before,
        (ends, takes): (bool, &BTreeSet<OwnedEventId>),
    ) -> Result<CurrentAfter, Refusal> {
        let store = &self.rooms.store;
        let others: BTreeSet<OwnedEventId> = self.on_disk.difference(takes).cloned().collect();
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
}
