//! What other servers sent and was not looked at yet: a lane for each room and server, in which one batch goes after the
//! other.
//!
//! Rooms do not wait for each other, nor does a room for what a slow server has to be asked for by another's events.

use std::{collections::BTreeMap, sync::Arc};

use ruma::{EventId, OwnedEventId, RoomId, ServerName};

use super::{
    check::{Checked, Unproven},
    elsewhere::Elsewhere,
    gap::Batch,
    inbound::{Answer, Crowded, Job, Key, Pending},
    run::{Given, Outcome, Way},
    servers::Servers,
};
use crate::server::{
    rooms::{append::rules, parts::Rooms, refusal::Refusal},
    store::RoomRow,
};

/// Events that wait in one lane at most: ten full transactions.
const MAX_WAITING: usize = 500;

/// Events that are looked at together.
const AT_ONCE: usize = 50;

/// A lane under way; whatever becomes of that, it is not left behind.
struct Lane {
    rooms: Arc<Rooms>,
    key: Key,
    /// It is among the lanes.
    is_open: bool,
}

impl Rooms {
    /// Takes events that `origin` sent, of a room that is here.
    ///
    /// # Errors
    /// [`Crowded`]: none of them was taken.
    pub fn receive<E: Elsewhere>(
        self: &Arc<Self>,
        elsewhere: &Arc<E>,
        origin: &ServerName,
        room: &RoomId,
        pdus: Vec<Unproven>,
    ) -> Result<Vec<Pending>, Crowded> {
        let key = (room.to_owned(), origin.to_owned());
        let mut pending = Vec::with_capacity(pdus.len());
        let mut lanes = self.inbound.0.lock();
        let known = lanes.get(&key);
        if known.map_or(0, |lane| lane.jobs.len()) + pdus.len() > MAX_WAITING {
            return Err(Crowded);
        }
        let is_new = known.is_none();
        let lane = lanes.entry(key.clone()).or_default();
        for pdu in pdus {
            let (job, waiting) = Job::new(pdu);
            pending.push(waiting);
            lane.jobs.push_back(job);
        }
        if is_new {
            let work = Lane { rooms: Arc::clone(self), key, is_open: true };
            let elsewhere = Arc::clone(elsewhere);
            lane.task = Some(tokio::spawn(async move { work.run(&elsewhere).await }).abort_handle());
        }
        Ok(pending)
    }

    /// Ends what is under way for other servers' events, whatever it waits for.
    pub fn stop_receiving(&self) {
        self.inbound.stop();
    }

    /// Receives one event that was checked already, by itself, to be told to everybody. It was made here or from this
    /// server's word: what it names is here, and nobody is asked for anything.
    ///
    /// # Errors
    /// [`Refusal::NotFound`]: the room is not here; else when the store fails.
    pub async fn receive_one(&self, room: &RoomId, event: Checked) -> Result<Outcome, Refusal> {
        let placed = self.place(room, &[event], &Given::default(), (Way::OnBehalf, None)).await?;
        let placed = placed.ok_or_else(|| Refusal::NotFound("this server does not know the room".into()))?;
        placed.into_iter().next().ok_or_else(|| Refusal::Internal("an event was lost".into()))
    }
}

impl Lane {
    async fn run<E: Elsewhere>(mut self, elsewhere: &Arc<E>) {
        loop {
            let jobs: Vec<Job> = {
                let mut lanes = self.rooms.inbound.0.lock();
                let Some(lane) = lanes.get_mut(&self.key) else { return };
                if lane.jobs.is_empty() {
                    lanes.remove(&self.key);
                    self.is_open = false;
                    return;
                }
                let some = lane.jobs.len().min(AT_ONCE);
                lane.jobs.drain(..some).collect()
            };
            self.take(elsewhere, jobs).await;
        }
    }

    async fn take<E: Elsewhere>(&self, elsewhere: &Arc<E>, jobs: Vec<Job>) {
        let (room, origin) = &self.key;
        let (pdus, waiting): (Vec<_>, Vec<_>) = jobs.into_iter().map(|job| (job.pdu, job.done)).unzip();
        let ids: Vec<OwnedEventId> = pdus.iter().map(|pdu| pdu.event_id().to_owned()).collect();
        let answers = match self.receive(elsewhere, pdus).await {
            Ok(answers) => answers,
            Err(refusal) => {
                // Who waits sees that nobody answers.
                return tracing::warn!(%room, %origin, ?refusal, "events of another server cannot be taken");
            }
        };
        for (id, done) in ids.iter().zip(waiting) {
            let lost = || Err("the event cannot be judged".to_owned());
            if done.send(answers.get(id).cloned().unwrap_or_else(lost)).is_err() {
                tracing::trace!(%id, "nobody waits for what became of an event");
            }
        }
    }

    async fn receive<E: Elsewhere>(
        &self,
        elsewhere: &Arc<E>,
        pdus: Vec<Unproven>,
    ) -> Result<BTreeMap<OwnedEventId, Answer>, Refusal> {
        let ((room_id, origin), rooms) = (&self.key, &self.rooms);
        let mut answers: BTreeMap<OwnedEventId, Answer> = BTreeMap::new();
        let room: Option<RoomRow> = rooms.store.room(room_id).await?;
        let Some(room) = room else {
            let unknown = || Err("this server does not take part in the room".to_owned());
            return Ok(pdus.iter().map(|pdu| (pdu.event_id().to_owned(), unknown())).collect());
        };
        let rules = rules(&room.version)?;
        let ids: Vec<OwnedEventId> = pdus.iter().map(|pdu| pdu.event_id().to_owned()).collect();
        let known = rooms.store.graph_events(&ids).await?;
        let is_done =
            |id: &EventId| known.get(id).is_some_and(|event| event.has_state && event.room_id == *room_id);
        let (done, new): (Vec<_>, Vec<_>) = pdus.into_iter().partition(|pdu| is_done(pdu.event_id()));
        answers.extend(done.into_iter().map(|pdu| (pdu.event_id().to_owned(), Ok(()))));
        let mut right = Vec::new();
        for (id, proven) in rooms.prove(&**elsewhere, &rules, new).await {
            match proven {
                Ok(checked) => right.push(checked),
                Err(flaw) => {
                    tracing::debug!(%id, %origin, %flaw, "an event is dropped");
                    answers.insert(id, Err(flaw.to_string()));
                }
            }
        }
        let servers = Arc::new(Servers::of(rooms, elsewhere, origin, room_id));
        let batch = Batch { servers, room: &room, rules: &rules, way: Way::Live, before: None };
        let outcomes = rooms.receive_batch(&batch, right).await?.unwrap_or_default();
        answers.extend(outcomes.into_iter().map(|(id, outcome)| {
            if let Outcome::Missing(_) | Outcome::Rejected(_) | Outcome::SoftFailed(_) = &outcome {
                tracing::debug!(room = %room_id, %id, %origin, ?outcome, "an event is not shown");
            }
            let answer = match outcome {
                Outcome::Refused(why) => Err(why),
                _ => Ok(()),
            };
            (id, answer)
        }));
        Ok(answers)
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        if self.is_open {
            self.rooms.inbound.0.lock().remove(&self.key);
        }
    }
}
