//! What rooms have other servers told: events of this server, until every destination has them, or what came after.
//!
//! The events lie in the log; the queue knows them by position. How far it is with everybody is noted on the disk now and
//! then, as one position for all and one for each that lags: so a message in a room of a thousand servers is no
//! thousand writes, and a restart at worst says again what others know already.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use parking_lot::Mutex;
use ruma::{OwnedEventId, OwnedRoomId, OwnedServerName, RoomId, ServerName};
use serde_json::value::RawValue;

use super::queue::{Look, Outgoing, Queue};
use crate::server::{
    change::position::LogPosition,
    clock::Clock,
    config::servers::Policy,
    event::stored::{Membership, StoredEvent},
    store::{OwnEvent, Store, StoreError},
};

/// How long after a change it is noted at most, and how often at most.
const NOTED_EVERY: Duration = Duration::from_secs(1);

/// The last events that are held in memory, since their destinations want them at once: so many, and so many bytes.
const MAX_RECENT: usize = 1_000;
const MAX_RECENT_BYTES: usize = 16 << 20;

/// The last events that are given to the queue again after a restart, if somebody lags no further.
const REPLAYED: usize = 1_000;

/// The servers in one room, with how many of their users are.
pub type Servers = Arc<BTreeMap<OwnedServerName, usize>>;

/// An event as it goes into a transaction.
#[derive(Clone, Debug)]
pub(super) struct Pdu {
    pub(super) event_id: OwnedEventId,
    pub(super) json: Arc<RawValue>,
}

/// The events that other servers are to be told.
#[derive(Debug)]
pub struct Outbox {
    own: OwnedServerName,
    clock: Clock,
    store: Arc<Store>,
    queue: Arc<Queue>,
    policy: Arc<Policy>,
    recent: Mutex<Recent>,
    rooms: OnceLock<RoomsWith>,
}

/// The rooms that a server is in.
type FindRooms = dyn Fn(&ServerName) -> Vec<OwnedRoomId> + Send + Sync;

/// Who is in which room, as the rooms have it.
struct RoomsWith(Box<FindRooms>);

impl fmt::Debug for RoomsWith {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RoomsWith")
    }
}

#[derive(Debug, Default)]
struct Recent {
    pdus: BTreeMap<LogPosition, Pdu>,
    bytes: usize,
}

impl Outbox {
    /// Knows of nothing to send yet; see [`Self::resume`].
    pub(super) fn new(
        own: &ServerName,
        clock: Clock,
        store: Arc<Store>,
        queue: Arc<Queue>,
        policy: Arc<Policy>,
    ) -> Self {
        let (own, recent, rooms) = (own.to_owned(), Mutex::default(), OnceLock::new());
        Self { own, clock, store, queue, policy, recent, rooms }
    }

    /// Gives the queue what an earlier run of the server left; once, before anything else happens. `servers` are those in
    /// a room, `rooms_with` the rooms of a server.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    pub async fn resume(
        &self,
        servers: impl Fn(&RoomId) -> Servers,
        rooms_with: impl Fn(&ServerName) -> Vec<OwnedRoomId> + Send + Sync + 'static,
    ) -> Result<(), StoreError> {
        self.rooms.get_or_init(|| RoomsWith(Box::new(rooms_with)));
        let progress = self.store.sending_progress().await?;
        let last = self.store.nth_last_own_event(REPLAYED).await?;
        let known_after = last.map_or(LogPosition::START, LogPosition::before).min(progress.upto);
        let mut events = Vec::new();
        let mut after = known_after;
        loop {
            let page = self.store.own_events(after, REPLAYED).await?;
            let Some(last) = page.last() else { break };
            after = last.position;
            events.extend(page.iter().filter_map(|event| self.outgoing(event, servers(&event.room))));
        }
        self.queue.resume(progress, known_after, events);
        Ok(())
    }

    /// An event is on the disk. If it is for this server to send, its destinations get it: `servers` are those in
    /// its room once it is part of it. Waits for nobody.
    pub fn handle_event(&self, event: &StoredEvent, servers: impl FnOnce(&RoomId) -> Servers) {
        if !event.ours {
            return;
        }
        let own = OwnEvent {
            position: event.position,
            room: event.room_id.clone(),
            sender: event.sender.clone(),
            member: event.membership().and_then(|(user, is)| Some((user.try_into().ok()?, is))),
        };
        let Some(outgoing) = self.outgoing(&own, servers(&event.room_id)) else { return };
        if let Ok(json) = RawValue::from_string(String::from(&*event.pdu)) {
            let pdu = Pdu { event_id: event.event_id.clone(), json: json.into() };
            self.recent.lock().put(event.position, pdu);
        }
        self.queue.append(outgoing);
    }

    /// Where an event goes, if anywhere: to the servers in the room, and to that of somebody who was put out of it or
    /// asked in vain. Who is invited was told by a request of its own.
    fn outgoing(&self, event: &OwnEvent, servers: Servers) -> Option<Outgoing> {
        let about = event.member.as_ref().filter(|(_, is)| matches!(is, Membership::Leave | Membership::Ban));
        let also = about.map(|(user, _)| user.server_name()).filter(|also| *also != self.own);
        let speaks_with = |server: &ServerName| self.policy.speaks_with(server);
        let elsewhere = servers.keys().any(|server| *server != self.own);
        if !elsewhere && also.is_none() {
            return None;
        }
        let servers = if servers.keys().all(|server| speaks_with(server)) {
            servers
        } else {
            let spoken_with = servers.iter().filter(|(server, _)| speaks_with(server));
            Arc::new(spoken_with.map(|(server, count)| (server.clone(), *count)).collect())
        };
        let sender = event.sender.server_name();
        Some(Outgoing {
            position: event.position,
            servers,
            also: also.filter(|also| speaks_with(also)).map(ToOwned::to_owned),
            except: (*sender != self.own).then(|| sender.to_owned()),
        })
    }

    /// The events at these positions, in this order; those that are gone are passed over.
    pub(super) async fn pdus(&self, positions: &[LogPosition]) -> Result<Vec<Pdu>, StoreError> {
        let mut pdus = self.recent.lock().find(positions);
        let missing: Vec<_> = positions.iter().filter(|at| !pdus.contains_key(at)).copied().collect();
        if !missing.is_empty() {
            for (position, event_id, pdu) in self.store.pdus_at(&missing).await? {
                match RawValue::from_string(pdu) {
                    Ok(json) => pdus.insert(position, Pdu { event_id, json: json.into() }),
                    Err(e) => return Err(StoreError::Corrupt(format!("{event_id}: {e}"))),
                };
            }
        }
        Ok(positions.iter().filter_map(|at| pdus.remove(at)).collect())
    }

    /// What a destination is told that was left behind: of each of its rooms the newest, and who of its users was put
    /// out of one; in the order of the log.
    pub(super) async fn look_up(&self, look: &Look) -> Result<Vec<LogPosition>, StoreError> {
        let rooms = self.rooms.get().map_or_else(Vec::new, |rooms| (rooms.0)(&look.destination));
        let between = (look.since, look.upto);
        let mut found = self.store.newest_of_rooms(rooms, between).await?;
        found.extend(self.store.endings_of(&look.destination, between).await?);
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    /// Notes how far everybody was told, until the task is dropped.
    pub(super) async fn run(&self) {
        loop {
            self.queue.progressed.notified().await;
            self.clock.sleep(NOTED_EVERY).await;
            self.note().await;
        }
    }

    /// Notes how far everybody was told.
    pub(super) async fn note(&self) {
        let Some(step) = self.queue.progress() else { return };
        match self.store.note_sending_progress(step.clone()).await {
            Ok(()) => self.queue.handle_noted(step),
            Err(error) => {
                tracing::warn!(%error, "how far other servers were told cannot be noted: after a restart they are told again");
            }
        }
    }
}

impl Recent {
    fn put(&mut self, position: LogPosition, pdu: Pdu) {
        self.bytes += pdu.json.get().len();
        self.pdus.insert(position, pdu);
        while (self.pdus.len() > MAX_RECENT || self.bytes > MAX_RECENT_BYTES)
            && let Some((_, oldest)) = self.pdus.pop_first()
        {
            self.bytes -= oldest.json.get().len();
        }
    }

    fn find(&self, positions: &[LogPosition]) -> BTreeMap<LogPosition, Pdu> {
        positions.iter().filter_map(|at| Some((*at, self.pdus.get(at)?.clone()))).collect()
    }
}
