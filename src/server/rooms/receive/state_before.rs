//! The state before an event, and what allows one, as other servers say it.

use std::{collections::BTreeSet, sync::Arc};

use ruma::{OwnedEventId, OwnedServerName, ServerName, room_version_rules::RoomVersionRules};
use serde_json::value::RawValue;
use tokio::task::JoinSet;

use super::{
    check::Checked,
    elsewhere::{Elsewhere, StateBefore, Unanswered},
    form::named_create,
    gap::Batch,
    texts::Wanted,
};
use crate::server::{
    rooms::{parts::Rooms, pdu::Pdu, refusal::Refusal},
    store::{EventStanding, RoomRow, StateIds},
};

/// Events of one state, with all that allows them.
const MAX_STATE: usize = 500_000;

/// Events that are asked for one by one; of more, the whole state is asked for instead.
const MAX_SINGLY: usize = 200;

/// How many of those at the same time.
const SINGLY_AT_ONCE: usize = 8;

/// Events that are read from the store at once.
const AT_ONCE: usize = 1_000;

impl Rooms {
    /// Looks for the events that allow one.
    pub(super) async fn find_auth_events<E: Elsewhere>(
        &self,
        batch: &Batch<'_, E>,
        event: &OwnedEventId,
        wanted: &[OwnedEventId],
    ) -> Result<(), Refusal> {
        let (elsewhere, room, rules) = (&*batch.servers.elsewhere, batch.room, batch.rules);
        let asking = batch
            .servers
            .ask(|server| async move { elsewhere.event_auth(&server, &room.room_id, event).await });
        match asking.await {
            Ok(texts) => {
                if let Err(error) =
                    self.keep_texts(elsewhere, (room, rules), Wanted::AuthChain, texts).await?
                {
                    tracing::debug!(%event, %error, "no auth chain");
                }
            }
            Err(error) => tracing::debug!(%event, %error, "no auth chain"),
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
        let events = self.ask_singly(batch, ids).await;
        self.keep_outliers(batch.room, batch.rules, events).await
    }

    /// Asks for events one by one; answers those that are right.
    pub(super) async fn ask_singly<E: Elsewhere>(
        &self,
        batch: &Batch<'_, E>,
        ids: Vec<OwnedEventId>,
    ) -> Vec<Checked> {
        let (mut asking, mut texts) = (JoinSet::new(), Vec::new());
        let asked: BTreeSet<OwnedEventId> = ids.into_iter().take(MAX_SINGLY).collect();
        for id in &asked {
            if asking.len() >= SINGLY_AT_ONCE {
                texts.extend(answered(asking.join_next().await));
            }
            let (servers, id) = (Arc::clone(&batch.servers), id.clone());
            asking.spawn(async move {
                let (elsewhere, id) = (&*servers.elsewhere, &id);
                servers.ask(|server| async move { elsewhere.event(&server, id).await }).await
            });
        }
        while let Some(done) = asking.join_next().await {
            texts.extend(answered(Some(done)));
        }
        let elsewhere = &*batch.servers.elsewhere;
        let mut events = self.prove_texts(elsewhere, batch.rules, &batch.room.room_id, &texts).await;
        events.retain(|event| asked.contains(event.event_id()));
        events
    }

    /// Those of the events that are not here in any standing.
    async fn not_here(&self, ids: BTreeSet<OwnedEventId>) -> Result<Vec<OwnedEventId>, Refusal> {
        let (ids, mut missing): (Vec<_>, _) = (ids.into_iter().collect(), Vec::new());
        for some in ids.chunks(AT_ONCE) {
            let here = self.store.graph_events(some).await?;
            missing.extend(some.iter().filter(|id| !here.contains_key(*id)).cloned());
        }
        Ok(missing)
    }

    /// The state before an event of which the states around it are not known. `None`: nobody has a good answer.
    pub(super) async fn find_state_before<E: Elsewhere>(
        &self,
        batch: &Batch<'_, E>,
        event: &OwnedEventId,
    ) -> Result<Option<StateIds>, Refusal> {
        let asking = batch.servers.ask(|server| async move {
            match self.state_before(batch, server, event).await {
                Ok(state) => Ok(Ok(state)),
                Err(NoState::Refused(refusal)) => Ok(Err(refusal)),
                Err(NoState::Unanswered(error)) => Err(error),
            }
        });
        match asking.await {
            Ok(state) => state.map(Some),
            Err(error) => {
                tracing::debug!(room = %batch.room.room_id, %event, %error, "no state before an event");
                Ok(None)
            }
        }
    }

    /// The same as one server says it.
    async fn state_before<E: Elsewhere>(
        &self,
        batch: &Batch<'_, E>,
        server: OwnedServerName,
        event: &OwnedEventId,
    ) -> Result<StateIds, NoState> {
        let (elsewhere, room) = (&*batch.servers.elsewhere, batch.room);
        let said = elsewhere.state_ids(&server, &room.room_id, event).await?;
        let StateBefore { state, auth_chain, held } = said;
        if state.len() + auth_chain.len() > MAX_STATE {
            return Err(Unanswered("the state is too large".into()).into());
        }
        let finding = self.state_of_said(batch, (&server, event), state, auth_chain);
        match held {
            Some(held) => held.or_lost(finding).await.map_err(|lost| Unanswered(lost.to_string()))?,
            None => finding.await,
        }
    }

    /// The state that a server says, once all of it is here that can be had.
    async fn state_of_said<E: Elsewhere>(
        &self,
        batch: &Batch<'_, E>,
        (server, event): (&ServerName, &OwnedEventId),
        said: Vec<OwnedEventId>,
        auth_chain: Vec<OwnedEventId>,
    ) -> Result<StateIds, NoState> {
        let (elsewhere, room, rules) = (&*batch.servers.elsewhere, batch.room, batch.rules);
        let mut needed: BTreeSet<OwnedEventId> = auth_chain.into_iter().collect();
        needed.extend(said.iter().cloned());
        let missing = self.not_here(needed.clone()).await?;
        if missing.len() > MAX_SINGLY {
            let texts = elsewhere.state(server, &room.room_id, event).await?;
            self.keep_texts(elsewhere, (room, rules), Wanted::Only(&missing), texts).await??;
        }
        let missing = self.not_here(needed).await?;
        self.find_singly(batch, missing).await?;
        self.state_of_ids(room, rules, &said).await
    }

    /// The state that some events are.
    async fn state_of_ids(
        &self,
        room: &RoomRow,
        rules: &RoomVersionRules,
        ids: &[OwnedEventId],
    ) -> Result<StateIds, NoState> {
        let mut state = StateIds::new();
        for some in ids.chunks(AT_ONCE) {
            let here = self.store.graph_events(some).await.map_err(Refusal::from)?;
            for id in some {
                let known = here.get(id).filter(|event| event.room_id == room.room_id);
                let Some(known) = known.filter(|event| event.standing != EventStanding::Rejected) else {
                    continue;
                };
                let pdu = Pdu::of_graph(known).map_err(NoState::Refused)?;
                let Some(key) = pdu.state_key_pair() else { continue };
                if state.insert(key, id.clone()).is_some_and(|other| other != *id) {
                    return Err(Unanswered(format!("two events are the same state: {id}")).into());
                }
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
