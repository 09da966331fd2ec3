//! What a server answered to a join: the state of a room and all that allows it, none of it known, and perhaps more than
//! fits in memory.
//!
//! It is read four times. First for what there is, what rests upon what, and whose keys are needed; then for what others
//! rest upon, which is verified and judged; then for the state that has to allow the join, as nothing is written before that is
//! so; then all of it, and the rest is judged by that. Memory holds numbers for everything, and, in their shortest form, the
//! events that others name (`answer`). Server-server API, "Joining Rooms".

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ruma::{OwnedEventId, RoomId, RoomVersionId, room_version_rules::RoomVersionRules};
use serde::Deserialize;
use tokio::sync::mpsc;

use super::{
    answer::{Each, Index, PAGE, Page, create_key, join_keys},
    check::Checked,
    elsewhere::Elsewhere,
};
use crate::server::{
    rooms::{
        append::rules,
        judge::by_state,
        parts::Rooms,
        pdu::{Pdu, StateKey},
        refusal::Refusal,
    },
    store::{NotCommitted, RoomChange, RoomCommit, RoomRow, StateIds, StoreError},
};

/// Pages that wait for the disk.
const PAGES_AHEAD: usize = 2;

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
        // Of who lies about the room nothing is written.
        let (its_rules, its_keys, its_join) = (rules.clone(), Arc::clone(&keys), Arc::clone(&join.pdu));
        let room_id = room.to_owned();
        let looked_for = blocking(move || {
            let looked_at =
                index.looked_at(&its_rules, &its_keys, (&room_id, &its_join), &known, &mut read)?;
            Ok((read, index, known, looked_at))
        });
        let (mut read, index, known, looked_at) = looked_for.await?;
        allows(&rules, version, join, &looked_at)?;
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
        let keys = join_keys(rules, &join.pdu);
        let looked_at = keys.iter().filter_map(|key| Some((key.clone(), state.get(key)?.clone()))).collect();
        allows(rules, version, join, &self.pdus_of(&looked_at).await?)
    }
}

/// Whether that state is one of the room, and allows the join.
fn allows(
    rules: &RoomVersionRules,
    version: &RoomVersionId,
    join: &Checked,
    looked_at: &BTreeMap<StateKey, Arc<Pdu>>,
) -> Result<(), Unsound> {
    #[derive(Deserialize)]
    struct Create {
        room_version: Option<String>,
    }
    let create = looked_at.get(&create_key());
    let create = create.ok_or_else(|| Unsound::Answer("the room's first event is not in it".into()))?;
    let said = create.content_as::<Create>().and_then(|create| create.room_version);
    if said.as_deref().unwrap_or("1") != version.as_str() {
        return Err(Unsound::Answer("the room is of another version".into()));
    }
    by_state(&rules.authorization, &join.pdu, looked_at)
        .map_err(|why| Unsound::Answer(format!("its state does not allow the join: {why}")))
}

/// Work for another thread, of which the errors are the answer's fault.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, Unsound> {
    let done = tokio::task::spawn_blocking(work).await.map_err(|e| Refusal::Internal(e.to_string()))?;
    done.map_err(Unsound::Answer)
}
