//! The events of a transaction, on their way into rooms.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use ruma::{OwnedEventId, OwnedRoomId, OwnedServerName, RoomId, ServerName};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::{Instant, timeout_at};

use crate::server::{
    app::parts::App,
    rooms::{
        Refusal,
        receive::{Crowded, Pending, check::read},
    },
    store::{InboundEvent, StoreError},
};

/// How long whoever sent events waits for what became of them. Past that they are kept, whoever sent them is told that
/// they came, and they are looked at all the same, also after a restart.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// How long events of a room wait for a user of this server who is just coming into it.
const ENTERED_WITHIN: Duration = Duration::from_secs(25);

/// Events of one server that are kept so, at most.
const MAX_KEPT: usize = 500;

/// Events that are taken up again together.
const TAKEN_UP: usize = 50;

/// What became of the events of a transaction, by their IDs: what is wrong with one, if anything.
pub type Answers = BTreeMap<String, Option<String>>;

/// Why a transaction has to be sent again.
#[derive(Debug, thiserror::Error)]
pub enum NotTaken {
    /// Too many events of that server wait.
    #[error("too many events wait")]
    Crowded,
    /// This server ends, or failed.
    #[error("this server could not take the events")]
    Interrupted,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<Crowded> for NotTaken {
    fn from(_: Crowded) -> Self {
        Self::Crowded
    }
}

/// Events that were taken in, and what is known of the others.
#[derive(Debug)]
pub struct Taken {
    origin: OwnedServerName,
    answers: Answers,
    pending: Vec<(Pending, InboundEvent)>,
}

impl App {
    /// Takes the events that `origin` sent in one transaction. `id_of` says the ID of one of a room that is not known,
    /// where nobody knows how it is made.
    ///
    /// # Errors
    /// [`NotTaken`]: some of them were not, and have to come again.
    pub async fn take_events(
        &self,
        origin: &ServerName,
        pdus: &[&RawValue],
        id_of: impl Fn(&str) -> Option<String>,
    ) -> Result<Taken, NotTaken> {
        let mut taken = Taken { origin: origin.to_owned(), answers: Answers::new(), pending: Vec::new() };
        let mut of_rooms: BTreeMap<OwnedRoomId, Vec<&RawValue>> = BTreeMap::new();
        let refuse = |answers: &mut Answers, pdu: &RawValue, why: &str| {
            answers.extend(id_of(pdu.get()).map(|id| (id, Some(why.to_owned()))));
        };
        for pdu in pdus {
            match room_of(pdu) {
                Some(room) => of_rooms.entry(room).or_default().push(pdu),
                None => refuse(&mut taken.answers, pdu, "the event says no room that it is of"),
            }
        }
        let Some(peers) = self.peers() else { return Ok(taken) };
        for (room, pdus) in of_rooms {
            if !self.rooms.takes_part(&room) {
                // Who let somebody of ours in tells others of it before the whole room is here.
                let entered = timeout_at(Instant::now() + ENTERED_WITHIN, self.entering.settled(&room)).await;
                if entered.is_err() {
                    tracing::debug!(%room, "events of a room that somebody comes into are not waited for longer");
                }
            }
            let row = self.store.room(&room).await?.filter(|_| self.rooms.takes_part(&room));
            let rules = row.and_then(|row| row.version.rules());
            let why_not = match &rules {
                None => Some("this server does not take part in the room"),
                Some(_) if !self.rooms.admits(&room, origin).await? => Some("the room keeps your server out"),
                Some(_) => None,
            };
            let (Some(rules), None) = (rules, why_not) else {
                let why = why_not.unwrap_or_default();
                for pdu in pdus {
                    match self.rooms.receive_outside(&peers, origin, &room, pdu.get()).await {
                        Ok(Some(id)) => drop(taken.answers.insert(id.to_string(), None)),
                        Ok(None) => refuse(&mut taken.answers, pdu, why),
                        Err(Refusal::Store(e)) => return Err(e.into()),
                        Err(_) => return Err(NotTaken::Interrupted),
                    }
                }
                continue;
            };
            let (mut unproven, mut kept) = (Vec::new(), Vec::new());
            for pdu in pdus {
                match read(&rules, &room, pdu.get()) {
                    Ok(event) => {
                        let event_id = event.event_id().to_owned();
                        kept.push(InboundEvent { room_id: room.clone(), event_id, pdu: pdu.get().into() });
                        unproven.push(event);
                    }
                    Err(flaw) => refuse(&mut taken.answers, pdu, &flaw.to_string()),
                }
            }
            let pending = self.rooms.receive(&peers, origin, &room, unproven)?;
            taken.pending.extend(pending.into_iter().zip(kept));
        }
        Ok(taken)
    }
}

impl App {
    /// Waits for what becomes of events, and not too long.
    ///
    /// # Errors
    /// [`NotTaken`]: they have to come again.
    pub async fn answers(&self, taken: Taken, within: Duration) -> Result<Answers, NotTaken> {
        let Taken { origin, mut answers, pending } = taken;
        let until = Instant::now() + within;
        let (mut late, mut kept) = (Vec::new(), Vec::new());
        for (mut event, text) in pending {
            let id = event.event_id().to_string();
            match timeout_at(until, event.answer()).await {
                Ok(Some(answer)) => drop(answers.insert(id, answer.err())),
                Ok(None) => return Err(NotTaken::Interrupted),
                Err(_) => {
                    answers.insert(id, None);
                    kept.push(text);
                    late.push(event);
                }
            }
        }
        if late.is_empty() {
            return Ok(answers);
        }
        if !self.store.keep_inbound(origin.clone(), kept, MAX_KEPT).await? {
            return Err(NotTaken::Crowded);
        }
        let store = Arc::clone(&self.store);
        tokio::spawn(async move {
            for mut event in late {
                if event.answer().await.is_some()
                    && let Err(error) =
                        store.forget_inbound(origin.clone(), vec![event.event_id().to_owned()]).await
                {
                    tracing::error!(%error, "an event that was looked at is kept");
                }
            }
        });
        Ok(answers)
    }

    /// Takes up the events that were acknowledged in an earlier run and not looked at.
    pub async fn take_up_events(self: Arc<Self>) {
        let origins = match self.store.inbound_origins().await {
            Ok(origins) => origins,
            Err(error) => return tracing::error!(%error, "events that were kept cannot be read"),
        };
        let mut all = tokio::task::JoinSet::new();
        for origin in origins {
            let app = Arc::clone(&self);
            all.spawn(async move {
                if let Err(error) = app.take_up_events_of(&origin).await {
                    tracing::warn!(%origin, %error, "events that were kept are left for the next start");
                }
            });
        }
        all.join_all().await;
    }

    async fn take_up_events_of(&self, origin: &OwnedServerName) -> Result<(), NotTaken> {
        loop {
            let kept = self.store.inbound(origin, TAKEN_UP).await?;
            if kept.is_empty() {
                return Ok(());
            }
            let texts: Vec<&RawValue> =
                kept.iter().filter_map(|event| serde_json::from_str(&event.pdu).ok()).collect();
            let taken = self.take_events(origin, &texts, |_| None).await?;
            for (mut event, _) in taken.pending {
                if event.answer().await.is_none() {
                    return Err(NotTaken::Interrupted);
                }
            }
            let ids: Vec<OwnedEventId> = kept.into_iter().map(|event| event.event_id).collect();
            self.store.forget_inbound(origin.clone(), ids).await?;
        }
    }
}

/// The room that an event says it is of.
fn room_of(pdu: &RawValue) -> Option<OwnedRoomId> {
    #[derive(Deserialize)]
    struct OfRoom {
        room_id: String,
    }
    RoomId::parse(serde_json::from_str::<OfRoom>(pdu.get()).ok()?.room_id).ok()
}
